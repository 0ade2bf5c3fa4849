//! Several alerts about the same thing, as ntfy's sequence id and Alertmanager's fingerprint name it.
//!
//! What was never handed over to a session is superseded by a later alert about the same thing on its route. An end of
//! what nobody was told of is not told either. What was handed over may be on the phone, and stays.

use std::collections::BTreeSet;
use std::time::Duration;

use super::age::CLOCK_UNSET_BEFORE;
use super::entry::Entry;
use super::flapping;
use super::history::TransitionKind;
use super::record::{AlertRecord, Flap, Handover, HandoverState, MessageId, Step};
use super::session_queue::DeliveryId;
use super::{Now, Outbox};
use crate::alert::{Alert, Priority, Recipient, RouteName, Status};

/// Alerts about one thing that are looked at, the newest. What flaps for longer counts fewer turns than it had.
const LOOKED_AT: usize = 256;

impl Outbox {
    /// Whether this alert is about something that turns too often. It need not be here yet; those before it must.
    pub(super) fn flap(&self, record: &AlertRecord) -> Option<Box<Flap>> {
        let rules = self.rules.flapping(&record.route)?;
        let sequence = record.alert.sequence.clone()?;
        let same = self.by_sequence.get(&(record.route.clone(), sequence))?;
        let earlier = same.range(..record.seq).rev().take(LOOKED_AT);
        let earlier = earlier.filter_map(|seq| Some(&self.entries.get(seq)?.record));
        let told = |record: &AlertRecord| {
            let mut places = (0..record.deliveries.len()).map(|index| DeliveryId { seq: record.seq, index });
            places.any(|delivery_id| self.is_told(delivery_id))
        };
        let mut alerts: Vec<flapping::Said> = [record]
            .into_iter()
            .chain(earlier)
            .map(|record| flapping::Said {
                status: record.alert.status,
                at: record.due_at(),
                told: told(record),
            })
            .collect();
        alerts.reverse();
        let mut flap = flapping::flap(rules, &alerts)?;
        // It is to be told while it is worth telling, and at once where it is most urgent.
        flap.hold = match record.alert.priority {
            Priority::Max => Duration::ZERO,
            _ => record.ttl.map_or(flap.hold, |ttl| flap.hold.min(ttl / 2)),
        };
        Some(Box::new(flap))
    }

    /// For how long the thing has fired that an alert says is over. Less than a second is not worth a word.
    pub(super) fn lasted(&self, now: Now, route: &RouteName, alert: &Alert) -> Option<Duration> {
        let sequence = alert.sequence.clone().filter(|_| alert.status == Status::Resolved)?;
        let same = self.by_sequence.get(&(route.clone(), sequence))?;
        let records = same.iter().rev().filter_map(|seq| Some(&self.entries.get(seq)?.record));
        let firing = records.take_while(|record| record.alert.status == Status::Firing);
        let began = firing.last()?.due_at();
        let lasted = now
            .wall
            .0
            .checked_sub(began.0)
            .filter(|_| began >= CLOCK_UNSET_BEFORE)?;
        Some(Duration::from_millis(lasted)).filter(|lasted| lasted.as_secs() > 0)
    }

    /// The message by which the recipient of this delivery was told that the thing fires which its alert is news of.
    pub(super) fn quoted_by(&self, delivery_id: DeliveryId) -> Option<Box<MessageId>> {
        let record = &self.entries.get(&delivery_id.seq)?.record;
        let delivery = record
            .deliveries
            .get(delivery_id.index)
            .filter(|delivery| delivery.part == 0)?;
        self.first_told(&record.route, &record.alert, delivery_id.seq, &delivery.recipient)
    }

    /// The message that has told `recipient` first of what this alert on `route` is about; `before` is its number.
    pub(super) fn first_told(
        &self,
        route: &RouteName,
        alert: &Alert,
        before: u64,
        recipient: &Recipient,
    ) -> Option<Box<MessageId>> {
        let sequence = alert.sequence.clone()?;
        let same = self.by_sequence.get(&(route.clone(), sequence))?;
        let entries = same.range(..before).rev().filter_map(|seq| self.entries.get(seq));
        let records = entries.filter(|entry| entry.durable).map(|entry| &entry.record);
        let firing = records.take_while(|record| record.alert.status == Status::Firing);
        let told = firing.filter_map(|record| {
            let mut delivery_ids = deliveries_to(record, recipient).into_iter();
            let text = delivery_ids
                .find(|delivery_id| record.deliveries.get(delivery_id.index).is_some_and(|it| it.part == 0))?;
            let told = self.is_told(text) && self.step_of(text) != Some(Step::Fallback);
            self.message_of(text).filter(|_| told).cloned()
        });
        told.last().map(Box::new)
    }

    /// After a restart: what a kill has left undone.
    pub(super) fn supersede_all(&mut self, now: Now) {
        let same = self.by_sequence.values().filter(|same| same.len() > 1);
        let newest: Vec<u64> = same.filter_map(|same| same.last().copied()).collect();
        // Nothing is forgotten meanwhile: it may be what tells that another one is over.
        let limits = self.limits.clone();
        self.limits.settled_max = usize::MAX;
        self.limits.settled_bytes_max = usize::MAX;
        for seq in newest {
            self.supersede(now, seq);
        }
        self.limits = limits;
    }

    /// The alert `seq` is on disk: of those about the same thing to each recipient, the unsent ones that say less are
    /// not sent.
    pub(super) fn supersede(&mut self, now: Now, seq: u64) {
        let Some(record) = self.entries.get(&seq).map(|entry| &entry.record) else {
            return;
        };
        let Some(sequence) = record.alert.sequence.clone() else {
            return;
        };
        let same = self
            .by_sequence
            .get(&(record.route.clone(), sequence))
            .cloned()
            .unwrap_or_default();
        if same.len() < 2 {
            return;
        }
        let durable = |seq: &u64| self.entries.get(seq).is_some_and(|entry| entry.durable);
        let mut same: Vec<u64> = same.into_iter().filter(durable).collect();
        // What is to come later says nothing yet of what waits to be sent now, but of what was to come before it.
        if same.last().is_some_and(|newest| self.is_delayed(*newest)) {
            same.retain(|seq| self.is_delayed(*seq));
        }
        let records = same.iter().filter_map(|seq| self.entries.get(seq));
        let recipients = records.flat_map(|entry| {
            entry
                .record
                .deliveries
                .iter()
                .map(|delivery| delivery.recipient.clone())
        });
        let recipients: BTreeSet<Recipient> = recipients.collect();
        for recipient in recipients {
            self.supersede_for(now, &same, &recipient);
        }
    }

    fn supersede_for(&mut self, now: Now, same: &[u64], recipient: &Recipient) {
        let to = |entry: &Entry| {
            entry
                .record
                .deliveries
                .iter()
                .any(|delivery| delivery.recipient == *recipient)
        };
        let mut same: Vec<u64> = same.to_vec();
        same.retain(|seq| self.entries.get(seq).is_some_and(|entry| to(entry)));
        let Some((&newest, earlier)) = same.split_last() else {
            return;
        };
        let Some(record) = self.entries.get(&newest).map(|entry| &entry.record) else {
            return;
        };
        let (id, status) = (record.id.clone(), record.alert.status);
        let note = match status {
            Status::Firing => format!("replaced by alert {id} before it was sent"),
            Status::Resolved => format!("over before it was sent, by alert {id}"),
        };
        // What the recipient was told last, and whether something fired since that they were not told.
        let mut told = None;
        let mut untold = None;
        for seq in earlier {
            let Some(record) = self.entries.get(seq).map(|entry| &entry.record) else {
                continue;
            };
            let of = record.alert.status;
            let delivery_ids = deliveries_to(record, recipient);
            let was_told = delivery_ids.iter().any(|delivery_id| self.is_told(*delivery_id));
            if was_told {
                told = Some(of);
                untold = None;
            } else if of == Status::Firing {
                untold = Some(record.id.clone());
            }
            for delivery_id in delivery_ids.into_iter().filter(|_| !was_told) {
                self.supersede_delivery(now, delivery_id, &note);
            }
        }
        if let (Status::Resolved, Some(first)) = (status, untold)
            && told != Some(Status::Firing)
        {
            let delivery_ids = self
                .entries
                .get(&newest)
                .map_or(Vec::new(), |entry| deliveries_to(&entry.record, recipient));
            for delivery_id in delivery_ids {
                self.supersede_delivery(
                    now,
                    delivery_id,
                    &format!("not sent, as alert {first} was not sent either"),
                );
            }
        }
    }

    /// Whether a session or a fallback has had it to send, or surely will: then somebody may have read it. That a
    /// session had it is not on disk before its ack, so after a restart whatever has a message may have gone out. One
    /// with other alerts in it goes out as it is.
    pub(super) fn is_told(&self, delivery_id: DeliveryId) -> bool {
        let Some(entry) = self.entries.get(&delivery_id.seq) else {
            return false;
        };
        let begun = |handover: &Handover| match handover.state {
            HandoverState::Done => true,
            // An attempt that has found nobody leaves it as it was.
            HandoverState::Begun => entry.restored || self.handovers.may_have(&handover.to, delivery_id.seq),
            HandoverState::Wanted | HandoverState::GivenUp => false,
        };
        let message = self.message_of(delivery_id);
        entry.record.handovers.iter().any(begun)
            || message.is_some_and(|id| entry.restored || self.deliveries_of(id).len() > 1)
            || self.attempts(delivery_id) > 0
            || matches!(
                self.step_of(delivery_id),
                Some(Step::Sent | Step::Delivered | Step::Read | Step::Fallback)
            )
    }

    pub(super) fn supersede_delivery(&mut self, now: Now, delivery_id: DeliveryId, note: &str) {
        if self.step_of(delivery_id) == Some(Step::Accepted) && !self.is_told(delivery_id) {
            self.give_up(now, delivery_id, TransitionKind::Superseded, |_, _| note.to_owned());
            self.settle(now, delivery_id.seq);
        }
    }
}

fn deliveries_to(record: &AlertRecord, recipient: &Recipient) -> Vec<DeliveryId> {
    let deliveries = record.deliveries.iter().enumerate();
    let to = deliveries.filter(|(_, delivery)| delivery.recipient == *recipient);
    to.map(|(index, _)| DeliveryId { seq: record.seq, index }).collect()
}
