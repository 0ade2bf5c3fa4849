//! A certificate of one's own, by its files.

use std::path::PathBuf;

/// The files of a certificate, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, one's own certificate first.
    pub cert: PathBuf,
    pub key: PathBuf,
}
