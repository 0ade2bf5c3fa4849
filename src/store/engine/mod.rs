//! The engine: a log that is the truth, an index that is queried, and one thread that writes both.
//!
//! A closure looks at the state and returns a [`Batch`] of puts and deletes over collections. The writer's thread runs
//! these closures one after the other, writes each batch as one frame of the [log](log::Log), and answers once the
//! bytes are on the device. Commits that arrive together share one sync.
//!
//! sled alone cannot carry this: its `flush` stops at the kernel's page cache (`sync_file_range`), and a power cut
//! takes what it called durable. So every start compares it with the log and puts it right (`index.rs`). No type of
//! sled leaves this folder.
//!
//! The engine does not know what it keeps: a [`Collection`] is a number and a name.
//!
//! Deliberately absent: any other way to write; trying a failed sync again; going back to an older generation.

mod batch;
mod broken;
pub mod closed;
mod error;
mod found;
mod index;
mod lock;
pub mod log;
mod place;
mod view;
mod writer;

pub use batch::{Batch, Collection, VALUE_BYTES_MAX};
pub use error::{LockError, StoreError};
pub use lock::Lock;
pub use place::{FileSystem, create_private, file_system_under};
pub use view::{Scan, Value, View};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use self::log::{Claim, Disk, Gauge, Limits};
pub use writer::Committed;
use writer::Writer;

/// The open state in a directory.
pub struct Engine {
    writer: Writer,
    view: View,
    path: PathBuf,
    disk: Arc<dyn Disk>,
    gauge: Arc<Gauge>,
    // Dropped last, and held by the writer's thread too: nobody else may open the files before that has ended.
    lock: Arc<Lock>,
}

impl Engine {
    /// Opens or creates the state in `path`, with the log's files on `disk`. The lock and the index lie in `path`.
    /// `committed` is told of every group of transactions once readers see it.
    ///
    /// # Errors
    /// Another process holds it ([`StoreError::Locked`]), it is damaged ([`StoreError::Damaged`]), the directory cannot
    /// be its place ([`StoreError::Unfit`]), or the files cannot be opened.
    pub fn open(
        path: &Path,
        cache_bytes: u64,
        disk: Arc<dyn Disk>,
        limits: Limits,
        committed: Committed,
    ) -> Result<Self, StoreError> {
        create_private(path).map_err(|error| StoreError::Open {
            path: path.to_owned(),
            cause: error.to_string(),
        })?;
        place::close_to_others(path)?;
        let lock = Arc::new(Lock::acquire(path)?);
        let (writer, view, gauge) = Writer::start(
            path,
            cache_bytes,
            Arc::clone(&disk),
            limits,
            Arc::clone(&lock),
            committed,
        )?;
        Ok(Self {
            writer,
            view,
            path: path.to_owned(),
            disk,
            gauge,
            lock,
        })
    }

    /// Where the state is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads of what is durable; they never wait for a sync.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Runs `decide` in its turn and commits its batch, with `claim` to the room that is left. `blind`: it looks at
    /// nothing, so that an empty batch is done whatever becomes of the others in its group.
    ///
    /// # Errors
    /// What `decide` says; there is no room; or the state can no longer be written.
    pub async fn update<T, F>(&self, blind: bool, claim: Claim, decide: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&View) -> Result<(Batch, T), StoreError> + Send + 'static,
    {
        self.writer.update(blind, claim, decide).await
    }

    /// Gives `decide` its place in the order, and waits for no sync. `what` it is, in words, for the log when it fails.
    ///
    /// # Errors
    /// The state can no longer be written, or is closed.
    pub async fn update_later<F>(&self, what: &'static str, decide: F) -> Result<(), StoreError>
    where
        F: FnOnce(&View) -> Result<Batch, StoreError> + Send + 'static,
    {
        self.writer.update_later(what, decide).await
    }

    /// Writes what waits and brings the index up to the log, for at most `limit`. Nothing can be written any more.
    pub fn close(&self, limit: Duration) {
        self.writer.close(limit);
    }

    /// Why something new would be refused now for want of room. The volume is asked each time.
    pub fn short_of_room(&self) -> Option<StoreError> {
        self.gauge.look(&*self.disk).err().map(StoreError::from)
    }

    /// Waits until something breaks it, and says what.
    pub async fn failure(&self) -> String {
        self.writer.failure().await
    }

    /// What broke it, if anything did. Looks whether the state is still where it was, and breaks it if not.
    pub fn poisoned(&self) -> Option<String> {
        if let Some(gone) = self.lock.misplaced() {
            self.writer.break_for(gone);
        }
        self.writer.poisoned()
    }
}
