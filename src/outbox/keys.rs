//! The keys of alerts that are forgotten. Such a key makes a second alert with it a duplicate for the rest of its day.

use std::collections::BTreeMap;
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::Now;
use super::record::{Step, Timestamp};
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
    pub(super) fn insert(&mut self, key: KeyRecord, until: Instant) {
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

    /// Takes the oldest key out that has ended, or is one too many, and returns its number.
    pub(super) fn pop_over(&mut self, now: Now, max: usize) -> Option<u64> {
        let (&seq, held) = self.by_seq.first_key_value()?;
        if held.until > now.mono && self.by_seq.len() <= max {
            return None;
        }
        self.remove(seq);
        Some(seq)
    }

    /// Whether one of them is of the alert `id`. Looks through all of them.
    pub(super) fn has(&self, id: &str) -> bool {
        self.by_seq.values().any(|held| &*held.id == id)
    }
}
