//! How far each hook has come in the journal.

use serde::{Deserialize, Serialize};

use super::{Batch, Store, StoreError, Tree, View, join, prefix, record, split};
use crate::alert::HookName;

const VERSION: u8 = 1;

/// First part of the keys in tree `meta`; the hook's name follows.
const KIND: &[u8] = b"hook";

/// What is written.
#[derive(Serialize, Deserialize)]
struct PlaceV1 {
    /// It is done with everything up to this number.
    done: u64,
}

/// Up to which number of the journal each of `hooks` is done, in their order. One that is new here begins behind
/// `newest`, and so does one whose place cannot be read; what is known of hooks that are not among them is forgotten.
/// It is on disk when this returns.
///
/// # Errors
/// The store could not be read or written.
pub async fn begin(store: &Store, hooks: Vec<HookName>, newest: u64) -> Result<Vec<u64>, StoreError> {
    let decide = move |view: &View| {
        let mut batch = Batch::new();
        let mut places = Vec::new();
        for hook in &hooks {
            let place = known(view, hook)?;
            if place.is_none() {
                put(&mut batch, hook, newest)?;
            }
            places.push(place.unwrap_or(newest));
        }
        for row in view.scan(Tree::Meta, &prefix(&[KIND])) {
            let (key, _) = row?;
            let name = split(&key).pop().and_then(|part| String::from_utf8(part).ok());
            if hooks.iter().all(|hook| Some(hook.as_str()) != name.as_deref()) {
                batch.delete(Tree::Meta, &key);
            }
        }
        Ok((batch, places))
    };
    store.update(decide).await
}

/// The same as far as it can be read, where nothing can be written: `newest` for one that has no place.
pub fn places(view: &View, hooks: &[HookName], newest: u64) -> Vec<u64> {
    let place = |hook| known(view, hook).ok().flatten().unwrap_or(newest);
    hooks.iter().map(place).collect()
}

/// The place of a hook. `None`: it has none, or one that cannot be read.
fn known(view: &View, hook: &HookName) -> Result<Option<u64>, StoreError> {
    let row = view.get(Tree::Meta, &key(hook))?;
    let place = row.and_then(|value| record::decode::<PlaceV1>(Tree::Meta, VERSION, &value).ok());
    Ok(place.map(|place| place.done))
}

/// Whether a row of tree `meta` is a hook's place, by its key.
pub(crate) fn is_place(key: &[u8]) -> bool {
    key.starts_with(&prefix(&[KIND]))
}

/// Notes that `hook` is done with everything up to `done`. Nobody waits for it: what is lost is told again.
///
/// # Errors
/// The store is poisoned, or closed.
pub async fn keep(store: &Store, hook: &HookName, done: u64) -> Result<(), StoreError> {
    let hook = hook.clone();
    let decide = move |_: &View| {
        let mut batch = Batch::new();
        put(&mut batch, &hook, done)?;
        Ok(batch)
    };
    store.update_later("how far a hook has come", decide).await
}

fn put(batch: &mut Batch, hook: &HookName, done: u64) -> Result<(), StoreError> {
    let row = record::encode(Tree::Meta, VERSION, &PlaceV1 { done })?;
    batch.put(Tree::Meta, &key(hook), row)
}

pub(crate) fn key(hook: &HookName) -> Vec<u8> {
    join(&[KIND, hook.as_str().as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_hook_begins_at_the_present_and_one_that_is_gone_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| name.parse().unwrap())
                .collect::<Vec<HookName>>()
        };
        let open = || Store::open(dir.path(), 1 << 20).unwrap();
        let begin =
            |store: &Store, hooks: &[&str], newest| smol::block_on(super::begin(store, names(hooks), newest)).unwrap();
        let store = open();
        assert_eq!(begin(&store, &["a", "b"], 7), [7, 7]);
        smol::block_on(keep(&store, &names(&["b"])[0], 300)).unwrap();
        drop(store);
        let store = open();
        assert_eq!(begin(&store, &["b", "c"], 400), [300, 400]);
        assert_eq!(begin(&store, &["a", "b"], 500), [500, 300]);
        assert_eq!(begin(&store, &[], 500), [0; 0]);
        assert_eq!(begin(&store, &["b"], 600), [600]);
        assert_eq!(places(store.view(), &names(&["b", "d"]), 700), [600, 700]);
        // The row of version 1, as it was first written.
        let row = store.view().get(Tree::Meta, &key(&names(&["b"])[0])).unwrap();
        assert_eq!(row.as_deref(), Some(&[1, 0xd8, 4][..]));
    }
}
