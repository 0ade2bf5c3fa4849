//! `tautline doctor`: what it sees with a relay that is well, with one that is not, and with none.

use std::process::Output;

use serde_json::Value;

use crate::bench::Bench;
use crate::support::Site;

/// Each outcome, and the exit code.
fn doctor(site: &Site, checks: &[&str]) -> (Vec<Value>, i32) {
    let mut args = vec!["--json", "doctor"];
    args.extend(checks);
    let Output { status, stdout, stderr } = site.run(&args);
    let said = String::from_utf8_lossy(&stderr);
    assert!(!said.contains("panicked"), "{said}");
    let lines = String::from_utf8(stdout).unwrap();
    let outcomes = lines.lines().map(|line| serde_json::from_str(line).unwrap());
    (outcomes.collect(), status.code().unwrap())
}

fn of<'a>(outcomes: &'a [Value], check: &str) -> Vec<&'a Value> {
    outcomes.iter().filter(|outcome| outcome["check"] == check).collect()
}

fn verdict<'a>(outcomes: &'a [Value], check: &str) -> &'a str {
    let found = of(outcomes, check);
    let first = found.first().unwrap_or_else(|| panic!("nothing about {check}"));
    first["verdict"].as_str().unwrap()
}

#[test]
fn a_relay_that_is_well_has_no_fault_and_each_layer_is_shown() {
    let (bench, _relay) = Bench::online();
    let (outcomes, code) = doctor(&bench.site, &[]);
    let faults: Vec<&Value> = outcomes
        .iter()
        .filter(|outcome| outcome["verdict"] == "fault")
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(code, 0);
    for check in [
        "config", "board", "entropy", "room", "sync", "dns", "line", "relay", "session",
    ] {
        assert_eq!(verdict(&outcomes, check), "good", "{check}");
    }
    let layers: Vec<&str> = of(&outcomes, "keepalive")
        .iter()
        .map(|outcome| outcome["seen"].as_str().unwrap())
        .collect();
    for layer in ["tcp", "websocket", "application"] {
        assert!(layers.iter().any(|seen| seen.contains(layer)), "{layer}: {layers:?}");
    }
    // Nobody has tried the routes, and nobody watches a relay that a test has started.
    for (check, next) in [("route", "tautline routes test"), ("watchdog", "systemctl enable")] {
        assert_eq!(verdict(&outcomes, check), "warning", "{check}");
        assert!(
            of(&outcomes, check)[0]["next"].as_str().unwrap().contains(next),
            "{check}"
        );
    }

    // For people, and only what is asked for.
    let shown = bench.site.run(&["doctor", "session", "room"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    let words: Vec<&str> = shown
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    assert_eq!(words[..2], ["room", "session"], "{shown}");
    assert_eq!(
        shown.lines().last(),
        Some("everything that was looked at is as it should be")
    );
    let quiet = bench.site.run(&["doctor", "--quiet", "session", "room"]);
    assert_eq!(quiet.stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
}

#[test]
fn what_is_wrong_is_a_fault_with_its_next_step() {
    let bench = Bench::unpaired();
    // No relay runs, and the server is not to be had.
    bench.lab.faults().refuse_tcp(true);
    let (outcomes, code) = doctor(&bench.site, &[]);
    assert_eq!(code, 1);
    for (check, next) in [("relay", "systemctl start"), ("line", "firewall")] {
        assert_eq!(verdict(&outcomes, check), "fault", "{check}");
        assert!(
            of(&outcomes, check)[0]["next"].as_str().unwrap().contains(next),
            "{outcomes:#?}"
        );
    }
    for check in ["session", "keepalive", "health", "route", "token", "watchdog"] {
        assert_eq!(verdict(&outcomes, check), "skipped", "{check}");
    }
    bench.lab.faults().refuse_tcp(false);

    // What the relay finds wrong is wrong here too.
    let relay = bench.site.start();
    relay.wait_status("its finding", |status| {
        crate::support::finding(status, "session-unpaired").is_some()
    });
    let (outcomes, code) = doctor(&bench.site, &["health", "relay"]);
    assert_eq!((code, verdict(&outcomes, "relay")), (1, "good"));
    let unpaired = of(&outcomes, "health")
        .into_iter()
        .find(|outcome| outcome["verdict"] == "fault");
    assert!(
        unpaired.unwrap()["next"].as_str().unwrap().contains("tautline pair"),
        "{outcomes:#?}"
    );
}

#[test]
fn a_configuration_that_is_not_valid_is_said_and_the_rest_is_looked_at() {
    let bench = Bench::unpaired();
    std::fs::write(bench.site.config(), "[[session]]\nname = 7\n").unwrap();
    let (outcomes, code) = doctor(&bench.site, &[]);
    assert_eq!((code, verdict(&outcomes, "config")), (1, "fault"));
    assert!(
        of(&outcomes, "config")[0]["seen"].as_str().unwrap().contains(":2:"),
        "{outcomes:#?}"
    );
    assert_eq!(verdict(&outcomes, "line"), "skipped");
    assert_ne!(verdict(&outcomes, "clock"), "skipped");
}

#[test]
fn an_unknown_check_is_named_with_those_that_there_are() {
    let bench = Bench::unpaired();
    let ran = bench.site.run(&["doctor", "disk"]);
    assert_eq!(ran.status.code(), Some(2));
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(said.contains("\"disk\"") && said.contains("room"), "{said}");
    let listed = bench.site.run(&["doctor", "--list", "clock"]);
    assert_eq!(
        String::from_utf8(listed.stdout).unwrap(),
        "clock      is the clock right?\n"
    );
}
