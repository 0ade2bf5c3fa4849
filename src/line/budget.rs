//! All layers together never send more than the board's budget, whatever happens to lines in between.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Schedule;

const HOUR: Duration = Duration::from_secs(3600);

/// Application pings are never refused, because detection stands on them; they are spaced instead, also from one line to
/// the next. What is left of the hour is for everything else.
#[derive(Debug)]
pub(super) struct Budget {
    ping_spacing: Duration,
    last_ping: Option<Instant>,
    extras_max: usize,
    /// When the others went out in the last hour, oldest first; at most `extras_max`.
    extras: VecDeque<Instant>,
}

impl Budget {
    pub(super) fn new(schedule: &Schedule) -> Self {
        let ping_spacing = schedule.application.ping_min.max(Duration::from_secs(1));
        // One more than fit: an hour that begins and ends with a ping.
        let pings = HOUR.as_millis().div_ceil(ping_spacing.as_millis()) + 1;
        let extras_max = u128::from(schedule.budget_per_hour).saturating_sub(pings).max(1);
        Self {
            ping_spacing,
            last_ping: None,
            extras_max: usize::try_from(extras_max).unwrap_or(usize::MAX),
            extras: VecDeque::new(),
        }
    }

    /// When the next ping may go, not before `at`.
    pub(super) fn ping_at(&self, at: Instant) -> Instant {
        self.last_ping.map_or(at, |last| at.max(last + self.ping_spacing))
    }

    pub(super) fn pinged(&mut self, now: Instant) {
        self.last_ping = Some(now);
    }

    /// Takes one message from the budget.
    ///
    /// # Errors
    /// There is none left; the instant at which there will be.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        while self
            .extras
            .front()
            .is_some_and(|oldest| now.saturating_duration_since(*oldest) > HOUR)
        {
            self.extras.pop_front();
        }
        match self.extras.front() {
            Some(oldest) if self.extras.len() >= self.extras_max => Err(*oldest + HOUR + Duration::from_millis(1)),
            _ => {
                self.extras.push_back(now);
                Ok(())
            }
        }
    }
}
