//! How an alert gets in: new, as a duplicate, or from the disk after a restart.

use std::collections::BTreeSet;

use super::keys::Fingerprint;
use super::record::{AlertRecord, Delivery, MessageId, Step};
use super::{Now, Outbox};
use crate::alert::{Alert, Recipient, RouteName, SessionName};

/// What the shell hands over: the alert, where it goes, and the ids, which are random and so are chosen outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptRequest {
    pub route: RouteName,
    pub session: SessionName,
    /// At least one; each with the message id that this delivery keeps for all time.
    pub to: Vec<(Recipient, MessageId)>,
    pub alert: Alert,
    /// What senders and people call it: 12 characters.
    pub alert_id: String,
}

/// An alert that is in the outbox, but perhaps not yet on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// For a new alert: make this durable, then report [`Input::Durable`](super::Input::Durable) with its `seq`.
    /// For a duplicate: the first one as it now stands; there is nothing to write.
    pub record: AlertRecord,
    /// The key was seen on this route within the day.
    pub duplicate: bool,
    /// False for a new alert, and for a duplicate whose first is still being written: its sender must not be told
    /// anything before the shell has reported on that `seq` either, and is refused with it if the disk refuses.
    pub durable: bool,
    /// For a duplicate whose first is forgotten: how far that had come. The record then has that one's number, id and time,
    /// the text that was handed over now, and no deliveries.
    pub forgotten: Option<Step>,
}

/// The outbox takes no more. Nothing was kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the outbox is full: {pending} alerts ({pending_bytes} bytes) wait to be sent; \
     see what holds them up with `tautline status`"
)]
pub struct OutboxFull {
    pub pending: usize,
    pub pending_bytes: usize,
}

impl Outbox {
    /// Takes an alert in, or finds that it is here already. It is sent only after
    /// [`Input::Durable`](super::Input::Durable).
    ///
    /// # Errors
    /// Too many alerts, or too many bytes of them, wait to be sent. A duplicate is answered even then.
    pub fn accept(&mut self, now: Now, request: AcceptRequest) -> Result<Accepted, OutboxFull> {
        if let Some(first) = self.duplicate_of(now, &request) {
            return Ok(first);
        }
        if let Some(full) = self.full() {
            return Err(full);
        }
        let deliveries = request.to.into_iter().map(|(recipient, message_id)| Delivery {
            recipient,
            message_id,
            step: Step::Accepted,
            since: now.wall,
            attempts: 0,
            note: String::new(),
        });
        let record = AlertRecord {
            seq: self.seq_next,
            id: request.alert_id,
            route: request.route,
            session: request.session,
            accepted_at: now.wall,
            alert: request.alert,
            deliveries: deliveries.collect(),
        };
        self.insert(now, record.clone(), false);
        Ok(Accepted {
            record,
            duplicate: false,
            durable: false,
            forgotten: None,
        })
    }

    /// Brings back what the disk holds, once, before anything else. Deliveries that were not acked go out again under
    /// their old message ids; numbers go on above the highest.
    pub fn restore(&mut self, now: Now, records: impl Iterator<Item = AlertRecord>) {
        let mut records: Vec<AlertRecord> = records.collect();
        // In order, so that of two with one key the first keeps it.
        records.sort_by_key(|record| record.seq);
        for record in records {
            self.remove(record.seq);
            self.insert(now, record, true);
        }
        self.expire(now);
    }

    /// Drops deliveries of waiting alerts that go where an earlier one of the same alert goes: who is who may have become
    /// known only since the alert was accepted, as before pairing. `one_name` gives one name for all that mean the same.
    /// An alert of which something was tried already stays as it is.
    pub fn unify(&mut self, now: Now, session: &SessionName, one_name: impl Fn(&Recipient) -> Recipient) {
        let untried = |delivery: &Delivery| delivery.step == Step::Accepted && delivery.attempts == 0;
        let waiting: Vec<u64> = self.pending.iter().copied().collect();
        for seq in waiting {
            let Some(entry) = self.entries.get(&seq) else { continue };
            let deliveries = &entry.record.deliveries;
            if entry.record.session != *session || deliveries.len() < 2 || !deliveries.iter().all(untried) {
                continue;
            }
            let mut names = BTreeSet::new();
            let mut record = entry.record.clone();
            record
                .deliveries
                .retain(|delivery| names.insert(one_name(&delivery.recipient)));
            if record.deliveries.len() == entry.record.deliveries.len() {
                continue;
            }
            let durable = entry.durable;
            let happened = self.dirty.remove(&seq).unwrap_or_default();
            self.remove(seq);
            self.insert(now, record, durable);
            self.dirty.insert(seq, happened);
        }
    }

    /// Numbers up to `seq` are taken, also where no alert was brought back for them: the disk holds something that could
    /// not be read.
    pub fn skip_to(&mut self, seq: u64) {
        self.seq_next = self.seq_next.max(seq.saturating_add(1));
    }

    fn duplicate_of(&self, now: Now, request: &AcceptRequest) -> Option<Accepted> {
        let key = (request.route.clone(), request.alert.key.clone()?);
        let first = self.by_key.get(&key).and_then(|seq| self.entries.get(seq));
        let first =
            first.filter(|first| first.dedup_until.is_some_and(|until| until > now.mono) && first.holds_its_key());
        if let Some(first) = first {
            return Some(Accepted {
                record: first.record.clone(),
                duplicate: true,
                durable: first.durable,
                forgotten: None,
            });
        }
        let first = self.keys.find(now, Fingerprint::of(&key.0, &key.1))?;
        Some(Accepted {
            record: AlertRecord {
                seq: first.seq,
                id: first.id,
                route: request.route.clone(),
                session: request.session.clone(),
                accepted_at: first.accepted_at,
                alert: request.alert.clone(),
                deliveries: Vec::new(),
            },
            duplicate: true,
            durable: true,
            forgotten: Some(first.step),
        })
    }

    /// Whether the next new alert is refused. Its own size does not count, so that health and every sender are told the
    /// same; the bound in bytes can be passed by one alert.
    pub fn full(&self) -> Option<OutboxFull> {
        let full = self.pending.len() >= self.limits.pending_max || self.pending_bytes >= self.limits.pending_bytes_max;
        full.then_some(OutboxFull {
            pending: self.pending.len(),
            pending_bytes: self.pending_bytes,
        })
    }
}
