//! Sent messages, kept until they are too old or too many: a phone that could not read one asks for it again.
//!
//! It may have been off for days before it finds out. So a copy lives for [`SENT_KEPT_S`] by a clock that does not step
//! (`age.rs`), within a bound of count and bytes. The library would keep it for two hours of the wall clock.

use std::sync::Arc;

use super::Credentials;
use super::records::{SENT_KEY_PARTS, StoredMessage};
use super::secret::Blob;
use super::sent_bound::bound;
use super::transaction::Transaction;
use crate::store::{StoreError, Tree, split};

/// Two weeks: a linked device whose phone stays away for longer is logged out anyway. In seconds.
pub(super) const SENT_KEPT_S: i64 = 14 * 24 * 3600;

impl Credentials {
    /// Does not wait until it is on the device: the library sends only after this, and a message that a crash takes
    /// from here costs the answer to a retry, if one comes. [`sent_message`](Self::sent_message) finds it all the same.
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
            for key in transaction.keys(Tree::SentMessage, &all, SENT_KEY_PARTS) {
                if split(&key?).pop().is_some_and(|id| id == message) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }
}
