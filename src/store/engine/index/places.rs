//! Where an index lies, a copy of it in memory, and what is done with its files as files.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::error::{IndexError, failed};

/// A file system in memory.
const MEMORY: &str = "/dev/shm";

/// A few of sled's segments, which an index takes however little it holds.
const SEGMENTS_BYTES: u64 = 4 * 1024 * 1024;

pub(super) struct Places {
    pub(super) db: PathBuf,
    /// There while the index is being opened.
    pub(super) opening: PathBuf,
    /// The last index that could not be used, for whoever wants to know why.
    pub(super) aside: PathBuf,
}

impl Places {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            db: directory.join("db"),
            opening: directory.join("db.opening"),
            aside: directory.join("db.aside"),
        }
    }

    /// sled does not open while one of these is there.
    fn remove_leftovers(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.db) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_string_lossy().ends_with(".generating") {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// An abort or a kill leaves the marker, and the next start does not try again.
    pub(super) fn begin_opening(&self) -> io::Result<()> {
        self.remove_leftovers()?;
        let mut marker = OpenOptions::new();
        marker.write(true).create(true).truncate(true).mode(0o600);
        marker.open(&self.opening)?;
        // sled makes its files as the umask says, and nobody else gets at them in a directory that is its owner's
        // alone.
        if !self.db.exists() {
            DirBuilder::new().mode(0o700).create(&self.db)?;
        }
        Ok(())
    }

    pub(super) fn has_opened(&self) -> Result<(), IndexError> {
        fs::remove_file(&self.opening).map_err(failed)?;
        make_private(&self.db).map_err(failed)
    }

    pub(super) fn put_back(&self) -> io::Result<()> {
        empty(&self.db);
        absent_is_fine(fs::remove_dir_all(&self.db))?;
        absent_is_fine(fs::rename(&self.aside, &self.db))?;
        absent_is_fine(fs::remove_file(&self.opening))
    }

    /// Removes what is left of indexes that could not be made or used, and that nobody reads.
    pub(super) fn remove_failed(&self) -> io::Result<()> {
        empty(&self.db);
        empty(&self.aside);
        self.remove()
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        self.remove_aside()?;
        absent_is_fine(fs::remove_dir_all(&self.db))?;
        absent_is_fine(fs::remove_file(&self.opening))
    }

    pub(super) fn remove_aside(&self) -> io::Result<()> {
        match self.aside.is_dir() {
            true => fs::remove_dir_all(&self.aside),
            false => absent_is_fine(fs::remove_file(&self.aside)),
        }
    }

    pub(super) fn set_aside(&self) -> io::Result<()> {
        self.remove_aside()?;
        absent_is_fine(make_private(&self.db))?;
        absent_is_fine(fs::rename(&self.db, &self.aside))?;
        absent_is_fine(fs::remove_file(&self.opening))
    }
}

/// Gives back the room of what sled could not write, which it may still have open and nobody reads.
fn empty(db: &Path) {
    for entry in fs::read_dir(db).into_iter().flatten().flatten() {
        if entry.path().is_file() {
            let _ = OpenOptions::new().write(true).truncate(true).open(entry.path());
        }
    }
}

pub(crate) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// What sled's files in `db` take, as far as they can be looked at.
pub(super) fn bytes_in(db: &Path) -> u64 {
    let sizes = |directory: &Path| -> io::Result<u64> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
    };
    sizes(db).unwrap_or(0) + sizes(&db.join("blobs")).unwrap_or(0)
}

/// Makes `place` and all in it its owner's alone.
pub(super) fn make_private(place: &Path) -> io::Result<()> {
    let directory = fs::symlink_metadata(place)?.is_dir();
    let mode = if directory { 0o700 } else { 0o600 };
    fs::set_permissions(place, fs::Permissions::from_mode(mode))?;
    if directory {
        for entry in fs::read_dir(place)? {
            // sled renames and removes what it no longer needs.
            absent_is_fine(make_private(&entry?.path()))?;
        }
    }
    Ok(())
}

pub(super) fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A copy of an index in a file system in memory, gone with its value.
pub(super) struct Copy(pub(super) PathBuf);

impl Copy {
    /// `None` where there is nothing to copy, or no room for it in memory.
    ///
    /// # Errors
    /// `directory` cannot be looked at.
    pub(super) fn of(db: &Path, directory: &Path) -> io::Result<Option<Self>> {
        let place = memory_for(directory)?;
        // Of a run that was killed.
        let _ = fs::remove_dir_all(&place);
        if !memory_has_room(bytes_in(db) + SEGMENTS_BYTES) || DirBuilder::new().mode(0o700).create(&place).is_err() {
            return Ok(None);
        }
        let copy = Self(place);
        let made = copy_tree(db, &Places::new(&copy.0).db);
        Ok(made.is_ok().then_some(copy))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn memory_has_room(bytes: u64) -> bool {
    let volume = rustix::fs::statvfs(MEMORY);
    volume.is_ok_and(|volume| volume.f_bavail.saturating_mul(volume.f_frsize) >= bytes)
}

/// A place in memory that no other state has, and that the next start from this one finds again.
pub(super) fn memory_for(directory: &Path) -> io::Result<PathBuf> {
    let state = fs::metadata(directory)?;
    let user = rustix::process::getuid().as_raw();
    let name = format!("tautline-{user}-{}-{}", state.dev(), state.ino());
    Ok(Path::new(MEMORY).join(name))
}
