//! The outbox on disk: one record an alert, by its place in the order of acceptance.

mod v1;
mod v2;
mod v3;
mod v4;
mod v5;
mod v6;

use super::{Batch, Store, StoreError, Tree, VALUE_BYTES_MAX, View, journal, record};
use crate::alert::NameError;
use crate::outbox::{AlertRecord, Fingerprint, KeyRecord, Timestamp, Transition, TransitionKind};
use v1::{AlertKeyV1, AlertRecordV1};
use v2::{AlertKeyV2, AlertRecordV2};
use v3::{AlertKeyV3, AlertRecordV3};
use v4::{AlertKeyV4, AlertRecordV4};
use v5::{AlertRecordV5, Notes};
use v6::AlertRecordV6;

const VERSION: u8 = 6;

const KEY_VERSION: u8 = 4;

/// By how much an alert may grow that somebody acknowledges, or that is said again.
const ATTENTION_BYTES: usize = 320;

/// By how much one delivery may grow after its alert was accepted, without its note: the count of attempts from one
/// byte to five, the time of its step from one (a clock that was not set) to ten.
const GROWTH_BYTES: usize = 13;

/// What the id of a message takes, and when and how it was made, where that is later.
const MESSAGE_ID_BYTES: usize = 48;

/// What the reaction takes that tells one recipient that somebody has acknowledged the alert, and the id of an earlier
/// message that is quoted.
const MARK_BYTES: usize = 64;

/// What the names of fallbacks and of requests to them take, beside their notes: of four, where hardly anybody has two.
const HANDOVER_BYTES: usize = 4 * 80;

/// Adds the write of `alert` to `batch`, without the notes of its deliveries where there is no room for them.
///
/// # Errors
/// The record is too large for the store.
pub fn put(batch: &mut Batch, alert: &AlertRecord) -> Result<(), StoreError> {
    batch.put(Tree::Outbox, &alert.seq.to_be_bytes(), encode(alert)?)
}

/// The value that stands under an alert's number. Steps matter more than the words beside them: without its steps an
/// alert would be sent again after a restart.
pub(crate) fn encode(alert: &AlertRecord) -> Result<Vec<u8>, StoreError> {
    let value = record::encode(Tree::Outbox, VERSION, &AlertRecordV6::of(alert, Notes::Kept))?;
    if value.len() <= VALUE_BYTES_MAX {
        return Ok(value);
    }
    record::encode(Tree::Outbox, VERSION, &AlertRecordV6::of(alert, Notes::LeftOut))
}

/// The alert of a row, if key and value belong together.
pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<AlertRecord, StoreError> {
    let alert = decode_value(value)?;
    if key == alert.seq.to_be_bytes() {
        return Ok(alert);
    }
    Err(fault(format!("alert {} stands under another number", alert.seq)))
}

/// The alert of a value.
pub(crate) fn decode_value(value: &[u8]) -> Result<AlertRecord, StoreError> {
    let alert: Result<AlertRecord, NameError> = match record::version(Tree::Outbox, value)? {
        (1, _) => record::decode::<AlertRecordV1<'_>>(Tree::Outbox, 1, value)?.try_into(),
        (2, _) => record::decode::<AlertRecordV2<'_>>(Tree::Outbox, 2, value)?.try_into(),
        (3, _) => record::decode::<AlertRecordV3<'_>>(Tree::Outbox, 3, value)?.try_into(),
        (4, _) => record::decode::<AlertRecordV4<'_>>(Tree::Outbox, 4, value)?.try_into(),
        (5, _) => record::decode::<AlertRecordV5<'_>>(Tree::Outbox, 5, value)?.try_into(),
        _ => record::decode::<AlertRecordV6<'_>>(Tree::Outbox, VERSION, value)?.try_into(),
    };
    let mut alert = alert.map_err(|error| fault(error.to_string()))?;
    // It stays in memory, and was collected with room for four.
    alert.deliveries.shrink_to_fit();
    Ok(alert)
}

fn fault(cause: String) -> StoreError {
    StoreError::Record {
        tree: Tree::Outbox.name(),
        cause,
    }
}

/// Adds the removal of the alert numbered `seq` to `batch`.
pub fn forget(batch: &mut Batch, seq: u64) {
    batch.delete(Tree::Outbox, &seq.to_be_bytes());
}

/// Adds the write of a forgotten alert's key to `batch`.
///
/// # Errors
/// It is too large for the store.
pub fn put_key(batch: &mut Batch, key: &KeyRecord) -> Result<(), StoreError> {
    batch.put(Tree::AlertKey, &key.seq.to_be_bytes(), encode_key(key)?)
}

/// Adds the removal of the key of the alert numbered `seq` to `batch`.
pub fn forget_key(batch: &mut Batch, seq: u64) {
    batch.delete(Tree::AlertKey, &seq.to_be_bytes());
}

/// The value that stands under the number of a forgotten alert.
pub(crate) fn encode_key(key: &KeyRecord) -> Result<Vec<u8>, StoreError> {
    let kept = AlertKeyV4 {
        fingerprint: key.fingerprint.0,
        id: key.id.clone(),
        accepted_at: key.accepted_at.0,
        step: key.step.into(),
    };
    record::encode(Tree::AlertKey, KEY_VERSION, &kept)
}

/// The key of a row of forgotten alerts.
pub(crate) fn decode_key(key: &[u8], value: &[u8]) -> Result<KeyRecord, StoreError> {
    let seq = key.try_into().map(u64::from_be_bytes).map_err(|_| StoreError::Record {
        tree: Tree::AlertKey.name(),
        cause: "its key is no number".to_owned(),
    })?;
    let (fingerprint, id, accepted_at, step) = match record::version(Tree::AlertKey, value)? {
        (1, _) => {
            let kept: AlertKeyV1 = record::decode(Tree::AlertKey, 1, value)?;
            (kept.fingerprint, kept.id, kept.accepted_at, kept.step.into())
        }
        (2, _) => {
            let kept: AlertKeyV2 = record::decode(Tree::AlertKey, 2, value)?;
            (kept.fingerprint, kept.id, kept.accepted_at, kept.step.into())
        }
        (3, _) => {
            let kept: AlertKeyV3 = record::decode(Tree::AlertKey, 3, value)?;
            (kept.fingerprint, kept.id, kept.accepted_at, kept.step.into())
        }
        _ => {
            let kept: AlertKeyV4 = record::decode(Tree::AlertKey, KEY_VERSION, value)?;
            (kept.fingerprint, kept.id, kept.accepted_at, kept.step.into())
        }
    };
    Ok(KeyRecord {
        seq,
        fingerprint: Fingerprint(fingerprint),
        id,
        accepted_at: Timestamp(accepted_at),
        step,
    })
}

/// Newly accepted alerts in the form in which they are written, and that they were accepted.
#[derive(Default)]
pub struct New {
    batch: Batch,
    entries: Vec<journal::Entry>,
    bytes: usize,
}

impl New {
    /// Adds those of `other` after these.
    pub fn append(&mut self, mut other: Self) {
        self.batch.append(other.batch);
        self.entries.append(&mut other.entries);
        self.bytes += other.bytes;
    }

    /// What the records take, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an alert. This is the one place where its text is copied on its way to the disk.
    ///
    /// # Errors
    /// It is so large that its later steps might not fit.
    pub fn add(&mut self, alert: &AlertRecord) -> Result<(), StoreError> {
        let value = encode(alert)?;
        let without_id = alert.deliveries.iter().filter(|delivery| delivery.message_id.is_none());
        let growth = ATTENTION_BYTES
            + (GROWTH_BYTES + MARK_BYTES) * alert.deliveries.len()
            + MESSAGE_ID_BYTES * without_id.count()
            + HANDOVER_BYTES;
        let size = value.len();
        if size + growth > VALUE_BYTES_MAX {
            return Err(StoreError::TooLarge {
                tree: Tree::Outbox.name(),
                size: size + growth,
                max: VALUE_BYTES_MAX,
            });
        }
        self.batch.put(Tree::Outbox, &alert.seq.to_be_bytes(), value)?;
        self.bytes += size;
        let accepted = Transition::to_all(alert, alert.accepted_at, TransitionKind::Accepted);
        self.entries.push(accepted.into());
        Ok(())
    }

    /// Writes all of them in one transaction; but not into the last room there is: that is for the line, and for what
    /// becomes of the alerts before them.
    ///
    /// # Errors
    /// They are not, or perhaps not, on disk: none may be acknowledged.
    pub async fn write(self, store: &Store) -> Result<(), StoreError> {
        journal::commit_new(store, self.batch, self.entries).await
    }
}

/// What [`load`] found.
#[derive(Debug, Default)]
pub struct Loaded {
    /// In the order of acceptance.
    pub alerts: Vec<AlertRecord>,
    /// The keys of alerts that are forgotten.
    pub keys: Vec<KeyRecord>,
    /// Records that could not be read. They stay where they are: a later version may have written them.
    pub damaged: Vec<StoreError>,
    /// The highest number in use, damaged records included: no new alert may take the place of one.
    pub seq_max: u64,
}

/// All alerts.
///
/// # Errors
/// The store could not be read at all.
pub fn load(view: &View) -> Result<Loaded, StoreError> {
    let mut loaded = Loaded::default();
    for entry in view.scan(Tree::Outbox, b"") {
        let (key, value) = entry?;
        if let Some(seq) = key.first_chunk::<8>() {
            loaded.seq_max = loaded.seq_max.max(u64::from_be_bytes(*seq));
        }
        match decode_value(&value) {
            Ok(alert) => loaded.alerts.push(alert),
            Err(error) => loaded.damaged.push(error),
        }
    }
    for entry in view.scan(Tree::AlertKey, b"") {
        let (key, value) = entry?;
        if let Some(seq) = key.first_chunk::<8>() {
            loaded.seq_max = loaded.seq_max.max(u64::from_be_bytes(*seq));
        }
        match decode_key(&key, &value) {
            Ok(key) => loaded.keys.push(key),
            // One key less may let one alert through twice; that is no reason to be called damaged for days.
            Err(error) => log::warn!("the key of a forgotten alert is left out: {error}"),
        }
    }
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::alert::{Alert, Attachment, BlobHash, MediaKind, Priority, Status};
    use crate::outbox::{
        Ack, AckAnswer, AnswerKind, Attention, Delivery, Flap, FollowUp, Follows, Form, Handover, HandoverState, Mark,
        MessageId, Step, Timestamp,
    };

    /// With a text that makes the record `bytes` long.
    fn long(bytes: usize, deliveries: usize) -> AlertRecord {
        let delivery = |index: usize| Delivery {
            recipient: "+15550100002".parse().unwrap(),
            part: 0,
            message_id: Some(MessageId(format!("3EB0{index:018}"))),
            step: Step::Accepted,
            since: Timestamp(0),
            attempts: 0,
            late: false,
            made_at: None,
            form: Form::Whole,
            note: String::new(),
            mark: None,
            quotes: None,
        };
        let mut alert = AlertRecord {
            seq: 1,
            id: "AAAAAAAAAAAA".into(),
            route: "family".parse().unwrap(),
            session: "default".parse().unwrap(),
            accepted_at: Timestamp(0),
            ttl: None,
            delay: None,
            lasted: None,
            attention: Attention::default(),
            alert: Alert {
                text: "x".repeat(1 << 14),
                ..Alert::default()
            },
            deliveries: (0..deliveries).map(delivery).collect(),
            handovers: Vec::new(),
            flap: None,
        };
        let more = bytes - encode(&alert).unwrap().len();
        alert.alert.text += &"x".repeat(more);
        assert_eq!(encode(&alert).unwrap().len(), bytes);
        alert
    }

    /// The rows of format 1, as they stand on people's disks: key and value in hex. Later versions must still read
    /// them: never edit the file, add one beside it.
    const VERSION_1: &str = include_str!("../../tests/fixtures/store-v1/outbox.txt");

    /// What the fixture says: an alert with everything that a record can hold, one at each step, and one with hardly
    /// anything.
    fn version_1() -> Vec<AlertRecord> {
        let steps = [Step::Accepted, Step::Sent, Step::Delivered, Step::Read, Step::Failed];
        let to = [
            "+15550100002",
            "120363000000000001@g.us",
            "15550100001-1400000000@g.us",
            "me",
        ];
        let delivery = |(index, step): (usize, Step)| Delivery {
            recipient: to[index % to.len()].parse().unwrap(),
            part: 0,
            message_id: Some(MessageId(format!("3EB0D57B77BFAE3AA58C3{index}"))),
            step,
            since: Timestamp(1_767_225_600_000 + index as u64),
            attempts: index as u32 * 100,
            late: false,
            made_at: None,
            form: Form::Whole,
            note: if step == Step::Failed {
                "refused by the server with code 403".into()
            } else {
                String::new()
            },
            mark: None,
            quotes: None,
        };
        let full = AlertRecord {
            seq: 7,
            id: "t8KEmzSxuk9b".into(),
            route: "family".parse().unwrap(),
            session: "default".parse().unwrap(),
            accepted_at: Timestamp(1_767_225_600_000),
            ttl: None,
            delay: None,
            lasted: None,
            attention: Attention::default(),
            alert: Alert {
                title: "Backup".into(),
                text: "finished: 3 of 4 größer\n\u{1f4a5}".into(),
                priority: Priority::High,
                tags: vec!["warning".into(), "nas".into()],
                click: Some("https://nas.example/".into()),
                key: Some("backup-7".into()),
                ..Alert::default()
            },
            deliveries: steps.into_iter().enumerate().map(delivery).collect(),
            handovers: Vec::new(),
            flap: None,
        };
        let scales = [Priority::Min, Priority::Low, Priority::Default, Priority::Max];
        let mut alerts = vec![full.clone()];
        alerts.extend(scales.into_iter().zip(8..).map(|(priority, seq)| AlertRecord {
            seq,
            alert: Alert {
                text: "triggered".into(),
                priority,
                ..Alert::default()
            },
            deliveries: Vec::new(),
            ..full.clone()
        }));
        alerts
    }

    /// The rows of format 2.
    const VERSION_2: &str = include_str!("../../tests/fixtures/store-v2/outbox.txt");

    /// What that says: the alerts of format 1, and one with what only format 2 can hold.
    fn version_2() -> Vec<AlertRecord> {
        let mut alerts = version_1();
        let mut last = alerts[0].clone();
        last.seq = 12;
        last.ttl = Some(Duration::from_secs(3600));
        last.alert.ttl = Some(Duration::from_millis(86_400_001));
        let ends = [Step::Dropped, Step::Expired, Step::Sent];
        for (delivery, step) in last.deliveries.iter_mut().zip(ends) {
            delivery.step = step;
            delivery.late = step == Step::Sent;
        }
        alerts.push(last);
        alerts
    }

    /// The rows of format 3.
    const VERSION_3: &str = include_str!("../../tests/fixtures/store-v3/outbox.txt");

    /// What that says: the alerts of format 2, and one with what only format 3 can hold.
    fn version_3() -> Vec<AlertRecord> {
        let mut alerts = version_2();
        let mut last = alerts[5].clone();
        last.seq = 13;
        last.alert.status = Status::Resolved;
        last.alert.sequence = Some("disk-1".into());
        last.alert.sender = Some("Alertmanager".into());
        last.alert.labels = [("alertname", "DiskFull"), ("instance", "nas:9100")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let forms = [Form::Summary { lines: 20 }, Form::Digest { lines: 300 }];
        for (delivery, form) in last.deliveries.iter_mut().zip(forms) {
            delivery.made_at = Some(Timestamp(1_767_225_600_009));
            delivery.form = form;
        }
        last.deliveries[3].step = Step::Fallback;
        let handover = |(to, state): (&str, HandoverState)| Handover {
            to: to.parse().unwrap(),
            state,
            since: Timestamp(1_767_225_900_000),
            key: match state {
                HandoverState::Wanted => String::new(),
                HandoverState::Begun | HandoverState::Done | HandoverState::GivenUp => last.id.clone(),
            },
            note: match state {
                HandoverState::GivenUp => "https://nas.example answered 413".into(),
                HandoverState::Wanted | HandoverState::Begun | HandoverState::Done => String::new(),
            },
        };
        let states = [
            ("ntfy", HandoverState::Done),
            ("hook", HandoverState::GivenUp),
            ("mail", HandoverState::Begun),
            ("other", HandoverState::Wanted),
        ];
        last.handovers = states.into_iter().map(handover).collect();
        alerts.push(last);
        let mut last = alerts[0].clone();
        last.seq = 14;
        let attachment = |kind, thumbnail: Option<u8>| Attachment {
            hash: BlobHash([7; 32]),
            bytes: 70_000,
            name: "Haust\u{fc}r.jpg".into(),
            mime: "image/jpeg".into(),
            kind,
            width: 1600,
            height: 900,
            thumbnail: thumbnail.map(|byte| BlobHash([byte; 32])),
        };
        last.alert.attachments = vec![
            attachment(MediaKind::Image, Some(9)),
            attachment(MediaKind::Video, None),
            attachment(MediaKind::Audio, None),
            attachment(MediaKind::Document, None),
        ];
        for (delivery, part) in last.deliveries.iter_mut().zip(0..) {
            delivery.part = part;
        }
        alerts.push(last);
        alerts
    }

    /// The rows of format 4.
    const VERSION_4: &str = include_str!("../../tests/fixtures/store-v4/outbox.txt");

    /// What that says: the alerts of format 3, and one with what only format 4 can hold.
    fn version_4() -> Vec<AlertRecord> {
        let mut alerts = version_3();
        let mut last = alerts[6].clone();
        last.seq = 15;
        last.lasted = Some(Duration::from_secs(840));
        last.attention = Attention {
            watched: true,
            follows: Some(Follows {
                id: "AAAAAAAAAAAA".into(),
                what: FollowUp::Repeat { number: 2, of: 300 },
            }),
            acked: Some(Ack {
                at: Timestamp(1_767_225_600_010),
                by: "somebody".into(),
                answer: None,
            }),
            repeats: 2,
            repeated_at: Some(Timestamp(1_767_225_600_011)),
            escalated_at: Some(Timestamp(1_767_225_600_012)),
        };
        last.deliveries[2].step = Step::Superseded;
        alerts.push(last);
        alerts
    }

    /// The rows of format 5.
    const VERSION_5: &str = include_str!("../../tests/fixtures/store-v5/outbox.txt");

    /// What that says: the alerts of format 4, and some with what only format 5 can hold.
    fn version_5() -> Vec<AlertRecord> {
        let mut alerts = version_4();
        let mut last = alerts[8].clone();
        last.seq = 16;
        let answer = |how| AckAnswer {
            how,
            id: "3A0123456789ABCDEF01".into(),
        };
        if let Some(acked) = &mut last.attention.acked {
            acked.answer = Some(answer(AnswerKind::Reaction));
        }
        for (delivery, done) in last.deliveries.iter_mut().zip([false, true]) {
            delivery.mark = Some(Box::new(Mark {
                id: MessageId("3EB0D57B77BFAE3AA58C39".into()),
                done,
            }));
        }
        last.deliveries[2].quotes = Some(Box::new(MessageId("3EB0D57B77BFAE3AA58C38".into())));
        let kinds = [AnswerKind::Reply, AnswerKind::Text];
        let others: Vec<AlertRecord> = (17..)
            .zip(kinds)
            .map(|(seq, how)| {
                let mut other = last.clone();
                other.seq = seq;
                if let Some(acked) = &mut other.attention.acked {
                    acked.answer = Some(answer(how));
                }
                other
            })
            .collect();
        alerts.push(last);
        alerts.extend(others);
        let mut last = alerts[0].clone();
        last.seq = 19;
        last.delay = Some(Duration::from_millis(1_800_001));
        alerts.push(last);
        alerts
    }

    /// The rows of format 6.
    const VERSION_6: &str = include_str!("../../tests/fixtures/store-v6/outbox.txt");

    /// What that says: the alerts of format 5, and some with what only format 6 can hold.
    fn version_6() -> Vec<AlertRecord> {
        let mut alerts = version_5();
        for (seq, hold) in [(20, 0), (21, 600_001)] {
            let mut last = alerts[0].clone();
            last.seq = seq;
            last.flap = Some(Box::new(Flap {
                turns: 300,
                span: Duration::from_millis(1_800_001),
                hold: Duration::from_millis(hold),
            }));
            alerts.push(last);
        }
        alerts
    }

    fn read(rows: &str) -> Vec<AlertRecord> {
        let row = |row: &str| {
            let (key, value) = row.split_once(' ').unwrap();
            decode(&record::from_hex(key), &record::from_hex(value)).unwrap()
        };
        rows.lines().map(row).collect()
    }

    #[test]
    fn older_formats_are_read_and_this_one_stays_as_it_is() {
        assert_eq!(read(VERSION_1), version_1());
        assert_eq!(read(VERSION_2), version_2());
        assert_eq!(read(VERSION_3), version_3());
        assert_eq!(read(VERSION_4), version_4());
        let line = |alert: &AlertRecord| {
            let key = record::hex(&alert.seq.to_be_bytes());
            format!("{key} {}\n", record::hex(&encode(alert).unwrap()))
        };
        assert_eq!(read(VERSION_5), version_5());
        let alerts = version_6();
        let written: String = alerts.iter().map(line).collect();
        assert!(written == VERSION_6, "the rows are\n{written}");
        assert_eq!(read(VERSION_6), alerts);
    }

    #[test]
    fn what_is_accepted_can_be_written_with_every_later_step() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let most = VALUE_BYTES_MAX - ATTENTION_BYTES - 200 * (GROWTH_BYTES + MARK_BYTES) - HANDOVER_BYTES;
        let mut new = New::default();
        let refused = new.add(&long(most + 1, 200));
        assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
        let mut alert = long(most, 200);
        new.add(&alert).unwrap();
        smol::block_on(new.write(&store)).unwrap();
        for delivery in &mut alert.deliveries {
            delivery.step = Step::Failed;
            delivery.since = Timestamp(u64::MAX);
            delivery.attempts = u32::MAX;
            delivery.note = "the server refused it".repeat(9);
            delivery.mark = Some(Box::new(Mark {
                id: MessageId("3EB0D57B77BFAE3AA58C39".into()),
                done: true,
            }));
            delivery.quotes = Some(Box::new(MessageId("3EB0D57B77BFAE3AA58C38".into())));
        }
        alert.handovers = ["a", "b", "c", "d"]
            .map(|name| Handover {
                to: name.repeat(32).parse().unwrap(),
                state: HandoverState::GivenUp,
                since: Timestamp(u64::MAX),
                key: "AAAAAAAAAAAA".into(),
                note: "it refused it".repeat(9),
            })
            .into();
        let mut batch = Batch::new();
        put(&mut batch, &alert).unwrap();
        smol::block_on(store.commit(batch)).unwrap();
        let [found] = <[AlertRecord; 1]>::try_from(load(store.view()).unwrap().alerts).unwrap();
        assert!(found.deliveries.iter().all(|delivery| delivery.note.is_empty()));
        assert!(found.handovers.iter().all(|handover| handover.note.is_empty()));
        assert_eq!(found.step(), Step::Failed);
        // Where there is room, the words are kept.
        alert.alert.text.truncate(1000);
        let value = encode(&alert).unwrap();
        assert_eq!(decode(&1u64.to_be_bytes(), &value).unwrap(), alert);
    }

    #[test]
    fn a_key_on_disk_is_read_as_every_version_wrote_it() {
        let key = KeyRecord {
            seq: 7,
            fingerprint: Fingerprint::of(&"family".parse().unwrap(), "backup-2026-01-01"),
            id: "AAAAAAAAAAAA".into(),
            accepted_at: Timestamp(1_767_225_600_000),
            step: Step::Delivered,
        };
        let body = "3c544e5459ecb618fa450c948caa18770c41414141414141414141414180d0eab6b73302";
        assert_eq!(record::hex(&encode_key(&key).unwrap()), format!("04{body}"));
        for version in ["01", "02", "03", "04"] {
            let written = record::from_hex(&format!("{version}{body}"));
            assert_eq!(decode_key(&7u64.to_be_bytes(), &written).unwrap(), key);
        }
    }

    #[test]
    fn what_cannot_be_read_keeps_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let mut batch = Batch::new();
        batch.put(Tree::Outbox, &7u64.to_be_bytes(), vec![99, 1, 2, 3]).unwrap();
        smol::block_on(store.commit(batch)).unwrap();
        let loaded = load(store.view()).unwrap();
        assert_eq!((loaded.alerts.len(), loaded.damaged.len(), loaded.seq_max), (0, 1, 7));
    }

    /// A record with one delivery to each of `to`.
    fn to(to: &[&str]) -> AlertRecord {
        let mut alert = long(1 << 15, to.len());
        alert.alert.text = "x".into();
        for (delivery, to) in alert.deliveries.iter_mut().zip(to) {
            delivery.recipient = to.parse().unwrap();
        }
        alert
    }

    /// As version 0.1 wrote it: recipients are the strings that a route names.
    const V1: &str = "01010c4141414141414141414141410666616d696c790764656661756c740000017803000000030c2b31353535303130\
                      303030321633454230303030303030303030303030303030303030000000001731323033363330303030303030303030\
                      303040672e7573163345423030303030303030303030303030303030303100000000026d651633454230303030303030\
                      30303030303030303030303200000000";

    #[test]
    fn a_record_from_before_hidden_ids_is_read() {
        let alert = to(&["+15550100002", "120363000000000000@g.us", "me"]);
        let old = record::from_hex(V1);
        assert_eq!(decode(&1u64.to_be_bytes(), &old).unwrap(), alert);
        let newer = to(&["100000000000002@lid"]);
        let value = encode(&newer).unwrap();
        assert_eq!(decode(&1u64.to_be_bytes(), &value).unwrap(), newer);
        // An older program knows no such name; what this one does not know is the same to it.
        let text = String::from_utf8_lossy(&value).replace("@lid", "@new");
        assert!(decode(&1u64.to_be_bytes(), text.as_bytes()).is_err());
    }
}
