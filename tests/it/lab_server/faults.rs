//! Every switch of [`lab::Faults`], on or off, seen from a client.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wacore::store::InMemoryBackend;
use whatsapp_rust::prelude::Event;

use super::{SOON, Setup};
use crate::lab::{Direction, Failure, Faults, Lab, Seen};
use crate::stock::Stock;

type Act = fn(&Faults);
type Expected = fn(&Event) -> bool;

/// How long something that must not happen is waited for.
const NEVER: Duration = Duration::from_millis(300);

#[test]
fn a_shut_door_refuses_and_opens_again() {
    let lab = Lab::start();
    lab.faults().refuse_tcp(true);
    assert!(TcpStream::connect(lab.addr()).is_err());
    lab.faults().calm();
    assert!(TcpStream::connect(lab.addr()).is_ok());
}

#[test]
fn a_slow_handshake_is_slow_and_a_mute_one_never_ends() {
    let lab = Lab::start();
    let delay = Duration::from_millis(400);
    lab.faults().slow_handshake(delay);
    let started = Instant::now();
    let _slow = Stock::start(&lab.endpoint(), &Arc::default(), None);
    assert!(lab.wait_until(SOON, |lab| lab.counters().handshakes_xx == 1));
    assert!(started.elapsed() >= delay);

    lab.faults().calm();
    lab.faults().mute_handshake(true);
    let _mute = Stock::start(&lab.endpoint(), &Arc::default(), None);
    assert!(lab.wait_until(SOON, |lab| lab.counters().upgrades == 2));
    assert!(!lab.wait_until(NEVER, |lab| lab.counters().handshakes_xx == 2));
}

#[test]
fn a_silent_login_shakes_hands_and_says_nothing() {
    let (backend, _owner, _friend, lab) = Setup::new().crash();
    let before = lab.counters();
    lab.faults().silent_login(true);
    let _client = Stock::start(&lab.endpoint(), &backend, None);
    let shaken = |lab: &Lab| lab.counters().handshakes_ik + lab.counters().handshakes_xx;
    let shaken_before = before.handshakes_ik + before.handshakes_xx;
    assert!(lab.wait_until(SOON, |lab| shaken(lab) == shaken_before + 1));
    assert!(!lab.wait_until(NEVER, |lab| lab.counters().logins > before.logins));
}

#[test]
fn failures_at_login_are_what_the_library_takes_them_for() {
    let kinds: [(Failure, Expected); 5] = [
        (Failure::code(401), |e| matches!(e, Event::LoggedOut(l) if l.on_connect)),
        (Failure::ban(3600), |e| matches!(e, Event::TemporaryBan(_))),
        (Failure::code(403), |e| matches!(e, Event::LoggedOut(_))),
        (Failure::code(405), |e| matches!(e, Event::ClientOutdated(_))),
        (Failure::code(503), |e| matches!(e, Event::ConnectFailure(_))),
    ];
    let (backend, _owner, _friend, lab) = Setup::new().crash();
    for (failure, expected) in kinds {
        let what = format!("{failure:?}");
        lab.faults().failure(Some(failure));
        let client = Stock::start(&lab.endpoint(), &backend, None);
        client.wait(&what, SOON, |e| expected(e).then_some(()));
    }
}

#[test]
fn stream_errors_are_what_the_library_takes_them_for() {
    let kinds: [(&str, Act, Expected); 6] = [
        (
            "409",
            |f| f.stream_error(409),
            |e| matches!(e, Event::StreamReplaced(_)),
        ),
        (
            "replaced",
            |f| f.conflict("replaced"),
            |e| matches!(e, Event::StreamReplaced(_)),
        ),
        ("401", |f| f.stream_error(401), |e| matches!(e, Event::LoggedOut(_))),
        ("516", |f| f.stream_error(516), |e| matches!(e, Event::LoggedOut(_))),
        (
            "device removed",
            |f| f.conflict("device_removed"),
            |e| matches!(e, Event::LoggedOut(_)),
        ),
        ("500", |f| f.stream_error(500), |e| matches!(e, Event::StreamError(_))),
    ];
    let (backend, _owner, _friend, lab) = Setup::new().crash();
    for (what, act, expected) in kinds {
        let client = Stock::start(&lab.endpoint(), &backend, None);
        assert!(lab.wait_lines(1, SOON), "{what}");
        act(lab.faults());
        client.wait(what, SOON, |e| expected(e).then_some(()));
        drop(client);
        assert!(lab.wait_lines(0, SOON), "{what}");
    }
}

#[test]
fn the_other_stream_errors_are_sent_as_recorded() {
    let Setup {
        client: _client, lab, ..
    } = &Setup::new();
    lab.faults().stream_error_ack("3EB0FF01");
    lab.faults().xml_not_well_formed();
    let sent = |tag: &str| {
        let log = lab.stanza_log();
        let errors: Vec<Seen> = log.into_iter().filter(|s| s.node.tag == "stream:error").collect();
        errors.iter().any(|s| s.node.get_optional_child(tag).is_some())
    };
    assert!(sent("ack") && sent("xml-not-well-formed"));
}

#[test]
fn an_error_at_login_follows_success() {
    let (backend, _owner, _friend, lab) = Setup::new().crash();
    lab.faults().error_at_login(Some(409));
    let client = Stock::start(&lab.endpoint(), &backend, None);
    client.wait("StreamReplaced", SOON, |e| {
        matches!(e, Event::StreamReplaced(_)).then_some(())
    });
}

#[test]
fn after_these_acts_the_client_comes_back() {
    let Setup {
        client: _client, lab, ..
    } = &Setup::new();
    let acts: [(&str, Act); 6] = [
        ("rst", |f| f.cut_rst()),
        ("fin", |f| f.cut_fin()),
        ("close 1000", |f| f.close_frame(1000)),
        ("close 1001", |f| f.close_frame(1001)),
        ("stream end", |f| f.stream_end()),
        ("515", |f| f.stream_error(515)),
    ];
    for (name, act) in acts {
        let before = lab.counters().logins;
        act(lab.faults());
        let back = lab.wait_until(SOON, |lab| {
            lab.counters().logins > before && lab.lines().iter().any(|l| l.active)
        });
        assert!(back, "{name}: the client did not come back");
    }
}

#[test]
fn pings_are_answered_unless_withheld_and_a_frozen_line_thaws() {
    let Setup { client, lab, .. } = &Setup::new();
    assert!(client.ping(SOON));
    lab.faults().withhold_pongs(true);
    assert!(!client.ping(NEVER));
    lab.faults().calm();
    assert!(client.ping(SOON));

    lab.faults().zombie(true);
    assert!(client.ping(SOON), "a zombie answers pings");
    lab.faults().calm();

    lab.faults().black_hole(true);
    assert!(!client.ping(NEVER));
    lab.faults().black_hole(false);

    lab.faults().freeze();
    assert!(!client.ping(NEVER));
    lab.faults().thaw();
    assert!(client.ping(SOON));
    assert!(lab.lines()[0].pings >= 4);
}

#[test]
fn web_socket_pings_are_ponged() {
    let Setup {
        client: _client, lab, ..
    } = &Setup::new();
    lab.faults().ws_ping();
    assert!(lab.wait_until(SOON, |lab| lab.counters().ws_pongs == 1));
}

#[test]
fn garbage_reaches_the_client() {
    // The stock client skips a frame that is no stanza. One that does not decrypt leaves it deaf until it gives up on
    // the line, which takes it longer than a test should; so the line is cut for it.
    let acts: [(Act, bool); 2] = [(|f| f.garbage_in_noise(), true), (|f| f.garbage_frame(), false)];
    for (act, survives) in acts {
        let Setup {
            client, lab, friend, ..
        } = &Setup::new();
        act(lab.faults());
        assert_eq!(client.ping(if survives { SOON } else { NEVER }), survives);
        if !survives {
            lab.faults().cut_rst();
        }
        friend.send_text("15550100001", "after the garbage");
        client.wait_text("after the garbage", SOON);
    }
}

#[test]
fn without_offline_the_client_is_not_told_that_it_has_caught_up() {
    let (backend, _owner, _friend, lab) = Setup::new().crash();
    let told = |lab: &Lab, line: u64| {
        let log = lab.stanza_log();
        log.iter().any(|s| {
            s.line == line && s.direction == Direction::ToClient && s.node.get_optional_child("offline").is_some()
        })
    };
    lab.faults().no_offline(true);
    let _client = Stock::start(&lab.endpoint(), &backend, None);
    assert!(lab.wait_lines(1, SOON));
    assert!(!told(&lab, lab.lines()[0].id));
    lab.faults().calm();
    lab.faults().cut_rst();
    assert!(lab.wait_until(SOON, |lab| {
        lab.lines().first().is_some_and(|l| l.active && told(lab, l.id))
    }));
}

#[test]
fn withheld_acks_are_missing_and_nothing_else_is() {
    let Setup {
        client, friend, lab, ..
    } = Setup::new();
    lab.faults().withhold_acks(true);
    client.send(&friend.number(), "3EB0AA04", "unacknowledged").unwrap();
    friend.wait_received(1, SOON);
    lab.faults().calm();
    client.send(&friend.number(), "3EB0AA05", "acknowledged").unwrap();
    let first = client.wait("server ack", SOON, |e| match e {
        Event::ServerAck(ack) if ack.class.as_deref() == Some("message") => Some(ack.id.clone()),
        _ => None,
    });
    assert_eq!(first, "3EB0AA05");
}

#[test]
fn a_nack_says_so_and_the_message_goes_nowhere() {
    let Setup {
        client, friend, lab, ..
    } = Setup::new();
    lab.faults().nack(Some(479));
    client.send(&friend.number(), "3EB0AA06", "refused").unwrap();
    let error = client.wait("nack", SOON, |e| match e {
        Event::ServerAck(ack) if ack.id == "3EB0AA06" => Some(ack.error.clone()),
        _ => None,
    });
    assert_eq!(error.as_deref(), Some("479"));
    assert!(friend.received().is_empty());
}

#[test]
fn a_zombie_keeps_back_what_comes_and_hands_it_over_later() {
    let Setup {
        client, friend, lab, ..
    } = Setup::new();
    assert!(lab.wait_until(SOON, |lab| lab.pending("15550100001") == 0));
    lab.faults().zombie(true);
    friend.send_text("15550100001", "kept back");
    assert_eq!(lab.pending("15550100001"), 1);
    assert!(lab.lines()[0].acks_owed.is_empty());
    lab.faults().calm();
    client.wait_text("kept back", SOON);
}

#[test]
fn two_labs_in_one_process_know_nothing_of_each_other() {
    let (one, two) = (Lab::start(), Lab::start());
    one.faults().http_status(Some(503));
    one.account("15550100001", "Owner");
    let owner = two.account("15550100001", "Owner");
    let client = Stock::start(&two.endpoint(), &Arc::new(InMemoryBackend::new()), None);
    assert_eq!(owner.scan(&client.qr(SOON)), Ok(1));
    assert_eq!(one.counters().accepted, 0);
}
