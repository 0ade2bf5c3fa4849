//! What becomes of the keys of alerts that are forgotten.

use std::time::Instant;

use super::keys::{Fingerprint, KeyRecord};
use super::record::AlertRecord;
use super::{Now, Outbox, Output};

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
        while let Some(seq) = self.keys.pop_over(now, self.limits.keys_max) {
            self.outputs.push_back(Output::ForgetKey { seq });
        }
    }

    /// Whether `id` is that of an alert of which nothing but its key is left. Looks through all of them.
    pub fn is_forgotten(&self, id: &str) -> bool {
        self.keys.has(id)
    }
}
