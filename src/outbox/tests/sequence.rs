//! Alerts about the same thing.

use super::*;
use crate::alert::Status;

const FIRING: Status = Status::Firing;
const RESOLVED: Status = Status::Resolved;

fn alert(status: Status, text: &str) -> Alert {
    Alert {
        text: text.into(),
        status,
        sequence: Some("disk".into()),
        ..Alert::default()
    }
}

impl Bench {
    fn say(&mut self, status: Status, text: &str) {
        self.accept_to(&["+15550101"], alert(status, text));
    }

    /// The line comes up, and everything goes out: what is shown.
    fn shown(&mut self) -> Vec<String> {
        self.handle(Input::SessionUp(session()));
        let mut shown = Vec::new();
        loop {
            let sends = self.take_sends();
            if sends.is_empty() {
                break;
            }
            for id in sends {
                shown.push(self.texts[&id].clone());
                self.ack(&id, None);
            }
        }
        self.handle(Input::SessionDown(session()));
        shown
    }

    fn steps(&self) -> Vec<Step> {
        let ids = (1..self.outbox.seq_next).map(|seq| format!("A{seq}"));
        ids.map(|id| self.step(&id)).collect()
    }
}

#[test]
fn what_is_said_again_replaces_what_was_not_sent() {
    use Step::{Sent, Superseded};
    for (said, shown, steps) in [
        (&[(FIRING, "1"), (FIRING, "2")][..], &["2"][..], &[Superseded, Sent][..]),
        (&[(FIRING, "1"), (RESOLVED, "2")], &[], &[Superseded, Superseded]),
        (
            &[(FIRING, "1"), (FIRING, "2"), (RESOLVED, "3")],
            &[],
            &[Superseded, Superseded, Superseded],
        ),
        (
            &[(FIRING, "1"), (RESOLVED, "2"), (FIRING, "3")],
            &["3"],
            &[Superseded, Superseded, Sent],
        ),
        // Nobody knows what it ends: that may be on the phone.
        (&[(RESOLVED, "1")], &["1"], &[Sent]),
    ] {
        let mut bench = Bench::new(Limits::default());
        for (status, text) in said {
            bench.say(*status, text);
        }
        assert_eq!(bench.shown(), shown, "{said:?}");
        assert_eq!(bench.steps(), steps, "{said:?}");
        assert_eq!(bench.outbox.pending_len(), 0);
        assert!(bench.outbox.failures(|_, _| false).is_empty(), "nothing is lost");
    }
    let mut bench = Bench::new(Limits::default());
    bench.say(FIRING, "1");
    bench.say(FIRING, "2");
    bench.say(RESOLVED, "3");
    let notes = ["A1", "A2", "A3"].map(|id| bench.outbox.get(id).unwrap().deliveries[0].note.clone());
    assert_eq!(notes[0], "replaced by alert A2 before it was sent");
    assert_eq!(notes[1], "over before it was sent, by alert A3");
    assert_eq!(notes[2], "not sent, as alert A2 was not sent either");
    // A person may want it all the same.
    bench.outbox.retry(bench.now, "A1").unwrap();
    bench.drain();
    assert_eq!(bench.shown(), ["1"]);
}

#[test]
fn an_end_says_how_long_it_was_so() {
    let mut bench = Bench::new(Limits::default());
    bench.say(FIRING, "1");
    assert_eq!(bench.shown(), ["1"]);
    bench.pass(SECOND * 60);
    bench.say(FIRING, "still");
    bench.pass(SECOND * 783);
    bench.say(RESOLVED, "over");
    assert_eq!(bench.shown(), ["_after 14m 3s_\nover"], "the one between is superseded");
    bench.say(RESOLVED, "over again");
    assert_eq!(bench.shown(), ["over again"]);
    // What may have gone out counts as sent.
    bench.pass(SECOND * 601);
    bench.handle(Input::SessionUp(session()));
    bench.say(FIRING, "perhaps");
    assert_eq!(bench.take_sends().len(), 1);
    bench.handle(Input::SessionDown(session()));
    bench.say(RESOLVED, "over");
    assert_eq!(bench.shown(), ["perhaps", "over"]);
}

#[test]
fn news_of_the_same_thing_quote_the_message_that_began_it() {
    let mut bench = Bench::new(Limits::default());
    let mut said = |status, text: &str| {
        // Else it would flap.
        bench.pass(SECOND * 601);
        bench.say(status, text);
        bench.shown();
        let id = format!("M{}1", bench.outbox.seq_next - 1);
        bench.quoted.get(&id).map(|(id, text)| format!("{id}: {text}"))
    };
    assert_eq!(said(RESOLVED, "nothing is known"), None);
    assert_eq!(said(FIRING, "began"), None);
    assert_eq!(said(FIRING, "worse").as_deref(), Some("M21: began"));
    assert_eq!(said(RESOLVED, "over").as_deref(), Some("M21: began"));
    assert_eq!(said(FIRING, &"x".repeat(1000)), None);
    // Who was told nothing before has nothing to quote; what was not told is not quoted.
    bench.pass(SECOND * 601);
    bench.accept_to(&["+15550101", "+15550102"], alert(RESOLVED, "over again"));
    bench.shown();
    assert_eq!(bench.quoted["M61"], ("M51".to_owned(), "x".repeat(160)));
    assert!(!bench.quoted.contains_key("M62"));
    // A restart changes nothing, and the quote is there without the text of what is forgotten.
    let disk = bench.outbox.get("A4").unwrap().clone();
    let mut after = Bench::new(Limits::default());
    let mut unsent = disk.clone();
    unsent.deliveries[0].step = Step::Accepted;
    after.outbox.restore(after.now, std::iter::once(unsent));
    after.shown();
    assert_eq!(after.quoted["M41"], ("M21".to_owned(), String::new()));
}

#[test]
fn other_routes_other_names_and_what_is_not_on_disk_are_left_alone() {
    let mut bench = Bench::new(Limits::default());
    bench.say(FIRING, "1");
    let mut other = alert(RESOLVED, "2");
    other.sequence = Some("net".into());
    bench.accept_to(&["+15550101"], other);
    let mut request = super::bench::request(&bench.outbox, vec![recipient("1")], alert(RESOLVED, "3"));
    request.route = "ops".parse().unwrap();
    let accepted = bench.outbox.accept(bench.now, request).unwrap();
    let seq = accepted[0].new_seq().unwrap();
    bench.handle(Input::Durable { seq });
    let request = super::bench::request(&bench.outbox, vec![recipient("1")], alert(FIRING, "4"));
    let accepted = bench.outbox.accept(bench.now, request).unwrap();
    let refused = accepted[0].new_seq().unwrap();
    bench.handle(Input::NotDurable { seq: refused });
    // A recipient who did not get the first gets the second.
    let to = ["+15550101", "+15550102"];
    bench.accept_to(&to, alert(RESOLVED, "5"));
    // To the first of them neither goes; the other route and the other name are not meant.
    assert_eq!(bench.shown(), ["2", "5", "3"]);
    assert_eq!(bench.step("A1"), Step::Superseded);
}

#[test]
fn a_kill_between_the_two_writes_changes_nothing() {
    // What has no message yet, because the pace of the route holds it, cannot be on a phone.
    let paced = || {
        let mut bench = Bench::new(Limits::default());
        let family = RouteRules {
            mark_late: None,
            pace: Some(Pace {
                per_minute: 60,
                burst: 10,
            }),
            ..RouteRules::default()
        };
        bench.outbox.set_rules(Rules {
            routes: BTreeMap::from([("family".parse().unwrap(), family)]),
            ..Rules::default()
        });
        bench
    };
    let after_a_kill = |mut bench: Bench, mut after: Bench| {
        bench.say(FIRING, "1");
        let first = bench.outbox.get("A1").unwrap().clone();
        bench.say(FIRING, "2");
        let second = bench.outbox.get("A2").unwrap().clone();
        after.outbox.restore(after.now, [first, second].into_iter());
        after.drain();
        after.steps()
    };
    assert_eq!(after_a_kill(paced(), paced()), [Step::Superseded, Step::Accepted]);
    // What has one may have gone out before the kill: the disk does not know before its ack.
    let at_once = || Bench::new(Limits::default());
    assert_eq!(after_a_kill(at_once(), at_once()), [Step::Accepted, Step::Accepted]);
}

#[test]
fn the_end_of_what_goes_out_with_others_is_told() {
    let mut bench = Bench::new(Limits::default());
    bench.outbox.policy = Box::<super::gather::Gather>::default();
    for sequence in [Some("disk".to_owned()), None] {
        let low = Alert {
            priority: crate::alert::Priority::Low,
            sequence,
            ..alert(FIRING, "1")
        };
        bench.accept_to(&["+15550101"], low);
    }
    bench.pass(super::gather::WAIT);
    assert_eq!(bench.made.len(), 2, "one message carries both");
    bench.say(RESOLVED, "over");
    assert_eq!(bench.steps(), [Step::Accepted; 3]);
}

#[test]
fn a_start_forgets_nothing_before_it_has_looked_at_it() {
    let mut bench = Bench::new(Limits::default());
    let said = [("disk", FIRING), ("disk", RESOLVED), ("a", FIRING), ("a", FIRING)];
    let records = said.map(|(sequence, status)| {
        let of = Alert {
            sequence: Some(sequence.into()),
            ..alert(status, "x")
        };
        let seq = bench.accept_to(&["+15550101"], of);
        let mut record = bench.outbox.record(seq).unwrap().clone();
        record.deliveries[0].message_id = None;
        record.deliveries[0].step = match status {
            Status::Firing => Step::Accepted,
            Status::Resolved => Step::Superseded,
        };
        record
    });
    let mut after = Bench::new(Limits {
        settled_max: 1,
        ..Limits::default()
    });
    after.outbox.restore(after.now, records.into_iter());
    let waits: Vec<u64> = after.outbox.pending.iter().copied().collect();
    assert_eq!(
        waits,
        [4],
        "what is over does not wait, and only the newest of the other does"
    );
}
