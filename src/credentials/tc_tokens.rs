//! Trusted-contact tokens: two writers own a field each, so every write looks at what is there.

use super::Credentials;
use super::records::StoredTcToken;
use super::secret::Blob;
use crate::store::{StoreError, Tree};

impl Credentials {
    pub(super) async fn touch_tc_token(&self, jid: &str, sender_timestamp: i64) -> Result<(), StoreError> {
        let key = self.key(&[jid.as_bytes()]);
        self.transact(move |transaction| {
            let row = match transaction.get::<StoredTcToken>(Tree::TcToken, &key)? {
                Some(mut row) => {
                    // Only ever forward, so that late writers do no harm.
                    row.sender_timestamp = row.sender_timestamp.max(Some(sender_timestamp));
                    row
                }
                None => StoredTcToken {
                    token: Blob::default(),
                    token_timestamp: sender_timestamp,
                    sender_timestamp: Some(sender_timestamp),
                },
            };
            transaction.put(Tree::TcToken, key, &row)
        })
        .await
    }

    pub(super) async fn receive_tc_token(&self, jid: &str, token: &[u8], timestamp: i64) -> Result<(), StoreError> {
        let (key, token) = (self.key(&[jid.as_bytes()]), Blob::new(token));
        self.transact(move |transaction| {
            let present = transaction.get::<StoredTcToken>(Tree::TcToken, &key)?;
            // A fresher real token stays; one without bytes never stands in the way.
            if present
                .as_ref()
                .is_some_and(|row| !row.token.as_slice().is_empty() && timestamp < row.token_timestamp)
            {
                return Ok(());
            }
            let row = StoredTcToken {
                token,
                token_timestamp: timestamp,
                sender_timestamp: present.and_then(|row| row.sender_timestamp),
            };
            transaction.put(Tree::TcToken, key, &row)
        })
        .await
    }
}

/// Neither the token nor the sender's time is young enough to be of use.
pub(super) fn expired(row: &StoredTcToken, token_cutoff: i64, sender_cutoff: i64) -> bool {
    let token_lives = !row.token.as_slice().is_empty() && row.token_timestamp >= token_cutoff;
    let sender_lives = row.sender_timestamp.is_some_and(|time| time >= sender_cutoff);
    !token_lives && !sender_lives
}
