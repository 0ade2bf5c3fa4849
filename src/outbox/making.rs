//! How messages are made of deliveries, get in line, and find again what they carry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::entry::Entry;
use super::history::TransitionKind;
use super::lookup::Lookup;
use super::message::{Content, Quote};
use super::policy::{self, Decision, Part, Policy};
use super::policy::{HeldBack, Why};
use super::record::{AlertRecord, Form, MessageId, Step};
use super::session_queue::{DeliveryId, Place, Turn};
use super::{Now, Outbox, Rules};
use crate::alert::{Recipient, RouteName, SessionName};

impl Outbox {
    /// Makes the messages that the policy has decided on.
    pub(super) fn make_messages(&mut self, now: Now) {
        loop {
            // A recipient whose next message is not on disk yet takes no other.
            let making: BTreeSet<(SessionName, Recipient)> = self
                .unwritten
                .keys()
                .filter_map(|id| {
                    let first = self.first_of(id)?;
                    let session = self.entries.get(&first.seq)?.record.session.clone();
                    Some((session, self.recipient_of(first)?.clone()))
                })
                .collect();
            let queues = &self.queues;
            let takes = |session: &SessionName, recipient: &Recipient, turn: Turn| {
                let queue = queues.get(session);
                queue.is_some_and(|queue| queue.takes(recipient, turn))
                    && !making.contains(&(session.clone(), recipient.clone()))
            };
            match self.policy.poll_decision(now, &takes) {
                Some(Decision::Message { deliveries, form }) => self.make_message(now, deliveries, form),
                Some(Decision::Drop { delivery, note }) => {
                    self.give_up(now, delivery, TransitionKind::Dropped, |_, _| note.clone());
                    self.settle(now, delivery.seq);
                }
                None => return,
            }
        }
    }

    /// A message out of deliveries that are on disk without one. It is sent once the records say so on disk too: after
    /// a crash in between another id would be drawn.
    fn make_message(&mut self, now: Now, mut deliveries: Vec<DeliveryId>, form: Form) {
        // One that a person gave up meanwhile is not in it.
        deliveries.retain(|delivery_id| {
            self.step_of(*delivery_id) == Some(Step::Accepted) && self.message_of(*delivery_id).is_none()
        });
        let Some(&first) = deliveries.first() else { return };
        let Some(recipient) = self.recipient_of(first).cloned() else {
            return;
        };
        let id = (self.draw_id.0)(first.seq, &recipient);
        let quotes = match deliveries.as_slice() {
            [alone] => self.quoted_by(*alone),
            _ => None,
        };
        let unwritten = deliveries.iter().map(|delivery_id| delivery_id.seq).collect();
        self.unwritten.insert(id.clone(), unwritten);
        for delivery_id in deliveries {
            let entry = self.entries.get_mut(&delivery_id.seq);
            let Some(delivery) = entry.and_then(|entry| entry.record.deliveries.get_mut(delivery_id.index)) else {
                continue;
            };
            delivery.message_id = Some(id.clone());
            delivery.made_at = Some(now.wall);
            delivery.form = form;
            delivery.quotes = quotes.clone();
            self.dirty.entry(delivery_id.seq).or_default().made.push(id.clone());
            self.attach(&id, delivery_id);
        }
    }

    /// The record of alert `seq` is on disk with this message.
    pub(super) fn on_message_durable(&mut self, message_id: &MessageId, seq: u64) {
        let Some(unwritten) = self.unwritten.get_mut(message_id) else {
            return;
        };
        unwritten.remove(&seq);
        if unwritten.is_empty() {
            self.unwritten.remove(message_id);
            self.enqueue(message_id, Place::InTurn);
        }
    }

    /// Notes that a message carries this delivery, whose record says so.
    pub(super) fn attach(&mut self, message_id: &MessageId, delivery_id: DeliveryId) {
        let before = self.first_of(message_id);
        self.messages.insert(&message_id.0, delivery_id);
        self.enqueue(message_id, Place::InTurn);
        self.leave_old_place(message_id, before, delivery_id);
    }

    /// The alert of this delivery is gone.
    pub(super) fn detach(&mut self, message_id: &MessageId, delivery_id: DeliveryId) {
        let Some(before) = self.first_of(message_id) else {
            return;
        };
        self.messages.remove(&message_id.0, delivery_id);
        if self.first_of(message_id).is_none() {
            self.unwritten.remove(message_id);
            self.on_queue(delivery_id, |queue, recipient| queue.give_up(recipient, delivery_id));
            return;
        }
        self.on_message_durable(message_id, delivery_id.seq);
        self.enqueue(message_id, Place::InTurn);
        self.leave_old_place(message_id, Some(before), delivery_id);
    }

    fn leave_old_place(&mut self, message_id: &MessageId, before: Option<DeliveryId>, of: DeliveryId) {
        let first = self.first_of(message_id);
        if let Some(before) = before.filter(|before| Some(*before) != first) {
            self.on_queue(of, |queue, recipient| queue.give_up(recipient, before));
        }
    }

    /// Puts a message that still has to go out in line, if it may be.
    pub(super) fn enqueue(&mut self, message_id: &MessageId, place: Place) {
        let carried = self.deliveries_of(message_id);
        let Some(&first) = carried.first() else { return };
        let waits = carried
            .iter()
            .any(|delivery_id| self.step_of(*delivery_id) == Some(Step::Accepted));
        let held = carried.iter().any(|delivery_id| self.handovers.holds(delivery_id.seq));
        if !waits || held || self.unwritten.contains_key(message_id) {
            return;
        }
        let durable = |delivery_id: &DeliveryId| self.entries.get(&delivery_id.seq).is_some_and(|entry| entry.durable);
        let durable = carried.iter().all(durable);
        let priority = |delivery_id: &DeliveryId| Some(self.entries.get(&delivery_id.seq)?.record.alert.priority);
        let priority = carried.iter().filter_map(priority).max().unwrap_or_default();
        let Some(entry) = self.entries.get(&first.seq) else {
            return;
        };
        let Some(delivery) = entry.record.deliveries.get(first.index) else {
            return;
        };
        let queue = self.queues.entry(entry.record.session.clone()).or_default();
        queue.enqueue(&delivery.recipient, Turn::new(priority, first), durable, place);
    }

    /// The delivery has no message and is on disk: the policy decides about it.
    pub(super) fn wait(&mut self, now: Now, delivery_id: DeliveryId, by_hand: bool) {
        // One that waits for its own time is told of then.
        let entry = self.entries.get(&delivery_id.seq);
        if let Some(entry) = entry.filter(|entry| entry.delayed_until.is_none()) {
            let input = policy::Input::Waits {
                delivery: delivery_id,
                of: &entry.record,
                by_hand,
            };
            self.policy.handle(now, input);
        }
    }

    /// The delivery is in a message that was made by a decision before this start.
    pub(super) fn tell_of_earlier(&mut self, now: Now, delivery_id: DeliveryId) {
        let Some(entry) = self.entries.get(&delivery_id.seq) else {
            return;
        };
        let made_at = entry
            .record
            .deliveries
            .get(delivery_id.index)
            .and_then(|delivery| delivery.made_at);
        let is_first = self.message_of(delivery_id).and_then(|id| self.first_of(id)) == Some(delivery_id);
        if made_at.is_some() {
            let input = policy::Input::Went {
                delivery: delivery_id,
                of: &entry.record,
                is_first,
            };
            self.policy.handle(now, input);
        }
    }

    /// What each delivery of the alert waits for that has no message yet.
    pub fn held_back(&self, seq: u64) -> Vec<Option<HeldBack>> {
        let deliveries = self.entries.get(&seq).map_or(&[][..], |entry| &entry.record.deliveries);
        let places = (0..deliveries.len()).map(|index| DeliveryId { seq, index });
        let delayed = self.delay_of(seq);
        places
            .map(|delivery_id| delayed.or_else(|| self.policy.held_back(delivery_id)))
            .collect()
    }

    /// What waits without a message, by route and by what it waits for: how many deliveries, and until when the first
    /// does.
    pub fn all_held_back(&self) -> BTreeMap<(&RouteName, Why), (usize, Option<Instant>)> {
        let mut found: BTreeMap<_, (usize, Option<Instant>)> = BTreeMap::new();
        for entry in self.pending.iter().filter_map(|seq| self.entries.get(seq)) {
            let record = &entry.record;
            for held in self.held_back(record.seq).into_iter().flatten() {
                let (count, until) = found.entry((&record.route, held.why)).or_default();
                *count += 1;
                *until = until.iter().copied().chain(held.until).min();
            }
        }
        found
    }

    /// The alerts that are in one message with this one, or would be if it went out now: itself among them, in the
    /// order of acceptance.
    pub fn beside(&self, seq: u64) -> Vec<&AlertRecord> {
        let deliveries = self.entries.get(&seq).map_or(&[][..], |entry| &entry.record.deliveries);
        let delivery_ids = deliveries
            .iter()
            .enumerate()
            .flat_map(|(index, delivery)| match &delivery.message_id {
                Some(id) => self.deliveries_of(id),
                None => self.policy.beside(DeliveryId { seq, index }),
            });
        let seqs: BTreeSet<u64> = delivery_ids.map(|delivery_id| delivery_id.seq).collect();
        let entries = seqs.into_iter().filter_map(|seq| self.entries.get(&seq));
        entries
            .filter(|entry| entry.durable)
            .map(|entry| &entry.record)
            .collect()
    }

    /// The deliveries of a message, in the order of acceptance. None where it is not known.
    pub(super) fn deliveries_of(&self, message_id: &MessageId) -> Vec<DeliveryId> {
        carried(&self.entries, &self.messages, message_id).collect()
    }

    /// The message that makes this delivery, once there is one.
    pub(super) fn message_of(&self, delivery_id: DeliveryId) -> Option<&MessageId> {
        let record = &self.entries.get(&delivery_id.seq)?.record;
        record.deliveries.get(delivery_id.index)?.message_id.as_ref()
    }

    pub(super) fn recipient_of(&self, delivery_id: DeliveryId) -> Option<&Recipient> {
        let record = &self.entries.get(&delivery_id.seq)?.record;
        Some(&record.deliveries.get(delivery_id.index)?.recipient)
    }
}

/// The deliveries that one message makes, each of another alert, in the order of acceptance. The first stands for it in
/// the queue.
pub(super) fn carried<'a>(
    entries: &'a BTreeMap<u64, Box<Entry>>,
    messages: &'a Lookup<DeliveryId>,
    message_id: &'a MessageId,
) -> impl Iterator<Item = DeliveryId> + 'a {
    let is_in = move |delivery_id: &DeliveryId| {
        let delivery = entries
            .get(&delivery_id.seq)?
            .record
            .deliveries
            .get(delivery_id.index)?;
        Some(delivery.message_id.as_ref()? == message_id)
    };
    let found = messages.find(&message_id.0, DeliveryId { seq: 0, index: 0 });
    found.filter(move |delivery_id| is_in(delivery_id) == Some(true))
}

/// The deliveries that a message still tells of: not those that a fallback has had meanwhile, unless it has had all.
pub(super) fn told(entries: &BTreeMap<u64, Box<Entry>>, carried: &[DeliveryId]) -> Vec<DeliveryId> {
    let is_elsewhere = |delivery_id: &DeliveryId| {
        let entry = entries.get(&delivery_id.seq);
        let delivery = entry.and_then(|entry| entry.record.deliveries.get(delivery_id.index));
        delivery.is_some_and(|delivery| delivery.step == Step::Fallback)
    };
    let told: Vec<DeliveryId> = carried
        .iter()
        .copied()
        .filter(|delivery_id| !is_elsewhere(delivery_id))
        .collect();
    if told.is_empty() { carried.to_vec() } else { told }
}

/// What a message is to say. It is always the same, because what the message carries is; but for what becomes late
/// before it is sent, and for what a fallback has had.
pub(super) fn content(
    entries: &BTreeMap<u64, Box<Entry>>,
    policy: &dyn Policy,
    rules: &Rules,
    carried: &[DeliveryId],
) -> Content {
    let part = |delivery_id: &DeliveryId| {
        let record = &entries.get(&delivery_id.seq)?.record;
        let delivery = record.deliveries.get(delivery_id.index)?;
        let raised = delivery.late.then(|| rules.raised(record.due_at()));
        let (number, form) = (delivery.part, delivery.form);
        Some(Part {
            record,
            number,
            raised,
            form,
        })
    };
    let parts: Vec<Part<'_>> = told(entries, carried).iter().filter_map(part).collect();
    policy.content(&parts)
}

/// Characters of what a message quotes. The apps show three lines.
const QUOTE_CHARS_MAX: usize = 160;

/// What a message quotes. What that said is told for as long as it is kept.
pub(super) fn quote(
    entries: &BTreeMap<u64, Box<Entry>>,
    messages: &Lookup<DeliveryId>,
    policy: &dyn Policy,
    rules: &Rules,
    carrying: &[DeliveryId],
) -> Option<Quote> {
    let [alone] = carrying else { return None };
    let delivery = entries.get(&alone.seq)?.record.deliveries.get(alone.index)?;
    let id = delivery.quotes.as_deref()?.clone();
    let quoted: Vec<DeliveryId> = carried(entries, messages, &id).collect();
    let text = match quoted.is_empty() {
        true => String::new(),
        false => match content(entries, policy, rules, &quoted) {
            Content::Text(text) => text,
            Content::Media { caption, .. } => caption,
            Content::Reaction { .. } => String::new(),
        },
    };
    Some(Quote {
        id,
        text: text.chars().take(QUOTE_CHARS_MAX).collect(),
    })
}
