//! What is kept of an alert while it is here, and the order in which settled ones are forgotten.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Now;
use super::age::CLOCK_UNSET_BEFORE;
use super::record::{AlertRecord, Step, Timestamp};

/// One alert with what only this process knows of it.
#[derive(Debug)]
pub(super) struct Entry {
    pub record: AlertRecord,
    pub durable: bool,
    /// It is from before this start: what has a message may have gone out.
    pub restored: bool,
    /// Rough size in memory, for the byte limits.
    pub bytes: usize,
    /// Until then its key makes a second alert a duplicate.
    pub dedup_until: Option<Instant>,
    /// Settled: until then it is kept. `None` while something is still to be sent.
    pub keep_until: Option<Instant>,
    /// From then on it is late.
    pub late_at: Option<Instant>,
    /// When its time to live is over, while that is watched.
    pub expires: Option<Instant>,
    /// Until then it waits, because its sender wants it so.
    pub delayed_until: Option<Instant>,
    /// When something is due because nobody has acknowledged it.
    pub attention_at: Option<Instant>,
}

/// The settled alerts, by the end of their time: in the order in which they are forgotten.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub ends: BTreeSet<(Instant, u64)>,
    pub bytes: usize,
}

/// The end of a span that began at a wall-clock `start`, on the monotonic clock, so that a clock set later does not
/// move it. An age that cannot be known counts as none: an alert that is kept too long does no harm. Of keys that is
/// not so: see [`Ages`](super::age::Ages).
pub(super) fn ends(now: Now, start: Timestamp, span: Duration) -> Instant {
    let age = if start < CLOCK_UNSET_BEFORE {
        0
    } else {
        now.wall.0.saturating_sub(start.0)
    };
    now.mono + span.saturating_sub(Duration::from_millis(age))
}

/// Text and names, and a flat sum for the structures around them.
pub(super) fn size_of(record: &AlertRecord) -> usize {
    const RECORD: usize = 600;
    const DELIVERY: usize = 300;
    const ATTACHMENT: usize = 160;
    let alert = &record.alert;
    let tags: usize = alert.tags.iter().map(|tag| tag.len() + 24).sum();
    let options = alert.click.as_ref().map_or(0, String::len) + alert.key.as_ref().map_or(0, String::len) * 2;
    let named = alert
        .sequence
        .iter()
        .chain(&alert.sender)
        .map(String::len)
        .sum::<usize>();
    let labels: usize = alert
        .labels
        .iter()
        .map(|(name, value)| name.len() + value.len() + 64)
        .sum();
    let names = alert.attachments.iter().map(|file| file.name.len() + file.mime.len());
    let attachments: usize = names.map(|names| names + ATTACHMENT).sum();
    RECORD
        + attachments
        + named
        + labels
        + alert.text.len()
        + alert.title.len()
        + tags
        + options
        + DELIVERY * record.deliveries.len()
}

impl Entry {
    /// An alert that reached nobody must not make its sender's next try a duplicate.
    pub(super) fn holds_its_key(&self) -> bool {
        self.record
            .deliveries
            .iter()
            .any(|delivery| !delivery.step.is_given_up() || delivery.step == Step::Superseded)
    }
}
