//! What the dispatcher writes later: changed alerts, the end of old ones, and what the journal is told, each in one transaction
//! with what it tells of.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::{Answer, Dispatcher};
use crate::appliance::clock;
use crate::outbox::{AlertRecord, HandoverState, Happened, Happening, Input, KeyRecord, MessageId};
use crate::store::journal::{self, Entry, Event};
use crate::store::{Batch, StoreError, outbox as outbox_store};

/// Records written or deleted together at the most; keeps one transaction small.
const BATCH_MAX: usize = 128;

/// Between two tries to write what a full disk has refused.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// Entries about sessions are written at once when there were none for this long; else they wait until this long after the
/// last, or for another write to share. A line that flaps all day then costs 288 writes of its own, 4 MB.
const SESSION_PAUSE: Duration = Duration::from_secs(300);

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
    sessions_written: Option<Instant>,
    /// Counts what has happened, to keep its order.
    order: u64,
}

struct Change {
    record: AlertRecord,
    /// Each with its place in the order of all.
    happened: Vec<(u64, Happened)>,
    /// Messages that go out once this is on disk.
    made: Vec<MessageId>,
}

struct Forgotten {
    /// What takes the alert's place.
    key: Option<KeyRecord>,
    happened: Vec<Happened>,
}

/// One transaction out of what is put off, to be put back if it is refused.
pub(in crate::appliance) struct Taken {
    changed: Vec<(u64, Change)>,
    forgotten: Vec<(u64, Forgotten)>,
    keys_ended: Vec<u64>,
    sessions: Vec<Entry>,
    /// One transaction did not hold all.
    more: bool,
}

impl PutOff {
    /// When there is something that is worth a write, and when nothing else comes.
    fn due(&self, now: Instant) -> Option<Instant> {
        if !self.changed.is_empty() {
            return Some(now);
        }
        let again = self.sessions_written.map_or(now, |at| at + SESSION_PAUSE);
        (!self.sessions.is_empty()).then(|| again.max(now))
    }

    pub(super) fn change(&mut self, record: AlertRecord, happened: Vec<Happened>, made: Vec<MessageId>) {
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

    pub(super) fn forget(&mut self, seq: u64, key: Option<KeyRecord>, happened: Vec<Happened>) {
        let before = self.changed.remove(&seq);
        let mut all: Vec<Happened> = before
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

    fn tell(&mut self, entry: Entry) {
        if self.sessions.len() >= SESSION_ENTRIES_MAX {
            self.sessions.pop_front();
        }
        self.sessions.push_back(entry);
    }

    fn take(&mut self) -> Taken {
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
    fn put_back(&mut self, taken: Taken) {
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
    fn batch(&mut self) -> (Batch, Vec<Entry>) {
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

/// When what is put off is written: one transaction after the other, and a round of them for all that there was at its start.
pub(super) struct Rounds {
    /// How long changes are collected.
    collect: Duration,
    /// When the changes that are being collected are written; `None`: none are.
    collected_at: Option<Instant>,
    /// After a refusal nothing is tried before.
    not_before: Option<Instant>,
    /// A transaction is under way.
    writing: bool,
    /// The next round is not to wait: what goes with it makes room on a disk that is full.
    urgent: bool,
    /// Those who wait for the round that is under way, and for the next.
    wanted: Vec<Answer<Result<(), StoreError>>>,
    wanted_next: Vec<Answer<Result<(), StoreError>>>,
}

impl Rounds {
    pub(super) fn new(collect: Duration) -> Self {
        Self {
            collect,
            collected_at: None,
            not_before: None,
            writing: false,
            urgent: false,
            wanted: Vec::new(),
            wanted_next: Vec::new(),
        }
    }

    /// Somebody waits until all that is put off now is on disk.
    pub(super) fn want(&mut self, answer: Answer<Result<(), StoreError>>) {
        self.wanted_next.push(answer);
    }

    /// What is put off now makes room for what is new.
    pub(super) fn hurry(&mut self) {
        self.urgent = true;
    }

    fn tell(&mut self, result: &Result<(), StoreError>) {
        for answer in self.wanted.drain(..) {
            let _ = answer.try_send(result.clone());
        }
    }
}

impl Dispatcher {
    /// Something about a session for the journal.
    pub(super) fn tell(&mut self, event: Event) {
        let at = clock::now().wall;
        self.put_off.tell(Entry { at, event });
    }

    /// Writes what is put off if it is time, or somebody waits for it. When to look again, if nothing else happens.
    pub(super) fn persist_if_due(&mut self, now: Instant) -> Option<Instant> {
        if self.rounds.writing {
            return None;
        }
        if self.rounds.urgent || !self.rounds.wanted_next.is_empty() {
            self.begin_round();
            return None;
        }
        let due = self.put_off.due(now)?;
        if due > now {
            return Some(due);
        }
        let collected_at = *self.rounds.collected_at.get_or_insert(now + self.rounds.collect);
        let at = self.rounds.not_before.map_or(collected_at, |at| at.max(collected_at));
        if at > now {
            return Some(at);
        }
        self.begin_round();
        None
    }

    fn begin_round(&mut self) {
        self.rounds.collected_at = None;
        self.rounds.urgent = false;
        let mut next = std::mem::take(&mut self.rounds.wanted_next);
        self.rounds.wanted.append(&mut next);
        self.write_put_off();
    }

    /// What changes meanwhile stays put off, so that a burst of changes does not become a write for each, one on the heels of the
    /// other.
    fn write_put_off(&mut self) {
        let mut taken = self.put_off.take();
        let (batch, entries) = taken.batch();
        if batch.is_empty() && entries.is_empty() {
            return self.rounds.tell(&Ok(()));
        }
        self.rounds.writing = true;
        let (store, ended) = (self.store.clone(), self.ended.clone());
        let written = async move {
            let result = journal::commit(&store, batch, entries).await;
            let _ = ended.send(super::Event::Persisted { taken, result }).await;
        };
        self.executor.spawn(written).detach();
    }

    /// What is refused for want of room stays put off.
    pub(super) fn on_persisted(&mut self, taken: Taken, result: Result<(), StoreError>) {
        self.rounds.writing = false;
        if let Err(error) = &result {
            log::error!("the state of alerts could not be written, trying again: {error}");
            self.rounds.not_before = Some(Instant::now() + REFUSED_PAUSE);
            self.put_off.put_back(taken);
            return self.rounds.tell(&result);
        }
        self.rounds.not_before = None;
        if !taken.sessions.is_empty() {
            self.put_off.sessions_written = Some(Instant::now());
        }
        for (seq, change) in taken.changed {
            if change.happened.iter().any(|(_, it)| it.what == Happening::Handover) {
                for handover in change.record.handovers {
                    if handover.state == HandoverState::Begun {
                        let to = handover.to;
                        self.outbox.handle(clock::now(), Input::IntentDurable { seq, to });
                    }
                }
            }
            for message_id in change.made {
                let durable = Input::MessageDurable { message_id, seq };
                self.outbox.handle(clock::now(), durable);
            }
        }
        match taken.more {
            true => self.write_put_off(),
            false => self.rounds.tell(&Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::{Fingerprint, Happening, Step, Timestamp};

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
        assert_eq!(put_off.due(now), None);
        put_off.tell(online(1));
        assert_eq!(put_off.due(now), Some(now));
        assert_eq!(put_off.take().sessions, [online(1)]);
        put_off.sessions_written = Some(now);
        assert_eq!(put_off.due(now), None);
        put_off.tell(online(2));
        assert_eq!(put_off.due(now), Some(now + SESSION_PAUSE));
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
        let forgotten = Happened {
            at: Timestamp(1),
            what: Happening::Forgotten,
            alert: "AAAAAAAAAAAA".into(),
            route: "family".parse().unwrap(),
            session: "default".parse().unwrap(),
            delivery: None,
        };
        for seq in 0..1000 {
            put_off.forget(seq, None, vec![forgotten.clone()]);
        }
        assert_eq!(put_off.due(Instant::now()), None);
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
