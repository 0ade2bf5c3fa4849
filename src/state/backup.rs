//! A backup: identity and alerts in one file, from which a session goes on without pairing again.
//!
//! > An old ratchet never comes back. What encrypts or decrypts messages has moved on since the backup was made, and
//! > using it again would use message keys twice. So it is neither written into a backup nor taken out of one; the
//! > sessions with the phones are made anew.
//!
//! Which collection goes along is decided in the [table of trees](crate::store::TREES), with the reason in
//! `docs/store-format.md`.

#[doc(hidden)]
pub mod fuzz;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::MemfdFlags;

use super::check;
use crate::credentials::{self, PreKeyOffset};
use crate::outbox::{AlertRecord, HandoverState, KeyRecord, Step, Timestamp, Transition, TransitionKind};
use crate::store::engine::{Lock, closed, create_private};
use crate::store::journal::Event;
use crate::store::log::{Disk, ExportFault, Exporter, RealDisk, State, import, inspect};
use crate::store::{Batch, Store, StoreError, Tree, Value, history, hooks, journal, outbox};

/// What a held alert says for itself.
pub(crate) const HELD: &str =
    "held since the state was restored: it may have gone out before; `tautline queue retry` sends it again";

/// Why a backup cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    File(#[from] ExportFault),
    /// The state must stay as it is.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What becomes of alerts that were not sent when the backup was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    /// They are kept, failed, for a person to send again: whoever ran on has perhaps sent them.
    Hold,
    /// They go out: nobody ran on since.
    Send,
}

/// What a backup holds.
#[derive(Debug)]
pub struct Backup {
    /// Unix milliseconds, by the clock of the box that made it.
    pub made_at_ms: u64,
    /// The linked sessions.
    pub sessions: Vec<String>,
    pub alerts: usize,
    /// Alerts not sent to everybody yet.
    pub pending: usize,
    /// Messages received.
    pub messages: usize,
    state: State,
}

impl Store {
    /// Makes a backup as of one point in the order of transactions, and returns it in a file in memory, with its
    /// length. Nothing is written to the state meanwhile; that takes as long as copying it.
    ///
    /// In memory, because a full or failing disk is a reason to want one. What the state may hold is bounded.
    ///
    /// # Errors
    /// The store could not be read, or there is not enough memory.
    pub async fn backup(&self, made_at_ms: u64) -> Result<(File, u64), StoreError> {
        self.update(move |view| {
            let file = rustix::fs::memfd_create("tautline-backup", MemfdFlags::CLOEXEC).map_err(no_memory)?;
            let rows = Tree::all().filter(|tree| tree.is_in_backup()).flat_map(|tree| {
                let row = move |row: Result<(Vec<u8>, Value), StoreError>| {
                    row.map(|(key, value)| (tree.raw_key(&key), value.to_vec()))
                };
                view.scan(tree, b"").map(row)
            });
            let mut exporter = Exporter::begin(io::BufWriter::new(File::from(file)), made_at_ms).map_err(no_memory)?;
            for row in rows {
                let (key, value) = row?;
                exporter.record(key, value).map_err(no_memory)?;
            }
            let (out, bytes) = exporter.end().map_err(no_memory)?;
            let mut file = out.into_inner().map_err(|error| no_memory(error.into_error()))?;
            file.rewind().map_err(no_memory)?;
            Ok((Batch::new(), (file, bytes)))
        })
        .await
    }
}

fn no_memory(error: impl Into<io::Error>) -> StoreError {
    StoreError::Read(format!("there is no memory for the backup: {}", error.into()))
}

/// A backup of a state that no relay has open, read and not yet written anywhere.
pub struct Draft {
    made_at_ms: u64,
    state: State,
}

impl Draft {
    /// Reads the state directory `path` and changes nothing; it may be on a file system that is read-only. `made_at_ms`
    /// is Unix milliseconds.
    ///
    /// # Errors
    /// A relay has it, there is none, or it is damaged.
    pub fn read(path: &Path, made_at_ms: u64) -> Result<Self, StoreError> {
        closed::look_for_a_state(path)?;
        // Only for as long as it is read: whoever writes it somewhere slowly keeps no relay from starting.
        let _lock = Lock::to_read(path)?;
        let found = inspect(&RealDisk::new(path.to_owned())).map_err(|error| closed::log_error(path, error))?;
        let found = found.ok_or_else(|| StoreError::Open {
            path: path.to_owned(),
            cause: "there is no log in it; a run of the relay makes one".into(),
        })?;
        let mut state = found.state;
        state.retain(|key, _| Tree::of_raw_key(key).is_some_and(Tree::is_in_backup));
        Ok(Self { made_at_ms, state })
    }

    /// # Errors
    /// `out` cannot be written.
    pub fn write<W: Write>(self, out: W) -> io::Result<()> {
        let mut exporter = Exporter::begin(out, self.made_at_ms)?;
        for (key, value) in self.state {
            exporter.record(key, value)?;
        }
        exporter.end().map(drop)
    }
}

impl Backup {
    /// Reads a backup, each record as its type. Records of what never comes back are left out, should the file have
    /// any.
    ///
    /// # Errors
    /// It is no backup, is not whole, or a later version wrote it.
    pub fn read(bytes: &[u8]) -> Result<Self, BackupError> {
        let (made_at_ms, mut state) = import(bytes)?;
        let faults = check::unreadable(&state, &mut BTreeMap::new());
        if let Some(fault) = faults.first() {
            return Err(ExportFault::Damaged(format!("{fault} ({} in all)", faults.len())).into());
        }
        state.retain(|key, _| Tree::of_raw_key(key).is_some_and(Tree::is_in_backup));
        let mut backup = Self {
            made_at_ms,
            sessions: Vec::new(),
            alerts: 0,
            pending: 0,
            messages: under(&state, Tree::Inbound).count(),
            state,
        };
        for (key, value) in under(&backup.state, Tree::Device) {
            if credentials::is_paired(value)? {
                backup.sessions.push(credentials::session_of(key));
            }
        }
        for (key, value) in under(&backup.state, Tree::Outbox) {
            backup.alerts += 1;
            backup.pending += usize::from(waits(&outbox::decode(key, value)?));
        }
        Ok(backup)
    }

    /// Puts it into the state directory `path`, which must hold no linked session and no messages. Alerts that wait
    /// there stay, after those of the backup. `now_ms` is Unix milliseconds. Returns how many alerts are held.
    ///
    /// # Errors
    /// A relay has the state, it must stay as it is, is damaged, or cannot be written: then nothing has changed.
    pub fn restore(self, path: &Path, pending: Pending, now_ms: u64) -> Result<usize, BackupError> {
        self.restore_on(path, Arc::new(RealDisk::new(path.to_owned())), pending, now_ms)
    }

    /// [`restore`](Self::restore) with the log's files on `disk`. The lock and the index stay in `path`.
    ///
    /// # Errors
    /// As for [`restore`](Self::restore).
    pub fn restore_on(
        self,
        path: &Path,
        disk: Arc<dyn Disk>,
        pending: Pending,
        now_ms: u64,
    ) -> Result<usize, BackupError> {
        create_private(path).map_err(|error| StoreError::Open {
            path: path.to_owned(),
            cause: error.to_string(),
        })?;
        let _lock = Lock::acquire(path)?;
        let offset = PreKeyOffset::draw()?;
        let present = match inspect(&*disk).map_err(|error| closed::log_error(path, error))? {
            Some(found) => {
                closed::refuse_a_lost_end(path, found.sequence)?;
                found.state
            }
            None if path.join("db").exists() => {
                let text = "there is an index in the state and no log beside it: move the state directory away first";
                return Err(BackupError::Refused(text.into()));
            }
            None => State::new(),
        };
        let (next, held) = self.merged_into(present, pending, now_ms, offset)?;
        closed::replace(path, disk, &next)?;
        Ok(held)
    }

    /// The state that comes of it, and how many alerts are held in it.
    fn merged_into(
        self,
        present: State,
        pending: Pending,
        now_ms: u64,
        offset: PreKeyOffset,
    ) -> Result<(State, usize), BackupError> {
        refuse_a_past(&present)?;
        let mut next = State::new();
        let mut seq_max = 0;
        let mut held = Vec::new();
        let mut held_count = 0;
        let mut ours = BTreeMap::new();
        for (key, value) in under(&present, Tree::Outbox) {
            let alert = outbox::decode(key, value)?;
            ours.insert((alert.id.clone(), alert.seq), alert);
        }
        let kept: BTreeSet<String> = ours.keys().map(|(id, _)| id.clone()).collect();
        let our_keys: Vec<KeyRecord> = under(&present, Tree::AlertKey)
            .map(|(key, value)| outbox::decode_key(key, value))
            .collect::<Result<_, _>>()?;
        let forgotten: BTreeSet<&str> = our_keys.iter().map(|key| key.id.as_str()).collect();
        let run = Tree::Meta.raw_key(history::RUN_KEY);
        for (raw, value) in self.state.into_iter().filter(|(raw, _)| *raw != run) {
            let row = match Tree::of_raw_key(&raw) {
                Some(Tree::Device) => credentials::after_a_restore(&value, offset)?,
                Some(Tree::Outbox) => {
                    let mut alert = outbox::decode(&raw[1..], &value)?;
                    seq_max = seq_max.max(alert.seq);
                    // The state has seen it through.
                    if forgotten.contains(alert.id.as_str()) {
                        continue;
                    }
                    match take(&mut ours, &alert.id) {
                        // The state that the backup was made of, or a copy: it knows what became of this one.
                        Some(own) => alert = AlertRecord { seq: alert.seq, ..own },
                        None if pending == Pending::Hold => {
                            let of_it = hold(&mut alert, now_ms);
                            held_count += usize::from(!of_it.is_empty());
                            held.extend(of_it);
                        }
                        None => {}
                    }
                    outbox::encode(&alert)?
                }
                Some(Tree::AlertKey) => {
                    let key = outbox::decode_key(&raw[1..], &value)?;
                    seq_max = seq_max.max(key.seq);
                    if forgotten.contains(key.id.as_str()) {
                        continue;
                    }
                    value
                }
                _ => value,
            };
            next.insert(raw, row);
        }
        let beyond = |seq: u64| {
            seq.checked_add(seq_max).ok_or_else(|| {
                let text = "the numbers of the alerts in the backup leave none for those of the state";
                BackupError::Refused(text.into())
            })
        };
        for mut key in our_keys {
            key.seq = beyond(key.seq)?;
            let raw = Tree::AlertKey.raw_key(&key.seq.to_be_bytes());
            next.insert(raw, outbox::encode_key(&key)?);
        }
        for mut alert in ours.into_values() {
            alert.seq = beyond(alert.seq)?;
            let raw = Tree::Outbox.raw_key(&alert.seq.to_be_bytes());
            next.insert(raw, outbox::encode(&alert)?);
        }
        let told = journal::beyond(&present, &next);
        for (raw, value) in present {
            match Tree::of_raw_key(&raw) {
                // A token of this state is newer than one of the same name in the backup.
                Some(Tree::Quarantine | Tree::Token) => drop(next.insert(raw, value)),
                // A place in the journal is one in that of its own state.
                Some(Tree::Meta) if !hooks::is_place(&raw[1..]) => drop(next.entry(raw).or_insert(value)),
                // Keys of a pairing that never came about. Its journal and its line log too: their numbers are those of
                // the backup's, which whoever follows the journal has seen. What they hold is the little that happened
                // without a linked session.
                _ => {}
            }
        }
        // What is told of the alerts that stay is told on, under numbers of its own.
        let of_kept = |entry: &journal::Entry| matches!(&entry.event, Event::Alert { id, .. } if kept.contains(id));
        let told = told.into_iter().filter(of_kept);
        let more: Vec<_> = told.chain(held.into_iter().map(Into::into)).collect();
        journal::append_to(&mut next, &more)?;
        Ok((next, held_count))
    }
}

fn under(state: &State, tree: Tree) -> impl Iterator<Item = (&[u8], &Vec<u8>)> {
    let first = tree.raw_key(b"");
    let rows = state.range(first.clone()..);
    rows.take_while(move |(key, _)| key.starts_with(&first))
        .map(|(key, value)| (&key[1..], value))
}

/// A state with a past is not overwritten: its keys are newer than any backup's.
fn refuse_a_past(present: &State) -> Result<(), BackupError> {
    let away = "to go back to the backup all the same, stop the relay and move the state directory away first";
    for (key, value) in under(present, Tree::Device) {
        let session = credentials::session_of(key);
        match credentials::is_paired(value) {
            Ok(false) => {}
            Ok(true) => {
                let text = format!(
                    "the state holds session {session}, which is linked, with newer keys than any backup; {away}"
                );
                return Err(BackupError::Refused(text));
            }
            Err(error) => {
                let text =
                    format!("whether session {session} of this state is linked cannot be read ({error}); {away}");
                return Err(BackupError::Refused(text));
            }
        }
    }
    match under(present, Tree::Inbound).count() {
        0 => Ok(()),
        count => {
            let text = format!("the state holds {count} received messages of a session that was linked; {away}");
            Err(BackupError::Refused(text))
        }
    }
}

/// Takes the alert called `id`. Ids are drawn at random, so there is one at the most; others keep their numbers.
fn take(alerts: &mut BTreeMap<(String, u64), AlertRecord>, id: &str) -> Option<AlertRecord> {
    let key = alerts.range((id.to_owned(), 0)..).next()?.0.clone();
    (key.0 == id).then(|| alerts.remove(&key)).flatten()
}

fn waits(alert: &AlertRecord) -> bool {
    alert.deliveries.iter().any(|delivery| delivery.step == Step::Accepted)
}

/// What may have gone out must not go out again by itself. Returns what the journal is told of it.
fn hold(alert: &mut AlertRecord, now_ms: u64) -> Vec<Transition> {
    let mut held = Vec::new();
    // What a fallback has stays said; nothing goes there by itself either.
    alert.handovers.retain(|handover| handover.state == HandoverState::Done);
    for index in 0..alert.deliveries.len() {
        let delivery = &mut alert.deliveries[index];
        if delivery.step == Step::Accepted {
            delivery.step = Step::Failed;
            delivery.since = Timestamp(now_ms);
            delivery.note = HELD.into();
            held.push(Transition::to_one(
                alert,
                Timestamp(now_ms),
                TransitionKind::Failed,
                index,
            ));
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Alert;
    use crate::outbox::{Delivery, Fingerprint, MessageId};

    fn waiting(seq: u64, id: &str) -> (Vec<u8>, Vec<u8>) {
        let record = AlertRecord {
            seq,
            id: id.into(),
            route: "family".parse().unwrap(),
            session: "default".parse().unwrap(),
            accepted_at: Timestamp(1),
            ttl: None,
            delay: None,
            lasted: None,
            attention: crate::outbox::Attention::default(),
            alert: Alert::default(),
            deliveries: vec![Delivery {
                recipient: "+15550100002".parse().unwrap(),
                part: 0,
                message_id: Some(MessageId(format!("M{id}"))),
                step: Step::Accepted,
                since: Timestamp(1),
                attempts: 1,
                late: false,
                made_at: None,
                form: crate::outbox::Form::Whole,
                note: String::new(),
                mark: None,
                quotes: None,
            }],
            handovers: Vec::new(),
            flap: None,
        };
        let value = outbox::encode(&record).unwrap();
        (Tree::Outbox.raw_key(&seq.to_be_bytes()), value)
    }

    fn forgotten(seq: u64, id: &str) -> (Vec<u8>, Vec<u8>) {
        let key = KeyRecord {
            seq,
            fingerprint: Fingerprint::of(&"family".parse().unwrap(), id),
            id: id.into(),
            accepted_at: Timestamp(1),
            step: Step::Sent,
        };
        let value = outbox::encode_key(&key).unwrap();
        (Tree::AlertKey.raw_key(&seq.to_be_bytes()), value)
    }

    /// An alert that waited when the backup was made and has been through since is not held, and every key goes on
    /// counting.
    #[test]
    fn keys_of_forgotten_alerts_stay_under_numbers_of_their_own() {
        let state = State::from([waiting(1, "X"), waiting(2, "W"), forgotten(3, "Y"), forgotten(4, "Z")]);
        let draft = Draft { made_at_ms: 1, state };
        let mut bytes = Vec::new();
        draft.write(&mut bytes).unwrap();
        let backup = Backup::read(&bytes).unwrap();
        let present = State::from([forgotten(1, "X"), forgotten(2, "Z"), waiting(3, "V")]);
        let (next, held) = backup
            .merged_into(present, Pending::Send, 2, PreKeyOffset::of(0))
            .unwrap();
        assert_eq!(held, 0);
        let alerts = under(&next, Tree::Outbox).map(|(key, value)| outbox::decode(key, value).unwrap());
        let alerts: Vec<(u64, String)> = alerts.map(|alert| (alert.seq, alert.id)).collect();
        assert_eq!(alerts, [(2, "W".to_owned()), (7, "V".to_owned())]);
        let keys = under(&next, Tree::AlertKey).map(|(key, value)| outbox::decode_key(key, value).unwrap());
        let keys: Vec<(u64, String)> = keys.map(|key| (key.seq, key.id)).collect();
        assert_eq!(keys, [(3, "Y".to_owned()), (5, "X".to_owned()), (6, "Z".to_owned())]);
    }

    /// It would be told all of the backup's journal as if that had just happened.
    #[test]
    fn a_hook_of_this_state_has_no_place_in_the_journal_of_the_backup() {
        let place = |name: &str| (Tree::Meta.raw_key(&hooks::key(&name.parse().unwrap())), vec![1, 3]);
        let draft = Draft {
            made_at_ms: 1,
            state: State::from([place("old")]),
        };
        let mut bytes = Vec::new();
        draft.write(&mut bytes).unwrap();
        let backup = Backup::read(&bytes).unwrap();
        let other = (Tree::Meta.raw_key(b"other"), vec![1]);
        let present = State::from([place("new"), other.clone()]);
        let (next, _) = backup
            .merged_into(present, Pending::Send, 2, PreKeyOffset::of(0))
            .unwrap();
        assert!(next.contains_key(&place("old").0) && next.contains_key(&other.0));
        assert!(!next.contains_key(&place("new").0));
    }
}
