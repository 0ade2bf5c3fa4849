//! Alerts that wait for their message: what the outbox does for a policy that holds them back.

use super::gather::{EVERY_MS, Gather, WAIT};
use super::*;
use crate::alert::Priority;

fn down() -> Bench {
    let mut bench = Bench::new(Limits::default());
    bench.outbox.policy = Box::<Gather>::default();
    bench
}

fn bench() -> Bench {
    let mut bench = down();
    bench.handle(Input::SessionUp(session()));
    bench
}

/// To recipients 1 and 2; durable.
fn accept(bench: &mut Bench, priority: Priority) -> u64 {
    let alert = Alert {
        text: format!("text {}", bench.outbox.seq_next),
        priority,
        ..Alert::default()
    };
    bench.accept_to(&["+15550101", "+15550102"], alert)
}

/// The disk writes all records, with the messages that were made.
fn write(bench: &mut Bench) {
    for (id, seq) in std::mem::take(&mut bench.made) {
        let message_id = MessageId(id);
        bench.handle(Input::MessageDurable { message_id, seq });
    }
}

/// A relay that is started on what the first one's disk has.
fn restarted(bench: &Bench, disk: &[AlertRecord]) -> Bench {
    let mut after = down();
    after.now = bench.now;
    after.outbox.restore(after.now, disk.iter().cloned());
    after.handle(Input::SessionUp(session()));
    after
}

#[test]
fn alerts_that_wait_are_durable_without_a_message_and_go_out_in_one() {
    let mut bench = bench();
    let first = accept(&mut bench, Priority::Low);
    bench.pass(SECOND * 10);
    let second = accept(&mut bench, Priority::Low);
    let ids = |bench: &Bench, id: &str| {
        let deliveries = &bench.outbox.get(id).unwrap().deliveries;
        deliveries
            .iter()
            .map(|delivery| delivery.message_id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&bench, "A1"), [None, None]);
    assert_eq!(bench.outbox.poll_timeout().unwrap().1, Reason::HeldEnds { seq: first });
    // One that does not wait is not held up by those that do.
    accept(&mut bench, Priority::Default);
    assert_eq!(bench.take_sends(), ["M31", "M32"]);
    bench.ack("M31", None);
    bench.ack("M32", None);

    assert_eq!(bench.next(), Reason::HeldEnds { seq: first });
    assert_eq!(ids(&bench, "A1"), ids(&bench, "A2"), "one message to each recipient");
    assert!(bench.sends.is_empty(), "the disk does not know its id yet");
    let made = bench.made.clone();
    let (last, others) = made.split_last().unwrap();
    assert_eq!(made.len(), 4, "{second} is in both");
    for (id, seq) in others.iter().chain(&made[..1]) {
        bench.handle(Input::MessageDurable {
            message_id: MessageId(id.clone()),
            seq: *seq,
        });
    }
    assert_eq!(bench.take_sends(), ["M11"], "a record of the other is not written yet");
    bench.handle(Input::MessageDurable {
        message_id: MessageId(last.0.clone()),
        seq: last.1,
    });
    assert_eq!(bench.take_sends(), ["M12"]);
    assert_eq!(bench.texts["M11"], "text 1\ntext 2");

    // What is said of the message is said of all that it carries.
    bench.fail("M12", false);
    assert!(bench.outbox.get("A2").unwrap().deliveries[1].note.contains("no line"));
    bench.ack("M11", None);
    bench.receipt("M11", ReceiptKind::Delivered);
    bench.next();
    assert_eq!(bench.take_sends(), ["M12"]);
    bench.ack("M12", None);
    for id in ["A1", "A2"] {
        assert_eq!(bench.step(id), Step::Sent);
        assert_eq!(bench.outbox.get(id).unwrap().deliveries[0].step, Step::Delivered);
        assert_eq!(bench.outbox.get(id).unwrap().deliveries[1].attempts, 2);
    }
    assert_eq!(
        (bench.outbox.pending_len(), bench.outbox.poll_timeout().is_some()),
        (0, true)
    );
    bench.handle(Input::AskedAgain {
        session: session(),
        message_id: MessageId("M11".into()),
        from: vec![recipient("1")],
        by: "device".into(),
    });
    assert_eq!(bench.again, [("M11".into(), "text 1\ntext 2".into(), "device".into())]);
}

#[test]
fn a_restart_loses_nothing_that_waits_and_changes_no_message() {
    let mut bench = bench();
    for _ in 0..2 {
        accept(&mut bench, Priority::Low);
    }
    let held: Vec<AlertRecord> = bench.outbox.list(false, 9).into_iter().cloned().collect();
    bench.pass(SECOND * 50);
    let after = restarted(&bench, &held);
    assert!(after.sends.is_empty());
    // It has waited before: the rest of its time is left.
    let (at, _) = after.outbox.poll_timeout().unwrap();
    assert_eq!(at - after.now.mono, WAIT - SECOND * 50);

    bench.pass(WAIT);
    write(&mut bench);
    assert_eq!(bench.take_sends(), ["M11", "M12"]);
    let made: Vec<AlertRecord> = bench.outbox.list(false, 9).into_iter().cloned().collect();
    let mut after_sent = restarted(&bench, &made);
    assert_eq!(after_sent.take_sends(), ["M11", "M12"], "under the same ids");
    assert_eq!(after_sent.texts, bench.texts);
    assert_eq!(
        after_sent.outbox.get("A2").unwrap().deliveries[0].attempts,
        1 + made[0].deliveries[0].attempts
    );

    // Of one message the disk knows only half, and it was not sent.
    let half: Vec<AlertRecord> = made
        .iter()
        .filter(|record| record.seq == 1)
        .chain(held.iter().filter(|record| record.seq == 2))
        .cloned()
        .collect();
    let mut after_half = restarted(&bench, &half);
    assert_eq!(after_half.take_sends(), ["M11", "M12"]);
    after_half.pass(WAIT);
    write(&mut after_half);
    for id in ["M11", "M12"] {
        after_half.ack(id, None);
    }
    assert_eq!(after_half.take_sends(), ["M21", "M22"]);
    assert_eq!(
        (&*after_half.texts["M11"], &*after_half.texts["M21"]),
        ("text 1", "text 2")
    );
}

#[test]
fn who_gives_up_an_alert_gives_up_its_message_only_with_the_last() {
    let mut bench = bench();
    for _ in 0..2 {
        accept(&mut bench, Priority::Low);
    }
    bench.outbox.drop_alert(bench.now, "A1").unwrap();
    bench.drain();
    bench.pass(WAIT);
    write(&mut bench);
    assert_eq!(bench.texts["M21"], "text 2", "it was dropped while it waited");
    bench.ack("M21", None);
    bench.ack("M22", None);

    // A message is what it is, once it is made.
    bench.handle(Input::SessionDown(session()));
    bench.take_sends();
    for _ in 0..2 {
        accept(&mut bench, Priority::Low);
    }
    bench.pass(WAIT);
    write(&mut bench);
    let record = bench.outbox.drop_alert(bench.now, "A3").unwrap();
    assert!(record.deliveries[0].note.contains("still goes out"), "{record:?}");
    assert_eq!((bench.step("A3"), bench.step("A4")), (Step::Dropped, Step::Accepted));
    bench.handle(Input::SessionUp(session()));
    assert_eq!(bench.take_sends(), ["M31", "M32"]);
    assert_eq!(bench.texts["M31"], "text 3\ntext 4");
    bench.outbox.drop_alert(bench.now, "A4").unwrap();
    bench.handle(Input::SessionDown(session()));
    bench.handle(Input::SessionUp(session()));
    assert!(bench.take_sends().is_empty(), "nobody wants it any more");
    assert_eq!(bench.outbox.pending_len(), 0);
    // It had gone out, and there it is.
    bench.ack("M31", None);
    assert_eq!(bench.outbox.get("A3").unwrap().deliveries[0].step, Step::Sent);
    // A retry is one of the message, and so of all that it carries.
    bench.outbox.retry(bench.now, "A4").unwrap();
    bench.drain();
    assert_eq!(bench.take_sends(), ["M32"]);
    assert_eq!((bench.step("A3"), bench.step("A4")), (Step::Accepted, Step::Accepted));
    bench.ack("M32", None);
    assert_eq!((bench.step("A3"), bench.step("A4")), (Step::Sent, Step::Sent));
}

#[test]
fn a_step_of_the_wall_clock_moves_what_waits_for_a_time_of_day_and_nothing_else() {
    for (by_ms, waits_ms) in [
        (0, EVERY_MS),
        (1000, EVERY_MS - 1000),
        (EVERY_MS as i64, 0),
        (25 * 3_600_000, 0),
        (-1000, 1000),
        (-25 * 3_600_000, EVERY_MS),
    ] {
        let mut bench = bench();
        assert_eq!(bench.now.wall.0 % EVERY_MS, 0);
        accept(&mut bench, Priority::Min);
        accept(&mut bench, Priority::Low);
        let low = bench.now.mono + WAIT;
        bench.now.wall.0 = bench.now.wall.0.saturating_add_signed(by_ms);
        bench.handle(Input::ClockStepped);
        let mut sent_at = BTreeMap::new();
        while sent_at.len() < 2 {
            write(&mut bench);
            for id in bench.take_sends() {
                bench.ack(&id, None);
                sent_at.entry(bench.texts[&id].clone()).or_insert(bench.now.mono);
            }
            if sent_at.len() < 2 {
                bench.next();
            }
        }
        let start = low - WAIT;
        assert_eq!(sent_at["text 1"] - start, Duration::from_millis(waits_ms), "{by_ms}");
        assert_eq!(sent_at["text 2"], low, "{by_ms}");
    }
}

/// A message that is made while its recipient pauses waits like the others.
#[test]
fn a_pause_of_the_recipient_holds_for_a_message_that_is_made_meanwhile() {
    let mut bench = bench();
    bench.accept_to(
        &["+15550101"],
        Alert {
            text: "old".into(),
            priority: Priority::Low,
            ..Alert::default()
        },
    );
    bench.pass(SECOND * 59);
    bench.accept(&["1"]);
    assert_eq!(bench.take_sends(), ["M21"]);
    bench.ack("M21", Some("429"));
    let (paused_until, _) = bench.outbox.poll_timeout().unwrap();
    assert!(paused_until <= bench.now.mono + SECOND, "what waits is due first");
    bench.next();
    write(&mut bench);
    assert!(bench.take_sends().is_empty());
    let reason = bench.next();
    assert_eq!(
        (reason, bench.take_sends()),
        (Reason::Retry { seq: 2 }, vec!["M21".to_owned()])
    );
    bench.ack("M21", None);
    assert_eq!(bench.take_sends(), ["M11"]);
}
