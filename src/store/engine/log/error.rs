//! Why the log cannot be read or written.

use std::io;

use super::frame::Fault;

/// Why there is no log to go on with.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{file}: {cause}")]
    Io { file: String, cause: io::Error },
    /// Acknowledged transactions are lost. The file is set aside under another name, and stays there.
    #[error("{file} is damaged: {cause}")]
    Damaged { file: String, cause: String },
    #[error("{file} was written by a later version of Tautline ({cause})")]
    Newer { file: String, cause: String },
}

/// What became of a commit that failed.
#[derive(Debug, Clone)]
pub enum CommitError {
    /// There is no room. Nothing of it is on the disk, and the log goes on.
    Full(String),
    /// Nothing can be written. Nothing of it is on the disk, and the log goes on when something can.
    ReadOnly(String),
    /// Nobody knows what is on the disk. The log must not be used any more.
    Broken(String),
}

/// Why a transaction was not staged. Those staged before it are not touched.
#[derive(Debug)]
pub enum StageError {
    /// It is over [`BODY_BYTES_MAX`](super::BODY_BYTES_MAX).
    TooLarge,
    /// As at a commit.
    Refused(CommitError),
}

pub(super) fn io_error(file: &str, cause: io::Error) -> LogError {
    LogError::Io {
        file: file.into(),
        cause,
    }
}

pub(super) fn fault_in(file: &str, fault: Fault) -> LogError {
    let file = file.into();
    match fault {
        Fault::Damaged(cause) => LogError::Damaged { file, cause },
        Fault::Newer(cause) => LogError::Newer { file, cause },
    }
}
