//! Times as numbers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whole milliseconds, cut off below; the largest number stands for what is longer.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The wall clock in Unix milliseconds, 0 before 1970. For records and people; no deadline comes from it.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}
