//! A transaction before it is applied: puts and deletes over collections.

use super::StoreError;
use super::log::Operation;

/// A collection of records. The engine knows no more of it than this: whoever keeps something in it has the list
/// ([`Tree`](crate::store::Tree)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collection {
    /// The first byte of each of its keys on disk.
    pub number: u8,
    /// For messages.
    pub name: &'static str,
}

impl Collection {
    /// What its keys begin with: one byte.
    pub(super) const PREFIX_BYTES: usize = 1;

    /// `key` as it stands on disk. All collections lie in one order, that of their numbers.
    pub fn raw_key(self, key: &[u8]) -> Vec<u8> {
        let mut raw = Vec::with_capacity(Self::PREFIX_BYTES + key.len());
        raw.push(self.number);
        raw.extend_from_slice(key);
        raw
    }
}

/// The longest value, in bytes: sled keeps those over about 128 KiB in files of their own, which it never syncs.
pub const VALUE_BYTES_MAX: usize = 120 * 1024;

/// Puts and deletes that become visible together or not at all. Later operations on a key win.
#[derive(Default)]
pub struct Batch {
    pub(super) operations: Vec<Operation>,
}

impl Batch {
    /// One that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the write of `value` under `key`, whatever stands there.
    ///
    /// # Errors
    /// The value is larger than [`VALUE_BYTES_MAX`].
    pub fn put(&mut self, collection: impl Into<Collection>, key: &[u8], value: Vec<u8>) -> Result<(), StoreError> {
        let collection = collection.into();
        if value.len() > VALUE_BYTES_MAX {
            return Err(StoreError::TooLarge {
                tree: collection.name,
                size: value.len(),
                max: VALUE_BYTES_MAX,
            });
        }
        self.operations.push((collection.raw_key(key), Some(value)));
        Ok(())
    }

    /// Adds the removal of what stands under `key`, if anything does.
    pub fn delete(&mut self, collection: impl Into<Collection>, key: &[u8]) {
        self.operations.push((collection.into().raw_key(key), None));
    }

    /// Adds what `other` does after what this one does.
    pub fn append(&mut self, mut other: Self) {
        self.operations.append(&mut other.operations);
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}
