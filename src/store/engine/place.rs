//! Whether a directory can be the place of a state: others may not write there, and one process can lock it.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::io::Errno;

use super::StoreError;

/// The bits by which others may write.
const OTHERS_WRITE: u32 = 0o022;

/// The bit of directories that many share, as `/tmp`: each may remove only files of their own.
const STICKY: u32 = 0o1000;

/// Creates `path` readable by its owner alone. What exists keeps its mode: a person may have set it.
///
/// # Errors
/// It is no directory, or cannot be made.
pub fn create_private(path: &Path) -> io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|found| !found.is_dir()) {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a directory"));
    }
    let new: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // What is in a directory lasts no longer than its own name.
    for parent in new.iter().filter_map(|path| path.parent()) {
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        std::fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Takes the right to write into the state directory `path` from everybody but its owner: who may write there can put
/// files of his own in the place of ours. Only a directory that is empty or a state already is changed: any other
/// belongs to somebody else, and whoever runs as root could close it to the whole host.
///
/// # Errors
/// [`StoreError::Unfit`] where that cannot be done, or the directory is not ours to change.
pub(super) fn close_to_others(path: &Path) -> Result<(), StoreError> {
    let mode = || std::fs::metadata(path).map(|found| found.mode());
    let open = |error: io::Error| StoreError::Open {
        path: path.to_owned(),
        cause: error.to_string(),
    };
    let before = mode().map_err(open)?;
    if before & OTHERS_WRITE == 0 {
        return Ok(());
    }
    if let Some(why) = not_ours(path, before & STICKY != 0).map_err(open)? {
        return Err(StoreError::Unfit {
            path: path.to_owned(),
            cause: why.to_owned(),
        });
    }
    let set = std::fs::set_permissions(path, Permissions::from_mode(0o700));
    // FAT and Windows' drives take a mode and keep another.
    if mode().map_err(open)? & OTHERS_WRITE != 0 {
        let why = match set {
            Ok(()) => "it keeps no permissions".to_owned(),
            Err(error) => format!("its mode cannot be changed: {error}"),
        };
        return Err(unfit(path, &format!("other users may write there, and {why}")));
    }
    log::warn!(
        "{}: others could write into the state (mode {:o}); it is 700 now. If somebody untrusted has used this box, \
         restore a backup",
        path.display(),
        before & 0o7777
    );
    Ok(())
}

/// Why the directory `path`, which others may write, is not ours to close. `shared` says that it has the sticky bit:
/// then there may be no files but a state's. An empty one is taken, because a new tmpfs has that bit.
fn not_ours(path: &Path, shared: bool) -> io::Result<Option<&'static str>> {
    let (mut state, mut foreign) = (false, false);
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name();
        match &*name.to_string_lossy() {
            "db" | "lock" => state = true,
            log if log.starts_with("log.") => state = true,
            // A volume of its own begins with the first, and an aborted start may leave the others alone.
            "lost+found" | "control.sock" | "control.path" | "spool" | "blobs" => {}
            index if index.starts_with("db.") => {}
            _ => foreign = true,
        }
    }
    Ok(match (state, foreign, shared) {
        (_, true, true) => Some("all users of this host share it, as they do /tmp, so its mode is left as it is"),
        (false, true, false) => {
            Some("other users may write there, and it holds files that are no state's, so its mode is left as it is")
        }
        (_, false, true) | (true, _, false) | (false, false, false) => None,
    })
}

/// What a failure to lock means for the place.
pub(super) fn lock_failed(path: &Path, error: Errno) -> StoreError {
    match error {
        Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL => {
            unfit(path, "it gives no locks, so two relays could send at once")
        }
        other => StoreError::Open {
            path: path.to_owned(),
            cause: io::Error::from(other).to_string(),
        },
    }
}

fn unfit(path: &Path, why: &str) -> StoreError {
    let magic = rustix::fs::statfs(path).map_or(0, |found| found.f_type as u64);
    StoreError::Unfit {
        path: path.to_owned(),
        cause: format!("it is on {}: {why}", file_system(magic)),
    }
}

const TMPFS: u64 = 0x0102_1994;
const OVERLAYFS: u64 = 0x794c_7630;
const RAMFS: u64 = 0x8584_58f6;

/// The file system that a path lies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    pub name: String,
    /// It is in memory, or goes with its container: what is on it may be gone after a reboot.
    pub is_volatile: bool,
}

/// What `path` lies on.
///
/// # Errors
/// There is nothing, or it cannot be looked at.
pub fn file_system_under(path: &Path) -> io::Result<FileSystem> {
    let magic = rustix::fs::statfs(path)?.f_type as u64;
    Ok(FileSystem {
        name: file_system(magic),
        is_volatile: [TMPFS, OVERLAYFS, RAMFS].contains(&(magic & 0xffff_ffff)),
    })
}

/// The number of `statfs(2)` as a name.
fn file_system(magic: u64) -> String {
    let name = match magic & 0xffff_ffff {
        0x4d44 => "FAT (vfat)",
        0x2011_bab0 => "exFAT",
        0x0102_1997 => "9p, as Windows' drives are in WSL",
        0x6969 => "NFS",
        0xfe53_4d42 | 0xff53_4d42 | 0x517b => "SMB (cifs)",
        0x7366_746e | 0x5346_544e => "NTFS",
        0x6573_5546 => "FUSE",
        0xef53 => "ext4",
        0x9123_683e => "btrfs",
        0x5846_5342 => "XFS",
        0xf2f5_2010 => "F2FS",
        0x2fc1_2fc1 => "ZFS",
        TMPFS => "tmpfs",
        RAMFS => "ramfs",
        OVERLAYFS => "overlayfs",
        other => return format!("a file system of type {other:#x}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::engine::Engine;
    use crate::store::engine::log::{Limits, RealDisk};

    #[test]
    fn a_directory_that_others_may_write_is_put_right() {
        let state = tempfile::tempdir().unwrap();
        let mode = || std::fs::metadata(state.path()).unwrap().mode() & 0o777;
        for (before, after) in [
            (0o777, 0o700),
            (0o770, 0o700),
            (0o702, 0o700),
            (0o755, 0o755),
            (0o700, 0o700),
        ] {
            std::fs::set_permissions(state.path(), Permissions::from_mode(before)).unwrap();
            close_to_others(state.path()).unwrap();
            assert_eq!(mode(), after, "{before:o}");
        }
    }

    #[test]
    fn a_directory_of_somebody_else_is_left_as_it_is_and_told() {
        let open = |path: &Path| {
            let disk = Arc::new(RealDisk::new(path.to_owned()));
            Engine::open(path, 1 << 20, disk, Limits::default(), Box::new(|| ())).map(drop)
        };
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
        // Who shares a directory may have put a state's files there too.
        for (before, files, word) in [
            (0o1777, &["letter.txt"][..], "share it"),
            (0o1777, &["lock", "log.1", "letter.txt"], "share it"),
            (0o777, &["letter.txt"], "no state's"),
            (0o770, &["letter.txt"], "no state's"),
        ] {
            let state = tempfile::tempdir().unwrap();
            for file in files {
                std::fs::write(state.path().join(file), "").unwrap();
            }
            std::fs::set_permissions(state.path(), Permissions::from_mode(before)).unwrap();
            let Err(error @ StoreError::Unfit { .. }) = open(state.path()) else {
                panic!("{before:o} {files:?}")
            };
            let words = error.to_string();
            assert!(words.contains(word) && words.contains("--state"), "{words}");
            assert_eq!(mode(state.path()), before);
            assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), files.len());
        }
        for (before, files) in [
            (0o777, &["lock", "letter.txt"][..]),
            (0o777, &["log.1", "letter.txt"]),
            (0o777, &["lost+found"]),
            (0o1777, &[]),
            (0o1777, &["lock", "log.1", "db", "control.sock"]),
        ] {
            let state = tempfile::tempdir().unwrap();
            for file in files {
                std::fs::write(state.path().join(file), "").unwrap();
            }
            std::fs::set_permissions(state.path(), Permissions::from_mode(before)).unwrap();
            close_to_others(state.path()).unwrap();
            assert_eq!(mode(state.path()), 0o700, "{files:?}");
        }
        // Where nobody else may write, there is nothing to take from anybody.
        let state = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join("letter.txt"), "").unwrap();
        close_to_others(state.path()).unwrap();
    }

    #[test]
    fn a_file_system_without_locks_is_named_with_what_to_do() {
        let state = tempfile::tempdir().unwrap();
        for error in [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS] {
            let said = lock_failed(state.path(), error);
            assert!(matches!(said, StoreError::Unfit { .. }), "{said}");
            let words = said.to_string();
            assert!(words.contains("gives no locks") && words.contains("--state"), "{words}");
        }
        assert!(matches!(lock_failed(state.path(), Errno::IO), StoreError::Open { .. }));
        for (magic, name) in [
            (0x4d44, "vfat"),
            (0x2011_bab0, "exFAT"),
            (0x0102_1997, "9p"),
            (0x6969, "NFS"),
            (1, "0x1"),
        ] {
            assert!(file_system(magic).contains(name));
        }
    }
}
