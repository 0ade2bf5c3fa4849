//! The JSON that the HTTP API speaks, once for both sides: the server writes it, the command line reads it.
//!
//! Fields are only ever added. Durations are milliseconds (`_ms`), times are Unix milliseconds (`_at`).

use serde::{Deserialize, Serialize};

pub use super::history::{EndView, HistoryEntry, StartView, utc};
pub use crate::alert::Chat;
pub use crate::line::PairEvent;
use crate::outbox::{AlertRecord, Happening, Step};
use crate::store::journal;

/// `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    pub started_at: u64,
    pub uptime_ms: u64,
    pub board: BoardStatus,
    pub state: String,
    pub listen: Vec<String>,
    pub sessions: Vec<SessionStatus>,
    pub outbox: OutboxCounts,
    /// False while anything in `health` is of severity `error`.
    pub healthy: bool,
    pub health: Vec<HealthEntry>,
    /// A build with feature `lab`: certificate chains are not checked, only loopback endpoints are accepted.
    pub lab: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoardStatus {
    pub name: String,
    /// Why this board is in force: named in the config, or what was detected.
    pub why: String,
    /// Longest time a silent death can go unnoticed on this board's schedule.
    pub detection_worst_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionState {
    /// No credentials: pair with `tautline pair`.
    Unpaired,
    /// Showing QR codes or waiting for a code to be typed.
    Pairing,
    Connecting,
    Online,
    /// Between two attempts.
    Waiting,
    /// Stopped until a person acts; `SessionStatus::detail` says what to do.
    Stopped,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionStatus {
    pub name: String,
    pub state: SessionState,
    /// One line for people: what is going on, or what to do.
    pub detail: String,
    /// The linked number, all but its last two digits hidden.
    pub account: Option<String>,
    pub online_since: Option<u64>,
    /// Lines opened since the relay started.
    pub lines: u64,
    pub layers: Vec<LayerStatus>,
    pub next: Option<Deadline>,
    pub last_end: Option<LineEnd>,
    pub inbound_recorded: u64,
}

/// One keepalive layer and how old its last proof of life is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerStatus {
    /// `tcp`, `websocket` or `application`.
    pub layer: String,
    pub proof_age_ms: Option<u64>,
    /// What is in force, in words: `keepalive 15 s + 3 × 5 s, user timeout 30 s`.
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deadline {
    pub in_ms: u64,
    pub reason: String,
}

/// Why the last line ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LineEnd {
    pub at: u64,
    pub cause: String,
    /// `server`, `path` or `us`.
    pub origin: String,
    pub verdict: String,
    pub detail: String,
}

/// Deliveries by step; one alert to three recipients counts three times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OutboxCounts {
    pub accepted: u64,
    pub sent: u64,
    pub delivered: u64,
    pub read: u64,
    pub failed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthEntry {
    /// Stable, kebab-case; `docs/operations.md` has a paragraph for each.
    pub code: String,
    /// `error` or `warning`.
    pub severity: String,
    /// What is found, with the names and numbers of this case.
    pub text: String,
    /// What the code means in general; empty from a relay that does not say it yet.
    #[serde(default)]
    pub title: String,
    /// What a person can do; empty as above.
    #[serde(default)]
    pub advice: String,
}

/// The answer to an ntfy publish: ntfy's fields, and four of ours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published {
    pub id: String,
    /// Unix seconds, as ntfy has it.
    pub time: u64,
    pub event: String,
    pub topic: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    pub priority: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
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

/// One alert of `GET /v1/alerts` and `GET /v1/alerts/<id>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertView {
    pub id: String,
    pub seq: u64,
    pub route: String,
    pub session: String,
    pub accepted_at: u64,
    pub title: String,
    pub text: String,
    pub priority: u8,
    pub tags: Vec<String>,
    /// The furthest step that every delivery has reached.
    pub state: Step,
    pub deliveries: Vec<DeliveryView>,
    /// How it came to that, oldest first, as far as the journal still has it. Only of one alert by its id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryView>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryView {
    pub to: String,
    /// Of the message that carries the alert; empty while the policy of its route holds it back.
    pub message_id: String,
    pub state: Step,
    pub since_at: u64,
    pub attempts: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// One step of an alert, as the journal has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryView {
    /// Its number in the journal.
    pub number: u64,
    pub at: u64,
    pub what: Happening,
    /// Which of the `deliveries`, counted from 0; absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<u32>,
}

/// One line of `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventView {
    /// From 1, without gaps. Ask for what comes after it with `since`.
    pub number: u64,
    pub at: u64,
    /// `accepted`, `sent`, `delivered`, `read`, `failed`, `dropped`, `retried`, `forgotten` of an alert; `recorded`
    /// of a received message; `online`, `offline`, `needs-person`, `paired` of a session. More may come.
    pub event: String,
    pub session: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// As in [`HistoryView`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<u32>,
    /// Why a session is offline or needs a person: a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The place of a received message among those of its session, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
}

/// The error of a connection over the limit: nothing was read of it.
pub const TOO_MANY_CONNECTIONS: &str = "too many connections at once, come again later";

/// The body of every error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// ntfy's code where it has one (40001…), else the HTTP status followed by 00.
    pub code: u32,
    pub http: u16,
    pub error: String,
    /// The part of a sender's request that is at fault, as `body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// For an unknown route: the ones that exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
}

impl From<&AlertRecord> for AlertView {
    fn from(record: &AlertRecord) -> Self {
        Self {
            id: record.id.clone(),
            seq: record.seq,
            route: record.route.to_string(),
            session: record.session.to_string(),
            accepted_at: record.accepted_at.0,
            title: record.alert.title.clone(),
            text: record.alert.text.clone(),
            priority: record.alert.priority.into(),
            tags: record.alert.tags.clone(),
            state: record.step(),
            deliveries: record
                .deliveries
                .iter()
                .map(|delivery| DeliveryView {
                    to: delivery.recipient.to_string(),
                    message_id: delivery
                        .message_id
                        .as_ref()
                        .map_or_else(String::new, ToString::to_string),
                    state: delivery.step,
                    since_at: delivery.since.0,
                    attempts: delivery.attempts,
                    note: delivery.note.clone(),
                })
                .collect(),
            history: Vec::new(),
        }
    }
}

impl From<(u64, journal::Entry)> for EventView {
    fn from((number, entry): (u64, journal::Entry)) -> Self {
        let of = |event: &str, session: String| Self {
            number,
            at: entry.at.0,
            event: event.to_owned(),
            session,
            alert: None,
            route: None,
            delivery: None,
            cause: None,
            position: None,
        };
        match entry.event {
            journal::Event::Alert {
                what,
                id,
                route,
                session,
                delivery,
            } => Self {
                alert: Some(id),
                route: Some(route.to_string()),
                delivery,
                ..of(what.name(), session.to_string())
            },
            journal::Event::Recorded { session, position } => Self {
                position: Some(position),
                ..of("recorded", session.to_string())
            },
            journal::Event::Online { session } => of("online", session.to_string()),
            journal::Event::Offline { session, cause } => Self {
                cause: Some(cause),
                ..of("offline", session.to_string())
            },
            journal::Event::NeedsPerson { session, cause } => Self {
                cause: Some(cause),
                ..of("needs-person", session.to_string())
            },
            journal::Event::Paired { session } => of("paired", session.to_string()),
        }
    }
}
