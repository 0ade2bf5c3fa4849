//! Every stanza that comes in is acked, receipted or refused. One that is not makes the server end the line on a
//! metronome of 50 minutes, although every ping is answered.

use std::time::Duration;

use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use crate::bench::{Bench, FRIEND, OWNER};
use crate::support::SOON;

fn stanza(tag: &'static str, id: &str) -> NodeBuilder {
    let from: wacore_binary::Jid = format!("{FRIEND}@s.whatsapp.net").parse().expect("a JID");
    NodeBuilder::new(tag)
        .attr("id", id)
        .attr("from", from)
        .attr("t", "1795201387")
}

/// Ordinary ones, ones that the library does not know, and ones that make no sense.
fn stanzas() -> Vec<Node> {
    let child = |tag: &'static str| [NodeBuilder::new(tag).build()];
    let garbled = NodeBuilder::new("enc")
        .attr("v", "2")
        .attr("type", "msg")
        .bytes([7; 40]);
    let unknown = NodeBuilder::new("enc")
        .attr("v", "9")
        .attr("type", "later")
        .bytes([7; 40]);
    vec![
        stanza("receipt", "RECEIPT1").build(),
        stanza("receipt", "RECEIPT2").attr("type", "read").build(),
        stanza("receipt", "RECEIPT3").attr("type", "of-a-later-year").build(),
        stanza("notification", "NOTE1")
            .attr("type", "devices")
            .children(child("update"))
            .build(),
        stanza("notification", "NOTE2")
            .attr("type", "w:gp2")
            .children(child("subject"))
            .build(),
        stanza("notification", "NOTE3")
            .attr("type", "encrypt")
            .children(child("identity"))
            .build(),
        stanza("notification", "NOTE4").attr("type", "of-a-later-year").build(),
        stanza("notification", "NOTE5").build(),
        stanza("call", "CALL1").children(child("offer")).build(),
        stanza("call", "CALL2").children(child("of-a-later-year")).build(),
        stanza("of-a-later-year", "UNKNOWN1").build(),
        stanza("message", "MESSAGE1")
            .attr("type", "text")
            .children([garbled.build()])
            .build(),
        stanza("message", "MESSAGE2")
            .attr("type", "text")
            .children([unknown.build()])
            .build(),
        stanza("message", "MESSAGE3").attr("type", "text").build(),
    ]
}

#[test]
fn every_stanza_is_acked_whatever_it_is() {
    let (bench, relay) = Bench::online();
    assert!(
        bench.lab.wait_until(SOON, |lab| lab.pending(OWNER) == 0),
        "after the login"
    );
    let line = bench.line();
    for stanza in stanzas() {
        bench.lab.deliver(OWNER, &stanza);
    }
    bench.friend.send_text(OWNER, "and one that can be read");
    let settled = bench
        .lab
        .wait_until(Duration::from_secs(30), |lab| lab.pending(OWNER) == 0);
    let owed: Vec<_> = bench.lab.lines().into_iter().flat_map(|line| line.acks_owed).collect();
    assert!(settled, "owed: {owed:?}");
    assert_eq!(bench.line(), line, "none of them cost the line");
    let health = relay.status()["health"].clone();
    assert!(!health.to_string().contains("ack-owed"), "{health:#}");
    bench.assert_quiet();
}
