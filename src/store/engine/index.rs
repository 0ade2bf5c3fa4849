//! sled, as an index over the log: quick to ask, and thrown away when in doubt.
//!
//! sled 0.34 can lose, and mix up, what it has flushed when the power goes, can fail to open or panic over it, and does
//! not open while a `snap.*.generating` is left over. So nothing rests on it: at every start it is compared with the
//! log and put right, and whatever makes it hard to open makes it go aside and be built again.

mod error;
mod places;

use std::cell::Cell;
use std::fs;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) use self::error::IndexError;
use self::error::failed;
pub(crate) use self::places::copy_tree;
use self::places::{Copy, Places, absent_is_fine, bytes_in, make_private};
use super::log::{Row, State};
use super::view::Changes;

const TREE: &str = "tautline";

/// Where a check puts the copy that it looks at.
pub(crate) const CHECKED_COPY: &str = "db.check";

/// Under no tree's number: the last transaction that the index has seen. It is applied with that transaction, so an
/// index that has seen more than the log holds shows that the log has lost something.
const SEEN_KEY: [u8; 1] = [0xFF];

/// What is said of an index whose marker has stayed: the start before did not get past opening it.
pub(crate) const INTERRUPTED: &str = "the last attempt to open it did not end";

const PANICKED: &str = "it panicked";

/// Bytes of keys and values that it is given at the most where there is no room for a new one.
const REPAIR_BYTES_MAX: usize = 512 * 1024;

/// A larger index is built again: sled uses again what a flood has made it take, and gives nothing back. It is 4 to 8
/// MiB for what a relay keeps, and a flood of alerts makes it ten times that.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The index may take this many times the bytes of its live rows before it is built again.
const TIMES_ALIVE: u64 = 4;

/// Changes of the index after which it is made to free what they have replaced.
const ROWS_BEFORE_COLLECTING: usize = 16;

/// A bound with room to spare; after it the index is made again.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);

pub(super) struct Index {
    db: sled::Db,
    pub(super) tree: sled::Tree,
    place: PathBuf,
    /// sled must not be given the chance to write any more.
    left_alone: Cell<bool>,
}

/// Whether the disk has room for an index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// For what one that is there may still have to be given.
    pub(super) to_go_on: bool,
    pub(super) for_a_new_one: bool,
}

impl Index {
    /// Opens the index in `directory`/`db` and makes it say what `state` says, as of transaction `sequence`. `None`
    /// where the disk has no room for it: sled does not say at once that a write has failed, and then never recovers.
    /// What is there goes then, for its room.
    ///
    /// # Errors
    /// The log has lost transactions, or what is there cannot be moved.
    pub(super) fn open(
        directory: &Path,
        cache_bytes: u64,
        state: &[Row<'_>],
        sequence: u64,
        room: Room,
    ) -> Result<Option<Self>, IndexError> {
        let places = Places::new(directory);
        // Of a check that was killed. None is under way: it would have the lock.
        if let Err(error) = absent_is_fine(fs::remove_dir_all(directory.join(CHECKED_COPY))) {
            log::info!("{CHECKED_COPY} of a check that was killed stays behind: {error}");
        }
        let enough = match places.db.exists() {
            true => room.to_go_on,
            false => room.for_a_new_one,
        };
        if !enough {
            log::warn!("there is no room for the index on the disk: the state is kept in memory until there is some");
            if let Some(seen) =
                Self::seen_without_room(directory, &places, cache_bytes)?.filter(|seen| *seen > sequence)
            {
                return Err(IndexError::Ahead { seen });
            }
            let _ = places.remove_failed();
            return Ok(None);
        }
        let repair_max = if room.for_a_new_one {
            usize::MAX
        } else {
            REPAIR_BYTES_MAX
        };
        let attempt = || Self::right_in(&places, cache_bytes, state, sequence, repair_max);
        let first = if places.opening.exists() {
            Err(failed(INTERRUPTED))
        } else {
            attempt()
        };
        match first {
            Ok(index) if room.for_a_new_one && index.is_large() => {
                drop(index);
                log::info!("the index has grown past its bound and is built again");
                // Renamed first: sled's threads may still be at work in it.
                places.set_aside().map_err(failed)?;
                let _ = places.remove_aside();
            }
            Ok(index) => return Ok(Some(index)),
            Err(error @ IndexError::Ahead { .. }) => return Err(error),
            Err(IndexError::Failed(cause)) => log::info!("the index is built again from the log: {cause}"),
        }
        places.set_aside().map_err(failed)?;
        let made = match room.for_a_new_one {
            true => attempt(),
            false => Err(failed("there is no room for a new one")),
        };
        match made {
            // Not even a new one: as a rule the disk is full. A relay must start there, and all of the index is in the
            // log.
            Err(IndexError::Failed(cause)) => {
                log::warn!(
                    "the index finds no place on the disk; the state is kept in memory until there is some: {cause}"
                );
                let _ = places.remove_failed();
                Ok(None)
            }
            made => made.map(Some),
        }
    }

    /// The last transaction that the index on a disk without room has seen, as far as that can be told: opening it
    /// writes, so a copy in memory is opened.
    ///
    /// # Errors
    /// There is no place for a copy that could not be told from another's.
    fn seen_without_room(directory: &Path, places: &Places, cache_bytes: u64) -> Result<Option<u64>, IndexError> {
        if places.opening.exists() {
            return Ok(None);
        }
        let Some(copy) = Copy::of(&places.db, directory).map_err(failed)? else {
            return Ok(None);
        };
        let seen = caught(|| {
            let index = Self::open_guarded(&Places::new(&copy.0), cache_bytes)?;
            let seen = index.tree.get(SEEN_KEY).map_err(failed)?;
            Ok(seen.as_deref().and_then(number))
        });
        Ok(seen.unwrap_or(None))
    }

    /// The index in `places`, which says what `state` says. All of that has been written: sled tells of a failed write
    /// at a flush, and else with whatever comes next.
    fn right_in(
        places: &Places,
        cache_bytes: u64,
        state: &[Row<'_>],
        sequence: u64,
        repair_max: usize,
    ) -> Result<Self, IndexError> {
        let index = caught(|| Self::open_guarded(places, cache_bytes))?;
        let right = catch_unwind(AssertUnwindSafe(|| {
            index.put_right(state, sequence, repair_max)?;
            index.db.flush().map(drop).map_err(|error| index.fault(&error))
        }));
        let right = right.unwrap_or_else(|_| {
            index.leave_alone();
            Err(failed(PANICKED))
        });
        // One that is ahead is believed, and by the next start too.
        if !matches!(right, Err(IndexError::Failed(_))) {
            places.has_opened()?;
        }
        right.map(|()| index)
    }

    /// Gives back the room that it takes in `directory`. Without `room` for what sled may still write it is left alone,
    /// and emptied under whoever still reads it: that ends the run, which is better than a line without room.
    pub(super) fn leave_disk(self, directory: &Path, room: bool) {
        let places = Places::new(directory);
        let left = if room {
            drop(self);
            places.remove()
        } else {
            self.leave_alone();
            places.remove_failed()
        };
        if let Err(error) = left {
            log::warn!("the index on the disk keeps its room: {error}");
        }
    }

    /// An error of sled. After a write that failed it is left alone.
    fn fault(&self, error: &sled::Error) -> IndexError {
        if matches!(error, sled::Error::Io(_)) {
            self.leave_alone();
        }
        failed(error)
    }

    /// Nothing more is written, and what sled has not written is lost: the log has it. When its last handle goes, sled
    /// flushes, and after a write that failed that can wait for ever. So none goes, and the memory stays taken.
    pub(super) fn leave_alone(&self) {
        if !self.left_alone.replace(true) {
            std::mem::forget((self.db.clone(), self.tree.clone()));
        }
    }

    /// Whether it may have grown past its bound.
    pub(super) fn may_be_large(&self) -> bool {
        bytes_in(&self.place) > BYTES_MAX
    }

    /// Whether it has, once it has been given everything. Reads all of it where it may have.
    pub(super) fn is_large(&self) -> bool {
        if !self.may_be_large() {
            return false;
        }
        let mut alive = 0;
        for row in &self.tree {
            // After an error it would say the same for ever.
            let Ok((key, value)) = row else { return true };
            alive += (key.len() + value.len()) as u64;
        }
        bytes_in(&self.place) > TIMES_ALIVE * alive
    }

    /// Builds it again in its place, beside the one that is in use; whoever reads that can go on, until it is dropped.
    ///
    /// # Errors
    /// The one in use is back in its place, as far as that can be had; at the latest the next start puts it right.
    pub(super) fn again(
        directory: &Path,
        cache_bytes: u64,
        state: &[Row<'_>],
        sequence: u64,
    ) -> Result<Self, IndexError> {
        let places = Places::new(directory);
        // sled has its files open and asks for none by name but at a start, and for values larger than ours get.
        places.remove_aside().map_err(failed)?;
        absent_is_fine(fs::rename(&places.db, &places.aside)).map_err(failed)?;
        let made = Self::right_in(&places, cache_bytes, state, sequence, usize::MAX);
        match made {
            Ok(_) => drop(places.remove_aside()),
            Err(_) => places.put_back().map_err(failed)?,
        }
        made
    }

    /// Reads all of an index that no log stands behind: the state as versions before the log wrote it.
    ///
    /// # Errors
    /// It cannot be read, or a log did once stand behind it and is gone.
    pub(super) fn without_log(directory: &Path, cache_bytes: u64) -> Result<State, IndexError> {
        match Self::contents(directory, cache_bytes)? {
            (state, None) => Ok(state),
            (_, Some(seen)) => Err(IndexError::Ahead { seen }),
        }
    }

    /// All rows, and the last transaction that it has seen.
    fn contents(directory: &Path, cache_bytes: u64) -> Result<(State, Option<u64>), IndexError> {
        let places = Places::new(directory);
        caught(|| {
            let index = Self::open_guarded(&places, cache_bytes)?;
            let (mut state, mut seen) = (State::new(), None);
            for row in &index.tree {
                let (key, value) = row.map_err(failed)?;
                if *key == SEEN_KEY {
                    seen = Some(number(&value).unwrap_or(0));
                } else {
                    state.insert(key.to_vec(), value.to_vec());
                }
            }
            places.has_opened()?;
            Ok((state, seen))
        })
    }

    /// Until [`Places::has_opened`] it counts as being opened: reading all of it is a part of that, so that a damaged
    /// page shows there and not in the middle of a run.
    fn open_guarded(places: &Places, cache_bytes: u64) -> Result<Self, IndexError> {
        places.begin_opening().map_err(failed)?;
        let config = sled::Config::new()
            .path(&places.db)
            .cache_capacity(cache_bytes)
            .flush_every_ms(None);
        let db = open_when_free(&config).map_err(failed)?;
        let tree = db.open_tree(TREE).map_err(failed)?;
        Ok(Self {
            db,
            tree,
            place: places.db.clone(),
            left_alone: Cell::new(false),
        })
    }

    /// Compares row by row and writes the differences, as long as they are not more than `repair_max` bytes.
    fn put_right(&self, state: &[Row<'_>], sequence: u64, repair_max: usize) -> Result<(), IndexError> {
        let fault = |error| self.fault(&error);
        let seen = self.tree.get(SEEN_KEY).map_err(fault)?;
        if let Some(seen) = seen.as_deref().and_then(number).filter(|seen| *seen > sequence) {
            return Err(IndexError::Ahead { seen });
        }
        let mut repair = Repair::new(self, repair_max);
        let mut wanted = state.iter().peekable();
        for row in &self.tree {
            let (key, value) = row.map_err(fault)?;
            while let Some((missing, value)) = wanted.next_if(|(wanted, _)| **wanted < *key) {
                repair.change(missing, Some(value))?;
            }
            match wanted.next_if(|(wanted, _)| **wanted == *key) {
                Some((_, right)) if **right == *value => {}
                Some((_, right)) => repair.change(&key, Some(right))?,
                None if *key == SEEN_KEY => {}
                None => repair.change(&key, None)?,
            }
        }
        for (missing, value) in wanted {
            repair.change(missing, Some(value))?;
        }
        if repair.changed > 0 {
            log::info!("{} rows of the index were brought up to the log", repair.changed);
            // As after `apply`.
            for row in &self.tree {
                row.map_err(fault)?;
            }
        }
        if seen.as_deref().and_then(number) != Some(sequence) {
            self.tree.insert(SEEN_KEY, &sequence.to_be_bytes()).map_err(fault)?;
        }
        Ok(())
    }

    /// Writes about `bytes` of `changes`, which are durable up to transaction `sequence`, from the key after `after`
    /// on. Returns the last key that was written; `None` when that was the last of all. Row by row, which nobody sees:
    /// readers look first where `changes` are, until all of it is done. In one batch, sled could free nothing that the
    /// batch outdates before its end: with 2 000 rows 25 MB, in pieces that malloc keeps.
    ///
    /// sled splits and joins its pages when they are next read, and waits for ever if that finds no room. So they are
    /// read here, where there is room: as a rule, whoever reads afterwards does not write.
    ///
    /// # Errors
    /// sled failed, and will not recover.
    pub(super) fn apply(
        &self,
        changes: &Changes,
        after: Option<&[u8]>,
        bytes: usize,
        sequence: u64,
    ) -> Result<Option<Vec<u8>>, String> {
        let applied = catch_unwind(AssertUnwindSafe(|| {
            if after.is_none() {
                // Before the rows: after a crash, whatever is there of them says what it belongs to.
                self.tree.insert(SEEN_KEY, &sequence.to_be_bytes())?;
            }
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let rows = || changes.range::<[u8], _>((from, Bound::Unbounded));
            let (mut written, mut count) = (0, 0);
            for (key, value) in rows() {
                if count > 0 && written >= bytes {
                    break;
                }
                self.set(key, value.as_ref())?;
                written += key.len() + value.as_ref().map_or(0, |value| value.len());
                count += 1;
                if count % ROWS_BEFORE_COLLECTING == 0 {
                    free_replaced();
                }
            }
            free_replaced();
            let mut last = None;
            for (key, _) in rows().take(count) {
                self.tree.get(key)?;
                last = Some(key);
            }
            let (Some(last), true) = (last, rows().nth(count).is_some()) else {
                // A batch makes sled write its buffer.
                let mut end = sled::Batch::default();
                end.insert(&SEEN_KEY, &sequence.to_be_bytes());
                return self.tree.apply_batch(end).map(|()| None);
            };
            Ok(Some(last.clone()))
        }));
        match applied {
            Ok(applied) => applied.map_err(|error| self.fault(&error).to_string()),
            Err(_) => {
                self.leave_alone();
                Err(PANICKED.into())
            }
        }
    }

    fn set(&self, key: &[u8], value: Option<impl Into<sled::IVec>>) -> sled::Result<()> {
        match value {
            Some(value) => self.tree.insert(key, value.into()).map(drop),
            None => self.tree.remove(key).map(drop),
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if !self.left_alone.get() {
            // Saves the next start the repair. It may fail: the log has everything.
            let _ = catch_unwind(AssertUnwindSafe(|| self.db.flush()));
        }
        let _ = make_private(&self.place);
    }
}

/// sled's own threads can hold the files of a database a moment longer than whoever has dropped it. Nobody else has
/// them: the state directory is locked.
fn open_when_free(config: &sled::Config) -> sled::Result<sled::Db> {
    let started = Instant::now();
    loop {
        match config.open() {
            Err(sled::Error::Io(error))
                if error.to_string().contains("could not acquire lock") && started.elapsed() < LOCK_WAIT_MAX =>
            {
                // Not a sleep: this thread's timer slack is a minute.
                std::thread::yield_now();
            }
            opened => return opened,
        }
    }
}

/// Lets sled free the pages that it has replaced, as far as nobody can still be reading them. By itself it does so
/// after some hundred changes of a thread, of which each can replace a page of 10 KB and more: that was 5 MB, in pieces
/// that malloc keeps.
fn free_replaced() {
    sled::pin().flush();
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn caught<T>(attempt: impl FnOnce() -> Result<T, IndexError>) -> Result<T, IndexError> {
    catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|_| Err(failed(PANICKED)))
}

/// All rows of the index in `directory`/`db`, and the last transaction that it has seen. Opening it changes it: for a
/// copy.
///
/// # Errors
/// It cannot be opened or read, in words.
pub(crate) fn read_all(directory: &Path) -> Result<(State, Option<u64>), String> {
    const CACHE_BYTES: u64 = 1 << 20;
    Index::contents(directory, CACHE_BYTES).map_err(|error| error.to_string())
}

struct Repair<'a> {
    index: &'a Index,
    changed: usize,
    bytes: usize,
    bytes_max: usize,
}

impl<'a> Repair<'a> {
    fn new(index: &'a Index, bytes_max: usize) -> Self {
        Self {
            index,
            changed: 0,
            bytes: 0,
            bytes_max,
        }
    }

    fn change(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), IndexError> {
        self.changed += 1;
        self.bytes += key.len() + value.map_or(0, <[u8]>::len);
        if self.bytes > self.bytes_max {
            return Err(failed(
                "it is further behind the log than there is room for on the disk",
            ));
        }
        if self.changed.is_multiple_of(ROWS_BEFORE_COLLECTING) {
            free_replaced();
        }
        self.index.set(key, value).map_err(|error| self.index.fault(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHE_BYTES: u64 = 1 << 20;
    const ROOM: Room = Room {
        to_go_on: true,
        for_a_new_one: true,
    };
    const NO_ROOM: Room = Room {
        to_go_on: false,
        for_a_new_one: false,
    };

    fn put(key: &[u8], value: &[u8]) -> Changes {
        Changes::from([(key.to_vec(), Some(value.into()))])
    }

    fn row(index: &Index, key: &[u8]) -> Option<sled::IVec> {
        index.tree.get(key).unwrap()
    }

    #[test]
    fn it_is_built_again_beside_the_one_that_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let state = [(&b"a"[..], &b"1"[..]), (b"b", b"2")];
        let first = Index::open(directory.path(), CACHE_BYTES, &state, 7, ROOM)
            .unwrap()
            .unwrap();
        let mut reading = first.tree.iter();
        assert_eq!(&reading.next().unwrap().unwrap().0[..], b"a");
        let second = Index::again(directory.path(), CACHE_BYTES, &state, 7).unwrap();
        drop(first);
        assert_eq!(reading.flatten().count(), 2, "the other row, and what was seen");
        second.apply(&put(b"c", b"3"), None, usize::MAX, 8).unwrap();
        drop(second);
        let (rows, seen) = read_all(directory.path()).unwrap();
        assert_eq!((rows.len(), seen), (3, Some(8)));
        assert!(!Places::new(directory.path()).aside.exists());
    }

    #[test]
    fn without_room_there_is_none_and_what_it_had_seen_still_counts() {
        let directory = tempfile::tempdir().unwrap();
        let state = [(&b"a"[..], &b"1"[..])];
        let open = |sequence, room| Index::open(directory.path(), CACHE_BYTES, &state, sequence, room);
        drop(open(7, ROOM).unwrap());
        for _ in 0..2 {
            assert!(matches!(open(6, NO_ROOM), Err(IndexError::Ahead { seen: 7 })));
        }
        assert!(open(8, NO_ROOM).unwrap().is_none());
        assert!(!directory.path().join("db").exists(), "its room is free");
        assert!(!places::memory_for(directory.path()).unwrap().exists());
        let index = open(9, ROOM).unwrap().unwrap();
        assert_eq!(row(&index, b"a").as_deref(), Some(&b"1"[..]));
    }

    #[test]
    fn slices_come_to_the_whole_also_after_a_crash_between_them() {
        let directory = tempfile::tempdir().unwrap();
        let changes: Changes = (0..40u8)
            .map(|key| (vec![key], (key % 3 > 0).then(|| vec![key; 100].into())))
            .collect();
        let gone: Vec<[u8; 1]> = (0..40).map(|key| [key]).collect();
        let before: Vec<Row<'_>> = gone.iter().map(|key| (&key[..], &b"before"[..])).collect();
        let index = Index::open(directory.path(), CACHE_BYTES, &before, 7, ROOM)
            .unwrap()
            .unwrap();
        let (mut done_to, mut slices) = (None, 0);
        loop {
            done_to = index.apply(&changes, done_to.as_deref(), 250, 8).unwrap();
            slices += 1;
            let Some(done_to) = &done_to else { break };
            for (key, value) in &changes {
                let expected = match key <= done_to {
                    true => value.as_deref(),
                    false => Some(&b"before"[..]),
                };
                assert_eq!(row(&index, key).as_deref(), expected, "after slice {slices}");
            }
        }
        assert!(slices > 5, "{slices}");
        let mut left: State = changes
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?.to_vec())))
            .collect();
        let later: Changes = (0..2u8).map(|key| (vec![key], Some(b"later".into()))).collect();
        assert_eq!(index.apply(&later, None, 1, 9).unwrap(), Some(vec![0]));
        drop(index);
        let (rows, seen) = read_all(directory.path()).unwrap();
        left.insert(vec![0], b"later".to_vec());
        assert_eq!((&rows, seen), (&left, Some(9)));
        // The log has what no slice brought.
        left.insert(vec![1], b"later".to_vec());
        let state: Vec<Row<'_>> = left.iter().map(|(key, value)| (&key[..], &value[..])).collect();
        drop(Index::open(directory.path(), CACHE_BYTES, &state, 9, ROOM).unwrap());
        assert_eq!(read_all(directory.path()).unwrap().0, left);
    }

    #[test]
    fn one_that_is_ahead_is_believed_at_every_start() {
        let directory = tempfile::tempdir().unwrap();
        let open = |sequence| Index::open(directory.path(), CACHE_BYTES, &[], sequence, ROOM);
        drop(open(7).unwrap());
        for _ in 0..2 {
            assert!(matches!(open(6), Err(IndexError::Ahead { seen: 7 })));
        }
        drop(open(7).unwrap());
    }

    #[test]
    fn one_that_cannot_be_built_again_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let state = [(&b"a"[..], &b"1"[..])];
        let index = Index::open(directory.path(), CACHE_BYTES, &state, 7, ROOM)
            .unwrap()
            .unwrap();
        let places = Places::new(directory.path());
        // Where a marker should be written.
        fs::create_dir(&places.opening).unwrap();
        assert!(Index::again(directory.path(), CACHE_BYTES, &state, 7).is_err());
        fs::remove_dir(&places.opening).unwrap();
        assert_eq!(row(&index, b"a").as_deref(), Some(&b"1"[..]));
        index.apply(&put(b"b", b"2"), None, usize::MAX, 8).unwrap();
        drop(index);
        let (rows, seen) = read_all(directory.path()).unwrap();
        assert_eq!((rows.len(), seen), (2, Some(8)));
    }
}
