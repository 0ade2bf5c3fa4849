//! Faults that must pass by themselves: afterwards the relay is online, and every accepted alert has arrived once.

use std::time::{Duration, Instant};

use crate::bench::{Bench, publish, side_by_side};
use crate::lab::{Failure, Faults};

struct Fault {
    name: &'static str,
    strike: fn(&Faults),
    /// How the relay calls it; alternatives with a bar between.
    cause: &'static str,
    /// Stays until `calm`, which comes once the relay has noticed.
    stands: bool,
    /// From the strike, or from `calm`, to the next active line; generous, because machines that run tests are busy.
    back_within: Duration,
}

const fn act(name: &'static str, cause: &'static str, strike: fn(&Faults)) -> Fault {
    Fault {
        name,
        strike,
        cause,
        stands: false,
        back_within: Duration::from_secs(5),
    }
}

const fn standing(name: &'static str, cause: &'static str, strike: fn(&Faults)) -> Fault {
    Fault {
        stands: true,
        ..act(name, cause, strike)
    }
}

/// Noticed only by a ping without an answer: within what the board promises.
const fn silent(name: &'static str, cause: &'static str, strike: fn(&Faults)) -> Fault {
    Fault {
        back_within: Duration::from_secs(20),
        ..act(name, cause, strike)
    }
}

fn recovers(fault: &Fault) {
    let (bench, relay) = Bench::online();
    let mut accepted = Vec::new();
    for number in 0..3 {
        publish(&relay, &mut accepted, format!("before {number}"));
    }
    bench.assert_each_once_in_order(&accepted);
    let line = bench.line();
    let struck = Instant::now();
    (fault.strike)(bench.lab.faults());
    for number in 0..3 {
        publish(&relay, &mut accepted, format!("during {number}"));
    }
    let named = |status: &serde_json::Value| {
        let cause = status["sessions"][0]["last_end"]["cause"].as_str().unwrap_or_default();
        fault.cause.split('|').any(|words| cause.contains(words))
    };
    relay.wait_status("the fault was not noticed as what it is", named);
    let noticed = struck.elapsed();
    if fault.stands {
        bench.lab.faults().calm();
    }
    let back = if fault.stands {
        bench.wait_newer_line(line, &relay)
    } else {
        bench.wait_newer_line(line, &relay);
        struck.elapsed()
    };
    println!("{}: noticed after {noticed:.1?}, back after {back:.1?}", fault.name);
    relay.wait_online();
    publish(&relay, &mut accepted, "after");
    bench.assert_each_once_in_order(&accepted);
    assert!(back <= fault.back_within, "{}: back after {back:?}", fault.name);
    assert_eq!(relay.stop(), 0);
}

fn all_recover(faults: &[Fault]) {
    side_by_side(faults, |fault| fault.name, recovers);
}

#[test]
fn the_end_of_a_connection_in_any_form_is_followed_by_the_next() {
    all_recover(&[
        act("reset", "the path broke", Faults::cut_rst),
        // What is under way when the server closes is answered by a reset.
        act("FIN", "recycled|path broke", Faults::cut_fin),
        act("close 1000", "recycled", |faults| faults.close_frame(1000)),
        act("close 1001", "recycled", |faults| faults.close_frame(1001)),
        act("close 1011", "code 1011", |faults| faults.close_frame(1011)),
        act("end of stream", "recycled", Faults::stream_end),
    ]);
}

#[test]
fn a_stream_error_that_can_pass_is_followed_by_the_next_line() {
    all_recover(&[
        act("500", "trouble (500)", |faults| faults.stream_error(500)),
        act("503", "trouble (503)", |faults| faults.stream_error(503)),
        act("515", "restart", |faults| faults.stream_error(515)),
        act("777", "unknown", |faults| faults.stream_error(777)),
        act("an ack is owed", "owed an ack", |faults| faults.stream_error_ack("LAB")),
        act("not well-formed", "out of step", Faults::xml_not_well_formed),
    ]);
}

#[test]
fn garbage_costs_the_line_and_nothing_else() {
    all_recover(&[
        silent("a frame that does not decrypt", "out of step", Faults::garbage_frame),
        silent("a frame that is no stanza", "out of step", Faults::garbage_in_noise),
    ]);
}

#[test]
fn silence_is_noticed_within_what_the_board_promises() {
    all_recover(&[
        silent("frozen", "unanswered", Faults::freeze),
        silent("black hole", "unanswered", |faults| faults.black_hole(true)),
    ]);
}

#[test]
fn a_door_that_stays_shut_is_tried_again() {
    all_recover(&[
        standing("refused", "no connection", |faults| {
            faults.refuse_tcp(true);
            faults.cut_rst();
        }),
        standing("HTTP 503", "trouble (503)", |faults| {
            faults.http_status(Some(503));
            faults.cut_rst();
        }),
        standing("HTTP 403", "upgrade failed", |faults| {
            faults.http_status(Some(403));
            faults.cut_rst();
        }),
        act("slow handshake", "the path broke", |faults| {
            faults.slow_handshake(Duration::from_secs(2));
            faults.cut_rst();
        }),
        act("another server key", "the path broke", |faults| {
            faults.rotate_server_key();
            faults.cut_rst();
        }),
    ]);
}

#[test]
fn a_login_that_is_refused_for_now_is_tried_again() {
    all_recover(&[
        standing("failure 500", "trouble (500)", |faults| {
            faults.failure(Some(Failure::code(500)));
            faults.cut_rst();
        }),
        standing("failure 503", "trouble (503)", |faults| {
            faults.failure(Some(Failure::code(503)));
            faults.cut_rst();
        }),
        standing("a ban of 2 s", "temporary ban of 2 s", |faults| {
            faults.failure(Some(Failure::ban(2)));
            faults.cut_rst();
        }),
        standing("503 after login", "trouble (503)", |faults| {
            faults.error_at_login(Some(503));
            faults.cut_rst();
        }),
        standing("515 after login", "restart", |faults| {
            faults.error_at_login(Some(515));
            faults.cut_rst();
        }),
    ]);
}

/// 20 s from the upgrade on every board.
#[test]
fn a_login_that_never_comes_is_given_up() {
    all_recover(&[
        standing("mute handshake", "login took too long", |faults| {
            faults.mute_handshake(true);
            faults.cut_rst();
        }),
        standing("silent login", "login took too long", |faults| {
            faults.silent_login(true);
            faults.cut_rst();
        }),
    ]);
}

#[test]
fn pings_that_go_unanswered_end_the_line() {
    let (bench, relay) = Bench::online();
    let line = bench.line();
    let struck = Instant::now();
    bench.lab.faults().withhold_pongs(true);
    relay.wait_status("not noticed", |status| {
        status["sessions"][0]["last_end"]["cause"] == "a ping went unanswered"
    });
    let noticed = struck.elapsed();
    bench.lab.faults().calm();
    let back = bench.wait_newer_line(line, &relay);
    println!("pongs withheld: noticed after {noticed:.1?}, back after {back:.1?}");
    assert!(noticed <= Duration::from_secs(15), "{noticed:?}");
    relay.wait_online();
    assert_eq!(relay.stop(), 0);
}
