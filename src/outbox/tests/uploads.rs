//! What waits for an upload: it holds up neither others nor what is more urgent, and counts as no failure.

use super::*;
use crate::alert::Priority;

impl Bench {
    fn accept_with(&mut self, to: &str, priority: Priority) {
        let alert = Alert {
            text: "x".into(),
            priority,
            ..Alert::default()
        };
        self.accept_to(&[&recipient(to).to_string()], alert);
    }

    fn uploading(&mut self, message: &str) {
        self.fail_with(message, SendFailure::Uploading);
    }

    fn uploaded(&mut self, message: &str) {
        let message_id = MessageId(message.into());
        self.handle(Input::Uploaded { message_id });
    }
}

#[test]
fn it_is_sent_when_the_upload_is_done_and_nobody_has_counted_an_attempt() {
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    bench.accept(&["1"]);
    bench.accept(&["2"]);
    assert_eq!(bench.take_sends(), ["M11", "M32"]);
    bench.uploading("M11");
    // The order to one recipient is kept; others do not wait.
    assert_eq!(bench.take_sends(), [""; 0]);
    let delivery = bench.outbox.get("A1").unwrap().deliveries[0].clone();
    assert_eq!((delivery.attempts, delivery.note.contains("uploaded")), (0, true));
    bench.uploaded("M11");
    assert_eq!(bench.take_sends(), ["M11"]);
    bench.ack("M11", None);
    assert_eq!(bench.take_sends(), ["M21"]);
    assert_eq!(bench.outbox.get("A1").unwrap().deliveries[0].attempts, 1);
    assert_eq!(bench.suspects, 0);
}

/// However long it takes, the line is no suspect for it.
#[test]
fn nobody_says_that_it_is_done_and_it_is_asked_for_again() {
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    for _ in 0..10 {
        assert_eq!(bench.take_sends(), ["M11"]);
        bench.uploading("M11");
        assert_eq!(bench.next(), Reason::Retry { seq: 1 });
    }
    assert_eq!((bench.take_sends(), bench.suspects), (vec!["M11".into()], 0));
}

#[test]
fn the_urgent_to_the_same_recipient_do_not_wait_for_it() {
    for while_under_way in [true, false] {
        let mut bench = Bench::up();
        bench.accept_with("1", Priority::Default);
        assert_eq!(bench.take_sends(), ["M11"]);
        if while_under_way {
            bench.accept_with("1", Priority::Max);
        }
        bench.uploading("M11");
        if !while_under_way {
            bench.accept_with("1", Priority::Max);
        }
        assert_eq!(bench.take_sends(), ["M21"], "{while_under_way}");
        // Said while the urgent one is under way: then it is not paused, and is simply next.
        bench.uploaded("M11");
        bench.ack("M21", None);
        assert_eq!(bench.take_sends(), ["M11"], "{while_under_way}");
    }
}

#[test]
fn more_recipients_wait_for_one_upload_than_may_be_under_way_and_others_still_go() {
    let mut bench = Bench::new(Limits {
        in_flight_max: 1,
        ..Limits::default()
    });
    bench.handle(Input::SessionUp(session()));
    for to in ["1", "2", "3"] {
        bench.accept(&[to]);
        let message = bench.take_sends().remove(0);
        bench.uploading(&message);
    }
    bench.accept(&["4"]);
    assert_eq!(bench.take_sends(), ["M44"]);
    bench.ack("M44", None);
    for message in ["M11", "M22", "M33"] {
        bench.uploaded(message);
    }
    assert_eq!(bench.take_sends(), ["M11"], "one after the other");
    bench.ack("M11", None);
    assert_eq!(bench.take_sends(), ["M22"]);
}

#[test]
fn a_new_line_and_a_dropped_alert_end_the_wait() {
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    bench.accept(&["1"]);
    bench.take_sends();
    bench.uploading("M11");
    bench.handle(Input::SessionDown(session()));
    bench.handle(Input::SessionUp(session()));
    assert_eq!(bench.take_sends(), ["M11"]);
    bench.uploading("M11");
    bench.outbox.drop_alert(bench.now, "A1").unwrap();
    bench.drain();
    assert_eq!(bench.take_sends(), ["M21"]);
    bench.uploaded("M11");
    assert_eq!(bench.take_sends(), [""; 0]);
}
