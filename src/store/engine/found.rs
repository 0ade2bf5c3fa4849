//! Which file a name leads to, and how long it is.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Statx, StatxFlags, makedev, statx};
use rustix::io::Errno;

/// Tells files apart: the device, and the number of the file on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    number: u64,
}

/// What a name leads to.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    pub identity: Identity,
    /// Its length in bytes.
    pub len: u64,
}

/// Asked before each group of transactions, so it does not ask for the times of the file: where the kernel keeps fine
/// ones (since 6.13), the first write after somebody has seen them changes them, and every sync writes the inode, too.
/// That made a commit twice the bytes for the device, and a quarter to a third slower.
const WANTED: StatxFlags = StatxFlags::INO.union(StatxFlags::SIZE);

impl Found {
    /// Follows links.
    ///
    /// # Errors
    /// There is nothing, or it cannot be looked at.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        match statx(CWD, path, AtFlags::empty(), WANTED) {
            Ok(found) => Ok(Self::of(&found)),
            Err(error) => Self::without_statx(error, || std::fs::metadata(path)),
        }
    }

    /// # Errors
    /// The file cannot be looked at.
    pub(super) fn open(file: &File) -> io::Result<Self> {
        match statx(file, c"", AtFlags::EMPTY_PATH, WANTED) {
            Ok(found) => Ok(Self::of(&found)),
            Err(error) => Self::without_statx(error, || file.metadata()),
        }
    }

    fn of(found: &Statx) -> Self {
        Self {
            identity: Identity {
                device: makedev(found.stx_dev_major, found.stx_dev_minor),
                number: found.stx_ino,
            },
            len: found.stx_size,
        }
    }

    /// Kernels before 4.11 do not have it, and some sandboxes refuse it.
    fn without_statx(error: Errno, metadata: impl FnOnce() -> io::Result<Metadata>) -> io::Result<Self> {
        match error {
            Errno::NOSYS | Errno::PERM => metadata().map(|metadata| Self {
                identity: Identity {
                    device: metadata.dev(),
                    number: metadata.ino(),
                },
                len: metadata.len(),
            }),
            error => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_of_a_file_is_asked_for() {
        let times = StatxFlags::MTIME | StatxFlags::CTIME | StatxFlags::ATIME | StatxFlags::BTIME;
        assert!(!WANTED.intersects(times));
    }

    #[test]
    fn a_file_is_the_same_by_its_name_and_by_every_way_of_looking() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.1");
        std::fs::write(&path, [0; 59]).unwrap();
        let file = File::open(&path).unwrap();
        let by_name = Found::at(&path).unwrap();
        let without = |error| Found::without_statx(error, || std::fs::metadata(&path));
        for found in [
            Found::open(&file).unwrap(),
            without(Errno::NOSYS).unwrap(),
            without(Errno::PERM).unwrap(),
        ] {
            assert_eq!((found.identity, found.len), (by_name.identity, 59));
        }
        assert_eq!(without(Errno::NOENT).unwrap_err().kind(), io::ErrorKind::NotFound);

        std::fs::rename(&path, directory.path().join("away")).unwrap();
        assert_eq!(Found::at(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(&path, []).unwrap();
        assert_ne!(Found::at(&path).unwrap().identity, by_name.identity);
        assert_eq!(Found::open(&file).unwrap().identity, by_name.identity);
    }
}
