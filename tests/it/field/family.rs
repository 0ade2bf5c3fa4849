//! A name with an IPv6 and an IPv4 address, of which one takes the connection and then says nothing.

use std::net::{Ipv6Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::start::apart;
use crate::bench::Bench;
use crate::lab::Lab;

#[test]
fn an_address_that_accepts_in_silence_costs_one_dial() {
    // The system prefers IPv6 where a name has both.
    let prepare = "ip link set lo up\nhosts=$(mktemp)\n\
                   printf '127.0.0.1 localhost\\n::1 localhost\\n' >\"$hosts\"\nmount --bind \"$hosts\" /etc/hosts";
    apart(
        "field::family::an_address_that_accepts_in_silence_costs_one_dial",
        prepare,
        || {
            let lab = Lab::start();
            let port = lab.addr().port();
            let silent = match TcpListener::bind((Ipv6Addr::LOCALHOST, port)) {
                Ok(listener) => listener,
                Err(error) => return println!("not tried: no IPv6 here: {error}"),
            };
            let dials = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&dials);
            std::thread::spawn(move || {
                let mut kept = Vec::new();
                for stream in silent.incoming() {
                    counted.fetch_add(1, Ordering::SeqCst);
                    kept.push(stream);
                }
            });
            let bench = Bench::with(lab, &format!("ws://localhost:{port}/ws/chat"), "wsl2", None);
            let relay = bench.site.start();
            let status = relay.wait_status("the silence was not noticed", |status| {
                !status["sessions"][0]["last_end"].is_null()
            });
            let said = status["sessions"][0]["last_end"].to_string();
            assert!(
                said.contains("over IPv6 (::1)"),
                "it does not say which address: {said}"
            );
            bench.pair();
            relay.wait_online();
            // A line that ends is followed by one on the family that works.
            let line = bench.line();
            bench.lab.faults().cut_rst();
            let back = bench.wait_newer_line(line, &relay);
            assert!(back < Duration::from_secs(10), "back after {back:?}");
            assert_eq!(dials.load(Ordering::SeqCst), 1, "it was dialled again");
            assert_eq!(relay.stop(), 0);
        },
    );
}
