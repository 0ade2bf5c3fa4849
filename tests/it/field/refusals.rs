//! What the server refuses is judged per cause, asked again where the answer can have been stale, and holds up nobody
//! else.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bench::{Bench, OWNER, side_by_side};
use crate::lab::{Direction, Lab};
use crate::support::{Relay, SOON, finding};

fn alert(relay: &Relay, id: &str) -> Value {
    relay.http("GET", &format!("/v1/alerts/{id}"), &[], b"").json()
}

/// Waits until the note of the alert's delivery number `index` contains `words`.
fn wait_note(relay: &Relay, id: &str, index: usize, words: &str) -> Value {
    relay.wait_status(&format!("no note with {words:?}"), |_| {
        let note = &alert(relay, id)["deliveries"][index]["note"];
        note.as_str().is_some_and(|note| note.contains(words))
    });
    alert(relay, id)
}

/// Message stanzas that the relay has sent, by their id.
fn ids_sent(lab: &Lab) -> Vec<String> {
    let log = lab.stanza_log();
    let sent = log
        .iter()
        .filter(|seen| seen.direction == Direction::FromClient && seen.node.tag == "message");
    sent.filter_map(|seen| seen.node.attrs().optional_string("id").map(|id| id.to_string()))
        .collect()
}

#[test]
fn a_refusal_that_asking_anew_cures_is_cured_under_the_same_id() {
    let cases = ["421", "400", "479", "404", "406", "520"];
    side_by_side(
        &cases,
        |case| case,
        |case| {
            let (bench, relay) = Bench::online();
            let first = relay.publish("friend", "first");
            relay.wait_step(&first, "delivered");
            bench.lab.faults().nack_until_asked(case.parse().expect("a code"));
            let second = relay.publish("friend", "second");
            relay.wait_step(&second, "delivered");
            let ids = ids_sent(&bench.lab);
            assert!(ids.len() >= 3, "it was never refused: {ids:?}");
            assert!(ids[1..].iter().all(|id| *id == ids[1]), "the id has changed: {ids:?}");
            bench.assert_each_once_in_order(&["first".into(), "second".into()]);
        },
    );
}

#[test]
fn what_stays_refused_fails_with_words_after_one_fresh_try() {
    let cases = [
        ("403", "may not write"),
        ("400", "malformed"),
        ("404", "knows no such"),
        ("420", "only admins may write"),
    ];
    side_by_side(
        &cases,
        |case| case.0,
        |(code, words)| {
            let (bench, relay) = Bench::online();
            bench.lab.faults().nack(code.parse().ok());
            let id = relay.publish("friend", "refused");
            relay.wait_status("it does not fail", |_| alert(&relay, &id)["state"] == "failed");
            let failed = alert(&relay, &id);
            let note = failed["deliveries"][0]["note"].as_str().unwrap_or_default();
            assert!(note.contains(words) && note.contains(code), "{failed:#}");
            assert_eq!(ids_sent(&bench.lab).len(), 2, "once, and once afresh");
        },
    );
}

#[test]
fn what_failed_for_good_is_told_until_something_gets_through() {
    let (bench, relay) = Bench::online();
    bench.lab.faults().nack(Some(403));
    let id = relay.publish("friend", "a text that no log has");
    let said = |status: &Value| finding(status, "alerts-failed").is_some();
    let status = relay.wait_status("nobody is told", said);
    assert_eq!(status["healthy"], false);
    let text = finding(&status, "alerts-failed").expect("it")["text"].to_string();
    assert!(
        text.contains("route friend: 1 alert(s)") && text.contains("403"),
        "{text}"
    );
    assert_eq!(relay.http("GET", "/v1/health", &[], b"").status, 503);
    let log = relay.read_log();
    let warned = log
        .lines()
        .find(|line| line.contains("failed for a recipient"))
        .expect("a line in the log");
    assert!(
        warned.contains("WARN") && warned.contains(&id) && warned.contains("403"),
        "{warned}"
    );
    assert!(
        !log.contains("a text that no log has") && !warned.contains("1555"),
        "{warned}"
    );
    assert_eq!(relay.stop(), 0);
    let relay = bench.site.start();
    relay.wait_status("a restart has ended it", said);
    bench.lab.faults().nack(None);
    let next = relay.publish("friend", "next");
    relay.wait_step(&next, "delivered");
    relay.wait_status("it is still said", |status| !said(status));
}

#[test]
fn who_must_write_first_is_told_and_gets_the_alert_at_once_when_they_wrote() {
    let (bench, relay) = Bench::online();
    bench.lab.faults().nack(Some(463));
    let id = relay.publish("friend", "at last");
    wait_note(&relay, &id, 0, "463");
    relay.wait_status("health does not say who must write", |status| {
        finding(status, "write-first").is_some()
    });
    assert_eq!(ids_sent(&bench.lab).len(), 1, "it pauses");
    bench.lab.faults().nack(None);
    let wrote = Instant::now();
    bench.friend.send_text(OWNER, "hello");
    relay.wait_step(&id, "delivered");
    assert!(
        wrote.elapsed() < Duration::from_secs(20),
        "{:?} after they wrote",
        wrote.elapsed()
    );
    relay.wait_status("it is still said", |status| finding(status, "write-first").is_none());
    bench.assert_each_once_in_order(&["at last".into()]);
}

#[test]
fn a_limit_pauses_one_recipient_and_outlives_a_line() {
    let (bench, relay) = Bench::online();
    bench.lab.refuse_groups(1000);
    let id = relay.publish("all", "to all");
    // The other recipients are served meanwhile.
    bench.friend.wait_received(1, SOON);
    wait_note(&relay, &id, 1, "429");
    relay.wait_status("health does not say that we are limited", |status| {
        finding(status, "limited").is_some()
    });
    let asked = || {
        let log = bench.lab.stanza_log();
        let from = log.iter().filter(|seen| seen.direction == Direction::FromClient);
        from.filter(|seen| {
            seen.node
                .attrs()
                .optional_string("xmlns")
                .is_some_and(|name| name == "w:g2")
        })
        .count()
    };
    let tries = || alert(&relay, &id)["deliveries"][1]["attempts"].as_u64();
    let (before, line) = (tries(), bench.line());
    bench.lab.faults().cut_fin();
    bench.wait_newer_line(line, &relay);
    relay.wait_online();
    let other = relay.publish("friend", "and another");
    relay.wait_step(&other, "delivered");
    assert_eq!(tries(), before, "a new line has ended the pause: {} questions", asked());
    bench.lab.refuse_groups(0);
    relay.wait_step(&id, "delivered");
    relay.wait_status("it is still said", |status| finding(status, "limited").is_none());
}
