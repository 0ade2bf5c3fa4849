//! The time.

use std::time::Instant;

use super::record::Timestamp;

/// The shell's two clocks at one moment. Deadlines use `mono` alone; `wall` is for records and people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    pub mono: Instant,
    pub wall: Timestamp,
}
