//! What the rules of routes do with alerts: what is held back, what shares a message, who has acknowledged it.

use serde::{Deserialize, Serialize};

use super::words::span;
use crate::alert::hygiene::shortened;
use crate::outbox::{Ack, AlertRecord};

/// Characters of the text of an alert beside another.
const BESIDE_TEXT_CHARS_MAX: usize = 160;

/// Deliveries of one route that wait without a message, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HeldBackStatus {
    /// The route.
    pub route: String,
    /// What they wait for, for people.
    pub why: String,
    /// How many.
    pub deliveries: usize,
    /// Until when the first of them does, in Unix milliseconds; absent where no time is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_at: Option<u64>,
}

/// Somebody has seen to an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AcknowledgedView {
    /// When, in Unix milliseconds.
    pub at: u64,
    /// Who or what it was, for people.
    pub by: String,
    /// For an answer from a phone how it was given: `reaction`, `reply` or `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
    /// WhatsApp's id of that answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
}

impl From<&Ack> for AcknowledgedView {
    fn from(ack: &Ack) -> Self {
        Self {
            at: ack.at.0,
            by: ack.by.clone(),
            how: ack.answer.as_ref().map(|answer| answer.how.name().to_owned()),
            message_id: ack.answer.as_ref().map(|answer| answer.id.clone()),
        }
    }
}

/// What a delivery waits for that has no message yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HeldBackView {
    /// For people.
    pub why: String,
    /// Until when, in Unix milliseconds; absent where no time is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_at: Option<u64>,
}

impl HeldBackView {
    /// For people, at `now_ms`.
    pub fn words(&self, now_ms: u64) -> String {
        match self.until_at.map(|at| at.saturating_sub(now_ms)) {
            Some(left) => format!("{}, for another {}", self.why, span(left)),
            None => self.why.clone(),
        }
    }
}

/// An alert that is in a message with another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BesideView {
    /// Its id.
    pub id: String,
    /// May be empty.
    pub title: String,
    /// The first line of its text.
    pub text: String,
}

impl From<&AlertRecord> for BesideView {
    fn from(record: &AlertRecord) -> Self {
        let alert = &record.alert;
        Self {
            id: record.id.clone(),
            title: alert.title.clone(),
            text: shortened(alert.text.lines().next().unwrap_or_default(), BESIDE_TEXT_CHARS_MAX).0,
        }
    }
}
