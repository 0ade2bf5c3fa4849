//! A file as it is uploaded: encrypted while it is read, again from the start for each try. So nothing but the file
//! itself is on the disk, and no more than a piece of it in memory, however large it is.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wacore::download::MediaType;
use wacore::upload::{
    EncryptedMediaInfo, MediaEncryptor, UploadSource, encrypt_media_streaming_with_key, encrypted_len,
};

/// Read from the file at once.
const PIECE_BYTES: usize = 16 << 10;

/// What the encryption of the file at `path` gives: hashes and lengths, by which it is named at the server.
///
/// # Errors
/// The file cannot be read.
pub fn seal(path: &Path, media_key: &[u8; 32], media_type: MediaType) -> anyhow::Result<EncryptedMediaInfo> {
    let file = File::open(path)?;
    encrypt_media_streaming_with_key(file, io::sink(), media_type, Some(media_key), None)
}

/// The same once more, as bytes to send.
pub struct Sealed {
    pub path: PathBuf,
    /// The length of the file, in bytes.
    pub length: u64,
    pub media_key: [u8; 32],
    pub media_type: MediaType,
    /// Nobody waits for it any more: reading fails then.
    pub abandoned: Arc<AtomicBool>,
}

impl UploadSource for Sealed {
    fn len(&self) -> u64 {
        usize::try_from(self.length).map_or(u64::MAX, |length| encrypted_len(length) as u64)
    }

    fn reader_from(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let encryptor = MediaEncryptor::with_key(self.media_key, self.media_type).map_err(io::Error::other)?;
        Ok(Box::new(Reader {
            file: File::open(&self.path)?,
            encryptor: Some(encryptor),
            sealed: Vec::with_capacity(PIECE_BYTES + 64),
            at: 0,
            skip: offset,
            abandoned: Arc::clone(&self.abandoned),
        }))
    }
}

struct Reader {
    file: File,
    /// `None` once the file is at its end.
    encryptor: Option<MediaEncryptor>,
    /// The piece that is given out, from `at` on.
    sealed: Vec<u8>,
    at: usize,
    /// Bytes that the server has already.
    skip: u64,
    abandoned: Arc<AtomicBool>,
}

impl Reader {
    /// Makes the next piece; false at the end.
    fn seal_more(&mut self) -> io::Result<bool> {
        if self.abandoned.load(Ordering::Relaxed) {
            return Err(io::Error::other("it was given up"));
        }
        let Some(mut encryptor) = self.encryptor.take() else {
            return Ok(false);
        };
        self.sealed.clear();
        let mut piece = [0; PIECE_BYTES];
        let count = self.file.read(&mut piece)?;
        if count == 0 {
            encryptor.finalize(&mut self.sealed).map_err(io::Error::other)?;
        } else {
            encryptor.update(&piece[..count], &mut self.sealed);
            self.encryptor = Some(encryptor);
        }
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(self.sealed.len());
        self.skip -= skipped as u64;
        self.at = skipped;
        Ok(true)
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.sealed.len() {
            if !self.seal_more()? {
                return Ok(0);
            }
        }
        let count = buffer.len().min(self.sealed.len() - self.at);
        buffer[..count].copy_from_slice(&self.sealed[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use wacore::upload::encrypt_media_with_key;

    use super::*;

    #[test]
    fn what_is_read_is_what_the_library_encrypts_from_any_place_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for length in [0, 1, 15, 16, 17, PIECE_BYTES - 1, PIECE_BYTES, 3 * PIECE_BYTES + 5] {
            let plain: Vec<u8> = (0..length).map(|at| (at * 7) as u8).collect();
            std::fs::write(&path, &plain).unwrap();
            for media_type in [MediaType::Image, MediaType::Video] {
                let key = [7; 32];
                let whole = encrypt_media_with_key(&plain, media_type, Some(&key)).unwrap();
                let info = seal(&path, &key, media_type).unwrap();
                assert_eq!(info.file_enc_sha256, whole.file_enc_sha256, "{length}");
                assert_eq!(info.streaming_sidecar, whole.streaming_sidecar, "{length}");
                let source = Sealed {
                    path: path.clone(),
                    length: length as u64,
                    media_key: key,
                    media_type,
                    abandoned: Arc::default(),
                };
                let all = whole.data_to_upload;
                assert_eq!(source.len(), all.len() as u64);
                for offset in [0, 1, all.len() / 2, all.len()] {
                    let mut read = Vec::new();
                    let mut reader = source.reader_from(offset as u64).unwrap();
                    reader.read_to_end(&mut read).unwrap();
                    assert!(read == all[offset..], "{length} from {offset}");
                }
            }
        }
    }

    #[test]
    fn what_is_given_up_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![1; 4 * PIECE_BYTES]).unwrap();
        let source = Sealed {
            path,
            length: 4 * PIECE_BYTES as u64,
            media_key: [7; 32],
            media_type: MediaType::Document,
            abandoned: Arc::default(),
        };
        let mut reader = source.reader_from(0).unwrap();
        reader.read_exact(&mut [0; 100]).unwrap();
        source.abandoned.store(true, Ordering::Relaxed);
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
    }
}
