//! What an entry of the journal says.

use crate::alert::{RouteName, SessionName};
use crate::outbox::{Timestamp, Transition, TransitionKind};

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub at: Timestamp,
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Alert {
        what: TransitionKind,
        /// The alert's id, as senders know it.
        id: String,
        route: RouteName,
        session: SessionName,
        /// Which of its deliveries, by place; `None`: all of it.
        delivery: Option<u32>,
    },
    /// A message came in; `position` is its place among those of the session.
    Recorded {
        session: SessionName,
        position: u64,
    },
    Online {
        session: SessionName,
    },
    /// A line that was online has ended; `cause` is the stable code of why.
    Offline {
        session: SessionName,
        cause: String,
    },
    /// The session will not dial again by itself.
    NeedsPerson {
        session: SessionName,
        cause: String,
    },
    Paired {
        session: SessionName,
    },
}

impl From<Transition> for Entry {
    fn from(happened: Transition) -> Self {
        Self {
            at: happened.at,
            event: Event::Alert {
                what: happened.what,
                id: happened.alert,
                route: happened.route,
                session: happened.session,
                delivery: happened.delivery,
            },
        }
    }
}
