//! Reading: the index, and over it what it does not have yet.
//!
//! Three memtables lie over it. One holds durable transactions that sled has not been given: every batch makes sled
//! seal and write a buffer (13.5 KB a commit in all, where few and large batches come to 5;
//! `cargo test --features lab --bench store -- --bench`). Below it is what sled is being given, a slice at a time. The
//! third holds what the transactions of the group under way have decided, before the sync that they share; only they
//! see it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::iter::Flatten;
use std::ops::Deref;
use std::option;
use std::sync::{Arc, RwLock, RwLockReadGuard};

use super::batch::Collection;
use super::broken::Broken;
use super::error::StoreError;
use super::log::{self, Operation};
use crate::util::{read, write};

/// Puts and deletes by raw key.
pub(super) type Changes = BTreeMap<Vec<u8>, Option<sled::IVec>>;

/// Puts and deletes that the index does not have.
#[derive(Clone, Default)]
pub(super) struct Memtable(Arc<RwLock<Changes>>);

impl Memtable {
    pub(super) fn add(&self, operations: Vec<Operation>) {
        let mut changes = write(&self.0);
        changes.extend(
            operations
                .into_iter()
                .map(|(key, value)| (key, value.map(sled::IVec::from))),
        );
    }

    /// Adds all of `newer` at once: a reader sees all of it or nothing. Returns by how many bytes of keys and values it
    /// has grown; what is put again takes no more room than before.
    pub(super) fn absorb(&self, newer: Changes) -> isize {
        let bytes = |value: &Option<sled::IVec>| value.as_ref().map_or(0, |value| value.len()) as isize;
        let mut changes = write(&self.0);
        let grown = newer.into_iter().map(|(key, value)| {
            let (key_bytes, new) = (key.len() as isize, bytes(&value));
            match changes.insert(key, value) {
                Some(before) => new - bytes(&before),
                None => key_bytes + new,
            }
        });
        grown.sum()
    }

    /// [`absorb`](Self::absorb) where nothing lies below: a delete leaves no trace.
    pub(super) fn absorb_over_nothing(&self, newer: Changes) -> isize {
        let row =
            |key: &[u8], value: &Option<sled::IVec>| value.as_ref().map_or(0, |value| key.len() + value.len()) as isize;
        let mut changes = write(&self.0);
        let grown = newer.into_iter().map(|(key, value)| {
            let new = row(&key, &value);
            let before = changes.get(&key).map_or(0, |before| row(&key, before));
            match value {
                Some(_) => changes.insert(key, value),
                None => changes.remove(&key),
            };
            new - before
        });
        grown.sum()
    }

    /// Adds `rows` where it has nothing newer.
    pub(super) fn fill(&self, rows: &[log::Row<'_>]) {
        let mut changes = write(&self.0);
        for (key, value) in rows {
            changes.entry(key.to_vec()).or_insert_with(|| Some((*value).into()));
        }
    }

    /// Lets go of the deletes, where nothing lies below that they would hide. Returns the bytes of keys and values that
    /// are left.
    pub(super) fn forget_deletes(&self) -> usize {
        let mut changes = write(&self.0);
        changes.retain(|_, value| value.is_some());
        let bytes =
            |(key, value): (&Vec<u8>, &Option<sled::IVec>)| key.len() + value.as_ref().map_or(0, |value| value.len());
        changes.iter().map(bytes).sum()
    }

    /// Lets `look` see what it holds, beside the readers.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Changes) -> T) -> T {
        look(&read(&self.0))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.read(Changes::is_empty)
    }

    /// Puts `changes` in the place of what it holds.
    pub(super) fn set(&self, changes: Changes) {
        *write(&self.0) = changes;
    }

    /// Empties it, and gives what it held.
    pub(super) fn take(&self) -> Changes {
        std::mem::take(&mut *write(&self.0))
    }
}

/// The index as the readers have it; it can be built again under them. None while the disk has no room for it: then the
/// memtable has everything.
#[derive(Clone)]
pub(super) struct Base {
    tree: Arc<RwLock<Option<sled::Tree>>>,
    broken: Arc<Broken>,
}

impl Base {
    /// What cannot be read of `tree` sets `broken`.
    pub(super) fn new(tree: Option<sled::Tree>, broken: Arc<Broken>) -> Self {
        let tree = Arc::new(RwLock::new(tree));
        Self { tree, broken }
    }

    /// Held while the memtables are looked at, so that nobody reads between the two steps of
    /// [`replace`](Self::replace).
    fn tree(&self) -> RwLockReadGuard<'_, Option<sled::Tree>> {
        read(&self.tree)
    }

    /// Puts `tree` in its place, and lets `change` do to the memtables what makes both together say what they said
    /// before.
    pub(super) fn replace(&self, tree: Option<sled::Tree>, change: impl FnOnce()) {
        let mut place = write(&self.tree);
        *place = tree;
        change();
    }

    /// Lets `change` move what the memtables hold from one to another.
    pub(super) fn while_nobody_reads(&self, change: impl FnOnce()) {
        let _held = write(&self.tree);
        change();
    }

    /// sled does not recover from a failure, one of its own threads' neither. The next start builds the index again.
    fn unreadable(&self, error: &sled::Error) -> StoreError {
        self.broken.set(&format!("the index cannot be read: {error}"));
        StoreError::Read(error.to_string())
    }
}

/// Reads the store as of the last durable transaction; inside [`super::Engine::update`], as of the one before.
#[derive(Clone)]
pub struct View {
    base: Base,
    /// The newest last.
    memtables: Vec<Memtable>,
}

type Row = (sled::IVec, sled::IVec);

impl View {
    pub(super) fn new(base: Base) -> Self {
        Self {
            base,
            memtables: Vec::new(),
        }
    }

    pub(super) fn over(&self, memtable: &Memtable) -> Self {
        Self {
            base: self.base.clone(),
            memtables: self.memtables.iter().chain([memtable]).cloned().collect(),
        }
    }

    /// The value under `key`.
    ///
    /// # Errors
    /// The index could not be read.
    pub fn get(&self, collection: impl Into<Collection>, key: &[u8]) -> Result<Option<Value>, StoreError> {
        Ok(self.get_raw(&collection.into().raw_key(key))?.map(Value))
    }

    fn get_raw(&self, raw: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        let base = self.base.tree();
        for Memtable(changes) in self.memtables.iter().rev() {
            if let Some(change) = read(changes).get(raw) {
                return Ok(change.clone());
            }
        }
        let tree = base.clone();
        drop(base);
        match tree {
            Some(tree) => tree.get(raw).map_err(|error| self.base.unreadable(&error)),
            None => Ok(None),
        }
    }

    /// What the row under a raw key takes: 0 where there is none.
    pub(super) fn row_bytes(&self, raw: &[u8]) -> u64 {
        let value = self.get_raw(raw).ok().flatten();
        value.map_or(0, |value| (raw.len() + value.len()) as u64)
    }

    /// All entries whose key starts with `prefix`, in key order.
    pub fn scan(&self, collection: impl Into<Collection>, prefix: &[u8]) -> Scan {
        let prefix = collection.into().raw_key(prefix);
        self.rows(&|tree| tree.scan_prefix(&prefix), &prefix, &prefix)
    }

    /// All entries of `collection` from the key `from` on, in key order.
    pub fn scan_from(&self, collection: impl Into<Collection>, from: &[u8]) -> Scan {
        let collection = collection.into();
        let (from, all, end) = (collection.raw_key(from), [collection.number], [collection.number + 1]);
        self.rows(&|tree| tree.range(&from[..]..&end[..]), &from, &all)
    }

    /// The rows that `look` finds, with those of the memtables whose keys are `from` or later and start with `prefix`.
    fn rows(&self, look: &dyn Fn(&sled::Tree) -> sled::Iter, from: &[u8], prefix: &[u8]) -> Scan {
        let tree = self.base.tree();
        let mut over = Changes::new();
        for Memtable(changes) in &self.memtables {
            let changes = read(changes);
            let under = changes
                .range(from.to_vec()..)
                .take_while(|(key, _)| key.starts_with(prefix));
            over.extend(under.map(|(key, value)| (key.clone(), value.clone())));
        }
        // Only now: what leaves the memtables goes into the index before.
        let merged = Merged {
            base: tree.as_ref().map(look).into_iter().flatten(),
            front: None,
            back: None,
            over: over.into_iter().collect(),
        };
        Scan {
            merged,
            base: self.base.clone(),
        }
    }
}

/// A stored value: bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(sled::IVec);

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().fmt(f)
    }
}

/// Rows of one collection, in key order from either end. Keys come without the collection's number.
pub struct Scan {
    merged: Merged<Flatten<option::IntoIter<sled::Iter>>>,
    base: Base,
}

impl Scan {
    fn given(&self, row: sled::Result<Row>) -> Result<(Vec<u8>, Value), StoreError> {
        match row {
            Ok((key, value)) => Ok((key[Collection::PREFIX_BYTES..].to_vec(), Value(value))),
            Err(error) => Err(self.base.unreadable(&error)),
        }
    }
}

impl Iterator for Scan {
    type Item = Result<(Vec<u8>, Value), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.merged.next()?;
        Some(self.given(row))
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        let row = self.merged.next_back()?;
        Some(self.given(row))
    }
}

/// Two sorted sequences as one; of equal keys the one in `over` counts.
struct Merged<B> {
    base: B,
    /// Looked at and not yet given.
    front: Option<sled::Result<Row>>,
    back: Option<sled::Result<Row>>,
    over: VecDeque<(Vec<u8>, Option<sled::IVec>)>,
}

impl<B: DoubleEndedIterator<Item = sled::Result<Row>>> Iterator for Merged<B> {
    type Item = sled::Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.front.is_none() {
                self.front = self.base.next().or_else(|| self.back.take());
            }
            let order = match (&self.front, self.over.front()) {
                (None, None) => return None,
                (Some(_), None) | (Some(Err(_)), _) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(Ok((base, _))), Some((over, _))) => base.as_ref().cmp(over),
            };
            if order == Ordering::Less {
                return self.front.take();
            }
            if order == Ordering::Equal {
                self.front = None;
            }
            if let Some((key, Some(value))) = self.over.pop_front() {
                return Some(Ok((key.into(), value)));
            }
        }
    }
}

impl<B: DoubleEndedIterator<Item = sled::Result<Row>>> DoubleEndedIterator for Merged<B> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            if self.back.is_none() {
                self.back = self.base.next_back().or_else(|| self.front.take());
            }
            let order = match (&self.back, self.over.back()) {
                (None, None) => return None,
                (Some(_), None) | (Some(Err(_)), _) => Ordering::Greater,
                (None, Some(_)) => Ordering::Less,
                (Some(Ok((base, _))), Some((over, _))) => base.as_ref().cmp(over),
            };
            if order == Ordering::Greater {
                return self.back.take();
            }
            if order == Ordering::Equal {
                self.back = None;
            }
            if let Some((key, Some(value))) = self.over.pop_back() {
                return Some(Ok((key.into(), value)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every mix of both ends over every small pair of sequences gives what a map would.
    #[test]
    fn merging_from_both_ends_is_as_from_one() {
        let keys = [b"a", b"b", b"c", b"d"];
        // Each key: absent, in the base, put over, deleted over, both, both and deleted.
        for code in 0..6_u32.pow(4) {
            let mut base: Vec<sled::Result<Row>> = Vec::new();
            let (mut over, mut expected) = (VecDeque::new(), VecDeque::new());
            for (at, key) in keys.iter().enumerate() {
                let case = code / 6_u32.pow(at as u32) % 6;
                if matches!(case, 1 | 4 | 5) {
                    base.push(Ok(((*key).into(), b"base".into())));
                }
                match case {
                    1 => expected.push_back((key.to_vec(), &b"base"[..])),
                    2 | 4 => {
                        over.push_back((key.to_vec(), Some(b"over".into())));
                        expected.push_back((key.to_vec(), b"over"));
                    }
                    3 | 5 => over.push_back((key.to_vec(), None)),
                    _ => {}
                }
            }
            for ends in 0..16_u32 {
                let mut expected = expected.clone();
                let mut merged = Merged {
                    base: base.clone().into_iter(),
                    front: None,
                    back: None,
                    over: over.clone(),
                };
                for turn in 0..5 {
                    let (found, wanted) = if ends >> turn & 1 == 0 {
                        (merged.next(), expected.pop_front())
                    } else {
                        (merged.next_back(), expected.pop_back())
                    };
                    let found = found.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap());
                    assert_eq!(
                        found,
                        wanted.map(|(key, value)| (key, value.to_vec())),
                        "{code} {ends:b}"
                    );
                }
            }
        }
    }
}
