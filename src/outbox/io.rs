//! What goes into the outbox and what comes out.

use std::fmt;
use std::time::Duration;

use super::history::Transition;
use super::keys::KeyRecord;
use super::message::Message;
use super::parcel::Parcel;
use super::record::{AlertRecord, Follows, MessageId, Step};
use crate::alert::{Alert, FallbackName, Recipient, RouteName, SessionName};

/// Everything that can happen to the outbox, apart from [`accept`](super::Outbox::accept) and the commands.
///
/// What names an alert or message that is not known, or came too late to matter, is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The record of this accepted alert has reached the disk: it may be sent, and its sender may be told.
    Durable { seq: u64 },
    /// The record of this alert has reached the disk with the id of a message that was [made](Output::Persist::made)
    /// later.
    MessageDurable { message_id: MessageId, seq: u64 },
    /// The record of this alert has reached the disk, and says that a request to this fallback is
    /// [begun](super::HandoverState::Begun). To be told where
    /// [`TransitionKind::Handover`](super::TransitionKind::Handover) came with it.
    IntentDurable { seq: u64, to: FallbackName },
    /// The fallback has taken the [`Parcel`] of this key.
    HandedOver { to: FallbackName, key: String },
    /// It has not, as far as anybody knows.
    HandoverFailed {
        to: FallbackName,
        key: String,
        failure: HandoverFailure,
    },
    /// The disk refused the record: forget the alert wholly; its number is not used again.
    NotDurable { seq: u64 },
    /// Logged in: messages can be sent.
    SessionUp(SessionName),
    /// The line is gone. Whatever was not acked waits, and goes out again under the same id.
    SessionDown(SessionName),
    /// The send has not come as far as the stanza: it asks the server for what it needs, and gets answers. To be told
    /// again with every sign of that.
    Asking { message_id: MessageId },
    /// The library's send returned without an error. Not sent yet: the ack decides.
    Written { message_id: MessageId },
    /// Sent, but not to every device of the recipient; `words` say so to people.
    Incomplete { message_id: MessageId, words: String },
    /// The send failed, and why.
    SendFailed {
        message_id: MessageId,
        failure: SendFailure,
    },
    /// The server's ack, or with `error` its refusal: the code as it stood in the stanza. May come before `Written`.
    ServerAck {
        session: SessionName,
        message_id: MessageId,
        error: Option<String>,
    },
    /// What a send [waited for](SendFailure::Uploading) is uploaded, or given up: it may be sent.
    Uploaded { message_id: MessageId },
    /// Somebody has it. It counts only where it comes from a device of the recipient; anybody may name an id. May come
    /// before the ack. In a group the first other participant's receipt counts: who it was is not kept, because
    /// membership changes and nobody waits for the last of forty phones.
    Receipt {
        session: SessionName,
        message_id: MessageId,
        kind: ReceiptKind,
        /// Every name that a route may have for whoever the receipt comes from: the group, or the number, the hidden id
        /// and, for the account itself, `me`. Empty where nobody knows.
        from: Vec<Recipient>,
    },
    /// The device `by` could not read this message, and nobody has sent it again. Only a device of the recipient is
    /// heard, or one of the account itself, which has a copy of all that it sends.
    AskedAgain {
        session: SessionName,
        message_id: MessageId,
        /// As in [`Input::Receipt`].
        from: Vec<Recipient>,
        /// Comes back in [`Output::SendAgain`] as it is.
        by: String,
    },
    /// Somebody has written to the account, or has given it leave to write: what was held until then may go. `from` are
    /// all their names.
    Heard { session: SessionName, from: Vec<Recipient> },
    /// A [follow-up](Output::FollowUp) that was asked for was accepted before.
    Followed { follows: Follows },
    /// The wall clock was set; the time that comes with this is the new one. Deadlines of ours do not move, those of
    /// policies that speak of the time of day do.
    ClockStepped,
}

/// Why a send came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendFailure {
    /// No line, no answer in time, or our own trouble, in words. A new line is a new chance.
    Path(String),
    /// Nothing was sent yet: what goes with the message is being uploaded, which may take minutes. [`Input::Uploaded`]
    /// follows.
    Uploading,
    /// It would fail the same way for ever, in words.
    Permanent(String),
    /// The server has answered a question that the send begins with by this code. `backoff` is how long it wants not to
    /// be asked again, where it says so.
    Refused { code: u16, backoff: Option<Duration> },
}

/// Why a fallback has not taken what it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandoverFailure {
    /// For people.
    pub words: String,
    /// The request went out, and there is no answer: it may have been taken.
    pub unclear: bool,
    /// The fallback does not take it as it is, and never will.
    pub refused: bool,
    /// How long the fallback wants not to be asked again, where it says so.
    pub pause: Option<Duration>,
}

/// How far a receipt says that the message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptKind {
    Delivered,
    Read,
    /// Another device of our own account has it. For a message to ourselves that is delivery; otherwise it says nothing
    /// about the recipient.
    OwnDevice,
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send `message`, which carries the alerts `seqs`. Leased until acked, failed, or the session goes down.
    Send {
        session: SessionName,
        seqs: Vec<u64>,
        message: Message,
        /// Ask the server anew for all that is known of the recipient before: it may be out of date, and the message
        /// was refused.
        fresh: bool,
    },
    /// Send `message` once more, to the device `by` alone. Nothing follows from it: a device that cannot read this
    /// either asks again.
    SendAgain {
        session: SessionName,
        message: Message,
        by: String,
    },
    /// Send `message`, a reaction by which a recipient is told that somebody has acknowledged what they have. What
    /// comes of it is told as for [`Output::Send`]; nobody waits for it.
    Mark { session: SessionName, message: Message },
    /// The record has changed. Writing it may lag, and the last write may be lost: a restart then sends again under
    /// the same id. After a person's drop it is worth a sync. `happened` goes into the journal with the same write; it
    /// is empty when only a note has changed. For each message of `made` somebody waits: say [`Input::MessageDurable`]
    /// when it is on disk.
    Persist {
        record: Box<AlertRecord>,
        happened: Vec<Transition>,
        made: Vec<MessageId>,
    },
    /// Nobody has acknowledged the alert that this one follows: accept it on this route. It is asked for again until it
    /// is durable, or [`Input::Followed`] says that it was there.
    FollowUp {
        route: RouteName,
        alert: Box<Alert>,
        follows: Follows,
    },
    /// The delay of this alert is over: those may be told of it who listen.
    Due { seq: u64 },
    /// For those who wait on an alert. Intermediate steps may be skipped.
    Changed { id: String, step: Step },
    /// Give this to the fallback, and say [`Input::HandedOver`] or [`Input::HandoverFailed`]. One at a time to each.
    HandOver(Parcel),
    /// Sends go out and no ack comes back: the line looks alive and is not. Recycle it.
    Suspect { session: SessionName },
    /// The record may be deleted, with the next write that is worth one: it comes back, and is forgotten again, if that
    /// is lost. `happened` goes into the journal with it, and `key` takes its place where that still counts.
    Forget {
        seq: u64,
        key: Option<KeyRecord>,
        happened: Vec<Transition>,
    },
    /// The key of this forgotten alert may be deleted, with the next write that is worth one.
    ForgetKey { seq: u64 },
}

/// Why a deadline stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The server's ack for this alert is due.
    Ack { seq: u64 },
    /// The pause after a failed send of this alert ends.
    Retry { seq: u64 },
    /// This alert has been kept long enough.
    KeepEnds { seq: u64 },
    /// The time to live of this alert is over.
    Expires { seq: u64 },
    /// The sender of this alert wants it to go out now.
    DelayEnds { seq: u64 },
    /// The policy of its route has held this alert back, and perhaps others, for long enough.
    HeldEnds { seq: u64 },
    /// This alert is not sent, and a fallback is to have it.
    FallbackDue { seq: u64 },
    /// The pause after a request to a fallback ends, or WhatsApp waits no longer for the answer to one.
    FallbackPause { seq: u64 },
    /// Nobody has acknowledged this alert.
    FollowUp { seq: u64 },
    /// A reaction on this alert is looked after.
    Mark { seq: u64 },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ack { seq } => write!(f, "the server's ack for alert {seq} is due"),
            Self::Retry { seq } => write!(f, "alert {seq} is sent again"),
            Self::KeepEnds { seq } => write!(f, "alert {seq} has been kept long enough"),
            Self::Expires { seq } => write!(f, "the time to live of alert {seq} is over"),
            Self::DelayEnds { seq } => write!(f, "alert {seq} is to go out now"),
            Self::FallbackDue { seq } => write!(f, "alert {seq} goes to a fallback"),
            Self::FallbackPause { seq } => write!(f, "a fallback is asked again, for alert {seq}"),
            Self::FollowUp { seq } => write!(f, "nobody has acknowledged alert {seq}"),
            Self::Mark { seq } => write!(f, "a reaction on alert {seq} is looked after"),
            Self::HeldEnds { seq } => write!(f, "alert {seq} is held back no longer"),
        }
    }
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("no alert has the id {0:?}")]
    Unknown(String),
    /// Everything is sent: nothing is left to retry or to drop.
    #[error("alert {id:?} is {step}: nothing is left to {verb}")]
    Settled { id: String, step: Step, verb: &'static str },
}
