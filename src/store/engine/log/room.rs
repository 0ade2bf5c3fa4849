//! How much room a volume has, and for whom.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::disk::is_read_only;
use super::{CommitError, Disk};
use crate::util::lock;

/// What the largest new alert takes, and takes once more in the snapshot after it. The gauge counts with it, so that it
/// does not show room where an alert is refused.
pub(super) const NEW_BYTES_MAX: u64 = 2 * (128 * 1024);

/// A refusal that the volume's numbers do not explain, such as a quota's, is believed for this long: then health is
/// silent until the next write finds out how it is.
const REFUSAL_STANDS: Duration = Duration::from_secs(600);

/// What a transaction may take of the room that is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Something new that can still be refused: it must leave the reserve as it is.
    New,
    /// What follows from something that was accepted, or keeps the line up.
    Reserve,
}

/// What a volume has room for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Room {
    /// The volume does not tell: the answer comes with the write.
    Unknown,
    Bytes(u64),
    /// For nothing, not even in place.
    ReadOnly,
}

impl Room {
    pub(super) fn of(disk: &dyn Disk) -> Self {
        match disk.free_bytes() {
            Ok(Some(bytes)) => Self::Bytes(bytes),
            Err(error) if is_read_only(&error) => Self::ReadOnly,
            Ok(None) | Err(_) => Self::Unknown,
        }
    }

    /// # Errors
    /// There is less than `bytes` left.
    pub(super) fn holds(self, bytes: u64) -> Result<(), CommitError> {
        match self {
            Self::ReadOnly => Err(CommitError::ReadOnly("it is mounted so".into())),
            Self::Bytes(free) if free < bytes => Err(CommitError::Full(format!(
                "{} KiB are left on the volume, and {} KiB must be",
                free / 1024,
                bytes.div_ceil(1024)
            ))),
            Self::Bytes(_) | Self::Unknown => Ok(()),
        }
    }
}

/// What the log needs, as its writer last saw it, for readers on other threads: they ask the volume and compare.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Bytes that must be free for the largest new transaction.
    wanted: AtomicU64,
    /// What a write said that failed although the volume had room, until one succeeds.
    refused: Mutex<Option<(CommitError, Instant)>>,
}

impl Gauge {
    /// Why a new transaction would be refused now. Asks the volume, changes nothing.
    ///
    /// # Errors
    /// It would be.
    pub fn look(&self, disk: &dyn Disk) -> Result<(), CommitError> {
        Room::of(disk).holds(self.wanted.load(Ordering::Relaxed))?;
        match &*lock(&self.refused) {
            Some((refused, at)) if at.elapsed() < REFUSAL_STANDS => Err(refused.clone()),
            Some(_) | None => Ok(()),
        }
    }

    /// `bytes` must be free for a new transaction, before what it takes itself.
    pub(super) fn set(&self, bytes: u64) {
        self.wanted.store(bytes + NEW_BYTES_MAX, Ordering::Relaxed);
    }

    /// A write has failed for want of room, or because nothing can be written.
    pub(super) fn refused(&self, why: &CommitError) {
        *lock(&self.refused) = Some((why.clone(), Instant::now()));
    }

    /// A write has succeeded. One that took `new` room shows that there is some; any shows that the volume can be
    /// written.
    pub(super) fn written(&self, new: bool) {
        let mut refused = lock(&self.refused);
        if new || matches!(*refused, Some((CommitError::ReadOnly(_), _))) {
            *refused = None;
        }
    }
}

/// For want of room, by the volume, a quota or the process's own limit (`ulimit -f`).
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
