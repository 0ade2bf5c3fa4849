//! The two clocks, read here and nowhere below: monotonic for deadlines, wall for records and people.

use std::time::Instant;

use crate::outbox::{Now, Timestamp};
pub(super) use crate::util::wall_ms;

pub(super) fn now() -> Now {
    Now {
        mono: Instant::now(),
        wall: Timestamp(wall_ms()),
    }
}
