//! Many at once.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::bench::{Bench, publish};
use crate::support::SOON;

#[test]
fn sixty_four_publishers_at_once_lose_nothing() {
    const PUBLISHERS: usize = 64;
    const EACH: usize = 5;
    let (bench, relay) = Bench::online();
    std::thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let relay = &relay;
            scope.spawn(move || {
                for number in 0..EACH {
                    let text = format!("{publisher}.{number}");
                    // A connection more than the relay takes is told to come later, or reset; the key makes it safe to
                    // ask again.
                    let key = [("Idempotency-Key", text.as_str())];
                    while !relay
                        .try_http("POST", "/friend", &key, text.as_bytes())
                        .is_ok_and(|answer| answer.status == 200)
                    {}
                }
            });
        }
    });
    let received = bench.friend.wait_received(PUBLISHERS * EACH, SOON);
    let texts: BTreeSet<_> = received.iter().map(|message| message.text.clone()).collect();
    let ids: BTreeSet<_> = received.iter().map(|message| message.id.clone()).collect();
    assert_eq!(
        (received.len(), texts.len(), ids.len()),
        (PUBLISHERS * EACH, PUBLISHERS * EACH, PUBLISHERS * EACH)
    );
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_burst_of_five_hundred_goes_out_in_order() {
    let (bench, relay) = Bench::online();
    println!("idle and connected: {} KiB resident", resident_kib(relay.pid()));
    let mut accepted = Vec::new();
    let from = Instant::now();
    for number in 0..500 {
        publish(&relay, &mut accepted, format!("alert {number}"));
    }
    println!("500 accepted in {:.1?}", from.elapsed());
    bench.assert_each_once_in_order(&accepted);
    println!(
        "500 received after {:.1?}; {} KiB resident",
        from.elapsed(),
        resident_kib(relay.pid())
    );
    assert_eq!(relay.stop(), 0);
}

/// `VmRSS` of a process.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
