//! The relay's side of a spool. Whatever lies there was put there by anybody: nothing is followed, nothing is waited
//! for, nothing is read without a bound, and what is no alert is moved aside once.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::put::{Name, UNFINISHED};
use super::{Entry, EntryError, FILE_BYTES_MAX, HEAD_BYTES_MAX};

/// In the spool: what was no alert, for a person to look at.
const ASIDE: &str = "aside";

/// Files that are kept there. Anybody may write into the spool, so what comes beyond is removed.
const ASIDE_MAX: usize = 64;

/// A file that nobody has finished writing for so long is left from a writer that was killed. Its sender was not told
/// that it is kept.
const UNFINISHED_FOR: Duration = Duration::from_secs(60 * 60);

/// Names that one look takes; the next look takes the next.
const NAMES_MAX: usize = 256;

/// A spool that this process, and no other, takes from.
pub struct Folder {
    path: PathBuf,
    /// Open and locked.
    directory: OwnedFd,
    /// Device and number, to know it again.
    identity: (u64, u64),
    /// Whether what is no alert can be kept.
    keeps_aside: bool,
}

/// Why a spool is not taken from.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none at this place.
    #[error("there is none")]
    Absent,
    /// Its owner's relay takes from it.
    #[error("it belongs to user {0}, whose relay takes from it")]
    Anothers(u32),
    /// Another relay of this user has it.
    #[error("another relay takes from it")]
    Taken,
    /// Anything else.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What a look into a spool has found.
#[derive(Debug, Default)]
pub struct Found {
    /// Spooled alerts in the order in which they were written, as well as that can be told.
    pub alerts: Vec<Name>,
    /// Files that are none, by their names, which may be any bytes.
    pub foreign: Vec<OsString>,
    /// There is more than one look takes: the name behind which the next look goes on.
    pub more: Option<OsString>,
}

/// What became of a file that is no alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetAside {
    /// It is kept, aside.
    Kept,
    /// Enough of such are kept, and it is removed.
    Removed,
    /// There was none of this name.
    Gone,
}

/// When a file that could not be taken is worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It is no alert.
    Never,
    /// When somebody has changed something: its mode, or this program's version.
    NextStart,
    /// After a pause: others may be readable now.
    Soon,
    /// After a pause, and so is every other file.
    AllSoon,
}

/// A spooled alert that was read.
#[derive(Debug)]
pub struct Spooled {
    /// What stands in the file; of a long body the start.
    pub entry: Entry,
    /// The length of the whole body, in bytes.
    pub body_bytes: u64,
}

/// Why a file is no alert that can be taken.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It is gone.
    #[error("it is gone")]
    Gone,
    /// It is not a file: what it is instead.
    #[error("it is {0}")]
    NoFile(&'static str),
    /// It is larger than any alert.
    #[error("it has {0} bytes, and {FILE_BYTES_MAX} are the most")]
    TooLarge(u64),
    /// It has a form that this version does not read.
    #[error(transparent)]
    Form(#[from] EntryError),
    /// It cannot be read, now.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
}

impl Unfit {
    /// When it may be readable.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unreadable(error) => match Errno::from_io_error(error) {
                Some(Errno::ACCESS | Errno::PERM) => Retry::NextStart,
                Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Retry::AllSoon,
                Some(_) | None => Retry::Soon,
            },
            Self::Form(EntryError::Newer(_)) => Retry::NextStart,
            Self::Gone | Self::NoFile(_) | Self::TooLarge(_) | Self::Form(EntryError::Head(_)) => Retry::Never,
        }
    }
}

impl Folder {
    /// Opens the spool at `path` for this process alone.
    ///
    /// # Errors
    /// It is not there, or another user's, or another relay has it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Its owner may be told from outside, where it may not be opened.
        let owner = std::fs::symlink_metadata(path).map(|there| there.uid());
        let us = rustix::process::geteuid().as_raw();
        match owner {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(OpenError::Absent),
            Ok(owner) if owner != us => return Err(OpenError::Anothers(owner)),
            Ok(_) | Err(_) => {}
        }
        let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?;
        let there = rustix::fs::fstat(&directory).map_err(io::Error::from)?;
        if there.st_uid != us {
            return Err(OpenError::Anothers(there.st_uid));
        }
        match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(OpenError::Taken),
            Err(error) => return Err(io::Error::from(error).into()),
        }
        let keeps_aside = keeps_aside(&directory, us);
        Ok(Self {
            path: path.to_owned(),
            directory,
            identity: (there.st_dev, there.st_ino),
            keeps_aside,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its name still leads to it.
    pub fn is_in_place(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|there| (there.dev(), there.ino()) == self.identity)
    }

    /// What lies in it behind the name `after`, without the names in `known`: the first in the order of names, so that
    /// each look goes on behind the last, whatever became of what that found. Files that nobody has finished are
    /// removed when they are old.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn list(&self, known: &HashSet<OsString>, after: &OsStr) -> io::Result<Found> {
        let mut names: BTreeSet<OsString> = BTreeSet::new();
        for entry in Dir::read_from(&self.directory)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            let is_own = [".", "..", ASIDE].iter().any(|own| name == *own);
            if is_own || name <= after || known.contains(name) {
                continue;
            }
            names.insert(name.to_owned());
            // One more than is taken tells that there is more.
            if names.len() > NAMES_MAX + 1 {
                names.pop_last();
            }
        }
        let mut found = Found::default();
        if names.len() > NAMES_MAX {
            names.pop_last();
            found.more = names.last().cloned();
        }
        let mut alerts: Vec<(SystemTime, Name)> = Vec::new();
        for name in names {
            let text = name.to_str().unwrap_or_default();
            let unfinished = text.strip_suffix(UNFINISHED).and_then(Name::parse);
            match (Name::parse(text), unfinished) {
                (Some(alert), _) => alerts.push((self.written(text), alert)),
                (None, Some(_)) => self.remove_if_old(text),
                (None, None) => found.foreign.push(name),
            }
        }
        alerts.sort();
        found.alerts = alerts.into_iter().map(|(_, name)| name).collect();
        Ok(found)
    }

    /// When a file was written, as far as that can be told.
    fn written(&self, name: &str) -> SystemTime {
        let there = std::fs::symlink_metadata(self.path.join(name));
        there
            .and_then(|there| there.modified())
            .unwrap_or_else(|_| SystemTime::now())
    }

    fn remove_if_old(&self, name: &str) {
        let age = SystemTime::now().duration_since(self.written(name));
        if age.is_ok_and(|age| age > UNFINISHED_FOR) {
            let _ = rustix::fs::unlinkat(&self.directory, name, AtFlags::empty());
        }
    }

    /// Reads an alert. Of a body that is longer than `body_bytes_max` only so much.
    ///
    /// # Errors
    /// It is none that can be taken.
    pub fn read(&self, name: &Name, body_bytes_max: usize) -> Result<Spooled, Unfit> {
        // A link is not followed, and a pipe without a writer or a terminal is not waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.directory, name.as_str(), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Err(Unfit::Gone),
            Err(Errno::LOOP) => return Err(Unfit::NoFile("a link")),
            Err(Errno::NXIO) => return Err(Unfit::NoFile("a socket")),
            Err(error) => return Err(Unfit::Unreadable(error.into())),
        };
        let there = file.metadata().map_err(Unfit::Unreadable)?;
        match FileType::from_raw_mode(there.mode()) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(Unfit::NoFile("a directory")),
            FileType::Fifo => return Err(Unfit::NoFile("a pipe")),
            _ => return Err(Unfit::NoFile("a device")),
        }
        // It would stay under its other name, for whoever made that.
        if there.nlink() > 1 {
            return Err(Unfit::NoFile("a second name of another file"));
        }
        if there.len() > FILE_BYTES_MAX {
            return Err(Unfit::TooLarge(there.len()));
        }
        let mut bytes = Vec::new();
        let most = (HEAD_BYTES_MAX + body_bytes_max) as u64;
        file.take(most).read_to_end(&mut bytes).map_err(Unfit::Unreadable)?;
        let mut entry = Entry::decode(&bytes)?;
        let head = (bytes.len() - entry.body.len()) as u64;
        // Its owner may have written more meanwhile.
        let body_bytes = there.len().saturating_sub(head).max(entry.body.len() as u64);
        entry.body.truncate(body_bytes_max);
        Ok(Spooled { entry, body_bytes })
    }

    /// Takes a file away. One that is gone already is no error.
    ///
    /// # Errors
    /// It is still there.
    pub fn remove(&self, name: &Name) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.directory, name.as_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes what was removed stay away over a power cut.
    pub fn sync(&self) {
        // Without it an alert may come back, which its key tells.
        let _ = rustix::fs::fsync(&self.directory);
    }

    /// Moves a file that is no alert out of the way, or removes it where there are enough of such.
    ///
    /// # Errors
    /// It stays where it is.
    pub fn set_aside(&self, name: &OsStr) -> io::Result<SetAside> {
        if self.keeps_aside && self.aside() < ASIDE_MAX {
            let kept = rustix::fs::openat(&self.directory, ASIDE, aside_flags(), Mode::empty())
                .and_then(|aside| rustix::fs::renameat(&self.directory, name, &aside, name));
            if kept.is_ok() {
                return Ok(SetAside::Kept);
            }
        }
        let removed = match rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => rustix::fs::unlinkat(&self.directory, name, AtFlags::REMOVEDIR),
            other => other,
        };
        match removed {
            Ok(()) => Ok(SetAside::Removed),
            Err(Errno::NOENT) => Ok(SetAside::Gone),
            Err(error) => Err(error.into()),
        }
    }

    /// How many files lie aside.
    pub fn aside(&self) -> usize {
        std::fs::read_dir(self.path.join(ASIDE)).map_or(0, |files| files.take(ASIDE_MAX).count())
    }
}

fn aside_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// Makes the folder for what is no alert. One that somebody else has made there is not used.
fn keeps_aside(directory: &OwnedFd, us: u32) -> bool {
    match rustix::fs::mkdirat(directory, ASIDE, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(_) => return false,
    }
    let aside = rustix::fs::openat(directory, ASIDE, aside_flags(), Mode::empty());
    let there = aside.and_then(|aside| rustix::fs::fstat(aside.as_fd()));
    there.is_ok_and(|there| there.st_uid == us && there.st_mode & 0o022 == 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::super::{make, put};
    use super::*;

    struct Place {
        directory: tempfile::TempDir,
        folder: Folder,
    }

    impl Place {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            make(&directory.path().join("spool")).unwrap();
            let folder = Folder::open(&directory.path().join("spool")).unwrap();
            Self { directory, folder }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn list(&self) -> Found {
            self.folder.list(&HashSet::new(), OsStr::new("")).unwrap()
        }
    }

    fn entry(text: &str) -> Entry {
        Entry {
            body: text.into(),
            ..Entry::new("ntfy", 1)
        }
    }

    #[test]
    fn alerts_are_found_in_their_order_and_read_and_removed() {
        let place = Place::new();
        let names: Vec<Name> = (0..5).map(|_| Name::draw().unwrap()).collect();
        for (index, name) in names.iter().enumerate() {
            put(place.folder.path(), name, &entry(&format!("text {index}")).encode()).unwrap();
            let written = File::options().write(true).open(place.path(name.as_str())).unwrap();
            let at = std::time::UNIX_EPOCH + Duration::from_secs(index as u64);
            written.set_modified(at).unwrap();
        }
        assert_eq!(place.list().alerts, names);
        let known = HashSet::from([OsString::from(names[0].as_str())]);
        assert_eq!(place.folder.list(&known, OsStr::new("")).unwrap().alerts, names[1..]);
        let read = place.folder.read(&names[3], 1000).unwrap();
        assert_eq!((read.entry.body.as_slice(), read.body_bytes), (&b"text 3"[..], 6));
        let part = place.folder.read(&names[3], 4).unwrap();
        assert_eq!((part.entry.body.as_slice(), part.body_bytes), (&b"text"[..], 6));
        place.folder.remove(&names[3]).unwrap();
        place.folder.remove(&names[3]).unwrap();
        assert!(matches!(place.folder.read(&names[3], 9), Err(Unfit::Gone)));
        assert_eq!(place.list().alerts.len(), 4);
    }

    #[test]
    fn one_relay_takes_from_a_spool_and_knows_when_it_is_another() {
        let place = Place::new();
        assert!(matches!(Folder::open(place.folder.path()), Err(OpenError::Taken)));
        assert!(place.folder.is_in_place());
        std::fs::rename(place.folder.path(), place.directory.path().join("away")).unwrap();
        assert!(!place.folder.is_in_place());
        assert!(matches!(Folder::open(place.folder.path()), Err(OpenError::Absent)));
        make(place.folder.path()).unwrap();
        assert!(!place.folder.is_in_place());
        assert!(Folder::open(place.folder.path()).is_ok());
        let link = place.directory.path().join("link");
        symlink(place.folder.path(), &link).unwrap();
        assert!(matches!(Folder::open(&link), Err(OpenError::Io(_))));
    }

    #[test]
    fn whatever_lies_there_is_told_and_hurts_nobody() {
        let place = Place::new();
        let draw = || Name::draw().unwrap();
        let secret = place.directory.path().join("secret");
        std::fs::write(&secret, entry("secret").encode()).unwrap();
        let (link, pipe, folder, socket, hard, large, odd) = (draw(), draw(), draw(), draw(), draw(), draw(), draw());
        symlink(&secret, place.path(link.as_str())).unwrap();
        let fifo = (FileType::Fifo, Mode::RUSR | Mode::WUSR);
        rustix::fs::mknodat(rustix::fs::CWD, place.path(pipe.as_str()), fifo.0, fifo.1, 0).unwrap();
        std::fs::create_dir(place.path(folder.as_str())).unwrap();
        let _socket = UnixListener::bind(place.path(socket.as_str())).unwrap();
        std::fs::hard_link(&secret, place.path(hard.as_str())).unwrap();
        let endless = File::create(place.path(large.as_str())).unwrap();
        endless.set_len(1 << 40).unwrap();
        std::fs::write(place.path(odd.as_str()), "disk full").unwrap();
        for (name, word) in [
            (&link, "a link"),
            (&pipe, "a pipe"),
            (&folder, "a directory"),
            (&socket, "a socket"),
            (&hard, "a second name"),
            (&large, "1099511627776 bytes"),
            (&odd, "no head"),
        ] {
            let unfit = place.folder.read(name, 1000).unwrap_err();
            assert!(unfit.to_string().contains(word), "{unfit}");
            assert_eq!(unfit.retry(), Retry::Never, "{unfit}");
            place.folder.set_aside(name.as_str().as_ref()).unwrap();
        }
        let found = place.list();
        assert!(found.alerts.is_empty() && found.foreign.is_empty(), "{found:?}");
        assert_eq!(place.folder.aside(), 7);
        assert_eq!(std::fs::read(&secret).unwrap(), entry("secret").encode());

        let newer = draw();
        std::fs::write(place.path(newer.as_str()), "{\"tautline\":9}\n").unwrap();
        assert_eq!(place.folder.read(&newer, 9).unwrap_err().retry(), Retry::NextStart);
    }

    #[test]
    fn what_is_no_alert_is_kept_up_to_a_number() {
        let place = Place::new();
        for round in 0..3 {
            for index in 0..ASIDE_MAX / 2 {
                std::fs::write(place.path(&format!("letter-{round}-{index}")), "x").unwrap();
            }
            std::fs::create_dir(place.path("nest")).unwrap();
            let found = place.list();
            assert_eq!(found.foreign.len(), ASIDE_MAX / 2 + 1);
            for name in found.foreign {
                place.folder.set_aside(&name).unwrap();
            }
            assert!(place.list().foreign.is_empty());
            let _ = std::fs::remove_dir(place.path("aside/nest"));
        }
        assert_eq!(place.folder.aside(), ASIDE_MAX);
    }

    #[test]
    fn one_look_takes_so_many_and_the_unfinished_go_when_they_are_old() {
        let place = Place::new();
        let unfinished = |age: u64| {
            let name = format!("{}{UNFINISHED}", Name::draw().unwrap());
            let file = File::create(place.path(&name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - Duration::from_secs(age))
                .unwrap();
            name
        };
        let (fresh, old) = (unfinished(60), unfinished(7200));
        let found = place.list();
        assert!(found.alerts.is_empty() && found.foreign.is_empty() && found.more.is_none());
        assert!(place.path(&fresh).exists() && !place.path(&old).exists());
        std::fs::remove_file(place.path(&fresh)).unwrap();
        for _ in 0..=NAMES_MAX {
            std::fs::write(place.path(Name::draw().unwrap().as_str()), "").unwrap();
        }
        let found = place.list();
        assert_eq!(found.alerts.len(), NAMES_MAX);
        // The next look goes on behind it, also where nothing could be done with what the first found.
        let rest = place.folder.list(&HashSet::new(), &found.more.unwrap()).unwrap();
        assert!(rest.more.is_none() && rest.alerts.len() == 1, "{rest:?}");
        assert!(!found.alerts.contains(&rest.alerts[0]));
    }

    #[test]
    fn names_may_be_any_bytes() {
        let place = Place::new();
        let name = OsStr::from_bytes(b"letter-\xff\xfe");
        std::fs::write(place.folder.path().join(name), "x").unwrap();
        assert_eq!(place.list().foreign, [name]);
        assert_eq!(place.folder.set_aside(name).unwrap(), SetAside::Kept);
        assert!(place.list().foreign.is_empty());
        assert_eq!(place.folder.set_aside(name).unwrap(), SetAside::Gone);
    }

    #[test]
    fn what_cannot_be_read_is_tried_again_at_its_time() {
        for (errno, retry) in [
            (Errno::MFILE, Retry::AllSoon),
            (Errno::NFILE, Retry::AllSoon),
            (Errno::IO, Retry::Soon),
            (Errno::ACCESS, Retry::NextStart),
        ] {
            assert_eq!(Unfit::Unreadable(errno.into()).retry(), retry, "{errno}");
        }
    }
}
