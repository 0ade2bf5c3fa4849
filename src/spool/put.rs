//! Writing into a spool, which any user of the host may do.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::fs::OFlags;

/// What a spool allows: its owner everything, everybody else to put files into it, and nobody to take those of others
/// away.
const FOLDER_MODE: u32 = 0o1733;

/// Bytes of a name before they are written as digits.
const NAME_BYTES: usize = 16;

/// What a file is called while it is written.
pub(super) const UNFINISHED: &str = ".part";

/// The name of a spooled file. Nobody can guess it, so nobody but the relay can open the file; and it is the key of
/// the alert in it, so that the relay takes each once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// A name that there was never before.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn draw() -> io::Result<Self> {
        let mut bytes = [0; NAME_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// The name of a file, if it is that of a spooled alert.
    pub fn parse(name: &str) -> Option<Self> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (name.len() == NAME_BYTES * 2 && name.bytes().all(digit)).then(|| Self(name.to_owned()))
    }

    /// As it stands in the folder.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes the folder `path`, where there is none, in a directory that is there. One that is there keeps its mode: its
/// owner may have closed it to some.
///
/// # Errors
/// It cannot be made.
pub fn make(path: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        // Said once more, because the umask takes bits away.
        Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE)),
    }
}

/// Writes `bytes` as the file `name` of the folder. When this returns, a power cut does not take it away; where it
/// fails, there is no such file.
///
/// # Errors
/// The folder is not there or may not be written into, or the disk does not take it.
pub fn put(folder: &Path, name: &Name, bytes: &[u8]) -> io::Result<()> {
    let (unfinished, whole) = (folder.join(format!("{name}{UNFINISHED}")), folder.join(name.as_str()));
    let written = write(folder, &unfinished, bytes).and_then(|file| {
        std::fs::rename(&unfinished, &whole)?;
        sync_name(folder, &file)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&unfinished);
        let _ = std::fs::remove_file(&whole);
    }
    written
}

fn write(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.custom_flags(OFlags::NOFOLLOW.bits() as i32);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    let_the_relay_read(folder, &file)?;
    file.sync_all()?;
    Ok(file)
}

/// The relay is the owner of the folder. Where its file cannot become that user's, others may read it too, who do not
/// know its name; where the folder hands its group on, that group alone.
fn let_the_relay_read(folder: &Path, file: &File) -> io::Result<()> {
    let (folder, ours) = (std::fs::metadata(folder)?, file.metadata()?);
    if ours.uid() == folder.uid() || fchown(file, Some(folder.uid()), None).is_ok() {
        return Ok(());
    }
    let hands_its_group_on = folder.mode() & 0o2000 != 0 && ours.gid() == folder.gid();
    let mode = if hands_its_group_on { 0o640 } else { 0o644 };
    file.set_permissions(Permissions::from_mode(mode))
}

/// Makes the name of a file that has just been renamed durable. Only who may list a folder can open it to sync it; the
/// others sync the whole file system.
fn sync_name(folder: &Path, file: &File) -> io::Result<()> {
    match File::open(folder) {
        Ok(folder) => folder.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(rustix::fs::syncfs(file)?),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_one_form_and_never_the_same() {
        let name = Name::draw().unwrap();
        assert_eq!(Name::parse(name.as_str()), Some(name.clone()));
        assert_ne!(Name::draw().unwrap(), name);
        let upper = name.as_str().replace(char::is_alphanumeric, "A");
        for other in [
            "",
            "x",
            "../../../../../../../etc/passwd",
            &upper,
            &format!("{name}.part"),
        ] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_folder_lets_all_write_and_its_owner_read() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("spool");
        make(&folder).unwrap();
        assert_eq!(std::fs::metadata(&folder).unwrap().mode() & 0o7777, FOLDER_MODE);
        // Who has closed it wants it closed.
        std::fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        make(&folder).unwrap();
        assert_eq!(std::fs::metadata(&folder).unwrap().mode() & 0o7777, 0o700);
        assert!(make(&place.path().join("none/spool")).is_err());
    }

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let name = Name::draw().unwrap();
        assert!(put(&place.path().join("none"), &name, b"x").is_err());
        put(place.path(), &name, b"disk full").unwrap();
        assert_eq!(std::fs::read(place.path().join(name.as_str())).unwrap(), b"disk full");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
