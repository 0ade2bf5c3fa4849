//! The ground: small things that every room needs and none owns.

mod deadline;
mod random;
mod sync;
mod time;

pub(crate) use deadline::within;
pub(crate) use random::Random;
pub(crate) use sync::{lock, read, write};
pub(crate) use time::{millis, wall_ms};
