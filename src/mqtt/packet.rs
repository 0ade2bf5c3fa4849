//! The packets of MQTT 5 and 3.1.1, as far as a client needs them.

use super::frame::{Frame, PUBLISH};
use super::publish::{self, Message, Publish};
use super::version::Version;
use super::wire::{Malformed, Reader, Value, Writer};

/// How much is kept of a broker's words, in characters.
const WORDS_CHARS_MAX: usize = 200;

/// What a connection begins with.
pub(super) struct Connect<'a> {
    pub version: Version,
    pub client_id: &'a str,
    pub user: Option<&'a str>,
    pub password: Option<&'a [u8]>,
    /// In seconds.
    pub keep_alive: u16,
    /// How long the broker keeps what comes while we are away, in seconds; 0 is not at all.
    pub session_expiry: u32,
    pub receive_max: u16,
    pub will: &'a Message,
}

impl Connect<'_> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.bytes(b"MQTT");
        writer.u8(match self.version {
            Version::V3 => 4,
            Version::V5 => 5,
        });
        // The will is of QoS 1. MQTT 5 begins where a session was left and keeps it for as long as `session_expiry`
        // says; 3.1.1 knows only whether it is kept.
        let is_clean = self.version == Version::V3 && self.session_expiry == 0;
        let flags = 0b0000_1100
            | u8::from(is_clean) << 1
            | u8::from(self.will.retain) << 5
            | u8::from(self.password.is_some()) << 6
            | u8::from(self.user.is_some()) << 7;
        writer.u8(flags);
        writer.u16(self.keep_alive);
        if self.version == Version::V5 {
            writer.properties(|writer| {
                writer.u8(0x11);
                writer.u32(self.session_expiry);
                writer.u8(0x21);
                writer.u16(self.receive_max);
            });
        }
        writer.bytes(self.client_id.as_bytes());
        if self.version == Version::V5 {
            writer.properties(|_| {});
        }
        writer.bytes(self.will.topic.as_bytes());
        writer.bytes(&self.will.payload);
        if let Some(user) = self.user {
            writer.bytes(user.as_bytes());
        }
        if let Some(password) = self.password {
            writer.bytes(password);
        }
        writer.packet(0x10)
    }
}

/// Asks for messages on these topics, with the highest QoS of each. The broker keeps back what it has kept (retained),
/// where the version allows to say so, and what this client has published itself.
pub(super) fn subscribe(version: Version, packet: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.u16(packet);
    if version == Version::V5 {
        writer.properties(|_| {});
    }
    for (filter, qos) in filters {
        writer.bytes(filter.as_bytes());
        writer.u8(match version {
            Version::V3 => *qos,
            Version::V5 => 0b0010_0100 | qos,
        });
    }
    writer.packet(0x82)
}

/// Acknowledges a message of QoS 1. A code from 0x80 on says that nothing came of it, where the version can.
pub(super) fn puback(version: Version, packet: u16, code: u8) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.u16(packet);
    if version == Version::V5 && code != 0 {
        writer.u8(code);
    }
    writer.packet(0x40)
}

pub(super) const PINGREQ: &[u8] = &[0xC0, 0];

/// The end of a connection that was meant: the broker does not publish the will.
pub(super) const DISCONNECT: &[u8] = &[0xE0, 0];

/// What a broker can say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    Connack(Connack),
    Publish(Publish),
    Puback {
        packet: u16,
        code: u8,
    },
    /// A code for each filter, in their order.
    Suback {
        packet: u16,
        codes: Vec<u8>,
    },
    Pingresp,
    Disconnect {
        code: u8,
        words: String,
    },
}

/// The broker's answer to a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Connack {
    /// What it kept of this client's is still there.
    pub session_present: bool,
    /// 0 is success; codes of 3.1.1 are translated.
    pub code: u8,
    pub words: String,
    /// In seconds, where the broker wants another.
    pub keep_alive: Option<u16>,
    /// How many messages of QoS 1 may be open to it.
    pub receive_max: u16,
    pub qos_max: u8,
    pub retains: bool,
}

pub(super) fn decode(version: Version, frame: &Frame) -> Result<Packet, Malformed> {
    let Frame {
        first,
        body,
        body_bytes,
    } = frame;
    if first >> 4 == PUBLISH {
        let cut = body_bytes - body.len();
        return publish::decode(version, *first, body, cut).map(Packet::Publish);
    }
    let mut reader = Reader::new(body, false);
    Ok(match first {
        0x20 => Packet::Connack(connack(version, reader)?),
        0x40 => Packet::Puback {
            packet: reader.u16()?,
            code: if reader.is_empty() { 0 } else { reader.u8()? },
        },
        0x90 => {
            let packet = reader.u16()?;
            if version == Version::V5 {
                reader.properties(|_, _| {})?;
            }
            let codes = reader.rest().to_vec();
            Packet::Suback { packet, codes }
        }
        0xD0 => Packet::Pingresp,
        0xE0 if version == Version::V5 => {
            let code = if reader.is_empty() { 0 } else { reader.u8()? };
            let mut words = String::new();
            if !reader.is_empty() {
                reader.properties(|id, value| note_words(&mut words, id, &value))?;
            }
            Packet::Disconnect { code, words }
        }
        _ => return Err(Malformed("a packet is of a kind that no broker sends to this client")),
    })
}

fn connack(version: Version, mut reader: Reader<'_>) -> Result<Connack, Malformed> {
    let session_present = reader.u8()? & 1 == 1;
    let code = reader.u8()?;
    let mut connack = Connack {
        session_present,
        code,
        words: String::new(),
        keep_alive: None,
        receive_max: u16::MAX,
        qos_max: 2,
        retains: true,
    };
    // A broker that knows 3.1.1 alone says so in its own form, whatever it was asked in.
    if version == Version::V3 || (code < 0x80 && code != 0) {
        connack.code = match code {
            0 => 0,
            1 => 0x84,
            2 => 0x85,
            3 => 0x88,
            4 => 0x86,
            5 => 0x87,
            _ => 0x80,
        };
        return Ok(connack);
    }
    if !reader.is_empty() {
        reader.properties(|id, value| {
            note_words(&mut connack.words, id, &value);
            match (id, value) {
                (0x13, Value::Number(seconds)) => connack.keep_alive = u16::try_from(seconds).ok(),
                (0x21, Value::Number(count)) => connack.receive_max = u16::try_from(count).unwrap_or(u16::MAX).max(1),
                (0x24, Value::Number(qos)) => connack.qos_max = u8::try_from(qos).unwrap_or(2),
                (0x25, Value::Number(is)) => connack.retains = is != 0,
                (_, Value::Number(_) | Value::Bytes(_) | Value::Pair(..)) => {}
            }
        })?;
    }
    Ok(connack)
}

/// Keeps the reason string, for people.
fn note_words(words: &mut String, id: u8, value: &Value<'_>) {
    if let (0x1F, Value::Bytes(bytes)) = (id, value) {
        let text = String::from_utf8_lossy(bytes);
        let shown = text.chars().take(WORDS_CHARS_MAX);
        *words = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
    }
}

/// What a code of MQTT 5 means.
pub(super) fn reason_words(code: u8) -> String {
    let words = match code {
        0x00 => "for no reason that it says",
        0x80 => "for an error that it does not name",
        0x81 => "a packet was malformed",
        0x82 => "the protocol was broken",
        0x83 => "for a reason of its own",
        0x84 => "it does not speak this version",
        0x85 => "it does not like the client id",
        0x86 => "user or password are wrong",
        0x87 => "not authorized",
        0x88 => "it is not available",
        0x89 => "it is busy",
        0x8A => "this client is banned",
        0x8B => "it shuts down",
        0x8D => "it had heard nothing for too long",
        0x8E => "somebody else has connected with the same client id",
        0x8F => "it does not take the topic filter",
        0x90 => "it does not take the topic",
        0x93 => "too many messages were open",
        0x95 => "a packet was too large",
        0x96 => "messages came too fast",
        0x97 => "a quota is used up",
        0x98 => "its administrator wants it so",
        0x9A => "it keeps no retained messages",
        0x9B => "it does not support the QoS",
        0x9C | 0x9D => "another server is to be used",
        0x9F => "connections came too fast",
        0xA0 => "the connection has lasted as long as it may",
        0xA2 => "it takes no wildcards",
        code => return format!("code 0x{code:02X}"),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::frame::Frames;
    use super::super::publish::Properties;
    use super::*;
    use std::time::Duration;

    fn read(version: Version, bytes: &[u8]) -> Result<Packet, Malformed> {
        let mut frames = Frames::default();
        frames.push(bytes);
        decode(version, &frames.next()?.expect("a whole packet"))
    }

    #[test]
    fn what_a_broker_says_to_a_connection_is_read_in_both_versions() {
        let said = [
            0x20, 18, 1, 0, 15, 0x21, 0, 20, 0x13, 0, 25, 0x24, 1, 0x25, 0, 0x22, 0, 10, 0x2A, 1,
        ];
        let Ok(Packet::Connack(connack)) = read(Version::V5, &said) else {
            panic!("no CONNACK");
        };
        assert!(connack.session_present && !connack.retains);
        assert_eq!(
            (connack.code, connack.keep_alive, connack.receive_max, connack.qos_max),
            (0, Some(25), 20, 1)
        );
        for (version, code, meant) in [(Version::V3, 4, 0x86), (Version::V5, 1, 0x84), (Version::V3, 9, 0x80)] {
            let Ok(Packet::Connack(connack)) = read(version, &[0x20, 2, 0, code]) else {
                panic!("no CONNACK");
            };
            assert_eq!(connack.code, meant);
        }
    }

    #[test]
    fn a_message_keeps_what_can_be_used_of_what_stands_beside_it() {
        let mut writer = Writer::default();
        writer.bytes(b"tautline/family/publish");
        writer.u16(7);
        writer.properties(|writer| {
            // The payload calls itself UTF-8, and is not.
            writer.u8(0x01);
            writer.u8(1);
            writer.u8(0x02);
            writer.u32(90);
            writer.u8(0x03);
            writer.bytes(b"application/json");
            writer.u8(0x08);
            writer.bytes(b"answers/#");
            writer.u8(0x09);
            writer.bytes(&[0, 255]);
            writer.u8(0x0B);
            writer.variable(300);
            writer.u8(0x0B);
            writer.variable(1);
            for _ in 0..40 {
                writer.u8(0x26);
                writer.bytes(b"title");
                writer.bytes(b"T\xfc\xdf");
            }
        });
        writer.0.extend_from_slice(b"gr\xfc\xdfe");
        let Ok(Packet::Publish(publish)) = read(Version::V5, &writer.packet(0x3B)) else {
            panic!("no PUBLISH");
        };
        assert_eq!(publish.payload, b"gr\xfc\xdfe");
        assert_eq!(
            (publish.packet, publish.repeated, publish.retained),
            (Some(7), true, true)
        );
        let Properties {
            content_type,
            expiry,
            response_topic,
            correlation,
            user,
        } = publish.properties;
        assert_eq!(content_type.as_deref(), Some("application/json"));
        assert_eq!(expiry, Some(Duration::from_secs(90)));
        assert_eq!((response_topic, correlation), (None, Some(vec![0, 255])));
        assert_eq!(user.len(), 32);
    }

    #[test]
    fn a_message_whose_properties_are_beyond_all_bounds_is_a_message() {
        let mut writer = Writer::default();
        writer.bytes(b"tautline/family/publish");
        writer.u16(7);
        writer.properties(|writer| {
            for _ in 0..10 {
                writer.u8(0x26);
                writer.bytes(b"x");
                writer.bytes(&[b'y'; 60_000]);
            }
        });
        let Ok(Packet::Publish(publish)) = read(Version::V5, &writer.packet(0x32)) else {
            panic!("no PUBLISH");
        };
        assert_eq!((publish.packet, publish.payload.len()), (Some(7), 0));
        assert!(publish.properties.user.len() < 10);
    }

    #[test]
    fn what_is_not_mqtt_is_told_and_never_a_panic() {
        for bytes in [
            &[0x30, 1, 0][..],
            &[0x30, 2, 0, 0],
            &[0x30, 5, 0, 3, b'a', b'/', b'#'],
            &[0x32, 5, 0, 1, b'a', 0, 0],
            &[0x34, 5, 0, 1, b'a', 0, 1],
            &[0x20, 0],
            &[0x40, 1, 0],
            &[0x10, 0],
            &[0xF0, 0],
            &[0x00, 0],
        ] {
            assert!(read(Version::V5, bytes).is_err(), "{bytes:?}");
        }
        assert!(read(Version::V5, &[0x30, 6, 0, 1, b'a', 2, 0x04, 0]).is_err());
        assert!(read(Version::V3, &[0xE0, 0]).is_err());
    }

    #[test]
    fn packets_of_ours_are_as_the_standard_draws_them() {
        let will = Message {
            topic: "t".into(),
            payload: b"off".to_vec(),
            retain: true,
            ..Message::default()
        };
        let connect = |version, session_expiry| Connect {
            version,
            client_id: "me",
            user: Some("u"),
            password: Some(b"p"),
            keep_alive: 30,
            session_expiry,
            receive_max: 32,
            will: &will,
        };
        assert_eq!(
            connect(Version::V3, 0).encode(),
            b"\x10\x1c\x00\x04MQTT\x04\xee\x00\x1e\x00\x02me\x00\x01t\x00\x03off\x00\x01u\x00\x01p"
        );
        assert_eq!(connect(Version::V3, 60).encode()[9], 0xEC);
        assert_eq!(
            connect(Version::V5, 60).encode(),
            b"\x10\x26\x00\x04MQTT\x05\xec\x00\x1e\x08\x11\x00\x00\x00\x3c\x21\x00\x20\x00\x02me\x00\x00\x01t\x00\x03off\x00\x01u\x00\x01p"
        );
        assert_eq!(
            subscribe(Version::V5, 1, &[("a/+", 1)]),
            b"\x82\x09\x00\x01\x00\x00\x03a/+\x25"
        );
        assert_eq!(
            subscribe(Version::V3, 1, &[("a/+", 1)]),
            b"\x82\x08\x00\x01\x00\x03a/+\x01"
        );
        assert_eq!(puback(Version::V5, 258, 0), b"\x40\x02\x01\x02");
        assert_eq!(puback(Version::V5, 258, 0x90), b"\x40\x03\x01\x02\x90");
        assert_eq!(puback(Version::V3, 258, 0x90), b"\x40\x02\x01\x02");
        assert_eq!(
            publish::encode(Version::V3, &will, Some(3)),
            b"\x33\x08\x00\x01t\x00\x03off"
        );
        assert_eq!(publish::encode(Version::V5, &will, None), b"\x31\x07\x00\x01t\x00off");
    }
}
