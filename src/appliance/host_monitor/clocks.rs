//! The three clocks, and what wakes whoever reads them: not often, and at once when the wall clock is set.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use async_io::{Async, Timer};
use futures_lite::future;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};

use crate::line::Reading;

/// Sleep and steps of the clock wake us by themselves (a resume is a step to `TFD_TIMER_CANCEL_ON_SET`): this is for
/// kernels that forget to, and for the hourly note on disk.
const PULSE: Duration = Duration::from_secs(60);

/// Further off than any clock can be set, and within what the kernel counts in nanoseconds.
const NEVER_SECS: i64 = 9_000_000_000;

/// Readings this close together are one. Else this program was held up between them, and that is tried again.
const TOGETHER: Duration = Duration::from_millis(1);
const TRIES_MAX: usize = 5;

/// All clocks at one moment, as far as that can be had.
pub(super) fn read() -> Reading {
    let mut best = read_once();
    for _ in 1..TRIES_MAX {
        if best.0 <= TOGETHER {
            break;
        }
        let again = read_once();
        if again.0 < best.0 {
            best = again;
        }
    }
    best.1
}

/// The clocks, and how long it took to read them.
fn read_once() -> (Duration, Reading) {
    let monotonic = since(clock_gettime(ClockId::Monotonic));
    let boottime = since(clock_gettime(ClockId::Boottime));
    let wall = clock_gettime(ClockId::Realtime);
    let took = since(clock_gettime(ClockId::Monotonic)).saturating_sub(monotonic);
    let wall_ms = wall
        .tv_sec
        .saturating_mul(1000)
        .saturating_add(wall.tv_nsec / 1_000_000);
    let reading = Reading {
        monotonic,
        boottime,
        wall_ms,
    };
    (took, reading)
}

fn since(time: Timespec) -> Duration {
    Duration::try_from(time).unwrap_or_default()
}

/// What the wall clock shows, for people.
pub(super) fn shown() -> String {
    // That crate counts from 1970 on.
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(_) => humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        Err(_) => "a time before 1970".to_owned(),
    }
}

/// Timers of the kernel. Where it has none of a kind, a timer of ours beats as often.
pub(super) struct Alarms {
    /// On the wall clock: cancelled when that is set.
    wall: Option<Async<OwnedFd>>,
    /// On `CLOCK_BOOTTIME`: has gone off when the host wakes up.
    pulse: Option<Async<OwnedFd>>,
}

impl Alarms {
    pub(super) fn new() -> Self {
        let open = |clock| make(clock).inspect_err(|error| log::debug!("no timer on {clock:?}: {error}"));
        let pulse = open(TimerfdClockId::Boottime).ok();
        let pulse =
            pulse.filter(|pulse| set(pulse, TimerfdTimerFlags::empty(), timespec(PULSE), timespec(PULSE)).is_ok());
        Self {
            wall: open(TimerfdClockId::Realtime).ok(),
            pulse,
        }
    }

    /// From now on [`next`](Self::next) returns when the wall clock is set, and when it reaches `at_ms` by itself.
    pub(super) fn arm(&mut self, at_ms: Option<i64>) {
        let Some(wall) = &self.wall else { return };
        let at = Timespec {
            // Never 0, which would disarm it.
            tv_sec: at_ms.map_or(NEVER_SECS, |ms| (ms.div_euclid(1000) + 1).clamp(1, NEVER_SECS)),
            tv_nsec: 0,
        };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        match set(wall, flags, timespec(Duration::ZERO), at) {
            // It is armed all the same, and says that the clock was set since: the reading that follows shows it.
            Ok(()) | Err(rustix::io::Errno::CANCELED) => {}
            Err(error) => {
                log::debug!("the wall clock is only looked at now and then: {error}");
                self.wall = None;
            }
        }
    }

    /// Waits until it is time to look.
    pub(super) async fn next(&self) {
        let wall = async {
            match &self.wall {
                Some(wall) => went_off(wall).await,
                None => future::pending().await,
            }
        };
        let pulse = async {
            match &self.pulse {
                Some(pulse) => went_off(pulse).await,
                None => drop(Timer::after(PULSE).await),
            }
        };
        future::or(wall, pulse).await;
    }
}

fn make(clock: TimerfdClockId) -> io::Result<Async<OwnedFd>> {
    Async::new(timerfd_create(clock, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?)
}

fn set(timer: &Async<OwnedFd>, flags: TimerfdTimerFlags, every: Timespec, at: Timespec) -> rustix::io::Result<()> {
    let times = Itimerspec {
        it_interval: every,
        it_value: at,
    };
    timerfd_settime(timer, flags, &times).map(drop)
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(NEVER_SECS),
        tv_nsec: time.subsec_nanos().into(),
    }
}

/// Expired or cancelled: either is a reason to look. Another error would come again at once; then the pulse is left.
async fn went_off(timer: &Async<OwnedFd>) {
    let read = |timer: &OwnedFd| rustix::io::read(timer, &mut [0_u8; 8]).map_err(io::Error::from);
    match timer.read_with(read).await {
        Ok(_) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::CANCELED.raw_os_error()) => {}
        Err(error) => {
            log::debug!("a timer cannot be read: {error}");
            Timer::after(PULSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_are_read_together() {
        let (before, after) = (read(), read());
        assert!(after.monotonic >= before.monotonic && after.boottime >= before.boottime);
        assert!(after.boottime >= after.monotonic);
        assert!(after.wall_ms > 1_700_000_000_000);
    }

    #[test]
    fn an_alarm_on_the_wall_clock_goes_off_when_it_is_reached() {
        let mut alarms = Alarms::new();
        let begin = read().wall_ms;
        alarms.arm(Some(begin + 10));
        smol::block_on(alarms.next());
        assert!(read().wall_ms >= begin + 10);
        // And is quiet when there is nothing to wait for.
        alarms.arm(None);
        assert!(smol::block_on(future::poll_once(alarms.next())).is_none());
    }
}
