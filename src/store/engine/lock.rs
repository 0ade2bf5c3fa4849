//! One owner at a time.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::found::{Found, Identity};
use super::{LockError, StoreError, place};

/// Held while the value lives. The kernel releases it when the process ends, however it ends.
pub struct Lock {
    file: File,
    path: PathBuf,
    identity: Identity,
    /// The state directory's.
    directory: Identity,
}

impl Lock {
    /// Takes the lock of the state directory `path` and writes our pid into it.
    ///
    /// # Errors
    /// Another process has it. Any other failure to open or write the lock file comes as [`StoreError::Open`].
    pub fn acquire(path: &Path) -> Result<Self, StoreError> {
        let open = |error: std::io::Error| StoreError::Open {
            path: path.to_owned(),
            cause: error.to_string(),
        };
        let mut file = file_in(path).map_err(open)?;
        take(&mut file, path)?;
        let pid = format!("{}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(pid.as_bytes()))
            .map_err(open)?;
        let identity = Found::open(&file).map_err(open)?.identity;
        let directory = Found::at(path).map_err(open)?.identity;
        let path = path.join("lock");
        Ok(Self {
            file,
            path,
            identity,
            directory,
        })
    }

    /// [`acquire`](Self::acquire) for whoever only reads. On a file system that is mounted read-only no lock file is
    /// made or written; one that is there is locked all the same, because it may be mounted otherwise elsewhere.
    ///
    /// # Errors
    /// As for [`acquire`](Self::acquire).
    pub fn to_read(path: &Path) -> Result<File, StoreError> {
        let volume = rustix::fs::statvfs(path);
        if !volume.is_ok_and(|volume| volume.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY)) {
            return Self::acquire(path).map(|lock| lock.file);
        }
        // Without a lock file no relay has ever run there: then the directory is as good.
        let file = File::open(path.join("lock")).or_else(|_| File::open(path));
        let mut file = file.map_err(|error| StoreError::Open {
            path: path.to_owned(),
            cause: error.to_string(),
        })?;
        take(&mut file, path)?;
        Ok(file)
    }

    /// Whether the state is still where it was: the lock's name leads to the file that is held.
    pub(super) fn is_in_place(&self) -> bool {
        Found::at(&self.path).is_ok_and(|named| named.identity == self.identity)
    }

    /// Why it is not, if so: the directory was moved away or removed, and nobody would ever find what is written into
    /// it; or only the lock's file, and a second relay could start beside this one.
    pub(super) fn misplaced(&self) -> Option<&'static str> {
        if self.is_in_place() {
            return None;
        }
        let directory = self.path.parent().map(Found::at);
        Some(match directory {
            Some(Ok(named)) if named.identity == self.directory => {
                "`lock` in the state directory was removed or replaced"
            }
            Some(_) | None => "the state directory was moved away or removed",
        })
    }
}

fn take(file: &mut File, path: &Path) -> Result<(), StoreError> {
    match flock(&*file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            let error = LockError {
                path: path.to_owned(),
                pid: text.trim().parse().ok(),
            };
            Err(error.into())
        }
        Err(error) => Err(place::lock_failed(path, error)),
    }
}

/// Opens or makes the lock file of the state directory `path`. Root may look after another user's state: a file that it
/// makes there is that user's, whose relay would not start on a lock that it cannot open; and a link there is not
/// followed.
fn file_in(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options.custom_flags(OFlags::NOFOLLOW.bits() as i32);
    let name = path.join("lock");
    let file = match options.clone().create_new(true).open(&name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return options.open(&name),
        made => made?,
    };
    let (ours, owner) = (file.metadata()?, std::fs::metadata(path)?);
    if ours.uid() != owner.uid() {
        // Whoever may write there and is not root keeps what it makes.
        let _ = fchown(&file, Some(owner.uid()), Some(owner.gid()));
    }
    Ok(file)
}
