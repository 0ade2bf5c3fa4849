//! What survives the process.
//!
//! Everything that must not be half done goes through [`Store::update`]: a closure that looks at the store and returns
//! a [`Batch`] of puts and deletes over [trees](Tree). How that becomes durable is the affair of the `engine`; the
//! table of trees is [`TREES`], and beside it lie the relay's own records, each in a file of its own. A session's
//! credentials are the affair of [`credentials`](crate::credentials).

pub mod engine;
mod handle;
pub mod history;
pub mod hooks;
pub mod inbound;
pub mod journal;
mod keys;
pub mod last_time;
pub mod news;
pub mod numbers;
pub mod outbox;
pub mod proven;
pub mod record;
pub mod starts;
pub mod timers;
pub mod tokens;
mod tree;
pub mod uploads;

pub use engine::{
    Batch, FileSystem, LockError, Scan, StoreError, VALUE_BYTES_MAX, Value, View, file_system_under, log,
};
pub use handle::Store;
pub use keys::{join, prefix, split};
pub use tree::{Backup, Loss, Owner, TREES, Tree, TreeInfo};
