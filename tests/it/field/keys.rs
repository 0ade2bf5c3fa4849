//! A message counts as sent only if a device of the recipient can read it; new devices are found; large groups finish.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use wacore::store::InMemoryBackend;

use crate::bench::{Bench, FRIEND, side_by_side};
use crate::lab::{Direction, KeyPace, Lab, NoKeys, Phone};
use crate::stock::Stock;
use crate::support::{Relay, SOON};

fn alert(relay: &Relay, id: &str) -> Value {
    relay.http("GET", &format!("/v1/alerts/{id}"), &[], b"").json()
}

/// Waits until every delivery of the alert has been tried `tries` times or is settled.
fn wait_tries(relay: &Relay, id: &str, tries: u64) -> Value {
    relay.wait_status(&format!("not tried {tries} times"), |_| {
        let alert = alert(relay, id);
        let deliveries = alert["deliveries"].as_array().cloned().unwrap_or_default();
        let done = |delivery: &Value| delivery["state"] != "accepted" || delivery["attempts"].as_u64() >= Some(tries);
        deliveries.iter().all(done)
    });
    alert(relay, id)
}

/// Message stanzas that the relay has sent.
fn messages_sent(lab: &Lab) -> usize {
    let log = lab.stanza_log();
    let mut sent = log.iter().filter(|seen| seen.direction == Direction::FromClient);
    sent.by_ref().filter(|seen| seen.node.tag == "message").count()
}

fn links_a_second_device(lab: &Lab, phone: &Phone) -> Stock {
    let client = Stock::start(&lab.endpoint(), &Arc::new(InMemoryBackend::new()), None);
    phone.scan(&client.qr(SOON)).expect("the phone takes the code");
    client.wait_connected(SOON);
    client
}

#[test]
fn a_recipient_whose_keys_cannot_be_had_is_asked_about_again_and_nothing_goes_out_until_then() {
    let cases = [
        ("absent from the list", NoKeys::Absent),
        ("refused with 404", NoKeys::Refused(404)),
        ("refused with 503", NoKeys::Refused(503)),
        ("a bad signature", NoKeys::BadSignature),
        ("404 for the list", NoKeys::WholeList(404)),
        ("406 for the list", NoKeys::WholeList(406)),
        ("503 for the list", NoKeys::WholeList(503)),
    ];
    side_by_side(
        &cases,
        |case| case.0,
        |(_, instead)| {
            let (bench, relay) = Bench::online();
            bench.lab.faults().no_keys(Some(FRIEND), *instead);
            let (id, began) = (relay.publish("friend", "at last"), Instant::now());
            let waits = wait_tries(&relay, &id, 3);
            assert!(began.elapsed() >= Duration::from_secs(2), "no pauses that grow");
            assert_eq!(waits["state"], "accepted", "{waits:#}");
            let note = waits["deliveries"][0]["note"].as_str().unwrap_or_default().to_owned();
            assert!(note.contains("not sent") && note.contains("recipient"), "{note}");
            assert_eq!(
                messages_sent(&bench.lab),
                0,
                "something went out, to our own phone alone"
            );
            assert!(bench.owner.received().is_empty());

            bench.lab.faults().keys_again();
            relay.wait_step(&id, "delivered");
            bench.assert_each_once_in_order(&["at last".to_owned()]);
            assert_eq!(messages_sent(&bench.lab), 1);
            assert_eq!(
                bench.owner.wait_received(1, SOON).len(),
                1,
                "our own phone has its copy, once"
            );
            assert_eq!(relay.stop(), 0);
        },
    );
}

#[test]
fn after_a_restore_everybody_waits_for_keys_our_own_phone_too() {
    let (bench, relay) = Bench::online();
    let before = relay.publish("all", "before");
    relay.wait_step(&before, "delivered");
    let (friend, owner) = (bench.friend.wait_received(2, SOON), bench.owner.wait_received(3, SOON));
    let file = bench.site.path().join("tautline.backup");
    let file = file.to_str().expect("a temporary path is text");
    assert_eq!(bench.site.run(&["store", "backup", file]).status.code(), Some(0));
    assert_eq!(relay.stop(), 0);
    std::fs::rename(bench.site.state(), bench.site.path().join("gone")).expect("the state is moved away");
    assert_eq!(bench.site.run(&["store", "restore", file]).status.code(), Some(0));

    bench.lab.faults().no_keys(None, NoKeys::Absent);
    let sent = messages_sent(&bench.lab);
    let relay = bench.site.start();
    relay.wait_online();
    let id = relay.publish("all", "after");
    let waits = wait_tries(&relay, &id, 2);
    let deliveries = waits["deliveries"].as_array().expect("three of them");
    assert!(
        deliveries.iter().all(|delivery| delivery["state"] == "accepted"),
        "{waits:#}"
    );
    assert_eq!(messages_sent(&bench.lab), sent, "something went out");
    bench.lab.faults().keys_again();
    relay.wait_step(&id, "delivered");
    assert_eq!(
        bench.friend.wait_received(friend.len() + 2, SOON).len(),
        friend.len() + 2
    );
    assert_eq!(bench.owner.wait_received(owner.len() + 3, SOON).len(), owner.len() + 3);
    assert!(bench.friend.unreadable().is_empty(), "{:?}", bench.friend.unreadable());
    assert_eq!(relay.stop(), 0);
}

#[test]
fn in_a_group_a_member_without_a_key_stops_nobody_and_is_asked_for_again_at_the_next_message() {
    let cases = [
        ("absent from the list", NoKeys::Absent),
        ("a bad signature", NoKeys::BadSignature),
        ("503 for the list", NoKeys::WholeList(503)),
        ("404 for the list", NoKeys::WholeList(404)),
    ];
    side_by_side(
        &cases,
        |case| case.0,
        |(_, instead)| {
            const THIRD: &str = "15550100003";
            let lab = Lab::start();
            let third = lab.account(THIRD, "Third");
            let endpoint = lab.endpoint();
            let bench = Bench::with(lab, &endpoint, "wsl2", None);
            let group = bench.lab.group("Three", &[&bench.owner, &bench.friend, &third]);
            let config = std::fs::read_to_string(bench.site.config()).expect("the config");
            let config = config.replace(&format!("to = [\"+{FRIEND}\"]"), &format!("to = [\"{group}\"]"));
            std::fs::write(bench.site.config(), config).expect("the config is written");
            let (bench, relay) = bench.go_online();

            // Nobody's key: it does not count as sent.
            bench.lab.faults().no_keys(None, *instead);
            let first = relay.publish("friend", "first");
            let waits = wait_tries(&relay, &first, 2);
            assert_eq!(waits["state"], "accepted", "{waits:#}");
            assert_eq!(messages_sent(&bench.lab), 0);
            bench.lab.faults().keys_again();

            // One member's: the others get it.
            bench.lab.faults().no_keys(Some(THIRD), *instead);
            relay.wait_step(&first, "delivered");
            assert_eq!(bench.friend.wait_received(1, SOON)[0].text, "first");
            assert!(bench.friend.unreadable().is_empty(), "{:?}", bench.friend.unreadable());
            bench.lab.faults().keys_again();
            let asked = bench.lab.keys_asked();
            // What a phone cannot read it asks for, with keys of its own.
            assert_eq!(third.wait_received(1, SOON)[0].text, "first");

            let second = relay.publish("friend", "second");
            relay.wait_step(&second, "delivered");
            assert_eq!(third.wait_received(2, SOON)[1].text, "second");
            assert_eq!(bench.friend.wait_received(2, SOON)[1].text, "second");
            assert_eq!(third.unreadable().len(), 1, "only the first: {:?}", third.unreadable());
            assert!(
                bench.lab.keys_asked() - asked <= 1,
                "keys were asked for that were known"
            );
            assert_eq!(relay.stop(), 0);
        },
    );
}

#[test]
fn a_device_that_was_linked_while_we_were_away_gets_the_message_and_the_next() {
    let (bench, relay) = Bench::online();
    let first = relay.publish("all", "first");
    relay.wait_step(&first, "delivered");
    assert_eq!(relay.stop(), 0);
    let second = links_a_second_device(&bench.lab, &bench.friend);
    let relay = bench.site.start();
    relay.wait_online();

    let alert = relay.publish("friend", "found");
    relay.wait_step(&alert, "delivered");
    second.wait_text("found", SOON);
    let next = relay.publish("friend", "known");
    relay.wait_step(&next, "delivered");
    second.wait_text("known", SOON);
    let group = relay.publish("all", "in the group");
    relay.wait_step(&group, "delivered");
    let there = || second.count_text("in the group") == 2;
    assert!(bench.lab.wait_until(SOON, |_| there()), "chat and group");
    assert_eq!((second.count_text("found"), second.count_text("known")), (1, 1));
    let found: Vec<String> = bench.friend.received().into_iter().map(|message| message.id).collect();
    assert!(
        found.iter().all(|id| bench.friend.wire_count(id) == 1),
        "once on the phone"
    );
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_second_device_without_keys_does_not_keep_the_message_from_the_phone() {
    let cases = [
        ("absent from the list", NoKeys::Absent),
        ("503 for the list", NoKeys::WholeList(503)),
        ("no answer", NoKeys::Silence),
    ];
    side_by_side(
        &cases,
        |case| case.0,
        |(_, instead)| {
            let (bench, relay) = Bench::online();
            let before = relay.publish("friend", "before");
            relay.wait_step(&before, "delivered");
            assert_eq!(relay.stop(), 0);
            let second = links_a_second_device(&bench.lab, &bench.friend);
            bench.lab.faults().no_keys_of_device(Some(FRIEND), Some(1), *instead);
            let relay = bench.site.start();
            relay.wait_online();
            let alert_id = relay.publish("friend", "on the phone");
            relay.wait_step(&alert_id, "delivered");
            let next = relay.publish("friend", "and the next");
            relay.wait_step(&next, "delivered");
            relay.wait_status("not said to be missing", |_| {
                let note = alert(&relay, &alert_id)["deliveries"][0]["note"].clone();
                note.as_str().is_some_and(|note| note.contains("1 device"))
            });
            assert_eq!(relay.lines(), 1, "the line was suspected");
            bench.lab.faults().keys_again();
            let last = relay.publish("friend", "everywhere");
            relay.wait_step(&last, "delivered");
            second.wait_text("everywhere", SOON);
            assert_eq!(relay.stop(), 0);
        },
    );
}

#[test]
fn a_hash_of_devices_that_nobody_can_explain_costs_one_question_and_no_delivery() {
    let (bench, relay) = Bench::online();
    bench.lab.faults().phash(Some("2:another"));
    let mut accepted = Vec::new();
    for round in 0..3 {
        crate::bench::publish(&relay, &mut accepted, format!("alert {round}"));
    }
    bench.assert_each_once_in_order(&accepted);
    assert_eq!(messages_sent(&bench.lab), 3);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_large_group_with_slow_keys_finishes_on_one_line_and_holds_nobody_up() {
    const MEMBERS: u64 = 150;
    let second = Duration::from_secs(1);
    let cases = [
        (
            "slow for each key",
            KeyPace {
                each_answer: Duration::ZERO,
                each_key: second / 4,
            },
        ),
        (
            "slow for each answer",
            KeyPace {
                each_answer: second * 33,
                each_key: Duration::ZERO,
            },
        ),
    ];
    side_by_side(
        &cases,
        |case| case.0,
        |(_, pace)| {
            let lab = Lab::start();
            let members: Vec<Phone> = (0..MEMBERS)
                .map(|at| lab.account(&format!("1555020{at:04}"), "Member"))
                .collect();
            let endpoint = lab.endpoint();
            let bench = Bench::with(lab, &endpoint, "wsl2", None);
            let everybody: Vec<&Phone> = std::iter::once(&bench.owner).chain(&members).collect();
            let group = bench.lab.group("Many", &everybody);
            let config = std::fs::read_to_string(bench.site.config()).expect("the config");
            let more = format!("[[route]]\nname = \"many\"\nsession = \"default\"\nto = [\"{group}\"]\n[gateway]");
            std::fs::write(bench.site.config(), config.replace("[gateway]", &more)).expect("the config is written");
            let (bench, relay) = bench.go_online();
            let known = relay.publish("friend", "known before");
            relay.wait_step(&known, "delivered");
            let lines = relay.lines();

            bench.lab.faults().slow_keys(*pace);
            let (asked, began) = (bench.lab.keys_asked(), Instant::now());
            let id = relay.publish("many", "to many");
            let asking = bench.lab.wait_until(SOON, |lab| lab.keys_asked() > asked);
            assert!(asking, "keys are asked for");
            let beside = (relay.publish("friend", "beside"), Instant::now());
            relay.wait_step(&beside.0, "delivered");
            assert!(beside.1.elapsed() < second * 5, "held up for {:?}", beside.1.elapsed());
            relay.wait_step(&id, "sent");
            println!("{} members after {:.1?}", MEMBERS, began.elapsed());
            assert!(began.elapsed() > second * 30, "that was not slow");
            for member in &members {
                assert_eq!(member.wait_received(1, SOON).len(), 1);
                assert!(member.unreadable().is_empty(), "{:?}", member.unreadable());
            }
            assert_eq!(relay.lines(), lines, "the line was suspected: {}", relay.last_cause());
            let asked = bench.lab.keys_asked() - asked;
            assert!(asked <= MEMBERS + 4, "{asked} keys asked for");
            assert_eq!(alert(&relay, &id)["deliveries"][0]["attempts"], 1);
            assert_eq!(relay.stop(), 0);
        },
    );
}
