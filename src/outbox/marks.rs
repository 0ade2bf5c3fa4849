//! The queues of the reactions by which recipients are told that somebody has acknowledged what they have.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::record::MessageId;
use super::session_queue::DeliveryId;
use crate::alert::SessionName;

/// The marks that are still to go out.
#[derive(Debug, Default)]
pub(super) struct Marks {
    pub by_id: BTreeMap<MessageId, Waiting>,
    pub sessions: BTreeMap<SessionName, Session>,
}

#[derive(Debug)]
pub(super) struct Waiting {
    /// The delivery whose message it marks.
    pub delivery_id: DeliveryId,
    pub session: SessionName,
    /// The disk knows its id.
    pub durable: bool,
    /// That came to nothing.
    pub attempts: u32,
}

#[derive(Debug, Default)]
pub(super) struct Session {
    pub up: bool,
    pub queue: VecDeque<MessageId>,
    /// Handed out, and until when an answer is waited for.
    pub under_way: Option<(MessageId, Instant)>,
    /// After a failure nothing is sent before.
    pub pause_until: Option<Instant>,
}

impl Marks {
    pub fn add(&mut self, session: SessionName, id: MessageId, delivery_id: DeliveryId, durable: bool) {
        self.sessions
            .entry(session.clone())
            .or_default()
            .queue
            .push_back(id.clone());
        let waiting = Waiting {
            delivery_id,
            session,
            durable,
            attempts: 0,
        };
        self.by_id.insert(id, waiting);
    }

    pub fn remove(&mut self, id: &MessageId) -> Option<DeliveryId> {
        let waiting = self.by_id.remove(id)?;
        if let Some(session) = self.sessions.get_mut(&waiting.session) {
            session.queue.retain(|queued| queued != id);
            if session.under_way.as_ref().is_some_and(|(under_way, _)| under_way == id) {
                session.under_way = None;
            }
        }
        Some(waiting.delivery_id)
    }

    /// What goes out next in a session that can send. `is_held` says whether the server lets nothing through to the
    /// recipient of a delivery.
    pub fn next(
        &self,
        now: Instant,
        is_held: impl Fn(DeliveryId) -> bool,
    ) -> Option<(SessionName, MessageId, DeliveryId)> {
        for (name, session) in &self.sessions {
            let rests = session.pause_until.is_some_and(|until| until > now);
            if !session.up || session.under_way.is_some() || rests {
                continue;
            }
            let can_go = |id: &&MessageId| {
                let waiting = self.by_id.get(*id);
                waiting.is_some_and(|waiting| waiting.durable && !is_held(waiting.delivery_id))
            };
            if let Some(id) = session.queue.iter().find(can_go) {
                return Some((name.clone(), id.clone(), self.by_id.get(id)?.delivery_id));
            }
        }
        None
    }

    /// When the next of them has to be looked at, and the alert that it is about.
    pub fn next_deadline(&self) -> Option<(Instant, u64)> {
        let of = |session: &Session| {
            let (id, at) = match &session.under_way {
                Some((id, until)) => (id, *until),
                None => (session.queue.front()?, session.pause_until?),
            };
            Some((at, self.by_id.get(id)?.delivery_id.seq))
        };
        self.sessions.values().filter(|session| session.up).filter_map(of).min()
    }
}
