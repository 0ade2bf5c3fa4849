//! Message secrets: what later edits, votes and reactions to a message are encrypted with.

use std::time::Duration;

use async_io::Timer;
use async_trait::async_trait;
use wacore::store::traits::{MsgSecretEntry, MsgSecretStore, merge_msg_secret_expiry, merge_msg_secret_message_ts};

use super::Credentials;
use super::backend::Backing;
use super::records::StoredMessageSecret;
use crate::store::Tree;

/// The library hands secrets over behind the messages' backs, all that have come while the last write was under way,
/// and answers for them from memory until then. A write that takes this long has a whole burst of them.
const GATHERED: Duration = Duration::from_millis(50);

/// Session, chat, sender and message.
const KEY_PARTS: usize = 4;

#[async_trait]
impl MsgSecretStore for Credentials {
    async fn put_msg_secrets(&self, entries: Vec<MsgSecretEntry>) -> Backing<usize> {
        let stored = entries.len();
        Timer::after(GATHERED).await;
        let rows: Vec<_> = entries
            .into_iter()
            .map(|entry| {
                let (parts, row) = StoredMessageSecret::of(entry);
                (self.key(&parts.each_ref().map(|part| part.as_bytes())), row)
            })
            .collect();
        self.transact(move |transaction| {
            for (key, mut row) in rows {
                if let Some(present) = transaction.get::<StoredMessageSecret>(Tree::MessageSecret, &key)? {
                    row.expires_at = merge_msg_secret_expiry(present.expires_at, row.expires_at);
                    row.message_ts = merge_msg_secret_message_ts(present.message_ts, row.message_ts);
                }
                transaction.put(Tree::MessageSecret, key, &row)?;
            }
            Ok(())
        })
        .await?;
        Ok(stored)
    }

    async fn get_msg_secret(&self, chat: &str, sender: &str, msg_id: &str) -> Backing<Option<Vec<u8>>> {
        let found = self.get_msg_secret_with_ts(chat, sender, msg_id).await?;
        Ok(found.map(|(secret, _)| secret))
    }

    async fn get_msg_secret_with_ts(&self, chat: &str, sender: &str, msg_id: &str) -> Backing<Option<(Vec<u8>, i64)>> {
        let key = self.key(&[chat.as_bytes(), sender.as_bytes(), msg_id.as_bytes()]);
        let row = self.get::<StoredMessageSecret>(Tree::MessageSecret, key).await?;
        Ok(row.map(|row| (row.secret.0.to_vec(), row.message_ts)))
    }

    async fn delete_expired_msg_secrets(&self, cutoff_timestamp: i64) -> Backing<u32> {
        fn expired(row: &StoredMessageSecret, cutoff: i64, _: i64) -> bool {
            row.expires_at != 0 && row.expires_at <= cutoff
        }
        self.sweep(Tree::MessageSecret, KEY_PARTS, expired, [cutoff_timestamp, 0])
            .await
    }
}
