//! How those are told who have an alert that somebody else has acknowledged.

use super::*;
use crate::alert::Priority;

const MINUTE: Duration = Duration::from_secs(60);

fn rules() -> Rules {
    let family = RouteRules {
        mark_late: None,
        repeat: Some(Repeat {
            every: MINUTE * 10,
            times: 2,
            from: Priority::Low,
        }),
        ..RouteRules::default()
    };
    Rules {
        routes: BTreeMap::from([("family".parse().unwrap(), family)]),
        ..Rules::default()
    }
}

fn down() -> Bench {
    let mut bench = Bench::new(Limits::default());
    bench.outbox.set_rules(rules());
    bench
}

/// A relay with one alert that the first three recipients have.
fn bench() -> Bench {
    let mut bench = down();
    bench.handle(Input::SessionUp(session()));
    bench.accept_to(&["+15550101", "+15550102", "+15550103"], fire());
    for id in ["M11", "M12", "M13"] {
        bench.ack(id, None);
    }
    bench
}

fn fire() -> Alert {
    Alert {
        text: "fire".into(),
        priority: Priority::Max,
        ..Alert::default()
    }
}

/// The first recipient reacts to their message.
fn react(bench: &mut Bench) {
    let answer = super::super::Answer {
        session: session(),
        chat: vec![recipient("1")],
        from: vec![recipient("1")],
        id: "3A".into(),
        said: Said::Reaction(MessageId("M11".into())),
    };
    assert_eq!(bench.outbox.answer(bench.now, &answer), Answered::Acknowledged);
    bench.drain();
}

/// The disk has all records.
fn write(bench: &mut Bench) {
    for (id, seq) in std::mem::take(&mut bench.made) {
        let message_id = MessageId(id);
        bench.handle(Input::MessageDurable { message_id, seq });
    }
}

/// What goes out, each taken by the server: id, recipient, and what it says.
fn told(bench: &mut Bench) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    while !bench.marks.is_empty() {
        for (id, to, text) in std::mem::take(&mut bench.marks) {
            bench.ack(&id, None);
            all.push((id, to.to_string(), text));
        }
    }
    all
}

fn mark(id: &str, to: &str, on: &str) -> (String, String, String) {
    (id.to_owned(), to.to_owned(), format!("✅ on {on}"))
}

fn expected() -> [(String, String, String); 2] {
    [mark("RM12", "+15550102", "M12"), mark("RM13", "+15550103", "M13")]
}

#[test]
fn the_others_are_told_once_and_one_after_the_other_when_the_disk_knows() {
    let mut bench = bench();
    react(&mut bench);
    assert!(bench.marks.is_empty());
    write(&mut bench);
    assert_eq!(bench.marks.len(), 1, "one at a time");
    assert_eq!(told(&mut bench), expected());
    react(&mut bench);
    write(&mut bench);
    bench.pass(MINUTE * 60);
    assert!(bench.marks.is_empty());
    let deliveries = &bench.outbox.get("A1").unwrap().deliveries;
    let done: Vec<Option<bool>> = deliveries
        .iter()
        .map(|it| it.mark.as_ref().map(|mark| mark.done))
        .collect();
    assert_eq!(done, [None, Some(true), Some(true)]);
    // A person on this box has no copy: everybody is told, if anybody was to see to it at all.
    let mut bench = self::bench();
    bench.outbox.ack(bench.now, "A1", "somebody").unwrap();
    bench.drain();
    write(&mut bench);
    assert_eq!(told(&mut bench).len(), 3);
    let mut bench = Bench::up();
    bench.accept(&["1", "2"]);
    bench.ack("M11", None);
    bench.outbox.ack(bench.now, "A1", "somebody").unwrap();
    bench.drain();
    write(&mut bench);
    assert!(bench.marks.is_empty());
}

#[test]
fn a_restart_and_a_new_line_go_on_under_the_same_ids() {
    let mut bench = bench();
    react(&mut bench);
    write(&mut bench);
    bench.handle(Input::SessionDown(session()));
    bench.pass(MINUTE * 5);
    bench.marks.clear();
    let disk = bench.persisted.last().unwrap().clone();
    bench.handle(Input::SessionUp(session()));
    assert_eq!(told(&mut bench), expected());
    let done = bench.persisted.last().unwrap().clone();
    for (disk, goes_out) in [(disk, &expected()[..]), (done, &[])] {
        let mut after = down();
        after.now = bench.now;
        after.outbox.restore(after.now, std::iter::once(disk));
        after.drain();
        assert!(after.marks.is_empty(), "while the line is down");
        after.handle(Input::SessionUp(session()));
        assert_eq!(told(&mut after), goes_out);
    }
}

#[test]
fn what_cannot_be_told_costs_nothing_else() {
    let mut bench = bench();
    react(&mut bench);
    write(&mut bench);
    // Neither path nor ack: tried again, and the other goes meanwhile.
    bench.fail("RM12", false);
    assert_eq!(bench.marks.len(), 1);
    assert!(matches!(bench.next(), Reason::Mark { seq: 1 }));
    let ids = |bench: &Bench| bench.marks.iter().map(|(id, ..)| id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&bench), ["RM12", "RM13"]);
    bench.ack("RM13", Some("403"));
    assert_eq!(ids(&bench), ["RM12", "RM13", "RM12"]);
    for _ in 0..20 {
        if matches!(bench.outbox.poll_timeout(), Some((_, Reason::Mark { .. }))) {
            bench.next();
        }
    }
    assert!(ids(&bench).len() < 12, "{:?}", bench.marks);
    let record = bench.outbox.get("A1").unwrap();
    assert!(record.deliveries.iter().all(|it| it.mark.is_none()));
    assert!(
        record
            .deliveries
            .iter()
            .all(|it| it.step == Step::Sent && it.note.is_empty())
    );
    // An alert goes out while a reaction waits for its ack.
    let mut bench = self::bench();
    react(&mut bench);
    write(&mut bench);
    bench.take_sends();
    bench.accept_to(&["+15550102"], fire());
    assert_eq!(bench.take_sends(), ["M22"]);
    // And a reaction that is forgotten with its alert is not sent.
    bench.handle(Input::SessionDown(session()));
    bench.pass(DAY * 30);
    bench.marks.clear();
    bench.handle(Input::SessionUp(session()));
    assert!(bench.outbox.get("A1").is_none() && bench.marks.is_empty());
}

#[test]
fn a_server_that_wants_to_be_left_alone_is_asked_by_no_reaction_either() {
    let mut bench = bench();
    react(&mut bench);
    write(&mut bench);
    let (id, ..) = bench.marks.remove(0);
    bench.handle(Input::SendFailed {
        message_id: MessageId(id),
        failure: SendFailure::Refused {
            code: 429,
            backoff: Some(MINUTE * 60),
        },
    });
    bench.pass(MINUTE * 59);
    assert!(bench.marks.is_empty());
    bench.pass(MINUTE * 2);
    assert_eq!(bench.marks.len(), 1);
}

#[test]
fn whoever_gets_it_later_is_told_then() {
    let mut bench = down();
    bench.handle(Input::SessionUp(session()));
    bench.accept_to(&["+15550101", "+15550102"], fire());
    bench.ack("M11", None);
    react(&mut bench);
    write(&mut bench);
    assert!(bench.marks.is_empty());
    bench.ack("M12", None);
    write(&mut bench);
    assert_eq!(told(&mut bench), [mark("RM12", "+15550102", "M12")]);
}

#[test]
fn a_message_with_several_alerts_is_marked_when_none_of_them_waits() {
    let mut bench = down();
    bench.outbox.policy = Box::<gather::Gather>::default();
    bench.handle(Input::SessionUp(session()));
    let low = Alert {
        priority: Priority::Low,
        ..fire()
    };
    bench.accept_to(&["+15550102"], low.clone());
    bench.accept_to(&["+15550102"], low);
    while bench.sends.is_empty() {
        write(&mut bench);
        bench.pass(SECOND * 30);
    }
    let id = bench.take_sends().remove(0);
    bench.ack(&id, None);
    for alert in ["A1", "A2"] {
        assert!(bench.marks.is_empty());
        bench.outbox.ack(bench.now, alert, "somebody").unwrap();
        bench.drain();
        write(&mut bench);
    }
    let told = told(&mut bench);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].2, format!("✅ on {id}"));
}

#[test]
fn a_recipient_whom_the_server_holds_is_told_when_that_has_ended() {
    let mut bench = bench();
    bench.accept_to(&["+15550102"], fire());
    bench.ack("M22", Some("463"));
    react(&mut bench);
    write(&mut bench);
    assert_eq!(told(&mut bench), [mark("RM13", "+15550103", "M13")]);
    bench.handle(Input::Heard {
        session: session(),
        from: vec![recipient("2")],
    });
    assert_eq!(told(&mut bench), [mark("RM12", "+15550102", "M12")]);
}
