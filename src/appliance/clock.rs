//! The two clocks, read here and nowhere below: monotonic for deadlines, wall for records and people.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::outbox::{Now, Start, Timestamp};
pub(super) use crate::util::wall_ms;

pub(super) fn now() -> Now {
    Now {
        mono: Instant::now(),
        wall: Timestamp(wall_ms()),
    }
}

/// Names the host's boot.
pub(super) fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// A start of the relay at this moment, with `seq` as the next alert's number.
pub(super) fn start(seq: u64) -> Start {
    Start {
        boot: boot_id().unwrap_or_default(),
        uptime: Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default(),
        wall: Timestamp(wall_ms()),
        seq,
    }
}
