//! The ground: small things that every room needs and none owns.

mod deadline;
mod sync;

pub(crate) use deadline::within;
pub(crate) use sync::lock;
