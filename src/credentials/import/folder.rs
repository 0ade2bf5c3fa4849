//! The folder on the disk: which files there are, and their bytes, within limits. Reads only.

use std::fs::{self, File as Handle};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{CREDS, File, ImportError, Imported, parse};

/// Far above what an account of many years has (pre-keys, contacts, groups: some ten thousand).
pub const FILES_MAX: usize = 500_000;
/// One file. A session of 40 closed states with thousands of skipped messages stays below.
pub const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// All files: what is made of them goes into one transaction, whose own limit is the same.
pub const TOTAL_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads the login in `path`. Symbolic links are followed: the folder and its files may lie elsewhere.
///
/// # Errors
/// There is no finished login in it that can be read.
pub fn read(path: &Path) -> Result<Imported, ImportError> {
    let mut names = list(path)?;
    if names.is_empty() {
        return Err(ImportError::Empty(path.to_owned()));
    }
    names.sort();
    let creds = match read_file(&path.join(CREDS)) {
        Ok(bytes) => bytes,
        Err(Unread::Missing) => {
            return Err(ImportError::NoCreds {
                path: path.to_owned(),
                hint: elsewhere(path, &names),
            });
        }
        Err(unread) => {
            return Err(ImportError::Unreadable {
                path: path.join(CREDS),
                cause: unread.to_string(),
            });
        }
    };
    let mut total = 0u64;
    let mut too_large = false;
    let files = names.into_iter().filter(|name| name != CREDS).map_while(|name| {
        let bytes = read_file(&path.join(&name)).map_err(|unread| unread.to_string());
        total += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        too_large = total > TOTAL_BYTES_MAX;
        (!too_large).then_some((name, bytes) as File)
    });
    let imported = parse(&creds, files)?;
    if too_large {
        return Err(ImportError::TooLarge {
            path: path.to_owned(),
            max_mib: TOTAL_BYTES_MAX >> 20,
        });
    }
    Ok(imported)
}

/// The names of the files that may matter. What is not UTF-8 was not written by Baileys.
fn list(path: &Path) -> Result<Vec<String>, ImportError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotADirectory => ImportError::NotAFolder(path.to_owned()),
        _ => ImportError::Unreadable {
            path: path.to_owned(),
            cause: error.to_string(),
        },
    };
    let mut names = Vec::new();
    for (seen, entry) in fs::read_dir(path).map_err(unreadable)?.enumerate() {
        if seen >= FILES_MAX {
            return Err(ImportError::TooManyFiles {
                path: path.to_owned(),
                max: FILES_MAX,
            });
        }
        names.extend(entry.map_err(unreadable)?.file_name().into_string().ok());
    }
    Ok(names)
}

#[derive(thiserror::Error, Debug)]
enum Unread {
    #[error("it is not there")]
    Missing,
    #[error("it is not a file")]
    NotAFile,
    #[error("it is larger than {} MiB", FILE_BYTES_MAX >> 20)]
    TooLarge,
    #[error("{0}")]
    Io(io::Error),
}

/// All bytes of one file. A pipe or a device in the folder is not waited for.
fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Unread> {
    let sort = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Unread::Missing,
        _ => Unread::Io(error),
    };
    let size = match fs::metadata(path).map_err(sort)? {
        about if !about.is_file() => return Err(Unread::NotAFile),
        about if about.len() > FILE_BYTES_MAX => return Err(Unread::TooLarge),
        about => about.len(),
    };
    // With room for all of it: a vector that grows leaves copies behind that nobody wipes.
    let mut bytes = Zeroizing::new(Vec::with_capacity(size as usize + 1));
    let file = Handle::open(path).map_err(sort)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(sort)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Unread::TooLarge);
    }
    Ok(bytes)
}

/// Programs with several accounts keep one folder for each; people name the one above.
fn elsewhere(path: &Path, names: &[String]) -> String {
    let below = |name: &String| -> Option<PathBuf> {
        let folder = path.join(name);
        folder.join(CREDS).is_file().then_some(folder)
    };
    match names.iter().take(100).find_map(below) {
        Some(folder) => format!("; there is one in {}", folder.display()),
        None => String::new(),
    }
}
