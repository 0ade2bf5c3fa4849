//! Format 5 of an alert's record. Beside what format 4 holds, whose unchanged parts it takes from there and from format
//! 3: the answer in a chat by which somebody has acknowledged the alert, the reaction that tells the others, and the
//! earlier message that a delivery quotes, and how long after it was accepted the alert is to go out at the earliest.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::v3::{AlertV3, FormV3, HandoverV3};
use super::v4::{FollowsV4, StepV4};
use crate::alert::NameError;
use crate::outbox::{
    Ack, AckAnswer, AlertRecord, AnswerKind, Attention, Delivery, Follows, Handover, Mark, MessageId, Timestamp,
};
use crate::util::millis;

type Text<'a> = Cow<'a, str>;

#[derive(Serialize, Deserialize)]
pub(super) struct AlertRecordV5<'a> {
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
    /// Milliseconds.
    delay: Option<u64>,
    attention: AttentionV5<'a>,
    alert: AlertV3<'a>,
    deliveries: Vec<DeliveryV5<'a>>,
    handovers: Vec<HandoverV3<'a>>,
}

#[derive(Serialize, Deserialize)]
struct AttentionV5<'a> {
    watched: bool,
    follows: Option<FollowsV4<'a>>,
    acked: Option<AckV5<'a>>,
    repeats: u16,
    /// Unix milliseconds.
    repeated_at: Option<u64>,
    escalated_at: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct AckV5<'a> {
    /// Unix milliseconds.
    at: u64,
    by: Text<'a>,
    answer: Option<(AnswerKindV5, Text<'a>)>,
}

#[derive(Serialize, Deserialize)]
enum AnswerKindV5 {
    Reaction,
    Reply,
    Text,
}

#[derive(Serialize, Deserialize)]
struct DeliveryV5<'a> {
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
    /// The id of the reaction, and whether it is through.
    mark: Option<(Text<'a>, bool)>,
    /// The id of an earlier message.
    quotes: Option<Text<'a>>,
}

/// Whether the words beside the steps are written too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Notes {
    Kept,
    LeftOut,
}

impl<'a> AlertRecordV5<'a> {
    pub(super) fn of(record: &'a AlertRecord, notes: Notes) -> Self {
        Self {
            seq: record.seq,
            id: record.id.as_str().into(),
            route: record.route.as_str().into(),
            session: record.session.as_str().into(),
            accepted_at: record.accepted_at.0,
            ttl: record.ttl.map(millis),
            lasted: record.lasted.map(millis),
            delay: record.delay.map(millis),
            attention: AttentionV5::of(&record.attention),
            alert: AlertV3::of(&record.alert),
            deliveries: record
                .deliveries
                .iter()
                .map(|delivery| DeliveryV5::of(delivery, notes))
                .collect(),
            handovers: record
                .handovers
                .iter()
                .map(|handover| HandoverV3::of(handover, notes == Notes::Kept))
                .collect(),
        }
    }
}

impl TryFrom<AlertRecordV5<'_>> for AlertRecord {
    type Error = NameError;

    fn try_from(stored: AlertRecordV5<'_>) -> Result<Self, NameError> {
        Ok(Self {
            seq: stored.seq,
            id: stored.id.into_owned(),
            route: stored.route.parse()?,
            session: stored.session.parse()?,
            accepted_at: Timestamp(stored.accepted_at),
            ttl: stored.ttl.map(Duration::from_millis),
            lasted: stored.lasted.map(Duration::from_millis),
            delay: stored.delay.map(Duration::from_millis),
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

impl<'a> AttentionV5<'a> {
    fn of(attention: &'a Attention) -> Self {
        Self {
            watched: attention.watched,
            follows: attention.follows.as_ref().map(FollowsV4::of),
            acked: attention.acked.as_ref().map(AckV5::of),
            repeats: attention.repeats,
            repeated_at: attention.repeated_at.map(|at| at.0),
            escalated_at: attention.escalated_at.map(|at| at.0),
        }
    }
}

impl TryFrom<AttentionV5<'_>> for Attention {
    type Error = NameError;

    fn try_from(stored: AttentionV5<'_>) -> Result<Self, NameError> {
        Ok(Self {
            watched: stored.watched,
            follows: stored.follows.map(Follows::try_from).transpose()?,
            acked: stored.acked.map(Ack::from),
            repeats: stored.repeats,
            repeated_at: stored.repeated_at.map(Timestamp),
            escalated_at: stored.escalated_at.map(Timestamp),
        })
    }
}

impl<'a> AckV5<'a> {
    fn of(ack: &'a Ack) -> Self {
        let answer = ack.answer.as_ref();
        Self {
            at: ack.at.0,
            by: ack.by.as_str().into(),
            answer: answer.map(|answer| (answer.how.into(), answer.id.as_str().into())),
        }
    }
}

impl From<AckV5<'_>> for Ack {
    fn from(stored: AckV5<'_>) -> Self {
        Self {
            at: Timestamp(stored.at),
            by: stored.by.into_owned(),
            answer: stored.answer.map(|(how, id)| AckAnswer {
                how: how.into(),
                id: id.into_owned(),
            }),
        }
    }
}

impl<'a> DeliveryV5<'a> {
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
            mark: delivery
                .mark
                .as_ref()
                .map(|mark| (mark.id.0.as_str().into(), mark.done)),
            quotes: delivery.quotes.as_ref().map(|id| id.0.as_str().into()),
        }
    }
}

impl TryFrom<DeliveryV5<'_>> for Delivery {
    type Error = NameError;

    fn try_from(stored: DeliveryV5<'_>) -> Result<Self, NameError> {
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
            mark: stored.mark.map(|(id, done)| {
                Box::new(Mark {
                    id: MessageId(id.into_owned()),
                    done,
                })
            }),
            quotes: stored.quotes.map(|id| Box::new(MessageId(id.into_owned()))),
        })
    }
}

impl From<AnswerKind> for AnswerKindV5 {
    fn from(kind: AnswerKind) -> Self {
        match kind {
            AnswerKind::Reaction => Self::Reaction,
            AnswerKind::Reply => Self::Reply,
            AnswerKind::Text => Self::Text,
        }
    }
}

impl From<AnswerKindV5> for AnswerKind {
    fn from(stored: AnswerKindV5) -> Self {
        match stored {
            AnswerKindV5::Reaction => Self::Reaction,
            AnswerKindV5::Reply => Self::Reply,
            AnswerKindV5::Text => Self::Text,
        }
    }
}
