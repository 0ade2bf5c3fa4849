//! What waits to be sent, for people who ask.

use super::policy::Why;
use super::record::{AlertRecord, Step, Timestamp};
use super::{Hold, Outbox};
use crate::alert::{Recipient, SessionName};

impl Outbox {
    /// The alert that has waited longest to be sent, but for those that their senders or the rules of their routes hold
    /// back.
    fn first_pending(&self) -> Option<&AlertRecord> {
        let held = |record: &AlertRecord| {
            let waiting = self.deliveries_at(record.seq, Step::Accepted).into_iter();
            let mut waiting = waiting.map(|delivery_id| self.policy.held_back(delivery_id).map(|held| held.why));
            self.is_delayed(record.seq)
                || waiting.all(|why| matches!(why, Some(Why::Quiet | Why::Group | Why::Pace | Why::Flapping)))
        };
        let records = self
            .pending
            .iter()
            .filter_map(|seq| Some(&self.entries.get(seq)?.record));
        records.into_iter().find(|record| !held(record))
    }

    /// Since when it was there to be sent.
    pub fn oldest_pending(&self) -> Option<Timestamp> {
        Some(self.first_pending()?.due_at())
    }

    /// Why that alert was not sent when it was last tried; empty when it was not, or nobody said.
    pub fn oldest_pending_note(&self) -> &str {
        let deliveries = self.first_pending().map_or(&[][..], |record| &record.deliveries);
        let mut waiting = deliveries.iter().filter(|delivery| delivery.step == Step::Accepted);
        waiting
            .find(|delivery| !delivery.note.is_empty())
            .map_or("", |delivery| &delivery.note)
    }

    /// The recipients of each session that the server holds up for the time being, and why. One that lasts until an
    /// answer to a later try has come, over any number of lines.
    pub fn held_recipients(&self) -> impl Iterator<Item = (&SessionName, &Recipient, Hold)> {
        self.queues.iter().flat_map(|(session, queue)| {
            queue
                .held_recipients()
                .map(move |(recipient, hold)| (session, recipient, hold))
        })
    }

    /// Alerts that still have something to send.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }
}
