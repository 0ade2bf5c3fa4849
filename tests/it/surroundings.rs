//! What surrounds a running relay: readers of its words that have gone.

use crate::support::Site;

/// A relay without a line, which keeps alerts all the same.
fn offline() -> Site {
    Site::new("ws://127.0.0.1:1/ws/chat", &[("friend", &["+15550100002"])])
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let site = offline();
    let (reader, writer) = std::io::pipe().unwrap();
    // Everything that the relay and its libraries do is a line.
    let relay = site.start_to(&["run", "-vv"], writer.into());
    for number in 0..400 {
        relay.publish("friend", &format!("alert {number}"));
    }
    assert!(relay.status()["outbox"]["accepted"].as_u64() >= Some(400));
    assert!(site.run(&["status"]).status.success());
    assert_eq!(relay.stop(), 0);
    drop(reader);
}
