//! Pauses between attempts, and the brake that keeps a fault from becoming a storm.

use std::time::{Duration, Instant};

use super::RedialSchedule;
use crate::util::Random;

const HOUR: Duration = Duration::from_secs(3600);

/// Attempts after a change of the path that get the shortest pause: a link that is up is often half a second ahead of
/// its address, its route and its resolver, and not all of these are announced.
const EAGER_ATTEMPTS: u32 = 5;

/// Doubles from `first` to `max` with ±20 % of jitter. Only [`proved_useful`](Self::proved_useful) starts it over: a
/// connection, even a login, is no proof.
#[derive(Debug)]
pub struct Backoff {
    schedule: RedialSchedule,
    failures: u32,
    eager: u32,
    /// `None`: there was none yet.
    last_attempt: Option<Instant>,
    brake: Brake,
    random: Random,
}

impl Backoff {
    /// Without an attempt so far.
    pub fn new(schedule: RedialSchedule, seed: u64) -> Self {
        Self {
            schedule,
            failures: 0,
            eager: 0,
            last_attempt: None,
            brake: Brake::new(schedule.per_hour_max),
            random: Random::new(seed),
        }
    }

    /// Failures in a row, none of which was useful.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The last attempt was of use: the next pause is the first again.
    pub fn proved_useful(&mut self) {
        self.failures = 0;
        self.eager = 0;
    }

    /// The path is another one: what failed before says little about it.
    pub fn path_changed(&mut self) {
        self.eager = EAGER_ATTEMPTS;
    }

    /// There is an attempt now, for the brake.
    pub fn attempt(&mut self, now: Instant) {
        self.last_attempt = Some(now);
        self.brake.attempt(now);
    }

    /// The pause before the next attempt after one more failure.
    pub fn next_pause(&mut self) -> Duration {
        let doubled = self.schedule.first.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        if self.eager > 0 {
            self.eager -= 1;
            return self.jitter(self.schedule.first);
        }
        self.jitter(doubled.min(self.schedule.max))
    }

    /// The longest pause, for a server that asked to be left alone.
    pub fn long_pause(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.jitter(self.schedule.max)
    }

    /// The longest pause, for an attempt that could not succeed: it is not held against the path.
    pub fn free_pause(&mut self) -> Duration {
        self.jitter(self.schedule.max)
    }

    /// When a pause may be cut short: at once, but a change every few milliseconds must not use the brake up.
    pub fn cut_short(&self, now: Instant) -> Instant {
        self.last_attempt.map_or(now, |at| now.max(at + self.schedule.first))
    }

    /// The earliest instant that the storm brake allows, not before `at`.
    pub fn braked(&self, at: Instant) -> Instant {
        self.brake.allowed(at)
    }

    fn jitter(&mut self, pause: Duration) -> Duration {
        self.random.between(pause.mul_f64(0.8), pause.mul_f64(1.2))
    }
}

/// Never more than `per_hour_max` attempts in any hour: a fifth of them in a burst, the others evenly spread. A plain
/// count over the last hour would keep that promise too, but a burst would then be followed by an hour of silence, and
/// silence is what this program must not do.
#[derive(Debug)]
struct Brake {
    spacing: Duration,
    /// How far the schedule of evenly spread attempts may run ahead of now.
    burst: Duration,
    /// When an attempt would be due if all were evenly spread; `None`: there was none yet.
    even: Option<Instant>,
}

impl Brake {
    fn new(per_hour_max: u32) -> Self {
        let burst = (per_hour_max / 5).max(1);
        let spacing = HOUR / per_hour_max.saturating_sub(burst).max(1);
        Self {
            spacing,
            burst: spacing * (burst - 1),
            even: None,
        }
    }

    fn attempt(&mut self, now: Instant) {
        self.even = Some(self.even.map_or(now, |even| even.max(now)) + self.spacing);
    }

    fn allowed(&self, at: Instant) -> Instant {
        self.even
            .and_then(|even| even.checked_sub(self.burst))
            .map_or(at, |allowed| allowed.max(at))
    }
}
