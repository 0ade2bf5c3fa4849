//! What the writing thread does for the index: gives it what is durable, builds it again, moves it to memory and back.

use std::path::Path;
use std::time::{Duration, Instant};

use super::super::broken::Broken;
use super::super::index::{Index, IndexError, SEGMENTS_BYTES, memory_has_room};
use super::super::log::{INDEX_TIMES, LogError, Row};
use super::Database;

/// How long an index is left alone that could not be built again, or has just been moved. Twice as long after each failure.
pub(super) const INDEX_RESTS: Duration = Duration::from_secs(600);
const INDEX_RESTS_MAX: Duration = Duration::from_secs(24 * 3600);

/// Durable transactions that the index has not been given, in bytes of keys and values. More means fewer and larger writes
/// of it, and more memory; a start makes up for what it was not given.
const UNAPPLIED_BYTES_MAX: usize = 256 * 1024;

/// So much may have been written to the log since: what it has seen shows that the log has lost nothing.
const UNSEEN_BYTES_MAX: u64 = 1024 * 1024;

/// What sled may still have to write when it is let go of: two of its buffers.
const INDEX_BUFFERS_BYTES: u64 = 1024 * 1024;

/// From the state directory, the bytes of the cache, all rows, and their last transaction.
type Make = fn(&Path, u64, &[Row<'_>], u64) -> Result<Index, IndexError>;

impl Database {
    /// Shows the readers what is durable now, and gives the index a large batch now and then.
    pub(super) fn show(&mut self) -> Result<(), String> {
        let grown = self.unapplied.absorb(self.overlay.take());
        self.unapplied_bytes = self.unapplied_bytes.saturating_add_signed(grown);
        let unseen = self.log.bytes().saturating_sub(self.seen_to);
        if self.unapplied_bytes < UNAPPLIED_BYTES_MAX && unseen < UNSEEN_BYTES_MAX {
            return Ok(());
        }
        match self.has_room_for_index() {
            true => self.give_to_index(),
            false => Ok(()),
        }
    }

    /// For what it has not been given.
    pub(super) fn has_room_for_index(&self) -> bool {
        let bytes = self.unapplied_bytes as u64;
        match self.index.is_in_memory() {
            true => memory_has_room(SEGMENTS_BYTES + INDEX_TIMES * bytes),
            false => self.log.has_room_for_index(bytes),
        }
    }

    pub(super) fn give_to_index(&mut self) -> Result<(), String> {
        if !self.unapplied.is_empty() {
            let sequence = self.log.sequence();
            self.unapplied.read(|changes| self.index.apply(changes, sequence))?;
        }
        // Only now: between the two a reader finds it in either place.
        self.has_all();
        Ok(())
    }

    fn has_all(&mut self) {
        self.unapplied.take();
        self.unapplied_bytes = 0;
        self.seen_to = self.log.bytes();
    }

    /// After a rotation: what was written so far is no longer counted by the log.
    pub(super) fn after_rotation(&mut self, broken: &Broken) {
        if self.has_room_for_index()
            && let Err(reason) = self.give_to_index()
        {
            return broken.set(&reason);
        }
        self.seen_to = self.log.bytes();
        self.look_after_index(broken);
    }

    /// Builds the index again where it has grown past its bound, or had no room on the disk and has now.
    pub(super) fn look_after_index(&mut self, broken: &Broken) {
        let away = self.index.is_in_memory();
        let room = self.has_room_for_index() && self.log.has_room_for_new_index();
        // Its place is looked up by name.
        if self.index_rests() || !room || !(away || self.index.may_be_large()) || !self.lock.is_in_place() {
            return;
        }
        if let Err(reason) = self.give_to_index() {
            return broken.set(&reason);
        }
        if !away && !self.index.is_large() {
            return;
        }
        if let Some(index) = self.made_of_log(
            broken,
            Index::again,
            "the index cannot be built again and goes on as it is",
        ) {
            log::info!("the index was built again, and is as small as it can be");
            self.index_rest = INDEX_RESTS;
            self.base.replace(index.tree.clone());
            self.index = index;
        }
    }

    /// For what was accepted and finds no room: an index in memory, and its room on the disk for the log. Returns whether that was
    /// done.
    pub(super) fn move_index_to_memory(&mut self, broken: &Broken) -> bool {
        if self.index_rests() || self.index.is_in_memory() || !self.lock.is_in_place() {
            return false;
        }
        let Some(index) = self.made_of_log(
            broken,
            Index::copied_to_memory,
            "the index finds no place in memory either",
        ) else {
            return false;
        };
        log::warn!("what was accepted needs the room of the index, which is kept in memory until there is some");
        self.base.replace(index.tree.clone());
        let before = std::mem::replace(&mut self.index, index);
        before.leave_disk(&self.path, self.log.has_room(INDEX_BUFFERS_BYTES));
        // Not back at once: others may be about to take the room.
        self.index_rests = Some(Instant::now() + INDEX_RESTS);
        // It was made of all that is durable.
        self.has_all();
        true
    }

    fn index_rests(&self) -> bool {
        self.index_rests.is_some_and(|until| Instant::now() < until)
    }

    /// What `make` makes of the log's rows; a failure is said with `words` and not tried again at once.
    fn made_of_log(&mut self, broken: &Broken, make: Make, words: &str) -> Option<Index> {
        let sequence = self.log.sequence();
        let cause = match self.log.look(|rows| make(&self.path, self.cache_bytes, rows, sequence)) {
            Ok(Ok(index)) => return Some(index),
            Ok(Err(error)) => error.to_string(),
            // The next start would refuse it, and nothing more must be acknowledged on it.
            Err(error @ (LogError::Damaged { .. } | LogError::Newer { .. })) => {
                broken.set(&error.to_string());
                return None;
            }
            Err(error @ LogError::Io { .. }) => error.to_string(),
        };
        log::warn!("{words}: {cause}");
        self.index_rests = Some(Instant::now() + self.index_rest);
        self.index_rest = (2 * self.index_rest).min(INDEX_RESTS_MAX);
        None
    }
}
