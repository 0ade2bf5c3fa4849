//! The journal: what happened, numbered from 1 without a gap, written in the transaction that makes it so.
//!
//! Numbers are given out by the writer's thread while it stages a transaction, from the rows themselves: one that is
//! refused or lost in a crash takes its number back with it, and nobody can have seen it. The newest entry is never
//! trimmed, so that no number comes twice.
//!
//! Deliberately absent: texts and phone numbers. An entry names an alert or a received message; the record of that has
//! the rest.

mod ends;
mod entry;
mod updates;
mod v1;

use std::collections::BTreeSet;

use super::log::State;
use super::{Batch, Store, StoreError, Tree, Value, View, record};
use crate::outbox::{CLOCK_UNSET_BEFORE, Timestamp, TransitionKind};
pub(super) use ends::Ends;
pub use ends::bounds;
use ends::{key, number_of};
pub use entry::{Entry, Event};
pub use updates::{Updates, Watcher};
use v1::EntryV1;

const VERSION: u8 = 1;

/// Entries kept. An alert to one recipient makes four or five of some 50 bytes: the last 2 000 alerts, in half a
/// megabyte that every start reads and every rotation of the log copies.
pub const ENTRIES_MAX: u64 = 10_000;

/// No entry is kept for longer, once a newer one comes: a month is what a person still asks about.
pub const AGE_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1000;

/// Old entries that a transaction may delete beyond the number of those it adds. It works off what a change of the
/// bounds or of the clock made too much, and keeps every transaction small.
const SURPLUS_TRIMMED_MAX: u64 = 8;

/// No relay lives to give out a number like this. A journal that has come so far was written by something else.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// What bounds a journal. Others than the default are for tests.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    entries_max: u64,
    age_ms_max: u64,
}

const BOUNDS: Bounds = Bounds {
    entries_max: ENTRIES_MAX,
    age_ms_max: AGE_MS_MAX,
};

/// Adds `entries` to `batch`, numbered, and the deletion of as many old ones as the bounds ask for, within reason. To
/// be called inside [`Store::update`], once, with its view.
///
/// # Errors
/// The store could not be read.
pub(super) fn append(ends: &Ends, view: &View, batch: &mut Batch, entries: &[Entry]) -> Result<(), StoreError> {
    append_within(BOUNDS, ends, view, batch, entries)
}

fn append_within(
    bounds: Bounds,
    ends: &Ends,
    view: &View,
    batch: &mut Batch,
    entries: &[Entry],
) -> Result<(), StoreError> {
    let Some(newest) = entries.iter().map(|entry| entry.at).max() else {
        return Ok(());
    };
    let (mut first, mut next) = ends.find(view)?;
    // Of the entries that were there before: the newest stays whatever its age.
    let trimmed_max = (entries.len() as u64 + SURPLUS_TRIMMED_MAX).min(next - first);
    for entry in entries {
        batch.put(Tree::Journal, &key(next), encode(entry)?)?;
        next += 1;
    }
    for _ in 0..trimmed_max {
        if next - first <= bounds.entries_max && !is_old(view, first, newest, bounds.age_ms_max)? {
            break;
        }
        batch.delete(Tree::Journal, &key(first));
        first += 1;
    }
    ends.set(first, next);
    Ok(())
}

/// A row that cannot be read goes when its turn comes by number.
fn is_old(view: &View, number: u64, now: Timestamp, age_ms_max: u64) -> Result<bool, StoreError> {
    let row = view.get(Tree::Journal, &key(number))?;
    Ok(row.is_some_and(|value| is_row_old(&value, now, age_ms_max)))
}

fn is_row_old(value: &[u8], now: Timestamp, age_ms_max: u64) -> bool {
    decode(value).is_ok_and(|Entry { at, .. }| at >= CLOCK_UNSET_BEFORE && now.0.saturating_sub(at.0) > age_ms_max)
}

/// The numbers and values in the rows of a state.
fn rows_of(state: &State) -> impl DoubleEndedIterator<Item = (u64, &Vec<u8>)> {
    let rows = state.range(Tree::Journal.raw_key(&key(0))..=Tree::Journal.raw_key(&key(u64::MAX)));
    rows.filter_map(|(raw, value)| Some((number_of(raw.get(1..)?)?, value)))
}

/// What the journal in the rows of `state` tells and that of `other` does not, oldest first. What cannot be read is
/// left out.
pub(crate) fn beyond(state: &State, other: &State) -> Vec<Entry> {
    let known: BTreeSet<&Vec<u8>> = rows_of(other).map(|(_, value)| value).collect();
    let new = rows_of(state).filter(|(_, value)| !known.contains(value));
    new.filter_map(|(_, value)| decode(value).ok()).collect()
}

/// Adds `entries` to the rows of a state that is about to be written whole, numbered on, and takes out all that is then
/// over the bounds. More entries than the journal keeps take their numbers all the same. A journal that cannot be
/// numbered on goes, and the numbers begin with 1.
///
/// # Errors
/// An entry has no stored form.
pub(crate) fn append_to(state: &mut State, entries: &[Entry]) -> Result<(), StoreError> {
    append_to_within(BOUNDS, state, entries)
}

fn append_to_within(bounds: Bounds, state: &mut State, entries: &[Entry]) -> Result<(), StoreError> {
    let mut last = rows_of(state).next_back().map_or(0, |(number, _)| number);
    if last > NUMBER_MAX {
        log::warn!("the journal is left out, and its numbers begin anew: no relay has given number {last}");
        state.retain(|raw, _| raw.first() != Some(&(Tree::Journal as u8)));
        last = 0;
    }
    let Some(newest) = entries.iter().map(|entry| entry.at).max() else {
        return Ok(());
    };
    let before = last;
    for entry in entries {
        last += 1;
        let value = encode(entry)?;
        state.insert(Tree::Journal.raw_key(&key(last)), value);
    }
    let over = |&(number, value): &(u64, &Vec<u8>)| {
        last - number >= bounds.entries_max.max(1) || number <= before && is_row_old(value, newest, bounds.age_ms_max)
    };
    let trimmed: Vec<u64> = rows_of(state).take_while(over).map(|(number, _)| number).collect();
    for number in trimmed {
        state.remove(&Tree::Journal.raw_key(&key(number)));
    }
    Ok(())
}

/// Commits `batch` and the entries that tell of it, as one transaction.
///
/// # Errors
/// As for [`Store::update`].
pub async fn commit(store: &Store, batch: Batch, entries: Vec<Entry>) -> Result<(), StoreError> {
    if entries.is_empty() {
        return store.commit(batch).await;
    }
    store.update(with_entries(store, batch, entries)).await
}

/// [`commit`] of something new, which is refused before the last room there is.
///
/// # Errors
/// As for [`Store::update_new`].
pub async fn commit_new(store: &Store, batch: Batch, entries: Vec<Entry>) -> Result<(), StoreError> {
    store.update_new(with_entries(store, batch, entries)).await
}

fn with_entries(
    store: &Store,
    mut batch: Batch,
    entries: Vec<Entry>,
) -> impl FnOnce(&View) -> Result<(Batch, ()), StoreError> + Send + 'static {
    let ends = store.journal_ends().clone();
    move |view| {
        append(&ends, view, &mut batch, &entries)?;
        Ok((batch, ()))
    }
}

/// At most `limit` entries after number `since`, oldest first, each with its number. A first number above `since` + 1
/// shows that what lies between is trimmed. An entry that cannot be read is left out, and is a gap too.
///
/// # Errors
/// The store could not be read.
pub fn after(view: &View, since: u64, limit: usize) -> Result<Vec<(u64, Entry)>, StoreError> {
    let mut found = Vec::new();
    for row in view.scan_from(Tree::Journal, &key(since.saturating_add(1))) {
        if found.len() >= limit {
            break;
        }
        found.extend(entry_of(&row?));
    }
    Ok(found)
}

/// What the journal has of the alert `id`, oldest first. It looks back as far as the alert's acceptance, at most at all
/// [`ENTRIES_MAX`] entries.
///
/// # Errors
/// The store could not be read.
pub fn of_alert(view: &View, id: &str) -> Result<Vec<(u64, Entry)>, StoreError> {
    let mut found = Vec::new();
    for row in view.scan(Tree::Journal, b"").rev() {
        let row = row?;
        // Most rows are of others: an id that is not among the bytes is not in the entry.
        if !row.1.windows(id.len().max(1)).any(|bytes| bytes == id.as_bytes()) {
            continue;
        }
        let Some((number, entry)) = entry_of(&row) else {
            continue;
        };
        let Event::Alert { what, id: of, .. } = &entry.event else {
            continue;
        };
        if of != id {
            continue;
        }
        let accepted = *what == TransitionKind::Accepted;
        found.push((number, entry));
        if accepted {
            break;
        }
    }
    found.reverse();
    Ok(found)
}

/// Reads one row as what it should be.
///
/// # Errors
/// It is not.
pub(crate) fn check_row(key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    number_of(key).ok_or_else(|| StoreError::Record {
        tree: Tree::Journal.name(),
        cause: "its key is no number".to_owned(),
    })?;
    decode(value).map(drop)
}

/// Reads an entry from its stored form.
///
/// # Errors
/// It is damaged, or of a later version.
pub(crate) fn decode(value: &[u8]) -> Result<Entry, StoreError> {
    let stored: EntryV1<'_> = record::decode(Tree::Journal, VERSION, value)?;
    Entry::try_from(stored).map_err(|error| StoreError::Record {
        tree: Tree::Journal.name(),
        cause: error.to_string(),
    })
}

/// The stored form of an entry.
///
/// # Errors
/// It has none (a bug, met in tests).
pub(crate) fn encode(entry: &Entry) -> Result<Vec<u8>, StoreError> {
    record::encode(Tree::Journal, VERSION, &EntryV1::of(entry))
}

fn entry_of((key, value): &(Vec<u8>, Value)) -> Option<(u64, Entry)> {
    let number = number_of(key)?;
    match decode(value) {
        Ok(entry) => Some((number, entry)),
        Err(error) => {
            log::debug!("entry {number} of the journal: {error}");
            None
        }
    }
}

#[cfg(test)]
mod tests;
