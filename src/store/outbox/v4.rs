//! Format 4 of an alert's record. Beside what format 3 holds, whose unchanged parts it takes from there: how long what
//! a resolved alert ends has lasted, and whether somebody has to acknowledge it, has done so, or was reminded.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::v3::{AlertV3, FormV3, HandoverV3};
use crate::alert::NameError;
use crate::outbox::{Ack, AlertRecord, Attention, Delivery, FollowUp, Follows, Handover, MessageId, Step, Timestamp};
use crate::util::millis;

type Text<'a> = Cow<'a, str>;

#[derive(Serialize, Deserialize)]
pub(super) struct AlertRecordV4<'a> {
    seq: u64,
    id: Text<'a>,
    route: Text<'a>,
    session: Text<'a>,
    /// Unix milliseconds.
    accepted_at: u64,
    /// Milliseconds.
    ttl: Option<u64>,
    /// Milliseconds.
    lasted: Option<u64>,
    attention: AttentionV4<'a>,
    alert: AlertV3<'a>,
    deliveries: Vec<DeliveryV4<'a>>,
    handovers: Vec<HandoverV3<'a>>,
}

#[derive(Serialize, Deserialize)]
struct AttentionV4<'a> {
    watched: bool,
    follows: Option<FollowsV4<'a>>,
    /// When, in Unix milliseconds, and by whom.
    acked: Option<(u64, Text<'a>)>,
    repeats: u16,
    /// Unix milliseconds.
    repeated_at: Option<u64>,
    escalated_at: Option<u64>,
}

#[derive(Serialize, Deserialize)]
enum FollowsV4<'a> {
    Repeat { id: Text<'a>, number: u16, of: u16 },
    Escalation { id: Text<'a>, from: Text<'a> },
}

#[derive(Serialize, Deserialize)]
struct DeliveryV4<'a> {
    /// As in a route's `to`.
    recipient: String,
    part: u16,
    /// Empty while no message has been made.
    message_id: Text<'a>,
    /// Unix milliseconds.
    made_at: Option<u64>,
    form: FormV3,
    step: StepV4,
    /// Unix milliseconds.
    since: u64,
    attempts: u32,
    late: bool,
    note: Text<'a>,
}

#[derive(Serialize, Deserialize)]
pub(super) enum StepV4 {
    Accepted,
    Sent,
    Delivered,
    Read,
    Failed,
    Dropped,
    Expired,
    Fallback,
    Superseded,
}

/// What stays of a forgotten alert whose key still counts: as in format 3, with the steps of this one.
#[derive(Serialize, Deserialize)]
pub(super) struct AlertKeyV4 {
    pub fingerprint: [u8; 16],
    pub id: String,
    /// Unix milliseconds.
    pub accepted_at: u64,
    pub step: StepV4,
}

/// Whether the words beside the steps are written too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Notes {
    Kept,
    LeftOut,
}

impl<'a> AlertRecordV4<'a> {
    pub(super) fn of(record: &'a AlertRecord, notes: Notes) -> Self {
        Self {
            seq: record.seq,
            id: record.id.as_str().into(),
            route: record.route.as_str().into(),
            session: record.session.as_str().into(),
            accepted_at: record.accepted_at.0,
            ttl: record.ttl.map(millis),
            lasted: record.lasted.map(millis),
            attention: AttentionV4::of(&record.attention),
            alert: AlertV3::of(&record.alert),
            deliveries: record
                .deliveries
                .iter()
                .map(|delivery| DeliveryV4::of(delivery, notes))
                .collect(),
            handovers: record
                .handovers
                .iter()
                .map(|handover| HandoverV3::of(handover, notes == Notes::Kept))
                .collect(),
        }
    }
}

impl TryFrom<AlertRecordV4<'_>> for AlertRecord {
    type Error = NameError;

    fn try_from(stored: AlertRecordV4<'_>) -> Result<Self, NameError> {
        Ok(Self {
            seq: stored.seq,
            id: stored.id.into_owned(),
            route: stored.route.parse()?,
            session: stored.session.parse()?,
            accepted_at: Timestamp(stored.accepted_at),
            ttl: stored.ttl.map(Duration::from_millis),
            lasted: stored.lasted.map(Duration::from_millis),
            attention: stored.attention.try_into()?,
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
        })
    }
}

impl<'a> AttentionV4<'a> {
    fn of(attention: &'a Attention) -> Self {
        let follows = attention.follows.as_ref().map(|follows| {
            let id = follows.id.as_str().into();
            match &follows.what {
                FollowUp::Repeat { number, of } => FollowsV4::Repeat {
                    id,
                    number: *number,
                    of: *of,
                },
                FollowUp::Escalation { from } => FollowsV4::Escalation {
                    id,
                    from: from.as_str().into(),
                },
            }
        });
        Self {
            watched: attention.watched,
            follows,
            acked: attention.acked.as_ref().map(|ack| (ack.at.0, ack.by.as_str().into())),
            repeats: attention.repeats,
            repeated_at: attention.repeated_at.map(|at| at.0),
            escalated_at: attention.escalated_at.map(|at| at.0),
        }
    }
}

impl TryFrom<AttentionV4<'_>> for Attention {
    type Error = NameError;

    fn try_from(stored: AttentionV4<'_>) -> Result<Self, NameError> {
        let follows = match stored.follows {
            None => None,
            Some(FollowsV4::Repeat { id, number, of }) => Some(Follows {
                id: id.into_owned(),
                what: FollowUp::Repeat { number, of },
            }),
            Some(FollowsV4::Escalation { id, from }) => Some(Follows {
                id: id.into_owned(),
                what: FollowUp::Escalation { from: from.parse()? },
            }),
        };
        Ok(Self {
            watched: stored.watched,
            follows,
            acked: stored.acked.map(|(at, by)| Ack {
                at: Timestamp(at),
                by: by.into_owned(),
            }),
            repeats: stored.repeats,
            repeated_at: stored.repeated_at.map(Timestamp),
            escalated_at: stored.escalated_at.map(Timestamp),
        })
    }
}

impl<'a> DeliveryV4<'a> {
    fn of(delivery: &'a Delivery, notes: Notes) -> Self {
        let note = match notes {
            Notes::Kept => delivery.note.as_str(),
            Notes::LeftOut => "",
        };
        Self {
            recipient: delivery.recipient.to_string(),
            part: delivery.part,
            message_id: delivery.message_id.as_ref().map_or("", |id| id.0.as_str()).into(),
            made_at: delivery.made_at.map(|at| at.0),
            form: delivery.form.into(),
            step: delivery.step.into(),
            since: delivery.since.0,
            attempts: delivery.attempts,
            late: delivery.late,
            note: note.into(),
        }
    }
}

impl TryFrom<DeliveryV4<'_>> for Delivery {
    type Error = NameError;

    fn try_from(stored: DeliveryV4<'_>) -> Result<Self, NameError> {
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
        })
    }
}

impl From<Step> for StepV4 {
    fn from(step: Step) -> Self {
        match step {
            Step::Accepted => Self::Accepted,
            Step::Sent => Self::Sent,
            Step::Delivered => Self::Delivered,
            Step::Read => Self::Read,
            Step::Failed => Self::Failed,
            Step::Dropped => Self::Dropped,
            Step::Expired => Self::Expired,
            Step::Fallback => Self::Fallback,
            Step::Superseded => Self::Superseded,
        }
    }
}

impl From<StepV4> for Step {
    fn from(stored: StepV4) -> Self {
        match stored {
            StepV4::Accepted => Self::Accepted,
            StepV4::Sent => Self::Sent,
            StepV4::Delivered => Self::Delivered,
            StepV4::Read => Self::Read,
            StepV4::Failed => Self::Failed,
            StepV4::Dropped => Self::Dropped,
            StepV4::Expired => Self::Expired,
            StepV4::Fallback => Self::Fallback,
            StepV4::Superseded => Self::Superseded,
        }
    }
}
