//! Times to live, and what goes out late.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn rules(ttl: Option<Duration>, mark_late: Option<Duration>) -> Rules {
    Rules {
        routes: BTreeMap::from([(
            "family".parse().unwrap(),
            RouteRules {
                ttl,
                mark_late,
                ..RouteRules::default()
            },
        )]),
        ..Rules::default()
    }
}

fn alert(ttl: Option<Duration>) -> Alert {
    Alert {
        text: "x".into(),
        ttl,
        ..Alert::default()
    }
}

impl Bench {
    fn of(ttl: Option<Duration>, mark_late: Option<Duration>) -> Self {
        let mut bench = Self::new(Limits::default());
        bench.outbox.set_rules(rules(ttl, mark_late));
        bench
    }

    fn note(&self, id: &str, index: usize) -> &str {
        &self.outbox.get(id).unwrap().deliveries[index].note
    }

    fn told(&self) -> Vec<(TransitionKind, Option<u32>)> {
        self.happened.iter().map(|it| (it.what, it.delivery)).collect()
    }
}

#[test]
fn what_is_not_sent_in_time_expires_and_is_told_as_that() {
    let mut bench = Bench::of(Some(HOUR), None);
    bench.accept_to(&["+15550101", "+15550102"], alert(None));
    let (at, reason) = bench.outbox.poll_timeout().unwrap();
    assert_eq!((at - bench.now.mono, reason), (HOUR, Reason::Expires { seq: 1 }));
    bench.pass(HOUR - SECOND);
    assert_eq!(bench.step("A1"), Step::Accepted);
    bench.next();
    assert_eq!((bench.step("A1"), bench.outbox.pending_len()), (Step::Expired, 0));
    assert_eq!(bench.note("A1", 0), "not sent within its time to live of 1h");
    assert_eq!(
        bench.told(),
        [(TransitionKind::Expired, Some(0)), (TransitionKind::Expired, Some(1))]
    );
    assert_eq!(bench.changes.last(), Some(&("A1".to_owned(), Step::Expired)));
    assert_eq!(bench.outbox.failures(|_, _| false).len(), 1, "somebody is told");
    bench.handle(Input::SessionUp(session()));
    assert!(bench.sends.is_empty());
}

#[test]
fn the_shorter_of_the_senders_and_the_routes_time_counts() {
    for (route, own, counts) in [
        (Some(2), Some(1), Some(1)),
        (Some(1), Some(2), Some(1)),
        (None, Some(2), Some(2)),
        (Some(2), None, Some(2)),
        (None, None, None),
    ] {
        let mut bench = Bench::of(route.map(|hours| HOUR * hours), None);
        bench.accept_to(&["+15550101"], alert(own.map(|hours| HOUR * hours)));
        let deadline = bench.outbox.poll_timeout().map(|(at, _)| at - bench.now.mono);
        assert_eq!(deadline, counts.map(|hours| HOUR * hours));
    }
}

/// Whether it was too late shows when the server has answered, or has not.
#[test]
fn what_is_under_way_is_not_given_up() {
    for comes in [true, false] {
        let mut bench = Bench::of(Some(HOUR), None);
        bench.accept_to(&["+15550101"], alert(None));
        bench.pass(HOUR - SECOND);
        bench.handle(Input::SessionUp(session()));
        assert_eq!(bench.take_sends(), ["M11"]);
        bench.pass(SECOND * 2);
        assert_eq!(bench.step("A1"), Step::Accepted);
        if comes {
            bench.ack("M11", None);
            assert_eq!(bench.step("A1"), Step::Sent);
            assert!(matches!(
                bench.outbox.poll_timeout(),
                Some((_, Reason::KeepEnds { .. }))
            ));
            continue;
        }
        bench.fail("M11", false);
        while bench.step("A1") == Step::Accepted {
            let message = bench.take_sends().pop();
            bench.next();
            if let Some(message) = message {
                bench.fail(&message, false);
            }
        }
        assert_eq!(bench.step("A1"), Step::Expired);
        assert!(bench.note("A1", 0).ends_with("but it may have gone out before"));
        // It had.
        bench.receipt("M11", ReceiptKind::Delivered);
        assert_eq!(bench.step("A1"), Step::Delivered);
    }
}

#[test]
fn only_what_is_not_sent_of_an_alert_expires() {
    let mut bench = Bench::of(Some(HOUR), None);
    bench.handle(Input::SessionUp(session()));
    bench.accept_to(&["+15550101", "+15550102"], alert(None));
    bench.ack("M11", None);
    bench.ack("M12", Some("463"));
    bench.pass(HOUR * 2);
    let steps: Vec<Step> = bench
        .outbox
        .get("A1")
        .unwrap()
        .deliveries
        .iter()
        .map(|it| it.step)
        .collect();
    assert_eq!(steps, [Step::Sent, Step::Expired]);
    assert_eq!(bench.step("A1"), Step::Expired);
}

#[test]
fn a_person_sends_what_has_expired_and_then_it_has_all_the_time() {
    let mut bench = Bench::of(Some(HOUR), None);
    bench.accept_to(&["+15550101"], alert(None));
    bench.pass(HOUR);
    assert_eq!(bench.step("A1"), Step::Expired);
    bench.outbox.retry(bench.now, "A1").unwrap();
    bench.pass(HOUR * 5);
    assert_eq!(bench.persisted.last().unwrap().ttl, None);
    bench.handle(Input::SessionUp(session()));
    bench.ack("M11", None);
    assert_eq!(bench.step("A1"), Step::Sent);
}

/// It counts from when the alert was accepted, over restarts; and by no wall clock that is set in between.
#[test]
fn a_restart_does_not_begin_the_time_anew_and_a_step_of_the_clock_ends_none() {
    let mut bench = Bench::of(Some(HOUR), None);
    bench.accept_to(&["+15550101"], alert(None));
    bench.now.wall.0 += 48 * 3_600_000;
    bench.handle(Input::ClockStepped);
    assert_eq!(bench.step("A1"), Step::Accepted);
    bench.now.wall.0 -= 48 * 3_600_000;
    bench.pass(SECOND * 600);
    let record = bench.outbox.get("A1").unwrap().clone();

    let mut after = Bench::of(None, None);
    after.now.wall.0 = bench.now.wall.0 + 600_000;
    after.outbox.restore(after.now, [record.clone()].into_iter());
    let (at, reason) = after.outbox.poll_timeout().unwrap();
    assert_eq!(
        (at - after.now.mono, reason),
        (SECOND * 2400, Reason::Expires { seq: 1 })
    );

    // Long over: it must not go out although the line comes up first.
    let mut late = Bench::of(None, None);
    late.now.wall.0 += 7_200_000;
    late.outbox.restore(late.now, [record].into_iter());
    late.handle(Input::SessionUp(session()));
    assert_eq!((late.step("A1"), late.sends.len()), (Step::Expired, 0));
}

/// On a board whose clock was not set nobody knows how old it is: sent late is better than given up for nothing.
#[test]
fn an_age_that_nobody_knows_gives_nothing_up() {
    let mut bench = Bench::of(Some(HOUR), None);
    bench.now.wall = Timestamp(5_000);
    bench.accept_to(&["+15550101"], alert(None));
    let record = bench.outbox.get("A1").unwrap().clone();
    let mut after = Bench::of(None, Some(SECOND * 120));
    after.outbox.restore(after.now, [record].into_iter());
    after.handle(Input::SessionUp(session()));
    assert_eq!(after.take_sends(), ["M11"]);
}

#[test]
fn what_goes_out_late_says_when_it_was_accepted() {
    let new_year_1_am = "_raised 1 Jan 01:00_\nx";
    for (waits, mark_late, text) in [
        (119, Some(120), "x"),
        (121, Some(120), new_year_1_am),
        (121, None, "x"),
        (86_400, Some(120), new_year_1_am),
    ] {
        let mut bench = Bench::new(Limits::default());
        let mut rules = rules(None, mark_late.map(Duration::from_secs));
        rules.time_zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(1));
        bench.outbox.set_rules(rules);
        bench.accept_to(&["+15550101"], alert(None));
        bench.pass(Duration::from_secs(waits));
        bench.handle(Input::SessionUp(session()));
        assert_eq!(bench.texts["M11"], text, "{waits} {mark_late:?}");
        // Sent again long after, it is the same message.
        bench.ack("M11", None);
        bench.pass(HOUR);
        bench.handle(Input::AskedAgain {
            session: session(),
            message_id: MessageId("M11".into()),
            from: vec![recipient("1")],
            by: "d".into(),
        });
        assert_eq!(bench.again[0].1, text);
    }
}

/// Handed to a line that was dead already, and sent by the next one.
#[test]
fn what_becomes_late_on_its_way_says_so_too() {
    let mut bench = Bench::of(None, Some(SECOND * 120));
    bench.handle(Input::SessionUp(session()));
    bench.accept_to(&["+15550101"], alert(None));
    assert_eq!(bench.texts["M11"], "x");
    bench.handle(Input::SessionDown(session()));
    bench.pass(HOUR);
    bench.handle(Input::SessionUp(session()));
    assert_eq!(bench.texts["M11"], "_raised 1 Jan 00:00_\nx");
}

#[test]
fn a_time_that_no_clock_showed_is_not_told() {
    let mut bench = Bench::of(None, Some(SECOND * 120));
    bench.now.wall = Timestamp(5_000);
    bench.accept_to(&["+15550101"], alert(None));
    bench.pass(HOUR);
    bench.handle(Input::SessionUp(session()));
    assert_eq!(bench.texts["M11"], "_raised earlier, before the clock was set_\nx");
}

#[test]
fn what_a_person_sends_again_expires_for_nobody() {
    let mut bench = Bench::up();
    let alert = Alert {
        ttl: Some(Duration::from_secs(3600)),
        ..Alert::default()
    };
    bench.accept_to(&["+15550101", "+15550102"], alert);
    // One is refused for good, the other waits for a line.
    for _ in 0..2 {
        bench.ack("M11", Some("403"));
        bench.pass(Duration::from_secs(60));
    }
    bench.handle(Input::SessionDown(session()));
    assert_eq!(bench.outbox.get("A1").unwrap().deliveries[0].step, Step::Failed);
    bench.outbox.retry(bench.now, "A1").unwrap();
    bench.drain();
    bench.pass(Duration::from_secs(7200));
    assert_eq!(bench.outbox.get("A1").unwrap().deliveries[1].step, Step::Accepted);
}
