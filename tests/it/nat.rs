//! The line through a NAT that forgets, and to a server whose host has gone without a word: in network namespaces, so
//! that nothing acks. Where they are not allowed the tests say so and pass.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::bench::{Bench, publish};
use crate::netns::{NatPath, SERVER, SERVER_SEEN};
use crate::support::Relay;

/// `wsl2` promises to notice within 11 s; the rest is for busy machines.
const NOTICED_WITHIN: Duration = Duration::from_secs(15);

/// Longer than any test here.
const LONG: Duration = Duration::from_secs(600);

/// Runs `test` where the relay is.
fn over_a_nat(idle: Duration, test: impl FnOnce(&NatPath) + Send) {
    let path = NatPath::lay(idle).expect("what could be laid before");
    path.near.inside(|| test(&path));
}

/// Side by side, each with a NAT of its own: they mostly wait.
#[test]
fn lines_over_a_nat() {
    let cases: [(&str, fn()); 5] = [
        (
            "just_above",
            a_nat_that_forgets_just_above_the_ping_interval_never_loses_the_line,
        ),
        (
            "everything",
            a_nat_that_forgets_everything_is_noticed_and_alerts_arrive_once,
        ),
        ("below", a_nat_below_the_schedule_loses_lines_and_no_alerts),
        (
            "swallowed",
            a_path_that_swallows_everything_is_noticed_and_tried_until_it_is_back,
        ),
        (
            "restarted",
            a_server_that_restarted_unheard_is_noticed_with_the_next_packet,
        ),
    ];
    crate::netns::allowed("lines_over_a_nat", || {
        crate::bench::side_by_side(&cases, |case| case.0, |case| case.1());
    });
}

/// From now to the next active line, with alerts accepted meanwhile; each must arrive once.
fn notices_and_delivers(bench: &Bench, relay: &Relay, accepted: &mut Vec<String>) -> Duration {
    let (line, before, struck) = (bench.line(), relay.lines(), Instant::now());
    for number in 0..3 {
        publish(relay, accepted, format!("during {before}.{number}"));
    }
    relay.wait_status("the death was not noticed", |status| {
        status["sessions"][0]["lines"].as_u64() > Some(before)
    });
    let noticed = struck.elapsed();
    bench.wait_newer_line(line, relay);
    relay.wait_online();
    println!(
        "noticed after {noticed:.1?}, back after {:.1?}: {}",
        struck.elapsed(),
        relay.last_cause()
    );
    bench.assert_each_once_in_order(accepted);
    noticed
}

/// A flow on which nothing passes. Whether it still works after `idle`.
fn idle_flow_survives(path: &NatPath, idle: Duration) -> bool {
    let listener = path.far.inside(|| TcpListener::bind((SERVER, 0)).expect("a free port"));
    let port = listener.local_addr().expect("it is bound").port();
    let mut near = TcpStream::connect((SERVER_SEEN, port)).expect("the way is open");
    let (mut far, _) = listener.accept().expect("it came");
    near.write_all(b"1")
        .and_then(|()| far.read_exact(&mut [0]))
        .expect("a new flow works");
    // The wait is the test: nothing happens on this flow.
    let mut comes = |within| {
        far.set_read_timeout(Some(within)).expect("set");
        far.read_exact(&mut [0]).is_ok()
    };
    assert!(!comes(idle), "who sent that?");
    near.write_all(b"2").expect("the kernel takes it");
    comes(Duration::from_secs(3))
}

/// 9 s are to pings of 5 to 7 s what 60 s are to those of 8 to 12 s, but closer.
fn a_nat_that_forgets_just_above_the_ping_interval_never_loses_the_line() {
    const IDLE: Duration = Duration::from_secs(9);
    // Three pings of the relay fall into it.
    const QUIET: Duration = Duration::from_secs(21);
    over_a_nat(IDLE, |path| {
        let (bench, relay) = path.online("wsl2");
        let before = (relay.lines(), bench.line());
        assert!(
            !idle_flow_survives(path, QUIET),
            "this NAT does not forget, so it shows nothing"
        );
        assert_eq!((relay.lines(), bench.line()), before, "{}", relay.read_log());
        let alert = relay.publish("friend", "still there");
        relay.wait_step(&alert, "delivered");
        assert_eq!(relay.lines(), before.0);
        assert_eq!(relay.stop(), 0);
    });
}

fn a_nat_that_forgets_everything_is_noticed_and_alerts_arrive_once() {
    over_a_nat(LONG, |path| {
        let (bench, relay) = path.online("wsl2");
        let mut accepted = Vec::new();
        publish(&relay, &mut accepted, "before");
        bench.assert_each_once_in_order(&accepted);
        path.forget();
        let noticed = notices_and_delivers(&bench, &relay, &mut accepted);
        assert!(noticed <= NOTICED_WITHIN, "{noticed:?}");
        assert_eq!(relay.stop(), 0);
    });
}

/// Shorter than any ping interval: every quiet line is lost, and none of them is taken for alive.
fn a_nat_below_the_schedule_loses_lines_and_no_alerts() {
    over_a_nat(Duration::from_secs(3), |path| {
        let (bench, relay) = path.online("wsl2");
        let mut accepted = Vec::new();
        let mut before = relay.lines();
        for round in 0..2 {
            let status = relay.wait_status("the NAT's forgetting was not noticed", |status| {
                let session = &status["sessions"][0];
                session["lines"].as_u64() > Some(before) && session["state"] == "online"
            });
            before = status["sessions"][0]["lines"].as_u64().unwrap_or(0);
            publish(&relay, &mut accepted, format!("alert {round}"));
        }
        bench.assert_each_once_in_order(&accepted);
        assert_eq!(relay.stop(), 0);
    });
}

fn a_path_that_swallows_everything_is_noticed_and_tried_until_it_is_back() {
    over_a_nat(LONG, |path| {
        let (bench, relay) = path.online("wsl2");
        let mut accepted = Vec::new();
        let (line, struck) = (bench.line(), Instant::now());
        path.swallow(true);
        publish(&relay, &mut accepted, "during");
        relay.wait_status("not noticed", |status| status["sessions"][0]["state"] != "online");
        let noticed = struck.elapsed();
        println!("swallowed: noticed after {noticed:.1?}: {}", relay.last_cause());
        assert!(noticed <= NOTICED_WITHIN, "{noticed:?}");
        path.swallow(false);
        bench.wait_newer_line(line, &relay);
        bench.assert_each_once_in_order(&accepted);
        assert_eq!(relay.stop(), 0);
    });
}

/// The other end forgot the connection while nothing could tell us: its kernel resets what comes next.
fn a_server_that_restarted_unheard_is_noticed_with_the_next_packet() {
    over_a_nat(LONG, |path| {
        let (bench, relay) = path.online("wsl2");
        let mut accepted = Vec::new();
        let lines = bench.lab.lines().len();
        path.swallow(true);
        bench.lab.faults().cut_rst();
        assert!(bench.lab.wait_lines(lines - 1, crate::support::SOON));
        path.swallow(false);
        let noticed = notices_and_delivers(&bench, &relay, &mut accepted);
        assert!(noticed <= Duration::from_secs(5), "{noticed:?}");
        assert_eq!(relay.last_cause(), "the path broke");
        assert_eq!(relay.stop(), 0);
    });
}
