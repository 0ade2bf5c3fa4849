//! Who goes first: the more urgent, and of one priority the one that was accepted first.

use super::*;
use crate::alert::Priority;

impl Bench {
    fn accept_of(&mut self, to: &[&str], priority: Priority) {
        let names: Vec<String> = to.iter().map(|to| recipient(to).to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let alert = Alert {
            text: "x".into(),
            priority,
            ..Alert::default()
        };
        self.accept_to(&names, alert);
    }

    /// Acks each send as it comes, until nothing more is sent.
    fn ack_all(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let sends = self.take_sends();
            if sends.is_empty() {
                return all;
            }
            sends.iter().for_each(|message| self.ack(message, None));
            all.extend(sends);
        }
    }
}

const ALL: [Priority; 5] = [
    Priority::Min,
    Priority::Low,
    Priority::Default,
    Priority::High,
    Priority::Max,
];

#[test]
fn the_urgent_go_before_all_that_is_not_under_way() {
    let mut bench = Bench::up();
    for priority in [ALL, ALL].concat() {
        bench.accept_of(&["1"], priority);
    }
    // The first was under way before the others came.
    assert_eq!(
        bench.ack_all(),
        ["M11", "M51", "M101", "M41", "M91", "M31", "M81", "M21", "M71", "M61"]
    );
}

#[test]
fn where_many_recipients_wait_the_one_with_the_most_urgent_is_served_first() {
    let mut bench = Bench::new(Limits {
        in_flight_max: 1,
        ..Limits::default()
    });
    for (to, priority) in [("1", ALL[2]), ("2", ALL[1]), ("3", ALL[4]), ("4", ALL[3])] {
        bench.accept_of(&[to], priority);
    }
    bench.handle(Input::SessionUp(session()));
    assert_eq!(bench.ack_all(), ["M33", "M44", "M11", "M22"]);
}

#[test]
fn a_restart_and_a_new_line_keep_who_goes_first() {
    let mut bench = Bench::up();
    for priority in ALL {
        bench.accept_of(&["1"], priority);
    }
    assert_eq!(bench.take_sends(), ["M11"]);
    let records: Vec<AlertRecord> = bench.outbox.list(false, 9).into_iter().cloned().collect();
    bench.handle(Input::SessionDown(session()));
    bench.handle(Input::SessionUp(session()));
    // What was under way has not come through: nothing is, and the most urgent begins.
    let urgent_first = ["M51", "M41", "M31", "M21", "M11"];
    assert_eq!(bench.ack_all(), urgent_first);

    let mut bench = Bench::new(Limits::default());
    bench.outbox.restore(bench.now, records.into_iter());
    bench.handle(Input::SessionUp(session()));
    assert_eq!(bench.ack_all(), urgent_first);
}

/// A pause is the recipient's, whoever is first in line then: the server has asked for it, or the path has failed.
#[test]
fn what_comes_first_waits_out_a_pause_too() {
    for while_under_way in [true, false] {
        let mut bench = Bench::up();
        bench.accept_of(&["1"], Priority::Default);
        assert_eq!(bench.take_sends(), ["M11"]);
        if while_under_way {
            bench.accept_of(&["1"], Priority::Max);
        }
        bench.ack("M11", Some("429"));
        if !while_under_way {
            bench.accept_of(&["1"], Priority::Max);
        }
        assert_eq!(bench.take_sends(), [""; 0], "{while_under_way}");
        assert_eq!(bench.next(), Reason::Retry { seq: 2 });
        assert_eq!(bench.ack_all(), ["M21", "M11"]);
    }
}

#[test]
fn what_is_given_up_leaves_the_turn_to_the_next() {
    let mut bench = Bench::up();
    bench.handle(Input::SessionDown(session()));
    for priority in ALL {
        bench.accept_of(&["1"], priority);
    }
    bench.outbox.drop_alert(bench.now, "A5").unwrap();
    bench.outbox.drop_alert(bench.now, "A3").unwrap();
    bench.handle(Input::SessionUp(session()));
    assert_eq!(bench.ack_all(), ["M41", "M21", "M11"]);
}

/// Whether the disk takes it is not known yet: until then nobody else's pause is over, and afterwards it is as if it
/// had not come.
#[test]
fn what_the_disk_refuses_ends_no_pause() {
    for refused in [true, false] {
        let mut bench = Bench::up();
        bench.accept_of(&["1"], Priority::Default);
        bench.ack("M11", Some("463"));
        let alert = Alert {
            priority: Priority::Max,
            text: "x".into(),
            ..Alert::default()
        };
        let request = bench::request(&bench.outbox, vec![recipient("1")], alert);
        bench.outbox.accept(bench.now, request).unwrap();
        bench.take_sends();
        bench.handle(match refused {
            true => Input::NotDurable { seq: 2 },
            false => Input::Durable { seq: 2 },
        });
        assert_eq!(bench.outbox.held_recipients().count(), 1, "{refused}");
        assert_eq!(bench.take_sends(), [""; 0], "{refused}");
        let seq = if refused { 1 } else { 2 };
        assert_eq!(bench.next(), Reason::Retry { seq });
    }
}

#[test]
fn what_a_person_sends_again_ends_the_pause_of_what_stands_before_it() {
    let mut bench = Bench::up();
    bench.accept_of(&["1"], Priority::Default);
    bench.outbox.drop_alert(bench.now, "A1").unwrap();
    bench.accept_of(&["1"], Priority::Max);
    bench.take_sends();
    bench.fail("M21", false);
    assert!(bench.sends.is_empty());
    bench.outbox.retry(bench.now, "A1").unwrap();
    bench.drain();
    assert_eq!(bench.ack_all(), ["M21", "M11"]);
}
