//! The few things that the log asks of a directory. Small enough that a test can stand in for it and cut the power.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use super::super::found::{Found, Identity};
use super::mapping::apart;

/// A directory with the log's files.
///
/// What a power cut leaves: file contents as of the last sync of that file, with any part of what was written since;
/// names as of the last [`sync_directory`](Self::sync_directory), with any first part of the changes since.
pub trait Disk: Send + Sync {
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A file's whole content.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// A file's length.
    fn bytes(&self, name: &str) -> io::Result<u64>;
    /// An existing file, to write to.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// An empty file, its owner's alone.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Atomic; replaces `to`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals last.
    fn sync_directory(&self) -> io::Result<()>;
    /// The file that has the name now. `None` where files are not told apart, as on a disk in memory.
    fn look_up(&self, name: &str) -> io::Result<Option<Found>> {
        let _ = name;
        Ok(None)
    }
    /// What is left for us, in bytes; `None` where the file system does not tell. Fails with
    /// [`io::ErrorKind::ReadOnlyFilesystem`] where nothing can be written at all.
    fn free_bytes(&self) -> io::Result<Option<u64>>;
}

/// A file of the log, open for writing.
pub trait DiskFile: Send {
    /// Writes all of `bytes`, or fails with perhaps a part written; with [`io::ErrorKind::ReadOnlyFilesystem`] only
    /// where nothing was.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn set_len(&mut self, len: u64) -> io::Result<()>;
    /// Content, and the length where reading the content needs it.
    fn sync_data(&mut self) -> io::Result<()>;
    /// Content and all metadata.
    fn sync_all(&mut self) -> io::Result<()>;
    /// Which file it is, whatever its name. `None` where files are not told apart.
    fn identity(&self) -> Option<Identity> {
        None
    }
}

/// A directory of the operating system.
pub struct RealDisk {
    directory: PathBuf,
}

impl RealDisk {
    /// `directory` must exist.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            // A name that is not UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.directory.join(name))?;
        let mut bytes = apart(usize::try_from(file.metadata()?.len()).unwrap_or(0));
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn bytes(&self, name: &str) -> io::Result<u64> {
        Ok(std::fs::metadata(self.directory.join(name))?.len())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).open(self.directory.join(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.directory.join(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.directory.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    fn look_up(&self, name: &str) -> io::Result<Option<Found>> {
        Found::at(&self.directory.join(name)).map(Some)
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        let volume = rustix::fs::statvfs(&self.directory)?;
        if volume.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        // Some network and FUSE file systems answer with zeros.
        Ok((volume.f_blocks > 0).then(|| volume.f_bavail.saturating_mul(volume.f_frsize)))
    }
}

/// Nothing can be written, and what was synced is as safe as before.
pub(super) fn is_read_only(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ReadOnlyFilesystem
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let written = loop {
            match self.0.write_at(bytes, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => break written?,
            }
        };
        let rest = self.0.write_all_at(&bytes[written..], offset + written as u64);
        rest.map_err(|error| match is_read_only(&error) {
            true => io::Error::other(format!("half way: {error}")),
            false => error,
        })
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn identity(&self) -> Option<Identity> {
        Found::open(&self.0).ok().map(|found| found.identity)
    }
}
