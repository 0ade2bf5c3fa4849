//! Alerts that their senders want to go out later.

use super::*;
use crate::alert::{Priority, Status};
use crate::util::millis;

const HOUR: Duration = Duration::from_secs(3600);

fn delayed(delay: Duration) -> Alert {
    Alert {
        text: "x".into(),
        delay: Some(delay),
        ..Alert::default()
    }
}

fn about(sequence: &str, text: &str, delay: Option<Duration>) -> Alert {
    Alert {
        text: text.into(),
        sequence: Some(sequence.into()),
        delay,
        ..Alert::default()
    }
}

impl Bench {
    /// The disk has the messages that were made.
    fn write_messages(&mut self) {
        for (id, seq) in std::mem::take(&mut self.made) {
            let message_id = MessageId(id);
            self.handle(Input::MessageDurable { message_id, seq });
        }
    }

    /// As after a kill, `down` later, with the wall clock `off` what passed.
    fn restarted(self, down: Duration, off: Duration) -> Self {
        let records: Vec<AlertRecord> = self.outbox.list(false, 99).into_iter().cloned().collect();
        let mut bench = Self::new(Limits::default());
        bench.now = Now {
            mono: self.now.mono + down,
            wall: Timestamp(self.now.wall.0 + millis(down + off)),
        };
        bench.outbox.restore(bench.now, records.into_iter());
        bench.drain();
        bench
    }
}

#[test]
fn an_alert_waits_for_its_time_also_over_a_kill_and_goes_out_once() {
    let mut bench = Bench::up();
    bench.accept_to(&["+15550101"], delayed(HOUR));
    let (at, reason) = bench.outbox.poll_timeout().unwrap();
    assert_eq!((at - bench.now.mono, reason), (HOUR, Reason::DelayEnds { seq: 1 }));
    bench.pass(HOUR / 2);
    assert!(bench.sends.is_empty() && bench.outbox.is_delayed(1));
    assert_eq!(bench.outbox.oldest_pending(), None, "nobody is told that it waits long");
    let held = bench.outbox.held_back(1);
    assert_eq!(held[0].map(|held| held.why), Some(Why::Delay));
    let mut bench = bench.restarted(HOUR / 4, Duration::ZERO);
    bench.handle(Input::SessionUp(session()));
    bench.pass(HOUR / 4 - SECOND);
    assert!(bench.sends.is_empty());
    assert_eq!(bench.next(), Reason::DelayEnds { seq: 1 });
    bench.write_messages();
    assert_eq!(
        (bench.take_sends(), bench.due.clone()),
        (vec!["M11".to_owned()], vec![1])
    );
    assert_eq!(bench.outbox.oldest_pending(), Some(Timestamp(WALL + 3_600_000)));
    bench.ack("M11", None);
    let mut bench = bench.restarted(HOUR, Duration::ZERO);
    bench.handle(Input::SessionUp(session()));
    bench.pass(HOUR * 2);
    assert!(bench.sends.is_empty() && bench.due.is_empty(), "{:?}", bench.sends);
}

#[test]
fn one_that_became_due_while_nothing_ran_goes_out_at_once() {
    let mut bench = Bench::up();
    bench.accept_to(&["+15550101"], delayed(HOUR));
    let mut bench = bench.restarted(HOUR * 2, Duration::ZERO);
    bench.handle(Input::SessionUp(session()));
    bench.write_messages();
    assert_eq!(bench.take_sends(), ["M11"]);
}

#[test]
fn a_clock_that_is_set_moves_nothing() {
    for ahead in [true, false] {
        let mut bench = Bench::up();
        bench.accept_to(&["+15550101"], delayed(HOUR));
        let wall = bench.now.wall.0;
        bench.now.wall = Timestamp(if ahead { wall + millis(DAY) } else { wall - millis(DAY) });
        bench.handle(Input::ClockStepped);
        bench.pass(HOUR - SECOND);
        assert!(bench.sends.is_empty() && bench.outbox.is_delayed(1));
        bench.pass(SECOND);
        bench.write_messages();
        assert_eq!(bench.take_sends(), ["M11"]);
    }
}

#[test]
fn the_most_urgent_waits_too_if_its_sender_wants_it() {
    let mut bench = Bench::up();
    let alert = Alert {
        priority: Priority::Max,
        ..delayed(HOUR)
    };
    bench.accept_to(&["+15550101"], alert);
    bench.pass(HOUR - SECOND);
    assert!(bench.sends.is_empty());
    bench.pass(SECOND);
    bench.write_messages();
    assert_eq!(bench.take_sends(), ["M11"]);
}

#[test]
fn what_waits_for_its_time_can_be_given_up_or_sent_now() {
    let mut bench = Bench::up();
    for _ in 0..2 {
        bench.accept_to(&["+15550101"], delayed(HOUR));
    }
    bench.outbox.drop_alert(bench.now, "A1").unwrap();
    bench.outbox.retry(bench.now, "A2").unwrap();
    bench.drain();
    bench.write_messages();
    assert_eq!(bench.take_sends(), ["M21"]);
    // Also where it is killed before it went out.
    let mut bench = bench.restarted(SECOND, Duration::ZERO);
    bench.handle(Input::SessionUp(session()));
    assert_eq!(bench.take_sends(), ["M21"]);
    bench.ack("M21", None);
    bench.pass(HOUR * 2);
    assert_eq!((bench.step("A1"), bench.step("A2")), (Step::Dropped, Step::Sent));
    assert!(bench.sends.is_empty());
}

#[test]
fn what_was_dropped_and_is_sent_by_hand_does_not_wait_again_after_a_kill() {
    let mut bench = Bench::up();
    bench.accept_to(&["+15550101"], delayed(HOUR));
    bench.pass(HOUR / 4);
    bench.outbox.drop_alert(bench.now, "A1").unwrap();
    bench.outbox.retry(bench.now, "A1").unwrap();
    bench.drain();
    let delay = bench.outbox.get("A1").unwrap().delay;
    assert_eq!(delay, Some(HOUR / 4), "what counts from its time counts from now");
    let mut bench = bench.restarted(SECOND, Duration::ZERO);
    assert!(!bench.outbox.is_delayed(1));
    bench.handle(Input::SessionUp(session()));
    bench.write_messages();
    assert_eq!(bench.take_sends().len(), 1);
}

#[test]
fn what_waits_for_its_time_leaves_room_for_what_goes_now() {
    let mut bench = Bench::new(Limits {
        pending_max: 8,
        ..Limits::default()
    });
    bench.handle(Input::SessionUp(session()));
    for _ in 0..2 {
        bench.accept_to(&["+15550101"], delayed(HOUR));
    }
    let request = |alert| AcceptRequest {
        route: "family".parse().unwrap(),
        session: session(),
        to: vec!["+15550101".parse().unwrap()],
        alerts: vec![NewAlert {
            follows: None,
            id: "A9".into(),
            alert,
        }],
    };
    let refused = bench.outbox.accept(bench.now, request(delayed(HOUR)));
    assert!(refused.unwrap_err().to_string().contains("without a delay"));
    assert!(bench.outbox.accept(bench.now, request(Alert::default())).is_ok());
}

#[test]
fn it_is_cancelled_by_its_id_or_by_what_it_is_about_on_its_own_route() {
    let mut bench = Bench::up();
    let family: RouteName = "family".parse().unwrap();
    bench.accept_to(&["+15550101"], delayed(HOUR));
    bench.accept_to(&["+15550101"], about("bins", "x", Some(HOUR)));
    bench.accept_to(&["+15550101"], about("now", "x", None));
    let mut cancel = |route: &str, name: &str| bench.outbox.cancel(bench.now, &route.parse().unwrap(), name);
    assert_eq!(cancel("ops", "A1"), Vec::<String>::new());
    assert_eq!(cancel("family", "A1"), ["A1"]);
    assert_eq!(cancel("family", "bins"), ["A2"]);
    assert_eq!(cancel("family", "now"), Vec::<String>::new(), "a session has it");
    assert_eq!(bench.outbox.cancel(bench.now, &family, "bins"), Vec::<String>::new());
    bench.drain();
    bench.write_messages();
    bench.pass(HOUR * 2);
    assert_eq!(bench.take_sends(), ["M31"]);
}

#[test]
fn what_was_due_and_is_not_sent_can_still_be_cancelled() {
    let mut bench = Bench::new(Limits::default());
    let family: RouteName = "family".parse().unwrap();
    bench.accept_to(&["+15550101", "+15550102"], about("bins", "x", Some(HOUR)));
    bench.accept_to(&["+15550101"], about("now", "x", None));
    bench.accept_to(&["+15550101"], about("stays", "x", None));
    bench.pass(HOUR * 2);
    bench.write_messages();
    assert_eq!(bench.outbox.cancel(bench.now, &family, "bins"), ["A1"]);
    assert_eq!(bench.outbox.cancel(bench.now, &family, "now"), ["A2"]);
    bench.handle(Input::SessionUp(session()));
    bench.write_messages();
    assert_eq!(bench.take_sends(), ["M31"]);
    assert_eq!((bench.step("A1"), bench.step("A2")), (Step::Dropped, Step::Dropped));
    // One recipient may have it: the others get it too.
    bench.accept_to(&["+15550102", "+15550101"], about("half", "x", None));
    assert_eq!(bench.take_sends(), ["M42"]);
    assert_eq!(bench.outbox.cancel(bench.now, &family, "half"), Vec::<String>::new());
}

#[test]
fn what_is_sent_by_hand_before_its_time_expires_and_is_late_from_then() {
    let mut bench = Bench::new(Limits::default());
    let alert = Alert {
        ttl: Some(HOUR),
        ..delayed(HOUR * 10)
    };
    bench.accept_to(&["+15550101"], alert);
    bench.pass(HOUR);
    bench.outbox.retry(bench.now, "A1").unwrap();
    bench.drain();
    bench.write_messages();
    let (at, reason) = bench.outbox.poll_timeout().unwrap();
    assert_eq!((at - bench.now.mono, reason), (HOUR, Reason::Expires { seq: 1 }));
    bench.pass(HOUR / 2);
    bench.handle(Input::SessionUp(session()));
    bench.write_messages();
    let shown = &bench.texts["M11"];
    assert!(shown.contains("raised 1 Jan 01:00"), "{shown}");
}

#[test]
fn what_it_is_worth_and_how_late_it_is_counts_from_when_it_may_go() {
    let mut bench = Bench::new(Limits::default());
    let alert = Alert {
        ttl: Some(HOUR),
        ..delayed(HOUR)
    };
    bench.accept_to(&["+15550101"], alert);
    assert_eq!(bench.next(), Reason::DelayEnds { seq: 1 });
    let (at, reason) = bench.outbox.poll_timeout().unwrap();
    assert_eq!((at - bench.now.mono, reason), (HOUR, Reason::Expires { seq: 1 }));
    bench.pass(HOUR - SECOND * 2);
    bench.handle(Input::SessionUp(session()));
    bench.write_messages();
    let shown = &bench.texts["M11"];
    assert!(shown.contains("raised 1 Jan 01:00"), "{shown}");
}

#[test]
fn what_comes_later_replaces_what_was_to_come_and_leaves_what_goes_now() {
    use Step::{Accepted, Superseded};
    let hour = Some(HOUR);
    for (said, steps) in [
        (&[("1", hour), ("2", hour)][..], &[Superseded, Accepted][..]),
        (&[("1", hour), ("2", None)], &[Superseded, Accepted]),
        (&[("1", None), ("2", hour)], &[Accepted, Accepted]),
    ] {
        let mut bench = Bench::new(Limits::default());
        for (text, delay) in said {
            bench.accept_to(&["+15550101"], about("disk", text, *delay));
        }
        let found: Vec<Step> = (1..=said.len()).map(|seq| bench.step(&format!("A{seq}"))).collect();
        assert_eq!(found, steps, "{said:?}");
    }
    // An end that is to be told later ends nothing before.
    let mut bench = Bench::new(Limits::default());
    bench.accept_to(&["+15550101"], about("disk", "1", None));
    let end = Alert {
        status: Status::Resolved,
        ..about("disk", "2", hour)
    };
    bench.accept_to(&["+15550101"], end);
    assert_eq!((bench.step("A1"), bench.step("A2")), (Accepted, Accepted));
}

#[test]
fn the_disk_may_refuse_what_waits() {
    let mut bench = Bench::up();
    let request = super::bench::request(&bench.outbox, vec![recipient("1")], delayed(HOUR));
    let seq = bench.outbox.accept(bench.now, request).unwrap()[0].new_seq().unwrap();
    assert_eq!(
        bench.outbox.cancel(bench.now, &"family".parse().unwrap(), "A1"),
        Vec::<String>::new()
    );
    // Its time comes before the disk has it.
    bench.pass(HOUR);
    assert!(bench.due.is_empty() && bench.sends.is_empty());
    bench.handle(Input::NotDurable { seq });
    assert_eq!((bench.outbox.pending_len(), bench.outbox.poll_timeout()), (0, None));
    let request = super::bench::request(&bench.outbox, vec![recipient("1")], delayed(HOUR));
    let seq = bench.outbox.accept(bench.now, request).unwrap()[0].new_seq().unwrap();
    bench.pass(HOUR);
    bench.handle(Input::Durable { seq });
    bench.write_messages();
    assert_eq!(bench.take_sends(), ["M21"]);
}
