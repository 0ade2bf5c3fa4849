//! What the outbox keeps of an alert.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, Attachment, FallbackName, Recipient, RouteName, SessionName};
use crate::util::millis;

/// A note is one line for people.
pub(super) const NOTE_CHARS_MAX: usize = 200;

/// Wall-clock milliseconds since 1970, for records and people. The age of what was accepted before this start is told
/// by it, where it can be believed (`age.rs`); no deadline of a send is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Timestamp(pub u64);

/// The WhatsApp id of a message, drawn when the message is made and never changed: a message sent again under the same
/// id is shown once by the real apps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub String);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a delivery has come. The order is the way of an alert; a step is never taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// On disk here; nothing more is known.
    Accepted,
    /// WhatsApp's server has acknowledged it.
    Sent,
    /// A device of the recipient has it.
    Delivered,
    /// The recipient has read it.
    Read,
    /// WhatsApp has not taken it, and a fallback of its route has.
    Fallback,
    /// It was not sent, because a later alert about the same thing says more: the newer one is sent in its place, or it
    /// was over before anybody was told.
    Superseded,
    /// A person gave it up before it was sent, or the quiet hours of its route did.
    Dropped,
    /// It was not sent within its [time to live](AlertRecord::ttl).
    Expired,
    /// The server refused it for good. The reason stands in [`Delivery::note`], as for the two before.
    Failed,
}

impl Step {
    /// All, in their order.
    pub const ALL: [Self; 9] = [
        Self::Accepted,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Fallback,
        Self::Superseded,
        Self::Dropped,
        Self::Expired,
        Self::Failed,
    ];

    /// Nobody got it, and it is not tried any more.
    pub fn is_given_up(self) -> bool {
        match self {
            Self::Superseded | Self::Dropped | Self::Expired | Self::Failed => true,
            Self::Accepted | Self::Sent | Self::Delivered | Self::Read | Self::Fallback => false,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "accepted",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Fallback => "fallback",
            Self::Superseded => "superseded",
            Self::Dropped => "dropped",
            Self::Expired => "expired",
            Self::Failed => "failed",
        })
    }
}

/// How a message says the alerts that it carries. It is chosen when the message is made, and stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// Each as it is.
    #[default]
    Whole,
    /// A heading that counts them, and up to so many lines.
    Summary { lines: u16 },
    /// The same of what quiet hours have held.
    Digest { lines: u16 },
}

/// One alert on its way to one recipient, or one part of it: each of its attachments goes in a message of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub recipient: Recipient,
    /// Which part of the alert it is, from 0: see [`parts`](crate::alert::render::parts). Those to one recipient follow
    /// each other in this order.
    pub part: u16,
    /// The id of the message that makes it; it never changes. `None` while the policy of the route holds the alert
    /// back.
    pub message_id: Option<MessageId>,
    /// When that was made, where it was later than the alert was accepted.
    pub made_at: Option<Timestamp>,
    pub form: Form,
    pub step: Step,
    /// When `step` was reached.
    pub since: Timestamp,
    /// Sends handed to the session so far.
    pub attempts: u32,
    /// When it was handed over it was older than its route calls late, and the text says when it was accepted.
    pub late: bool,
    /// The last refusal or the reason of a failure, in words that tell what a person can do.
    pub note: String,
    /// The recipient is to know that somebody has acknowledged the alert, or has been told. Mostly `None`, so that it
    /// takes little room there.
    pub mark: Option<Box<Mark>>,
    /// The earlier message to this recipient that it quotes: of the same thing, when that began. Mostly `None`.
    pub quotes: Option<Box<MessageId>>,
}

/// A reaction of ours on a message, by which its recipient is told that somebody else has acknowledged what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The id under which it goes out, as often as that takes.
    pub id: MessageId,
    /// WhatsApp's server has it. One that it does not take is forgotten.
    pub done: bool,
}

/// A fallback that is to have an alert, or has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    pub to: FallbackName,
    pub state: HandoverState,
    /// When that was reached.
    pub since: Timestamp,
    /// Names the request that carries the alert there: the same at every attempt, so that a fallback can know it again.
    /// Empty while it is [wanted](HandoverState::Wanted).
    pub key: String,
    /// Why the last attempt came to nothing, in words.
    pub note: String,
}

/// How far a handover has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum HandoverState {
    /// WhatsApp will not have it, so the fallback is to; nothing was tried yet.
    Wanted,
    /// A request may have gone out.
    Begun,
    /// The fallback has said that it has it.
    Done,
    /// It was not to be had there.
    GivenUp,
}

/// Somebody has acknowledged an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    pub at: Timestamp,
    /// Who or what it was, for people.
    pub by: String,
    /// The answer in a chat that it was. `None`: it was told by a command or over HTTP.
    pub answer: Option<AckAnswer>,
}

/// The answer by which somebody has acknowledged an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckAnswer {
    pub how: AnswerKind,
    /// WhatsApp's id of it, by which it is known when it comes once more.
    pub id: String,
}

/// In which way somebody has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerKind {
    /// A reaction on a message.
    Reaction,
    /// A message that quotes one.
    Reply,
    /// A word in the chat.
    Text,
}

impl AnswerKind {
    /// The word for it in JSON, which never changes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reaction => "reaction",
            Self::Reply => "reply",
            Self::Text => "text",
        }
    }
}

/// Why an alert is said again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowUp {
    /// On its own route, from 1.
    Repeat { number: u16, of: u16 },
    /// On another one than `from`.
    Escalation { from: RouteName },
}

/// Which alert another one says again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follows {
    /// As senders know that.
    pub id: String,
    pub what: FollowUp,
}

/// What is done about an alert until somebody acknowledges it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attention {
    /// Its route asked for it when it was accepted: rules that are new leave old alerts alone.
    pub watched: bool,
    pub follows: Option<Follows>,
    pub acked: Option<Ack>,
    /// How often it has been repeated, and when last.
    pub repeats: u16,
    pub repeated_at: Option<Timestamp>,
    pub escalated_at: Option<Timestamp>,
}

/// An alert about something that turns too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flap {
    /// Turns since it was last steady, this one included.
    pub turns: u32,
    /// From the first of them to the last.
    pub span: Duration,
    /// After it could go it waits for so long, until the thing is steady. Zero where nobody was told yet that it
    /// flaps: this one tells it.
    pub hold: Duration,
}

impl Flap {
    /// What the alert says of it.
    pub(super) fn words(&self) -> String {
        format!("flapping: {} turns in {}", self.turns, span_words(self.span))
    }
}

/// A time for people, by its two largest units.
pub(super) fn span_words(span: Duration) -> String {
    let words = humantime::format_duration(Duration::from_secs(span.as_secs())).to_string();
    words.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// One accepted alert: what was asked, and where each of its deliveries stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRecord {
    /// Position in the order of acceptance; the key of the record, and what keeps order per recipient.
    pub seq: u64,
    /// What senders and people call it: 12 characters, as ntfy's ids are.
    pub id: String,
    pub route: RouteName,
    pub session: SessionName,
    pub accepted_at: Timestamp,
    /// What is not sent within this time after it was accepted expires; `None`: it waits for ever. The shorter of what
    /// the sender and the route say.
    pub ttl: Option<Duration>,
    /// It goes out so long after it was accepted at the earliest, because its sender wants it so. [`Alert::delay`] is
    /// not kept.
    pub delay: Option<Duration>,
    /// For how long a resolved one had fired, as far as that is known here.
    pub lasted: Option<Duration>,
    /// Whether somebody has to acknowledge it, and what was done until somebody has.
    pub attention: Attention,
    pub alert: Alert,
    pub deliveries: Vec<Delivery>,
    /// Where else it goes, or went. Mostly empty.
    pub handovers: Vec<Handover>,
    /// What it is about turned too often when it was accepted.
    pub flap: Option<Box<Flap>>,
}

impl AlertRecord {
    /// Since when it is there to be sent: since it was accepted, or its delay was over. How late it is, and how long it
    /// is worth sending, counts from then.
    pub fn due_at(&self) -> Timestamp {
        let delay = self.delay.map_or(0, millis);
        Timestamp(self.accepted_at.0.saturating_add(delay))
    }

    /// `span`, counted from [then](Self::due_at), as it counts from when it was accepted.
    pub(super) fn after_due(&self, span: Duration) -> Duration {
        span.saturating_add(self.delay.unwrap_or_default())
    }

    /// What the part of this number attaches. `None`: it is text alone.
    pub fn attachment(&self, part: u16) -> Option<&Attachment> {
        // Told from what was accepted, and not from the text: a later version may find another length of it too long.
        let parts = self.deliveries.iter().map(|delivery| usize::from(delivery.part) + 1);
        let text_apart = usize::from(parts.max() > Some(self.alert.attachments.len()));
        let place = usize::from(part).checked_sub(text_apart)?;
        self.alert.attachments.get(place)
    }

    /// The step that every delivery has reached. While one still waits to be sent, so does the alert; after that one
    /// that was given up decides, or went another way, whatever became of the others: whoever asks wants to know that
    /// somebody did not get it.
    pub fn step(&self) -> Step {
        let steps = || self.deliveries.iter().map(|delivery| delivery.step);
        match steps().min() {
            Some(least) if least > Step::Accepted => {
                steps().filter(|step| *step >= Step::Fallback).max().unwrap_or(least)
            }
            Some(least) => least,
            None => Step::Failed,
        }
    }
}
