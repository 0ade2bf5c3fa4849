//! Where the journal begins and ends.

use std::sync::{Arc, Mutex};

use super::updates::Updates;
use crate::store::{StoreError, Tree, Value, View};
use crate::util::lock;

/// The first number that is there and the next one to be given out, as last seen. Only a hint, checked against the rows
/// at every use: what was staged and then refused has moved it too far.
#[derive(Clone, Default)]
pub(in crate::store) struct Ends {
    hint: Arc<Mutex<Option<(u64, u64)>>>,
    updates: Updates,
}

pub(super) fn key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

pub(super) fn number_of(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

/// The numbers of the oldest and the newest entry; 1 and 0 where there is none.
///
/// # Errors
/// The store could not be read.
pub fn bounds(view: &View) -> Result<(u64, u64), StoreError> {
    let mut rows = view.scan(Tree::Journal, b"");
    let end = |row: Option<Result<(Vec<u8>, Value), StoreError>>| {
        row.transpose().map(|row| row.and_then(|(key, _)| number_of(&key)))
    };
    let Some(first) = end(rows.next())? else {
        return Ok((1, 0));
    };
    let last = end(rows.next_back())?.map_or(first, |last| last.max(first));
    Ok((first, last))
}

impl Ends {
    pub(super) fn find(&self, view: &View) -> Result<(u64, u64), StoreError> {
        let hint = *lock(&self.hint);
        if let Some((first, next)) = hint {
            let there = |number| view.get(Tree::Journal, &key(number)).map(|row| row.is_some());
            // None at the start of a journal that is empty yet: that is looked up, and costs nothing.
            if next > first && !there(next)? && there(next - 1)? && there(first)? && !there(first - 1)? {
                return Ok((first, next));
            }
        }
        let (first, last) = bounds(view)?;
        Ok((first, last + 1))
    }

    pub(super) fn set(&self, first: u64, next: u64) {
        *lock(&self.hint) = Some((first, next));
        self.updates.staged();
    }

    pub(in crate::store) fn updates(&self) -> &Updates {
        &self.updates
    }
}
