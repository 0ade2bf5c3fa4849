//! What the writing thread does for the index: gives it what is durable, builds it again, and does without it where the
//! disk has no room for it.

use std::time::{Duration, Instant};

use super::super::broken::Broken;
use super::super::index::Index;
use super::super::log::{LogError, Row};
use super::flush::Flush;
use super::{Database, INDEX_RESTS};

const INDEX_RESTS_MAX: Duration = Duration::from_secs(24 * 3600);

/// When the index is given what it does not have: durable transactions of so many bytes of keys and values. More means
/// fewer and larger writes of it, and more memory; a start makes up for what it was not given.
const UNAPPLIED_BYTES_MAX: usize = 256 * 1024;

/// It is given so many bytes between two groups at the least, and twice as many as have come with the last: whoever
/// waits for the next group waits for that too, and all of it at once takes sled 20 to 40 ms.
const SLICE_BYTES: usize = 16 * 1024;

/// How much may have been written to the log since: what it has seen shows that the log has lost nothing.
const UNSEEN_BYTES_MAX: u64 = 1024 * 1024;

/// What sled may still have to write when it is let go of: two of its buffers.
const INDEX_BUFFERS_BYTES: u64 = 1024 * 1024;

impl Database {
    /// Shows the readers what is durable now. Returns by how many bytes of keys and values that is more than before.
    pub(super) fn show(&mut self) -> usize {
        let grown = match self.index {
            Some(_) => self.unapplied.absorb(self.memtable.take()),
            None => self.unapplied.absorb_over_nothing(self.memtable.take()),
        };
        self.unapplied_bytes = self.unapplied_bytes.saturating_add_signed(grown);
        usize::try_from(grown).unwrap_or(0)
    }

    /// Gives the index a slice of what it does not have, once that is much. `grown` is what has just been added to it.
    ///
    /// # Errors
    /// The index has failed, and will not recover.
    pub(super) fn hand_over_some(&mut self, grown: usize) -> Result<(), String> {
        if !self.flush.is_under_way() {
            let unseen = self.log.bytes().saturating_sub(self.applied_log_bytes);
            if self.unapplied_bytes < UNAPPLIED_BYTES_MAX && unseen < UNSEEN_BYTES_MAX {
                return Ok(());
            }
        }
        match self.has_room_for_index() {
            true => self.hand_over(SLICE_BYTES.max(2 * grown)),
            false => Ok(()),
        }
    }

    /// Whether there is one, and room for what it has not been given.
    pub(super) fn has_room_for_index(&self) -> bool {
        let bytes = self.unapplied_bytes + self.flush.bytes;
        self.index.is_some() && self.log.has_room_for_index(bytes as u64)
    }

    /// Gives it everything.
    ///
    /// # Errors
    /// As of [`hand_over_some`](Self::hand_over_some).
    pub(super) fn give_to_index(&mut self) -> Result<(), String> {
        if self.flush.is_under_way() {
            self.hand_over(usize::MAX)?;
        }
        self.hand_over(usize::MAX)
    }

    /// At rest: the index has all or nothing of what it is given, where it has room.
    pub(super) fn end_flush(&mut self, broken: &Broken) {
        if self.flush.is_under_way()
            && self.has_room_for_index()
            && let Err(reason) = self.hand_over(usize::MAX)
        {
            broken.set(&reason);
        }
    }

    /// Goes on with what is being handed over, else begins with all that there is.
    fn hand_over(&mut self, bytes: usize) -> Result<(), String> {
        let Some(index) = &self.index else { return Ok(()) };
        if !self.flush.is_under_way() {
            self.flush.sequence = self.log.sequence();
            self.flush.log_bytes = self.log.bytes();
            self.flush.bytes = std::mem::take(&mut self.unapplied_bytes);
            // A reader holds the index's lock while it looks at both.
            let (changes, unapplied) = (&self.flush.changes, &self.unapplied);
            self.base.while_nobody_reads(|| changes.set(unapplied.take()));
        }
        let Flush {
            changes,
            done_to,
            sequence,
            ..
        } = &self.flush;
        let done_to = match changes.is_empty() {
            true => None,
            false => changes.read(|changes| index.apply(changes, done_to.as_deref(), bytes, *sequence))?,
        };
        if done_to.is_none() {
            // Only now: between the two a reader finds it in either place.
            self.flush.end();
            self.applied_log_bytes = self.flush.log_bytes;
        }
        self.flush.done_to = done_to;
        Ok(())
    }

    /// An index has been made of all that is durable, or everything is in memory.
    fn has_all(&mut self) {
        self.unapplied_bytes = 0;
        self.applied_log_bytes = self.log.bytes();
    }

    /// After a rotation: what was written so far is no longer counted by the log.
    pub(super) fn after_rotation(&mut self, broken: &Broken) {
        if self.has_room_for_index()
            && let Err(reason) = self.give_to_index()
        {
            return broken.set(&reason);
        }
        self.applied_log_bytes = self.log.bytes();
        self.look_after_index(broken);
    }

    /// Builds the index again where it has grown past its bound, or had no room on the disk and has now.
    pub(super) fn look_after_index(&mut self, broken: &Broken) {
        let wanted = self.index.as_ref().is_none_or(Index::may_be_large);
        // Its place is looked up by name.
        if !wanted || self.index_rests() || !self.log.has_room_for_new_index() || !self.lock.is_in_place() {
            return;
        }
        if self.index.is_some() {
            if !self.has_room_for_index() {
                return;
            }
            if let Err(reason) = self.give_to_index() {
                return broken.set(&reason);
            }
        }
        if self.index.as_ref().is_some_and(|index| !index.is_large()) {
            return;
        }
        let sequence = self.log.sequence();
        let make = |rows: &[Row<'_>]| {
            Index::again(&self.path, self.cache_bytes, rows, sequence).map_err(|error| error.to_string())
        };
        let made = self.log.look(make);
        if let Some(index) = self.unless_failed(made, broken, "the index cannot be built again") {
            log::info!("the index was built again, and is as small as it can be");
            self.index_rest = INDEX_RESTS;
            // It was made of all that is durable.
            let (flush, unapplied) = (&mut self.flush, &self.unapplied);
            self.base.replace(Some(index.tree.clone()), || {
                flush.end();
                drop(unapplied.take());
            });
            self.index = Some(index);
            self.log.set_index_beside(true);
            self.has_all();
        }
    }

    /// For what was accepted and finds no room: the state in memory, as it is in the log, and the index's room on the
    /// disk for the log. Returns whether that was done.
    pub(super) fn do_without_index(&mut self, broken: &Broken) -> bool {
        if self.index.is_none() || !self.lock.is_in_place() {
            return false;
        }
        let (base, unapplied, flush) = (&self.base, &self.unapplied, &mut self.flush);
        let filled = self.log.look(|rows| {
            base.replace(None, || {
                unapplied.fill(rows);
                flush.end();
            });
            Ok(())
        });
        if self.unless_failed(filled, broken, "the index keeps its room").is_none() {
            return false;
        }
        log::warn!("what was accepted needs the room of the index: the state is kept in memory until there is some");
        self.unapplied_bytes = self.unapplied.forget_deletes();
        let room = self.log.has_room(INDEX_BUFFERS_BYTES);
        if let Some(index) = self.index.take() {
            index.leave_disk(&self.path, room);
        }
        self.log.set_index_beside(false);
        // Not back at once: others may be about to take the room.
        self.index_rests = Some(Instant::now() + INDEX_RESTS);
        true
    }

    fn index_rests(&self) -> bool {
        self.index_rests.is_some_and(|until| Instant::now() < until)
    }

    /// What was `made` of the log's rows; a failure is said with `words` and not tried again at once.
    fn unless_failed<T>(
        &mut self,
        made: Result<Result<T, String>, LogError>,
        broken: &Broken,
        words: &str,
    ) -> Option<T> {
        let cause = match made {
            Ok(Ok(made)) => return Some(made),
            Ok(Err(cause)) => cause,
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
