//! Alerts with attachments: each is a message of its own, and they follow each other.

use super::*;
use crate::alert::render::CAPTION_UNITS_MAX;
use crate::alert::{Attachment, BlobHash, MediaKind};

/// A bench whose messages have ids in the order in which they were made.
fn bench() -> Bench {
    let mut bench = Bench::new(Limits::default());
    let mut drawn = 0;
    bench.outbox = Outbox::new(Limits::default(), 7, move |_, _| {
        drawn += 1;
        MessageId(format!("M{drawn}"))
    });
    bench.handle(Input::SessionUp(session()));
    bench
}

fn album(text: &str, names: &[&str]) -> Alert {
    let attachment = |name: &&str| Attachment {
        hash: BlobHash([1; 32]),
        bytes: 5,
        name: (*name).to_owned(),
        mime: "image/jpeg".into(),
        kind: match name.ends_with("mp3") {
            true => MediaKind::Audio,
            false => MediaKind::Image,
        },
        width: 0,
        height: 0,
        thumbnail: None,
    };
    Alert {
        text: text.to_owned(),
        attachments: names.iter().map(attachment).collect(),
        ..Alert::default()
    }
}

/// What arrives at one recipient.
fn shown(alert: Alert) -> Vec<String> {
    let mut bench = bench();
    bench.accept_to(&["+15550100001"], alert);
    let mut shown = Vec::new();
    while let [message] = bench.take_sends().as_slice() {
        shown.push(bench.texts[message].clone());
        bench.ack(message, None);
    }
    assert_eq!(bench.step("A1"), Step::Sent);
    shown
}

#[test]
fn an_album_is_several_messages_in_order_and_the_first_has_the_text() {
    assert_eq!(shown(album("person", &["a", "b"])), ["<a> person", "<b> "]);
    assert_eq!(shown(album("person", &["a.mp3", "b"])), ["person", "<a.mp3> ", "<b> "]);
    let long = "x".repeat(CAPTION_UNITS_MAX + 1);
    assert_eq!(shown(album(&long, &["a", "b"])), [&long, "<a> ", "<b> "]);
    assert_eq!(shown(album(&long, &[])), [long]);
}

#[test]
fn recipients_do_not_wait_for_each_others_pictures_and_an_alert_is_sent_when_all_of_it_is() {
    let mut bench = bench();
    bench.accept_to(&["+15550100001", "+15550100002"], album("person", &["a", "b"]));
    assert_eq!(bench.take_sends(), ["M1", "M3"]);
    bench.ack("M1", None);
    assert_eq!(bench.take_sends(), ["M2"]);
    bench.ack("M2", None);
    bench.ack("M3", None);
    assert_eq!(bench.step("A1"), Step::Accepted);
    assert_eq!(bench.take_sends(), ["M4"]);
    bench.ack("M4", None);
    assert_eq!(bench.step("A1"), Step::Sent);
}

#[test]
fn a_restart_sends_the_rest_under_the_same_ids() {
    let mut bench = bench();
    bench.accept_to(&["+15550100001"], album("person", &["a", "b", "c"]));
    bench.ack("M1", None);
    let record = bench.outbox.record(1).unwrap().clone();
    let parts: Vec<u16> = record.deliveries.iter().map(|delivery| delivery.part).collect();
    assert_eq!(parts, [0, 1, 2]);
    let mut after = self::bench();
    after.outbox.restore(after.now, [record].into_iter());
    after.handle(Input::SessionUp(session()));
    assert_eq!(after.take_sends(), ["M2"]);
    assert_eq!(after.texts["M2"], "<b> ");
    after.ack("M2", None);
    assert_eq!(after.texts["M3"], "<c> ");
}

#[test]
fn only_what_goes_to_the_same_one_twice_is_dropped() {
    let mut bench = bench();
    bench.handle(Input::SessionDown(session()));
    bench.accept_to(&["+15550100001", "me"], album("person", &["a", "b"]));
    let me = || "me".parse().unwrap();
    bench.outbox.unify(bench.now, &session(), |_| me());
    let deliveries = &bench.outbox.get("A1").unwrap().deliveries;
    let parts: Vec<u16> = deliveries.iter().map(|delivery| delivery.part).collect();
    assert_eq!(parts, [0, 1]);
}

#[test]
fn a_late_album_says_so_once() {
    let mut bench = bench();
    bench.handle(Input::SessionDown(session()));
    bench.accept_to(&["+15550100001"], album("person", &["a", "b"]));
    bench.pass(SECOND * 600);
    bench.handle(Input::SessionUp(session()));
    assert_eq!(bench.texts["M1"], "<a> _raised 1 Jan 00:00_\nperson");
    bench.ack("M1", None);
    assert_eq!(bench.texts["M2"], "<b> ");
}
