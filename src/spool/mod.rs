//! The spool: a folder in which alerts lie as files until a relay takes them.
//!
//! Anybody on the host may write into it, and only the relay reads: its mode is 1733, so nobody else can list it, and
//! the names of its files cannot be guessed. [`put`] writes a file whole and synced, or not at all. A [`Folder`] is the
//! side of the relay, which expects anything there: links, pipes, files without an end. [`Entry`] is what stands in a
//! file.
#![warn(missing_docs)]

mod entry;
mod folder;
pub mod fuzzing;
mod put;

pub use entry::{Entry, EntryError, HEAD_BYTES_MAX};
pub use folder::{Folder, Found, OpenError, Retry, SetAside, Spooled, Unfit};
pub use put::{Name, make, put};

/// The largest file that the relay takes, in bytes: a text that is kept in part, and its head.
pub const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;
