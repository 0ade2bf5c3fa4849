//! What the journal is told.

use super::super::*;
use super::{Bench, DAY};

fn told(bench: &mut Bench) -> Vec<(TransitionKind, String, Option<u32>)> {
    let happened = bench.happened.drain(..);
    happened.map(|it| (it.what, it.alert, it.delivery)).collect()
}

fn one(what: TransitionKind, delivery: u32) -> (TransitionKind, String, Option<u32>) {
    (what, "A1".to_owned(), Some(delivery))
}

#[test]
fn every_change_of_a_step_is_told_once_with_the_record_that_it_changes() {
    let mut bench = Bench::up();
    bench.accept(&["1", "2"]);
    assert_eq!(told(&mut bench), [], "whoever writes it first tells of the acceptance");
    bench.ack("M11", None);
    bench.ack("M11", None);
    bench.receipt("M12", ReceiptKind::Read);
    bench.receipt("M11", ReceiptKind::Delivered);
    let expected = [
        one(TransitionKind::Sent, 0),
        one(TransitionKind::Read, 1),
        one(TransitionKind::Delivered, 0),
    ];
    assert_eq!(told(&mut bench), expected);
}

#[test]
fn refusals_and_what_a_person_does_are_told_apart() {
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    bench.ack("M11", Some("429"));
    assert_eq!(told(&mut bench), [], "a try that failed is no change of the step");
    bench.next();
    bench.refuse("M11", "404");
    bench.outbox.retry(bench.now, "A1").unwrap();
    bench.drain();
    bench.outbox.drop_alert(bench.now, "A1").unwrap();
    bench.drain();
    let expected = [
        one(TransitionKind::Failed, 0),
        one(TransitionKind::Retried, 0),
        one(TransitionKind::Dropped, 0),
    ];
    assert_eq!(told(&mut bench), expected);
}

#[test]
fn an_alert_that_goes_takes_along_what_nobody_has_fetched_yet() {
    let mut bench = Bench::new(Limits {
        settled_bytes_max: 0,
        ..Limits::default()
    });
    bench.accept(&["1"]);
    bench.ack("M11", None);
    let expected = [
        one(TransitionKind::Sent, 0),
        (TransitionKind::Forgotten, "A1".to_owned(), None),
    ];
    assert_eq!(told(&mut bench), expected);
    assert!(bench.persisted.is_empty());
}

#[test]
fn what_waits_is_never_forgotten() {
    let mut bench = Bench::new(Limits {
        settled_max: 0,
        settled_bytes_max: 0,
        ..Limits::default()
    });
    bench.accept(&["1", "2"]);
    bench.ack("M11", None);
    bench.pass(DAY * 400);
    assert!(bench.forgotten.is_empty(), "one delivery still waits");
    bench.ack("M12", None);
    assert_eq!(bench.forgotten, [1]);
}
