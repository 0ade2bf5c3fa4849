//! The shell around the outbox: one task that owns it, makes alerts durable, hands messages to the sessions, and brings
//! back what became of them.
//!
//! Everything comes as an `Event` (`dispatcher/event.rs`), and nothing is shared with those who send them: no sender
//! waits for a lock, and whoever waits for an alert is told of that alert alone. The task takes a bounded number of
//! events in a turn, carries out what the outbox then asks for, and writes the alerts of the turn in one transaction.
//! It never waits for the disk itself.

mod event;
mod execute;
mod facts;
mod handle;
mod persist;
mod publish;
mod put_off;
mod query;
mod rounds;
mod sources;
mod state;
#[cfg(test)]
mod tests;
mod waiting;
mod writes;

pub(super) use facts::OutboxFacts;
pub(super) use handle::{DispatcherHandle, storage_refusal};
pub(super) use state::{Dispatcher, Parts};

use std::time::Instant;

use self::event::Event;
use super::clock;
use crate::gateway::Refusal;
use crate::gateway::api::AlertView;
use crate::outbox::{AlertRecord, CommandError, Input, Now, Outbox};

/// Events taken in one turn. What they lead to is then done for all of them, and nobody waits longer than for so many.
const TURN_MAX: usize = 128;

impl Dispatcher {
    /// Runs for as long as the relay.
    pub(super) async fn run(mut self) {
        loop {
            self.execute();
            let persist_at = self.persist_if_due(Instant::now());
            let deadline = self.outbox.poll_timeout().map(|(at, _)| at);
            let event = self.sources.next(deadline.into_iter().chain(persist_at).min()).await;
            self.handle(event);
            for _ in 1..TURN_MAX {
                let Some(event) = self.sources.try_next() else { break };
                self.handle(event);
            }
            self.write_new();
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Publish(publish) => self.publish(publish),
            Event::Written { write, result } => self.on_written(write, result),
            Event::Persisted { taken, result } => self.on_persisted(taken, result),
            Event::HandedOver(input) => self.outbox.handle(clock::now(), *input),
            Event::Notice(session, notice) => self.on_notice(session, notice),
            Event::Wait(wait) => self.waiting.add(&self.outbox, wait),
            Event::Query(query) => self.on_query(query),
            Event::Retry { id, answer } => {
                let retried = command(&mut self.outbox, |outbox, now| outbox.retry(now, &id));
                let _ = answer.try_send(retried);
            }
            Event::Drop { id, answer } => {
                let dropped = command(&mut self.outbox, |outbox, now| outbox.drop_alert(now, &id));
                let _ = answer.try_send(dropped);
            }
            Event::Cancel { route, name, answer } => {
                let _ = answer.try_send(self.outbox.cancel(clock::now(), &route, &name));
            }
            Event::Ack { id, by, answer } => {
                let acked = command(&mut self.outbox, |outbox, now| outbox.ack(now, &id, &by));
                let _ = answer.try_send(acked);
            }
            Event::Flush { answer } => self.rounds.want(answer),
            Event::Turn { answer } => {
                let _ = answer.try_send(());
            }
            Event::ClockStepped => self.outbox.handle(clock::now(), Input::ClockStepped),
            Event::Timeout => self.outbox.handle_timeout(clock::now()),
        }
    }
}

fn command<'a>(
    outbox: &'a mut Outbox,
    act: impl FnOnce(&'a mut Outbox, Now) -> Result<&'a AlertRecord, CommandError>,
) -> Result<AlertView, Refusal> {
    act(outbox, clock::now())
        .map(AlertView::from)
        .map_err(|error| match error {
            CommandError::Unknown(id) => Refusal::UnknownAlert(id),
            settled @ CommandError::Settled { .. } => Refusal::Conflict(settled.to_string()),
        })
}
