//! What a route does with its alerts beside sending them, through the built program.

use serde_json::Value;

use crate::bench::{Bench, publish};
use crate::support::{Relay, SOON};

fn with_rules(rules: &str) -> Bench {
    let bench = Bench::unpaired();
    let config = std::fs::read_to_string(bench.site.config()).unwrap();
    let config = config.replacen("name = \"friend\"\n", &format!("name = \"friend\"\n{rules}\n"), 1);
    std::fs::write(bench.site.config(), config).unwrap();
    bench
}

/// The alert when it is sent or given up.
fn ended(relay: &Relay, id: &str) -> Value {
    let target = format!("/v1/alerts/{id}?wait=sent&timeout=60s");
    relay.http("GET", &target, &[], b"").json()
}

#[test]
fn what_is_not_sent_in_time_expires_and_never_goes_out() {
    let bench = with_rules("ttl = \"1h\"");
    let relay = bench.site.start();
    let run = |args: &[&str]| bench.site.run(args);
    // Nothing is paired: whoever waits is told so, and the alert is kept.
    let args = ["--json", "publish", "--to", "friend", "--ttl", "1s", "too late"];
    let accepted = run(&args);
    assert!(accepted.status.success(), "{accepted:?}");
    let accepted: Value = serde_json::from_slice(&accepted.stdout).unwrap();
    let id = accepted["id"].as_str().unwrap();
    let shown = ended(&relay, id);
    assert_eq!(shown["state"], "expired");
    let delivery = &shown["deliveries"][0];
    assert_eq!(delivery["note"], "not sent within its time to live of 1s");
    // The journal is written with the next round of changes.
    relay.wait_status("its place in the journal", |_| {
        let shown = relay.http("GET", &format!("/v1/alerts/{id}"), &[], b"").json();
        let history = shown["history"].clone();
        history
            .as_array()
            .and_then(|all| all.last())
            .is_some_and(|last| last["what"] == "expired")
    });
    let status = relay.wait_status("its finding", |status| {
        let health = status["health"].as_array().unwrap();
        health.iter().any(|entry| entry["code"] == "alerts-failed")
    });
    assert_eq!(status["outbox"]["expired"], 1);
    let shown = run(&["queue", "show", id]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("state     expired"), "{shown}");

    // What a sender asks for in a way that nobody understands costs it nothing.
    let odd = relay.http("POST", "/friend", &[("X-TTL", "soon")], b"in time");
    assert_eq!(odd.status, 200);
    assert!(odd.json()["warning"].as_str().unwrap().contains("\"soon\""));
    relay.kill();

    // It stays expired over a restart, and the other goes out alone.
    let relay = bench.site.start();
    assert_eq!(ended(&relay, id)["state"], "expired");
    bench.pair();
    relay.wait_online();
    bench.assert_each_once_in_order(&["in time".to_owned()]);
    // A person may want it all the same.
    assert!(run(&["queue", "retry", id]).status.success());
    relay.wait_step(id, "delivered");
}

#[test]
fn what_arrives_late_says_when_it_was_raised() {
    let bench = with_rules("mark_late = \"1s\"");
    let relay = bench.site.start();
    let id = relay.publish("friend", "the disk is full");
    std::thread::park_timeout(std::time::Duration::from_millis(1100));
    bench.pair();
    relay.wait_online();
    relay.wait_step(&id, "delivered");
    let received = bench.friend.wait_received(1, SOON);
    let (mark, text) = received[0].text.split_once('\n').unwrap();
    assert!(
        mark.starts_with("_raised ") && text == "the disk is full",
        "{received:?}"
    );
    let mut accepted = vec![received[0].text.clone()];
    publish(&relay, &mut accepted, "and now in time");
    bench.assert_each_once_in_order(&accepted);
}

#[test]
fn in_a_backlog_the_urgent_goes_first() {
    let bench = Bench::unpaired();
    let relay = bench.site.start();
    for (priority, text) in [("3", "first"), ("3", "second"), ("5", "urgent"), ("1", "whenever")] {
        let answer = relay.http("POST", "/friend", &[("Priority", priority)], text.as_bytes());
        assert_eq!(answer.status, 200);
    }
    bench.pair();
    relay.wait_online();
    let wanted = ["‼️ urgent", "first", "second", "whenever"];
    bench.assert_each_once_in_order(&wanted.map(str::to_owned));
}
