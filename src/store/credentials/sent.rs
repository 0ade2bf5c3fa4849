//! Sent messages, kept until a retry asks for them or they expire.

use std::sync::atomic::Ordering;

use super::records::StoredMessage;
use super::secret::Blob;
use super::transaction::Transaction;
use super::{Credentials, StoreError, Tree};

/// How many stay when the library's sweep by age does not come, as in the library's own store in memory.
const SENT_MESSAGES_MAX: usize = 4096;

/// What a count leaves when there are too many, so that the next ones find room.
const SENT_MESSAGES_KEPT: usize = SENT_MESSAGES_MAX * 3 / 4;

/// Counting reads them all; so it is done once in this many stores, the first after a start among them.
const COUNT_EVERY: u32 = 256;

/// (session, chat, message)
pub(super) const KEY_PARTS: usize = 3;

impl Credentials {
    /// Does not wait until it is on the device: the library sends only after this, and a message that a crash takes from
    /// here costs the answer to a retry, if one comes. [`take_sent`](Self::take_sent) finds it all the same.
    pub(super) async fn keep_sent(&self, chat: &str, message: &str, payload: &[u8]) -> Result<(), StoreError> {
        let key = self.key(&[chat.as_bytes(), message.as_bytes()]);
        // What lies in the queue must not keep the store open.
        let all = self.key(&[]);
        let row = StoredMessage::now(payload);
        let count = self.sent.fetch_add(1, Ordering::Relaxed).is_multiple_of(COUNT_EVERY);
        self.store
            .update_later("a sent message, for a retry of it,", move |view| {
                let mut transaction = Transaction::new(view);
                if count {
                    bound(&mut transaction, &all)?;
                }
                transaction.put(Tree::SentMessage, key, &row)?;
                transaction.into_batch()
            })
            .await
    }

    /// Reading and deleting are one transaction, so that no two retries take the same message.
    pub(super) async fn take_sent(&self, chat: &str, message: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = self.key(&[chat.as_bytes(), message.as_bytes()]);
        self.transact(move |transaction| {
            let row = transaction.get::<StoredMessage>(Tree::SentMessage, &key)?;
            transaction.delete(Tree::SentMessage, key)?;
            Ok(row.map(|row| row.message).map(Blob::into_vec))
        })
        .await
    }
}

/// Deletes the oldest under `prefix` when there are more than may be.
fn bound(transaction: &mut Transaction<'_>, prefix: &[u8]) -> Result<(), StoreError> {
    let keys = transaction
        .keys(Tree::SentMessage, prefix, KEY_PARTS)
        .collect::<Result<Vec<_>, _>>()?;
    if keys.len() < SENT_MESSAGES_MAX {
        return Ok(());
    }
    let surplus = keys.len() - SENT_MESSAGES_KEPT;
    let mut aged = Vec::with_capacity(keys.len());
    for key in keys {
        // An unreadable one is of no use to a retry: it goes first.
        let stored_at = match transaction.get::<StoredMessage>(Tree::SentMessage, &key) {
            Ok(row) => row.map_or(i64::MIN, |row| row.stored_at),
            Err(StoreError::Record { .. }) => i64::MIN,
            Err(error) => return Err(error),
        };
        aged.push((stored_at, key));
    }
    aged.sort_unstable();
    aged.into_iter()
        .take(surplus)
        .try_for_each(|(_, key)| transaction.delete(Tree::SentMessage, key))
}
