//! Messages that do not decrypt are asked for again and come, in both directions.

use std::sync::Arc;

use wacore::store::InMemoryBackend;
use whatsapp_rust::prelude::Event;

use super::{SOON, Setup};

#[test]
fn a_phone_asks_again_for_what_it_cannot_read() {
    let Setup {
        client, friend, lab, ..
    } = Setup::new();
    client.send(&friend.number(), "3EB0AB01", "readable").unwrap();
    friend.wait_received(1, SOON);
    friend.lose_sessions();
    client.send(&friend.number(), "3EB0AB02", "readable at last").unwrap();
    let received = friend.wait_received(2, SOON);
    assert_eq!(
        received.get(1).map(|r| r.text.as_str()),
        Some("readable at last"),
        "{:?}",
        friend.unreadable()
    );
    assert_eq!(friend.unreadable().len(), 1);
    assert!(lab.wait_until(SOON, |lab| lab.pending("15550100001") == 0));
}

#[test]
fn a_phone_sends_again_what_its_peer_cannot_read() {
    let Setup {
        client, friend, lab, ..
    } = Setup::new();
    friend.send_text("15550100001", "readable");
    client.wait_text("readable", SOON);
    friend.garble_next(1);
    let id = friend.send_text("15550100001", "readable at last");
    let (came, _) = client.wait_text("readable at last", SOON);
    assert_eq!(came, id);
    client.wait("an undecryptable first try", SOON, |e| {
        matches!(e, Event::UndecryptableMessage(_)).then_some(())
    });
    assert!(lab.wait_until(SOON, |lab| lab.pending("15550100001") == 0));
}

#[test]
fn a_device_paired_later_gets_what_comes_later() {
    let Setup {
        client,
        owner,
        friend,
        lab,
        ..
    } = Setup::new();
    client.send(&friend.number(), "3EB0AB03", "to the phone alone").unwrap();
    friend.wait_received(1, SOON);
    let second = super::Stock::start(&lab.endpoint(), &Arc::new(InMemoryBackend::new()), None);
    assert_eq!(friend.scan(&second.qr(SOON)), Ok(1));
    second.wait_connected(SOON);
    owner.send_text(&friend.number(), "to all your devices");
    second.wait_text("to all your devices", SOON);
    assert_eq!(friend.wait_received(2, SOON).len(), 2);
    client.wait_text("to all your devices", SOON);
}
