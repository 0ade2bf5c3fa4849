//! Format 2 of an alert's record, and of what stays of a forgotten one, which are only read now; frozen as format 1 is.
//! Beside what that holds: times to live, what was late, and the ends that an alert can come to.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;

use crate::alert::{Alert, NameError, Priority};
use crate::outbox::{AlertRecord, Attention, Delivery, Form, MessageId, Step, Timestamp};

type Text<'a> = Cow<'a, str>;

#[derive(Deserialize)]
pub(super) struct AlertRecordV2<'a> {
    seq: u64,
    id: Text<'a>,
    route: Text<'a>,
    session: Text<'a>,
    /// Unix milliseconds.
    accepted_at: u64,
    /// Milliseconds.
    ttl: Option<u64>,
    alert: AlertV2<'a>,
    deliveries: Vec<DeliveryV2<'a>>,
}

#[derive(Deserialize)]
struct AlertV2<'a> {
    title: Text<'a>,
    text: Text<'a>,
    /// 1 to 5.
    priority: u8,
    tags: Vec<Text<'a>>,
    click: Option<Text<'a>>,
    key: Option<Text<'a>>,
    /// Milliseconds; what the sender has asked for.
    ttl: Option<u64>,
}

#[derive(Deserialize)]
struct DeliveryV2<'a> {
    /// As in a route's `to`.
    recipient: String,
    /// Empty while no message has been made.
    message_id: Text<'a>,
    step: StepV2,
    /// Unix milliseconds.
    since: u64,
    attempts: u32,
    late: bool,
    note: Text<'a>,
}

/// What stays of a forgotten alert whose key still counts. Its number is the row's key.
#[derive(Deserialize)]
pub(super) struct AlertKeyV2 {
    /// The first bytes of a SHA-256: see [`Fingerprint`](crate::outbox::Fingerprint).
    pub fingerprint: [u8; 16],
    pub id: String,
    /// Unix milliseconds.
    pub accepted_at: u64,
    pub step: StepV2,
}

#[derive(Deserialize)]
pub(super) enum StepV2 {
    Accepted,
    Sent,
    Delivered,
    Read,
    Failed,
    Dropped,
    Expired,
}

impl TryFrom<AlertRecordV2<'_>> for AlertRecord {
    type Error = NameError;

    fn try_from(stored: AlertRecordV2<'_>) -> Result<Self, NameError> {
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
            handovers: Vec::new(),
            flap: None,
        })
    }
}

impl TryFrom<AlertV2<'_>> for Alert {
    type Error = NameError;

    fn try_from(stored: AlertV2<'_>) -> Result<Self, NameError> {
        Ok(Self {
            title: stored.title.into_owned(),
            text: stored.text.into_owned(),
            priority: Priority::try_from(stored.priority)?,
            tags: stored.tags.into_iter().map(Cow::into_owned).collect(),
            click: stored.click.map(Cow::into_owned),
            key: stored.key.map(Cow::into_owned),
            ttl: stored.ttl.map(Duration::from_millis),
            delay: None,
            ..Self::default()
        })
    }
}

impl TryFrom<DeliveryV2<'_>> for Delivery {
    type Error = NameError;

    fn try_from(stored: DeliveryV2<'_>) -> Result<Self, NameError> {
        Ok(Self {
            recipient: stored.recipient.parse()?,
            part: 0,
            made_at: None,
            form: Form::Whole,
            message_id: (!stored.message_id.is_empty()).then(|| MessageId(stored.message_id.into_owned())),
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

impl From<StepV2> for Step {
    fn from(stored: StepV2) -> Self {
        match stored {
            StepV2::Accepted => Self::Accepted,
            StepV2::Sent => Self::Sent,
            StepV2::Delivered => Self::Delivered,
            StepV2::Read => Self::Read,
            StepV2::Failed => Self::Failed,
            StepV2::Dropped => Self::Dropped,
            StepV2::Expired => Self::Expired,
        }
    }
}
