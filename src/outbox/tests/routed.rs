//! Groups, quiet hours and pace, one behaviour each. `tests/parts/outbox` puts them together under a seed.

use jiff::civil::Time;
use jiff::tz::TimeZone;

use super::*;
use crate::alert::Priority;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn with(rules: RouteRules) -> Bench {
    let mut bench = Bench::new(Limits::default());
    bench.outbox.set_rules(Rules {
        routes: BTreeMap::from([("family".parse().unwrap(), rules)]),
        time_zone: TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap(),
    });
    bench.handle(Input::SessionUp(session()));
    bench
}

fn grouped(by: &[&str], wait: Duration) -> RouteRules {
    RouteRules {
        mark_late: None,
        group: Some(Group {
            by: by.iter().map(|name| (*name).to_owned()).collect(),
            wait,
            interval: MINUTE * 5,
            max: 2,
        }),
        ..RouteRules::default()
    }
}

fn quiet(then: Then) -> RouteRules {
    RouteRules {
        mark_late: None,
        quiet: Some(Quiet {
            from: Time::constant(22, 30, 0, 0),
            to: Time::constant(6, 30, 0, 0),
            below: Priority::High,
            then,
        }),
        ..RouteRules::default()
    }
}

fn alert(text: &str, priority: Priority) -> Alert {
    Alert {
        text: text.into(),
        priority,
        ..Alert::default()
    }
}

/// The disk writes what was made, and the server acks what is sent: the texts of it.
fn flow(bench: &mut Bench) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        for (id, seq) in std::mem::take(&mut bench.made) {
            let message_id = MessageId(id);
            bench.handle(Input::MessageDurable { message_id, seq });
        }
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

fn why(bench: &Bench, seq: u64) -> (Why, Option<Duration>) {
    let held = bench.outbox.held_back(seq)[0].unwrap();
    (held.why, held.until.map(|until| until - bench.now.mono))
}

#[test]
fn a_burst_is_one_alert_and_then_one_message() {
    let mut bench = with(grouped(&[], Duration::ZERO));
    bench.accept_to(&["+15550101"], alert("first", Priority::Default));
    assert_eq!(flow(&mut bench), ["first"]);
    for text in ["a", "b", "a", "c"] {
        bench.accept_to(&["+15550101"], alert(text, Priority::Default));
    }
    bench.accept_to(&["+15550101"], alert("d", Priority::High));
    assert!(flow(&mut bench).is_empty());
    assert_eq!(why(&bench, 2), (Why::Group, Some(MINUTE * 5)));
    assert_eq!(bench.outbox.beside(3).len(), 5);
    bench.accept_to(&["+15550101"], alert("fire", Priority::Max));
    assert_eq!(flow(&mut bench), ["‼️ fire"], "the most urgent is held by nothing");

    // A kill in between changes nothing of that.
    let disk: Vec<AlertRecord> = bench.outbox.list(false, 99).into_iter().cloned().collect();
    bench.pass(MINUTE);
    let mut after = with(grouped(&[], Duration::ZERO));
    after.now = bench.now;
    after.outbox.restore(after.now, disk.into_iter());
    after.handle(Input::SessionUp(session()));
    for bench in [&mut bench, &mut after] {
        assert!(flow(bench).is_empty());
        assert_eq!(why(bench, 2), (Why::Group, Some(MINUTE * 4)));
        assert!(matches!(bench.next(), Reason::HeldEnds { .. }));
        assert_eq!(flow(bench), ["❗ *5 alerts*\n- ❗ d\n- 2 × a\n- and 2 more"]);
        assert_eq!(bench.outbox.pending_len(), 0);
        // Long after, the next is a first one again.
        bench.pass(MINUTE * 6);
        bench.accept_to(&["+15550101"], alert("later", Priority::Default));
        assert_eq!(flow(bench), ["later"]);
    }
}

#[test]
fn groups_are_told_apart_by_what_the_route_says() {
    let mut bench = with(grouped(&["kind", "title"], SECOND * 30));
    for (kind, title) in [("disk", "a"), ("disk", "b"), ("disk", "a"), ("net", "a")] {
        let mut alert = alert("x", Priority::Default);
        alert.title = title.into();
        alert.labels.insert("kind".into(), kind.into());
        bench.accept_to(&["+15550101"], alert);
    }
    assert!(flow(&mut bench).is_empty());
    bench.pass(SECOND * 30);
    assert_eq!(flow(&mut bench), ["*2 alerts: a*\n- 2 × a: x", "*b*\nx", "*a*\nx"]);
}

#[test]
fn many_groups_that_wait_for_a_line_become_one_message() {
    let mut bench = with(grouped(&["title"], Duration::ZERO));
    bench.handle(Input::SessionDown(session()));
    for number in 0..200 {
        let mut alert = alert("x", Priority::Default);
        alert.title = format!("kind {number}");
        bench.accept_to(&["+15550101"], alert);
    }
    bench.accept_to(&["+15550101"], alert("urgent", Priority::High));
    assert_eq!(why(&bench, 1), (Why::Turn, None));
    bench.handle(Input::SessionUp(session()));
    let texts = flow(&mut bench);
    assert_eq!(texts[0], "❗ urgent");
    assert_eq!(texts[1], "*200 alerts*\n- kind 0: x\n- kind 1: x\n- and 198 more");
    assert_eq!(texts.len(), 2);
}

/// From eight in the evening of one day for two days: when each text is sent, in hours.
fn nights(bench: &mut Bench, start: u64) -> Vec<(u64, String)> {
    bench.now.wall = Timestamp(start);
    let begun = bench.now.mono;
    let mut sent = Vec::new();
    for hour in 0..48 {
        if hour == 4 || hour == 6 {
            bench.accept_to(&["+15550101"], alert(&format!("at {hour}"), Priority::Default));
        }
        for _ in 0..60 {
            let at = (bench.now.mono - begun).as_secs() / 60;
            sent.extend(flow(bench).into_iter().map(|text| (at, text)));
            bench.pass(MINUTE);
        }
    }
    sent
}

#[test]
fn what_a_night_holds_goes_out_once_after_it_whatever_the_clocks_do() {
    // 20:00 in Berlin: a usual evening, and those before summer time begins and ends.
    for (start, minutes) in [
        (1_767_294_000_000, 10 * 60 + 30),
        (1_774_724_400_000, 9 * 60 + 30),
        (1_792_864_800_000, 11 * 60 + 30),
    ] {
        let mut bench = with(quiet(Then::Digest));
        let text = "*2 alerts while it was quiet*\n- at 4\n- at 6".to_owned();
        assert_eq!(nights(&mut bench, start), [(minutes, text)], "{start}");
    }
    let mut bench = with(quiet(Then::Drop));
    assert!(nights(&mut bench, 1_767_294_000_000).is_empty());
    assert_eq!(bench.step("A1"), Step::Dropped);
    let note = &bench.outbox.get("A1").unwrap().deliveries[0].note;
    assert_eq!(note, "dropped: the route is quiet from 22:30 to 06:30");
}

#[test]
fn the_hour_decides_and_not_the_time_that_has_passed() {
    let mut bench = with(quiet(Then::Digest));
    // 23:00.
    bench.now.wall = Timestamp(1_767_304_800_000);
    bench.accept_to(&["+15550101"], alert("at night", Priority::Default));
    assert_eq!(why(&bench, 1), (Why::Quiet, Some(HOUR * 7 + MINUTE * 30)));
    assert_eq!(bench.outbox.oldest_pending(), None, "nobody is told that it is stuck");
    bench.accept_to(&["+15550101"], alert("urgent", Priority::High));
    assert_eq!(flow(&mut bench), ["❗ urgent"]);
    // A clock that is set back holds it longer, one that is set on lets it go.
    bench.now.wall.0 -= 3_600_000;
    bench.handle(Input::ClockStepped);
    assert_eq!(flow(&mut bench), ["at night"], "at ten it is not quiet");
    bench.accept_to(&["+15550101"], alert("2", Priority::Default));
    assert_eq!(flow(&mut bench), ["2"]);
    bench.now.wall.0 += 2 * 3_600_000;
    bench.handle(Input::ClockStepped);
    bench.accept_to(&["+15550101"], alert("3", Priority::Default));
    bench.handle(Input::SessionDown(session()));
    bench.now.wall.0 += 8 * 3_600_000;
    bench.handle(Input::ClockStepped);
    bench.accept_to(&["+15550101"], alert("4", Priority::Default));
    bench.handle(Input::SessionUp(session()));
    assert_eq!(flow(&mut bench), ["3", "4"]);
    // What could not go before the night does not go in it; what a person wants does.
    bench.handle(Input::SessionDown(session()));
    bench.accept_to(&["+15550101"], alert("5", Priority::Default));
    bench.pass(HOUR * 15);
    bench.handle(Input::SessionUp(session()));
    assert!(flow(&mut bench).is_empty());
    bench.outbox.drop_alert(bench.now, "A6").unwrap();
    bench.outbox.retry(bench.now, "A6").unwrap();
    bench.drain();
    assert_eq!(flow(&mut bench), ["5"]);
    // While the clock is not set there is no night.
    bench.now.wall = Timestamp(3_600_000);
    bench.accept_to(&["+15550101"], alert("6", Priority::Default));
    assert_eq!(flow(&mut bench), ["6"]);
}

#[test]
fn a_backlog_is_paced_and_summed_up_and_the_urgent_goes_first() {
    let mut bench = with(RouteRules {
        mark_late: None,
        pace: Some(Pace {
            per_minute: 2,
            burst: 3,
        }),
        ..RouteRules::default()
    });
    bench.handle(Input::SessionDown(session()));
    for number in 0..600 {
        bench.accept_to(&["+15550101"], alert(&format!("text {number}"), Priority::Default));
    }
    for text in ["high 1", "high 2"] {
        bench.accept_to(&["+15550101"], alert(text, Priority::High));
    }
    bench.handle(Input::SessionUp(session()));
    let texts = flow(&mut bench);
    assert_eq!(texts[..2], ["❗ high 1", "❗ high 2"]);
    assert!(texts[2].starts_with("*500 alerts*\n- text 0\n"), "{}", texts[2]);
    assert!(texts[2].ends_with("\n- text 19\n- and 480 more"), "{}", texts[2]);
    assert_eq!(texts.len(), 3);
    assert_eq!(why(&bench, 550), (Why::Pace, Some(SECOND * 30)));
    bench.accept_to(&["+15550101"], alert("fire", Priority::Max));
    assert_eq!(flow(&mut bench), ["‼️ fire"]);
    bench.next();
    let rest = flow(&mut bench);
    assert!(rest.len() == 1 && rest[0].starts_with("*100 alerts*"), "{rest:?}");
    // Few enough are not summed up.
    bench.pass(MINUTE * 10);
    for text in ["1", "2", "3", "4"] {
        bench.accept_to(&["+15550101"], alert(text, Priority::Default));
    }
    assert_eq!(flow(&mut bench), ["1", "2", "3"]);
    bench.next();
    assert_eq!(flow(&mut bench), ["4"]);
}

#[test]
fn an_alert_that_is_given_up_leaves_its_group() {
    let mut bench = with(grouped(&[], SECOND * 30));
    for text in ["1", "2", "3"] {
        bench.accept_to(&["+15550101"], alert(text, Priority::Default));
    }
    bench.outbox.drop_alert(bench.now, "A2").unwrap();
    bench.pass(SECOND * 30);
    assert_eq!(flow(&mut bench), ["*2 alerts*\n- 1\n- 3"]);
    bench.accept_to(&["+15550101"], alert("4", Priority::Default));
    bench.outbox.drop_alert(bench.now, "A4").unwrap();
    bench.pass(MINUTE * 10);
    assert!(flow(&mut bench).is_empty());
    assert_eq!(bench.outbox.pending_len(), 0);
}
