//! Format 3 of an alert's record, which is only read now, and of what stays of a forgotten one; frozen as format 1 is.
//! Beside what format 2 holds: whether it fires or is resolved, what its sender calls the same thing, who that is, the
//! labels by which a route can group, attachments, which of them a delivery is about, and where else it goes.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, Attachment, BlobHash, MediaKind, NameError, Priority, Status};
use crate::outbox::{AlertRecord, Attention, Delivery, Form, Handover, HandoverState, MessageId, Step, Timestamp};
use crate::util::millis;

type Text<'a> = Cow<'a, str>;

#[derive(Deserialize)]
pub(super) struct AlertRecordV3<'a> {
    seq: u64,
    id: Text<'a>,
    route: Text<'a>,
    session: Text<'a>,
    /// Unix milliseconds.
    accepted_at: u64,
    /// Milliseconds.
    ttl: Option<u64>,
    alert: AlertV3<'a>,
    deliveries: Vec<DeliveryV3<'a>>,
    handovers: Vec<HandoverV3<'a>>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct HandoverV3<'a> {
    to: Text<'a>,
    state: HandoverStateV3,
    /// Unix milliseconds.
    since: u64,
    /// The key of the request.
    key: Text<'a>,
    note: Text<'a>,
}

#[derive(Serialize, Deserialize)]
enum HandoverStateV3 {
    Wanted,
    Begun,
    Done,
    GivenUp,
}

#[derive(Serialize, Deserialize)]
pub(super) struct AlertV3<'a> {
    title: Text<'a>,
    text: Text<'a>,
    /// 1 to 5.
    priority: u8,
    tags: Vec<Text<'a>>,
    click: Option<Text<'a>>,
    key: Option<Text<'a>>,
    /// Milliseconds; what the sender has asked for.
    ttl: Option<u64>,
    status: StatusV3,
    sequence: Option<Text<'a>>,
    sender: Option<Text<'a>>,
    /// Names and values, by name.
    labels: Vec<(Text<'a>, Text<'a>)>,
    attachments: Vec<AttachmentV3<'a>>,
}

#[derive(Serialize, Deserialize)]
struct AttachmentV3<'a> {
    /// SHA-256 of the file.
    hash: [u8; 32],
    bytes: u64,
    name: Text<'a>,
    mime: Text<'a>,
    kind: MediaKindV3,
    width: u32,
    height: u32,
    /// SHA-256 of another file.
    thumbnail: Option<[u8; 32]>,
}

#[derive(Serialize, Deserialize)]
enum MediaKindV3 {
    Image,
    Video,
    Audio,
    Document,
}

#[derive(Serialize, Deserialize)]
enum StatusV3 {
    Firing,
    Resolved,
}

#[derive(Deserialize)]
struct DeliveryV3<'a> {
    /// As in a route's `to`.
    recipient: String,
    part: u16,
    /// Empty while no message has been made.
    message_id: Text<'a>,
    /// Unix milliseconds.
    made_at: Option<u64>,
    form: FormV3,
    step: StepV3,
    /// Unix milliseconds.
    since: u64,
    attempts: u32,
    late: bool,
    note: Text<'a>,
}

#[derive(Serialize, Deserialize)]
pub(super) enum FormV3 {
    Whole,
    /// How many lines it may have.
    Summary(u16),
    Digest(u16),
}

#[derive(Deserialize)]
pub(super) enum StepV3 {
    Accepted,
    Sent,
    Delivered,
    Read,
    Failed,
    Dropped,
    Expired,
    Fallback,
}

/// What stays of a forgotten alert whose key still counts: as in format 2, with the steps of this one.
#[derive(Deserialize)]
pub(super) struct AlertKeyV3 {
    pub fingerprint: [u8; 16],
    pub id: String,
    /// Unix milliseconds.
    pub accepted_at: u64,
    pub step: StepV3,
}

impl TryFrom<AlertRecordV3<'_>> for AlertRecord {
    type Error = NameError;

    fn try_from(stored: AlertRecordV3<'_>) -> Result<Self, NameError> {
        Ok(Self {
            seq: stored.seq,
            id: stored.id.into_owned(),
            route: stored.route.parse()?,
            session: stored.session.parse()?,
            accepted_at: Timestamp(stored.accepted_at),
            ttl: stored.ttl.map(Duration::from_millis),
            delay: None,
            lasted: None,
            attention: Attention::default(),
            alert: stored.alert.try_into()?,
            deliveries: stored
                .deliveries
                .into_iter()
                .map(Delivery::try_from)
                .collect::<Result<_, _>>()?,
            handovers: stored
                .handovers
                .into_iter()
                .map(Handover::try_from)
                .collect::<Result<_, _>>()?,
            flap: None,
        })
    }
}

impl<'a> AlertV3<'a> {
    pub(super) fn of(alert: &'a Alert) -> Self {
        let labels = alert.labels.iter();
        Self {
            title: alert.title.as_str().into(),
            text: alert.text.as_str().into(),
            priority: alert.priority.into(),
            tags: alert.tags.iter().map(|tag| tag.as_str().into()).collect(),
            click: alert.click.as_deref().map(Cow::from),
            key: alert.key.as_deref().map(Cow::from),
            ttl: alert.ttl.map(millis),
            status: alert.status.into(),
            sequence: alert.sequence.as_deref().map(Cow::from),
            sender: alert.sender.as_deref().map(Cow::from),
            labels: labels
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect(),
            attachments: alert.attachments.iter().map(AttachmentV3::of).collect(),
        }
    }
}

impl<'a> AttachmentV3<'a> {
    fn of(attachment: &'a Attachment) -> Self {
        Self {
            hash: attachment.hash.0,
            bytes: attachment.bytes,
            name: attachment.name.as_str().into(),
            mime: attachment.mime.as_str().into(),
            kind: match attachment.kind {
                MediaKind::Image => MediaKindV3::Image,
                MediaKind::Video => MediaKindV3::Video,
                MediaKind::Audio => MediaKindV3::Audio,
                MediaKind::Document => MediaKindV3::Document,
            },
            width: attachment.width,
            height: attachment.height,
            thumbnail: attachment.thumbnail.map(|hash| hash.0),
        }
    }
}

impl From<AttachmentV3<'_>> for Attachment {
    fn from(stored: AttachmentV3<'_>) -> Self {
        Self {
            hash: BlobHash(stored.hash),
            bytes: stored.bytes,
            name: stored.name.into_owned(),
            mime: stored.mime.into_owned(),
            kind: match stored.kind {
                MediaKindV3::Image => MediaKind::Image,
                MediaKindV3::Video => MediaKind::Video,
                MediaKindV3::Audio => MediaKind::Audio,
                MediaKindV3::Document => MediaKind::Document,
            },
            width: stored.width,
            height: stored.height,
            thumbnail: stored.thumbnail.map(BlobHash),
        }
    }
}

impl TryFrom<AlertV3<'_>> for Alert {
    type Error = NameError;

    fn try_from(stored: AlertV3<'_>) -> Result<Self, NameError> {
        let labels = stored.labels.into_iter();
        Ok(Self {
            title: stored.title.into_owned(),
            text: stored.text.into_owned(),
            priority: Priority::try_from(stored.priority)?,
            tags: stored.tags.into_iter().map(Cow::into_owned).collect(),
            click: stored.click.map(Cow::into_owned),
            key: stored.key.map(Cow::into_owned),
            ttl: stored.ttl.map(Duration::from_millis),
            delay: None,
            status: stored.status.into(),
            sequence: stored.sequence.map(Cow::into_owned),
            sender: stored.sender.map(Cow::into_owned),
            labels: labels
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
            attachments: stored.attachments.into_iter().map(Attachment::from).collect(),
        })
    }
}

impl TryFrom<DeliveryV3<'_>> for Delivery {
    type Error = NameError;

    fn try_from(stored: DeliveryV3<'_>) -> Result<Self, NameError> {
        Ok(Self {
            recipient: stored.recipient.parse()?,
            part: stored.part,
            message_id: (!stored.message_id.is_empty()).then(|| MessageId(stored.message_id.into_owned())),
            made_at: stored.made_at.map(Timestamp),
            form: stored.form.into(),
            step: stored.step.into(),
            since: Timestamp(stored.since),
            attempts: stored.attempts,
            late: stored.late,
            note: stored.note.into_owned(),
            mark: None,
            quotes: None,
        })
    }
}

impl<'a> HandoverV3<'a> {
    /// Without its note where `noted` is false.
    pub(super) fn of(handover: &'a Handover, noted: bool) -> Self {
        let note = if noted { handover.note.as_str() } else { "" };
        Self {
            to: handover.to.as_str().into(),
            state: handover.state.into(),
            since: handover.since.0,
            key: handover.key.as_str().into(),
            note: note.into(),
        }
    }
}

impl TryFrom<HandoverV3<'_>> for Handover {
    type Error = NameError;

    fn try_from(stored: HandoverV3<'_>) -> Result<Self, NameError> {
        Ok(Self {
            to: stored.to.parse()?,
            state: stored.state.into(),
            since: Timestamp(stored.since),
            key: stored.key.into_owned(),
            note: stored.note.into_owned(),
        })
    }
}

impl From<HandoverState> for HandoverStateV3 {
    fn from(state: HandoverState) -> Self {
        match state {
            HandoverState::Wanted => Self::Wanted,
            HandoverState::Begun => Self::Begun,
            HandoverState::Done => Self::Done,
            HandoverState::GivenUp => Self::GivenUp,
        }
    }
}

impl From<HandoverStateV3> for HandoverState {
    fn from(stored: HandoverStateV3) -> Self {
        match stored {
            HandoverStateV3::Wanted => Self::Wanted,
            HandoverStateV3::Begun => Self::Begun,
            HandoverStateV3::Done => Self::Done,
            HandoverStateV3::GivenUp => Self::GivenUp,
        }
    }
}

impl From<StepV3> for Step {
    fn from(stored: StepV3) -> Self {
        match stored {
            StepV3::Accepted => Self::Accepted,
            StepV3::Sent => Self::Sent,
            StepV3::Delivered => Self::Delivered,
            StepV3::Read => Self::Read,
            StepV3::Failed => Self::Failed,
            StepV3::Dropped => Self::Dropped,
            StepV3::Expired => Self::Expired,
            StepV3::Fallback => Self::Fallback,
        }
    }
}

impl From<Form> for FormV3 {
    fn from(form: Form) -> Self {
        match form {
            Form::Whole => Self::Whole,
            Form::Summary { lines } => Self::Summary(lines),
            Form::Digest { lines } => Self::Digest(lines),
        }
    }
}

impl From<FormV3> for Form {
    fn from(stored: FormV3) -> Self {
        match stored {
            FormV3::Whole => Self::Whole,
            FormV3::Summary(lines) => Self::Summary { lines },
            FormV3::Digest(lines) => Self::Digest { lines },
        }
    }
}

impl From<Status> for StatusV3 {
    fn from(status: Status) -> Self {
        match status {
            Status::Firing => Self::Firing,
            Status::Resolved => Self::Resolved,
        }
    }
}

impl From<StatusV3> for Status {
    fn from(stored: StatusV3) -> Self {
        match stored {
            StatusV3::Firing => Self::Firing,
            StatusV3::Resolved => Self::Resolved,
        }
    }
}
