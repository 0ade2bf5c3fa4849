//! Delays: an alert that its sender wants to go out later waits here, and its policy hears of it when its time has
//! come.
//!
//! What counts is the time that has passed, as for times to live: a wall clock that is set moves nothing in this run.
//! After a restart the age is told as `age.rs` can: where no clock was set it is that of a new alert.

use std::time::Instant;

use super::io::Output;
use super::policy::{HeldBack, Why};
use super::record::{AlertRecord, Delivery, Step};
use super::session_queue::DeliveryId;
use super::{Now, Outbox};
use crate::alert::RouteName;

/// What waits for its own time may take one place of so many of the outbox: one sender could fill it on a healthy line,
/// and then no alert would be accepted for days.
const PLACES_SHARE: usize = 4;

impl Outbox {
    /// When the alert may go, if that is still to come.
    pub(super) fn watch_delay(&mut self, now: Now, record: &AlertRecord) -> Option<Instant> {
        let waits = |delivery: &Delivery| delivery.step == Step::Accepted && delivery.message_id.is_none();
        let delay = record.delay.filter(|_| record.deliveries.iter().any(waits))?;
        let at = self.ages.expires(now, record.seq, record.accepted_at, delay);
        if at <= now.mono {
            return None;
        }
        self.delayed.insert((at, record.seq));
        Some(at)
    }

    /// Whether so many wait for their time that another one would take the place of what is to go out now.
    pub(super) fn has_enough_delayed(&self) -> bool {
        self.delayed.len() >= self.limits.pending_max.div_ceil(PLACES_SHARE)
    }

    /// Whether the alert numbered `seq` waits for its time.
    pub fn is_delayed(&self, seq: u64) -> bool {
        self.delay_of(seq).is_some()
    }

    /// What all its deliveries wait for then.
    pub(super) fn delay_of(&self, seq: u64) -> Option<HeldBack> {
        let until = self.entries.get(&seq)?.delayed_until?;
        Some(HeldBack {
            why: Why::Delay,
            until: Some(until),
        })
    }

    /// Lets go what has waited for long enough.
    pub(super) fn end_delays(&mut self, now: Now) {
        while let Some(&(at, seq)) = self.delayed.first() {
            if at > now.mono {
                return;
            }
            self.delayed.pop_first();
            self.end_delay(now, seq, false);
        }
    }

    /// The alert waits for its time no more; where a person wants it so, also after a restart.
    pub(super) fn end_delay(&mut self, now: Now, seq: u64, by_hand: bool) {
        let Some(entry) = self.entries.get_mut(&seq) else {
            return;
        };
        if by_hand && let Some(delay) = entry.record.delay {
            // From now on all that counts from its time counts from this moment, and none is before it again.
            let at = self.ages.expires(now, seq, entry.record.accepted_at, delay);
            entry.record.delay = Some(delay.saturating_sub(at.saturating_duration_since(now.mono)));
            self.dirty.entry(seq).or_default();
        }
        let Some(at) = entry.delayed_until.take() else { return };
        let durable = entry.durable;
        self.delayed.remove(&(at, seq));
        if by_hand {
            self.watch_ages(now, seq);
        }
        // What is not on disk yet is told of when it is; what was given up by nobody.
        let waiting = self.deliveries_at(seq, Step::Accepted);
        if !durable || waiting.is_empty() {
            return;
        }
        self.outputs.push_back(Output::Due { seq });
        self.supersede(now, seq);
        for delivery_id in waiting {
            let still = self.step_of(delivery_id) == Some(Step::Accepted) && self.message_of(delivery_id).is_none();
            if still && !self.handovers.holds(seq) {
                self.wait(now, delivery_id, by_hand);
            }
        }
    }

    /// Gives up what was not handed to a session on `route` and is called `name`, by itself or by what it is about: its
    /// sender takes it back. Returns the ids of those.
    pub fn cancel(&mut self, now: Now, route: &RouteName, name: &str) -> Vec<String> {
        let entries = self.pending.iter().filter_map(|seq| self.entries.get(seq));
        let is_it = |record: &&AlertRecord| {
            record.route == *route && (record.id == name || record.alert.sequence.as_deref() == Some(name))
        };
        let records = entries.filter(|entry| entry.durable).map(|entry| &entry.record);
        let records = records.filter(is_it).filter(|record| self.is_untold(record));
        let mut ids: Vec<String> = records.map(|record| record.id.clone()).collect();
        ids.retain(|id| self.drop_alert(now, id).is_ok());
        ids
    }

    /// Whether no session and no fallback was given any of it.
    fn is_untold(&self, record: &AlertRecord) -> bool {
        let mut places = (0..record.deliveries.len()).map(|index| DeliveryId { seq: record.seq, index });
        !places.any(|delivery_id| self.is_told(delivery_id))
    }
}
