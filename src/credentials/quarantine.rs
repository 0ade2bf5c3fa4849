//! Credentials that WhatsApp ended are set aside, not thrown away: a person may want to see what happened. Never
//! loaded.

use serde::{Deserialize, Serialize};

use super::Credentials;
use super::transaction::{Transaction, VERSION};
use crate::store::{StoreError, Tree, join, record, split};

/// How many a session keeps. An account that is unlinked again and again must not fill the disk.
const QUARANTINES_MAX: usize = 3;

/// (session, number): the row that describes a quarantine. The moved rows have two parts more: tree and key.
const HEAD_PARTS: usize = 2;

/// One quarantine of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Unix milliseconds, by the wall clock.
    pub at_ms: u64,
    /// Why, as the caller of [`Credentials::quarantine`] said it.
    pub reason: String,
    /// How many rows were moved.
    pub rows: u32,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredQuarantine {
    at_ms: u64,
    reason: String,
    rows: u32,
}

impl Credentials {
    /// Moves all credentials of this session aside in one transaction: afterwards the session has no device, and a
    /// client that is still ending cannot save its own again. The newest three of a session are kept. Does nothing for
    /// a session that has no rows.
    ///
    /// `reason` is one line for a person, without numbers or keys; `now_ms` is Unix milliseconds.
    ///
    /// # Errors
    /// The store failed.
    pub async fn quarantine(&self, reason: &str, now_ms: u64) -> Result<(), StoreError> {
        let (this, reason) = (self.clone(), reason.to_owned());
        self.transact(move |transaction| {
            let earlier = this.quarantine_numbers(transaction)?;
            // Numbered by time for whoever reads the rows, but always rising: the clock of a Pi may stand still or jump
            // back, and the newest must stay the newest.
            let after = earlier.last().map_or(0, |last| last.saturating_add(1));
            let number = now_ms.max(after).to_be_bytes();
            let rows = this.move_rows(transaction, &number)?;
            if rows == 0 {
                return Ok(());
            }
            let head = StoredQuarantine {
                at_ms: now_ms,
                reason,
                rows,
            };
            transaction.put(Tree::Quarantine, this.key(&[&number]), &head)?;
            let surplus = (earlier.len() + 1).saturating_sub(QUARANTINES_MAX);
            for number in &earlier[..surplus] {
                for row in transaction.rows(Tree::Quarantine, &this.key(&[&number.to_be_bytes()])) {
                    transaction.delete_row(Tree::Quarantine, row?.0);
                }
            }
            Ok(())
        })
        .await
    }

    /// What this session has in quarantine, oldest first.
    ///
    /// # Errors
    /// The store failed, or a row is not readable.
    pub fn quarantines(&self) -> Result<Vec<Quarantined>, StoreError> {
        let mut found = Vec::new();
        for row in self.store.view().scan(Tree::Quarantine, &self.key(&[])) {
            let (key, value) = row?;
            if split(&key).len() == HEAD_PARTS {
                let head: StoredQuarantine = record::decode(Tree::Quarantine, VERSION, &value)?;
                found.push(Quarantined {
                    at_ms: head.at_ms,
                    reason: head.reason,
                    rows: head.rows,
                });
            }
        }
        Ok(found)
    }

    /// The numbers of the quarantines that there are, rising.
    fn quarantine_numbers(&self, transaction: &Transaction<'_>) -> Result<Vec<u64>, StoreError> {
        let mut numbers = Vec::new();
        for key in transaction.keys(Tree::Quarantine, &self.key(&[]), HEAD_PARTS) {
            let number = split(&key?).pop().unwrap_or_default();
            if let Ok(number) = number.try_into() {
                numbers.push(u64::from_be_bytes(number));
            }
        }
        Ok(numbers)
    }

    /// Moves every credential row, as it is, under quarantine `number`.
    fn move_rows(&self, transaction: &mut Transaction<'_>, number: &[u8]) -> Result<u32, StoreError> {
        let mut moved = 0;
        for tree in Tree::credentials() {
            for row in transaction.rows(tree, &self.key(&[])) {
                let (key, value) = row?;
                let mut aside = self.key(&[number]);
                aside.extend_from_slice(&join(&[&[tree as u8], &key]));
                transaction.put_row(Tree::Quarantine, aside, value.to_vec());
                transaction.delete_row(tree, key);
                moved += 1;
            }
        }
        Ok(moved)
    }
}
