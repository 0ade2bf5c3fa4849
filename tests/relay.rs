//! The whole way of an alert, with the built program against the lab server over real sockets.

#[path = "lab/mod.rs"]
mod lab;
mod support;

use std::collections::HashMap;

use lab::Lab;
use support::{SOON, Site, pair_by_qr};

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
    assert!(
        lab.presences().iter().all(|presence| presence == "unavailable"),
        "{:?}",
        lab.presences()
    );
    assert_eq!(relay.stop(), 0);
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

/// Deliveries by id, and whether each recipient saw them in the order of acceptance.
fn assert_each_once_in_order(friend: &lab::Phone, accepted: &[String]) {
    let received = friend.wait_received(accepted.len(), SOON);
    let texts: Vec<&str> = received.iter().map(|message| message.text.as_str()).collect();
    let wanted: Vec<&str> = accepted.iter().map(String::as_str).collect();
    assert_eq!(texts, wanted);
    let mut ids = HashMap::new();
    for message in &received {
        *ids.entry(&message.id).or_insert(0) += 1;
    }
    assert!(ids.values().all(|count| *count == 1), "{ids:?}");
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
    assert_each_once_in_order(&friend, &accepted);

    let replied = replies.len() as u64;
    relay.wait_status("replies are missing", |status| {
        status["sessions"][0]["inbound_recorded"] == replied
    });
    let inbound = relay.http("GET", "/v1/status", &[], b"").json();
    assert_eq!(inbound["sessions"][0]["inbound_recorded"], replied);
    assert_eq!(relay.stop(), 0);
}
