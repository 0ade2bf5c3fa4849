//! What the relay takes of memory, as the kernel counts it. The figures of
//! `cargo run --release --features lab --example footprint` stand in `docs/operations.md`; here are bounds that any
//! build and machine must keep.

use crate::support::Site;

const MIB: u64 = 1024 * 1024;

#[test]
fn memory_stays_small_when_idle_and_while_alerts_wait() {
    let site = Site::new("ws://127.0.0.1:9/ws/chat", &[("friend", &["+15550100002"])]);
    let relay = site.start();
    relay.status();
    let idle = relay.memory("RssAnon");
    // A debug build takes 5. sled's histograms, which nobody reads, would add 21.
    assert!(idle < 12 * MIB, "{} KiB", idle / 1024);
    for _ in 0..2000 {
        relay.publish("friend", "the disk is full");
    }
    let waiting = relay.memory("RssAnon");
    // It takes 10 in all: on a busy machine the start is not over when the first is read, so the difference says
    // little. What sled cannot let go of during a batch would add 10.
    assert!(waiting < 18 * MIB, "{} KiB with 2 000 alerts waiting", waiting / 1024);
}
