//! Format 1 of an alert's record, frozen: postcard does not describe itself, so a field or a variant that moves makes old
//! records unreadable. A record that must hold more is format 2, in a file of its own; these types stay.
//!
//! They borrow where they are written and own where they are read, so that a text is not copied on its way to the disk.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, NameError, Priority};
use crate::outbox::{AlertRecord, Delivery, MessageId, Step, Timestamp};

type Text<'a> = Cow<'a, str>;

#[derive(Serialize, Deserialize)]
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

#[derive(Serialize, Deserialize)]
struct AlertV1<'a> {
    title: Text<'a>,
    text: Text<'a>,
    /// 1 to 5.
    priority: u8,
    tags: Vec<Text<'a>>,
    click: Option<Text<'a>>,
    key: Option<Text<'a>>,
}

#[derive(Serialize, Deserialize)]
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

#[derive(Serialize, Deserialize)]
pub(super) enum StepV1 {
    Accepted,
    Sent,
    Delivered,
    Read,
    Failed,
}

/// Whether the words beside the steps are written too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Notes {
    Kept,
    LeftOut,
}

impl<'a> AlertRecordV1<'a> {
    pub(super) fn of(record: &'a AlertRecord, notes: Notes) -> Self {
        Self {
            seq: record.seq,
            id: record.id.as_str().into(),
            route: record.route.as_str().into(),
            session: record.session.as_str().into(),
            accepted_at: record.accepted_at.0,
            alert: AlertV1::of(&record.alert),
            deliveries: record
                .deliveries
                .iter()
                .map(|delivery| DeliveryV1::of(delivery, notes))
                .collect(),
        }
    }
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
            alert: stored.alert.try_into()?,
            deliveries: stored
                .deliveries
                .into_iter()
                .map(Delivery::try_from)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl<'a> AlertV1<'a> {
    fn of(alert: &'a Alert) -> Self {
        Self {
            title: alert.title.as_str().into(),
            text: alert.text.as_str().into(),
            priority: alert.priority.into(),
            tags: alert.tags.iter().map(|tag| tag.as_str().into()).collect(),
            click: alert.click.as_deref().map(Cow::from),
            key: alert.key.as_deref().map(Cow::from),
        }
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
        })
    }
}

impl<'a> DeliveryV1<'a> {
    fn of(delivery: &'a Delivery, notes: Notes) -> Self {
        let note = match notes {
            Notes::Kept => delivery.note.as_str(),
            Notes::LeftOut => "",
        };
        Self {
            recipient: delivery.recipient.to_string(),
            message_id: delivery.message_id.as_ref().map_or("", |id| id.0.as_str()).into(),
            step: delivery.step.into(),
            since: delivery.since.0,
            attempts: delivery.attempts,
            note: note.into(),
        }
    }
}

impl TryFrom<DeliveryV1<'_>> for Delivery {
    type Error = NameError;

    fn try_from(stored: DeliveryV1<'_>) -> Result<Self, NameError> {
        Ok(Self {
            recipient: stored.recipient.parse()?,
            message_id: (!stored.message_id.is_empty()).then(|| MessageId(stored.message_id.into_owned())),
            step: stored.step.into(),
            since: Timestamp(stored.since),
            attempts: stored.attempts,
            note: stored.note.into_owned(),
        })
    }
}

impl From<Step> for StepV1 {
    fn from(step: Step) -> Self {
        match step {
            Step::Accepted => Self::Accepted,
            Step::Sent => Self::Sent,
            Step::Delivered => Self::Delivered,
            Step::Read => Self::Read,
            Step::Failed => Self::Failed,
        }
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
