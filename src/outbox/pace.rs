//! How fast the messages of a route may follow each other.

use std::time::{Duration, Instant};

/// Messages of a route, to all of its recipients together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// At least one.
    pub per_minute: u32,
    /// How many may go at once after a pause; at least one.
    pub burst: u32,
}

impl Pace {
    fn apart(self) -> Duration {
        Duration::from_secs(60) / self.per_minute.max(1)
    }
}

/// What has gone out of a route lately.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// When the next one would be due if they went evenly.
    next: Option<Instant>,
}

impl Gone {
    /// One goes out.
    pub fn take(&mut self, pace: Pace, at: Instant) {
        let next = self.next.map_or(at, |next| next.max(at));
        self.next = Some(next + pace.apart());
    }

    /// When one may go, where that is not now.
    pub fn free_at(&self, pace: Pace, now: Instant) -> Option<Instant> {
        let saved = pace.apart() * pace.burst.saturating_sub(1);
        let at = self.next?.checked_sub(saved)?;
        (at > now).then_some(at)
    }

    /// How many may go now.
    pub fn free(&self, pace: Pace, now: Instant) -> u32 {
        let owed = self
            .next
            .map_or(Duration::ZERO, |next| next.saturating_duration_since(now));
        let used = owed.as_nanos().div_ceil(pace.apart().as_nanos().max(1));
        pace.burst.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX))
    }
}
