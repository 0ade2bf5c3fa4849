//! The files that alerts carry, in a folder of the state, each under the hash of its content.
//!
//! A file is there whole and synced before the record of an alert says so, and goes when no record mentions it. Between
//! the two a [`Kept`] holds it: whoever has one may write a record that names the file.
//!
//! Everything here may wait for the disk; none of it belongs on the executor, but for [`Blobs::hold`] and
//! [`Blobs::release`].
//!
//! Text goes first: files are bounded each and in all, leave room on the disk for the log, and those of alerts that are
//! through give way to new ones. Deliberately absent: what a file is. The room `media` reads pictures.

mod draft;
mod state;

pub use draft::Draft;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::alert::BlobHash;
use crate::util::lock;
use state::State;

/// Where they are, in the state directory.
pub const FOLDER: &str = "blobs";

/// What a file is called until it is whole.
const UNFINISHED: &str = ".part";

/// The part of a volume that files leave free for the log at least, and how much of that is enough on a large one.
const FREE_SHARE: u64 = 8;
const FREE_BYTES_ENOUGH: u64 = 64 << 20;

/// What bounds the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest one, in bytes.
    pub file_bytes: u64,
    /// All of them, in bytes.
    pub total_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // What WhatsApp's apps take of pictures, video and audio.
            file_bytes: 16 << 20,
            // A day of a busy camera, on the smallest card that is sold.
            total_bytes: 512 << 20,
        }
    }
}

/// Why a file was not kept.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It is longer than one may be, in bytes.
    #[error("it is larger than {}", crate::alert::hygiene::size(*.0))]
    TooLarge(u64),
    /// Files of alerts that wait take all that files may.
    #[error("the files of alerts that wait take {}, which is all that they may", crate::alert::hygiene::size(*.0))]
    Full(u64),
    /// The disk is full, or nearly so.
    #[error("the disk has no room for it")]
    NoRoom,
    /// The disk does not take it.
    #[error("it could not be written: {0}")]
    Disk(io::Error),
}

impl From<io::Error> for BlobError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoRoom,
            _ => Self::Disk(error),
        }
    }
}

/// All files of one state. Clones are the same.
#[derive(Clone)]
pub struct Blobs(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    limits: Limits,
    state: Mutex<State>,
}

/// A file that is on the disk, and stays there while this lives. Whoever writes a record that mentions it tells
/// [`Blobs::hold`] before this is dropped.
pub struct Kept {
    hash: BlobHash,
    bytes: u64,
    blobs: Blobs,
}

impl Kept {
    pub fn hash(&self) -> BlobHash {
        self.hash
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({})", self.hash)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if lock(&self.blobs.0.state).unpin(self.hash) {
            self.blobs.remove_later(vec![self.hash]);
        }
    }
}

impl fmt::Debug for Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blobs({})", self.0.folder.display())
    }
}

impl Blobs {
    /// The files in the state directory `state`. What was being written when the last run ended goes; until
    /// [`sweep`](Self::sweep) nothing else does. A folder that cannot be read costs files, and no text: that is said in
    /// the log.
    pub fn open(state: &Path, limits: Limits) -> Self {
        let folder = state.join(FOLDER);
        let known = match read_folder(&folder) {
            Ok(known) => known,
            Err(error) if error.kind() == io::ErrorKind::NotFound => State::default(),
            Err(error) => {
                log::error!("{}: the files of alerts cannot be read: {error}", folder.display());
                State::default()
            }
        };
        Self(Arc::new(Inner {
            folder,
            limits,
            state: Mutex::new(known),
        }))
    }

    /// What bounds them.
    pub fn limits(&self) -> Limits {
        self.0.limits
    }

    /// Where a file is, or would be.
    pub fn path(&self, hash: BlobHash) -> PathBuf {
        self.0.folder.join(hash.to_string())
    }

    /// A file, for reading.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub fn open_file(&self, hash: BlobHash) -> io::Result<File> {
        File::open(self.path(hash))
    }

    /// The record of alert `seq` mentions these files, or is about to. `waits`: something of it is still to be sent;
    /// the files of one that is through may give way.
    pub fn hold(&self, seq: u64, files: impl IntoIterator<Item = BlobHash>, waits: bool) {
        lock(&self.0.state).hold(seq, files, waits);
    }

    /// The alert `seq` is through.
    pub fn settled(&self, seq: u64) {
        lock(&self.0.state).settled(seq);
    }

    /// There is no record of alert `seq`, or no more: files that no other mentions go, soon.
    pub fn release(&self, seq: u64) {
        let gone = lock(&self.0.state).release(seq);
        self.remove_later(gone);
    }

    /// Removes the files that no record mentions. To be called once, when every record has been [told](Self::hold).
    pub fn sweep(&self) {
        let unused = lock(&self.0.state).unused();
        for hash in unused {
            self.remove(hash);
        }
    }

    /// Removes the files of alerts that are through: the disk needs their room.
    pub fn make_room(&self) {
        let through: Vec<BlobHash> = {
            let state = lock(&self.0.state);
            state.giving_way().collect()
        };
        self.remove_later(through);
    }

    /// How long all of them are together, and how many there are.
    pub fn total(&self) -> (u64, usize) {
        lock(&self.0.state).total()
    }

    fn remove_later(&self, files: Vec<BlobHash>) {
        if files.is_empty() {
            return;
        }
        let blobs = self.clone();
        smol::unblock(move || files.into_iter().for_each(|hash| blobs.remove(hash))).detach();
    }

    /// Removes a file unless somebody has come to need it. Under the lock, so that one that is put again at the same
    /// time is written after this or found before.
    fn remove(&self, hash: BlobHash) {
        let mut state = lock(&self.0.state);
        if !state.may_go(hash) {
            return;
        }
        match std::fs::remove_file(self.path(hash)) {
            Ok(()) => state.gone(hash),
            Err(error) if error.kind() == io::ErrorKind::NotFound => state.gone(hash),
            Err(error) => log::warn!("the file {hash} of an alert cannot be removed: {error}"),
        }
    }

    /// Makes room for `bytes` more: of all files, and on the disk.
    fn claim(&self, bytes: u64) -> Result<(), BlobError> {
        loop {
            let (full, oldest) = {
                let mut state = lock(&self.0.state);
                let over = state.total().0 + bytes > self.0.limits.total_bytes;
                let full = match (over, leaves_room(&self.0.folder, bytes)) {
                    (true, _) => Some(BlobError::Full(state.total().0)),
                    (false, false) => Some(BlobError::NoRoom),
                    (false, true) => None,
                };
                if full.is_none() {
                    state.claimed(bytes);
                }
                let oldest = state.giving_way().next();
                (full, oldest)
            };
            match (full, oldest) {
                (None, _) => return Ok(()),
                (Some(full), None) => return Err(full),
                (Some(_), Some(oldest)) => {
                    self.remove(oldest);
                    // One that cannot be removed would be asked for without end.
                    if self.path(oldest).exists() {
                        return Err(BlobError::NoRoom);
                    }
                }
            }
        }
    }
}

/// What lies in the folder.
fn read_folder(folder: &Path) -> io::Result<State> {
    let mut known = State::default();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(UNFINISHED) {
            std::fs::remove_file(entry.path())?;
        } else if let Ok(hash) = name.parse() {
            known.found(hash, entry.metadata()?.len());
        }
    }
    Ok(known)
}

/// Makes the folder, readable by its owner alone.
fn make(folder: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        // Another has been as quick.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    let state = folder.parent().unwrap_or(Path::new("."));
    File::open(state)?.sync_all()
}

/// Where the file of this hash is in the state directory `state`.
pub fn path(state: &Path, hash: BlobHash) -> PathBuf {
    state.join(FOLDER).join(hash.to_string())
}

/// Reads a file and compares it with its name, without opening the others.
///
/// # Errors
/// It is not there, cannot be read, or has another content.
pub fn check(state: &Path, hash: BlobHash) -> io::Result<()> {
    let mut file = File::open(path(state, hash))?;
    let mut found = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            count => found.update(&piece[..count]),
        }
    }
    match found.finalize()[..] == hash.0 {
        true => Ok(()),
        false => Err(io::Error::other("its content has changed")),
    }
}

/// Whether the disk has enough left for the log with so much more on it. One that does not say is believed to.
fn leaves_room(folder: &Path, bytes: u64) -> bool {
    let found: Result<_, Errno> = rustix::fs::statvfs(folder);
    let Ok(found) = found else { return true };
    let all = found.f_blocks.saturating_mul(found.f_frsize);
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    free.saturating_sub(bytes) >= (all / FREE_SHARE).min(FREE_BYTES_ENOUGH)
}

#[cfg(test)]
mod tests;
