//! What failed for good is told of until something gets through.

use super::*;

/// The number of alerts and the reason, where its one route has failures.
fn failures(bench: &Bench) -> Option<(usize, String)> {
    let failures = bench.outbox.failures(|_, _| false);
    assert!(failures.len() < 2, "{failures:?}");
    failures.first().map(|route| (route.alerts, route.reason.to_owned()))
}

/// Accepts an alert and has it refused for good.
fn fail(bench: &mut Bench, to: &str, code: &str) -> String {
    let seq = bench.outbox.seq_next;
    bench.accept(&[to]);
    bench.refuse(&format!("M{seq}{to}"), code);
    format!("A{seq}")
}

#[test]
fn failures_of_a_route_are_counted_until_the_next_alert_gets_through() {
    let mut bench = Bench::up();
    assert_eq!(failures(&bench), None);
    fail(&mut bench, "1", "404");
    fail(&mut bench, "2", "403");
    let (alerts, reason) = failures(&bench).unwrap();
    assert!(alerts == 2 && reason.contains("403"), "{reason}");
    bench.accept(&["3"]);
    assert_eq!(failures(&bench).unwrap().0, 2, "it is still to be sent");
    let records: Vec<AlertRecord> = bench.outbox.list(false, 10).into_iter().cloned().collect();
    let mut after = Bench::new(Limits::default());
    after.outbox.restore(after.now, records.into_iter());
    assert_eq!(failures(&after).unwrap().0, 2, "a restart tells nobody");
    bench.ack("M33", None);
    assert_eq!(failures(&bench), None);
}

#[test]
fn an_alert_that_reached_some_is_a_failure_and_what_is_known_otherwise_is_none() {
    let mut bench = Bench::up();
    bench.accept(&["1", "2"]);
    bench.ack("M11", None);
    bench.refuse("M12", "403");
    assert_eq!(failures(&bench).unwrap().0, 1);
    let known = |_: &SessionName, delivery: &Delivery| delivery.note.contains("403");
    assert_eq!(bench.outbox.failures(known), []);
    // It came after all.
    bench.ack("M12", None);
    assert_eq!(failures(&bench), None);
}

#[test]
fn what_a_person_gives_up_or_sends_again_is_no_failure_any_more() {
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    bench.outbox.drop_alert(bench.now, "A1").unwrap();
    assert_eq!(failures(&bench), None);
    let failed = fail(&mut bench, "2", "404");
    assert_eq!(failures(&bench).unwrap().0, 1);
    bench.outbox.retry(bench.now, &failed).unwrap();
    assert_eq!(failures(&bench), None, "it waits again");
}
