//! The ground: small things that every room needs and none owns.

mod sync;

pub(crate) use sync::lock;
