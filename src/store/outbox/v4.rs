//! Format 4 of an alert's record, which is only read now, and of what stays of a forgotten one; frozen as format 1 is.
//! Beside what format 3 holds, whose unchanged parts it takes from there: how long what a resolved alert ends has
//! lasted, and whether somebody has to acknowledge it, has done so, or was reminded.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::v3::{AlertV3, FormV3, HandoverV3};
use crate::alert::NameError;
use crate::outbox::{Ack, AlertRecord, Attention, Delivery, FollowUp, Follows, Handover, MessageId, Step, Timestamp};

type Text<'a> = Cow<'a, str>;

#[derive(Deserialize)]
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

#[derive(Deserialize)]
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
pub(super) enum FollowsV4<'a> {
    Repeat { id: Text<'a>, number: u16, of: u16 },
    Escalation { id: Text<'a>, from: Text<'a> },
}

#[derive(Deserialize)]
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
            delay: None,
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
            flap: None,
        })
    }
}

impl<'a> FollowsV4<'a> {
    pub(super) fn of(follows: &'a Follows) -> Self {
        let id = follows.id.as_str().into();
        match &follows.what {
            FollowUp::Repeat { number, of } => Self::Repeat {
                id,
                number: *number,
                of: *of,
            },
            FollowUp::Escalation { from } => Self::Escalation {
                id,
                from: from.as_str().into(),
            },
        }
    }
}

impl TryFrom<FollowsV4<'_>> for Follows {
    type Error = NameError;

    fn try_from(stored: FollowsV4<'_>) -> Result<Self, NameError> {
        let (id, what) = match stored {
            FollowsV4::Repeat { id, number, of } => (id, FollowUp::Repeat { number, of }),
            FollowsV4::Escalation { id, from } => (id, FollowUp::Escalation { from: from.parse()? }),
        };
        Ok(Self {
            id: id.into_owned(),
            what,
        })
    }
}

impl TryFrom<AttentionV4<'_>> for Attention {
    type Error = NameError;

    fn try_from(stored: AttentionV4<'_>) -> Result<Self, NameError> {
        Ok(Self {
            watched: stored.watched,
            follows: stored.follows.map(Follows::try_from).transpose()?,
            acked: stored.acked.map(|(at, by)| Ack {
                at: Timestamp(at),
                by: by.into_owned(),
                answer: None,
            }),
            repeats: stored.repeats,
            repeated_at: stored.repeated_at.map(Timestamp),
            escalated_at: stored.escalated_at.map(Timestamp),
        })
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
            mark: None,
            quotes: None,
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
