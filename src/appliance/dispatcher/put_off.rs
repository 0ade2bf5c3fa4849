//! What the dispatcher writes later: changed alerts, the end of old ones, and what the journal is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::outbox::{AlertRecord, KeyRecord, MessageId, Transition};
use crate::store::journal::Entry;
use crate::store::{Batch, outbox as outbox_store};

/// Records written or deleted together at the most; keeps one transaction small.
const BATCH_MAX: usize = 128;

/// Entries about sessions are written at once when there were none for this long; else they wait until this long after
/// the last, or for another write to share. A line that flaps all day then costs 288 writes of its own, 4 MB.
const SESSION_PAUSE: Duration = Duration::from_secs(300);

/// The same while somebody watches the journal: one who looks at a session is told at once.
const SESSION_PAUSE_WATCHED: Duration = Duration::from_secs(1);

/// Entries about sessions that wait at the most. The oldest go: only a disk that is full for days lets so many wait.
const SESSION_ENTRIES_MAX: usize = 256;

/// All that is put off.
#[derive(Default)]
pub(super) struct PutOff {
    /// By the alert's number. The latest record of each counts.
    changed: BTreeMap<u64, Change>,
    /// Alerts to be deleted. They wait for a write that is worth it: an idle box must not write for them.
    forgotten: BTreeMap<u64, Forgotten>,
    /// Alerts whose keys are to be deleted. They wait likewise, and until those before have been deleted.
    keys_ended: BTreeSet<u64>,
    sessions: VecDeque<Entry>,
    /// When an entry about a session was last written.
    pub(super) sessions_written: Option<Instant>,
    /// Counts what has happened, to keep its order.
    order: u64,
}

pub(super) struct Change {
    pub(super) record: AlertRecord,
    /// Each with its place in the order of all.
    pub(super) happened: Vec<(u64, Transition)>,
    /// Messages that go out once this is on disk.
    pub(super) made: Vec<MessageId>,
}

struct Forgotten {
    /// What takes the alert's place.
    key: Option<KeyRecord>,
    happened: Vec<Transition>,
}

/// One transaction out of what is put off, to be put back if it is refused.
pub(super) struct Taken {
    pub(super) changed: Vec<(u64, Change)>,
    forgotten: Vec<(u64, Forgotten)>,
    keys_ended: Vec<u64>,
    pub(super) sessions: Vec<Entry>,
    /// One transaction did not hold all.
    pub(super) more: bool,
}

impl PutOff {
    /// When to write next if nothing else happens. `None`: there is nothing to write.
    pub(super) fn due(&self, now: Instant, watched: bool) -> Option<Instant> {
        if !self.changed.is_empty() {
            return Some(now);
        }
        let pause = if watched { SESSION_PAUSE_WATCHED } else { SESSION_PAUSE };
        let again = self.sessions_written.map_or(now, |at| at + pause);
        (!self.sessions.is_empty()).then(|| again.max(now))
    }

    pub(super) fn change(&mut self, record: AlertRecord, happened: Vec<Transition>, made: Vec<MessageId>) {
        let first = self.order;
        self.order += happened.len() as u64;
        let happened = (first..).zip(happened);
        match self.changed.get_mut(&record.seq) {
            Some(change) => {
                change.record = record;
                change.happened.extend(happened);
                change.made.extend(made);
            }
            None => {
                let happened = happened.collect();
                let change = Change { record, happened, made };
                self.changed.insert(change.record.seq, change);
            }
        }
    }

    pub(super) fn forget(&mut self, seq: u64, key: Option<KeyRecord>, happened: Vec<Transition>) {
        let before = self.changed.remove(&seq);
        let mut all: Vec<Transition> = before
            .into_iter()
            .flat_map(|change| change.happened)
            .map(|(_, it)| it)
            .collect();
        all.extend(happened);
        self.forgotten.insert(seq, Forgotten { key, happened: all });
    }

    pub(super) fn forget_key(&mut self, seq: u64) {
        // It may be on its way to the disk at this moment, and be refused there and put back.
        self.keys_ended.insert(seq);
    }

    pub(super) fn tell(&mut self, entry: Entry) {
        if self.sessions.len() >= SESSION_ENTRIES_MAX {
            self.sessions.pop_front();
        }
        self.sessions.push_back(entry);
    }

    pub(super) fn take(&mut self) -> Taken {
        let mut taken = Taken {
            changed: Vec::new(),
            forgotten: Vec::new(),
            keys_ended: Vec::new(),
            sessions: self.sessions.drain(..).collect(),
            more: false,
        };
        while taken.changed.len() < BATCH_MAX
            && let Some(change) = self.changed.pop_first()
        {
            taken.changed.push(change);
        }
        while taken.changed.len() + taken.forgotten.len() < BATCH_MAX
            && let Some(forgotten) = self.forgotten.pop_first()
        {
            taken.forgotten.push(forgotten);
        }
        // None before its alert.
        while self.forgotten.is_empty()
            && taken.changed.len() + taken.forgotten.len() + taken.keys_ended.len() < BATCH_MAX
            && let Some(seq) = self.keys_ended.pop_first()
        {
            taken.keys_ended.push(seq);
        }
        taken.more = !self.changed.is_empty() || !self.forgotten.is_empty() || !self.keys_ended.is_empty();
        taken
    }

    /// What was refused waits again. What has come meanwhile is newer.
    pub(super) fn put_back(&mut self, taken: Taken) {
        for (seq, mut older) in taken.changed {
            if let Some(forgotten) = self.forgotten.get_mut(&seq) {
                let older = older.happened.into_iter().map(|(_, it)| it);
                forgotten.happened.splice(0..0, older);
                continue;
            }
            if let Some(newer) = self.changed.remove(&seq) {
                older.record = newer.record;
                older.happened.extend(newer.happened);
                older.made.extend(newer.made);
            }
            self.changed.insert(seq, older);
        }
        self.forgotten.extend(taken.forgotten);
        self.keys_ended.extend(taken.keys_ended);
        for entry in taken.sessions.into_iter().rev() {
            if self.sessions.len() < SESSION_ENTRIES_MAX {
                self.sessions.push_front(entry);
            }
        }
    }
}

impl Taken {
    /// As a transaction, with the entries that tell of it in the order in which they came about.
    pub(super) fn batch(&mut self) -> (Batch, Vec<Entry>) {
        let mut batch = Batch::new();
        let mut told: Vec<(u64, Entry)> = Vec::new();
        // One that cannot be written must not take the others with it.
        self.changed.retain(
            |(
                _,
                Change {
                    record,
                    happened,
                    made: _,
                },
            )| match outbox_store::put(&mut batch, record) {
                Ok(()) => {
                    told.extend(happened.iter().map(|(order, it)| (*order, it.clone().into())));
                    true
                }
                Err(error) => {
                    log::error!("what has become of alert {} cannot be written: {error}", record.id);
                    false
                }
            },
        );
        told.sort_by_key(|(order, _)| *order);
        let mut entries = self.sessions.clone();
        entries.extend(told.into_iter().map(|(_, entry)| entry));
        for (seq, Forgotten { key, happened }) in &self.forgotten {
            outbox_store::forget(&mut batch, *seq);
            if let Some(key) = key
                && let Err(error) = outbox_store::put_key(&mut batch, key)
            {
                log::error!("the key of alert {} cannot be written: {error}", key.id);
            }
            entries.extend(happened.iter().cloned().map(Entry::from));
        }
        for seq in &self.keys_ended {
            outbox_store::forget_key(&mut batch, *seq);
        }
        (batch, entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::{Fingerprint, Step, Timestamp, TransitionKind};
    use crate::store::journal::Event;

    fn online(at: u64) -> Entry {
        let session = "default".parse().unwrap();
        Entry {
            at: Timestamp(at),
            event: Event::Online { session },
        }
    }

    #[test]
    fn entries_about_a_line_are_written_at_once_and_then_rarely() {
        let mut put_off = PutOff::default();
        let now = Instant::now();
        assert_eq!(put_off.due(now, false), None);
        put_off.tell(online(1));
        assert_eq!(put_off.due(now, false), Some(now));
        assert_eq!(put_off.take().sessions, [online(1)]);
        put_off.sessions_written = Some(now);
        assert_eq!(put_off.due(now, false), None);
        put_off.tell(online(2));
        assert_eq!(put_off.due(now, false), Some(now + SESSION_PAUSE));
        put_off.tell(online(3));
        let taken = put_off.take();
        assert_eq!(
            taken.sessions,
            [online(2), online(3)],
            "whatever is written takes them along"
        );
        // Refused: they are before what has come meanwhile.
        put_off.tell(online(4));
        put_off.put_back(taken);
        assert_eq!(put_off.take().sessions, [online(2), online(3), online(4)]);
        for at in 0..1000 {
            put_off.tell(online(at));
        }
        assert_eq!(put_off.sessions.len(), SESSION_ENTRIES_MAX);
        assert_eq!(put_off.sessions.back(), Some(&online(999)));
    }

    #[test]
    fn the_end_of_an_old_alert_is_no_reason_for_a_write() {
        let mut put_off = PutOff::default();
        let forgotten = Transition {
            at: Timestamp(1),
            what: TransitionKind::Forgotten,
            alert: "AAAAAAAAAAAA".into(),
            route: "family".parse().unwrap(),
            session: "default".parse().unwrap(),
            delivery: None,
        };
        for seq in 0..1000 {
            put_off.forget(seq, None, vec![forgotten.clone()]);
        }
        assert_eq!(put_off.due(Instant::now(), false), None);
        // The next write takes along what one transaction may hold.
        let mut taken = put_off.take();
        assert_eq!(taken.forgotten.len(), BATCH_MAX);
        assert_eq!(taken.batch().1.len(), BATCH_MAX);
        put_off.put_back(taken);
        assert_eq!(put_off.forgotten.len(), 1000);
    }

    #[test]
    fn a_key_is_written_with_the_end_of_its_alert_and_deleted_after_it() {
        let key = |seq: u64| KeyRecord {
            seq,
            fingerprint: Fingerprint([seq as u8; 16]),
            id: format!("A{seq}"),
            accepted_at: Timestamp(1),
            step: Step::Sent,
        };
        let mut put_off = PutOff::default();
        for seq in 0..200 {
            put_off.forget(seq, Some(key(seq)), Vec::new());
        }
        put_off.forget_key(150);
        let first = put_off.take();
        assert_eq!((first.forgotten.len(), first.keys_ended.len()), (BATCH_MAX, 0));
        let second = put_off.take();
        assert_eq!(
            (second.forgotten.len(), second.keys_ended),
            (200 - BATCH_MAX, vec![150])
        );
        assert!(!second.more);
        assert!(
            second
                .forgotten
                .iter()
                .all(|(seq, forgotten)| forgotten.key == Some(key(*seq)))
        );
        // An end that comes while its alert's is refused by the disk.
        put_off.forget_key(3);
        put_off.put_back(first);
        assert_eq!(put_off.take().forgotten.len(), BATCH_MAX);
        assert_eq!(put_off.take().keys_ended, [3]);
    }
}
