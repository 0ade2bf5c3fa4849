//! A clock that cannot be right: the built program with a last time on disk that lies ahead.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::lab::Lab;
use crate::support::{Relay, Site, finding, pair_by_qr};
use tautline::store::{Store, last_time};

/// How far behind the disk a clock may be.
const TOLERATED: Duration = Duration::from_secs(24 * 3600);

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

fn paired() -> (Lab, Site) {
    let lab = Lab::start();
    let owner = lab.account("15550100001", "Owner");
    let site = Site::new(&lab.endpoint(), &[]);
    pair_by_qr(&site, |code| owner.scan(code).map(drop));
    (lab, site)
}

fn kept(site: &Site) -> Option<i64> {
    last_time::read(&Store::open(&site.state(), 1 << 20).unwrap()).unwrap()
}

/// Writes that it was `ahead` later than now; what was written.
fn keep(site: &Site, ahead: Duration) -> i64 {
    let time = now_ms() + i64::try_from(ahead.as_millis()).unwrap();
    let store = Store::open(&site.state(), 1 << 20).unwrap();
    smol::block_on(last_time::keep(&store, time)).unwrap();
    time
}

fn assert_holds(relay: &Relay) {
    let status = relay.wait_status("it does not wait", |status| status["sessions"][0]["state"] == "waiting");
    let session = &status["sessions"][0];
    assert_eq!(session["detail"], "waiting for the clock to be set", "{status:#}");
    assert_eq!(session["next"]["reason"], "look whether the clock is right");
    let entry = finding(&status, "clock-unset").expect("the code");
    assert_eq!(entry["severity"], "warning", "at first");
    let text = entry["text"].as_str().unwrap();
    assert!(text.contains("before the last time on disk"), "{text}");
    let health = status["health"].as_array().unwrap();
    let alone = health.iter().all(|entry| entry["severity"] != "error");
    assert!(alone, "{health:#?}");
}

#[test]
fn the_time_is_kept_and_a_clock_far_before_it_holds_the_line() {
    let (lab, site) = paired();
    let relay = site.start();
    relay.wait_online();
    assert_eq!(relay.stop(), 0);
    let time = kept(&site).expect("a time is on disk");
    assert!((now_ms() - time).abs() < 120_000, "{time}");

    let future = keep(&site, TOLERATED * 3650);
    let accepted = lab.counters().accepted;
    let relay = site.start();
    assert_holds(&relay);
    assert_eq!(lab.counters().accepted, accepted, "it has dialled");
    assert_eq!(relay.stop(), 0);
    assert_eq!(kept(&site), Some(future), "a clock that is not set leaves no trace");
}

#[test]
fn who_pairs_is_told_that_the_clock_is_waited_for() {
    let lab = Lab::start();
    let owner = lab.account("15550100001", "Owner");
    let site = Site::new(&lab.endpoint(), &[]);
    keep(&site, TOLERATED + Duration::from_secs(6));
    let mut pairing = site.command(&["pair", "--raw"]);
    let mut pairing = pairing.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut code = String::new();
    let stdout = pairing.stdout.as_mut().unwrap();
    BufReader::new(stdout).read_line(&mut code).unwrap();
    owner.scan(code.trim()).unwrap();
    let output = pairing.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    assert!(words.contains("trying again: the clock is not set"), "{words}");
}

#[test]
fn a_clock_that_gets_there_lets_the_line_go_at_once() {
    let (lab, site) = paired();
    let accepted = lab.counters().accepted;
    // Long enough to be seen on a busy machine, and far shorter than the 30 s after which a session asks by itself.
    keep(&site, TOLERATED + Duration::from_secs(12));
    let begin = std::time::Instant::now();
    let relay = site.start();
    assert_holds(&relay);
    assert_eq!(lab.counters().accepted, accepted, "it has dialled");
    relay.wait_online();
    let took = begin.elapsed();
    println!("online {took:.1?} after the start");
    assert!(
        took < Duration::from_secs(30),
        "it has waited for its own look: {took:?}"
    );
    let status = relay.status();
    let health = status["health"].as_array().unwrap();
    assert!(health.iter().all(|entry| entry["code"] != "clock-unset"), "{health:#?}");
    assert_eq!(relay.stop(), 0);
}
