//! What becomes of alerts when acks fail, lines go and recipients are many.

use crate::bench::{Bench, publish};
use crate::support::SOON;

#[test]
fn an_alert_whose_ack_is_lost_goes_out_again_under_its_id_and_is_there_once() {
    let (bench, relay) = Bench::online();
    // A receipt proves as much as an ack; here neither comes.
    bench.friend.set_auto_receipts(false, false);
    bench.lab.faults().withhold_acks(true);
    let alert = relay.publish("friend", "once");
    let got = bench.friend.wait_received(1, SOON);
    let id = got[0].id.clone();
    assert_eq!(
        relay.http("GET", &format!("/v1/alerts/{alert}"), &[], b"").json()["state"],
        "accepted"
    );
    bench.lab.faults().calm();
    bench.lab.faults().cut_rst();
    relay.wait_step(&alert, "sent");
    assert_eq!(bench.friend.wire_count(&id), 2);
    bench.assert_each_once_in_order(&["once".to_owned()]);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_message_that_the_server_will_never_take_fails_with_its_code_and_can_be_retried() {
    let (bench, relay) = Bench::online();
    bench.lab.faults().nack(Some(404));
    let alert = relay.publish("friend", "refused");
    let target = format!("/v1/alerts/{alert}");
    let answer = relay
        .http("GET", &format!("{target}?wait=sent&timeout=60s"), &[], b"")
        .json();
    assert_eq!(answer["state"], "failed", "{answer:#}");
    let note = answer["deliveries"][0]["note"].as_str().unwrap().to_owned();
    assert!(note.contains("404"), "{note}");

    // The queue goes on behind it, and a person may try again.
    bench.lab.faults().calm();
    let mut accepted = Vec::new();
    publish(&relay, &mut accepted, "next");
    bench.assert_each_once_in_order(&accepted);
    assert_eq!(bench.site.run(&["queue", "retry", &alert]).status.code(), Some(0));
    accepted.push("refused".to_owned());
    bench.assert_each_once_in_order(&accepted);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_refusal_that_passes_holds_the_recipients_line_and_keeps_its_order() {
    let (bench, relay) = Bench::online();
    bench.lab.faults().nack(Some(500));
    let mut accepted = Vec::new();
    let first = publish(&relay, &mut accepted, "first");
    publish(&relay, &mut accepted, "second");
    relay.wait_status("not tried twice", |_| {
        let alert = relay.http("GET", &format!("/v1/alerts/{first}"), &[], b"").json();
        alert["deliveries"][0]["attempts"].as_u64() >= Some(2)
    });
    bench.lab.faults().calm();
    bench.assert_each_once_in_order(&accepted);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_number_a_group_and_me_get_each_alert_once_and_in_order_over_cuts() {
    let (bench, relay) = Bench::online();
    let mut last = String::new();
    for number in 0..12 {
        last = relay.publish("all", &format!("{number}"));
        if number % 4 == 2 {
            bench.lab.faults().cut_rst();
        }
    }
    relay.wait_step(&last, "sent");
    let wanted: Vec<String> = (0..12).map(|number| number.to_string()).collect();
    let friend = bench.friend.wait_received(24, SOON);
    for chat in [crate::bench::OWNER, &bench.group] {
        let got: Vec<_> = friend
            .iter()
            .filter(|m| m.chat == chat)
            .map(|m| m.text.clone())
            .collect();
        assert_eq!(got, wanted, "in {chat}");
    }
    // The owner's phone sees what went to the group and to the account's own chat, and copies of the rest.
    let owner = bench.owner.wait_received(36, SOON);
    for chat in [crate::bench::OWNER, crate::bench::FRIEND, &bench.group] {
        let got: Vec<_> = owner
            .iter()
            .filter(|m| m.chat == chat)
            .map(|m| m.text.clone())
            .collect();
        assert_eq!(got, wanted, "on the owner's phone in {chat}");
    }
    bench.assert_quiet();
    assert_eq!(relay.stop(), 0);
}

#[test]
fn alerts_accepted_before_pairing_say_so_and_go_out_after_it() {
    let bench = Bench::unpaired();
    let relay = bench.site.start();
    let answer = relay.http("POST", "/friend", &[], b"early");
    assert_eq!(answer.status, 200, "{answer:?}");
    let warning = answer.json()["warning"].as_str().unwrap_or_default().to_owned();
    assert!(warning.contains("tautline pair"), "{warning}");
    bench.pair();
    bench.assert_each_once_in_order(&["early".to_owned()]);
    let answer = relay.http("POST", "/friend", &[], b"late");
    assert!(answer.json()["warning"].is_null(), "{answer:?}");
    assert_eq!(relay.stop(), 0);
}
