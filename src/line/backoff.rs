//! Pauses between attempts, and the brake that keeps a fault from becoming a storm.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::RedialSchedule;

const HOUR: Duration = Duration::from_secs(3600);

/// Doubles from `first` to `max` with ±20 % of jitter. Only [`proved_useful`](Self::proved_useful) starts it over: a
/// connection, even a login, is no proof.
#[derive(Debug)]
pub(super) struct Backoff {
    schedule: RedialSchedule,
    failures: u32,
    /// When the last attempts began, oldest first; at most `per_hour_max`.
    attempts: VecDeque<Instant>,
    random: u64,
}

impl Backoff {
    pub(super) fn new(schedule: RedialSchedule, seed: u64) -> Self {
        // The generator below has one fixed point, zero.
        Self {
            schedule,
            failures: 0,
            attempts: VecDeque::new(),
            random: seed | 1,
        }
    }

    pub(super) fn proved_useful(&mut self) {
        self.failures = 0;
    }

    pub(super) fn attempt(&mut self, now: Instant) {
        if self.attempts.len() >= self.schedule.per_hour_max as usize {
            self.attempts.pop_front();
        }
        self.attempts.push_back(now);
    }

    /// The pause before the next attempt after one more failure.
    pub(super) fn next_pause(&mut self) -> Duration {
        let doubled = self.schedule.first.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        self.jitter(doubled.min(self.schedule.max))
    }

    /// The longest pause, for a server that asked to be left alone.
    pub(super) fn long_pause(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.jitter(self.schedule.max)
    }

    /// The earliest instant that the storm brake allows, not before `at`.
    pub(super) fn braked(&self, at: Instant) -> Instant {
        match self.attempts.front() {
            Some(oldest) if self.attempts.len() >= self.schedule.per_hour_max as usize => at.max(*oldest + HOUR),
            _ => at,
        }
    }

    /// xorshift64: enough to keep a fleet from redialling in step.
    fn jitter(&mut self, pause: Duration) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let share = (self.random >> 40) as f64 / f64::from(1u32 << 24);
        pause.mul_f64(0.8 + 0.4 * share)
    }
}
