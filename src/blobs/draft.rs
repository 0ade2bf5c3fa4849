//! A file while it is written.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use super::{BlobError, Blobs, Kept, UNFINISHED, make};
use crate::alert::BlobHash;
use crate::util::lock;

/// What is held of a draft in memory.
const HEAD_BYTES: usize = 512;

/// Names of drafts in this process.
static DRAFTS: AtomicU64 = AtomicU64::new(0);

/// A file that has not its name yet, because that is the hash of all of it.
pub struct Draft {
    blobs: Blobs,
    path: PathBuf,
    file: File,
    hash: Sha256,
    bytes: u64,
    max: u64,
    /// The first bytes of it.
    head: Vec<u8>,
    /// It has its name, or another file has it.
    done: bool,
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Draft({} bytes)", self.bytes)
    }
}

impl Blobs {
    /// Begins a file. It is gone if it is dropped before it is [finished](Draft::finish).
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn draft(&self) -> Result<Draft, BlobError> {
        Draft::begin(self, self.0.limits.file_bytes)
    }

    /// Begins what holds files and is none that is kept, as a form in parts: it may be `more` longer than one.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn draft_around(&self, more: u64) -> Result<Draft, BlobError> {
        Draft::begin(self, self.0.limits.file_bytes + more)
    }

    /// Keeps these bytes as a file.
    ///
    /// # Errors
    /// They are too many, or the disk does not take them.
    pub fn put(&self, bytes: &[u8]) -> Result<Kept, BlobError> {
        let mut draft = self.draft()?;
        draft.write(bytes)?;
        draft.finish()
    }
}

impl Draft {
    fn begin(blobs: &Blobs, max: u64) -> Result<Self, BlobError> {
        let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
        let path = blobs
            .0
            .folder
            .join(format!("{}-{number}{UNFINISHED}", std::process::id()));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = match options.open(&path) {
            // The first of this state.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make(&blobs.0.folder)?;
                options.open(&path)?
            }
            opened => opened?,
        };
        Ok(Self {
            blobs: blobs.clone(),
            path,
            file,
            hash: Sha256::new(),
            bytes: 0,
            max,
            head: Vec::new(),
            done: false,
        })
    }

    /// Its first bytes, enough to tell what it is.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// How long it is by now.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds bytes at its end.
    ///
    /// # Errors
    /// They are too many, or the disk does not take them. What was written before is still there.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        let more = bytes.len() as u64;
        if self.bytes + more > self.max {
            return Err(BlobError::TooLarge(self.max));
        }
        self.blobs.claim(more)?;
        self.bytes += more;
        let missing = HEAD_BYTES.saturating_sub(self.head.len());
        self.head.extend_from_slice(&bytes[..bytes.len().min(missing)]);
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        Ok(())
    }

    /// All of it, from its start.
    ///
    /// # Errors
    /// The disk does not give it back.
    pub fn read_back(&mut self) -> Result<Vec<u8>, BlobError> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.bytes).unwrap_or_default());
        self.file.seek(SeekFrom::Start(0))?;
        (&self.file).take(self.bytes).read_to_end(&mut bytes)?;
        self.file.seek(SeekFrom::End(0))?;
        Ok(bytes)
    }

    /// Gives it its name. When this returns, a power cut does not take it away.
    ///
    /// # Errors
    /// The disk does not take it. Then it is gone.
    pub fn finish(mut self) -> Result<Kept, BlobError> {
        let max = self.blobs.0.limits.file_bytes;
        if self.bytes > max {
            return Err(BlobError::TooLarge(max));
        }
        self.file.sync_all()?;
        let mut hash = [0; 32];
        hash.copy_from_slice(&std::mem::take(&mut self.hash).finalize());
        let hash = BlobHash(hash);
        {
            let mut state = lock(&self.blobs.0.state);
            state.unclaimed(self.bytes);
            if !state.pin(hash) {
                if let Err(error) = std::fs::rename(&self.path, self.blobs.path(hash)) {
                    state.claimed(self.bytes);
                    return Err(error.into());
                }
                state.found(hash, self.bytes);
                state.pin(hash);
            } else {
                // The same is there already.
                let _ = std::fs::remove_file(&self.path);
            }
            self.done = true;
        }
        let kept = Kept {
            hash,
            bytes: self.bytes,
            blobs: self.blobs.clone(),
        };
        // Also where another has renamed it: that one may not have come as far as this.
        File::open(&self.blobs.0.folder)?.sync_all()?;
        Ok(kept)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.done {
            lock(&self.blobs.0.state).unclaimed(self.bytes);
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
