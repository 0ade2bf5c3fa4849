//! The line log: what ended each line, and how each run of the relay began. For people who ask later, and for a session
//! that the server has told to wait until some time.
//!
//! The keys are a session's name and a place in the order of events, without gaps; the relay's own starts stand under
//! the empty name, which no session has.

mod entry;
mod v1;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Batch, Store, StoreError, Tree, View, prefix, record};
use crate::alert::SessionName;
use crate::line::EndRecord;
use crate::util::millis;
pub use entry::{Before, Entry, LineEnded, RelayStarted};
use v1::EntryV1;

const VERSION: u8 = 1;

/// Entries that are kept, per session and of the relay's starts. A server that recycles the line every half hour fills
/// it in three weeks, and it comes to some 400 KB. An outage, however long, adds one entry for each cause that it
/// shows.
pub const KEPT_MAX: u64 = 1000;

/// Entries of one outage that are looked at for one to add to. More than there are causes.
const OUTAGE_ENTRIES_MAX: usize = 64;

/// A run that follows a crash and crashes within this time belongs to the same loop of crashes.
const CRASH_LOOP_MS: u64 = 5 * 60 * 1000;

/// Words from the server or the system are cut to this.
const WORDS_BYTES_MAX: usize = 300;

/// How the run that is going on began; of no meaning to another host.
pub(crate) const RUN_KEY: &[u8] = b"run";
const RUN_VERSION: u8 = 1;

/// The run that is under way, or was the last.
#[derive(Debug, Serialize, Deserialize)]
struct RunRecord {
    /// The kernel's id of this boot of the host.
    boot: Option<String>,
    /// `None`: no goodbye yet.
    goodbye: Option<Goodbye>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Goodbye {
    at_ms: u64,
    failure: Option<String>,
}

/// Adds the end of a line. An attempt that never came up is added to an entry of the same outage and cause, if there is
/// one: a night without internet must not push out what a person looks for.
///
/// # Errors
/// The store could not be read or written; then nothing has changed.
pub async fn line_ended(
    store: &Store,
    session: &SessionName,
    mut end: EndRecord,
    hold: Option<Duration>,
) -> Result<(), StoreError> {
    for words in [&mut end.words, &mut end.verdict, &mut end.detail, &mut end.guess] {
        cut(words);
    }
    let hold_ms = hold.map(millis);
    let session = session.clone();
    store
        .update(move |view| {
            let mut batch = Batch::new();
            let name = session.as_str();
            let mut ended = Box::new(LineEnded {
                times: 1,
                first_at_ms: end.at_ms,
                hold_ms,
                end,
            });
            let outage = match ended.end.logged_in {
                true => Vec::new(),
                false => outage(view, name)?,
            };
            match outage.iter().position(|(_, kept)| kept.end.cause == ended.end.cause) {
                None => append(view, &mut batch, name, &Entry::LineEnded(ended))?,
                // It takes the newest place, and those that were newer move down: the order stays that of the last
                // time.
                Some(found) => {
                    ended.times = outage[found].1.times.saturating_add(1);
                    ended.first_at_ms = outage[found].1.first_at_ms;
                    for newer in (0..found).rev() {
                        put(
                            &mut batch,
                            name,
                            outage[newer + 1].0,
                            &Entry::LineEnded(outage[newer].1.clone()),
                        )?;
                    }
                    put(&mut batch, name, outage[0].0, &Entry::LineEnded(ended))?;
                }
            }
            Ok((batch, ()))
        })
        .await
}

/// The newest entries of `name` that were attempts which never came up, newest first, with their places.
fn outage(view: &View, name: &str) -> Result<Vec<(u64, Box<LineEnded>)>, StoreError> {
    let mut entries = Vec::new();
    for row in rows(view, name).take(OUTAGE_ENTRIES_MAX) {
        match row? {
            (place, Some(Entry::LineEnded(ended))) if !ended.end.logged_in => entries.push((place, ended)),
            _ => break,
        }
    }
    Ok(entries)
}

/// Notes that a run of the program's `version` begins, and says how the last one ended. `boot` is the kernel's id of
/// this boot of the host.
///
/// # Errors
/// The store could not be read or written.
pub async fn run_begins(
    store: &Store,
    at_ms: u64,
    boot: Option<String>,
    version: &str,
) -> Result<RelayStarted, StoreError> {
    let version = version.to_owned();
    store
        .update(move |view| {
            let mut batch = Batch::new();
            let mut started = RelayStarted {
                times: 1,
                first_at_ms: at_ms,
                at_ms,
                version,
                before: before(view, boot.as_deref())?,
            };
            let newest = rows(view, RELAY).next().transpose()?;
            match newest {
                Some((place, Some(Entry::RelayStarted(last))))
                    if last.version == started.version
                        && last.before.is_crash_like(&started.before)
                        && at_ms.saturating_sub(last.at_ms) < CRASH_LOOP_MS =>
                {
                    started.times = last.times.saturating_add(1);
                    started.first_at_ms = last.first_at_ms;
                    put(&mut batch, RELAY, place, &Entry::RelayStarted(started.clone()))?;
                }
                _ => append(view, &mut batch, RELAY, &Entry::RelayStarted(started.clone()))?,
            }
            put_run(&mut batch, &RunRecord { boot, goodbye: None })?;
            Ok((batch, started))
        })
        .await
}

/// Notes that this run ends, on request or with `failure`.
///
/// # Errors
/// The store could not be read or written.
pub async fn run_ends(store: &Store, at_ms: u64, failure: Option<String>) -> Result<(), StoreError> {
    store
        .update(move |view| {
            let mut batch = Batch::new();
            let failure = failure.map(|mut words| {
                cut(&mut words);
                words
            });
            put_run(
                &mut batch,
                &RunRecord {
                    boot: run(view)?.and_then(|run| run.boot),
                    goodbye: Some(Goodbye { at_ms, failure }),
                },
            )?;
            Ok((batch, ()))
        })
        .await
}

fn before(view: &View, boot: Option<&str>) -> Result<Before, StoreError> {
    let Some(run) = run(view)? else {
        return Ok(Before::Nothing);
    };
    Ok(match run.goodbye {
        Some(Goodbye { at_ms, failure: None }) => Before::Stopped { at_ms },
        Some(Goodbye {
            at_ms,
            failure: Some(why),
        }) => Before::Failed { at_ms, why },
        None => Before::Vanished {
            host_too: run.boot.as_deref().zip(boot).map(|(then, now)| then != now),
        },
    })
}

/// A record that cannot be read is a later version's; nothing is known then.
fn run(view: &View) -> Result<Option<RunRecord>, StoreError> {
    let bytes = view.get(Tree::Meta, RUN_KEY)?;
    Ok(bytes.and_then(|bytes| record::decode(Tree::Meta, RUN_VERSION, &bytes).ok()))
}

fn put_run(batch: &mut Batch, run: &RunRecord) -> Result<(), StoreError> {
    batch.put(Tree::Meta, RUN_KEY, record::encode(Tree::Meta, RUN_VERSION, run)?)
}

/// The last end of `session`'s lines.
///
/// # Errors
/// The store could not be read.
pub fn last_end(view: &View, session: &SessionName) -> Result<Option<LineEnded>, StoreError> {
    Ok(match rows(view, session.as_str()).next().transpose()? {
        Some((_, Some(Entry::LineEnded(ended)))) => Some(*ended),
        _ => None,
    })
}

/// The newest `limit` entries of `sessions` and of the relay itself (`None`), the newest last. What a later version
/// wrote is left out.
///
/// # Errors
/// The store could not be read.
pub fn newest(
    view: &View,
    sessions: &[SessionName],
    limit: usize,
) -> Result<Vec<(Option<SessionName>, Entry)>, StoreError> {
    let owners = sessions.iter().map(|name| (Some(name.clone()), name.as_str()));
    let mut sources = Vec::new();
    for (owner, name) in owners.chain([(None, RELAY)]) {
        let rows = rows(view, name).filter_map(|row| row.map(|(_, entry)| entry).transpose());
        sources.push((owner, rows.peekable()));
    }
    let mut entries = Vec::new();
    while entries.len() < limit {
        // Merged by time, each session in its own order: a wall clock that stepped cannot mix that up.
        let mut latest: Option<(u64, usize)> = None;
        for (index, (_, rows)) in sources.iter_mut().enumerate() {
            let at_ms = match rows.peek() {
                None => continue,
                Some(Ok(entry)) => entry.at_ms(),
                Some(Err(error)) => return Err(error.clone()),
            };
            if latest.is_none_or(|(newest, _)| at_ms > newest) {
                latest = Some((at_ms, index));
            }
        }
        let Some((owner, rows)) = latest.map(|(_, index)| &mut sources[index]) else {
            break;
        };
        if let Some(entry) = rows.next() {
            entries.push((owner.clone(), entry?));
        }
    }
    entries.reverse();
    Ok(entries)
}

/// The name under which the relay's own entries stand.
const RELAY: &str = "";

/// Entries of `name`, newest first, with their places; `None` for one that cannot be read.
fn rows(view: &View, name: &str) -> impl Iterator<Item = Result<(u64, Option<Entry>), StoreError>> + use<> {
    view.scan(Tree::LineEnd, &prefix(&[name.as_bytes()])).rev().map(|row| {
        let (key, value) = row?;
        let place = key.last_chunk::<8>().map_or(0, |place| u64::from_be_bytes(*place));
        Ok((place, decode(&value).ok()))
    })
}

/// Reads an entry from its stored form.
///
/// # Errors
/// It is damaged, or of a later version.
pub(crate) fn decode(value: &[u8]) -> Result<Entry, StoreError> {
    record::decode::<EntryV1<'_>>(Tree::LineEnd, VERSION, value).map(Entry::from)
}

/// The stored form of an entry.
///
/// # Errors
/// It has none (a bug, met in tests).
pub(crate) fn encode(entry: &Entry) -> Result<Vec<u8>, StoreError> {
    record::encode(Tree::LineEnd, VERSION, &EntryV1::of(entry))
}

fn key(name: &str, place: u64) -> Vec<u8> {
    let mut key = prefix(&[name.as_bytes()]);
    key.extend_from_slice(&place.to_be_bytes());
    key
}

fn put(batch: &mut Batch, name: &str, place: u64, entry: &Entry) -> Result<(), StoreError> {
    batch.put(Tree::LineEnd, &key(name, place), encode(entry)?)
}

/// Puts `entry` after all others of `name`, and deletes those that are too many.
fn append(view: &View, batch: &mut Batch, name: &str, entry: &Entry) -> Result<(), StoreError> {
    let place = rows(view, name).next().transpose()?.map_or(0, |(place, _)| place + 1);
    put(batch, name, place, entry)?;
    let Some(keep_from) = (place + 1).checked_sub(KEPT_MAX) else {
        return Ok(());
    };
    let keep_from = key(name, keep_from);
    for row in view.scan(Tree::LineEnd, &prefix(&[name.as_bytes()])) {
        let (key, _) = row?;
        if key >= keep_from {
            break;
        }
        batch.delete(Tree::LineEnd, &key);
    }
    Ok(())
}

fn cut(words: &mut String) {
    words.truncate(words.floor_char_boundary(WORDS_BYTES_MAX));
}

#[cfg(test)]
mod tests;
