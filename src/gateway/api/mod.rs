//! The JSON that the HTTP API speaks, once for both sides: the server writes it, the command line reads it.
//!
//! Fields are only ever added. Durations are milliseconds (`_ms`), times are Unix milliseconds (`at`, `_at`, `_since`).

use serde::{Deserialize, Serialize};

mod deadline;
mod handover;
mod hooks;
mod lines;
mod login;
mod mqtt;
mod pairing;
mod policies;
mod published;
mod routes;
mod status;
mod stream;
mod tokens;
mod topic;
pub mod words;

use crate::alert::Attachment;
pub use crate::alert::Chat;
use crate::hook::{Facts, Of};
pub use crate::line::PairEvent;
use crate::outbox::{AlertRecord, Step, TransitionKind};
use crate::store::journal;
pub use deadline::Deadline;
pub use handover::HandoverView;
pub use hooks::{GapTold, HookState, HookStatus, MessageView, Told};
pub use lines::{EndView, HistoryEntry, StartView};
pub use login::{LoginView, NewLogin};
pub use mqtt::{MqttState, MqttStatus};
pub use pairing::PairLine;
pub use policies::{AcknowledgedView, BesideView, HeldBackStatus, HeldBackView};
pub use published::{GotifyMessage, Mailed, Published, PushoverMessage};
pub use routes::{FallbackTested, RouteFallbackView, RouteTested, RouteView};
pub use status::{
    AccessStatus, BoardStatus, Health, HealthEntry, LayerStatus, LineEnd, OutboxCounts, SessionState, SessionStatus,
    Status,
};
pub use stream::StreamWord;
pub use tokens::{IssuedToken, NewToken, TokenView};
pub use topic::TopicEvent;
pub use words::{span, utc};

/// One alert of `GET /v1/alerts` and `GET /v1/alerts/<id>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AlertView {
    /// 12 letters and digits.
    pub id: String,
    /// Its place among all alerts that this state has accepted.
    pub seq: u64,
    /// The route that it was published to.
    pub route: String,
    /// The session that sends it.
    pub session: String,
    /// When it was accepted, in Unix milliseconds.
    pub accepted_at: u64,
    /// May be empty.
    pub title: String,
    /// The text, as it was taken.
    pub text: String,
    /// Only the beginning of the text is there: in a long list the later ones are cut. Ask for the alert by its id.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub text_cut: bool,
    /// 1 to 5.
    pub priority: u8,
    /// As they were taken.
    pub tags: Vec<String>,
    /// A link to open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub click: Option<String>,
    /// It goes out at the earliest then, in Unix milliseconds, because its sender wants it so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<u64>,
    /// The files that go with it, in the order in which they are shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentView>,
    /// The furthest step that every delivery has reached.
    pub state: Step,
    /// One for each recipient; with attachments, one for each part to each of them.
    pub deliveries: Vec<DeliveryView>,
    /// When somebody has seen to it, and who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<AcknowledgedView>,
    /// How often it was said again because nobody had.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repeats: u16,
    /// When another route was told of it because nobody had, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalated_at: Option<u64>,
    /// The id of the alert that it says again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// The alerts that are in one message with it, or would be if that were made now, itself among them; at most 1000,
    /// and empty where it is alone. Only of one alert by its id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<BesideView>,
    /// One for each fallback that it goes to, or went to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<HandoverView>,
    /// How it came to that, oldest first, as far as the journal still has it. Only of one alert by its id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryView>,
}

/// A file that goes with an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AttachmentView {
    /// The file's name; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// As `image/jpeg`.
    pub mime: String,
    /// `image`, `video`, `audio` or `document`.
    pub kind: String,
    /// Its length.
    pub bytes: u64,
}

impl From<&Attachment> for AttachmentView {
    fn from(attachment: &Attachment) -> Self {
        Self {
            name: attachment.name.clone(),
            mime: attachment.mime.clone(),
            kind: attachment.kind.to_string(),
            bytes: attachment.bytes,
        }
    }
}

/// An alert on its way to one recipient, or one part of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeliveryView {
    /// The recipient, as the route names it.
    pub to: String,
    /// Which part of the alert it is, from 0: the text with the first attachment, and then each of the others. A long
    /// text is a part of its own before them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub part: u16,
    /// The id by which WhatsApp knows the message that carries the alert; empty while the policy of its route holds it
    /// back.
    pub message_id: String,
    /// How far it is.
    pub state: Step,
    /// Since when, in Unix milliseconds.
    pub since_at: u64,
    /// How often it was handed to WhatsApp's server.
    pub attempts: u32,
    /// What is to be said of it, as why it failed; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// A reaction of ours has told the recipient that somebody else has acknowledged it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told: bool,
    /// What holds it back, while it waits without a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBackView>,
}

/// Most alerts have one part, and are said once. serde asks by reference.
fn is_zero(number: &u16) -> bool {
    *number == 0
}

/// One step of an alert, as the journal has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HistoryView {
    /// Its number in the journal.
    pub number: u64,
    /// When, in Unix milliseconds.
    pub at: u64,
    /// What happened.
    pub what: TransitionKind,
    /// Which of the `deliveries`, counted from 0; absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<u32>,
}

/// One line of `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EventView {
    /// From 1, without gaps. Ask for what comes after it with `since`.
    pub number: u64,
    /// When, in Unix milliseconds.
    pub at: u64,
    /// `accepted`, `sent`, `delivered`, `read`, `failed`, `dropped`, `expired`, `superseded`, `acknowledged`,
    /// `unheeded`, `repeated`, `escalated`, `handover`, `fallback`, `retried`, `forgotten` of an alert; `recorded` of a
    /// received message; `online`, `offline`, `needs-person`, `paired` of a session. More may come.
    pub event: String,
    /// The session that it concerns.
    pub session: String,
    /// The id of the alert that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// That alert's route.
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ErrorBody {
    /// ntfy's code where it has one (40001…), else the HTTP status followed by 00.
    pub code: u32,
    /// The HTTP status.
    pub http: u16,
    /// What was wrong and what helps, in one line.
    pub error: String,
    /// The part of a sender's request that is at fault, as `body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// For an unknown route: the ones that exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
    /// On ntfy's addresses over TCP, whose errors have it and neither `field` nor `routes`; empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// Bytes that the texts of one list may have together. A thousand alerts of 64 KiB would fill the memory of a small
/// board.
const LIST_TEXT_BYTES_MAX: usize = 2 << 20;

/// What is left of a text beyond that.
const LIST_TEXT_BYTES_CUT: usize = 256;

impl AlertView {
    /// Views for one list, in its order: once the texts before it are long enough, each has the beginning of its text.
    pub fn list<'a>(records: impl IntoIterator<Item = &'a AlertRecord>) -> Vec<Self> {
        let mut room = LIST_TEXT_BYTES_MAX;
        let view = |record: &AlertRecord| {
            let bytes = record.alert.text.len();
            if bytes <= LIST_TEXT_BYTES_CUT || bytes <= room {
                room = room.saturating_sub(bytes);
                return Self::from(record);
            }
            let start = record.alert.text.floor_char_boundary(LIST_TEXT_BYTES_CUT);
            Self::new(record, &record.alert.text[..start], true)
        };
        records.into_iter().map(view).collect()
    }

    /// Since when it is there to be sent, in Unix milliseconds.
    pub fn due_at(&self) -> u64 {
        self.not_before.unwrap_or(self.accepted_at)
    }

    fn new(record: &AlertRecord, text: &str, text_cut: bool) -> Self {
        Self {
            id: record.id.clone(),
            seq: record.seq,
            route: record.route.to_string(),
            session: record.session.to_string(),
            accepted_at: record.accepted_at.0,
            title: record.alert.title.clone(),
            text: text.to_owned(),
            text_cut,
            priority: record.alert.priority.into(),
            tags: record.alert.tags.clone(),
            click: record.alert.click.clone(),
            not_before: record.delay.map(|_| record.due_at().0),
            attachments: record.alert.attachments.iter().map(AttachmentView::from).collect(),
            state: record.step(),
            deliveries: record
                .deliveries
                .iter()
                .map(|delivery| DeliveryView {
                    to: delivery.recipient.to_string(),
                    part: delivery.part,
                    message_id: delivery
                        .message_id
                        .as_ref()
                        .map_or_else(String::new, ToString::to_string),
                    state: delivery.step,
                    since_at: delivery.since.0,
                    attempts: delivery.attempts,
                    note: delivery.note.clone(),
                    told: delivery.mark.as_ref().is_some_and(|mark| mark.done),
                    held_back: None,
                })
                .collect(),
            acknowledged: record.attention.acked.as_ref().map(AcknowledgedView::from),
            repeats: record.attention.repeats,
            escalated_at: record.attention.escalated_at.map(|at| at.0),
            follows: record.attention.follows.as_ref().map(|follows| follows.id.clone()),
            beside: Vec::new(),
            fallbacks: record.handovers.iter().map(HandoverView::from).collect(),
            history: Vec::new(),
        }
    }
}

impl From<&AlertRecord> for AlertView {
    fn from(record: &AlertRecord) -> Self {
        Self::new(record, &record.alert.text, false)
    }
}

impl EventView {
    /// What it is about.
    pub fn of(&self) -> Of {
        match (&self.alert, self.position) {
            (Some(_), _) => Of::Alert,
            (None, Some(_)) => Of::Message,
            (None, None) => Of::Session,
        }
    }

    /// What somebody is asked of it who wants some events and others not.
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            name: &self.event,
            of: self.of(),
            session: &self.session,
            route: self.route.as_deref(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Alert;
    use crate::outbox::Timestamp;

    fn record(text: String) -> AlertRecord {
        AlertRecord {
            seq: 1,
            id: "AAAAAAAAAAAA".into(),
            route: "family".parse().unwrap(),
            session: "default".parse().unwrap(),
            accepted_at: Timestamp(0),
            ttl: None,
            delay: None,
            lasted: None,
            attention: crate::outbox::Attention::default(),
            alert: Alert {
                text,
                ..Alert::default()
            },
            deliveries: Vec::new(),
            handovers: Vec::new(),
            flap: None,
        }
    }

    #[test]
    fn a_list_of_long_texts_is_bounded_and_short_texts_stay_whole() {
        let long = record("ü".repeat(32 * 1024));
        let short = record("x".repeat(LIST_TEXT_BYTES_CUT));
        let records: Vec<&AlertRecord> = (0..1000).flat_map(|_| [&long, &short]).collect();
        let list = AlertView::list(records);
        let (long, short): (Vec<_>, Vec<_>) = list.iter().partition(|view| view.text.starts_with('ü'));
        assert!(
            short
                .iter()
                .all(|view| !view.text_cut && view.text.len() == LIST_TEXT_BYTES_CUT)
        );
        let whole = long.iter().filter(|view| !view.text_cut).count();
        assert_eq!(whole, 31);
        assert!(
            long[whole..]
                .iter()
                .all(|view| view.text_cut && view.text == "ü".repeat(128))
        );
    }
}
