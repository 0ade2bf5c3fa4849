//! Acks that we owe the server. A stanza that is never acked makes it end the line on a metronome of 50 minutes,
//! although every ping is answered; so a debt is found and named long before that.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// An ack goes out within milliseconds, a receipt once the message is on disk. After this it has been forgotten.
pub const OWED_AFTER: Duration = Duration::from_secs(60);

/// Debts that are watched at once. The server sends more in a flood, but a forgotten ack does not need one to be found.
const WATCHED_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Acks {
    owed: BTreeMap<u64, Owed>,
}

#[derive(Debug)]
struct Owed {
    since: Instant,
    reported: bool,
}

impl Acks {
    pub(super) fn came(&mut self, at: Instant, id: u64) {
        if self.owed.len() < WATCHED_MAX {
            self.owed.entry(id).or_insert(Owed {
                since: at,
                reported: false,
            });
        }
    }

    pub(super) fn acked(&mut self, id: u64) {
        self.owed.remove(&id);
    }

    /// How many are owed, and the oldest one's instant.
    pub(super) fn debts(&self) -> (usize, Option<Instant>) {
        (self.owed.len(), self.owed.values().map(|owed| owed.since).min())
    }

    /// Since when the oldest debt that was reported stands.
    pub(super) fn reported_since(&self) -> Option<Instant> {
        let reported = self.owed.values().filter(|owed| owed.reported);
        reported.map(|owed| owed.since).min()
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        let unreported = self.owed.values().filter(|owed| !owed.reported);
        unreported.map(|owed| owed.since + OWED_AFTER).min()
    }

    /// One debt that is overdue and has not been reported.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<(u64, Duration)> {
        let mut overdue = self.owed.iter_mut();
        let (id, owed) = overdue.find(|(_, owed)| !owed.reported && owed.since + OWED_AFTER <= now)?;
        owed.reported = true;
        Some((*id, now.saturating_duration_since(owed.since)))
    }
}
