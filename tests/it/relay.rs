//! The whole way of an alert, with the built program against the lab server over real sockets.

use crate::lab::Lab;
use crate::support::{Relay, SOON, Site, pair_by_qr};

const OWNER: &str = "15550100001";
const FRIEND: &str = "15550100002";

#[test]
fn pairs_by_qr_and_delivers_to_a_number_and_to_a_group() {
    let lab = Lab::start();
    let owner = lab.account(OWNER, "Owner");
    let friend = lab.account(FRIEND, "Friend");
    let group = lab.group("Alerts", &[&owner, &friend]);
    let site = Site::new(&lab.endpoint(), &[("friend", &["+15550100002"]), ("all", &[&group])]);
    let relay = site.start();
    pair_by_qr(&site, |code| owner.scan(code).map(drop));
    relay.wait_online();

    let first = relay.publish("friend", "the disk is full");
    let got = friend.wait_received(1, SOON);
    assert_eq!(got[0].text, "the disk is full");
    let alert = relay.wait_step(&first, "delivered");
    assert_eq!(alert["deliveries"][0]["message_id"], got[0].id.as_str());

    let second = relay.publish("all", "to everybody");
    let got = friend.wait_received(2, SOON);
    assert_eq!(
        (got[1].text.as_str(), got[1].chat.as_str()),
        ("to everybody", group.as_str())
    );
    relay.wait_step(&second, "delivered");

    friend.mark_read(&got[0].id);
    relay.wait_step(&first, "read");
    assert_eq!(happened(&relay, &first), ["accepted", "sent", "delivered", "read"]);
    let metrics = relay.http("GET", "/metrics", &[], b"").body;
    for line in [
        r#"tautline_alert_events_total{route="friend",event="accepted"} 1"#,
        r#"tautline_alert_events_total{route="friend",event="read"} 1"#,
        r#"tautline_alert_events_total{route="all",event="sent"} 1"#,
        r#"tautline_alert_delivered_seconds_count{route="friend"} 1"#,
        r#"tautline_session_online{session="default"} 1"#,
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} is missing in {metrics}"
        );
    }
    assert!(
        lab.presences().iter().all(|presence| presence == "unavailable"),
        "{:?}",
        lab.presences()
    );
    assert_eq!(relay.stop(), 0);
    // All has been given to the index.
    let checked = site.run(&["store", "check"]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("sound\n") && said.contains("index: as the log"), "{said}");
    // Nothing would ever read them.
    assert!(!said.contains("message-secret"), "{said}");
}

/// What the journal has of one alert. A step is told to those who wait before it is on disk, so this looks until it is.
fn happened(relay: &Relay, id: &str) -> Vec<String> {
    let words = |alert: serde_json::Value| -> Vec<String> {
        let steps = alert["history"].as_array().cloned().unwrap_or_default();
        steps
            .iter()
            .map(|step| step["what"].as_str().unwrap().to_owned())
            .collect()
    };
    let until = std::time::Instant::now() + SOON;
    loop {
        let alert = relay.http("GET", &format!("/v1/alerts/{id}"), &[], b"").json();
        let state = alert["state"].clone();
        let words = words(alert);
        if words.last().is_some_and(|last| state == last.as_str()) || std::time::Instant::now() > until {
            return words;
        }
    }
}

#[test]
fn the_journal_tells_in_order_and_without_a_gap_also_over_a_kill() {
    let lab = Lab::start();
    let owner = lab.account(OWNER, "Owner");
    let friend = lab.account(FRIEND, "Friend");
    let site = Site::new(&lab.endpoint(), &[("friend", &["+15550100002"])]);
    let relay = site.start();
    pair_by_qr(&site, |code| owner.scan(code).map(drop));
    relay.wait_online();
    let first = relay.publish("friend", "a secret text");
    friend.wait_received(1, SOON);
    assert_eq!(happened(&relay, &first)[0], "accepted");
    friend.send_text(OWNER, "an answer");
    relay.wait_status("the answer is missing", |status| {
        status["sessions"][0]["inbound_recorded"] == 1
    });
    // What tells of a session shares a write with others, a moment later; a kill before that loses it.
    relay.wait_status("the pairing is not in the journal", |_| {
        let told = relay.http("GET", "/v1/events?limit=1000", &[], b"");
        told.body.contains(r#""event":"paired""#)
    });
    relay.kill();
    let relay = site.start();
    relay.wait_online();
    let second = relay.publish("friend", "again");
    friend.wait_received(2, SOON);
    relay.wait_step(&second, "delivered");
    assert_eq!(happened(&relay, &second), ["accepted", "sent", "delivered"]);
    // With the stop everything that waits is written: the end of the line too.
    assert_eq!(relay.stop(), 0);
    let relay = site.start();

    let answer = relay.http("GET", "/v1/events?limit=1000", &[], b"");
    for secret in ["a secret text", "an answer", "again", "15550100"] {
        assert!(!answer.body.contains(secret), "{}", answer.body);
    }
    let events: Vec<serde_json::Value> = answer
        .body
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event["number"], index as u64 + 1, "{}", answer.body);
    }
    let count = |word: &str| events.iter().filter(|event| event["event"] == word).count();
    assert_eq!(
        (count("accepted"), count("recorded"), count("paired")),
        (2, 1, 1),
        "{}",
        answer.body
    );
    assert!(count("online") >= 1 && count("sent") >= 1, "{}", answer.body);
    let ended = events.iter().find(|event| event["event"] == "offline").expect("an end");
    assert_eq!(ended["cause"], "requested", "{}", answer.body);
    assert_eq!(count("needs-person"), 0, "{}", answer.body);
}

#[test]
fn an_alert_to_the_own_chat_is_delivered_when_the_own_phone_has_it() {
    let lab = Lab::start();
    let owner = lab.account(OWNER, "Owner");
    let site = Site::new(&lab.endpoint(), &[("me", &["me"])]);
    let relay = site.start();
    pair_by_qr(&site, |code| owner.scan(code).map(drop));
    let id = relay.publish("me", "to myself");
    relay.wait_step(&id, "delivered");
    assert_eq!(owner.received()[0].text, "to myself");
}

#[test]
fn a_group_that_is_not_there_fails_and_holds_nobody_up() {
    let lab = Lab::start();
    let owner = lab.account(OWNER, "Owner");
    let friend = lab.account(FRIEND, "Friend");
    let gone = "120363000000000099@g.us";
    let routes: &[(&str, &[&str])] = &[("gone", &[gone]), ("both", &[gone, "+15550100002"])];
    let site = Site::new(&lab.endpoint(), routes);
    let relay = site.start();
    pair_by_qr(&site, |code| owner.scan(code).map(drop));
    relay.wait_online();
    for route in ["gone", "both"] {
        let id = relay.publish(route, route);
        let target = format!("/v1/alerts/{id}?wait=delivered&timeout=60s");
        let alert = relay.http("GET", &target, &[], b"").json();
        assert_eq!(alert["state"], "failed", "{alert:#}");
        assert!(
            alert["deliveries"][0]["note"]
                .as_str()
                .is_some_and(|note| note.contains("404")),
            "{alert:#}"
        );
    }
    assert_eq!(friend.wait_received(1, SOON)[0].text, "both");
}

/// What the phone shows is what was accepted: nothing missing, nothing twice, in the order of acceptance. The phone
/// shows a message id once, as the real one does; an alert that went out under two ids would show twice.
fn assert_each_once_in_order(relay: &Relay, friend: &crate::lab::Phone, accepted: &[String]) {
    friend.wait_received(accepted.len(), SOON);
    // Nothing is under way any more that could still arrive.
    relay.wait_status("alerts still wait", |status| status["outbox"]["accepted"] == 0);
    let texts: Vec<String> = friend.received().into_iter().map(|message| message.text).collect();
    assert_eq!(texts, accepted);
}

#[test]
fn a_hundred_alerts_over_five_cuts_and_two_kills_arrive_once_each_and_in_order() {
    let lab = Lab::start();
    let owner = lab.account(OWNER, "Owner");
    let friend = lab.account(FRIEND, "Friend");
    let site = Site::new(&lab.endpoint(), &[("friend", &["+15550100002"])]);
    let mut relay = site.start();
    pair_by_qr(&site, |code| owner.scan(code).map(drop));
    relay.wait_online();

    let mut accepted = Vec::new();
    let mut replies = Vec::new();
    for number in 0..100 {
        let text = format!("alert {number}");
        relay.publish("friend", &text);
        accepted.push(text);
        match number {
            10 | 25 | 40 | 55 | 70 => lab.faults().cut_rst(),
            33 | 66 => {
                relay.kill();
                relay = site.start();
            }
            _ => {}
        }
        if number % 10 == 5 {
            replies.push(friend.send_text(OWNER, &format!("reply {number}")));
        }
    }
    assert_each_once_in_order(&relay, &friend, &accepted);

    let replied = replies.len() as u64;
    relay.wait_status("replies are missing", |status| {
        status["sessions"][0]["inbound_recorded"] == replied
    });
    assert_eq!(relay.stop(), 0);
}
