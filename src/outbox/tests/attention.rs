//! What is said again until somebody acknowledges it.

use super::*;
use crate::alert::{Priority, Status};

const MINUTE: Duration = Duration::from_secs(60);

fn rules() -> Rules {
    let family = RouteRules {
        mark_late: None,
        repeat: Some(Repeat {
            every: MINUTE * 10,
            times: 2,
            from: Priority::High,
        }),
        escalate: Some(Escalate {
            after: MINUTE * 25,
            to: "oncall".parse().unwrap(),
            from: Priority::Max,
        }),
        ..RouteRules::default()
    };
    let oncall = RouteRules {
        mark_late: None,
        ..RouteRules::default()
    };
    Rules {
        routes: BTreeMap::from([("family".parse().unwrap(), family), ("oncall".parse().unwrap(), oncall)]),
        ..Rules::default()
    }
}

fn bench() -> Bench {
    let mut bench = Bench::new(Limits::default());
    bench.outbox.set_rules(rules());
    bench.handle(Input::SessionUp(session()));
    bench
}

fn alert(priority: Priority) -> Alert {
    Alert {
        text: "fire".into(),
        priority,
        sequence: Some("fire".into()),
        ..Alert::default()
    }
}

/// The shell accepts what was asked for; the numbers of what was new.
fn take(bench: &mut Bench) -> Vec<u64> {
    let mut new = Vec::new();
    for (route, alert, follows) in std::mem::take(&mut bench.follow_ups) {
        let request = AcceptRequest {
            route,
            session: session(),
            to: vec![recipient("1")],
            alerts: vec![NewAlert {
                id: format!("A{}", bench.outbox.seq_next),
                alert,
                follows: Some(follows.clone()),
            }],
        };
        match bench.outbox.accept(bench.now, request).unwrap().remove(0).new_seq() {
            Some(seq) => {
                new.push(seq);
                bench.handle(Input::Durable { seq });
            }
            None => bench.handle(Input::Followed { follows }),
        }
    }
    new
}

/// Everything is acked: what has gone out.
fn shown(bench: &mut Bench) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        let sends = bench.take_sends();
        if sends.is_empty() {
            return texts;
        }
        for id in sends {
            texts.push(bench.texts[&id].clone());
            bench.ack(&id, None);
        }
    }
}

/// An hour, minute by minute: when each text goes out.
fn an_hour(bench: &mut Bench) -> Vec<(u32, String)> {
    let mut all = Vec::new();
    for minute in 0..60 {
        take(bench);
        all.extend(shown(bench).into_iter().map(|text| (minute, text)));
        bench.pass(MINUTE);
    }
    all
}

fn expected() -> Vec<(u32, String)> {
    [
        (0, "‼️ fire"),
        (10, "‼️ _reminder 1 of 2_\nfire"),
        (20, "‼️ _reminder 2 of 2_\nfire"),
        (25, "‼️ _escalated: nobody has acknowledged it on family_\nfire"),
    ]
    .map(|(minute, text)| (minute, text.to_owned()))
    .into()
}

#[test]
fn it_is_repeated_and_escalated_once_each_until_somebody_acknowledges_it() {
    let mut bench = bench();
    bench.accept_to(&["+15550101"], alert(Priority::Max));
    assert_eq!(an_hour(&mut bench), expected());
    let attention = &bench.outbox.get("A1").unwrap().attention;
    assert_eq!((attention.repeats, attention.escalated_at.is_some()), (2, true));
    let told = bench.happened.iter().map(|it| it.what);
    let told: Vec<TransitionKind> = told.filter(|what| what.step().is_none()).collect();
    assert_eq!(
        told,
        [
            TransitionKind::Repeated,
            TransitionKind::Repeated,
            TransitionKind::Escalated
        ]
    );
    // What is not urgent enough is left alone.
    for (priority, texts) in [(Priority::Default, 1), (Priority::High, 3)] {
        let mut bench = self::bench();
        bench.accept_to(&["+15550101"], alert(priority));
        assert_eq!(an_hour(&mut bench).len(), texts, "{priority:?}");
    }
}

#[test]
fn an_acknowledgement_an_end_and_a_drop_stop_it() {
    type Act = fn(&mut Bench);
    let acts: [(&str, Act); 4] = [
        ("acknowledged", |bench| {
            bench.outbox.ack(bench.now, "A1", "somebody").unwrap();
        }),
        ("the reminder of it acknowledged", |bench| {
            bench.outbox.ack(bench.now, "A2", "somebody").unwrap();
        }),
        ("over", |bench| {
            let end = Alert {
                status: Status::Resolved,
                ..alert(Priority::Low)
            };
            bench.accept_to(&["+15550101"], end);
        }),
        ("acknowledged twice", |bench| {
            bench.outbox.ack(bench.now, "A1", "somebody").unwrap();
            bench.outbox.ack(bench.now, "A1", "another").unwrap();
            let acked = bench.outbox.get("A1").unwrap().attention.acked.clone();
            assert_eq!(acked.unwrap().by, "somebody");
        }),
    ];
    for (what, act) in acts {
        let mut bench = bench();
        bench.accept_to(&["+15550101"], alert(Priority::Max));
        shown(&mut bench);
        bench.pass(MINUTE * 10);
        take(&mut bench);
        assert_eq!(shown(&mut bench).len(), 1);
        act(&mut bench);
        bench.drain();
        shown(&mut bench);
        assert!(an_hour(&mut bench).is_empty(), "{what}");
    }
    assert!(bench().outbox.ack(self::bench().now, "none", "somebody").is_err());
    // A reminder that waits is not sent any more.
    let mut bench = bench();
    bench.accept_to(&["+15550101"], alert(Priority::Max));
    shown(&mut bench);
    bench.handle(Input::SessionDown(session()));
    bench.pass(MINUTE * 10);
    take(&mut bench);
    bench.outbox.ack(bench.now, "A1", "somebody").unwrap();
    bench.drain();
    assert_eq!(bench.step("A2"), Step::Superseded);
    assert_eq!(bench.step("A1"), Step::Sent);
}

#[test]
fn what_nobody_was_told_of_is_not_repeated_and_is_escalated_all_the_same() {
    let mut bench = bench();
    bench.handle(Input::SessionDown(session()));
    bench.accept_to(&["+15550101"], alert(Priority::Max));
    bench.pass(MINUTE * 24);
    assert!(bench.follow_ups.is_empty());
    bench.pass(MINUTE);
    assert!(matches!(bench.follow_ups[0].2.what, FollowUp::Escalation { .. }));
}

/// At each minute the relay is killed, before or after the disk knows of what it had just done.
#[test]
fn a_kill_at_any_moment_repeats_nothing_twice_and_forgets_nothing() {
    for killed in 0..60 {
        for lost in [false, true] {
            let mut bench = bench();
            bench.accept_to(&["+15550101"], alert(Priority::Max));
            let mut disk: BTreeMap<u64, AlertRecord> = BTreeMap::new();
            let mut all = Vec::new();
            for minute in 0..60 {
                for seq in take(&mut bench) {
                    disk.insert(seq, bench.outbox.record(seq).unwrap().clone());
                }
                all.extend(shown(&mut bench).into_iter().map(|text| (minute, text)));
                // Of this minute the disk has what was accepted, and perhaps no more.
                if minute != killed || !lost {
                    let records = bench.outbox.list(false, 99).into_iter();
                    disk.extend(records.map(|record| (record.seq, record.clone())));
                }
                if minute == killed {
                    let now = bench.now;
                    disk.entry(1).or_insert_with(|| bench.outbox.get("A1").unwrap().clone());
                    bench = self::bench();
                    bench.now = now;
                    bench.outbox.restore(now, disk.values().cloned());
                    bench.drain();
                }
                bench.pass(MINUTE);
            }
            // What was acked and not noted goes out again under its id, and the phone shows it once.
            all.dedup_by(|later, earlier| later.1 == earlier.1);
            assert_eq!(all, expected(), "{killed} {lost}");
        }
    }
}

#[test]
fn rules_that_are_new_leave_old_alerts_alone_and_those_that_are_gone_do_nothing() {
    let mut bench = Bench::up();
    bench.accept_to(&["+15550101"], alert(Priority::Max));
    shown(&mut bench);
    let old = bench.outbox.get("A1").unwrap().clone();
    let mut after = self::bench();
    after.outbox.restore(after.now, [old].into_iter());
    assert!(an_hour(&mut after).is_empty());
    let mut bench = self::bench();
    bench.accept_to(&["+15550101"], alert(Priority::Max));
    shown(&mut bench);
    let watched = bench.outbox.get("A1").unwrap().clone();
    let mut after = Bench::up();
    after.outbox.restore(after.now, [watched].into_iter());
    assert!(an_hour(&mut after).is_empty());
}

#[test]
fn a_storm_makes_no_room_with_what_nobody_has_acknowledged() {
    let mut bench = Bench::new(Limits {
        settled_max: 3,
        ..Limits::default()
    });
    bench.outbox.set_rules(rules());
    bench.handle(Input::SessionUp(session()));
    bench.accept_to(&["+15550101"], alert(Priority::Max));
    shown(&mut bench);
    for minute in 0..60 {
        bench.accept_to(&["+15550102"], Alert::default());
        take(&mut bench);
        shown(&mut bench);
        assert!(bench.outbox.get("A1").is_some() || minute > 25, "{minute}");
        bench.pass(MINUTE);
    }
    assert!(bench.outbox.get("A1").is_none(), "what is over is forgotten as all is");
}

#[test]
fn a_reminder_that_is_being_written_hears_of_the_acknowledgement() {
    let mut bench = bench();
    bench.accept_to(&["+15550101"], alert(Priority::Max));
    shown(&mut bench);
    bench.pass(MINUTE * 10);
    let (route, alert, follows) = bench.follow_ups.remove(0);
    let request = AcceptRequest {
        route,
        session: session(),
        to: vec![recipient("1")],
        alerts: vec![NewAlert {
            id: "A2".into(),
            alert,
            follows: Some(follows),
        }],
    };
    let seq = bench
        .outbox
        .accept(bench.now, request)
        .unwrap()
        .remove(0)
        .new_seq()
        .unwrap();
    bench.outbox.ack(bench.now, "A1", "somebody").unwrap();
    bench.handle(Input::Durable { seq });
    assert!(shown(&mut bench).is_empty());
    assert_eq!(bench.step("A2"), Step::Superseded);
}
