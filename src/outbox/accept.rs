//! How an alert gets in: new, as a duplicate, or from the disk after a restart.

use std::collections::BTreeSet;

use super::entry::Entry;
use super::keys::{Fingerprint, KeyRecord};
use super::policy::Arrival;
use super::record::{AlertRecord, Attention, Delivery, Follows, Form, Step};
use super::{Now, Outbox};
use crate::alert::{Alert, Recipient, RouteName, SessionName, render};

/// What the shell hands over: the alerts of one request, and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptRequest {
    pub route: RouteName,
    pub session: SessionName,
    /// At least one.
    pub to: Vec<Recipient>,
    /// In the order in which they are to go out.
    pub alerts: Vec<NewAlert>,
}

/// An alert with its name, which is random and so is chosen outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAlert {
    /// What senders and people call it: 12 characters.
    pub id: String,
    pub alert: Alert,
    /// The alert that it says again.
    pub follows: Option<Follows>,
}

/// What has become of one alert of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// It is in the outbox and not yet on the disk: write its [`record`](Outbox::record), in one transaction with the
    /// others that are new, then report [`Input::Durable`](super::Input::Durable) or
    /// [`Input::NotDurable`](super::Input::NotDurable) for each.
    New { seq: u64 },
    /// Its key was seen on this route within the day, and `seq` is the first alert with it: there is nothing to write.
    /// With `durable` false that one is still being written. Then the sender must not be told anything before the shell
    /// has reported on `seq`, and is refused if the disk refuses.
    Duplicate { seq: u64, durable: bool },
    /// A duplicate as well, of an alert that is forgotten: what is left of that one, and the alert that was handed over
    /// now.
    Forgotten { first: KeyRecord, alert: Box<Alert> },
}

impl Accepted {
    /// The number of an alert that is new, and so is to be written.
    pub fn new_seq(&self) -> Option<u64> {
        match self {
            Self::New { seq } => Some(*seq),
            Self::Duplicate { .. } | Self::Forgotten { .. } => None,
        }
    }
}

/// The first alert with a key.
enum First {
    Kept { seq: u64, durable: bool },
    Forgotten(KeyRecord),
}

/// The outbox takes no more. Nothing was kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.words())]
pub struct OutboxFull {
    pub pending: usize,
    pub pending_bytes: usize,
    /// Only what is to wait for its own time is refused.
    pub delayed: bool,
}

impl OutboxFull {
    fn words(&self) -> String {
        let Self {
            pending, pending_bytes, ..
        } = self;
        match self.delayed {
            true => "as many alerts as may wait for their own time do; without a delay it is taken".to_owned(),
            false => format!(
                "the outbox is full: {pending} alerts ({pending_bytes} bytes) wait to be sent; \
                 see what holds them up with `tautline status`"
            ),
        }
    }
}

impl Outbox {
    /// Takes all alerts of a request in, or none; those that are here already are found. An answer for each, in their
    /// order. They are sent only after [`Input::Durable`](super::Input::Durable).
    ///
    /// # Errors
    /// Too many alerts, or too many bytes of them, wait to be sent. Where all are duplicates they are answered even
    /// then.
    pub fn accept(&mut self, now: Now, request: AcceptRequest) -> Result<Vec<Accepted>, OutboxFull> {
        let AcceptRequest {
            route,
            session,
            to,
            alerts,
        } = request;
        let mut accepted = Vec::with_capacity(alerts.len());
        for NewAlert { id, mut alert, follows } in alerts {
            // The first may be of this very request.
            match self.find_first(now, &route, &alert) {
                Some(First::Kept { seq, durable }) => {
                    accepted.push(Accepted::Duplicate { seq, durable });
                    continue;
                }
                Some(First::Forgotten(first)) => {
                    let alert = Box::new(alert);
                    accepted.push(Accepted::Forgotten { first, alert });
                    continue;
                }
                None => {}
            }
            let delayed = alert.delay.is_some() && self.has_enough_delayed();
            if delayed || self.full().is_some() {
                for seq in accepted.iter().filter_map(Accepted::new_seq) {
                    self.remove(now, seq);
                }
                return Err(self.full().unwrap_or(OutboxFull {
                    delayed,
                    ..self.room_taken()
                }));
            }
            let seq = self.seq_next;
            let delay = alert.delay.take();
            let parts = 0..render::parts(&alert);
            let each = to
                .iter()
                .flat_map(|recipient| parts.clone().map(move |part| (recipient, part)));
            let deliveries = each.map(|(recipient, part)| Delivery {
                recipient: recipient.clone(),
                part,
                message_id: None,
                made_at: None,
                form: Form::Whole,
                step: Step::Accepted,
                since: now.wall,
                attempts: 0,
                late: false,
                note: String::new(),
                mark: None,
                quotes: None,
            });
            // Without it the list would have room for four: with ten thousand alerts that is 2 MB.
            let deliveries = Vec::from_iter(deliveries).into_boxed_slice().into_vec();
            let mut record = AlertRecord {
                seq,
                id,
                route: route.clone(),
                session: session.clone(),
                accepted_at: now.wall,
                ttl: self.rules.ttl(&route, alert.ttl),
                delay,
                lasted: self.lasted(now, &route, &alert),
                attention: Attention {
                    watched: self.rules.watches(&route, &alert, follows.as_ref()),
                    follows,
                    ..Attention::default()
                },
                alert,
                deliveries,
                handovers: Vec::new(),
                flap: None,
            };
            record.flap = self.flap(&record);
            // The policy hears of what is to go later when its time has come.
            let at_once = if delay.is_none() { record.deliveries.len() } else { 0 };
            for index in 0..at_once {
                match self.policy.arrive(now, &record, index) {
                    Arrival::AtOnce => {
                        let quotes = match record.deliveries[index].part {
                            0 => self.first_told(&route, &record.alert, seq, &record.deliveries[index].recipient),
                            _ => None,
                        };
                        let delivery = &mut record.deliveries[index];
                        delivery.quotes = quotes;
                        delivery.message_id = Some((self.draw_id.0)(seq, &delivery.recipient));
                    }
                    Arrival::Later => {}
                }
            }
            self.insert(now, record, false);
            accepted.push(Accepted::New { seq });
        }
        Ok(accepted)
    }

    /// The alert numbered `seq` as it is to be written, also before it is durable. Nobody but the disk is to see that.
    pub fn record(&self, seq: u64) -> Option<&AlertRecord> {
        self.entries.get(&seq).map(|entry| &entry.record)
    }

    /// An alert that is still being written and has one of `keys`: what a second one with the key is, shows when the
    /// shell has reported on it.
    pub fn undecided<'a>(&self, now: Now, route: &RouteName, keys: impl Iterator<Item = &'a str>) -> Option<u64> {
        keys.filter_map(|key| self.kept_first(now, route, key))
            .find(|first| !first.durable)
            .map(|first| first.record.seq)
    }

    /// Brings back what the disk holds, once, before anything else. Deliveries that were not acked go out again under
    /// their old message ids; numbers go on above the highest.
    pub fn restore(&mut self, now: Now, records: impl Iterator<Item = AlertRecord>) {
        let mut records: Vec<AlertRecord> = records.collect();
        // In order, so that of two with one key the first keeps it.
        records.sort_by_key(|record| record.seq);
        for record in records {
            let seq = record.seq;
            self.remove(now, seq);
            self.insert(now, record, true);
            if let Some(entry) = self.entries.get_mut(&seq) {
                entry.restored = true;
            }
        }
        let follow_ups = self
            .entries
            .values()
            .filter(|entry| entry.record.attention.follows.is_some());
        for seq in follow_ups.map(|entry| entry.record.seq).collect::<Vec<_>>() {
            self.on_follow_up_durable(now, seq);
        }
        self.supersede_all(now);
        self.make_messages(now);
        self.forget_old(now);
    }

    /// Drops deliveries of waiting alerts that go where an earlier one of the same alert goes: who is who may have
    /// become known only since the alert was accepted, as before pairing. `one_name` gives one name for all that mean
    /// the same. An alert of which something was tried already stays as it is.
    pub fn unify(&mut self, now: Now, session: &SessionName, one_name: impl Fn(&Recipient) -> Recipient) {
        let untried = |delivery: &Delivery| delivery.step == Step::Accepted && delivery.attempts == 0;
        let waiting: Vec<u64> = self.pending.iter().copied().collect();
        for seq in waiting {
            let Some(entry) = self.entries.get(&seq) else { continue };
            let deliveries = &entry.record.deliveries;
            if entry.record.session != *session || deliveries.len() < 2 || !deliveries.iter().all(untried) {
                continue;
            }
            // The disk is about to say that a message carries it.
            let made = |delivery: &Delivery| {
                delivery
                    .message_id
                    .as_ref()
                    .is_some_and(|id| self.unwritten.contains_key(id))
            };
            if deliveries.iter().any(made) {
                continue;
            }
            let mut names = BTreeSet::new();
            let mut record = entry.record.clone();
            record
                .deliveries
                .retain(|delivery| names.insert((one_name(&delivery.recipient), delivery.part)));
            if record.deliveries.len() == entry.record.deliveries.len() {
                continue;
            }
            let (durable, restored) = (entry.durable, entry.restored);
            let dirty = self.dirty.remove(&seq).unwrap_or_default();
            self.remove(now, seq);
            self.insert(now, record, durable);
            if let Some(entry) = self.entries.get_mut(&seq) {
                entry.restored = restored;
            }
            self.dirty.insert(seq, dirty);
        }
        self.make_messages(now);
    }

    /// Numbers up to `seq` are taken, also where no alert was brought back for them: the disk holds something that
    /// could not be read.
    pub fn skip_to(&mut self, seq: u64) {
        self.seq_next = self.seq_next.max(seq.saturating_add(1));
    }

    /// The first alert with the key of this one, while it counts.
    fn find_first(&self, now: Now, route: &RouteName, alert: &Alert) -> Option<First> {
        let key = alert.key.as_deref()?;
        if let Some(first) = self.kept_first(now, route, key) {
            return Some(First::Kept {
                seq: first.record.seq,
                durable: first.durable,
            });
        }
        let first = self.keys.find(now, Fingerprint::of(route, key));
        first.map(First::Forgotten)
    }

    fn kept_first(&self, now: Now, route: &RouteName, key: &str) -> Option<&Entry> {
        let first = self.by_key.get(&(route.clone(), key.to_owned()));
        let first = first.and_then(|seq| self.entries.get(seq)).map(Box::as_ref);
        first.filter(|first| first.dedup_until.is_some_and(|until| until > now.mono) && first.holds_its_key())
    }

    /// Whether the next new alert is refused. Its own size does not count, so that health and every sender are told the
    /// same; the bound in bytes can be passed by one alert.
    pub fn full(&self) -> Option<OutboxFull> {
        let full = self.pending.len() >= self.limits.pending_max || self.pending_bytes >= self.limits.pending_bytes_max;
        full.then(|| self.room_taken())
    }

    fn room_taken(&self) -> OutboxFull {
        OutboxFull {
            pending: self.pending.len(),
            pending_bytes: self.pending_bytes,
            delayed: false,
        }
    }
}
