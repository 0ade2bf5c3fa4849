//! What was uploaded to WhatsApp's media servers, so that one upload serves all recipients, retries, lines and starts.
//!
//! A record is there before its upload begins, with the key to encrypt by: taken up again after a crash, the upload is
//! of the same bytes, and the server may have some of them or all. It goes by age alone; the server keeps no upload for
//! ever, and which alerts still need it is not known here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Batch, Store, StoreError, Tree, View, join, prefix, record};
use crate::alert::{BlobHash, MediaKind, SessionName};

const VERSION: u8 = 1;

/// How long an upload is used. WhatsApp keeps one for weeks, but whoever gets the message needs some of that time too.
pub const COUNTS_FOR: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// Kept per session; the oldest go first. A camera with a picture every three minutes stays below.
const UPLOADS_MAX: usize = 1000;

/// What is written.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UploadV1 {
    begun_ms: u64,
    media_key: [u8; 32],
    done: Option<UploadedV1>,
}

#[derive(Debug, Serialize, Deserialize)]
struct UploadedV1 {
    url: String,
    direct_path: String,
    file_sha256: [u8; 32],
    file_enc_sha256: [u8; 32],
    file_length: u64,
    media_key_timestamp_s: i64,
    streaming_sidecar: Option<Vec<u8>>,
}

/// What is uploaded: one file can be a picture in one message and a document in the next, and is encrypted otherwise
/// then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UploadKey {
    pub hash: BlobHash,
    pub kind: MediaKind,
}

impl UploadKey {
    fn row(self, session: &SessionName) -> Vec<u8> {
        let kind: u8 = match self.kind {
            MediaKind::Image => 0,
            MediaKind::Video => 1,
            MediaKind::Audio => 2,
            MediaKind::Document => 3,
        };
        join(&[session.as_str().as_bytes(), &self.hash.0, &[kind]])
    }
}

/// An upload that was begun, and perhaps is done.
#[derive(Clone, PartialEq, Eq)]
pub struct Upload {
    /// Unix milliseconds.
    pub begun_ms: u64,
    /// From which all keys of the encryption are derived. Whoever has it can read the file.
    pub media_key: [u8; 32],
    pub done: Option<Uploaded>,
}

/// Where an upload lies and how it is read: what goes into messages.
#[derive(Clone, PartialEq, Eq)]
pub struct Uploaded {
    pub url: String,
    pub direct_path: String,
    pub file_sha256: [u8; 32],
    pub file_enc_sha256: [u8; 32],
    /// The length of the file itself, in bytes.
    pub file_length: u64,
    /// Unix seconds.
    pub media_key_timestamp_s: i64,
    /// With which the apps play what they have not fetched whole.
    pub streaming_sidecar: Option<Vec<u8>>,
}

impl Upload {
    /// Whether it may still be used at `now_ms`. One that is of the future was begun while the clock was wrong.
    pub fn counts(&self, now_ms: u64) -> bool {
        Duration::from_millis(now_ms.abs_diff(self.begun_ms)) < COUNTS_FOR
    }
}

/// The upload of `key` by `session`, however old it is.
///
/// # Errors
/// The store could not be read, or the record cannot.
pub fn get(view: &View, session: &SessionName, key: UploadKey) -> Result<Option<Upload>, StoreError> {
    let bytes = view.get(Tree::Upload, &key.row(session))?;
    bytes.as_deref().map(decode).transpose()
}

/// Keeps an upload, whatever stood there, and returns once it is on disk. What no longer counts goes with it.
///
/// # Errors
/// It is not, or perhaps not, on disk.
pub async fn keep(store: &Store, session: &SessionName, key: UploadKey, upload: &Upload) -> Result<(), StoreError> {
    let (session, upload) = (session.clone(), upload.clone());
    let decide = move |view: &View| {
        let row = key.row(&session);
        let mut batch = old(view, &session, &row, upload.begun_ms)?;
        batch.put(Tree::Upload, &row, encode(upload)?)?;
        Ok((batch, ()))
    };
    store.update(decide).await
}

/// Forgets what no longer counts at `now_ms`.
///
/// # Errors
/// The store is poisoned, or closed.
pub async fn forget_old(store: &Store, session: &SessionName, now_ms: u64) -> Result<(), StoreError> {
    let session = session.clone();
    let decide = move |view: &View| old(view, &session, b"", now_ms);
    store.update_later("that uploads count no longer", decide).await
}

/// Forgets all uploads of `session`.
///
/// # Errors
/// They are not, or perhaps not, gone from the disk.
pub async fn forget(store: &Store, session: &SessionName) -> Result<(), StoreError> {
    let all = prefix(&[session.as_str().as_bytes()]);
    let decide = move |view: &View| {
        let mut batch = Batch::new();
        for row in view.scan(Tree::Upload, &all) {
            batch.delete(Tree::Upload, &row?.0);
        }
        Ok((batch, ()))
    };
    store.update(decide).await
}

/// The deletion of what no longer counts at `now_ms`, and of the oldest if there are too many, but not of `except`.
fn old(view: &View, session: &SessionName, except: &[u8], now_ms: u64) -> Result<Batch, StoreError> {
    let (mut batch, mut kept) = (Batch::new(), Vec::new());
    for row in view.scan(Tree::Upload, &prefix(&[session.as_str().as_bytes()])) {
        let (key, value) = row?;
        match decode(&value) {
            _ if key == except => {}
            Ok(upload) if upload.counts(now_ms) => kept.push((upload.begun_ms, key)),
            Ok(_) | Err(_) => batch.delete(Tree::Upload, &key),
        }
    }
    kept.sort_unstable();
    let surplus = (kept.len() + 1).saturating_sub(UPLOADS_MAX);
    for (_, key) in kept.iter().take(surplus) {
        batch.delete(Tree::Upload, key);
    }
    Ok(batch)
}

fn encode(upload: Upload) -> Result<Vec<u8>, StoreError> {
    let Upload {
        begun_ms,
        media_key,
        done,
    } = upload;
    let done = done.map(|done| {
        let Uploaded {
            url,
            direct_path,
            file_sha256,
            file_enc_sha256,
            file_length,
            media_key_timestamp_s,
            streaming_sidecar,
        } = done;
        UploadedV1 {
            url,
            direct_path,
            file_sha256,
            file_enc_sha256,
            file_length,
            media_key_timestamp_s,
            streaming_sidecar,
        }
    });
    let upload = UploadV1 {
        begun_ms,
        media_key,
        done,
    };
    record::encode(Tree::Upload, VERSION, &upload)
}

/// A row's value.
///
/// # Errors
/// It is damaged, or of a later version.
pub fn decode(value: &[u8]) -> Result<Upload, StoreError> {
    let UploadV1 {
        begun_ms,
        media_key,
        done,
    } = record::decode(Tree::Upload, VERSION, value)?;
    let done = done.map(|done| {
        let UploadedV1 {
            url,
            direct_path,
            file_sha256,
            file_enc_sha256,
            file_length,
            media_key_timestamp_s,
            streaming_sidecar,
        } = done;
        Uploaded {
            url,
            direct_path,
            file_sha256,
            file_enc_sha256,
            file_length,
            media_key_timestamp_s,
            streaming_sidecar,
        }
    });
    Ok(Upload {
        begun_ms,
        media_key,
        done,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * 60 * 60 * 1000;

    fn upload(begun_ms: u64, done: bool) -> Upload {
        let uploaded = || Uploaded {
            url: "https://media.test/v/t".into(),
            direct_path: "/v/t".into(),
            file_sha256: [2; 32],
            file_enc_sha256: [3; 32],
            file_length: 300,
            media_key_timestamp_s: 1_767_225_600,
            streaming_sidecar: Some(vec![4, 5]),
        };
        Upload {
            begun_ms,
            media_key: [1; 32],
            done: done.then(uploaded),
        }
    }

    fn key(number: u16, kind: MediaKind) -> UploadKey {
        let mut hash = [9; 32];
        hash[..2].copy_from_slice(&number.to_be_bytes());
        UploadKey {
            hash: BlobHash(hash),
            kind,
        }
    }

    #[test]
    fn uploads_last_are_told_apart_and_go_when_they_no_longer_count() {
        let dir = tempfile::tempdir().unwrap();
        let (session, other): (SessionName, SessionName) = ("default".parse().unwrap(), "default2".parse().unwrap());
        let store = Store::open(dir.path(), 4 << 20).unwrap();
        let put = |session: &SessionName, key, upload: &Upload| {
            smol::block_on(keep(&store, session, key, upload)).unwrap();
        };
        let (image, document) = (key(1, MediaKind::Image), key(1, MediaKind::Document));
        put(&session, image, &upload(1, false));
        put(&session, document, &upload(2, true));
        put(&other, image, &upload(3, true));
        put(&session, image, &upload(1, true));
        let found = |session: &SessionName, key| get(store.view(), session, key).unwrap();
        assert!(found(&session, image) == Some(upload(1, true)));
        assert!(found(&session, document) == Some(upload(2, true)));
        assert!(found(&other, image) == Some(upload(3, true)));
        assert!(found(&session, key(2, MediaKind::Image)).is_none());
        // What is begun days later takes the old along, of its own session.
        put(&session, key(2, MediaKind::Image), &upload(3 * DAY_MS, false));
        assert!(found(&session, image).is_none() && found(&session, document).is_none());
        assert!(found(&session, key(2, MediaKind::Image)).is_some() && found(&other, image).is_some());
        smol::block_on(forget(&store, &session)).unwrap();
        assert!(found(&session, key(2, MediaKind::Image)).is_none() && found(&other, image).is_some());
    }

    #[test]
    fn they_stay_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let session: SessionName = "default".parse().unwrap();
        let store = Store::open(dir.path(), 4 << 20).unwrap();
        let rows: Vec<_> = (0..UPLOADS_MAX as u16 + 5)
            .map(|number| key(number, MediaKind::Image).row(&session))
            .collect();
        let mut batch = Batch::new();
        for (at, row) in rows.iter().enumerate() {
            batch
                .put(Tree::Upload, row, encode(upload(at as u64, true)).unwrap())
                .unwrap();
        }
        smol::block_on(store.commit(batch)).unwrap();
        smol::block_on(keep(&store, &session, key(5000, MediaKind::Image), &upload(9, false))).unwrap();
        assert_eq!(store.view().scan(Tree::Upload, b"").count(), UPLOADS_MAX);
        assert!(
            store.view().get(Tree::Upload, &rows[5]).unwrap().is_none(),
            "the oldest have gone"
        );
        assert!(store.view().get(Tree::Upload, &rows[6]).unwrap().is_some());
    }

    #[test]
    fn how_long_an_upload_counts() {
        let upload = upload(10 * DAY_MS, true);
        for (now_ms, counts) in [
            (10 * DAY_MS, true),
            (12 * DAY_MS - 1, true),
            (12 * DAY_MS, false),
            (9 * DAY_MS, true),
            (0, false),
        ] {
            assert_eq!(upload.counts(now_ms), counts, "{now_ms}");
        }
    }

    #[test]
    fn the_first_version_is_read() {
        const BEGUN_MS: u64 = 1_767_225_600_000;
        let v1 = [
            "0180d0eab6b733",
            &"01".repeat(32),
            "011668747470733a2f2f6d656469612e746573742f762f74042f762f74",
            &"02".repeat(32),
            &"03".repeat(32),
            "ac0280e4ad950d01020405",
        ];
        let v1 = v1.concat();
        assert_eq!(record::hex(&encode(upload(BEGUN_MS, true)).unwrap()), v1);
        assert!(decode(&record::from_hex(&v1)).unwrap() == upload(BEGUN_MS, true));
    }
}
