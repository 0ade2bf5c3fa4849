//! Format 1 of a journal entry, frozen: a new kind of event or happening goes to the end of its list here, and nothing
//! else may change. Entries that must hold more are format 2, in a file of their own.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Entry, Event};
use crate::alert::NameError;
use crate::outbox::{Timestamp, TransitionKind};

type Text<'a> = Cow<'a, str>;

#[derive(Serialize, Deserialize)]
pub(super) struct EntryV1<'a> {
    /// Unix milliseconds.
    at: u64,
    event: EventV1<'a>,
}

#[derive(Serialize, Deserialize)]
enum EventV1<'a> {
    Alert {
        what: TransitionKindV1,
        id: Text<'a>,
        route: Text<'a>,
        session: Text<'a>,
        delivery: Option<u32>,
    },
    Recorded {
        session: Text<'a>,
        position: u64,
    },
    Online {
        session: Text<'a>,
    },
    Offline {
        session: Text<'a>,
        cause: Text<'a>,
    },
    NeedsPerson {
        session: Text<'a>,
        cause: Text<'a>,
    },
    Paired {
        session: Text<'a>,
    },
}

#[derive(Serialize, Deserialize)]
enum TransitionKindV1 {
    Accepted,
    Sent,
    Delivered,
    Read,
    Failed,
    Dropped,
    Retried,
    Forgotten,
    Expired,
    Handover,
    Fallback,
    Superseded,
    Acknowledged,
    Repeated,
    Escalated,
    Unheeded,
}

impl<'a> EntryV1<'a> {
    pub(super) fn of(entry: &'a Entry) -> Self {
        Self {
            at: entry.at.0,
            event: EventV1::of(&entry.event),
        }
    }
}

impl TryFrom<EntryV1<'_>> for Entry {
    type Error = NameError;

    fn try_from(stored: EntryV1<'_>) -> Result<Self, NameError> {
        Ok(Self {
            at: Timestamp(stored.at),
            event: stored.event.try_into()?,
        })
    }
}

impl<'a> EventV1<'a> {
    fn of(event: &'a Event) -> Self {
        match event {
            Event::Alert {
                what,
                id,
                route,
                session,
                delivery,
            } => Self::Alert {
                what: (*what).into(),
                id: id.as_str().into(),
                route: route.as_str().into(),
                session: session.as_str().into(),
                delivery: *delivery,
            },
            Event::Recorded { session, position } => Self::Recorded {
                session: session.as_str().into(),
                position: *position,
            },
            Event::Online { session } => Self::Online {
                session: session.as_str().into(),
            },
            Event::Offline { session, cause } => Self::Offline {
                session: session.as_str().into(),
                cause: cause.as_str().into(),
            },
            Event::NeedsPerson { session, cause } => Self::NeedsPerson {
                session: session.as_str().into(),
                cause: cause.as_str().into(),
            },
            Event::Paired { session } => Self::Paired {
                session: session.as_str().into(),
            },
        }
    }
}

impl TryFrom<EventV1<'_>> for Event {
    type Error = NameError;

    fn try_from(stored: EventV1<'_>) -> Result<Self, NameError> {
        Ok(match stored {
            EventV1::Alert {
                what,
                id,
                route,
                session,
                delivery,
            } => Self::Alert {
                what: what.into(),
                id: id.into_owned(),
                route: route.parse()?,
                session: session.parse()?,
                delivery,
            },
            EventV1::Recorded { session, position } => Self::Recorded {
                session: session.parse()?,
                position,
            },
            EventV1::Online { session } => Self::Online {
                session: session.parse()?,
            },
            EventV1::Offline { session, cause } => Self::Offline {
                session: session.parse()?,
                cause: cause.into_owned(),
            },
            EventV1::NeedsPerson { session, cause } => Self::NeedsPerson {
                session: session.parse()?,
                cause: cause.into_owned(),
            },
            EventV1::Paired { session } => Self::Paired {
                session: session.parse()?,
            },
        })
    }
}

impl From<TransitionKind> for TransitionKindV1 {
    fn from(what: TransitionKind) -> Self {
        match what {
            TransitionKind::Accepted => Self::Accepted,
            TransitionKind::Sent => Self::Sent,
            TransitionKind::Delivered => Self::Delivered,
            TransitionKind::Read => Self::Read,
            TransitionKind::Failed => Self::Failed,
            TransitionKind::Dropped => Self::Dropped,
            TransitionKind::Retried => Self::Retried,
            TransitionKind::Forgotten => Self::Forgotten,
            TransitionKind::Expired => Self::Expired,
            TransitionKind::Handover => Self::Handover,
            TransitionKind::Fallback => Self::Fallback,
            TransitionKind::Superseded => Self::Superseded,
            TransitionKind::Acknowledged => Self::Acknowledged,
            TransitionKind::Repeated => Self::Repeated,
            TransitionKind::Escalated => Self::Escalated,
            TransitionKind::Unheeded => Self::Unheeded,
        }
    }
}

impl From<TransitionKindV1> for TransitionKind {
    fn from(stored: TransitionKindV1) -> Self {
        match stored {
            TransitionKindV1::Accepted => Self::Accepted,
            TransitionKindV1::Sent => Self::Sent,
            TransitionKindV1::Delivered => Self::Delivered,
            TransitionKindV1::Read => Self::Read,
            TransitionKindV1::Failed => Self::Failed,
            TransitionKindV1::Dropped => Self::Dropped,
            TransitionKindV1::Retried => Self::Retried,
            TransitionKindV1::Forgotten => Self::Forgotten,
            TransitionKindV1::Expired => Self::Expired,
            TransitionKindV1::Handover => Self::Handover,
            TransitionKindV1::Fallback => Self::Fallback,
            TransitionKindV1::Superseded => Self::Superseded,
            TransitionKindV1::Acknowledged => Self::Acknowledged,
            TransitionKindV1::Repeated => Self::Repeated,
            TransitionKindV1::Escalated => Self::Escalated,
            TransitionKindV1::Unheeded => Self::Unheeded,
        }
    }
}
