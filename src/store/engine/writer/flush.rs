//! What the index is being given.

use super::super::view::Memtable;

/// What is on its way into the index, a slice at a time.
pub(super) struct Flush {
    /// Nothing is added to it. Readers find it here until the index has all of it.
    pub(super) changes: Memtable,
    /// The last key that the index has.
    pub(super) done_to: Option<Vec<u8>>,
    /// The last transaction that is in it.
    pub(super) sequence: u64,
    /// The size of keys and values.
    pub(super) bytes: usize,
    /// What the log held at its beginning. Bytes.
    pub(super) log_bytes: u64,
}

impl Flush {
    /// None is under way; the next will be in `changes`.
    pub(super) fn none(changes: Memtable) -> Self {
        Self {
            changes,
            done_to: None,
            sequence: 0,
            bytes: 0,
            log_bytes: 0,
        }
    }

    /// Whether there is something in it.
    pub(super) fn is_under_way(&self) -> bool {
        !self.changes.is_empty()
    }

    /// The index has all of it.
    pub(super) fn end(&mut self) {
        drop(self.changes.take());
        self.done_to = None;
        self.bytes = 0;
    }
}
