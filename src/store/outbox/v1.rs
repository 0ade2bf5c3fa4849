//! Format 1 of an alert's record, frozen: postcard does not describe itself, so a field or a variant that moves makes
//! old records unreadable. A record that must hold more is format 2, in a file of its own; these types stay.
//!
//! It is only read: what is written has format 2.

use std::borrow::Cow;

use serde::Deserialize;

use crate::alert::{Alert, NameError, Priority};
use crate::outbox::{AlertRecord, Attention, Delivery, Form, MessageId, Step, Timestamp};

type Text<'a> = Cow<'a, str>;

/// How the note of a delivery begins that a person gave up: that was no step of its own.
const DROPPED: &str = "dropped by hand";

/// What stays of a forgotten alert whose key still counts. Its number is the row's key.
#[derive(Deserialize)]
pub(super) struct AlertKeyV1 {
    /// The first bytes of a SHA-256: see [`Fingerprint`](crate::outbox::Fingerprint).
    pub fingerprint: [u8; 16],
    pub id: String,
    /// Unix milliseconds.
    pub accepted_at: u64,
    pub step: StepV1,
}

#[derive(Deserialize)]
pub(super) struct AlertRecordV1<'a> {
    seq: u64,
    id: Text<'a>,
    route: Text<'a>,
    session: Text<'a>,
    /// Unix milliseconds.
    accepted_at: u64,
    alert: AlertV1<'a>,
    deliveries: Vec<DeliveryV1<'a>>,
}

#[derive(Deserialize)]
struct AlertV1<'a> {
    title: Text<'a>,
    text: Text<'a>,
    /// 1 to 5.
    priority: u8,
    tags: Vec<Text<'a>>,
    click: Option<Text<'a>>,
    key: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct DeliveryV1<'a> {
    /// As in a route's `to`.
    recipient: String,
    /// Empty while no message has been made.
    message_id: Text<'a>,
    step: StepV1,
    /// Unix milliseconds.
    since: u64,
    attempts: u32,
    note: Text<'a>,
}

#[derive(Deserialize)]
pub(super) enum StepV1 {
    Accepted,
    Sent,
    Delivered,
    Read,
    Failed,
}

impl TryFrom<AlertRecordV1<'_>> for AlertRecord {
    type Error = NameError;

    fn try_from(stored: AlertRecordV1<'_>) -> Result<Self, NameError> {
        Ok(Self {
            seq: stored.seq,
            id: stored.id.into_owned(),
            route: stored.route.parse()?,
            session: stored.session.parse()?,
            accepted_at: Timestamp(stored.accepted_at),
            ttl: None,
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

impl TryFrom<AlertV1<'_>> for Alert {
    type Error = NameError;

    fn try_from(stored: AlertV1<'_>) -> Result<Self, NameError> {
        Ok(Self {
            title: stored.title.into_owned(),
            text: stored.text.into_owned(),
            priority: Priority::try_from(stored.priority)?,
            tags: stored.tags.into_iter().map(Cow::into_owned).collect(),
            click: stored.click.map(Cow::into_owned),
            key: stored.key.map(Cow::into_owned),
            ..Self::default()
        })
    }
}

impl TryFrom<DeliveryV1<'_>> for Delivery {
    type Error = NameError;

    fn try_from(stored: DeliveryV1<'_>) -> Result<Self, NameError> {
        Ok(Self {
            recipient: stored.recipient.parse()?,
            part: 0,
            made_at: None,
            form: Form::Whole,
            message_id: (!stored.message_id.is_empty()).then(|| MessageId(stored.message_id.into_owned())),
            step: match Step::from(stored.step) {
                Step::Failed if stored.note.starts_with(DROPPED) => Step::Dropped,
                step => step,
            },
            since: Timestamp(stored.since),
            attempts: stored.attempts,
            late: false,
            note: stored.note.into_owned(),
            mark: None,
            quotes: None,
        })
    }
}

impl From<StepV1> for Step {
    fn from(stored: StepV1) -> Self {
        match stored {
            StepV1::Accepted => Self::Accepted,
            StepV1::Sent => Self::Sent,
            StepV1::Delivered => Self::Delivered,
            StepV1::Read => Self::Read,
            StepV1::Failed => Self::Failed,
        }
    }
}
