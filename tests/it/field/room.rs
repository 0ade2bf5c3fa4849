//! Room: on the disk, in memory, in the outbox, and for keys.

use std::time::Duration;

use serde_json::Value;

use crate::bench::Bench;
use crate::support::{Relay, Site, finding};

/// For hundreds of large alerts on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Publishes alerts of `bytes` until one is refused, with that status. How many were accepted.
fn fill(relay: &Relay, bytes: usize, refused_with: u16) -> usize {
    let text = "x".repeat(bytes);
    for accepted in 0.. {
        let answer = relay.http("POST", "/friend", &[], text.as_bytes());
        if answer.status == refused_with {
            return accepted;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    unreachable!("an alert is refused at some time")
}

/// The bound in bytes is a bound as the one in number is: health says `outbox-full` exactly while the next alert, of
/// whatever size, is refused.
#[test]
fn health_says_that_the_outbox_is_full_by_bytes_while_alerts_are_refused() {
    // Nothing listens there: nothing goes out.
    let site = Site::new("ws://127.0.0.1:9/ws/chat", &[("friend", &["+15550100002"])]);
    let relay = site.start();
    let full = |relay: &Relay| finding(&relay.status(), "outbox-full").cloned();
    assert_eq!(full(&relay), None);
    let accepted = fill(&relay, 63 << 10, 503);
    assert!((500..560).contains(&accepted), "{accepted} of 63 KiB are 32 MiB");
    for size in [1, 1000, 60_000] {
        let answer = relay.http("POST", "/friend", &[], &vec![b'x'; size]);
        assert_eq!(answer.status, 503, "{size}: {answer:?}");
        assert!(answer.body.contains("the outbox is full"), "{answer:?}");
        assert!(answer.head.to_ascii_lowercase().contains("retry-after"), "{answer:?}");
    }
    let found = full(&relay).expect("health knows");
    assert_eq!(found["severity"], "error");
    assert!(found["text"].as_str().unwrap().contains("KiB"), "{found}");
    assert_eq!(relay.http("GET", "/v1/health", &[], b"").status, 503);
    // A single alert that is given up makes room, and health says that too.
    let listed = relay.http("GET", "/v1/alerts?limit=1", &[], b"").json();
    let id = listed[0]["id"].as_str().unwrap();
    let dropped = site.run(&["queue", "drop", id]);
    assert!(dropped.status.success(), "{dropped:?}");
    assert_eq!(full(&relay), None);
    relay.publish("friend", "there is room for one");
}

/// A sender that tries again with its key within the day gets its first alert, however many others came in between, and
/// over a restart.
#[test]
fn a_key_counts_for_its_day_whatever_else_comes() {
    let (bench, relay) = Bench::online();
    let publish = |relay: &Relay, key: &str, text: &str| -> Value {
        let headers = [("X-Key", key)];
        let answer = relay.http("POST", "/friend", &headers, text.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let first = publish(&relay, "disk-full", "the disk is full");
    let id = first["id"].as_str().unwrap();
    relay.wait_step(id, "delivered");
    let large = "x".repeat(60_000);
    for number in 0..300 {
        publish(&relay, &format!("other {number}"), &large);
    }
    relay.wait_status_for(PATIENCE, "they do not go out", |status| {
        status["outbox"]["accepted"] == 0 && status["outbox"]["sent"] == 0
    });
    let asked = relay.http("GET", &format!("/v1/alerts/{id}"), &[], b"");
    assert_eq!(asked.status, 410, "{asked:?}");
    assert!(asked.body.contains("is forgotten"), "{asked:?}");
    let again = |relay: &Relay| {
        let again = publish(relay, "disk-full", "the disk is full");
        assert_eq!(again["duplicate"], true, "{again}");
        for field in ["id", "time", "topic", "message"] {
            assert_eq!(again[field], first[field], "{again}");
        }
        assert_eq!(again["state"], "delivered", "{again}");
    };
    again(&relay);
    // What was forgotten is written with what comes next.
    let last = publish(&relay, "the last", "the last");
    relay.wait_step(last["id"].as_str().unwrap(), "delivered");
    relay.kill();
    let relay = bench.site.start();
    relay.wait_online();
    again(&relay);
    let waited = bench.site.run(&[
        "publish",
        "--to",
        "friend",
        "--key",
        "disk-full",
        "--wait=delivered",
        "again",
    ]);
    assert!(waited.status.success(), "{waited:?}");
    assert_eq!(String::from_utf8_lossy(&waited.stdout).trim(), id);
    assert_eq!(relay.stop(), 0);
    let checked = bench.site.run(&["store", "check"]);
    assert!(checked.status.success(), "{checked:?}");
    assert!(
        String::from_utf8_lossy(&checked.stdout).contains("alert-key"),
        "{checked:?}"
    );
    let texts = bench.friend.received().into_iter().map(|message| message.text);
    assert_eq!(texts.filter(|text| text == "the disk is full").count(), 1);
}
