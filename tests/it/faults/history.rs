//! What is known of an end when the process that saw it is gone: the line log, and what the server asked for.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bench::Bench;
use crate::lab::Failure;
use crate::support::{Relay, SOON};

fn lines(relay: &Relay) -> Vec<Value> {
    let answer = relay.http("GET", "/v1/lines", &[], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json().as_array().expect("a list").clone()
}

/// Ends are written beside the session, a moment later.
fn wait_lines(relay: &Relay, what: &str, condition: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let until = Instant::now() + SOON;
    loop {
        let lines = lines(relay);
        if condition(&lines) {
            return lines;
        }
        assert!(Instant::now() < until, "{what}: {lines:#?}\n{}", relay.read_log());
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// The cause of each end; of a start, how the run before ended.
fn causes(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .filter_map(|entry| entry["cause"].as_str().or(entry["before"].as_str()))
        .collect()
}

#[test]
fn ends_outlive_a_kill_and_the_next_start_tells_of_it() {
    let (bench, relay) = Bench::online();
    let line = bench.line();
    bench.lab.faults().cut_rst();
    bench.wait_newer_line(line, &relay);
    let ended = |lines: &[Value]| causes(lines).last() == Some(&"path-broken");
    let before = wait_lines(&relay, "the end is not recorded", ended);
    let end = before.last().expect("an end");
    assert_eq!(
        (&end["origin"], &end["logged_in"], &end["times"]),
        (&"path".into(), &true.into(), &1.into())
    );
    assert!(
        end["proof_ages_ms"]["tcp"].is_u64() && end["bytes_in"].as_u64() > Some(0),
        "{end:#}"
    );
    assert_eq!(before[0]["before"], "nothing", "{before:#?}");
    relay.kill();

    // No server: every attempt fails alike, and they are one entry.
    bench.lab.faults().refuse_tcp(true);
    let relay = bench.site.start();
    let many = |lines: &[Value]| lines.last().is_some_and(|last| last["times"].as_u64() >= Some(3));
    let after = wait_lines(&relay, "no attempts", many);
    let count = before.len();
    assert_eq!(after[..count], before[..], "what was there has changed");
    assert_eq!(causes(&after[count..]), ["vanished", "unreachable"]);
    let failed = &after[count + 1];
    assert_eq!(
        (&failed["logged_in"], &failed["bytes_in"]),
        (&false.into(), &0.into()),
        "{failed:#}"
    );
    let told = bench.site.run(&["status", "--history", "--session", "default"]);
    let told = String::from_utf8(told.stdout).expect("UTF-8");
    assert!(told.lines().all(|line| line.chars().count() <= 100), "{told}");
    let words = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("without a goodbye while the host stayed up"), "{told}");
    assert!(words.contains("times since"), "{told}");
    assert_eq!(relay.stop(), 0);

    // A goodbye is told as one, and what was known before it is shown from the start on.
    let relay = bench.site.start();
    let status = relay.status();
    assert_eq!(status["sessions"][0]["last_end"]["origin"], "path", "{status:#}");
    let again = wait_lines(&relay, "no start", |lines| causes(lines).contains(&"stopped"));
    assert!(again.len() > after.len());
    bench.lab.faults().calm();
    relay.wait_online();
    bench.assert_quiet();
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_temporary_ban_holds_over_a_restart() {
    let (bench, relay) = Bench::online();
    bench.lab.faults().failure(Some(Failure::ban(3600)));
    bench.lab.faults().cut_rst();
    wait_lines(&relay, "no ban", |lines| causes(lines).last() == Some(&"temporary-ban"));
    let dialled = bench.lab.counters().accepted;
    relay.kill();
    // It would be let in now; but the server has named a time.
    bench.lab.faults().calm();
    let relay = bench.site.start();
    let status = relay.wait_status("not held", |status| status["sessions"][0]["state"] == "waiting");
    let session = &status["sessions"][0];
    assert!(
        session["detail"].as_str().unwrap().contains("temporary ban"),
        "{session:#}"
    );
    assert_eq!(session["next"]["reason"], "one try after the time the server named");
    let left = session["next"]["in_ms"].as_u64().unwrap();
    assert!((3_000_000..3_600_000).contains(&left), "{left}");
    assert_eq!(status["healthy"], false);
    relay.publish("friend", "kept");
    assert_eq!(relay.stop(), 0);
    assert_eq!(
        bench.lab.counters().accepted,
        dialled,
        "it dialled although it was banned"
    );
    bench.assert_quiet();
}

#[test]
fn a_ban_that_runs_out_after_a_restart_is_followed_by_a_line() {
    const BAN: Duration = Duration::from_secs(10);
    let (bench, relay) = Bench::online();
    let from = Instant::now();
    bench.lab.faults().failure(Some(Failure::ban(BAN.as_secs())));
    bench.lab.faults().cut_rst();
    wait_lines(&relay, "no ban", |lines| causes(lines).last() == Some(&"temporary-ban"));
    relay.kill();
    bench.lab.faults().calm();
    let relay = bench.site.start();
    relay.wait_online();
    assert!(from.elapsed() >= BAN, "dialled after {:?}", from.elapsed());
    assert_eq!(relay.stop(), 0);
}

/// A restart is a person's act, or follows a crash: one try is due, and no more.
#[test]
fn what_has_stopped_is_tried_once_at_each_start() {
    let (bench, relay) = Bench::online();
    bench.lab.faults().failure(Some(Failure::code(409)));
    bench.lab.faults().cut_rst();
    let stopped = |status: &Value| status["sessions"][0]["state"] == "stopped";
    relay.wait_status("not stopped", stopped);
    let mut dialled = bench.lab.counters().accepted;
    assert_eq!(relay.stop(), 0);
    for _ in 0..2 {
        let relay = bench.site.start();
        let tried = |lines: &[Value]| {
            lines
                .last()
                .is_some_and(|last| last["kind"] == "line-ended" && last["cause"] == "rejected")
        };
        wait_lines(&relay, "not tried", tried);
        relay.wait_status("not stopped", stopped);
        dialled += 1;
        assert_eq!(relay.stop(), 0);
        assert_eq!(bench.lab.counters().accepted, dialled, "not exactly one try");
    }
    bench.assert_quiet();
}
