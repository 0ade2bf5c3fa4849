//! Rows in, one batch out: reads that see the transaction's own writes, and records larger than a row.
//!
//! A ratchet that skipped thousands of messages, or a long message, is larger than the store takes in one value.
//! Refusing it would stop the session for good: the library retries the same flush for ever. So a large record is laid
//! down as a head under its own key and pieces under that key and a number.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::store::{Batch, Scan, StoreError, Tree, VALUE_BYTES_MAX, View, join, record, split};

/// The format of every record of this version.
pub(super) const VERSION: u8 = 1;

/// Stands where a format version stands, in the head of a record that lies in pieces. Never a version.
pub(super) const PIECES: u8 = 0xFF;

/// A session keeps at most 40 old states of 5 chains of 2000 keys; real ones stay far below this.
pub(super) const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Rows that one transaction of a sweep deletes, so that alerts waiting for the writer wait milliseconds.
pub(super) const SWEEP_ROWS_MAX: usize = 1000;

#[derive(Serialize, Deserialize)]
struct Pieces {
    count: u32,
    bytes: u32,
}

/// One transaction under construction. Reads see what it has put and deleted; scans see the store as it was before.
pub(super) struct Transaction<'a> {
    view: &'a View,
    changes: HashMap<(Tree, Vec<u8>), Option<Vec<u8>>>,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(view: &'a View) -> Self {
        Self {
            view,
            changes: HashMap::new(),
        }
    }

    pub(super) fn get<T: DeserializeOwned>(&self, tree: Tree, key: &[u8]) -> Result<Option<T>, StoreError> {
        let Some(head) = self.row(tree, key)? else {
            return Ok(None);
        };
        if !in_pieces(&head) {
            return record::decode(tree, VERSION, &head).map(Some);
        }
        record::decode(tree, VERSION, &assemble(tree, key, &head, |key| self.row(tree, key))?).map(Some)
    }

    pub(super) fn put<T: Serialize>(&mut self, tree: Tree, key: Vec<u8>, value: &T) -> Result<(), StoreError> {
        let value = record::encode(tree, VERSION, value)?;
        self.forget_pieces(tree, &key)?;
        if value.len() <= VALUE_BYTES_MAX {
            self.changes.insert((tree, key), Some(value));
            return Ok(());
        }
        if value.len() > RECORD_BYTES_MAX {
            return Err(too_large(tree, value.len(), RECORD_BYTES_MAX));
        }
        // Both fit: the size is at most RECORD_BYTES_MAX.
        let head = Pieces {
            count: value.len().div_ceil(VALUE_BYTES_MAX) as u32,
            bytes: value.len() as u32,
        };
        for (index, piece) in (0..).zip(value.chunks(VALUE_BYTES_MAX)) {
            self.changes
                .insert((tree, piece_key(&key, index)), Some(piece.to_vec()));
        }
        let head = record::encode(tree, PIECES, &head)?;
        self.changes.insert((tree, key), Some(head));
        Ok(())
    }

    /// Deletes a record, or nothing.
    pub(super) fn delete(&mut self, tree: Tree, key: Vec<u8>) -> Result<(), StoreError> {
        if self.row(tree, &key)?.is_some() {
            self.forget_pieces(tree, &key)?;
            self.changes.insert((tree, key), None);
        }
        Ok(())
    }

    /// The keys under `prefix` that have exactly `parts` parts: the heads, without their pieces.
    pub(super) fn keys(
        &self,
        tree: Tree,
        prefix: &[u8],
        parts: usize,
    ) -> impl Iterator<Item = Result<Vec<u8>, StoreError>> + use<> {
        self.view
            .scan(tree, prefix)
            .map(|row| row.map(|(key, _)| key))
            .filter(move |key| key.as_ref().map_or(true, |key| split(key).len() == parts))
    }

    /// Every row under `prefix`, raw: heads and pieces alike.
    pub(super) fn rows(&self, tree: Tree, prefix: &[u8]) -> Scan {
        self.view.scan(tree, prefix)
    }

    pub(super) fn put_row(&mut self, tree: Tree, key: Vec<u8>, value: Vec<u8>) {
        self.changes.insert((tree, key), Some(value));
    }

    pub(super) fn delete_row(&mut self, tree: Tree, key: Vec<u8>) {
        self.changes.insert((tree, key), None);
    }

    pub(super) fn into_batch(self) -> Result<Batch, StoreError> {
        let mut batch = Batch::new();
        for ((tree, key), value) in self.changes {
            match value {
                Some(value) => batch.put(tree, &key, value)?,
                None => batch.delete(tree, &key),
            }
        }
        Ok(batch)
    }

    fn row(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.changes.get(&(tree, key.to_vec())) {
            Some(change) => Ok(change.clone()),
            None => Ok(self.view.get(tree, key)?.map(|value| value.to_vec())),
        }
    }

    fn forget_pieces(&mut self, tree: Tree, key: &[u8]) -> Result<(), StoreError> {
        let Some(head) = self.row(tree, key)?.filter(|head| in_pieces(head)) else {
            return Ok(());
        };
        // A damaged head must not keep its record from being replaced; what stays behind is read by nobody.
        let Ok(head) = record::decode::<Pieces>(tree, PIECES, &head) else {
            return Ok(());
        };
        let most = RECORD_BYTES_MAX.div_ceil(VALUE_BYTES_MAX) as u32;
        for index in 0..head.count.min(most) {
            self.changes.insert((tree, piece_key(key, index)), None);
        }
        Ok(())
    }
}

/// Whether a row is the head of a record that lies in pieces. Those are read on the writer's thread: between two reads
/// elsewhere a write could change them.
pub(super) fn in_pieces(row: &[u8]) -> bool {
    row.first() == Some(&PIECES)
}

/// Puts the record together whose head stands under `key`; `row` finds the pieces.
pub(super) fn assemble(
    tree: Tree,
    key: &[u8],
    head: &[u8],
    row: impl Fn(&[u8]) -> Result<Option<Vec<u8>>, StoreError>,
) -> Result<Vec<u8>, StoreError> {
    let fault = |cause: &str| StoreError::Record {
        tree: tree.name(),
        cause: cause.into(),
    };
    let head: Pieces = record::decode(tree, PIECES, head)?;
    if head.bytes as usize > RECORD_BYTES_MAX {
        return Err(fault("its head says that it is larger than any record"));
    }
    let mut value = Vec::with_capacity(head.bytes as usize);
    for index in 0..head.count {
        match row(&piece_key(key, index))? {
            Some(piece) => value.extend_from_slice(&piece),
            None => return Err(fault("a piece of it is missing")),
        }
    }
    if value.len() != head.bytes as usize {
        return Err(fault("its pieces have another length than its head says"));
    }
    Ok(value)
}

pub(super) fn too_large(tree: Tree, size: usize, max: usize) -> StoreError {
    StoreError::TooLarge {
        tree: tree.name(),
        size,
        max,
    }
}

fn piece_key(key: &[u8], index: u32) -> Vec<u8> {
    let mut piece = key.to_vec();
    piece.extend_from_slice(&join(&[&index.to_be_bytes()]));
    piece
}
