//! What three clocks show when they are read together now and then: that the host slept, that the wall clock was set,
//! and whether it can be right at all.
//!
//! `CLOCK_MONOTONIC` stands still while the host sleeps and `CLOCK_BOOTTIME` does not: what one gains on the other is
//! sleep. A clock that NTP slews takes all three along, so what the wall clock gains on `CLOCK_BOOTTIME` is a step.

use std::time::Duration;

use super::HostEvent;

/// A shorter sleep was called off by a driver, and what was open outlives it; the pings find the rest. A reading is
/// exact to well under this.
const SLEPT_MIN: Duration = Duration::from_secs(2);

/// Nothing here is decided by less, and a leap second is no news.
const STEP_MIN_MS: i64 = 1500;

/// How far a clock may be behind the last time on disk and still do: a board without a battery starts at the last time
/// that somebody saved, which may be hours old, and a clock that ran fast is put back. No certificate is that young for
/// long.
const BEHIND_DISK_MAX_MS: i64 = 24 * 3600 * 1000;

/// How long the last time on disk is believed over the clock. It may be the wrong one: a clock that once stood in 2038
/// must not hold the line for ever. Network time comes within a minute or two of the network.
const DISK_BELIEVED: Duration = Duration::from_secs(600);

/// The time on disk is at most about this old.
const KEEP_EVERY: Duration = Duration::from_secs(3600);

/// The clocks, read at one moment. The first two count from some start of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    pub monotonic: Duration,
    pub boottime: Duration,
    /// Unix milliseconds; before 1970 they are negative.
    pub wall_ms: i64,
}

/// Why the wall clock cannot be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unset {
    /// It is before this program was built. That lasts until somebody sets it, or until it gets there by itself.
    BeforeBuild,
    /// It is far before the last time on disk. That is believed for ten minutes, or until somebody sets the clock.
    BeforeDisk,
}

/// Compares each reading with the one before.
#[derive(Debug)]
pub struct ClockMonitor {
    built_ms: i64,
    /// The last time on disk, for as long as it is believed.
    disk_ms: Option<i64>,
    began: Duration,
    last: Reading,
    unset: Option<Unset>,
    /// What is on disk, and when it was put there, if it was by us.
    kept: Option<(i64, Option<Duration>)>,
}

impl ClockMonitor {
    /// `built_ms` is when the program was built, `disk_ms` the last time on disk, if any; both Unix milliseconds.
    pub fn new(first: Reading, built_ms: i64, disk_ms: Option<i64>) -> Self {
        let mut monitor = Self {
            built_ms,
            disk_ms,
            began: first.boottime,
            last: first,
            unset: None,
            kept: disk_ms.map(|ms| (ms, None)),
        };
        monitor.unset = monitor.judge(first);
        monitor
    }

    /// Why the clock cannot be right, if it cannot.
    pub fn unset(&self) -> Option<Unset> {
        self.unset
    }

    /// Whether the clock is set, as a session is told.
    pub fn state(&self) -> HostEvent {
        match self.unset {
            Some(_) => HostEvent::ClockUnset,
            None => HostEvent::ClockSet,
        }
    }

    /// While the clock is not set: the Unix time in milliseconds from which on it can be right.
    pub fn set_from_ms(&self) -> Option<i64> {
        self.unset.map(|_| self.earliest_ms())
    }

    /// What has happened since the last reading, in the order in which a session should hear of it: that nothing may be
    /// dialled comes before what would make it dial.
    pub fn observe(&mut self, now: Reading) -> Vec<HostEvent> {
        let passed = now.boottime.saturating_sub(self.last.boottime);
        let slept = passed.saturating_sub(now.monotonic.saturating_sub(self.last.monotonic));
        let by_ms = now
            .wall_ms
            .saturating_sub(self.last.wall_ms)
            .saturating_sub(millis(passed));
        let stepped = by_ms.saturating_abs() >= STEP_MIN_MS;
        if stepped {
            // Whoever sets a clock knows better than our disk.
            self.disk_ms = None;
        }
        self.last = now;
        let (before, after) = (self.unset, self.judge(now));
        self.unset = after;
        let mut events = Vec::new();
        events.extend((before.is_none() && after.is_some()).then_some(HostEvent::ClockUnset));
        events.extend((slept >= SLEPT_MIN).then_some(HostEvent::Resumed { slept }));
        events.extend(stepped.then_some(HostEvent::ClockStepped { by_ms }));
        events.extend((before.is_some() && after.is_none()).then_some(HostEvent::ClockSet));
        events
    }

    /// The time to be written to disk now, if it is time for that. Call it after [`observe`](Self::observe), and
    /// [`kept`](Self::kept) when it is there. A clock that is not set leaves no trace; one that was put back replaces
    /// what stood there at once.
    pub fn to_keep(&self) -> Option<i64> {
        let now = self.last;
        let due = match self.kept {
            None => true,
            Some((ms, _)) if now.wall_ms < ms => true,
            Some((_, Some(at))) => now.boottime.saturating_sub(at) >= KEEP_EVERY,
            Some((ms, None)) => now.wall_ms.saturating_sub(ms) >= millis(KEEP_EVERY),
        };
        (due && self.unset.is_none()).then_some(now.wall_ms)
    }

    /// `wall_ms` is on disk, as of the last reading.
    pub fn kept(&mut self, wall_ms: i64) {
        self.kept = Some((wall_ms, Some(self.last.boottime)));
    }

    fn earliest_ms(&self) -> i64 {
        let disk = self.disk_ms.map(|ms| ms.saturating_sub(BEHIND_DISK_MAX_MS));
        disk.map_or(self.built_ms, |ms| ms.max(self.built_ms))
    }

    /// Once the clock has been right, the time on disk has done its work: from then on only a step makes it wrong, and
    /// steps are somebody's.
    fn judge(&mut self, now: Reading) -> Option<Unset> {
        if now.boottime.saturating_sub(self.began) >= DISK_BELIEVED {
            self.disk_ms = None;
        }
        if now.wall_ms < self.built_ms {
            return Some(Unset::BeforeBuild);
        }
        if now.wall_ms < self.earliest_ms() {
            return Some(Unset::BeforeDisk);
        }
        self.disk_ms = None;
        None
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILT: i64 = 1_800_000_000_000;
    const NOW: i64 = BUILT + 100 * DAY;
    const DAY: i64 = 24 * 3600 * 1000;
    const SECOND: Duration = Duration::from_secs(1);

    /// A host with its clocks.
    struct Host {
        clocks: Reading,
        monitor: ClockMonitor,
    }

    impl Host {
        fn new(wall_ms: i64, disk_ms: Option<i64>) -> Self {
            let clocks = Reading {
                monotonic: 20 * SECOND,
                boottime: 50 * SECOND,
                wall_ms,
            };
            Self {
                clocks,
                monitor: ClockMonitor::new(clocks, BUILT, disk_ms),
            }
        }

        fn observe(&mut self) -> Vec<HostEvent> {
            self.monitor.observe(self.clocks)
        }

        fn runs(&mut self, time: Duration) -> Vec<HostEvent> {
            self.clocks.monotonic += time;
            self.sleeps(time)
        }

        fn sleeps(&mut self, time: Duration) -> Vec<HostEvent> {
            self.clocks.boottime += time;
            self.clocks.wall_ms += millis(time);
            self.observe()
        }

        fn steps(&mut self, by_ms: i64) -> Vec<HostEvent> {
            self.clocks.wall_ms += by_ms;
            self.observe()
        }

        fn keeps(&mut self) -> bool {
            let due = self.monitor.to_keep();
            due.inspect(|ms| self.monitor.kept(*ms)).is_some()
        }
    }

    #[test]
    fn time_that_passes_is_no_news() {
        let mut host = Host::new(NOW, Some(NOW - DAY));
        for seconds in [0, 1, 60, 86_400, 365 * 86_400] {
            assert_eq!(host.runs(seconds * SECOND), []);
        }
    }

    #[test]
    fn what_boottime_gains_is_sleep_and_no_step() {
        let mut host = Host::new(NOW, None);
        assert_eq!(host.sleeps(SLEPT_MIN - SECOND / 1000), []);
        let slept = 17 * 3600 * SECOND;
        assert_eq!(host.sleeps(slept), [HostEvent::Resumed { slept }]);
        assert_eq!(host.observe(), [], "it is told once");
    }

    /// The machine of WSL stands still with the host: no clock of its own shows that, and then the wall clock is set.
    #[test]
    fn what_the_wall_clock_gains_is_a_step() {
        let mut host = Host::new(NOW, None);
        for by_ms in [61_200_000, -3_600_000, STEP_MIN_MS, -STEP_MIN_MS] {
            assert_eq!(host.steps(by_ms), [HostEvent::ClockStepped { by_ms }]);
        }
        assert_eq!(host.steps(1000), [], "a leap second");
        assert_eq!(host.runs(60 * SECOND), []);
    }

    #[test]
    fn sleep_and_a_step_at_once_are_told_apart() {
        let mut host = Host::new(NOW, None);
        host.clocks.boottime += 100 * SECOND;
        assert_eq!(
            host.observe(),
            [
                HostEvent::Resumed { slept: 100 * SECOND },
                HostEvent::ClockStepped { by_ms: -100_000 }
            ]
        );
    }

    #[test]
    fn before_the_build_it_is_not_set_however_long_it_takes() {
        let mut host = Host::new(12_000, None);
        assert_eq!(
            (host.monitor.unset(), host.monitor.set_from_ms()),
            (Some(Unset::BeforeBuild), Some(BUILT))
        );
        assert_eq!(host.runs(30 * 86_400 * SECOND), []);
        assert!(!host.keeps(), "such a time is not written down");
        let by_ms = NOW - host.clocks.wall_ms;
        assert_eq!(
            host.steps(by_ms),
            [HostEvent::ClockStepped { by_ms }, HostEvent::ClockSet]
        );
        assert_eq!(
            host.steps(-NOW),
            [HostEvent::ClockUnset, HostEvent::ClockStepped { by_ms: -NOW }]
        );
    }

    #[test]
    fn far_before_the_last_time_on_disk_it_is_not_set() {
        let mut host = Host::new(NOW, Some(NOW + 2 * DAY));
        assert_eq!(host.monitor.unset(), Some(Unset::BeforeDisk));
        assert_eq!(host.monitor.set_from_ms(), Some(NOW + DAY));
        let by_ms = 2 * DAY;
        assert_eq!(
            host.steps(by_ms),
            [HostEvent::ClockStepped { by_ms }, HostEvent::ClockSet]
        );
        assert_eq!(
            Host::new(NOW, Some(NOW + DAY)).monitor.unset(),
            None,
            "a little behind will do"
        );
    }

    #[test]
    fn it_is_set_when_it_gets_there_by_itself() {
        let mut host = Host::new(NOW, Some(NOW + DAY + 5000));
        assert_eq!(host.runs(4 * SECOND), []);
        assert_eq!(host.runs(SECOND), [HostEvent::ClockSet]);
    }

    /// A clock that was once in 2038 and wrote that down.
    #[test]
    fn a_wrong_time_on_disk_holds_for_ten_minutes_and_once() {
        let future = NOW + 12 * 365 * DAY;
        let mut host = Host::new(NOW, Some(future));
        assert_eq!(host.runs(DISK_BELIEVED - SECOND), []);
        assert!(!host.keeps());
        assert_eq!(host.runs(SECOND), [HostEvent::ClockSet]);
        assert!(host.keeps(), "the right time replaces it at once");
        // And whoever sets the clock, by however little, is believed without waiting.
        let mut host = Host::new(NOW, Some(future));
        assert_eq!(
            host.steps(-2000),
            [HostEvent::ClockStepped { by_ms: -2000 }, HostEvent::ClockSet]
        );
    }

    #[test]
    fn a_clock_that_has_been_right_is_put_back_by_somebody() {
        let mut host = Host::new(NOW, Some(NOW));
        let by_ms = -50 * DAY;
        assert_eq!(host.steps(by_ms), [HostEvent::ClockStepped { by_ms }]);
        assert!(host.keeps(), "or the next start would not believe it");
    }

    #[test]
    fn the_time_is_written_down_once_an_hour() {
        let mut host = Host::new(NOW, None);
        let written = (0..24 * 60).filter(|_| {
            host.runs(60 * SECOND);
            host.keeps()
        });
        assert_eq!(written.count(), 24);
        // A relay that restarts again and again does not wear the disk out.
        let mut host = Host::new(NOW, Some(NOW - 1000));
        assert!(!host.keeps());
        host.runs(3600 * SECOND);
        assert!(host.keeps());
    }
}
