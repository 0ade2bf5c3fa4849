//! All of a mail, until the relay has it.

use std::fs::{File, OpenOptions};
use std::io::{self, Cursor, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;

use crate::spool::Name;

/// A mail that is longer than this goes into a temporary file, in bytes.
const IN_MEMORY_MAX: usize = 256 * 1024;

/// What has come of a mail.
#[derive(Default)]
pub(super) struct Whole {
    bytes: Vec<u8>,
    /// All of it, once that is too long for memory.
    file: Option<File>,
    length: u64,
}

impl Whole {
    /// How long it is by now.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Adds bytes at its end.
    ///
    /// # Errors
    /// There is no room for a temporary file.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length += bytes.len() as u64;
        if self.file.is_none() && self.bytes.len() + bytes.len() > IN_MEMORY_MAX {
            let mut file = temporary()?;
            file.write_all(&std::mem::take(&mut self.bytes))?;
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => {
                self.bytes.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// From its start.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub fn read(self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self.file {
            Some(mut file) => {
                file.rewind()?;
                Box::new(file)
            }
            None => Box::new(Cursor::new(self.bytes)),
        })
    }
}

/// A file without a name, for its owner alone.
fn temporary() -> io::Result<File> {
    let name = Name::draw().map_err(io::Error::other)?;
    let path = std::env::temp_dir().join(format!(".tautline-{name}"));
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_read_back_in_memory_or_in_a_file() {
        for pieces in [0, 1, 10] {
            let piece: Vec<u8> = (0..60_000u32).map(|n| n as u8).collect();
            let mut whole = Whole::default();
            (0..pieces).for_each(|_| whole.push(&piece).unwrap());
            assert_eq!((whole.length(), whole.file.is_some()), (pieces * 60_000, pieces == 10));
            let mut read = Vec::new();
            whole.read().unwrap().read_to_end(&mut read).unwrap();
            assert!(read == piece.repeat(pieces as usize), "{pieces}");
        }
    }
}
