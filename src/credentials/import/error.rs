//! Why a folder is not taken.

use std::path::PathBuf;

/// The file without which there is no login.
pub const CREDS: &str = "creds.json";

/// Why a folder is not taken. Nothing has been written then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    #[error("cannot read {path}: {cause}", path = path.display())]
    Unreadable { path: PathBuf, cause: String },
    #[error("{path} is not a folder", path = .0.display())]
    NotAFolder(PathBuf),
    #[error("{path} is empty: nobody is logged in there", path = .0.display())]
    Empty(PathBuf),
    #[error("there is no {CREDS} in {path}{hint}", path = path.display())]
    NoCreds { path: PathBuf, hint: String },
    #[error("{path} has more than {max} files", path = path.display())]
    TooManyFiles { path: PathBuf, max: usize },
    #[error("{path} holds more than {max_mib} MiB", path = path.display())]
    TooLarge { path: PathBuf, max_mib: u64 },
    #[error("{CREDS} is not whole: {0}. If the other program kept a copy ({CREDS}.bak), put that in its place")]
    Creds(String),
    #[error("{CREDS} is of a login that was never finished: no phone has linked this device; pair instead")]
    NotRegistered,
    /// The path of the field, and what is wrong with it.
    #[error("{CREDS} is damaged: {0}. Pair instead")]
    Key(String),
}
