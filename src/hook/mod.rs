//! Hooks: what has happened, told to a program at an address; in order, and each thing until it is taken.
//!
//! A [`Hook`] is a place in the journal and one request under way. It decides what is asked when, and what an answer
//! means; whoever drives it reads the journal, makes the requests and puts the place on disk:
//!
//! > Tell it of what happens with [`handle`](Hook::handle) and of time with [`handle_timeout`](Hook::handle_timeout);
//! > after each, carry out what [`poll_output`](Hook::poll_output) says until it says nothing, and wait until
//! > [`poll_timeout`](Hook::poll_timeout) at the longest.
//!
//! Its place lags behind what was taken by what a crash takes, and never runs ahead of it. So after a crash the same is
//! told again, under the same id.

mod course;
mod wanted;

pub use course::{Hook, Input, Outcome, Output, Post, Reason};
pub use wanted::{EventKind, EventKindError, Facts, Of, Wanted};
