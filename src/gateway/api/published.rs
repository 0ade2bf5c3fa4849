//! The answers to whoever has published, in the words of the server that they take the relay for.

use serde::{Deserialize, Serialize};

use crate::outbox::Step;

/// The answer to an ntfy publish: ntfy's fields, and four of ours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Published {
    /// The alert's id: 12 letters and digits.
    pub id: String,
    /// When it was accepted, in Unix seconds, as ntfy has it; of one that is to go out later, when that is.
    pub time: u64,
    /// Always `message`.
    pub event: String,
    /// The route.
    pub topic: String,
    /// The text, as it was taken.
    pub message: String,
    /// The title, as it was taken.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// 1 to 5.
    pub priority: u8,
    /// The tags, as they were taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The link to open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub click: Option<String>,
    /// The furthest step that every delivery has reached.
    pub state: Step,
    /// What could not be kept or done of the request, and whether somebody must act; several are joined by `; `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Nothing will go out until a person acts, as for a session that is not paired; `warning` says what.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_person: bool,
    /// The same key was accepted before: this is the first one's id, nothing was added.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
}

/// The answer to a mail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Mailed {
    /// The alerts, one for each route; none where the mail was dropped.
    pub accepted: Vec<Published>,
    /// What could not be kept or done, and why a mail was dropped; several are joined by `; `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

impl Mailed {
    /// The answer to a mail of which so much was accepted.
    pub fn new(accepted: Vec<Published>, warnings: &[String]) -> Self {
        Self {
            accepted,
            warning: (!warnings.is_empty()).then(|| warnings.join("; ")),
        }
    }
}

/// The answer to a message for Gotify: its fields, and `warning`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GotifyMessage {
    /// Made of the alert's id, because Gotify's senders read a number; below 2^53, as JSON wants it.
    pub id: u64,
    /// Always 1: a route is no application.
    pub appid: u64,
    /// The text, as it was taken.
    pub message: String,
    /// The title, as it was taken.
    pub title: String,
    /// 0 to 10, as Gotify has it.
    pub priority: u8,
    /// When it was accepted, RFC 3339.
    pub date: String,
    /// What could not be kept or done of the request, and whether somebody must act; several are joined by `; `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

impl From<Published> for GotifyMessage {
    fn from(published: Published) -> Self {
        let accepted = std::time::UNIX_EPOCH + std::time::Duration::from_secs(published.time);
        // FNV-1a: the same alert always has the same number.
        let id = published.id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self {
            id: id >> 11,
            appid: 1,
            message: published.message,
            title: published.title,
            priority: match published.priority {
                ..=1 => 0,
                2 => 2,
                3 => 5,
                4 => 8,
                5.. => 10,
            },
            date: humantime::format_rfc3339_seconds(accepted).to_string(),
            warning: published.warning,
        }
    }
}

/// The answer to a message for Pushover: its fields, and those of every publish answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PushoverMessage {
    /// Always 1: it was taken.
    pub status: u8,
    /// The alert's id.
    pub request: String,
    /// What the answer to an ntfy publish has.
    #[serde(flatten)]
    pub published: Published,
}

impl From<Published> for PushoverMessage {
    fn from(published: Published) -> Self {
        Self {
            status: 1,
            request: published.id.clone(),
            published,
        }
    }
}
