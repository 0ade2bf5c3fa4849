//! Who waits for the journal's next entries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use event_listener::{Event, EventListener};

/// Tells watchers that the journal has more. Where nobody waits, an entry costs a look at a number. Clones share it.
#[derive(Clone, Default)]
pub struct Updates(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// The group of transactions under way has entries.
    staged: AtomicBool,
    changed: Event,
    watchers: AtomicUsize,
}

/// Somebody who wants to know. It counts as one until it is dropped.
pub struct Watcher(Arc<Shared>);

impl Updates {
    /// Watches from now on.
    #[must_use]
    pub fn watch(&self) -> Watcher {
        self.0.watchers.fetch_add(1, Ordering::Relaxed);
        Watcher(Arc::clone(&self.0))
    }

    /// Whether anybody watches.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.0.watchers.load(Ordering::Relaxed) > 0
    }

    /// Tells everybody who waits.
    pub fn tell(&self) {
        self.0.changed.notify(usize::MAX);
    }

    /// Ready when there is more than when this was called, without watching: nothing is written sooner for it. To be
    /// called before the journal is looked at, so that nothing falls in between.
    #[must_use]
    pub fn more(&self) -> EventListener {
        self.0.changed.listen()
    }

    /// Entries are in the group of transactions under way.
    pub(super) fn staged(&self) {
        self.0.staged.store(true, Ordering::Relaxed);
    }

    /// That group is over: readers see them, unless it was refused.
    pub(in crate::store) fn tell_if_staged(&self) {
        if self.0.staged.swap(false, Ordering::Relaxed) {
            self.tell();
        }
    }
}

impl Watcher {
    /// Ready when there is more than when this was called. To be called before the journal is looked at, so that
    /// nothing falls in between.
    #[must_use]
    pub fn next(&self) -> EventListener {
        self.0.changed.listen()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}
