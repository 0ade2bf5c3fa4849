//! The open state, as all parts of the relay hold it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::engine::Engine;
use super::inbound::Hint;
use super::journal::{Ends, Updates};
use super::log::{Claim, Disk, Limits, RealDisk};
use super::{Batch, StoreError, View};

/// The open state of one relay. Clones share it; the last one to go releases the lock.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    journal_ends: Ends,
    inbound_kept: Hint,
}

impl Store {
    /// Opens or creates the state in `path`, creating the directory with mode 0700.
    ///
    /// # Errors
    /// Another process holds it ([`StoreError::Locked`]), it is damaged ([`StoreError::Damaged`]), the directory cannot
    /// be its place ([`StoreError::Unfit`]), or the files cannot be opened.
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
    /// As for [`open`](Self::open).
    pub fn open_on(path: &Path, cache_bytes: u64, disk: Arc<dyn Disk>, limits: Limits) -> Result<Self, StoreError> {
        let journal_ends = Ends::default();
        let updates = journal_ends.updates().clone();
        let committed = Box::new(move || updates.tell_if_staged());
        let inner = Inner {
            engine: Engine::open(path, cache_bytes, disk, limits, committed)?,
            journal_ends,
            inbound_kept: Hint::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Writes what lies still and brings the index up to the log; whoever still has a clone can write no more. The last
    /// one to be dropped does that too, but a process may end before. After `limit` a disk that hangs is left to
    /// itself: the state stays locked until it is done or the process ends.
    pub fn close(&self, limit: Duration) {
        self.inner.engine.close(limit);
    }

    /// Where the state is.
    pub fn path(&self) -> &Path {
        self.inner.engine.path()
    }

    /// Runs `decide` alone, against the latest state, and applies the batch that it returns as one transaction. Returns
    /// what `decide` returned beside it once the batch is on the device. An empty batch costs no sync.
    ///
    /// Dropping the future does not undo it.
    ///
    /// # Errors
    /// There is no room ([`StoreError::Full`], [`StoreError::ReadOnly`]): it is not there, and will not be. Or the
    /// store is poisoned, or was by this write: the transaction may or may not be there after a restart, never half of
    /// it.
    pub async fn update<T, F>(&self, decide: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&View) -> Result<(Batch, T), StoreError> + Send + 'static,
    {
        self.inner.engine.update(false, Claim::Reserve, decide).await
    }

    /// [`update`](Self::update) with a batch that depends on nothing.
    ///
    /// # Errors
    /// As for [`update`](Self::update).
    pub async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let decide = move |_: &View| Ok((batch, ()));
        self.inner.engine.update(true, Claim::Reserve, decide).await
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
        self.inner.engine.update_later(what, decide).await
    }

    /// [`update`](Self::update) with something new that nobody has been promised yet: when room is short it is refused,
    /// and what is left is for everything else.
    ///
    /// # Errors
    /// As for [`update`](Self::update).
    pub async fn update_new<T, F>(&self, decide: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&View) -> Result<(Batch, T), StoreError> + Send + 'static,
    {
        self.inner.engine.update(false, Claim::New, decide).await
    }

    /// Why something new would be refused now for want of room. The volume is asked each time: nobody has to write
    /// something to find that there is room again.
    pub fn short_of_room(&self) -> Option<StoreError> {
        self.inner.engine.short_of_room()
    }

    /// Reads of what is durable; they never wait for a sync.
    pub fn view(&self) -> &View {
        self.inner.engine.view()
    }

    /// Tells when the journal has more.
    pub fn journal_updates(&self) -> &Updates {
        self.inner.journal_ends.updates()
    }

    pub(super) fn journal_ends(&self) -> &Ends {
        &self.inner.journal_ends
    }

    pub(super) fn inbound_kept(&self) -> &Hint {
        &self.inner.inbound_kept
    }

    /// Waits until something breaks it, and says what.
    pub async fn failure(&self) -> String {
        self.inner.engine.failure().await
    }

    /// What broke it, if anything did. Looks whether the state is still where it was, and breaks it if not.
    pub fn poisoned(&self) -> Option<String> {
        self.inner.engine.poisoned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Tree;

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
