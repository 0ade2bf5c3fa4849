//! What an alert is, what is done to every sender's text, and what is sent for it. Pure: no clock, no socket.

mod attachment;
pub mod charset;
mod emoji;
pub mod encoded_word;
pub mod hygiene;
mod names;
mod oem;
pub mod render;
pub mod summary;

pub use attachment::{Attachment, BlobHash, MediaKind};
pub use names::{FallbackName, HookName, NameError, ROUTE_NAMES_RESERVED, Recipient, RouteName, SessionName};

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How urgent the sender says it is. ntfy's scale; the number is what senders write and what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Priority {
    Min = 1,
    Low = 2,
    #[default]
    Default = 3,
    High = 4,
    Max = 5,
}

/// Whether the thing that an alert is about is so, or is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    #[default]
    Firing,
    Resolved,
}

/// An alert that goes out later than this after it was accepted is late, where its route says nothing else: whoever
/// reads it would take what has just arrived for what has just happened.
pub const LATE_AFTER: Duration = Duration::from_secs(2 * 60);

/// What a sender hands over, whatever its dialect. A dialect fills it; [`outbox`](crate::outbox) keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Alert {
    /// Empty when the sender gave none.
    pub title: String,
    /// The message; never empty (a dialect fills in its own default).
    pub text: String,
    pub priority: Priority,
    /// As sent; known emoji short codes become emoji when rendered.
    pub tags: Vec<String>,
    /// A link to open, shown as a line of its own.
    pub click: Option<String>,
    /// The sender's de-duplication key: the same key on the same route within a day is the same alert.
    pub key: Option<String>,
    /// How long it is worth sending, where the sender says so; counted from when it is accepted.
    pub ttl: Option<Duration>,
    /// How long after it was accepted it is to go out, where the sender says so.
    pub delay: Option<Duration>,
    pub status: Status,
    /// What its sender calls the thing that it is about, the same each time: ntfy's sequence id, Alertmanager's
    /// fingerprint.
    pub sequence: Option<String>,
    /// The program that it came from, as far as it says so.
    pub sender: Option<String>,
    /// What a route can group by, beside the title and the tags; as senders name it.
    pub labels: BTreeMap<String, String>,
    /// In the order in which they are shown.
    pub attachments: Vec<Attachment>,
}

/// Somebody or some group that alerts can go to, as `GET /v1/chats` lists them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Chat {
    /// What goes into a route's `to`.
    pub to: String,
    pub name: String,
    /// `group`, `community` (its parent, which nobody can write to) or `contact`.
    pub kind: String,
    pub session: String,
    /// The hidden id by which WhatsApp also knows this contact, as a route may name it; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lid: Option<String>,
    /// False where a message of this account would be refused; `note` says why.
    #[serde(default = "yes")]
    pub writable: bool,
    /// What to know before a route names it, in words; mostly empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What a relay that does not mark its chats leaves open.
fn yes() -> bool {
    true
}

impl Priority {
    /// The word that ntfy has for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Low => "low",
            Self::Default => "default",
            Self::High => "high",
            Self::Max => "max",
        }
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> u8 {
        priority as u8
    }
}

impl TryFrom<u8> for Priority {
    type Error = NameError;
    fn try_from(number: u8) -> Result<Self, NameError> {
        Ok(match number {
            1 => Self::Min,
            2 => Self::Low,
            3 => Self::Default,
            4 => Self::High,
            5 => Self::Max,
            other => return Err(NameError(format!("a priority is 1 to 5, not {other}"))),
        })
    }
}

/// A priority as senders write it: a number or ntfy's word, in any case.
impl FromStr for Priority {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Ok(match text.trim().to_ascii_lowercase().as_str() {
            "1" | "min" => Self::Min,
            "2" | "low" => Self::Low,
            "3" | "default" => Self::Default,
            "4" | "high" => Self::High,
            "5" | "max" | "urgent" => Self::Max,
            _ => {
                let error = "a priority is 1 to 5, or min, low, default, high, max, urgent";
                return Err(NameError(error.into()));
            }
        })
    }
}
