//! All of a state at once: is it whole, what of it goes into a backup, and what becomes of one that is put back.
//!
//! This room stands over the [`store`](crate::store) and over the [credentials](crate::credentials), because it reads
//! the records of both.

pub mod backup;
mod check;
#[doc(hidden)]
pub mod fuzzing;

pub use check::{Checked, check};

pub use crate::store::engine::closed::ClosedIndex;
