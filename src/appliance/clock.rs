//! The two clocks, read here and nowhere below: monotonic for deadlines, wall for records and people.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::outbox::{Now, Timestamp};

pub(super) fn now() -> Now {
    Now {
        mono: Instant::now(),
        wall: Timestamp(wall_ms()),
    }
}

/// Unix milliseconds; 0 for a clock before 1970.
pub(super) fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
