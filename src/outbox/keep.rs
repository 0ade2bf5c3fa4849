//! What stays, and for how long: how alerts come under the indexes, settle, and are forgotten.

use super::entry::{Entry, ends, size_of};
use super::history::{Transition, TransitionKind};
use super::record::{AlertRecord, MessageId, Step};
use super::{Now, Outbox, Output, policy};

/// With less than this settled, a disk without room gains nothing worth the history: others have filled it.
const FORGET_EARLY_BYTES_MIN: usize = 1 << 20;

impl Outbox {
    /// Puts a record under every index. Its deliveries that still have to go get in line. Forgets nothing.
    pub(super) fn insert(&mut self, now: Now, record: AlertRecord, durable: bool) {
        let seq = record.seq;
        self.seq_next = self.seq_next.max(seq.saturating_add(1));
        let key = record.alert.key.clone();
        let dedup = self.limits.dedup;
        let dedup_until = key
            .as_ref()
            .map(|_| self.ages.ends(now, seq, record.accepted_at, dedup));
        if let Some(key) = key {
            self.index_key(now, (record.route.clone(), key), seq);
        }
        self.by_id.insert(&record.id, seq);
        if let Some(sequence) = record.alert.sequence.clone() {
            let same = self.by_sequence.entry((record.route.clone(), sequence)).or_default();
            same.insert(seq);
        }
        self.queues.entry(record.session.clone()).or_default();
        let deliveries = record.deliveries.iter().enumerate();
        let deliveries: Vec<(super::DeliveryId, Step, Option<MessageId>)> = deliveries
            .map(|(index, delivery)| {
                (
                    super::DeliveryId { seq, index },
                    delivery.step,
                    delivery.message_id.clone(),
                )
            })
            .collect();
        let bytes = size_of(&record);
        let delayed_until = self.watch_delay(now, &record);
        let entry = Entry {
            record,
            durable,
            restored: false,
            bytes,
            dedup_until,
            keep_until: None,
            late_at: None,
            expires: None,
            delayed_until,
            attention_at: None,
        };
        self.pending.insert(seq);
        self.pending_bytes += bytes;
        self.entries.insert(seq, Box::new(entry));
        // Before its messages get in line: a fallback may have it.
        self.watch_ages(now, seq);
        for (delivery_id, step, message_id) in deliveries {
            self.counts[step as usize] += 1;
            match message_id {
                Some(message_id) => {
                    self.attach(&message_id, delivery_id);
                    // One that came before it, and was through, may not be now.
                    for carried in self.deliveries_of(&message_id) {
                        self.place(now, carried.seq);
                    }
                }
                None if step == Step::Accepted && durable && !self.handovers.holds(seq) => {
                    self.wait(now, delivery_id, false)
                }
                None => {}
            }
            self.tell_of_earlier(now, delivery_id);
        }
        self.place(now, seq);
        self.schedule_follow_up(now, seq);
        self.restore_marks(seq);
    }

    /// Sets all that counts from when the alert may go: when it expires, is late, goes to a fallback, and is followed
    /// up.
    pub(super) fn watch_ages(&mut self, now: Now, seq: u64) {
        let Some(entry) = self.entries.get_mut(&seq) else {
            return;
        };
        let record = &entry.record;
        let mark_late = self.rules.mark_late(&record.route);
        entry.late_at = mark_late.map(|span| self.ages.ends(now, seq, record.accepted_at, record.after_due(span)));
        let expires = record
            .ttl
            .map(|ttl| self.ages.expires(now, seq, record.accepted_at, record.after_due(ttl)));
        if let Some(before) = std::mem::replace(&mut entry.expires, expires) {
            self.expiries.remove(&(before, seq));
        }
        self.expiries.extend(expires.map(|at| (at, seq)));
        self.watch_fallback(now, seq);
        self.schedule_follow_up(now, seq);
    }

    /// The first alert with a key keeps it while it counts.
    fn index_key(&mut self, now: Now, key: (super::RouteName, String), seq: u64) {
        let holder = self.by_key.get(&key).and_then(|holder| self.entries.get(holder));
        let held_until = holder
            .filter(|entry| entry.holds_its_key())
            .and_then(|entry| entry.dedup_until);
        if held_until.is_none_or(|until| until <= now.mono) {
            self.by_key.insert(key, seq);
        }
    }

    /// Moves an alert between pending and kept as its deliveries now stand, and forgets what is then too much.
    pub(super) fn settle(&mut self, now: Now, seq: u64) {
        self.place(now, seq);
        self.trim(now);
    }

    /// Whether something of it is still to be sent: a delivery of its own, or another's by a message that carries both.
    /// Such a message must go out again as it was, and so nothing of it may be forgotten.
    fn waits(&self, record: &AlertRecord) -> bool {
        record.deliveries.iter().any(|delivery| {
            let message = delivery.message_id.as_ref();
            delivery.step == Step::Accepted || message.is_some_and(|id| self.waiting_delivery(id).is_some())
        }) || self.waits_for_fallback(record)
    }

    fn place(&mut self, now: Now, seq: u64) {
        let keep = self.limits.keep;
        let waits = self.entries.get(&seq).is_some_and(|entry| self.waits(&entry.record));
        let Some(entry) = self.entries.get_mut(&seq) else {
            return;
        };
        match (waits, entry.keep_until) {
            (true, Some(until)) => {
                entry.keep_until = None;
                let bytes = entry.bytes;
                self.kept.ends.remove(&(until, seq));
                self.kept.bytes -= bytes;
                self.pending.insert(seq);
                self.pending_bytes += bytes;
            }
            (false, None) => {
                let settled_at = entry.record.deliveries.iter().map(|delivery| delivery.since).max();
                let until = ends(now, settled_at.unwrap_or(entry.record.accepted_at), keep);
                // Others are forgotten before one that nobody has acknowledged, whatever comes meanwhile.
                let until = entry.attention_at.map_or(until, |at| until.max(at + keep));
                entry.keep_until = Some(until);
                if let Some(at) = entry.expires.take() {
                    self.expiries.remove(&(at, seq));
                }
                if let Some(at) = entry.delayed_until.take() {
                    self.delayed.remove(&(at, seq));
                }
                self.kept.ends.insert((until, seq));
                self.kept.bytes += entry.bytes;
                self.pending_bytes -= entry.bytes;
                self.pending.remove(&seq);
                self.handovers.forget(seq);
            }
            (true, None) | (false, Some(_)) => {}
        }
    }

    /// Forgets the settled alerts that are over a limit, those first that would be forgotten first anyway.
    fn trim(&mut self, now: Now) {
        while self.kept.ends.len() > self.limits.settled_max || self.kept.bytes > self.limits.settled_bytes_max {
            let Some(&(_, seq)) = self.kept.ends.first() else {
                return;
            };
            self.forget(now, seq);
        }
    }

    /// Deletes a settled alert here and asks the shell to do so on the disk. Its key stays for its day: whatever else
    /// comes, its sender's next try is not sent again.
    fn forget(&mut self, now: Now, seq: u64) {
        // What was not fetched yet has happened all the same.
        let mut happened = self.dirty.remove(&seq).unwrap_or_default().happened;
        let record = self.entries.get(&seq).map(|entry| &entry.record);
        happened.extend(record.map(|record| Transition::to_all(record, now.wall, TransitionKind::Forgotten)));
        let kept = self.key_of(now, seq);
        self.remove(now, seq);
        let key = kept.as_ref().map(|(key, _)| key.clone());
        self.outputs.push_back(Output::Forget { seq, key, happened });
        if let Some((key, until)) = kept {
            self.keep_key(now, key, until);
        }
    }

    /// Forgets half of the settled alerts early, those first that would be forgotten first anyway, unless they are few:
    /// the disk has no room for a new one, which is worth more than what is over.
    pub fn make_room(&mut self, now: Now) {
        if self.kept.bytes < FORGET_EARLY_BYTES_MIN {
            return;
        }
        let goal = self.kept.bytes / 2;
        while self.kept.bytes > goal
            && let Some(&(_, seq)) = self.kept.ends.first()
        {
            self.forget(now, seq);
        }
    }

    /// Forgets the settled alerts whose time is over.
    pub(super) fn forget_old(&mut self, now: Now) {
        while let Some((at, seq)) = self.kept.ends.first().copied() {
            if at > now.mono {
                break;
            }
            self.forget(now, seq);
        }
        self.trim(now);
    }

    /// Takes an alert out of every index.
    pub(super) fn remove(&mut self, now: Now, seq: u64) {
        let Some(entry) = self.entries.get(&seq) else { return };
        let messages = entry.record.deliveries.iter().enumerate();
        let messages: Vec<(super::DeliveryId, Option<MessageId>)> = messages
            .map(|(index, delivery)| (super::DeliveryId { seq, index }, delivery.message_id.clone()))
            .collect();
        for (delivery, message_id) in messages {
            match message_id {
                Some(message_id) => self.detach(&message_id, delivery),
                None => self.policy.handle(now, policy::Input::Gone { delivery }),
            }
        }
        self.handovers.forget(seq);
        self.forget_marks(seq);
        self.unheeded.remove(&seq);
        let Some(entry) = self.entries.remove(&seq) else { return };
        if let Some(at) = entry.expires {
            self.expiries.remove(&(at, seq));
        }
        if let Some(at) = entry.delayed_until {
            self.delayed.remove(&(at, seq));
        }
        if let Some(at) = entry.attention_at {
            self.attention.remove(&(at, seq));
        }
        let record = &entry.record;
        if let Some(until) = entry.keep_until {
            self.kept.ends.remove(&(until, seq));
            self.kept.bytes -= entry.bytes;
        } else {
            self.pending.remove(&seq);
            self.pending_bytes -= entry.bytes;
        }
        self.by_id.remove(&record.id, seq);
        if let Some(sequence) = record.alert.sequence.clone() {
            let name = (record.route.clone(), sequence);
            if let Some(same) = self.by_sequence.get_mut(&name) {
                same.remove(&seq);
                if same.is_empty() {
                    self.by_sequence.remove(&name);
                }
            }
        }
        if let Some(key) = &record.alert.key {
            let key = (record.route.clone(), key.clone());
            if self.by_key.get(&key) == Some(&seq) {
                self.by_key.remove(&key);
            }
        }
        for delivery in &record.deliveries {
            self.counts[delivery.step as usize] -= 1;
        }
        self.dirty.remove(&seq);
        self.changed.remove(&seq);
    }
}
