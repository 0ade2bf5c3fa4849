//! Why the store does not do what it was asked.

use std::path::{Path, PathBuf};

use super::index::IndexError;
use super::log::{CommitError, LogError};

/// The state belongs to another process, or the lock file is out of reach.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} is in use by {holder}: stop that one first, or name another directory with --state", path = path.display(), holder = Holder(*pid))]
pub struct LockError {
    pub path: PathBuf,
    /// The owner's process, as it wrote it down.
    pub pid: Option<u32>,
}

struct Holder(Option<u32>);

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}

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
    /// The file system is read-only. This too is for now.
    #[error(
        "the state is on a file system that is read-only ({0}); once it can be written again, it goes on by itself"
    )]
    ReadOnly(String),
    /// What stands there is not what it should be.
    #[error("a record under {tree} is not readable: {cause}")]
    Record { tree: &'static str, cause: String },
    #[error("a record of {size} bytes for {tree} is over the limit of {max} bytes")]
    TooLarge {
        tree: &'static str,
        size: usize,
        max: usize,
    },
}

impl From<CommitError> for StoreError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Full(cause) => Self::Full(cause),
            CommitError::ReadOnly(cause) => Self::ReadOnly(cause),
            CommitError::Broken(cause) => Self::Poisoned(cause),
        }
    }
}

/// `error` of the log in the state directory `path`.
pub fn of_log(path: &Path, error: LogError) -> StoreError {
    let path = path.to_owned();
    match error {
        LogError::Io { file, cause } => StoreError::Open {
            path,
            cause: format!("{file}: {cause}"),
        },
        LogError::Damaged { file, cause } => StoreError::Damaged {
            path: path.join(file),
            cause,
        },
        LogError::Newer { file, cause } => StoreError::Newer {
            path: path.join(file),
            cause,
        },
    }
}

/// `error` of the index in the state directory `path`. `sequence`: of the log's last transaction, if there is a log.
pub(super) fn of_index(path: &Path, error: IndexError, sequence: Option<u64>) -> StoreError {
    let path = path.to_owned();
    match (error, sequence) {
        (IndexError::Failed(cause), _) => StoreError::Open { path, cause },
        (IndexError::Ahead { seen }, None) => StoreError::Damaged {
            path,
            cause: format!("the log is gone, and the index has seen transaction {seen} of it"),
        },
        (IndexError::Ahead { seen }, Some(sequence)) => StoreError::Damaged {
            path,
            cause: format!(
                "the log ends with transaction {sequence}, and the index has seen {seen}: the newest log is missing, or has \
                 lost its end, or older files were put back"
            ),
        },
    }
}
