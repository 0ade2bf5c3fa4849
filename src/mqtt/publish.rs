//! Messages: what comes from the broker, and what goes to it.

use std::time::Duration;

use super::topic;
use super::version::Version;
use super::wire::{Malformed, Reader, Value, Writer};

/// Properties of a message that its publisher chose; others of theirs are left.
const USER_PROPERTIES_MAX: usize = 32;

/// A message of the broker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Where it was published.
    pub topic: String,
    /// The broker's number for it, by which it is acknowledged; `None` for QoS 0.
    pub packet: Option<u16>,
    /// The broker has sent it before, on another connection.
    pub repeated: bool,
    /// It was kept by the broker and is no news.
    pub retained: bool,
    /// The start of the payload: all of it, or more than any text of an alert.
    pub payload: Vec<u8>,
    /// The whole payload's length, in bytes.
    pub payload_bytes: u64,
    /// What MQTT 5 has beside it.
    pub properties: Properties,
}

/// What may stand beside a message in MQTT 5.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// The media type of the payload.
    pub content_type: Option<String>,
    /// How long it is worth something.
    pub expiry: Option<Duration>,
    /// Where its publisher wants an answer.
    pub response_topic: Option<String>,
    /// What its publisher knows it again by.
    pub correlation: Option<Vec<u8>>,
    /// Names and values of its publisher's own.
    pub user: Vec<(String, String)>,
}

/// A message for the broker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// Where it is published.
    pub topic: String,
    /// What it says.
    pub payload: Vec<u8>,
    /// The broker keeps it for those who come later.
    pub retain: bool,
    /// The media type of the payload, for MQTT 5.
    pub content_type: Option<&'static str>,
    /// What the one who asked knows its answer by, for MQTT 5.
    pub correlation: Option<Vec<u8>>,
}

/// Reads a message. `first` has its flags, `cut` says that the body was longer, by so many bytes.
pub(super) fn decode(version: Version, first: u8, body: &[u8], cut: usize) -> Result<Publish, Malformed> {
    let mut reader = Reader::new(body, cut > 0);
    let topic = std::str::from_utf8(reader.bytes()?).map_err(|_| Malformed("a topic is not UTF-8"))?;
    if !topic::is_name(topic) {
        return Err(Malformed("a message has no topic, or one with wildcards"));
    }
    let packet = match first >> 1 & 3 {
        0 => None,
        1 => Some(reader.u16()?),
        _ => return Err(Malformed("a message has a QoS that was not asked for")),
    };
    if packet == Some(0) {
        return Err(Malformed("a message has the number 0"));
    }
    let mut properties = Properties::default();
    if version == Version::V5 {
        reader.properties(|id, value| properties.note(id, value))?;
    }
    let payload = reader.rest();
    Ok(Publish {
        topic: topic.to_owned(),
        packet,
        repeated: first & 8 != 0,
        retained: first & 1 != 0,
        payload_bytes: (payload.len() + cut) as u64,
        payload: payload.to_vec(),
        properties,
    })
}

impl Properties {
    /// Takes one in. What cannot be used costs itself alone: a message that were refused for it would come for ever.
    fn note(&mut self, id: u8, value: Value<'_>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match (id, value) {
            (0x02, Value::Number(seconds)) => self.expiry = Some(Duration::from_secs(seconds.into())),
            (0x03, Value::Bytes(bytes)) => self.content_type = Some(text(bytes)),
            (0x08, Value::Bytes(bytes)) => {
                let named = std::str::from_utf8(bytes).ok().filter(|topic| topic::is_name(topic));
                self.response_topic = named.map(str::to_owned);
            }
            (0x09, Value::Bytes(bytes)) => self.correlation = Some(bytes.to_vec()),
            (0x26, Value::Pair(name, value)) if self.user.len() < USER_PROPERTIES_MAX => {
                self.user.push((text(name), text(value)));
            }
            (_, Value::Number(_) | Value::Bytes(_) | Value::Pair(..)) => {}
        }
    }
}

/// Writes a message; with a number it is one of QoS 1.
pub(super) fn encode(version: Version, message: &Message, packet: Option<u16>) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.bytes(message.topic.as_bytes());
    if let Some(packet) = packet {
        writer.u16(packet);
    }
    if version == Version::V5 {
        writer.properties(|writer| {
            if let Some(kind) = message.content_type {
                writer.u8(0x03);
                writer.bytes(kind.as_bytes());
            }
            if let Some(correlation) = &message.correlation {
                writer.u8(0x09);
                writer.bytes(correlation);
            }
        });
    }
    writer.0.extend_from_slice(&message.payload);
    writer.packet(0x30 | u8::from(packet.is_some()) << 1 | u8::from(message.retain))
}
