//! Sends that ask the server for devices and keys before they write anything.

use super::*;

fn asking(message: &str) -> Input {
    Input::Asking {
        message_id: MessageId(message.into()),
    }
}

fn written(message: &str) -> Input {
    Input::Written {
        message_id: MessageId(message.into()),
    }
}

#[test]
fn a_send_that_gets_answers_keeps_its_time_and_one_that_does_not_is_missed() {
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    bench.accept(&["1"]);
    assert_eq!(bench.take_sends(), ["M11"]);
    for _ in 0..20 {
        bench.handle(asking("M11"));
        bench.pass(SECOND * 29);
    }
    assert_eq!(bench.suspects, 0);
    assert!(
        bench.take_sends().is_empty(),
        "it is not sent twice, and nobody overtakes it"
    );
    // The ack has its whole time from here.
    bench.handle(written("M11"));
    bench.pass(SECOND * 29);
    assert!(bench.take_sends().is_empty());
    bench.ack("M11", None);
    assert_eq!(bench.step("A1"), Step::Sent);
    assert_eq!(bench.take_sends(), ["M21"]);

    bench.handle(asking("M21"));
    assert_eq!(bench.next(), Reason::Ack { seq: 2 });
    while bench.take_sends() != ["M21"] {
        bench.next();
    }
    assert_eq!(bench.next(), Reason::Ack { seq: 2 });
    assert_eq!(bench.suspects, 1);
}

#[test]
fn who_asks_holds_no_slot_and_no_more_than_some_may() {
    let mut bench = Bench::new(Limits {
        in_flight_max: 2,
        asking_max: 2,
        ..Limits::default()
    });
    bench.handle(Input::SessionUp(session()));
    for to in ["1", "2", "3", "4", "5", "6"] {
        bench.accept(&[to]);
    }
    assert_eq!(bench.take_sends(), ["M11", "M22"]);
    bench.handle(asking("M11"));
    bench.handle(asking("M11"));
    assert_eq!(bench.take_sends(), ["M33"], "one slot, however often it is told");
    bench.handle(asking("M22"));
    assert_eq!(bench.take_sends(), ["M44"]);
    bench.handle(asking("M33"));
    assert!(bench.take_sends().is_empty(), "two ask already");
    // Written at last, they count again, over the bound if need be.
    bench.handle(written("M11"));
    assert!(bench.take_sends().is_empty());
    bench.ack("M11", None);
    bench.ack("M33", None);
    assert_eq!(bench.take_sends(), ["M55"]);
    bench.handle(Input::SessionDown(session()));
    bench.handle(Input::SessionUp(session()));
    assert_eq!(bench.take_sends(), ["M22", "M44"], "a lost line frees what asked too");
}

#[test]
fn late_and_foreign_words_change_nothing() {
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    bench.take_sends();
    bench.handle(asking("nobody's"));
    bench.fail("M11", false);
    bench.handle(asking("M11"));
    bench.handle(written("M11"));
    assert_eq!(bench.next(), Reason::Retry { seq: 1 });
    assert_eq!(bench.take_sends(), ["M11"]);
    bench.ack("M11", None);
    bench.handle(asking("M11"));
    assert_eq!(bench.step("A1"), Step::Sent);
}

#[test]
fn a_mark_of_what_is_missing_outlives_the_receipts_of_the_others() {
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    bench.fail("M11", false);
    bench.next();
    bench.ack("M11", None);
    let note = |bench: &Bench| bench.outbox.get("A1").unwrap().deliveries[0].note.clone();
    assert_eq!(note(&bench), "", "what was refused before is over");
    bench.handle(Input::Incomplete {
        message_id: MessageId("M11".into()),
        words: "1 device could not be given it".into(),
    });
    bench.receipt("M11", ReceiptKind::Delivered);
    bench.receipt("M11", ReceiptKind::Read);
    assert_eq!(bench.step("A1"), Step::Read);
    assert_eq!(note(&bench), "1 device could not be given it");
}
