//! How many sent messages are kept, and how much of them.

use std::sync::Mutex;

use super::records::{SENT_KEY_PARTS, StoredMessage};
use super::transaction::Transaction;
use crate::store::{StoreError, Tree};
use crate::util::lock;

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

/// What was stored since the last count; nothing was counted yet in the beginning.
#[derive(Debug, Default)]
pub(super) struct SinceCount(Mutex<Option<(usize, usize)>>);

impl SinceCount {
    /// Whether it is time for a count, with one more message of so many bytes.
    pub(super) fn add(&self, bytes: usize) -> bool {
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

/// Deletes the oldest under `prefix` when there are more than may be, or larger ones.
pub(super) fn bound(transaction: &mut Transaction<'_>, prefix: &[u8]) -> Result<(), StoreError> {
    let keys = transaction
        .keys(Tree::SentMessage, prefix, SENT_KEY_PARTS)
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
