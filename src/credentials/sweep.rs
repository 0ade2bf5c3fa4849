//! Deleting what is too old.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::Credentials;
use super::backend::Backing;
use super::records::StoredMessage;
use super::transaction::SWEEP_ROWS_MAX;
use crate::store::{StoreError, Tree};

impl Credentials {
    /// Deletes messages of `tree`, whose keys have `parts` parts, once they are older than `kept_s` seconds. The
    /// library asks every few minutes, and names a time by a clock of its own that may have stepped: it is not looked
    /// at.
    pub(super) async fn sweep_kept(&self, tree: Tree, parts: usize, kept_s: i64) -> Backing<u32> {
        if !self.age.sweep_is_due(tree) {
            return Ok(0);
        }
        let (age, ours) = (Arc::clone(&self.age), self.key(&[]));
        let seconds = self
            .transact(move |transaction| age.begin_sweep(transaction, tree, &ours, parts))
            .await?;
        let older = |row: &StoredMessage, cutoff: i64, _: i64| row.stored_at < cutoff;
        let cutoffs = [seconds.saturating_sub(kept_s), 0];
        self.sweep::<StoredMessage>(tree, parts, older, cutoffs).await
    }

    /// Deletes this session's records of `tree` (keys of `parts` parts) that `expired` names, a bounded number in each
    /// transaction. Unreadable ones stay: their age is unknown. Returns how many it deleted.
    pub(super) async fn sweep<T>(
        &self,
        tree: Tree,
        parts: usize,
        expired: fn(&T, i64, i64) -> bool,
        cutoffs: [i64; 2],
    ) -> Backing<u32>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let mut deleted = 0u32;
        loop {
            let prefix = self.key(&[]);
            let round = self
                .transact(move |transaction| {
                    let mut round = 0;
                    for key in transaction.keys(tree, &prefix, parts) {
                        let key = key?;
                        match transaction.get::<T>(tree, &key) {
                            Ok(Some(value)) if expired(&value, cutoffs[0], cutoffs[1]) => {}
                            Err(StoreError::Record { cause, .. }) => {
                                log::warn!("an unreadable record under {} is kept: {cause}", tree.name());
                                continue;
                            }
                            Err(error) => return Err(error),
                            Ok(_) => continue,
                        }
                        transaction.delete(tree, key)?;
                        round += 1;
                        if round == SWEEP_ROWS_MAX {
                            break;
                        }
                    }
                    Ok(round)
                })
                .await?;
            // A round is at most SWEEP_ROWS_MAX.
            deleted = deleted.saturating_add(round as u32);
            if round < SWEEP_ROWS_MAX {
                return Ok(deleted);
            }
        }
    }
}
