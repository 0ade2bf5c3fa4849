//! The dispatcher on a real store, without sessions: what the server and the phones say is said by the test.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_channel::Sender;
use smol::{Executor, Task};

use super::{Dispatcher, DispatcherHandle, Parts};
use crate::alert::{Alert, Priority, RouteName, SessionName};
use crate::appliance::proofs::Proofs;
use crate::board::Board;
use crate::config::RoutePlan;
use crate::fallback::FallbackClient;
use crate::gateway::api::AlertView;
use crate::gateway::{Accepted, Refusal};
use crate::outbox::{Answer, Limits, MessageId, ReceiptKind, Repeat, Said, SendFailure, Step};
use crate::store::journal::Event as Told;
use crate::store::log::{Limits as LogLimits, RealDisk};
use crate::store::{Store, Tree, journal, outbox};
use crate::whatsapp::Notice;

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
    dispatcher: DispatcherHandle,
    running: Option<Task<()>>,
    store: Store,
    blobs: crate::blobs::Blobs,
    executor: Arc<Executor<'static>>,
    notices: Sender<(SessionName, Notice)>,
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
            ttl: None,
            mark_late: None,
            group: None,
            quiet: None,
            pace: None,
            fallback: None,
            repeat: None,
            flapping: None,
            escalate: None,
            acks: crate::outbox::AckRules::default(),
        };
        let (notices, heard) = async_channel::unbounded();
        let blobs = crate::blobs::Blobs::open(directory, crate::blobs::Limits::default());
        let opened = Dispatcher::open(Parts {
            store: store.clone(),
            blobs: blobs.clone(),
            executor: Arc::clone(&executor),
            limits: limits(),
            collect: Duration::ZERO,
            feed: Arc::default(),
            sessions: Vec::new(),
            routes: vec![
                RoutePlan {
                    name: "ops".parse().unwrap(),
                    repeat: Some(Repeat {
                        every: Duration::from_secs(3600),
                        times: 1,
                        from: Priority::Max,
                    }),
                    ..plan.clone()
                },
                plan,
            ],
            time_zone: jiff::tz::TimeZone::UTC,
            notices: heard,
            fallback_client: Arc::new(FallbackClient::new(Vec::new(), Board::generic().schedule())),
            tallies: Arc::default(),
            proofs: Arc::new(Proofs::open(store.clone(), Arc::clone(&executor), &[])),
        });
        let (dispatcher, handle, _) = opened.unwrap();
        let running = executor.spawn(dispatcher.run());
        Self {
            dispatcher: handle,
            running: Some(running),
            store,
            blobs,
            executor,
            notices,
            session,
            route,
        }
    }

    /// Runs the dispatcher until `what` is done.
    fn run<T>(&self, what: impl Future<Output = T>) -> T {
        smol::block_on(self.executor.run(what))
    }

    fn try_publish(&self, alerts: Vec<Alert>) -> Result<Vec<Accepted>, Refusal> {
        self.run(self.dispatcher.publish(vec![(self.route.clone(), alerts)], Vec::new()))
    }

    /// Accepts alerts together, each of another sender, and gives their ids.
    fn publish(&self, alerts: Vec<Alert>) -> Vec<String> {
        let tasks: Vec<_> = alerts
            .into_iter()
            .map(|alert| {
                let (dispatcher, route) = (self.dispatcher.clone(), self.route.clone());
                self.executor.spawn(async move {
                    let accepted = dispatcher.publish(vec![(route, vec![alert])], Vec::new()).await;
                    accepted.unwrap().remove(0).alert.id
                })
            })
            .collect();
        self.run(async {
            let mut ids = Vec::new();
            for task in tasks {
                ids.push(task.await);
            }
            ids
        })
    }

    fn find(&self, id: &str) -> Option<AlertView> {
        self.run(self.dispatcher.alert(id))
    }

    fn messages(&self, id: &str) -> Vec<MessageId> {
        let deliveries = self.find(id).map(|alert| alert.deliveries).unwrap_or_default();
        deliveries
            .into_iter()
            .map(|delivery| MessageId(delivery.message_id))
            .collect()
    }

    fn say(&self, notice: Notice) {
        self.notices.try_send((self.session.clone(), notice)).unwrap();
    }

    fn ack(&self, message_id: MessageId) {
        self.say(Notice::Ack {
            message_id,
            error: None,
        });
    }

    /// It can never go out.
    fn refuse(&self, message_id: MessageId) {
        let failure = SendFailure::Permanent("no such recipient".to_owned());
        self.say(Notice::SendFailed { message_id, failure });
    }

    fn receipt(&self, message_id: MessageId, kind: ReceiptKind) {
        self.say(Notice::Receipt {
            message_id,
            kind,
            from: vec!["+15550100002".parse().unwrap(), "me".parse().unwrap()],
        });
    }

    fn persist(&self) {
        self.run(self.dispatcher.flush()).unwrap();
    }

    fn rows(&self, tree: Tree) -> (usize, usize) {
        let rows = self.store.view().scan(tree, b"");
        rows.map(Result::unwrap).fold((0, 0), |(rows, bytes), (key, value)| {
            (rows + 1, bytes + key.len() + value.len())
        })
    }

    fn history(&self, id: &str) -> Vec<String> {
        let found = journal::of_alert(self.store.view(), id).unwrap();
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

/// The state is free for the next when nothing of this one is left.
impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            let _ = self.run(self.dispatcher.flush());
            self.run(running.cancel());
        }
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
    bench.run(bench.dispatcher.retry(&id)).unwrap();
    bench.run(bench.dispatcher.drop_alert(&id)).unwrap();
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
        let forgotten = ids.iter().filter(|id| bench.find(id).is_none()).count();
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
        bench.try_publish(alerts)
    };
    let accepted = publish(&[10, 20, 30]).unwrap();
    let bytes: Vec<usize> = accepted.iter().map(|accepted| accepted.alert.text.len()).collect();
    assert_eq!(bytes, [10, 20, 30]);
    assert_eq!(bench.rows(Tree::Outbox).0, 3);
    // The second is larger than a row can be.
    let refused = publish(&[10, 200 * 1024, 30]).unwrap_err();
    assert!(matches!(refused, Refusal::StorageFailed(_)), "{refused:?}");
    let facts = bench.run(bench.dispatcher.facts());
    assert_eq!((bench.rows(Tree::Outbox).0, facts.pending), (3, 3));
    assert_eq!(publish(&[40]).unwrap().len(), 1, "the next is taken");
    assert!(bench.history(&accepted[2].alert.id) == ["accepted"]);
}

#[test]
fn the_alerts_of_one_request_for_several_routes_are_taken_together_or_none_is() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::open(directory.path());
    let publish = |parts: &[(&str, usize, &str)]| {
        let part = |(route, bytes, key): &(&str, usize, &str)| {
            let alert = Alert {
                key: (!key.is_empty()).then(|| (*key).to_owned()),
                ..alert(&"x".repeat(*bytes))
            };
            (route.parse().unwrap(), vec![alert])
        };
        bench.run(bench.dispatcher.publish(parts.iter().map(part).collect(), Vec::new()))
    };
    let accepted = publish(&[("family", 10, ""), ("ops", 20, "k")]).unwrap();
    let routes: Vec<_> = accepted.iter().map(|accepted| accepted.alert.route.as_str()).collect();
    assert_eq!((routes, bench.rows(Tree::Outbox).0), (vec!["family", "ops"], 2));
    // The second is larger than a row can be; the third has no route.
    let refused = publish(&[("family", 10, ""), ("ops", 200 * 1024, "")]).unwrap_err();
    assert!(matches!(refused, Refusal::StorageFailed(_)), "{refused:?}");
    let refused = publish(&[("family", 10, ""), ("nobody", 10, "")]).unwrap_err();
    assert!(matches!(refused, Refusal::UnknownRoute(_)), "{refused:?}");
    let facts = bench.run(bench.dispatcher.facts());
    assert_eq!((bench.rows(Tree::Outbox).0, facts.pending), (2, 2));
    // Of one that was taken on one of its routes before, the others are taken.
    let again = publish(&[("ops", 20, "k"), ("family", 30, "k")]).unwrap();
    let duplicates: Vec<bool> = again.iter().map(|accepted| accepted.duplicate).collect();
    assert_eq!((duplicates, bench.rows(Tree::Outbox).0), (vec![true, false], 3));
}

#[test]
fn who_waits_for_an_alert_is_told_of_that_alert_alone() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::open(directory.path());
    let ids = bench.publish(vec![alert("a"), alert("b")]);
    let wait = |id: &str, step| {
        let (dispatcher, id) = (bench.dispatcher.clone(), id.to_owned());
        bench
            .executor
            .spawn(async move { dispatcher.wait(&id, step, Duration::from_secs(600)).await })
    };
    let (sent, read, other) = (
        wait(&ids[0], Step::Sent),
        wait(&ids[0], Step::Read),
        wait(&ids[1], Step::Sent),
    );
    // One who leaves is not waited for.
    drop(wait(&ids[0], Step::Sent));
    for message in bench.messages(&ids[0]) {
        bench.ack(message);
    }
    let sent = bench.run(sent).unwrap();
    assert_eq!((sent.id.as_str(), sent.state), (ids[0].as_str(), Step::Sent));
    assert!(!read.is_finished() && !other.is_finished());
    for message in bench.messages(&ids[0]) {
        bench.receipt(message, ReceiptKind::Read);
    }
    assert_eq!(bench.run(read).unwrap().state, Step::Read);
    assert!(!other.is_finished());
    let nobody = bench.run(bench.dispatcher.wait("nobody", Step::Sent, Duration::from_secs(600)));
    assert_eq!(nobody, None);
    let early = bench.run(bench.dispatcher.wait(&ids[1], Step::Sent, Duration::ZERO));
    assert_eq!(early.unwrap().state, Step::Accepted);
    // A failure ends every wait.
    for message in bench.messages(&ids[1]) {
        bench.refuse(message);
    }
    assert_eq!(bench.run(other).unwrap().state, Step::Failed);
}

/// Whether the second is a duplicate shows when the first is on disk, or is not.
#[test]
fn two_senders_with_one_key_at_once_are_one_alert() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::open(directory.path());
    let keyed = |text: &str| Alert {
        key: Some("k".to_owned()),
        ..alert(text)
    };
    let ids = bench.publish(vec![keyed("a"), keyed("b"), alert("c"), keyed("d")]);
    assert!(ids[0] == ids[1] && ids[0] == ids[3] && ids[0] != ids[2], "{ids:?}");
    assert_eq!(bench.rows(Tree::Outbox).0, 2);
    let both = bench.try_publish(vec![keyed("e"), alert("f")]).unwrap();
    assert_eq!(
        both.iter().map(|accepted| accepted.duplicate).collect::<Vec<_>>(),
        [true, false]
    );
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
    let told = journal::after(bench.store.view(), 0, usize::MAX).unwrap();
    assert!(told[0].0 > 1, "the journal was turned over");
    assert!(told.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "a gap");
    let oldest = bench.find(&waiting[0]).map(|alert| alert.state);
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

/// Waits until there are so many files.
fn files(bench: &Bench, count: usize) {
    let started = std::time::Instant::now();
    while bench.blobs.total().1 != count {
        assert!(started.elapsed().as_secs() < 60, "{:?}", bench.blobs.total());
        std::thread::yield_now();
    }
}

fn picture(file: &crate::blobs::Kept, text: &str) -> Alert {
    Alert {
        attachments: vec![crate::alert::Attachment {
            hash: file.hash(),
            bytes: file.bytes(),
            name: "door.jpg".into(),
            mime: "image/jpeg".into(),
            kind: crate::alert::MediaKind::Image,
            width: 0,
            height: 0,
            thumbnail: None,
        }],
        ..alert(text)
    }
}

#[test]
fn the_file_of_an_alert_stays_over_a_restart_and_one_of_none_goes() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::open(directory.path());
    let (used, unused) = (bench.blobs.put(b"used").unwrap(), bench.blobs.put(b"unused").unwrap());
    let hash = used.hash();
    let parts = vec![(bench.route.clone(), vec![picture(&used, "person")])];
    bench.run(bench.dispatcher.publish(parts, vec![used])).unwrap();
    // As a crash between the file and the record leaves it.
    std::mem::forget(unused);
    files(&bench, 2);
    drop(bench);
    let bench = Bench::open(directory.path());
    files(&bench, 1);
    assert_eq!(std::fs::read(bench.blobs.path(hash)).unwrap(), b"used");
}

#[test]
fn the_file_of_an_alert_that_is_refused_goes() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::open(directory.path());
    let file = bench.blobs.put(b"x").unwrap();
    let parts = vec![("nobody".parse().unwrap(), vec![picture(&file, "person")])];
    let refused = bench.run(bench.dispatcher.publish(parts, vec![file]));
    assert_eq!(refused.unwrap_err(), Refusal::UnknownRoute("nobody".into()));
    files(&bench, 0);
}

#[test]
fn what_an_answer_means_is_on_disk_before_anybody_may_forget_the_answer() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::open(directory.path());
    let fire = Alert {
        priority: Priority::Max,
        ..alert("fire")
    };
    let published = bench
        .dispatcher
        .publish(vec![("ops".parse().unwrap(), vec![fire])], Vec::new());
    let id = bench.run(published).unwrap().remove(0).alert.id;
    let [to, _] = <[MessageId; 2]>::try_from(bench.messages(&id)).unwrap();
    let friend = vec!["+15550100002".parse().unwrap()];
    let answer = |id: &str, chat| {
        let (done, on_disk) = async_channel::bounded(1);
        let answer = Box::new(Answer {
            session: bench.session.clone(),
            chat,
            from: friend.clone(),
            id: id.to_owned(),
            said: Said::Reaction(to.clone()),
        });
        bench.say(Notice::Answered { answer, done });
        bench.run(on_disk.recv()).unwrap().unwrap();
        let stored = outbox::load(bench.store.view()).unwrap().alerts.remove(0);
        stored.attention.acked.map(|ack| ack.answer.unwrap().id)
    };
    // What it is not about changes nothing, and is no reason to wait.
    assert_eq!(answer("3A0", vec!["me".parse().unwrap()]), None);
    assert_eq!(answer("3A1", friend.clone()).as_deref(), Some("3A1"));
    assert_eq!(answer("3A2", friend.clone()).as_deref(), Some("3A1"));
    assert_eq!(
        bench.history(&id).iter().filter(|what| *what == "acknowledged").count(),
        1
    );
}
