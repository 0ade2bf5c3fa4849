//! Receipts that name the right id and come from the wrong place.

use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};

use super::*;
use crate::bench::FRIEND;
use crate::lab::Received;

fn receipt(id: &str, from: &str, participant: Option<&str>, kind: Option<&str>) -> Node {
    let mut node = NodeBuilder::new("receipt")
        .attr("id", id)
        .attr("t", 1_800_000_000u64)
        .attr("from", from.parse::<Jid>().expect("an address"));
    if let Some(participant) = participant {
        node = node.attr("participant", participant.parse::<Jid>().expect("an address"));
    }
    if let Some(kind) = kind {
        node = node.attr("type", kind);
    }
    node.build()
}

fn folded(id: &str, from: &str, user: &str) -> Node {
    let user = NodeBuilder::new("user")
        .attr("jid", user.parse::<Jid>().expect("an address"))
        .attr("t", 1_800_000_000u64);
    let users = NodeBuilder::new("participants")
        .attr("message_id", id)
        .children([user.build()]);
    NodeBuilder::new("receipt")
        .attr("id", id)
        .attr("t", 1_800_000_000u64)
        .attr("from", from.parse::<Jid>().expect("an address"))
        .children([users.build()])
        .build()
}

fn state(relay: &Relay, alert: &str) -> Value {
    relay.http("GET", &format!("/v1/alerts/{alert}"), &[], b"").json()
}

/// Says it to the relay, and waits until the relay has taken it in.
fn tell(bench: &Bench, relay: &Relay, node: &Node) {
    bench.lab.deliver(OWNER, node);
    assert!(bench.lab.wait_until(SOON, |lab| lab.pending(OWNER) == 0), "not acked");
    // What the session has heard before its turn is with the outbox by now, or overtakes what follows nowhere.
    relay.status();
}

fn arrived(bench: &Bench, count: usize, chat: &str) -> Received {
    let received = bench.friend.wait_received(count, SOON);
    let message = received.iter().find(|message| message.chat == chat);
    message
        .unwrap_or_else(|| panic!("nothing in {chat}: {received:?}"))
        .clone()
}

#[test]
fn only_the_recipients_receipt_is_delivery() {
    let bench = Bench::unpaired();
    let stranger = bench.lab.account("15550100009", "Stranger");
    let other_group = bench.lab.group("Others", &[&bench.owner, &stranger]);
    let (bench, relay) = bench.go_online();
    bench.friend.set_auto_receipts(false, false);
    let alert = relay.publish("friend", "one");
    relay.wait_step(&alert, "sent");
    let id = arrived(&bench, 1, OWNER).id;
    let (stranger_lid, own_lid) = (format!("{}@lid", stranger.lid()), format!("{}@lid", bench.owner.lid()));
    let own = format!("{OWNER}@s.whatsapp.net");
    let friend = format!("{FRIEND}@s.whatsapp.net");
    let wrong: [(&str, Option<&str>); 8] = [
        ("15550100009@s.whatsapp.net", None),
        (&stranger_lid, None),
        (&own, None),
        (&own_lid, None),
        (&bench.group, Some(&friend)),
        (&other_group, Some(&friend)),
        ("status@broadcast", Some(&friend)),
        ("status@broadcast", None),
    ];
    for (from, participant) in wrong {
        for kind in [None, Some("read"), Some("inactive"), Some("sender")] {
            tell(&bench, &relay, &receipt(&id, from, participant, kind));
        }
    }
    let view = state(&relay, &alert);
    assert_eq!(view["state"], "sent", "{view:#}");
    // Now the right one, by the name that was not used so far, from a linked device.
    let companion = format!("{}:7@lid", bench.friend.lid());
    tell(&bench, &relay, &receipt(&id, &companion, None, None));
    relay.wait_step(&alert, "delivered");
    tell(&bench, &relay, &receipt(&id, &friend, None, Some("read")));
    relay.wait_step(&alert, "read");
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_groups_receipt_comes_from_another_member_in_that_group() {
    let (bench, relay) = Bench::online();
    bench.friend.set_auto_receipts(false, false);
    bench.owner.set_auto_receipts(false, false);
    let alert = relay.publish("all", "one");
    relay.wait_step(&alert, "sent");
    let id = arrived(&bench, 2, &bench.group).id;
    let step = |view: &Value| view["deliveries"][1]["state"].clone();
    assert_eq!(step(&state(&relay, &alert)), "sent");
    let own = format!("{OWNER}@s.whatsapp.net");
    let own_lid = format!("{}:0@lid", bench.owner.lid());
    let friend = format!("{FRIEND}@s.whatsapp.net");
    for (from, participant) in [
        (bench.group.as_str(), None),
        (&bench.group, Some(own.as_str())),
        (&bench.group, Some(&own_lid)),
        (&friend, None),
        (&own, None),
    ] {
        tell(&bench, &relay, &receipt(&id, from, participant, None));
    }
    assert_eq!(step(&state(&relay, &alert)), "sent", "{:#}", state(&relay, &alert));
    // Several in one stanza, as the server folds them: each speaks for itself.
    tell(&bench, &relay, &folded(&id, &bench.group, &own_lid));
    tell(&bench, &relay, &folded(&id, &friend, &friend.replace("02@", "09@")));
    assert_eq!(step(&state(&relay, &alert)), "sent", "{:#}", state(&relay, &alert));
    tell(&bench, &relay, &folded(&id, &bench.group, &friend));
    let delivered = |_: &Value| step(&state(&relay, &alert)) == "delivered";
    relay.wait_status("not delivered", delivered);
    assert_eq!(relay.stop(), 0);
}
