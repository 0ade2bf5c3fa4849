//! What the fuzz target for MQTT runs: bytes that may be anything come from a broker, and a panic is a failure. Not for
//! other use.

use std::time::{Duration, Instant};

use super::client::{Client, Input, Login, Output, Settings, State, Subscription};
use super::publish::Message;
use super::version::Version;
use crate::line::RedialSchedule;

/// All that a broker says: a byte that chooses the version and into which pieces it is cut, then its bytes. What it
/// delivers is settled at once. Returns how many messages came.
///
/// # Panics
/// It does not.
pub fn broker(now: Instant, data: &[u8]) -> usize {
    let (&choice, rest) = data.split_first().unwrap_or((&0, &[]));
    let message = Message {
        topic: "tautline/box/status".into(),
        payload: b"online".to_vec(),
        retain: true,
        ..Message::default()
    };
    let settings = Settings {
        version: match choice & 3 {
            0 => None,
            1 => Some(Version::V3),
            _ => Some(Version::V5),
        },
        client_id: "box".into(),
        keep_alive: Duration::from_secs(30),
        session_expiry: Duration::from_secs(60),
        qos: choice >> 2 & 1,
        subscriptions: vec![Subscription {
            filter: super::topic::PUBLISH_FILTER.into(),
            qos: 1,
        }],
        will: message.clone(),
        birth: message,
        redial: RedialSchedule {
            first: Duration::from_secs(1),
            max: Duration::from_secs(60),
            useful: Duration::from_secs(60),
            per_hour_max: 240,
        },
    };
    let mut client = Client::new(now, settings, choice.into());
    client.handle_timeout(now);
    client.handle(now, Input::Dialled(Login::default()));
    let mut messages = 0;
    for piece in rest.chunks(usize::from(choice >> 3) * 16 + 1) {
        client.handle(now, Input::Received(piece));
        while let Some(output) = client.poll_output() {
            if let Output::Deliver(delivered) = output {
                messages += 1;
                let delivery = delivered.delivery;
                let (code, answer) = (0, None);
                client.handle(now, Input::Settled { delivery, code, answer });
            }
        }
        assert!(client.open() <= 32);
        if let State::Waiting { .. } = client.state() {
            return messages;
        }
    }
    messages
}
