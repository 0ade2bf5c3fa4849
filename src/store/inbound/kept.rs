//! How much there is of each session, and where it begins and ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::alert::SessionName;
use crate::store::{StoreError, Tree, View, prefix};
use crate::util::lock;

pub(super) fn position_key(session: &SessionName, position: u64) -> Vec<u8> {
    let mut key = prefix(&[session.as_str().as_bytes()]);
    key.extend_from_slice(&position.to_be_bytes());
    key
}

pub(super) fn position_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*key.last_chunk::<8>()?))
}

/// What there is of one session: the first place, the next, and the bytes of the records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) first: u64,
    pub(super) next: u64,
    pub(super) bytes: usize,
}

/// What there is of each session, as last seen. Only a hint, checked against the rows at every use: what was staged and
/// then refused has moved it too far.
#[derive(Clone, Default)]
pub(in crate::store) struct Hint(Arc<Mutex<HashMap<SessionName, Kept>>>);

impl Hint {
    pub(super) fn find(&self, view: &View, session: &SessionName) -> Result<Kept, StoreError> {
        let hint = lock(&self.0).get(session).copied();
        if let Some(kept) = hint.filter(|kept| kept.next > kept.first) {
            let there = |position| {
                view.get(Tree::Inbound, &position_key(session, position))
                    .map(|row| row.is_some())
            };
            let before = kept.first.checked_sub(1);
            if !there(kept.next)? && there(kept.next - 1)? && there(kept.first)? && !before.map_or(Ok(false), there)? {
                return Ok(kept);
            }
        }
        let mut kept: Option<Kept> = None;
        for row in view.scan(Tree::Inbound, &prefix(&[session.as_str().as_bytes()])) {
            let (key, value) = row?;
            let Some(position) = position_of(&key) else { continue };
            let kept = kept.get_or_insert(Kept {
                first: position,
                ..Kept::default()
            });
            kept.next = position + 1;
            kept.bytes += value.len();
        }
        Ok(kept.unwrap_or_default())
    }

    pub(super) fn set(&self, session: &SessionName, kept: Kept) {
        let mut all = lock(&self.0);
        all.insert(session.clone(), kept);
    }
}
