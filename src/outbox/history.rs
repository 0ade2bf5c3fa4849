//! What the journal is told of an alert: each change of a step, once, in the order in which they came.

use serde::{Deserialize, Serialize};

use super::record::{AlertRecord, Step, Timestamp};
use crate::alert::{RouteName, SessionName};

/// What has happened to an alert or to one of its deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum TransitionKind {
    /// It is on disk here, and its sender may be told so.
    Accepted,
    Sent,
    Delivered,
    Read,
    /// The server refused it for good, or it is held since the state was restored.
    Failed,
    /// A person gave it up, or the quiet hours of its route did.
    Dropped,
    /// A person has it sent again after it failed.
    Retried,
    /// It was settled and has been kept for long enough: its record is gone.
    Forgotten,
    /// It was not sent within its time to live.
    Expired,
    /// It is about to go to a fallback.
    Handover,
    /// A fallback has it.
    Fallback,
    /// A later alert about the same thing says more.
    Superseded,
    /// Somebody has acknowledged it.
    Acknowledged,
    /// It was said again, because nobody had.
    Repeated,
    /// Another route was told of it, because nobody had.
    Escalated,
    /// Somebody has answered it who may not acknowledge it.
    Unheeded,
}

impl TransitionKind {
    /// Everything that can happen.
    pub const ALL: [Self; 16] = [
        Self::Accepted,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Failed,
        Self::Dropped,
        Self::Retried,
        Self::Forgotten,
        Self::Expired,
        Self::Handover,
        Self::Fallback,
        Self::Superseded,
        Self::Acknowledged,
        Self::Repeated,
        Self::Escalated,
        Self::Unheeded,
    ];

    /// The word for it in records and JSON, which never changes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
            Self::Retried => "retried",
            Self::Forgotten => "forgotten",
            Self::Expired => "expired",
            Self::Handover => "handover",
            Self::Fallback => "fallback",
            Self::Superseded => "superseded",
            Self::Acknowledged => "acknowledged",
            Self::Repeated => "repeated",
            Self::Escalated => "escalated",
            Self::Unheeded => "unheeded",
        }
    }

    /// The step that it leads to, where it leads to one.
    pub(super) fn step(self) -> Option<Step> {
        match self {
            Self::Accepted | Self::Retried => Some(Step::Accepted),
            Self::Sent => Some(Step::Sent),
            Self::Delivered => Some(Step::Delivered),
            Self::Read => Some(Step::Read),
            Self::Failed => Some(Step::Failed),
            Self::Dropped => Some(Step::Dropped),
            Self::Expired => Some(Step::Expired),
            Self::Fallback => Some(Step::Fallback),
            Self::Superseded => Some(Step::Superseded),
            Self::Forgotten
            | Self::Handover
            | Self::Acknowledged
            | Self::Repeated
            | Self::Escalated
            | Self::Unheeded => None,
        }
    }
}

/// One entry for the journal. It holds no text and no recipient: who has read the alert's record knows both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub at: Timestamp,
    pub what: TransitionKind,
    /// The alert's id, as senders know it.
    pub alert: String,
    pub route: RouteName,
    pub session: SessionName,
    /// Which of the alert's deliveries, by its place among them; `None`: all of it.
    pub delivery: Option<u32>,
}

impl Transition {
    /// To all of the alert.
    pub fn to_all(record: &AlertRecord, at: Timestamp, what: TransitionKind) -> Self {
        Self {
            at,
            what,
            alert: record.id.clone(),
            route: record.route.clone(),
            session: record.session.clone(),
            delivery: None,
        }
    }

    /// To its delivery number `index`.
    pub fn to_one(record: &AlertRecord, at: Timestamp, what: TransitionKind, index: usize) -> Self {
        Self {
            delivery: u32::try_from(index).ok(),
            ..Self::to_all(record, at, what)
        }
    }
}
