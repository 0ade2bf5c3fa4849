//! What the relay takes of memory, as the kernel counts it. The figures of `cargo run --release --features lab --example
//! footprint` stand in `docs/operations.md`; here are bounds that any build and machine must keep.

use crate::support::Site;

const MIB: u64 = 1024 * 1024;

#[test]
fn an_idle_relay_takes_little_memory() {
    let site = Site::new("ws://127.0.0.1:9/ws/chat", &[("friend", &["+15550100002"])]);
    let relay = site.start();
    relay.status();
    let taken = relay.memory("RssAnon");
    // A debug build takes 5. sled's histograms, which nobody reads, would add 21.
    assert!(taken < 12 * MIB, "{} KiB", taken / 1024);
}
