//! The library's idea of the time of day: the wall clock, but without its jumps while a line is up.
//!
//! Its keepalive measures silence on the wall clock. A step forward would kill a live line, and a step back would hide
//! a dead one from it. There is one such clock in the process for all sessions, as the library has one place for it.
//! So: while no session has a line it shows the wall clock; while any has, it goes on with `CLOCK_BOOTTIME` and draws
//! nearer to the wall clock by at most an eighth of the time that passes. That is little enough for every deadline of
//! the library, and enough for a clock that is an hour off to be right after eight.

use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use wacore::time::TimeProvider;

use crate::util::lock;

/// While lines are up, of the time that passes.
const SLEW_FRACTION: i64 = 8;

static CLOCK: Mutex<Option<Arc<Mutex<SlewedClock>>>> = Mutex::new(None);
static INSTALLED: Once = Once::new();

/// Gives the library this clock, once in a process.
pub(super) fn install() {
    INSTALLED.call_once(|| {
        let clock = Arc::new(Mutex::new(SlewedClock::default()));
        *lock(&CLOCK) = Some(Arc::clone(&clock));
        if let Err(error) = wacore::time::set_time_provider(Provider(clock)) {
            log::error!("the protocol library keeps the wall clock: {error}");
        }
    });
}

/// A line is up, or on its way: while one of these lives, the clock does not jump.
pub(super) struct SlewGuard(());

impl SlewGuard {
    pub(super) fn hold() -> Self {
        with_clock(|clock| clock.hold(boottime_ns(), wall_ns()));
        Self(())
    }
}

impl Drop for SlewGuard {
    fn drop(&mut self) {
        with_clock(SlewedClock::release);
    }
}

fn with_clock(act: impl FnOnce(&mut SlewedClock)) {
    let clock = lock(&CLOCK);
    if let Some(clock) = clock.as_ref() {
        act(&mut lock(clock));
    }
}

struct Provider(Arc<Mutex<SlewedClock>>);

impl TimeProvider for Provider {
    fn now_millis(&self) -> i64 {
        let mut clock = lock(&self.0);
        // Read under the lock: two readers must not overtake each other.
        clock.now(boottime_ns(), wall_ns()).div_euclid(1_000_000)
    }
}

fn boottime_ns() -> i64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

fn wall_ns() -> i64 {
    let ns = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => ns(since),
        Err(before) => -ns(before.duration()),
    }
}

/// All in nanoseconds, which reach from 1678 to 2262.
#[derive(Debug, Default)]
struct SlewedClock {
    /// Lines that are up or on their way.
    lines: usize,
    boottime: i64,
    shown: i64,
}

impl SlewedClock {
    fn hold(&mut self, boottime: i64, wall: i64) {
        self.now(boottime, wall);
        self.lines += 1;
    }

    fn release(&mut self) {
        self.lines = self.lines.saturating_sub(1);
    }

    fn now(&mut self, boottime: i64, wall: i64) -> i64 {
        let passed = boottime.saturating_sub(self.boottime).max(0);
        self.boottime = self.boottime.max(boottime);
        self.shown = if self.lines == 0 {
            wall
        } else {
            let straight = self.shown.saturating_add(passed);
            let slew = passed / SLEW_FRACTION;
            straight.saturating_add(wall.saturating_sub(straight).clamp(-slew, slew))
        };
        self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::wall_ms;

    const SECOND: i64 = 1_000_000_000;
    const HOUR: i64 = 3600 * SECOND;
    const WALL: i64 = 1_800_000_000 * SECOND;

    #[test]
    fn without_a_line_it_is_the_wall_clock() {
        let mut clock = SlewedClock::default();
        for (boottime, wall) in [(5, WALL), (6, WALL - HOUR), (7, 0), (8, WALL + HOUR)] {
            assert_eq!(clock.now(boottime, wall), wall);
        }
    }

    #[test]
    fn a_step_either_way_looks_like_a_little_more_or_less_time() {
        for step in [-50 * 365 * 24 * HOUR, -HOUR, HOUR, 50 * 365 * 24 * HOUR] {
            let mut clock = SlewedClock::default();
            clock.hold(0, WALL);
            let before = clock.now(SECOND, WALL + SECOND);
            assert_eq!(before, WALL + SECOND);
            assert_eq!(clock.now(SECOND, WALL + SECOND + step), before, "no time, no jump");
            // The library's deadline for silence is 20 s: it must neither pass at once nor never.
            let silence = clock.now(21 * SECOND, WALL + 21 * SECOND + step) - before;
            assert!((17 * SECOND..=23 * SECOND).contains(&silence), "{silence}");
        }
    }

    #[test]
    fn read_often_or_seldom_it_comes_to_the_same() {
        let mut often = SlewedClock::default();
        often.hold(0, WALL);
        let mut seldom = SlewedClock::default();
        seldom.hold(0, WALL);
        for read in 1..=100_000 {
            often.now(read * 1_000_000, WALL + HOUR + read * 1_000_000);
        }
        let (boottime, wall) = (100 * SECOND, WALL + HOUR + 100 * SECOND);
        assert_eq!(often.now(boottime, wall), seldom.now(boottime, wall));
    }

    #[test]
    fn it_reaches_the_wall_clock_and_stays_there() {
        let mut clock = SlewedClock::default();
        clock.hold(0, WALL);
        assert!(clock.now(7 * HOUR, WALL + 8 * HOUR) < WALL + 8 * HOUR);
        assert_eq!(clock.now(8 * HOUR, WALL + 9 * HOUR), WALL + 9 * HOUR);
        assert_eq!(clock.now(9 * HOUR, WALL + 10 * HOUR), WALL + 10 * HOUR);
    }

    #[test]
    fn the_last_line_to_go_lets_it_jump() {
        let mut clock = SlewedClock::default();
        clock.hold(0, WALL);
        clock.hold(0, WALL);
        clock.release();
        assert_eq!(clock.now(0, WALL + HOUR), WALL);
        clock.release();
        assert_eq!(clock.now(0, WALL + HOUR), WALL + HOUR);
        // A line that begins now begins with the right time.
        clock.hold(0, WALL + 2 * HOUR);
        assert_eq!(clock.now(0, WALL), WALL + 2 * HOUR);
    }

    /// In a process of its own: the first who asks the library for the time settles whose it is.
    #[test]
    fn the_library_uses_it() {
        const ALONE: &str = "TAUTLINE_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            let mut again = std::process::Command::new(std::env::current_exe().unwrap());
            again.args(["--exact", "whatsapp::slewed_clock::tests::the_library_uses_it"]);
            assert!(again.env(ALONE, "1").status().unwrap().success());
            return;
        }
        install();
        let hold = SlewGuard::hold();
        let (before, wall) = (wacore::time::now_millis(), i64::try_from(wall_ms()).unwrap());
        assert!((before - wall).abs() < 10_000);
        drop(hold);
        let clock = CLOCK.lock().unwrap().clone().unwrap();
        clock.lock().unwrap().lines += 1;
        clock.lock().unwrap().shown += HOUR;
        let shown = wacore::time::now_millis();
        clock.lock().unwrap().lines -= 1;
        assert!(shown - before >= HOUR / 1_000_000, "it is not asked");
    }
}
