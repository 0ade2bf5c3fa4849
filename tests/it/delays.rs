//! Alerts that their senders want to go out later, over kills.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bench::Bench;
use crate::support::{Relay, SOON};

/// ntfy's shortest.
const DELAY: Duration = Duration::from_secs(10);

fn scheduled(relay: &Relay, name: &str, delay: &str) -> Value {
    let headers = [("In", delay), ("X-Sequence-ID", name)];
    let answer = relay.http("POST", "/friend", &headers, name.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// What ntfy's poll shows with these parameters.
fn polled(relay: &Relay, parameters: &str) -> Vec<String> {
    let answer = relay.http("GET", &format!("/friend/json?poll=1{parameters}"), &[], b"");
    let events = answer
        .body
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let messages = events.filter(|event| event["event"] == "message");
    messages
        .map(|event| event["message"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn what_is_to_go_later_survives_a_kill_goes_once_and_can_be_cancelled() {
    let (bench, relay) = Bench::online();
    let began = Instant::now();
    let first = scheduled(&relay, "bins", "10s");
    let second = scheduled(&relay, "plants", "1h");
    let time = |answer: &Value| answer["time"].as_u64().unwrap();
    assert!(time(&second) >= time(&first) + 3590, "{first} {second}");
    relay.kill();
    let relay = bench.site.start();
    relay.wait_online();
    assert!(!polled(&relay, "").contains(&"plants".to_owned()));
    assert_eq!(polled(&relay, "&scheduled=1"), ["bins", "plants"]);
    let deleted = relay.http("DELETE", "/friend/plants", &[], b"").json();
    assert_eq!(
        (&deleted["event"], &deleted["id"]),
        (&Value::from("message_delete"), &second["id"])
    );
    let nothing = relay.http("DELETE", "/friend/plants", &[], b"").json();
    assert!(
        nothing["warning"]
            .as_str()
            .is_some_and(|warning| warning.contains("stays on the phone"))
    );
    relay.kill();
    let relay = bench.site.start();
    let shown = bench.friend.wait_received(1, DELAY + SOON);
    assert_eq!(shown[0].text, "bins");
    assert!(began.elapsed() >= DELAY, "{:?}", began.elapsed());
    relay.wait_step(first["id"].as_str().unwrap(), "delivered");
    let gone = relay
        .http(
            "GET",
            &format!("/v1/alerts/{}", second["id"].as_str().unwrap()),
            &[],
            b"",
        )
        .json();
    assert_eq!(gone["state"], "dropped");
    assert_eq!(polled(&relay, "&scheduled=1"), ["bins"]);
    relay.kill();
    let relay = bench.site.start();
    relay.wait_online();
    relay.publish("friend", "the next");
    let shown = bench.friend.wait_received(2, SOON);
    let texts: Vec<_> = shown.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(texts, ["bins", "the next"]);
}
