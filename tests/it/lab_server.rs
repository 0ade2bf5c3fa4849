//! The lab server, driven by the stock whatsapp-rust client. What these tests show, the tests of the relay may rely on.

mod faults;
mod retries;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use crate::lab::{Lab, Naming, Phone};
use crate::stock::Stock;
use wacore::store::InMemoryBackend;
use whatsapp_rust::prelude::Event;
use whatsapp_rust::types::presence::ReceiptType;

/// Long enough for a loaded build machine; no test waits this long when it passes.
const SOON: Duration = Duration::from_secs(30);

/// A lab with Owner and Friend, and a client paired to Owner's account and connected.
struct Setup {
    // The client goes first: a lab that is dropped under a client makes it reconnect.
    client: Stock,
    backend: Arc<InMemoryBackend>,
    owner: Phone,
    friend: Phone,
    lab: Lab,
}

impl Setup {
    fn new() -> Self {
        let lab = Lab::start();
        let owner = lab.account("15550100001", "Owner");
        let friend = lab.account("15550100002", "Friend");
        let backend = Arc::new(InMemoryBackend::new());
        let client = Stock::start(&lab.endpoint(), &backend, None);
        assert_eq!(owner.scan(&client.qr(SOON)), Ok(1));
        client.wait_connected(SOON);
        Self {
            client,
            backend,
            owner,
            friend,
            lab,
        }
    }

    /// Stops the client as a crash would, and waits until the server has noticed.
    fn crash(self) -> (Arc<InMemoryBackend>, Phone, Phone, Lab) {
        let Self {
            client,
            backend,
            owner,
            friend,
            lab,
        } = self;
        drop(client);
        assert!(lab.wait_lines(0, SOON), "the line is gone with its client");
        (backend, owner, friend, lab)
    }
}

#[test]
fn pairs_by_qr_code_and_logs_in() {
    let setup = Setup::new();
    assert_eq!(setup.owner.companions(), [1]);
    let lines = setup.lab.lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (lines[0].number.as_str(), lines[0].device, lines[0].active),
        ("15550100001", 1, true)
    );
    assert_eq!(setup.lab.counters().logins, 1);
    setup.client.wait("PairSuccess", SOON, |e| {
        matches!(e, Event::PairSuccess(_)).then_some(())
    });
}

#[test]
fn pairs_by_pair_code_and_refuses_a_wrong_one() {
    let lab = Lab::start();
    let owner = lab.account("15550100001", "Owner");
    let client = Stock::start(&lab.endpoint(), &Arc::default(), Some("+1 555 010 0001"));
    let code = client.pair_code(SOON);
    let wrong = if code == "ABCDEFGH" { "ABCDEFGJ" } else { "ABCDEFGH" };
    assert!(owner.enter_code(wrong).is_err());
    assert_eq!(owner.enter_code(&format!("{}-{}", &code[..4], &code[4..])), Ok(1));
    client.wait_connected(SOON);
}

#[test]
fn a_qr_code_of_nobody_here_is_refused() {
    let lab = Lab::start();
    let owner = lab.account("15550100001", "Owner");
    assert!(owner.scan("2@nobody,AAAA,AAAA,AAAA,1").is_err());
    assert!(owner.scan("no QR code at all").is_err());
}

#[test]
fn texts_go_both_ways_with_acks_and_receipts() {
    let Setup {
        client,
        owner,
        friend,
        lab,
        ..
    } = Setup::new();
    friend.set_auto_receipts(true, true);
    client.send(&friend.number(), "3EB0AA01", "hello").unwrap();
    let received = friend.wait_received(1, SOON);
    assert_eq!(received.len(), 1);
    assert_eq!(
        (received[0].id.as_str(), received[0].text.as_str()),
        ("3EB0AA01", "hello")
    );
    assert_eq!((received[0].from.as_str(), received[0].from_device), ("15550100001", 1));
    let error = client.wait("server ack", SOON, |e| match e {
        Event::ServerAck(ack) if ack.id == "3EB0AA01" => Some(ack.error.clone()),
        _ => None,
    });
    assert_eq!(error, None);
    for wanted in [ReceiptType::Delivered, ReceiptType::Read] {
        client.wait("a receipt", SOON, |e| match e {
            Event::Receipt(r) if r.r#type == wanted && r.message_ids.iter().any(|id| id == "3EB0AA01") => Some(()),
            _ => None,
        });
    }
    // The owner's own phone has its copy, in the friend's chat.
    assert_eq!(owner.wait_received(1, SOON)[0].chat, friend.number());

    let id = friend.reply("3EB0AA01", "hello yourself");
    let (came, chat) = client.wait_text("hello yourself", SOON);
    assert_eq!((came, chat), (id.clone(), "15550100002@s.whatsapp.net".into()));
    assert!(
        lab.wait_until(SOON, |_| friend.receipts().iter().any(|r| r.id == id)),
        "its receipt came back"
    );
    assert!(
        lab.wait_until(SOON, |lab| lab.pending("15550100001") == 0),
        "{:?}",
        lab.lines()
    );
}

#[test]
fn texts_by_lid_arrive_too() {
    let Setup {
        client, friend, lab, ..
    } = Setup::new();
    lab.set_naming(Naming::Lid);
    friend.send_text("15550100001", "from a lid");
    let (_, chat) = client.wait_text("from a lid", SOON);
    assert_eq!(chat, format!("{}@lid", friend.lid()));
    client.send(&chat, "3EB0AA02", "to a lid").unwrap();
    assert_eq!(friend.wait_received(1, SOON)[0].text, "to a lid");
}

#[test]
fn the_same_id_again_counts_once() {
    let Setup {
        client, friend, lab, ..
    } = Setup::new();
    for _ in 0..3 {
        client.send(&friend.number(), "3EB0AA03", "once").unwrap();
    }
    assert!(lab.wait_until(SOON, |_| friend.wire_count("3EB0AA03") == 3));
    assert_eq!(friend.received().len(), 1);
    assert_eq!(friend.received_wire(), 3);
    assert!(friend.unreadable().is_empty());
}

#[test]
fn groups_work_both_ways_in_either_addressing() {
    let Setup {
        client,
        owner,
        friend,
        lab,
        ..
    } = Setup::new();
    for (n, naming) in [Naming::Lid, Naming::Pn].into_iter().enumerate() {
        let group = lab.group_by("Alerts", &[&owner, &friend], naming);
        for text in ["first", "second"] {
            client
                .send(&group, &format!("3EB0{n}{text}"), &format!("{text} {n}"))
                .unwrap();
        }
        let received = friend.wait_received(2 * (n + 1), SOON);
        let here: Vec<&str> = received
            .iter()
            .filter(|r| r.chat == group)
            .map(|r| r.text.as_str())
            .collect();
        assert_eq!(
            here,
            [format!("first {n}"), format!("second {n}")],
            "{:?}",
            friend.unreadable()
        );
        for text in ["third", "fourth"] {
            friend.send_text(&group, &format!("{text} {n}"));
            let (_, chat) = client.wait_text(&format!("{text} {n}"), SOON);
            assert_eq!(chat, group);
        }
    }
}

#[test]
fn what_comes_while_offline_is_delivered_at_the_next_login_until_acked() {
    let (backend, _owner, friend, lab) = Setup::new().crash();
    for n in 0..3 {
        friend.send_text("15550100001", &format!("while you were out {n}"));
    }
    assert_eq!(lab.pending("15550100001"), 3);
    let client = Stock::start(&lab.endpoint(), &backend, None);
    for n in 0..3 {
        client.wait_text(&format!("while you were out {n}"), SOON);
    }
    assert!(lab.wait_until(SOON, |lab| lab.pending("15550100001") == 0));
    for n in 0..3 {
        assert_eq!(client.count_text(&format!("while you were out {n}")), 1);
    }
}

#[test]
fn keys_are_shared_once_or_at_every_login() {
    let (backend, _owner, _friend, lab) = Setup::new().crash();
    let peer_messages = |lab: &Lab| {
        let log = lab.stanza_log();
        log.iter()
            .filter(|s| s.node.attrs.get("category").is_some_and(|c| *c == "peer"))
            .count()
    };
    let first = Stock::start(&lab.endpoint(), &backend, None);
    assert!(lab.wait_lines(1, SOON));
    assert_eq!(peer_messages(&lab), 1);
    drop(first);
    lab.share_keys_at_every_login(true);
    let second = Stock::start(&lab.endpoint(), &backend, None);
    second.wait_connected(SOON);
    assert_eq!(peer_messages(&lab), 2);
}

#[test]
fn comes_back_by_ik_and_by_xxfallback_after_the_key_has_changed() {
    let Setup {
        client, friend, lab, ..
    } = Setup::new();
    // The first login after pairing is XX; from its certificate chain the client learns the key for IK.
    lab.faults().cut_rst();
    assert!(lab.wait_until(SOON, |lab| lab.counters().handshakes_ik == 1 && lab.lines().len() == 1));
    assert!(lab.lines()[0].resumed);
    let before = lab.counters().handshakes_xx;
    lab.faults().rotate_server_key();
    lab.faults().cut_fin();
    assert!(lab.wait_until(SOON, |lab| lab.counters().handshakes_xx == before + 1
        && lab.lines().len() == 1));
    friend.send_text("15550100001", "still there");
    client.wait_text("still there", SOON);
}

#[test]
fn logging_out_on_the_phone_ends_it() {
    let Setup {
        client,
        backend,
        owner,
        lab,
        ..
    } = Setup::new();
    owner.logout_companion();
    client.wait("LoggedOut", SOON, |e| matches!(e, Event::LoggedOut(_)).then_some(()));
    drop(client);
    assert!(owner.companions().is_empty());
    // At the next login the answer is 401.
    let client = Stock::start(&lab.endpoint(), &backend, None);
    client.wait("LoggedOut", SOON, |e| {
        matches!(e, Event::LoggedOut(l) if l.on_connect).then_some(())
    });
    assert!(lab.lines().is_empty());
}

// The doors, without a client: plain sockets are enough.

#[test]
fn http_status_and_a_wrong_path_refuse_the_upgrade() {
    let lab = Lab::start();
    assert_eq!(upgrade(&lab, "/ws/chat"), "101");
    assert_eq!(upgrade(&lab, "/elsewhere"), "404");
    lab.faults().http_status(Some(503));
    assert_eq!(upgrade(&lab, "/ws/chat"), "503");
}

/// Asks for the upgrade, permessage-deflate included, and returns the status.
fn upgrade(lab: &Lab, path: &str) -> String {
    let mut tcp = TcpStream::connect(lab.addr()).unwrap();
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: lab\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    );
    tcp.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && tcp.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(
        !head.to_ascii_lowercase().contains("permessage-deflate"),
        "extensions are declined"
    );
    head.split(' ').nth(1).unwrap().into()
}

#[test]
fn dropping_a_lab_closes_its_sockets() {
    let lab = Lab::start();
    let mut tcp = TcpStream::connect(lab.addr()).unwrap();
    assert!(lab.wait_until(SOON, |lab| lab.counters().accepted == 1));
    drop(lab);
    assert!(matches!(tcp.read(&mut [0]), Ok(0) | Err(_)));
}
