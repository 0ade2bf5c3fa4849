//! A state that this process does not run on, as files: what a check, a backup and a restoration do with it.
//!
//! Opening sled writes. So an index is never opened where it lies, but a copy of it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::StoreError;
use super::error::of_index;
pub use super::error::of_log as log_error;
use super::index::{self, IndexError};
use super::log::{CommitError, Disk, Inspection, Limits, Log, LogError, State};

/// A log that grows while it is read can look damaged: a frame is read before it is written, a later one after it.
const LOOKS_MAX: u32 = 5;

/// What the index is like beside the log. Every start puts it right, and nothing of this is a fault but
/// [`Ahead`](Self::Ahead).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClosedIndex {
    /// There is none yet.
    Absent,
    AsTheLog,
    /// This many rows differ, as after a kill.
    Behind(usize),
    /// It has seen this transaction, which the log does not have: that has lost something, and no start goes on with
    /// it.
    Ahead(u64),
    /// It will be made again.
    Unreadable(String),
    NotLookedAt(String),
}

/// Whether there is a state in the directory `path`. Nothing may be written into one that is no state, not even the
/// lock.
///
/// # Errors
/// There is none, or it cannot be looked at, in words for a person.
pub fn look_for_a_state(path: &Path) -> Result<(), StoreError> {
    let open = |cause: String| StoreError::Open {
        path: path.to_owned(),
        cause,
    };
    let about = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => open("there is no such directory".into()),
        io::ErrorKind::NotADirectory => open("it is not a directory".into()),
        io::ErrorKind::PermissionDenied => open("no permission, try sudo or the relay's own user".into()),
        _ => open(error.to_string()),
    };
    let entries = std::fs::read_dir(path).map_err(about)?;
    for entry in entries {
        let name = entry.map_err(|error| open(error.to_string()))?.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("log.") || name == "db" {
            return Ok(());
        }
    }
    Err(open("there is no state in it".into()))
}

/// Looks at the log; with `shared`, looks again when it grows or turns over under our eyes.
///
/// # Errors
/// What the last look says.
pub fn patiently<T>(shared: bool, mut look: impl FnMut() -> Result<T, LogError>) -> Result<T, LogError> {
    let mut looks = 1;
    loop {
        match look() {
            Err(LogError::Damaged { .. } | LogError::Io { .. }) if shared && looks < LOOKS_MAX => looks += 1,
            done => return done,
        }
    }
}

/// What a state without a log is. An index that has seen a transaction had one; it is looked at only by who has the
/// lock (`locked`).
pub fn without_log(path: &Path, locked: bool) -> StoreError {
    let seen = (locked && path.join("db").exists())
        .then(|| IndexCopy::of(path).ok())
        .flatten()
        .and_then(|copy| index::read_all(&copy.0).ok())
        .and_then(|(_, seen)| seen);
    match seen {
        Some(seen) => of_index(path, IndexError::Ahead { seen }, None),
        None => StoreError::Open {
            path: path.to_owned(),
            cause: "there is no log in it; a run of the relay makes one, also from an older state".into(),
        },
    }
}

/// Compares a copy of the index with the log's state. To be called with the lock held.
pub fn compare_index(path: &Path, found: &Inspection) -> ClosedIndex {
    if !path.join("db").exists() {
        return ClosedIndex::Absent;
    }
    if path.join("db.opening").exists() {
        return ClosedIndex::Unreadable(index::INTERRUPTED.into());
    }
    let copy = match IndexCopy::of(path) {
        Ok(copy) => copy,
        Err(error) => return ClosedIndex::NotLookedAt(format!("a copy of it cannot be made: {error}")),
    };
    let (rows, seen) = match index::read_all(&copy.0) {
        Ok(read) => read,
        Err(cause) => return ClosedIndex::Unreadable(cause),
    };
    if let Some(seen) = seen.filter(|seen| *seen > found.sequence) {
        return ClosedIndex::Ahead(seen);
    }
    let missing = found.state.iter().filter(|(key, value)| rows.get(*key) != Some(*value));
    let surplus = rows.keys().filter(|key| !found.state.contains_key(*key));
    match missing.count() + surplus.count() {
        0 => ClosedIndex::AsTheLog,
        differ => ClosedIndex::Behind(differ),
    }
}

/// For whoever writes into the state of a log that ends with `sequence`: the index may show that the log has lost
/// something, and the next start would stop at it. An index that cannot be read is no hindrance: a start makes it
/// again.
///
/// # Errors
/// [`StoreError::Damaged`]: acknowledged changes are gone. [`StoreError::Open`]: there is no copy of the index to look
/// at.
pub fn refuse_a_lost_end(path: &Path, sequence: u64) -> Result<(), StoreError> {
    if !path.join("db").exists() || path.join("db.opening").exists() {
        return Ok(());
    }
    let copy = IndexCopy::of(path).map_err(|error| StoreError::Open {
        path: path.to_owned(),
        cause: format!("its index cannot be copied, to be looked at: {error}"),
    })?;
    match index::read_all(&copy.0) {
        Ok((_, Some(seen))) if seen > sequence => Err(lost_end(path, sequence, seen)),
        _ => Ok(()),
    }
}

/// What it means that the index has `seen` a transaction when the log ends with `sequence`.
pub fn lost_end(path: &Path, sequence: u64, seen: u64) -> StoreError {
    of_index(path, IndexError::Ahead { seen }, Some(sequence))
}

/// Puts `state` in the place of what is in the directory `path`, whose log is on `disk`. To be called with the lock
/// held.
///
/// # Errors
/// It cannot be written: then nothing has changed.
pub fn replace(path: &Path, disk: Arc<dyn Disk>, state: &State) -> Result<(), StoreError> {
    let fault = |error| log_error(path, error);
    let Some((mut log, _)) = Log::open(Arc::clone(&disk), Limits::default()).map_err(fault)? else {
        return Log::create(disk, Limits::default(), state).map(drop).map_err(fault);
    };
    log.replace(state).map_err(|error| match error {
        // Nothing runs on it that would have to end.
        CommitError::Broken(cause) => StoreError::Open {
            path: path.to_owned(),
            cause,
        },
        error @ (CommitError::Full(_) | CommitError::ReadOnly(_)) => error.into(),
    })
}

/// A copy of the index beside it, where nobody but the owner can read; removed on drop.
struct IndexCopy(PathBuf);

impl IndexCopy {
    fn of(path: &Path) -> io::Result<Self> {
        let copy = Self(path.join(index::CHECKED_COPY));
        copy.remove();
        std::fs::create_dir(&copy.0)?;
        private(&copy.0)?;
        index::copy_tree(&path.join("db"), &copy.0.join("db"))?;
        Ok(copy)
    }

    fn remove(&self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn!("{} stays behind: {error}", self.0.display());
        }
    }
}

impl Drop for IndexCopy {
    fn drop(&mut self) {
        self.remove();
    }
}

fn private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}
