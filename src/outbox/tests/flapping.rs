//! What turns too often is told of once, and then when it is steady.

use super::*;
use crate::alert::{Priority, Status};

const MINUTE: Duration = Duration::from_secs(60);

fn web(status: Status) -> Alert {
    Alert {
        text: "x".into(),
        sequence: Some("web".into()),
        status,
        ..Alert::default()
    }
}

impl Bench {
    /// The disk has the messages that were made, and the server takes what is sent: the ids.
    fn sent(&mut self) -> Vec<String> {
        for (id, seq) in std::mem::take(&mut self.made) {
            let message_id = MessageId(id);
            self.handle(Input::MessageDurable { message_id, seq });
        }
        let sends = self.take_sends();
        for id in &sends {
            self.ack(id, None);
        }
        sends
    }

    /// Says one, a minute after the one before: what goes out.
    fn says(&mut self, status: Status) -> Vec<String> {
        self.pass(MINUTE);
        self.accept_to(&["+15550101"], web(status));
        self.sent()
    }
}

/// Up and down, four times: what went out.
fn flap(bench: &mut Bench) -> Vec<Vec<String>> {
    [Status::Firing, Status::Resolved]
        .iter()
        .cycle()
        .take(7)
        .map(|status| bench.says(*status))
        .collect()
}

#[test]
fn it_is_told_once_that_it_flaps_and_then_what_it_is_when_it_is_steady() {
    let mut bench = Bench::up();
    let sent = flap(&mut bench);
    let expected: [&[&str]; 7] = [&["M11"], &["M21"], &["M31"], &["M41"], &[], &[], &[]];
    assert_eq!(sent, expected);
    assert!(
        bench.texts["M41"].contains("flapping: 3 turns in 2m"),
        "{}",
        bench.texts["M41"]
    );
    assert!(!bench.texts["M31"].contains("flapping"));
    let held = bench.outbox.held_back(7)[0].unwrap();
    assert_eq!(
        (held.why, held.until.map(|at| at - bench.now.mono)),
        (Why::Flapping, Some(MINUTE * 10))
    );
    assert_eq!(bench.outbox.oldest_pending(), None, "nobody is told that it waits long");
    bench.pass(MINUTE * 10 - SECOND);
    assert!(bench.sent().is_empty());
    bench.pass(SECOND);
    assert_eq!(bench.sent(), ["M71"]);
    assert!(
        bench.texts["M71"].contains("flapping: 6 turns in 5m"),
        "{}",
        bench.texts["M71"]
    );
    let steps = [5, 6, 7].map(|seq| bench.step(&format!("A{seq}")));
    assert_eq!(steps, [Step::Superseded, Step::Superseded, Step::Sent]);
    // It is steady: what comes next is told at once.
    bench.pass(MINUTE * 10);
    assert_eq!(bench.says(Status::Resolved), ["M81"]);
    assert!(!bench.texts["M81"].contains("flapping"));
}

#[test]
fn what_flapped_unseen_is_told_as_it_is_when_the_line_is_back() {
    let mut bench = Bench::new(Limits::default());
    assert!(flap(&mut bench).iter().all(Vec::is_empty));
    bench.handle(Input::SessionUp(session()));
    assert_eq!(
        bench.sent(),
        ["M71"],
        "the others were replaced before anybody had them"
    );
    assert!(
        bench.texts["M71"].contains("flapping: 6 turns in 5m"),
        "{}",
        bench.texts["M71"]
    );
}

#[test]
fn a_restart_finds_that_it_flaps_and_keeps_the_time() {
    let mut bench = Bench::up();
    flap(&mut bench);
    let records: Vec<AlertRecord> = bench.outbox.list(false, 99).into_iter().cloned().collect();
    let mut after = Bench::new(Limits::default());
    after.now = Now {
        mono: bench.now.mono + MINUTE * 3,
        wall: Timestamp(bench.now.wall.0 + 180_000),
    };
    after.outbox.restore(after.now, records.into_iter());
    after.handle(Input::SessionUp(session()));
    assert!(after.sent().is_empty());
    assert_eq!(after.says(Status::Firing), [""; 0]);
    // Four minutes after the last turn.
    after.pass(MINUTE * 6 - SECOND);
    assert!(after.sent().is_empty());
    after.pass(SECOND);
    assert_eq!(after.sent(), ["M81"]);
}

#[test]
fn what_is_most_urgent_and_what_a_person_sends_do_not_wait_and_neither_does_a_route_without_it() {
    let mut bench = Bench::up();
    flap(&mut bench);
    bench.accept_to(
        &["+15550101"],
        Alert {
            priority: Priority::Max,
            ..web(Status::Firing)
        },
    );
    assert_eq!(bench.sent(), ["M81"]);
    assert_eq!(bench.says(Status::Resolved), [""; 0]);
    assert_eq!(bench.step("A5"), Step::Superseded);
    bench.outbox.retry(bench.now, "A5").unwrap();
    bench.drain();
    assert_eq!(bench.sent(), ["M51"]);
    let mut bench = Bench::up();
    let off = RouteRules {
        flapping: None,
        ..RouteRules::default()
    };
    bench.outbox.set_rules(Rules {
        routes: BTreeMap::from([("family".parse().unwrap(), off)]),
        ..Rules::default()
    });
    assert!(flap(&mut bench).iter().all(|sent| sent.len() == 1));
}

#[test]
fn it_waits_no_longer_than_half_of_its_time_to_live_and_from_the_last_turn() {
    let mut bench = Bench::up();
    flap(&mut bench);
    // No turn: it is the same a minute later.
    assert_eq!(bench.says(Status::Firing), [""; 0]);
    let held = bench.outbox.held_back(8)[0].unwrap();
    assert_eq!(held.until.map(|at| at - bench.now.mono), Some(MINUTE * 9));
    bench.pass(MINUTE);
    let short = Alert {
        ttl: Some(MINUTE * 4),
        ..web(Status::Resolved)
    };
    bench.accept_to(
        &["+15550101"],
        Alert {
            text: "y".into(),
            ..short.clone()
        },
    );
    // The end of what nobody was told.
    assert_eq!(bench.step("A9"), Step::Superseded);
    let again = Alert {
        status: Status::Firing,
        ..short
    };
    bench.accept_to(&["+15550101"], again);
    bench.pass(MINUTE * 2);
    assert_eq!(bench.sent(), ["M101"], "and does not expire untold");
}

#[test]
fn what_tells_that_it_flaps_waits_for_no_group_and_is_marked_in_one() {
    let mut bench = Bench::new(Limits::default());
    let group = Group {
        by: Vec::new(),
        wait: SECOND * 90,
        interval: MINUTE * 5,
        max: 20,
    };
    let grouped = RouteRules {
        group: Some(group),
        ..RouteRules::default()
    };
    bench.outbox.set_rules(Rules {
        routes: BTreeMap::from([("family".parse().unwrap(), grouped)]),
        ..Rules::default()
    });
    bench.handle(Input::SessionUp(session()));
    let sent = flap(&mut bench).concat();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(
        bench.texts[&sent[0]].contains("flapping: "),
        "{}",
        bench.texts[&sent[0]]
    );
}

#[test]
fn nobody_is_told_of_what_its_own_route_has_not_had() {
    let mut bench = Bench::new(Limits::default());
    let escalating = RouteRules {
        escalate: Some(Escalate {
            after: MINUTE * 5,
            to: "oncall".parse().unwrap(),
            from: Priority::Default,
        }),
        ..RouteRules::default()
    };
    bench.outbox.set_rules(Rules {
        routes: BTreeMap::from([("family".parse().unwrap(), escalating)]),
        ..Rules::default()
    });
    bench.handle(Input::SessionUp(session()));
    flap(&mut bench);
    bench.pass(MINUTE * 10);
    assert_eq!(bench.sent(), ["M71"]);
    let of_it = |bench: &Bench| {
        bench
            .follow_ups
            .iter()
            .filter(|(_, _, follows)| follows.id == "A7")
            .count()
    };
    bench.pass(MINUTE * 5 - SECOND);
    assert_eq!(of_it(&bench), 0);
    bench.pass(SECOND);
    assert_eq!(of_it(&bench), 1);
}
