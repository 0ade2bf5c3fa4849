//! Who needs which file. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::alert::BlobHash;

#[derive(Default)]
pub(super) struct State {
    files: BTreeMap<BlobHash, Held>,
    /// By the number of the alert.
    records: BTreeMap<u64, Mentions>,
    /// The size of all files, in bytes; and of those that are still written.
    bytes: u64,
    drafts_bytes: u64,
}

#[derive(Default)]
struct Held {
    bytes: u64,
    /// Records that are about to mention it.
    pins: usize,
    /// The alerts whose records do.
    by: BTreeSet<u64>,
}

struct Mentions {
    files: Vec<BlobHash>,
    waits: bool,
}

impl State {
    /// A file is there.
    pub fn found(&mut self, hash: BlobHash, bytes: u64) {
        let held = self.files.entry(hash).or_default();
        self.bytes = self.bytes - held.bytes + bytes;
        held.bytes = bytes;
        // A record may have mentioned it while it was missing.
        let by = self.records.iter().filter(|(_, record)| record.files.contains(&hash));
        held.by.extend(by.map(|(seq, _)| *seq));
    }

    /// False where there is no such file.
    pub fn pin(&mut self, hash: BlobHash) -> bool {
        match self.files.get_mut(&hash) {
            Some(held) => {
                held.pins += 1;
                true
            }
            None => false,
        }
    }

    /// True where nobody needs it any more.
    pub fn unpin(&mut self, hash: BlobHash) -> bool {
        if let Some(held) = self.files.get_mut(&hash) {
            held.pins = held.pins.saturating_sub(1);
        }
        self.is_unused(hash)
    }

    pub fn hold(&mut self, seq: u64, files: impl IntoIterator<Item = BlobHash>, waits: bool) {
        let files: Vec<BlobHash> = files.into_iter().collect();
        if files.is_empty() {
            return;
        }
        for hash in &files {
            if let Some(held) = self.files.get_mut(hash) {
                held.by.insert(seq);
            }
        }
        self.records.insert(seq, Mentions { files, waits });
    }

    pub fn settled(&mut self, seq: u64) {
        if let Some(record) = self.records.get_mut(&seq) {
            record.waits = false;
        }
    }

    /// The files that nobody needs any more.
    pub fn release(&mut self, seq: u64) -> Vec<BlobHash> {
        let Some(record) = self.records.remove(&seq) else {
            return Vec::new();
        };
        for hash in &record.files {
            if let Some(held) = self.files.get_mut(hash) {
                held.by.remove(&seq);
            }
        }
        let mut files = record.files;
        files.retain(|hash| self.is_unused(*hash));
        files
    }

    pub fn unused(&self) -> Vec<BlobHash> {
        let files = self.files.keys().copied();
        files.filter(|hash| self.is_unused(*hash)).collect()
    }

    fn is_unused(&self, hash: BlobHash) -> bool {
        self.files
            .get(&hash)
            .is_some_and(|held| held.pins == 0 && held.by.is_empty())
    }

    /// Whether it can be removed: nothing that waits needs it.
    pub fn may_go(&self, hash: BlobHash) -> bool {
        let waits = |seq: &u64| self.records.get(seq).is_some_and(|record| record.waits);
        self.files
            .get(&hash)
            .is_some_and(|held| held.pins == 0 && !held.by.iter().any(waits))
    }

    /// The files of alerts that are through, those first whose alerts are the oldest.
    pub fn giving_way(&self) -> impl Iterator<Item = BlobHash> + '_ {
        let through = self.records.values().filter(|record| !record.waits);
        let files = through.flat_map(|record| record.files.iter().copied());
        files.filter(|hash| self.may_go(*hash))
    }

    pub fn gone(&mut self, hash: BlobHash) {
        if let Some(held) = self.files.remove(&hash) {
            self.bytes -= held.bytes;
        }
    }

    pub fn claimed(&mut self, bytes: u64) {
        self.drafts_bytes += bytes;
    }

    pub fn unclaimed(&mut self, bytes: u64) {
        self.drafts_bytes = self.drafts_bytes.saturating_sub(bytes);
    }

    pub fn total(&self) -> (u64, usize) {
        (self.bytes + self.drafts_bytes, self.files.len())
    }
}
