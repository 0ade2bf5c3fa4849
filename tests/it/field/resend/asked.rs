//! Phones that ask again for what they could not read.

use std::sync::Arc;

use tautline::store::{Batch, Store, Tree};
use wacore::store::InMemoryBackend;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};

use super::*;
use crate::bench::FRIEND;
use crate::lab::{Direction, encs_of};
use crate::stock::Stock;

/// Publishes what the friend's phone, switched off for the time being, will not be able to read. Its message id in that
/// chat.
fn unreadable(bench: &Bench, relay: &Relay, route: &str, text: &str) -> (String, String) {
    bench.friend.set_asks_again(false);
    bench.friend.lose_sessions();
    bench.friend.lose_group_keys();
    let known = bench.friend.unreadable().len();
    let alert = relay.publish(route, text);
    relay.wait_step(&alert, "sent");
    assert!(bench.lab.wait_until(SOON, |_| bench.friend.unreadable().len() > known));
    let (id, _) = bench.friend.unreadable().pop().expect("it could not read it");
    (alert, id)
}

fn assert_got(bench: &Bench, texts: &[&str]) {
    let received = bench.friend.wait_received(texts.len(), SOON);
    let got: Vec<&str> = received.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(got, texts, "{}", bench.site.read_log());
}

/// What the relay has kept for retries goes, as after two weeks or a burst of thousands.
fn forget_copies(site: &Site) {
    let store = Store::open(&site.state(), 1 << 20).expect("it opens");
    let mut batch = Batch::new();
    let rows: Vec<_> = store.view().scan(Tree::SentMessage, b"").collect();
    assert!(!rows.is_empty(), "nothing was kept");
    for row in rows {
        batch.delete(Tree::SentMessage, &row.expect("readable").0);
    }
    smol::block_on(store.commit(batch)).expect("written");
}

/// All texts in the chats of the friend's phone, and the next one must be readable at once.
fn next_is_readable(bench: &Bench, relay: &Relay, route: &str, texts: &[&str]) {
    bench.friend.set_asks_again(true);
    let before = bench.friend.unreadable().len();
    deliver(relay, route, texts.last().expect("one more"));
    assert_got(bench, texts);
    assert_eq!(
        bench.friend.unreadable().len(),
        before,
        "{:?}",
        bench.friend.unreadable()
    );
    bench.assert_quiet();
}

#[test]
fn a_phone_that_asks_after_a_restart_gets_it_under_its_id_and_reads_the_next_at_once() {
    let (bench, relay) = Bench::online();
    deliver(&relay, "friend", "one");
    let (alert, id) = unreadable(&bench, &relay, "friend", "two");
    assert_eq!(relay.stop(), 0);
    let relay = bench.site.start();
    relay.wait_online();
    bench.friend.ask_again(&id, 1, true);
    assert_got(&bench, &["one", "two"]);
    assert_eq!(bench.friend.received()[1].id, id);
    relay.wait_step(&alert, "delivered");
    next_is_readable(&bench, &relay, "friend", &["one", "two", "three"]);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn what_the_library_has_forgotten_comes_from_the_outbox() {
    // Whether the phone asks while the relay is there, or what it asks waits at the server.
    for (with_keys, while_away) in [(true, false), (false, false), (true, true), (false, true)] {
        let (bench, relay) = Bench::online();
        deliver(&relay, "friend", "one");
        let (alert, id) = unreadable(&bench, &relay, "friend", "two");
        assert_eq!(relay.stop(), 0);
        forget_copies(&bench.site);
        if while_away {
            bench.friend.ask_again(&id, 1, with_keys);
        }
        let relay = bench.site.start();
        relay.wait_online();
        if !while_away {
            bench.friend.ask_again(&id, 1, with_keys);
        }
        assert_got(&bench, &["one", "two"]);
        assert_eq!(bench.friend.received()[1].id, id);
        relay.wait_step(&alert, "delivered");
        next_is_readable(&bench, &relay, "friend", &["one", "two", "three"]);
        assert_eq!(relay.stop(), 0);
    }
}

#[test]
fn after_the_librarys_own_maximum_it_is_sent_all_the_same() {
    for count in [5, 9] {
        let (bench, relay) = Bench::online();
        deliver(&relay, "friend", "one");
        let (_, id) = unreadable(&bench, &relay, "friend", "two");
        bench.friend.ask_again(&id, count, false);
        assert_got(&bench, &["one", "two"]);
        next_is_readable(&bench, &relay, "friend", &["one", "two", "three"]);
        // Not without end: the same one again at once is no new request.
        let wire = bench.friend.wire_count(&id);
        bench.friend.ask_again(&id, count + 1, false);
        next_is_readable(&bench, &relay, "friend", &["one", "two", "three", "four"]);
        assert_eq!(bench.friend.wire_count(&id), wire);
        assert_eq!(relay.stop(), 0);
    }
}

#[test]
fn each_count_below_the_maximum_is_answered_once() {
    let (bench, relay) = Bench::online();
    deliver(&relay, "friend", "one");
    let (_, id) = unreadable(&bench, &relay, "friend", "two");
    for count in 1..5u8 {
        let wire = bench.friend.wire_count(&id);
        // The phone loses its side again each time before the last.
        bench.friend.lose_sessions();
        bench.friend.ask_again(&id, count, count > 1);
        let came = bench.lab.wait_until(SOON, |_| bench.friend.wire_count(&id) > wire);
        assert!(came, "nothing for count {count}\n{}", bench.site.read_log());
    }
    next_is_readable(&bench, &relay, "friend", &["one", "two", "three"]);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn in_a_group_it_comes_to_the_one_who_asks() {
    for (forget, count) in [(false, 1), (true, 1), (false, 5)] {
        let bench = Bench::unpaired();
        let config = std::fs::read_to_string(bench.site.config()).expect("read");
        let group = &bench.group;
        let route = format!("\n[[route]]\nname = \"group\"\nsession = \"default\"\nto = [\"{group}\"]\n");
        std::fs::write(bench.site.config(), format!("{config}{route}")).expect("written");
        let (bench, mut relay) = bench.go_online();
        deliver(&relay, "group", "one");
        let (alert, id) = unreadable(&bench, &relay, "group", "two");
        if forget {
            assert_eq!(relay.stop(), 0);
            forget_copies(&bench.site);
            relay = bench.site.start();
            relay.wait_online();
        }
        let owner = bench.owner.wire_count(&id);
        bench.friend.ask_again(&id, count, true);
        assert_got(&bench, &["one", "two"]);
        assert_eq!(bench.owner.wire_count(&id), owner, "to all others too");
        relay.wait_step(&alert, "delivered");
        next_is_readable(&bench, &relay, "group", &["one", "two", "three"]);
        assert_eq!(relay.stop(), 0);
    }
}

/// The alert is older than what the outbox remembers: it is gone, but the session is mended.
#[test]
fn for_what_nobody_knows_any_more_the_session_is_mended_all_the_same() {
    let (bench, relay) = Bench::online();
    deliver(&relay, "friend", "one");
    bench.friend.set_asks_again(false);
    bench.friend.lose_sessions();
    let unknown = retry_from(&format!("{}@lid", bench.friend.lid()), "3EB0AAAAAAAAAAAAAAAAAA", 1);
    bench.lab.deliver(OWNER, &unknown);
    relay_says(&relay, "its session is made anew");
    next_is_readable(&bench, &relay, "friend", &["one", "two"]);
    assert_eq!(relay.stop(), 0);
}

fn relay_says(relay: &Relay, words: &str) {
    relay.wait_status("it is not said", |_| relay.read_log().contains(words));
}

fn retry_from(device: &str, id: &str, count: u32) -> Node {
    let retry = NodeBuilder::new("retry")
        .attr("count", count)
        .attr("id", id)
        .attr("t", 1_800_000_000u64)
        .attr("v", "1");
    NodeBuilder::new("receipt")
        .attr("id", id)
        .attr("from", device.parse::<Jid>().expect("an address"))
        .attr("type", "retry")
        .children([retry.build()])
        .build()
}

#[test]
fn a_linked_device_of_the_recipient_gets_it_and_a_stranger_does_not() {
    let bench = Bench::unpaired();
    let stranger = bench.lab.account("15550100009", "Stranger");
    let second = Stock::start(&bench.lab.endpoint(), &Arc::new(InMemoryBackend::new()), None);
    let device = bench.friend.scan(&second.qr(SOON)).expect("linked");
    second.wait_connected(SOON);
    let (bench, relay) = bench.go_online();
    let alert = relay.publish("friend", "one");
    relay.wait_step(&alert, "delivered");
    let (id, _) = second.wait_text("one", SOON);
    let again = || {
        let log = bench.lab.stanza_log();
        let sent = log.iter().filter(|seen| {
            let is = |name: &str, value: &str| seen.node.attrs.get(name).is_some_and(|found| found.as_str() == value);
            seen.direction == Direction::FromClient && seen.node.tag == "message" && is("id", &id)
        });
        sent.map(|seen| seen.node.clone()).skip(1).collect::<Vec<_>>()
    };
    bench
        .lab
        .deliver(OWNER, &retry_from(&format!("{}@lid", stranger.lid()), &id, 5));
    bench
        .lab
        .deliver(OWNER, &retry_from("15550100009@s.whatsapp.net", &id, 1));
    bench
        .lab
        .deliver(OWNER, &retry_from(&format!("{FRIEND}:{device}@s.whatsapp.net"), &id, 5));
    assert!(
        bench.lab.wait_until(SOON, |_| !again().is_empty()),
        "{}",
        bench.site.read_log()
    );
    let to: Vec<String> = again()
        .iter()
        .map(|node| {
            node.attrs
                .get("to")
                .map(|to| to.as_str().into_owned())
                .unwrap_or_default()
        })
        .collect();
    assert_eq!(to, [format!("{FRIEND}:{device}@s.whatsapp.net")]);
    assert_eq!(encs_of(&again()[0]), ["pkmsg"], "in a session that is made anew");
    deliver(&relay, "friend", "two");
    second.wait_text("two", SOON);
    assert_eq!(relay.stop(), 0);
}
