//! Sent messages, kept until they are too old or too many: a phone that could not read one asks for it again.
//!
//! It may have been off for days before it finds out. So a copy lives for [`SENT_KEPT_S`] by a clock that does not step
//! (`age.rs`), within a bound of count and bytes. The library would keep it for two hours of the wall clock.

use std::sync::{Arc, Mutex};

use super::Credentials;
use super::records::StoredMessage;
use super::secret::Blob;
use super::transaction::Transaction;
use crate::store::{StoreError, Tree, split};
use crate::util::lock;

/// Two weeks: a linked device whose phone stays away for longer is logged out anyway. In seconds.
pub(super) const SENT_KEPT_S: i64 = 14 * 24 * 3600;

/// How many stay, as in the library's own store in memory.
const SENT_MESSAGES_MAX: usize = 4096;

/// What a count leaves when there are too many, so that the next ones find room.
const SENT_MESSAGES_KEPT: usize = SENT_MESSAGES_MAX * 3 / 4;

/// How much all of them may hold: state volumes of 32 MB are in use, and alerts of 64 KB come in storms.
const SENT_BYTES_MAX: usize = 2 << 20;

/// What a count leaves of that.
const SENT_BYTES_KEPT: usize = SENT_BYTES_MAX * 3 / 4;

/// Counting reads them all; so it is done once in this many stores, the first after a start among them, or once in
/// [`COUNT_EVERY_BYTES`].
const COUNT_EVERY: usize = 256;

/// An eighth of what may be there: the bound is exceeded by no more.
const COUNT_EVERY_BYTES: usize = SENT_BYTES_MAX / 8;

/// (session, chat, message)
pub(super) const KEY_PARTS: usize = 3;

/// What was stored since the last count; nothing was counted yet in the beginning.
#[derive(Debug, Default)]
pub(super) struct SinceCount(Mutex<Option<(usize, usize)>>);

impl SinceCount {
    /// Whether it is time for a count, with one more message of so many bytes.
    fn add(&self, bytes: usize) -> bool {
        let mut since = lock(&self.0);
        let (messages, before) = since.unwrap_or((COUNT_EVERY, 0));
        let due = messages >= COUNT_EVERY || before.saturating_add(bytes) > COUNT_EVERY_BYTES;
        *since = Some(if due {
            (1, bytes)
        } else {
            (messages + 1, before + bytes)
        });
        due
    }
}

impl Credentials {
    /// Does not wait until it is on the device: the library sends only after this, and a message that a crash takes from
    /// here costs the answer to a retry, if one comes. [`sent_message`](Self::sent_message) finds it all the same.
    pub(super) async fn keep_sent(&self, chat: &str, message: &str, payload: &[u8]) -> Result<(), StoreError> {
        // What lies in the queue must not keep the store open.
        let (all, age) = (self.key(&[]), Arc::clone(&self.age));
        let key = self.key(&[chat.as_bytes(), message.as_bytes()]);
        let message = Blob::new(payload);
        let count = self.sent.add(payload.len());
        self.store
            .update_later("a sent message, for a retry of it,", move |view| {
                let mut transaction = Transaction::new(view);
                if count {
                    bound(&mut transaction, &all)?;
                }
                let stored_at = age.now(&transaction)?;
                transaction.put(Tree::SentMessage, key, &StoredMessage { stored_at, message })?;
                transaction.into_batch()
            })
            .await
    }

    /// A message that was kept. It stays: the library takes it out and puts it back, and a second device that asks in
    /// between, or a power cut, would find nothing.
    pub(super) async fn sent_message(&self, chat: &str, message: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = self.key(&[chat.as_bytes(), message.as_bytes()]);
        self.transact(move |transaction| {
            let row = transaction.get::<StoredMessage>(Tree::SentMessage, &key)?;
            Ok(row.map(|row| row.message).map(Blob::into_vec))
        })
        .await
    }

    /// Whether a message with this id is kept, in whatever chat.
    ///
    /// # Errors
    /// The store failed.
    pub async fn keeps_sent(&self, message: &str) -> Result<bool, StoreError> {
        let (all, message) = (self.key(&[]), message.as_bytes().to_vec());
        // On the writer's thread, behind what has just been kept.
        self.transact(move |transaction| {
            for key in transaction.keys(Tree::SentMessage, &all, KEY_PARTS) {
                if split(&key?).pop().is_some_and(|id| id == message) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }
}

/// Deletes the oldest under `prefix` when there are more than may be, or larger ones.
fn bound(transaction: &mut Transaction<'_>, prefix: &[u8]) -> Result<(), StoreError> {
    let keys = transaction
        .keys(Tree::SentMessage, prefix, KEY_PARTS)
        .collect::<Result<Vec<_>, _>>()?;
    let mut aged = Vec::with_capacity(keys.len());
    let mut bytes = 0usize;
    for key in keys {
        // An unreadable one is of no use to a retry: it goes first.
        let (stored_at, size) = match transaction.get::<StoredMessage>(Tree::SentMessage, &key) {
            Ok(row) => row.map_or((i64::MIN, 0), |row| (row.stored_at, row.message.as_slice().len())),
            Err(StoreError::Record { .. }) => (i64::MIN, 0),
            Err(error) => return Err(error),
        };
        bytes = bytes.saturating_add(size);
        aged.push((stored_at, key, size));
    }
    if aged.len() < SENT_MESSAGES_MAX && bytes < SENT_BYTES_MAX {
        return Ok(());
    }
    aged.sort_unstable();
    let mut count = aged.len();
    for (_, key, size) in aged {
        if count <= SENT_MESSAGES_KEPT && bytes <= SENT_BYTES_KEPT {
            break;
        }
        transaction.delete(Tree::SentMessage, key)?;
        count -= 1;
        bytes -= size;
    }
    Ok(())
}
