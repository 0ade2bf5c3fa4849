//! Writes what is put off: changed alerts and the end of old ones, each in one transaction with what the journal is
//! told of it.

use std::time::{Duration, Instant};

use super::event::Event;
use super::put_off::Taken;
use super::state::Dispatcher;
use crate::appliance::clock;
use crate::outbox::{HandoverState, Input, TransitionKind};
use crate::store::StoreError;
use crate::store::journal::{self, Entry, Event as Told};

/// Between two tries to write what a full disk has refused.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

impl Dispatcher {
    /// Something about a session for the journal.
    pub(super) fn tell(&mut self, event: Told) {
        let at = clock::now().wall;
        self.put_off.tell(Entry { at, event });
    }

    /// Writes what is put off if it is time, or somebody waits for it. When to look again, if nothing else happens.
    pub(super) fn persist_if_due(&mut self, now: Instant) -> Option<Instant> {
        if self.rounds.writing {
            return None;
        }
        if self.rounds.urgent || !self.rounds.wanted_next.is_empty() {
            self.begin_round();
            return None;
        }
        let due = self.put_off.due(now, self.store.journal_updates().is_watched())?;
        if due > now {
            return Some(due);
        }
        let collected_at = *self.rounds.collected_at.get_or_insert(now + self.rounds.collect);
        let at = self.rounds.not_before.map_or(collected_at, |at| at.max(collected_at));
        if at > now {
            return Some(at);
        }
        self.begin_round();
        None
    }

    fn begin_round(&mut self) {
        self.rounds.collected_at = None;
        self.rounds.urgent = false;
        let mut next = std::mem::take(&mut self.rounds.wanted_next);
        self.rounds.wanted.append(&mut next);
        self.write_put_off();
    }

    /// What changes meanwhile stays put off, so that a burst of changes does not become a write for each, one on the
    /// heels of the other.
    fn write_put_off(&mut self) {
        let mut taken = self.put_off.take();
        let (batch, entries) = taken.batch();
        if batch.is_empty() && entries.is_empty() {
            return self.rounds.tell(&Ok(()));
        }
        self.rounds.writing = true;
        let (store, ended) = (self.store.clone(), self.ended.clone());
        let written = async move {
            let result = journal::commit(&store, batch, entries).await;
            let _ = ended.send(Event::Persisted { taken, result }).await;
        };
        self.executor.spawn(written).detach();
    }

    /// What is refused for want of room stays put off.
    pub(super) fn on_persisted(&mut self, taken: Taken, result: Result<(), StoreError>) {
        self.rounds.writing = false;
        if let Err(error) = &result {
            log::error!("the state of alerts could not be written, trying again: {error}");
            self.rounds.not_before = Some(Instant::now() + REFUSED_PAUSE);
            self.put_off.put_back(taken);
            return self.rounds.tell(&result);
        }
        self.rounds.not_before = None;
        if !taken.sessions.is_empty() {
            self.put_off.sessions_written = Some(Instant::now());
        }
        for (seq, change) in taken.changed {
            if change
                .happened
                .iter()
                .any(|(_, it)| it.what == TransitionKind::Handover)
            {
                for handover in change.record.handovers {
                    if handover.state == HandoverState::Begun {
                        let to = handover.to;
                        self.outbox.handle(clock::now(), Input::IntentDurable { seq, to });
                    }
                }
            }
            for message_id in change.made {
                let durable = Input::MessageDurable { message_id, seq };
                self.outbox.handle(clock::now(), durable);
            }
        }
        match taken.more {
            true => self.write_put_off(),
            false => self.rounds.tell(&Ok(())),
        }
    }
}
