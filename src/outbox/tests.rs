//! Tables of single behaviours; `sim` puts all of them together under a seed.

mod answers;
mod asking;
mod attention;
mod batches;
mod bench;
mod delays;
mod expiry;
mod failures;
mod fallback;
mod flapping;
mod gather;
mod gathered;
mod history;
mod keys;
mod marks;
mod names;
mod parts;
mod receipts;
mod refusals;
mod routed;
mod sequence;
mod sim;
mod sim_fallback;
mod uploads;
mod urgent;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::*;
use crate::alert::{Alert, Recipient};
use bench::{Bench, recipient, said, session};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// 2026-01-01.
const WALL: u64 = 1_767_225_600_000;

#[test]
fn nothing_is_sent_before_it_is_durable() {
    let mut bench = Bench::up();
    let accepted = bench.try_accept(&["1"], None).unwrap();
    bench.pass(SECOND);
    assert!(bench.sends.is_empty() && !accepted.durable);
    assert!(bench.outbox.get("A1").is_none(), "not shown either");
    bench.handle(Input::Durable {
        seq: accepted.record.seq,
    });
    assert_eq!(bench.take_sends(), ["M11"]);
    assert_eq!(bench.step("A1"), Step::Accepted);
}

#[test]
fn what_the_disk_refused_was_never_there_and_its_number_is_not_used_again() {
    let mut bench = Bench::up();
    let seq = bench.try_accept(&["1"], Some("k")).unwrap().record.seq;
    bench.handle(Input::NotDurable { seq });
    assert_eq!((bench.outbox.pending_len(), bench.outbox.count(Step::Accepted)), (0, 0));
    let again = bench.try_accept(&["1"], Some("k")).unwrap();
    assert!(!again.duplicate && again.record.seq > seq);
    bench.handle(Input::Durable { seq });
    assert!(bench.sends.is_empty());
    bench.handle(Input::Durable { seq: again.record.seq });
    bench.handle(Input::NotDurable { seq: again.record.seq });
    assert_eq!(bench.outbox.pending_len(), 1, "durable cannot be taken back");
}

#[test]
fn one_under_way_per_recipient_in_order_and_recipients_side_by_side() {
    let mut bench = Bench::up();
    for to in [&["1"][..], &["1", "2"], &["1"]] {
        bench.accept(to);
    }
    assert_eq!(bench.take_sends(), ["M11", "M22"]);
    bench.handle(Input::Written {
        message_id: MessageId("M11".into()),
    });
    assert!(
        bench.sends.is_empty() && bench.step("A1") == Step::Accepted,
        "written is not sent"
    );
    bench.ack("M11", None);
    assert_eq!(bench.take_sends(), ["M21"]);
    assert_eq!(bench.step("A1"), Step::Sent);
    bench.ack("M22", None);
    assert_eq!(bench.step("A2"), Step::Accepted, "the other recipient still waits");
    bench.ack("M21", None);
    assert_eq!(
        (bench.step("A2"), bench.take_sends()),
        (Step::Sent, vec!["M31".to_owned()])
    );
}

#[test]
fn a_later_alert_waits_for_an_earlier_one_that_is_not_durable_yet() {
    let mut bench = Bench::up();
    let first = bench.try_accept(&["1"], None).unwrap().record.seq;
    bench.accept(&["1"]);
    assert!(bench.sends.is_empty());
    bench.handle(Input::NotDurable { seq: first });
    assert_eq!(bench.take_sends(), ["M21"]);
}

#[test]
fn no_more_under_way_than_the_limit() {
    let mut bench = Bench::new(Limits {
        in_flight_max: 2,
        ..Limits::default()
    });
    bench.handle(Input::SessionUp(session()));
    bench.accept(&["1", "2", "3"]);
    assert_eq!(bench.take_sends(), ["M11", "M12"]);
    bench.ack("M12", None);
    assert_eq!(bench.take_sends(), ["M13"]);
}

#[test]
fn a_lost_line_sends_again_under_the_same_id() {
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    bench.handle(Input::SessionDown(session()));
    assert_eq!(bench.outbox.poll_timeout(), None, "nothing to wait for");
    bench.handle(Input::SessionUp(session()));
    assert_eq!(bench.take_sends(), ["M11", "M11"]);
    assert_eq!(bench.outbox.get("A1").unwrap().deliveries[0].attempts, 2);
    // The ack of the first attempt comes late: it is the same message.
    bench.handle(Input::SessionDown(session()));
    bench.ack("M11", None);
    bench.handle(Input::SessionUp(session()));
    assert_eq!((bench.step("A1"), bench.take_sends().len()), (Step::Sent, 0));
}

#[test]
fn a_send_not_fetched_yet_dies_with_its_line_and_with_its_alert() {
    let mut bench = Bench::up();
    let seq = bench.try_accept(&["1"], None).unwrap().record.seq;
    bench.outbox.handle(bench.now, Input::Durable { seq });
    bench.outbox.handle(bench.now, Input::SessionDown(session()));
    bench.drain();
    assert!(bench.sends.is_empty());
    bench.outbox.handle(bench.now, Input::SessionUp(session()));
    bench.outbox.drop_alert(bench.now, "A1").unwrap();
    bench.drain();
    assert!(bench.sends.is_empty());
}

#[test]
fn a_failed_send_is_tried_again_for_ever_with_growing_pauses() {
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    for (round, nominal) in [1u32, 2, 4, 8, 16, 32, 60, 60, 60].into_iter().enumerate() {
        assert_eq!(bench.take_sends(), ["M11"], "round {round}");
        bench.fail("M11", false);
        let (at, reason) = bench.outbox.poll_timeout().unwrap();
        let pause = at - bench.now.mono;
        assert!(
            pause >= SECOND * nominal * 4 / 5 && pause <= SECOND * nominal * 6 / 5,
            "{round}: {pause:?}"
        );
        assert_eq!(reason, Reason::Retry { seq: 1 });
        bench.pass(pause - Duration::from_millis(1));
        assert!(bench.sends.is_empty());
        bench.next();
    }
    assert_eq!(bench.outbox.get("A1").unwrap().deliveries[0].note, "no line");
}

#[test]
fn a_new_line_ends_the_pause_that_the_old_one_caused_but_not_one_that_the_server_asked_for() {
    for (refuse, sends_at_up) in [(None, 1), (Some("429"), 0), (Some("500"), 0)] {
        let mut bench = Bench::up();
        bench.accept(&["1"]);
        match refuse {
            None => bench.fail("M11", false),
            Some(code) => bench.ack("M11", Some(code)),
        }
        bench.take_sends();
        bench.handle(Input::SessionDown(session()));
        bench.handle(Input::SessionUp(session()));
        assert_eq!(bench.take_sends().len(), sends_at_up, "{refuse:?}");
    }
}

#[test]
fn missed_acks_resend_and_make_the_line_suspect() {
    let mut bench = Bench::up();
    bench.accept(&["1", "2"]);
    assert_eq!(bench.next(), Reason::Ack { seq: 1 });
    assert_eq!(bench.suspects, 0, "two under way together are one missed ack");
    while bench.sends.len() < 4 {
        bench.next();
    }
    assert_eq!(bench.next(), Reason::Ack { seq: 1 });
    assert_eq!(bench.suspects, 1);
    assert_eq!(bench.outbox.get("A1").unwrap().deliveries[0].attempts, 2);

    // An ack in between clears the line.
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    bench.next();
    bench.accept(&["2"]);
    bench.ack("M22", None);
    while bench.take_sends() != ["M11"] {
        bench.next();
    }
    bench.next();
    assert_eq!(bench.suspects, 0);
}

#[test]
fn steps_go_forward_only() {
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    bench.receipt("M11", ReceiptKind::Delivered);
    assert_eq!(bench.step("A1"), Step::Delivered, "a receipt implies the ack");
    bench.receipt("M11", ReceiptKind::Read);
    bench.ack("M11", None);
    bench.ack("M11", Some("400"));
    bench.receipt("M11", ReceiptKind::Delivered);
    bench.fail("M11", true);
    assert_eq!(bench.step("A1"), Step::Read);
    assert_eq!(
        bench.changes,
        [("A1".to_owned(), Step::Delivered), ("A1".to_owned(), Step::Read)]
    );
    assert_eq!(bench.persisted.last().unwrap().step(), Step::Read);
    assert_eq!(bench.sends.len(), 1);
}

#[test]
fn only_its_own_session_acks_a_message() {
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    let session: SessionName = "other".parse().unwrap();
    let message_id = MessageId("M11".into());
    bench.handle(Input::ServerAck {
        session: session.clone(),
        message_id: message_id.clone(),
        error: None,
    });
    bench.handle(Input::Receipt {
        session,
        message_id,
        kind: ReceiptKind::Read,
        from: vec![recipient("1")],
    });
    bench.ack("unknown", None);
    assert_eq!(bench.step("A1"), Step::Accepted);
}

#[test]
fn a_key_counts_for_a_day_on_its_route_and_is_answered_with_the_first() {
    let mut bench = Bench::up();
    let first = bench.try_accept(&["1"], Some("k")).unwrap();
    let second = bench.try_accept(&["1"], Some("k")).unwrap();
    assert!(second.duplicate && !second.durable, "its sender waits for the first");
    assert_eq!(second.record, first.record);
    bench.handle(Input::Durable { seq: 1 });
    bench.ack("M11", None);
    bench.pass(DAY - SECOND);
    // The clock is set meanwhile: no matter.
    bench.now.wall.0 += 400 * DAY.as_millis() as u64;
    let third = bench.try_accept(&["1"], Some("k")).unwrap();
    assert!(third.duplicate && third.durable && third.record.step() == Step::Sent);
    bench.pass(SECOND);
    let fourth = bench.try_accept(&["1"], Some("k")).unwrap();
    assert!(!fourth.duplicate);
    assert!(
        bench.try_accept(&["1"], Some("k")).unwrap().duplicate,
        "the new one holds the key"
    );
}

#[test]
fn settled_alerts_are_forgotten_in_time_and_take_receipts_until_then() {
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    bench.ack("M11", None);
    bench.pass(DAY * 6);
    bench.receipt("M11", ReceiptKind::Read);
    assert_eq!(bench.step("A1"), Step::Read);
    assert_eq!(bench.next(), Reason::KeepEnds { seq: 1 });
    assert_eq!((bench.forgotten.clone(), bench.outbox.count(Step::Read)), (vec![1], 0));
    bench.receipt("M11", ReceiptKind::Read);
    assert_eq!(bench.outbox.poll_timeout(), None);
}

#[test]
fn a_clock_that_was_not_set_makes_nothing_old() {
    let mut bench = Bench::new(Limits::default());
    bench.now.wall = Timestamp(1000);
    bench.handle(Input::SessionUp(session()));
    let seq = bench.try_accept(&["1"], Some("k")).unwrap().record.seq;
    bench.handle(Input::Durable { seq });
    bench.ack("M11", None);
    let records: Vec<AlertRecord> = bench.outbox.list(false, 10).into_iter().cloned().collect();
    let mut after = Bench::new(Limits::default());
    after.outbox.restore(after.now, records.into_iter());
    after.drain();
    assert!(after.forgotten.is_empty());
    assert!(after.try_accept(&["1"], Some("k")).unwrap().duplicate);
}

#[test]
fn a_full_outbox_says_so_and_keeps_nothing() {
    let by_count = Limits {
        pending_max: 2,
        ..Limits::default()
    };
    let by_bytes = Limits {
        pending_bytes_max: 1800,
        ..Limits::default()
    };
    for limits in [by_count, by_bytes] {
        let mut bench = Bench::new(limits);
        let key = |number: usize| format!("k{number}");
        for number in 0..2 {
            bench.try_accept(&["1"], Some(&key(number))).unwrap();
        }
        let full = bench.try_accept(&["1"], None).unwrap_err();
        assert_eq!(full.pending, 2);
        assert_eq!(bench.outbox.full(), Some(full), "health says what senders are told");
        assert!(
            bench.try_accept(&["1"], Some("k0")).unwrap().duplicate,
            "a duplicate needs no room"
        );
        bench.handle(Input::NotDurable { seq: 1 });
        assert_eq!(bench.outbox.full(), None);
        bench.try_accept(&["1"], None).unwrap();
    }
}

#[test]
fn settled_bytes_are_bounded_too() {
    let mut bench = Bench::new(Limits {
        settled_bytes_max: 3000,
        ..Limits::default()
    });
    bench.handle(Input::SessionUp(session()));
    for seq in 1..=10 {
        bench.accept(&["1"]);
        bench.ack(&format!("M{seq}1"), None);
    }
    assert_eq!(bench.forgotten, [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_disk_without_room_has_half_of_what_is_over_forgotten_unless_it_is_little() {
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    bench.ack("M11", None);
    bench.outbox.make_room(bench.now);
    bench.drain();
    assert!(bench.forgotten.is_empty(), "one small alert is no room");
    let first = bench.outbox.list(false, 1)[0].clone();
    let large = (2..=101).map(|seq| {
        let mut record = first.clone();
        (record.seq, record.id) = (seq, format!("A{seq}"));
        record.alert.text = "x".repeat(20_000);
        record.deliveries[0].message_id = Some(MessageId(format!("M{seq}1")));
        record
    });
    bench.outbox.restore(bench.now, large);
    bench.accept(&["1"]);
    bench.outbox.make_room(bench.now);
    bench.drain();
    assert_eq!(
        bench.forgotten,
        (1..=51).collect::<Vec<u64>>(),
        "the oldest, and none that waits"
    );
}

#[test]
fn retry_and_drop_by_hand() {
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    bench.accept(&["1"]);
    bench.take_sends();
    bench.outbox.drop_alert(bench.now, "A1").unwrap();
    bench.drain();
    assert_eq!(
        (bench.step("A1"), bench.take_sends()),
        (Step::Dropped, vec!["M21".to_owned()])
    );
    assert!(matches!(
        bench.outbox.drop_alert(bench.now, "A1"),
        Err(CommandError::Settled { .. })
    ));

    // The one under way is finished first, then order is order again.
    bench.outbox.retry(bench.now, "A1").unwrap();
    bench.drain();
    assert_eq!(
        (bench.step("A1"), bench.take_sends().len(), bench.outbox.pending_len()),
        (Step::Accepted, 0, 2)
    );
    bench.ack("M21", None);
    assert_eq!(bench.take_sends(), ["M11"]);
    bench.fail("M11", false);
    bench.outbox.retry(bench.now, "A1").unwrap();
    bench.drain();
    assert_eq!(bench.take_sends(), ["M11"], "a pause ends at once");
    bench.ack("M11", None);
    assert!(matches!(
        bench.outbox.retry(bench.now, "A1"),
        Err(CommandError::Settled { .. })
    ));
    assert!(matches!(
        bench.outbox.retry(bench.now, "none"),
        Err(CommandError::Unknown(_))
    ));

    // Dropped while under way, and it arrived all the same: say so.
    bench.accept(&["1"]);
    bench.outbox.drop_alert(bench.now, "A3").unwrap();
    bench.receipt("M31", ReceiptKind::Delivered);
    assert_eq!(bench.step("A3"), Step::Delivered);
}

#[test]
fn lists_are_newest_first() {
    let mut bench = Bench::up();
    for _ in 0..4 {
        bench.accept(&["1"]);
    }
    bench.ack("M11", None);
    let seqs = |records: Vec<&AlertRecord>| records.iter().map(|record| record.seq).collect::<Vec<_>>();
    assert_eq!(seqs(bench.outbox.list(false, 3)), [4, 3, 2]);
    assert_eq!(seqs(bench.outbox.list(true, 9)), [4, 3, 2]);
    assert_eq!(
        (bench.outbox.count(Step::Accepted), bench.outbox.count(Step::Sent)),
        (3, 1)
    );
}

#[test]
fn recipients_that_never_answer_do_not_hold_up_the_others() {
    let mut bench = Bench::new(Limits {
        in_flight_max: 2,
        ..Limits::default()
    });
    bench.handle(Input::SessionUp(session()));
    bench.accept(&["1", "2"]);
    bench.accept(&["3"]);
    assert_eq!(bench.take_sends(), ["M11", "M12"]);
    bench.next();
    assert_eq!(bench.take_sends(), ["M23"]);
}

#[test]
fn ten_thousand_pending_alerts_are_fine() {
    let mut bench = Bench::new(Limits::default());
    for _ in 0..10_000 {
        bench.accept(&["1"]);
    }
    assert!(bench.try_accept(&["1"], None).is_err());
    bench.handle(Input::SessionUp(session()));
    for seq in 1..=10_000 {
        assert_eq!(bench.sends.last().unwrap().0, seq);
        bench.ack(&format!("M{seq}1"), None);
    }
    assert_eq!((bench.outbox.count(Step::Sent), bench.forgotten.len()), (1000, 9000));
}

#[test]
fn an_alert_that_reached_nobody_frees_its_key() {
    let mut bench = Bench::up();
    bench.try_accept(&["1"], Some("k")).unwrap();
    bench.handle(Input::Durable { seq: 1 });
    bench.refuse("M11", "404");
    let again = bench.try_accept(&["1"], Some("k")).unwrap();
    assert!(!again.duplicate, "its sender's next try must not be taken for done");
    let third = bench.try_accept(&["1"], Some("k")).unwrap();
    assert!(third.duplicate && third.record.seq == again.record.seq);
}

#[test]
fn one_recipient_who_will_not_get_it_makes_the_alert_failed() {
    let mut bench = Bench::up();
    bench.accept(&["1", "2"]);
    bench.refuse("M11", "404");
    let step = |bench: &Bench| bench.outbox.list(false, 1)[0].step();
    assert_eq!(step(&bench), Step::Accepted, "the other one is still on its way");
    bench.ack("M12", None);
    assert_eq!(step(&bench), Step::Failed);
}

#[test]
fn numbers_that_the_disk_holds_unreadable_are_skipped() {
    let mut bench = Bench::up();
    bench.outbox.skip_to(41);
    assert_eq!(bench.accept(&["1"]), 42);
}
