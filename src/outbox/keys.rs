//! The keys of alerts that are forgotten. Such a key makes a second alert with it a duplicate for the rest of its day.

use std::collections::BTreeMap;
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::record::{AlertRecord, Step, Timestamp};
use super::{Now, Outbox, Output};
use crate::alert::RouteName;

const FINGERPRINT_BYTES: usize = 16;

/// Stands for a key on its route, however long both are. A cryptographic hash, because two keys that were taken for one
/// would cost an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; FINGERPRINT_BYTES]);

impl Fingerprint {
    pub fn of(route: &RouteName, key: &str) -> Self {
        // A zero ends the route: no route's name has one.
        let digest = Sha256::new()
            .chain_update(route.as_str())
            .chain_update([0])
            .chain_update(key)
            .finalize();
        let mut first = [0; FINGERPRINT_BYTES];
        first.copy_from_slice(&digest[..FINGERPRINT_BYTES]);
        Self(first)
    }
}

/// What stays of a forgotten alert whose key still counts: enough to answer its sender's next try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The alert's own number.
    pub seq: u64,
    pub fingerprint: Fingerprint,
    /// The alert's id, as senders know it.
    pub id: String,
    pub accepted_at: Timestamp,
    /// How far the alert had come.
    pub step: Step,
}

/// The keys that still count, by the order of acceptance. That is the order in which they end too, but for a clock that
/// was set in between; a key that has ended is not asked for its place.
#[derive(Debug, Default)]
pub(super) struct Keys {
    by_seq: BTreeMap<u64, Held>,
    by_fingerprint: BTreeMap<Fingerprint, u64>,
}

#[derive(Debug)]
struct Held {
    fingerprint: Fingerprint,
    id: Box<str>,
    accepted_at: Timestamp,
    step: Step,
    until: Instant,
}

impl Keys {
    fn insert(&mut self, key: KeyRecord, until: Instant) {
        let KeyRecord {
            seq,
            fingerprint,
            id,
            accepted_at,
            step,
        } = key;
        let held = Held {
            fingerprint,
            id: id.into(),
            accepted_at,
            step,
            until,
        };
        self.remove(seq);
        self.by_fingerprint.insert(fingerprint, seq);
        self.by_seq.insert(seq, held);
    }

    fn remove(&mut self, seq: u64) {
        let Some(held) = self.by_seq.remove(&seq) else { return };
        if self.by_fingerprint.get(&held.fingerprint) == Some(&seq) {
            self.by_fingerprint.remove(&held.fingerprint);
        }
    }

    /// The forgotten alert whose key this is, while that counts.
    pub(super) fn find(&self, now: Now, fingerprint: Fingerprint) -> Option<KeyRecord> {
        let seq = *self.by_fingerprint.get(&fingerprint)?;
        let held = self.by_seq.get(&seq).filter(|held| held.until > now.mono)?;
        Some(KeyRecord {
            seq,
            fingerprint,
            id: held.id.to_string(),
            accepted_at: held.accepted_at,
            step: held.step,
        })
    }
}

impl Outbox {
    /// Brings back the keys that the disk holds, before [`restore`](Self::restore). Numbers go on above the highest.
    pub fn restore_keys(&mut self, now: Now, keys: impl Iterator<Item = KeyRecord>) {
        let dedup = self.limits.dedup;
        for key in keys {
            self.skip_to(key.seq);
            let until = self.ages.ends(now, key.seq, key.accepted_at, dedup);
            self.keys.insert(key, until);
        }
        self.trim_keys(now);
    }

    /// What is to be kept of an alert that is about to be forgotten. `None` where its key does not count.
    pub(super) fn key_of(&self, now: Now, seq: u64) -> Option<(KeyRecord, Instant)> {
        let entry = self.entries.get(&seq)?;
        let AlertRecord { route, alert, .. } = &entry.record;
        let key = alert.key.as_ref()?;
        let until = entry.dedup_until.filter(|until| *until > now.mono)?;
        let holder = self.by_key.get(&(route.clone(), key.clone()));
        let kept = KeyRecord {
            seq,
            fingerprint: Fingerprint::of(route, key),
            id: entry.record.id.clone(),
            accepted_at: entry.record.accepted_at,
            step: entry.record.step(),
        };
        (holder == Some(&seq) && entry.holds_its_key()).then_some((kept, until))
    }

    pub(super) fn keep_key(&mut self, now: Now, key: KeyRecord, until: Instant) {
        self.keys.insert(key, until);
        self.trim_keys(now);
    }

    /// Ends the keys whose day is over, and the oldest that are too many.
    fn trim_keys(&mut self, now: Now) {
        while let Some((&seq, held)) = self.keys.by_seq.first_key_value() {
            if held.until > now.mono && self.keys.by_seq.len() <= self.limits.keys_max {
                return;
            }
            self.keys.remove(seq);
            self.outputs.push_back(Output::ForgetKey { seq });
        }
    }

    /// Whether `id` is that of an alert of which nothing but its key is left. Looks through all of them.
    pub fn is_forgotten(&self, id: &str) -> bool {
        self.keys.by_seq.values().any(|held| &*held.id == id)
    }
}
