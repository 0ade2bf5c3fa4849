//! How much is logged about files that are no alerts: anybody may write such.

use std::time::{Duration, Instant};

/// Lines that are told within [`PERIOD`]; the rest is summed up.
const LINES_MAX: usize = 10;

/// How long they count.
const PERIOD: Duration = Duration::from_secs(60);

/// How much was logged about files that are no alerts.
pub(super) struct Lines {
    since: Instant,
    told: usize,
    pub(super) untold: usize,
}

impl Lines {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            told: 0,
            untold: 0,
        }
    }

    /// Whether one more may be told; if not, it is counted.
    pub(super) fn may_tell(&mut self) -> bool {
        let may = self.told < LINES_MAX;
        match may {
            true => self.told += 1,
            false => self.untold += 1,
        }
        may
    }

    /// When the time is over: how many were not told, and it begins anew.
    pub(super) fn sum(&mut self, now: Instant) -> usize {
        if now.saturating_duration_since(self.since) < PERIOD {
            return 0;
        }
        std::mem::replace(self, Self::new(now)).untold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_about_rubbish_are_few_and_the_rest_is_counted() {
        let start = Instant::now();
        let mut lines = Lines::new(start);
        let told = (0..1000).filter(|_| lines.may_tell()).count();
        assert_eq!((told, lines.sum(start + PERIOD / 2)), (LINES_MAX, 0));
        assert_eq!(lines.sum(start + PERIOD), 1000 - LINES_MAX);
        assert!(lines.may_tell());
        assert_eq!(lines.sum(start + PERIOD * 2), 0);
    }
}
