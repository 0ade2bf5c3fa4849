//! The courier on a real store, without sessions: what the server and the phones say is said by the test.

use std::path::Path;

use super::*;
use crate::outbox::{MessageId, ReceiptKind};
use crate::store::log::{Limits as LogLimits, RealDisk};
use crate::store::{Tree, journal};

const ALERTS: usize = 4000;
const TOGETHER: usize = 50;

/// Small, so that thousands of alerts turn everything over often.
const LOG: LogLimits = LogLimits {
    rotate_bytes_min: 256 * 1024,
    extent_bytes: 64 * 1024,
    headroom_bytes: 0,
    reserve_bytes: 8 * 1024,
};

fn limits() -> Limits {
    Limits {
        settled_max: 200,
        keys_max: 100,
        settled_bytes_max: 256 * 1024,
        ..Limits::default()
    }
}

struct Bench {
    courier: Arc<Courier>,
    executor: Arc<Executor<'static>>,
    session: SessionName,
    route: RouteName,
}

impl Bench {
    fn open(directory: &Path) -> Self {
        let disk = Arc::new(RealDisk::new(directory.to_owned()));
        let store = Store::open_on(directory, 1 << 20, disk, LOG).unwrap();
        let executor = Arc::new(Executor::new());
        let (session, route): (SessionName, RouteName) = ("default".parse().unwrap(), "family".parse().unwrap());
        let plan = RoutePlan {
            name: route.clone(),
            session: session.clone(),
            to: vec!["+15550100002".parse().unwrap(), "me".parse().unwrap()],
        };
        let opened = Courier::open(
            store,
            Arc::clone(&executor),
            limits(),
            Duration::ZERO,
            Vec::new(),
            vec![plan],
        );
        Self {
            courier: opened.unwrap().0,
            executor,
            session,
            route,
        }
    }

    /// Accepts alerts together, and gives their ids.
    fn publish(&self, alerts: Vec<Alert>) -> Vec<String> {
        let tasks: Vec<_> = alerts
            .into_iter()
            .map(|alert| {
                let (courier, route) = (Arc::clone(&self.courier), self.route.clone());
                self.executor
                    .spawn(async move { courier.publish(&route, vec![alert]).await.unwrap().remove(0).alert.id })
            })
            .collect();
        smol::block_on(self.executor.run(async {
            let mut ids = Vec::new();
            for task in tasks {
                ids.push(task.await);
            }
            ids
        }))
    }

    fn messages(&self, id: &str) -> Vec<MessageId> {
        let outbox = self.courier.outbox();
        let deliveries = outbox
            .get(id)
            .map(|record| record.deliveries.clone())
            .unwrap_or_default();
        let ids = deliveries.into_iter().map(|delivery| delivery.message_id);
        ids.map(|id| id.expect("it was made at once")).collect()
    }

    fn ack(&self, message_id: MessageId) {
        self.courier.input(Input::ServerAck {
            session: self.session.clone(),
            message_id,
            error: None,
        });
    }

    /// It can never go out.
    fn refuse(&self, message_id: MessageId) {
        let failure = SendFailure::Permanent("no such recipient".to_owned());
        self.courier.input(Input::SendFailed { message_id, failure });
    }

    fn receipt(&self, message_id: MessageId, kind: ReceiptKind) {
        self.courier.input(Input::Receipt {
            session: self.session.clone(),
            message_id,
            kind,
            from: vec!["+15550100002".parse().unwrap(), "me".parse().unwrap()],
        });
    }

    fn persist(&self) {
        smol::block_on(self.courier.persist_now()).unwrap();
    }

    fn rows(&self, tree: Tree) -> (usize, usize) {
        let rows = self.courier.store.view().scan(tree, b"");
        rows.map(Result::unwrap).fold((0, 0), |(rows, bytes), (key, value)| {
            (rows + 1, bytes + key.len() + value.len())
        })
    }

    fn history(&self, id: &str) -> Vec<String> {
        let found = journal::of_alert(self.courier.store.view(), id).unwrap();
        let words = found.into_iter().map(|(_, entry)| match entry.event {
            Told::Alert { what, delivery, .. } => match delivery {
                Some(delivery) => format!("{} {delivery}", what.name()),
                None => what.name().to_owned(),
            },
            other => panic!("{other:?}"),
        });
        words.collect()
    }
}

fn alert(text: &str) -> Alert {
    Alert {
        text: text.to_owned(),
        ..Alert::default()
    }
}

/// Bytes that the files under `path` take, as `du` counts them.
fn used(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(path).unwrap().flatten() {
        // A rotation may take one away meanwhile.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += match metadata.is_dir() {
            true => used(&entry.path()),
            false => metadata.blocks() * 512,
        };
    }
    bytes
}

#[test]
fn the_history_is_written_with_each_step_and_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::open(directory.path());
    let id = bench.publish(vec![alert("a")]).remove(0);
    assert_eq!(bench.history(&id), ["accepted"]);
    let messages = bench.messages(&id);
    bench.ack(messages[0].clone());
    bench.refuse(messages[1].clone());
    bench.receipt(messages[0].clone(), ReceiptKind::Delivered);
    assert_eq!(bench.history(&id), ["accepted"], "not on disk yet");
    bench.persist();
    let mut expected = vec!["accepted", "sent 0", "failed 1", "delivered 0"];
    assert_eq!(bench.history(&id), expected);
    bench.courier.retry(&id).unwrap();
    smol::block_on(bench.courier.drop_alert(&id)).unwrap();
    drop(bench);
    let bench = Bench::open(directory.path());
    expected.extend(["retried 1", "dropped 1"]);
    assert_eq!(bench.history(&id), expected);
}

#[test]
fn a_key_counts_after_its_alert_is_forgotten_and_the_relay_has_started_anew() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(directory.path());
    let keyed = |number: usize| Alert {
        key: Some(format!("key {number}")),
        ..alert(&"x".repeat(10_000))
    };
    let ids = bench.publish((0..60).map(keyed).collect());
    for message in ids.iter().flat_map(|id| bench.messages(id)) {
        bench.ack(message);
    }
    bench.persist();
    for _ in 0..2 {
        let forgotten = ids.iter().filter(|id| bench.courier.outbox().get(id).is_none()).count();
        assert!(forgotten > 30, "{forgotten}");
        assert_eq!(bench.rows(Tree::AlertKey).0, forgotten);
        assert_eq!(bench.publish((0..60).map(keyed).collect()), ids, "each is its first");
        drop(bench);
        bench = Bench::open(directory.path());
    }
}

#[test]
fn the_alerts_of_one_request_are_on_disk_together_or_none_is() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::open(directory.path());
    let publish = |texts: &[usize]| {
        let alerts = texts.iter().map(|bytes| alert(&"x".repeat(*bytes))).collect();
        let published = bench.courier.publish(&bench.route, alerts);
        smol::block_on(bench.executor.run(published))
    };
    let accepted = publish(&[10, 20, 30]).unwrap();
    let bytes: Vec<usize> = accepted.iter().map(|accepted| accepted.alert.text.len()).collect();
    assert_eq!(bytes, [10, 20, 30]);
    assert_eq!(bench.rows(Tree::Outbox).0, 3);
    // The second is larger than a row can be.
    let refused = publish(&[10, 200 * 1024, 30]).unwrap_err();
    assert!(matches!(refused, Refusal::StorageFailed(_)), "{refused:?}");
    assert_eq!(
        (bench.rows(Tree::Outbox).0, bench.courier.outbox().pending_len()),
        (3, 3)
    );
    assert_eq!(publish(&[40]).unwrap().len(), 1, "the next is taken");
    assert!(bench.history(&accepted[2].alert.id) == ["accepted"]);
}

/// Whatever passes through, what stays is bounded: rows, bytes, the log and the index.
#[test]
fn thousands_of_alerts_leave_a_bounded_state() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(directory.path());
    let mut random = fastrand::Rng::with_seed(4);
    let mut largest = [0; 4];
    let mut waiting: Vec<String> = Vec::new();
    for wave in 0..ALERTS / TOGETHER {
        let alerts = (0..TOGETHER).map(|_| Alert {
            key: random.bool().then(|| random.u64(..).to_string()),
            ..alert(&"x".repeat(random.usize(..2000)))
        });
        let alerts = alerts.collect();
        waiting.extend(bench.publish(alerts));
        // Some wait until a later wave, and one until the end.
        random.shuffle(&mut waiting[1..]);
        for id in waiting.split_off(waiting.len().min(20)) {
            for message in bench.messages(&id) {
                match random.u8(..10) {
                    0 => bench.refuse(message),
                    1 => bench.receipt(message, ReceiptKind::Read),
                    _ => {
                        bench.ack(message.clone());
                        bench.receipt(message, ReceiptKind::Delivered);
                    }
                }
            }
        }
        bench.persist();
        if wave % 20 == 19 {
            drop(bench);
            bench = Bench::open(directory.path());
        }
        let (alerts, bytes) = bench.rows(Tree::Outbox);
        let (entries, told) = bench.rows(Tree::Journal);
        let (keys, _) = bench.rows(Tree::AlertKey);
        // What waits, what is kept, and what a write has not taken away yet.
        assert!(alerts <= 20 + 200 + TOGETHER, "{alerts} alerts");
        assert!(keys <= 100 + TOGETHER, "{keys} keys");
        assert!(entries as u64 <= journal::ENTRIES_MAX, "{entries} entries");
        let log = std::fs::metadata(newest_log(directory.path())).unwrap().len();
        let live = (bytes + told) as u64;
        // The state, and as much again or the bound; one group past it, and the zeros laid down.
        assert!(
            log <= live + LOG.rotate_bytes_min.max(2 * live) + 512 * 1024,
            "log {log}, live {live}"
        );
        let now = [bytes as u64, told as u64, log, used(directory.path())];
        largest = std::array::from_fn(|at| largest[at].max(now[at]));
    }
    let [outbox, entries, log, disk] = largest.map(|bytes| bytes / 1024);
    println!("at the most: outbox {outbox} KiB, journal {entries} KiB, log {log} KiB, all files {disk} KiB");
    assert!(entries <= 640 && disk < 24 * 1024, "{largest:?}");
    let told = journal::after(bench.courier.store.view(), 0, usize::MAX).unwrap();
    assert!(told[0].0 > 1, "the journal was turned over");
    assert!(told.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "a gap");
    let oldest = bench.courier.outbox().get(&waiting[0]).map(|record| record.step());
    assert_eq!(oldest, Some(Step::Accepted), "what waits stays");
}

fn newest_log(directory: &Path) -> std::path::PathBuf {
    let names = std::fs::read_dir(directory).unwrap().flatten();
    let generation = |path: &std::path::PathBuf| -> Option<u64> { path.extension()?.to_str()?.parse().ok() };
    let logs = names
        .map(|entry| entry.path())
        .filter(|path| generation(path).is_some());
    logs.max_by_key(|path| generation(path)).unwrap()
}
