//! Why the index cannot be used.

use std::fmt;

/// Why the index cannot be used.
#[derive(Debug)]
pub(crate) enum IndexError {
    /// It has seen a transaction that the log does not have.
    Ahead {
        seen: u64,
    },
    Failed(String),
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(cause) => f.write_str(cause),
            Self::Ahead { seen } => write!(f, "it has seen transaction {seen}"),
        }
    }
}

pub(super) fn failed(error: impl fmt::Display) -> IndexError {
    IndexError::Failed(error.to_string())
}
