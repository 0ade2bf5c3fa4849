//! What survives the process: a log that is the truth, and sled as the index that is queried, behind one writer.
//!
//! Everything that must not be half done goes through [`Store::update`]: a closure that looks at the store and returns a
//! [`Batch`] of puts and deletes over named [trees](Tree). One thread runs these closures one after the other, writes each
//! batch as one frame of the [log](log::Log), and answers once the bytes are on the device. Commits that arrive together
//! share one sync.
//!
//! sled alone cannot carry this: its `flush` stops at the kernel's page cache (`sync_file_range`), and a power cut takes
//! what it called durable. So every start compares it with the log and puts it right (`index.rs`).
//!
//! Deliberately absent: any other way to write; trying a failed sync again; going back to an older generation.

pub mod backup;
mod batch;
mod broken;
mod check;
pub mod credentials;
#[doc(hidden)]
pub mod fuzzing;
pub mod history;
pub mod import;
pub mod inbound;
mod index;
pub mod journal;
mod keys;
pub mod last_time;
mod lock;
pub mod log;
pub mod numbers;
pub mod outbox;
mod place;
pub mod record;
pub mod starts;
pub mod timers;
pub mod tokens;
mod view;
mod writer;

pub use batch::{Batch, Tree};
pub use check::{Checked, Index as CheckedIndex, check};
pub use keys::{join, prefix, split};
pub use lock::{Lock, LockError};
pub use view::View;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use self::log::{Claim, Disk, Gauge, Limits, RealDisk};
use writer::Writer;

/// Why the store could not be opened, read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Locked(#[from] LockError),
    #[error("cannot open the state in {path}: {cause}")]
    Open { path: PathBuf, cause: String },
    /// The directory can be no state's place, today or after a restart.
    #[error("{path} cannot hold the state: {cause}; name another directory, on the system's own disk, with --state", path = path.display())]
    Unfit { path: PathBuf, cause: String },
    /// Acknowledged changes are gone or cannot be read. What is older is not used: it would use keys twice.
    #[error("the state is damaged: {path}: {cause}; keep a copy, move the state directory away, then restore a backup or pair again", path = path.display())]
    Damaged { path: PathBuf, cause: String },
    /// It is whole, and must be left to the version that wrote it.
    #[error("{path} was written by a later version of Tautline ({cause}); install that one again", path = path.display())]
    Newer { path: PathBuf, cause: String },
    #[error("cannot read the state: {0}")]
    Read(String),
    /// A write or a sync failed. Nothing is acknowledged from then on; a restart recovers what the disk has.
    #[error("the state can no longer be written ({0}); nothing more is accepted until the relay restarts")]
    Poisoned(String),
    /// This change was refused whole; the next is tried again.
    #[error("there is no room for the state ({0}); free some, and it goes on by itself")]
    Full(String),
    /// Likewise.
    #[error(
        "the state is on a file system that is read-only ({0}); once it can be written again, it goes on by itself"
    )]
    ReadOnly(String),
    #[error("a record under {tree} is not readable: {cause}")]
    Record { tree: &'static str, cause: String },
    #[error("a record of {size} bytes for {tree} is over the limit of {max} bytes")]
    TooLarge {
        tree: &'static str,
        size: usize,
        max: usize,
    },
}

/// The open state of one relay. Clones share it; the last one to go releases the lock.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    writer: Writer,
    view: View,
    path: PathBuf,
    disk: Arc<dyn Disk>,
    gauge: Arc<Gauge>,
    journal_ends: journal::Ends,
    inbound_kept: inbound::Hint,
    // Dropped last, and held by the writer's thread too: nobody else may open the files before that has ended.
    lock: Arc<Lock>,
}

impl Store {
    /// Opens or creates the state in `path`, creating the directory with mode 0700.
    ///
    /// # Errors
    /// Another process holds it ([`StoreError::Locked`]), it is damaged ([`StoreError::Damaged`]), or the files cannot be
    /// opened.
    pub fn open(path: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        Self::open_on(
            path,
            cache_bytes,
            Arc::new(RealDisk::new(path.to_owned())),
            Limits::default(),
        )
    }

    /// [`open`](Self::open) with the log's files on `disk` and another bound. The lock and the index stay in `path`.
    ///
    /// # Errors
    /// As there.
    pub fn open_on(path: &Path, cache_bytes: u64, disk: Arc<dyn Disk>, limits: Limits) -> Result<Self, StoreError> {
        create_private(path).map_err(|error| StoreError::Open {
            path: path.to_owned(),
            cause: error.to_string(),
        })?;
        place::close_to_others(path)?;
        let lock = Arc::new(Lock::acquire(path)?);
        let (writer, view, gauge) = Writer::start(path, cache_bytes, Arc::clone(&disk), limits, Arc::clone(&lock))?;
        let inner = Inner {
            writer,
            view,
            path: path.to_owned(),
            disk,
            gauge,
            journal_ends: journal::Ends::default(),
            inbound_kept: inbound::Hint::default(),
            lock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Writes what lies still and brings the index up to the log; whoever still has a clone can write no more. The last one to
    /// be dropped does that too, but a process may end before. After `limit` a disk that hangs is left to itself: the
    /// state stays locked until it is done or the process ends.
    pub fn close(&self, limit: Duration) {
        self.inner.writer.close(limit);
    }

    /// Where the state is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Runs `decide` alone, against the latest state, and applies the batch that it returns as one transaction. Returns
    /// what `decide` returned beside it once the batch is on the device. An empty batch costs no sync.
    ///
    /// Dropping the future does not undo it.
    ///
    /// # Errors
    /// There is no room ([`StoreError::Full`], [`StoreError::ReadOnly`]): it is not there, and will not be. Or the store is poisoned, or was by this
    /// write: the transaction may or may not be there after a restart, never half of it.
    pub async fn update<T, F>(&self, decide: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&View) -> Result<(Batch, T), StoreError> + Send + 'static,
    {
        self.inner.writer.update(false, Claim::Reserve, decide).await
    }

    /// [`update`](Self::update) with a batch that depends on nothing.
    ///
    /// # Errors
    /// As there.
    pub async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let decide = move |_: &View| Ok((batch, ()));
        self.inner.writer.update(true, Claim::Reserve, decide).await
    }

    /// [`update`](Self::update) of something that may be lost in a crash: returns once it has its place in the order of
    /// transactions. Later ones see it, [readers](Self::view) do not until it is written, together with the next that
    /// somebody waits for or after 50 ms. Closing the store writes it; so `decide` must not hold the store, or the last
    /// one to be dropped never is. `what` it is, in words, for the log when that fails.
    ///
    /// # Errors
    /// The store is poisoned, or closed.
    pub async fn update_later<F>(&self, what: &'static str, decide: F) -> Result<(), StoreError>
    where
        F: FnOnce(&View) -> Result<Batch, StoreError> + Send + 'static,
    {
        self.inner.writer.update_later(what, decide).await
    }

    /// [`update`](Self::update) with something new that nobody has been promised yet: when room is short it is refused, and
    /// what is left is for everything else.
    ///
    /// # Errors
    /// As there.
    pub async fn update_new<T, F>(&self, decide: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&View) -> Result<(Batch, T), StoreError> + Send + 'static,
    {
        self.inner.writer.update(false, Claim::New, decide).await
    }

    /// Why something new would be refused now for want of room. The volume is asked each time: nobody has to write
    /// something to find that there is room again.
    pub fn short_of_room(&self) -> Option<StoreError> {
        let room = self.inner.gauge.look(&*self.inner.disk);
        room.err().map(writer::commit_error)
    }

    /// Reads of what is durable; they never wait for a sync.
    pub fn view(&self) -> &View {
        &self.inner.view
    }

    fn journal_ends(&self) -> &journal::Ends {
        &self.inner.journal_ends
    }

    fn inbound_kept(&self) -> &inbound::Hint {
        &self.inner.inbound_kept
    }

    /// Waits until something breaks it, and says what.
    pub async fn failure(&self) -> String {
        self.inner.writer.failure().await
    }

    /// What broke it, if anything did. Looks whether the state is still where it was, and breaks it if not.
    pub fn poisoned(&self) -> Option<String> {
        if let Some(gone) = self.inner.lock.misplaced() {
            self.inner.writer.break_for(gone);
        }
        self.inner.writer.poisoned()
    }
}

/// Creates `path` readable by its owner alone. What exists keeps its mode: a person may have set it.
fn create_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if std::fs::metadata(path).is_ok_and(|found| !found.is_dir()) {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a directory"));
    }
    let new: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // What is in a directory lasts no longer than its own name.
    for parent in new.iter().filter_map(|path| path.parent()) {
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        std::fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_there_whole_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        {
            let store = Store::open(dir.path(), 1 << 20).unwrap();
            let mut batch = Batch::new();
            batch.put(Tree::Meta, b"a", vec![1]).unwrap();
            batch.put(Tree::Outbox, b"a", vec![2]).unwrap();
            smol::block_on(store.commit(batch)).unwrap();
            let mut batch = Batch::new();
            batch.delete(Tree::Meta, b"a");
            batch.put(Tree::Outbox, b"b", vec![3]).unwrap();
            smol::block_on(store.commit(batch)).unwrap();
        }
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        assert_eq!(store.view().get(Tree::Meta, b"a").unwrap(), None);
        let rows: Vec<_> = store.view().scan(Tree::Outbox, b"").map(Result::unwrap).collect();
        assert_eq!(rows, [(b"a".to_vec(), vec![2].into()), (b"b".to_vec(), vec![3].into())]);
    }

    #[test]
    fn an_index_past_its_bound_is_built_again() {
        let dir = tempfile::tempdir().unwrap();
        let large = dir.path().join("db/large");
        {
            let store = Store::open(dir.path(), 1 << 20).unwrap();
            let mut batch = Batch::new();
            batch.put(Tree::Meta, b"a", vec![1]).unwrap();
            smol::block_on(store.commit(batch)).unwrap();
        }
        std::fs::File::create(&large).unwrap().set_len(40 << 20).unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        assert!(!large.exists() && !dir.path().join("db.aside").exists());
        assert_eq!(store.view().get(Tree::Meta, b"a").unwrap().as_deref(), Some(&[1][..]));
    }

    #[test]
    fn updates_see_each_other_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let increments = (0..50).map(|_| {
            let store = store.clone();
            async move {
                store
                    .update(|view| {
                        let count = view.get(Tree::Meta, b"n")?.map_or(0, |value| value[0]) + 1;
                        let mut batch = Batch::new();
                        batch.put(Tree::Meta, b"n", vec![count])?;
                        Ok((batch, count))
                    })
                    .await
                    .unwrap()
            }
        });
        let executor = smol::Executor::new();
        let tasks: Vec<_> = increments.map(|future| executor.spawn(future)).collect();
        let mut seen: Vec<u8> = smol::block_on(executor.run(async {
            let mut seen = Vec::new();
            for task in tasks {
                seen.push(task.await);
            }
            seen
        }));
        seen.sort_unstable();
        assert_eq!(seen, (1..=50).collect::<Vec<u8>>());
    }

    #[test]
    fn a_second_owner_is_refused_and_told_the_pid() {
        let dir = tempfile::tempdir().unwrap();
        let _store = Store::open(dir.path(), 1 << 20).unwrap();
        let Err(StoreError::Locked(error)) = Store::open(dir.path(), 1 << 20) else {
            panic!("opened twice")
        };
        assert_eq!(error.pid, Some(std::process::id()));
    }

    #[test]
    fn a_panic_inside_a_write_poisons_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let result = smol::block_on(store.update::<(), _>(|_| panic!("on purpose")));
        assert!(matches!(result, Err(StoreError::Poisoned(_))), "{result:?}");
        assert!(store.poisoned().is_some());
        let next = smol::block_on(store.commit(Batch::new()));
        assert!(matches!(next, Err(StoreError::Poisoned(_))), "{next:?}");
    }

    #[test]
    fn a_failure_that_nobody_waits_for_poisons_the_store_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        smol::block_on(store.update_later("a test", |_| panic!("on purpose"))).unwrap();
        assert!(!smol::block_on(store.failure()).is_empty());
        let next = smol::block_on(store.update_later("a test", |_| Ok(Batch::new())));
        assert!(matches!(next, Err(StoreError::Poisoned(_))), "{next:?}");
    }
}
