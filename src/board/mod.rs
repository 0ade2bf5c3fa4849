//! Boards: a named profile for one kind of host, every number with its why. Compiled in from `boards/*.toml`.
//!
//! `build.rs` reads and checks the files with `read` and the rules of [`faults`]; what is here is known to be valid.

mod fields;
mod profile;
#[cfg(test)]
mod read;
mod rules;
#[cfg(test)]
mod tests;

/// The schedule's types under the name that the files shared with `build.rs` know them by.
use crate::line as schedule;

pub use fields::{EventsNumbers, FIELDS, Field, OutboxNumbers, StoreNumbers, Values};
pub use profile::{Board, Number};
pub use rules::{
    Daily, Detection, PING_EXCHANGE_BYTES, RELOGIN_ALLOWANCE, WAKEUPS_PER_MINUTE_MAX, bytes_per_day, daily, detection,
    detection_worst, faults, messages_per_day, messages_per_hour, recovery_worst, wakeups_per_minute,
};
