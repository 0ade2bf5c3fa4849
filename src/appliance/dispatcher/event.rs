//! What can happen to the dispatcher, as data.

use async_channel::Sender;

use super::facts::OutboxFacts;
use super::put_off::Taken;
use crate::alert::{Alert, RouteName, SessionName};
use crate::blobs::Kept;
use crate::gateway::api::AlertView;
use crate::gateway::{Accepted, Refusal};
use crate::outbox::{Input, Step};
use crate::store::StoreError;
use crate::whatsapp::Notice;

/// Whoever asks waits for this. One that has left is not missed.
pub(super) type Answer<T> = Sender<T>;

/// Everything that can happen to the dispatcher.
pub(super) enum Event {
    /// Alerts of a sender.
    Publish(Publish),
    /// New alerts were written, or refused.
    Written {
        write: u64,
        result: Result<(), StoreError>,
    },
    /// Changes were written, or refused.
    Persisted {
        taken: Taken,
        result: Result<(), StoreError>,
    },
    /// How a fallback has answered.
    HandedOver(Box<Input>),
    /// A session's word.
    Notice(SessionName, Notice),
    /// Somebody wants to know when an alert has come so far.
    Wait(Wait),
    Query(Query),
    /// Send an alert again, or now.
    Retry {
        id: String,
        answer: Answer<Result<AlertView, Refusal>>,
    },
    /// Give up what is not sent of an alert.
    Drop {
        id: String,
        answer: Answer<Result<AlertView, Refusal>>,
    },
    /// Give up what is not yet sent on a route, by its id or what its sender calls it.
    Cancel {
        route: RouteName,
        name: String,
        answer: Answer<Vec<String>>,
    },
    /// Somebody has seen to an alert.
    Ack {
        id: String,
        by: String,
        answer: Answer<Result<AlertView, Refusal>>,
    },
    /// Write now what is put off.
    Flush {
        answer: Answer<Result<(), StoreError>>,
    },
    /// The watchdog asks for a turn of the loop.
    Turn {
        answer: Answer<()>,
    },
    /// The wall clock was set.
    ClockStepped,
    /// A deadline has passed.
    Timeout,
}

/// A look at the outbox.
pub(super) enum Query {
    Alert {
        id: String,
        answer: Answer<Option<AlertView>>,
    },
    Alerts {
        pending: bool,
        limit: usize,
        answer: Answer<Vec<AlertView>>,
    },
    IsForgotten {
        id: String,
        answer: Answer<bool>,
    },
    Facts {
        answer: Answer<OutboxFacts>,
    },
}

/// The alerts of one request, by the routes that they are for.
pub(super) struct Publish {
    pub parts: Vec<(RouteName, Vec<Alert>)>,
    /// Files that the alerts mention: they stay until the records hold them.
    pub files: Vec<Kept>,
    pub answer: Answer<Result<Vec<Accepted>, Refusal>>,
}

/// Somebody waits until the alert `id` has come as far as `step`, or has failed. There is no answer where nobody knows
/// it.
pub(super) struct Wait {
    pub id: String,
    pub step: Step,
    pub answer: Answer<AlertView>,
}
