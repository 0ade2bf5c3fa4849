//! The one thread that writes. It runs transactions in the order in which they came, puts them into the log, syncs once
//! for all that waited, shows them to the readers, and answers.
//!
//! Those that nobody waits for ([`Durability::Eventual`]) are deferred for a moment, so that a sync is for many of
//! them. They keep their place in the order: the next one that somebody waits for takes them along, and sees what they
//! did.

mod flush;
mod queue;
mod upkeep;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flush::Flush;
use queue::{POOL_TIMER_SLACK_NS, Queue};

use super::broken::Broken;
use super::error::{of_index, of_log};
use super::index::{Index, Room};
use super::log::{BODY_BYTES_MAX, Claim, CommitError, Disk, Gauge, Limits, Log, Row, StageError, State, rows};
use super::view::{Base, Memtable};
use super::{Batch, Lock, StoreError, View};
use crate::util::lock;

/// Transactions that share one sync; also how many may wait. A caller past that waits for its turn.
const GROUP_MAX: usize = 256;

/// How long transactions that nobody waits for lie still at the most. As long as the boards collect what has become of
/// alerts.
const LATER: Duration = Duration::from_millis(50);

/// How many of them lie still at the most: each can hold a message of the largest size.
const LATER_MAX: usize = 64;

/// How long it is quiet before the log is sealed. An alert goes through all its steps in less.
const SEAL_AFTER: Duration = Duration::from_secs(5);

/// A group that has grown to this is written before more is taken in, to bound the memory.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long an index is left alone that could not be built again, or has just made room. Twice as long after each
/// failure.
const INDEX_RESTS: Duration = Duration::from_secs(600);

/// Called on the writer's thread each time that a group is over, after those who wait for it have their answers.
pub type Committed = Box<dyn Fn() + Send>;

type Decide = Box<dyn FnOnce(&View) -> Result<Batch, StoreError> + Send>;

/// One transaction: it may look and return a batch; `done` reports what became of it.
struct Job {
    decide: Decide,
    /// `decide` looks at nothing: an empty batch of it is done whatever becomes of the others in its group. So a full
    /// disk does not stop who only asks whether the thread turns.
    blind: bool,
    claim: Claim,
    durability: Durability,
    done: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
}

/// Whether somebody waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    Immediate,
    Eventual,
}

pub(super) struct Writer {
    jobs: Option<async_channel::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// Nothing comes from it: it is closed when the thread has nothing more to do.
    ended: Mutex<Receiver<()>>,
    /// The disk hangs, and nobody waits for the thread any more.
    given_up: AtomicBool,
    broken: Arc<Broken>,
}

impl Writer {
    /// Opens the state in the directory `path` on the writer's own thread and starts it.
    pub(super) fn start(
        path: &Path,
        cache_bytes: u64,
        disk: Arc<dyn Disk>,
        limits: Limits,
        lock: Arc<Lock>,
        committed: Committed,
    ) -> Result<(Self, View, Arc<Gauge>), StoreError> {
        let fault = |cause: String| StoreError::Open {
            path: path.to_owned(),
            cause,
        };
        let (jobs, queue) = async_channel::bounded(GROUP_MAX);
        let (opened_tx, opened_rx) = std::sync::mpsc::sync_channel(1);
        let (held, ended) = std::sync::mpsc::channel();
        let broken = Arc::new(Broken::default());
        let thread = {
            let (path, broken) = (path.to_owned(), Arc::clone(&broken));
            std::thread::Builder::new()
                .name("store".into())
                .spawn(move || {
                    // Let go of in this order, whatever becomes of the rest.
                    let held: (Arc<Lock>, Sender<()>) = (lock, held);
                    let lock = Arc::clone(&held.0);
                    let opened = catch_unwind(AssertUnwindSafe(|| {
                        Database::open(&path, cache_bytes, disk, limits, lock, &broken)
                    }));
                    let panicked = || StoreError::Open {
                        path,
                        cause: "a panic while opening it".into(),
                    };
                    match opened.unwrap_or_else(|_| Err(panicked())) {
                        Ok(mut database) => {
                            let _ = opened_tx.send(Ok((database.view.clone(), database.log.gauge())));
                            // A panic outside a transaction must not leave a store that merely never answers.
                            if catch_unwind(AssertUnwindSafe(|| database.serve(&queue, &broken, &committed))).is_err() {
                                broken.set("the store's thread panicked");
                            }
                        }
                        Err(error) => {
                            let _ = opened_tx.send(Err(error));
                        }
                    }
                })
                .map_err(|error| fault(error.to_string()))?
        };
        let opened = opened_rx.recv();
        let opened = opened.unwrap_or_else(|_| Err(fault("the store's thread ended".into())));
        let (view, gauge) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                // The lock is free only then.
                let _ = thread.join();
                return Err(error);
            }
        };
        Ok((
            Self {
                jobs: Some(jobs),
                thread: Some(thread),
                ended: Mutex::new(ended),
                given_up: AtomicBool::new(false),
                broken,
            },
            view,
            gauge,
        ))
    }

    pub(super) async fn update<T, F>(&self, blind: bool, claim: Claim, decide: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&View) -> Result<(Batch, T), StoreError> + Send + 'static,
    {
        let (answer_tx, answer_rx) = async_channel::bounded(1);
        let beside = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&beside);
        let job = Job {
            decide: Box::new(move |view| {
                let (batch, value) = decide(view)?;
                *lock(&kept) = Some(value);
                Ok(batch)
            }),
            blind,
            claim,
            durability: Durability::Immediate,
            done: Box::new(move |result| {
                let _ = answer_tx.try_send(result);
            }),
        };
        self.hand_over(job).await?;
        let gone = || self.gone();
        answer_rx.recv().await.map_err(|_| gone())??;
        let value = lock(&beside).take();
        value.ok_or_else(gone)
    }

    /// Returns once the transaction has its place in the order, and says in the log what became of one that failed.
    pub(super) async fn update_later<F>(&self, what: &'static str, decide: F) -> Result<(), StoreError>
    where
        F: FnOnce(&View) -> Result<Batch, StoreError> + Send + 'static,
    {
        if self.poisoned().is_some() {
            return Err(self.gone());
        }
        let job = Job {
            decide: Box::new(decide),
            blind: false,
            claim: Claim::Reserve,
            durability: Durability::Eventual,
            done: Box::new(move |result| match result {
                Ok(()) => {}
                Err(error) => log::warn!("{what} was not written: {error}"),
            }),
        };
        self.hand_over(job).await
    }

    async fn hand_over(&self, job: Job) -> Result<(), StoreError> {
        let jobs = self.jobs.as_ref().ok_or_else(|| self.gone())?;
        jobs.send(job).await.map_err(|_| self.gone())
    }

    fn gone(&self) -> StoreError {
        StoreError::Poisoned(self.poisoned().unwrap_or_else(|| "the store is closed".into()))
    }

    pub(super) fn close(&self, limit: Duration) {
        let Some(jobs) = &self.jobs else { return };
        jobs.close();
        let ended = lock(&self.ended);
        if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            log::error!(
                "the disk hangs or is very slow: what is not written within {} s is left for the next start to put right",
                limit.as_secs()
            );
            self.given_up.store(true, Ordering::Relaxed);
        }
    }

    /// Nothing is accepted any more from now on.
    pub(super) fn break_for(&self, reason: &str) {
        self.broken.set(reason);
    }

    pub(super) fn poisoned(&self) -> Option<String> {
        self.broken.reason()
    }

    pub(super) async fn failure(&self) -> String {
        self.broken.wait().await
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Closing the queue lets the thread finish what it holds and end; the lock is released after that.
        self.jobs = None;
        // A transaction may have held the last handle: then this is that thread, which ends by itself.
        let waited_for = |thread: &JoinHandle<()>| thread.thread().id() != std::thread::current().id();
        let Some(thread) = self.thread.take().filter(waited_for) else {
            return;
        };
        if self.given_up.load(Ordering::Relaxed) {
            return;
        }
        let _ = thread.join();
    }
}

struct Database {
    lock: Arc<Lock>,
    log: Log,
    /// None while the disk has no room for it: then what it would have is in `unapplied`.
    index: Option<Index>,
    /// The index as the readers have it.
    base: Base,
    path: PathBuf,
    cache_bytes: u64,
    /// It is left alone until then, and after the next failure for so long.
    index_rests: Option<Instant>,
    index_rest: Duration,
    view: View,
    /// What the transactions of the group under way have decided.
    memtable: Memtable,
    over: View,
    /// What the index is being given.
    flush: Flush,
    /// What is durable, and neither in the index nor on its way there.
    unapplied: Memtable,
    unapplied_bytes: usize,
    /// What the log held when the index had all of it. Bytes.
    applied_log_bytes: u64,
    /// A rotation waits for room: said once.
    rotation_waits: bool,
    /// How many transactions the last group had.
    last_group: usize,
}

/// `first`, and if nobody waits for it what comes after it, until somebody does or they have lain still for long
/// enough. The end of the queue is the end of the run: nothing lies still then.
fn gather(first: Job, queue: &Queue<'_, Job>) -> VecDeque<Job> {
    let mut is_deferred = first.durability == Durability::Eventual;
    let mut group = VecDeque::from([first]);
    let due = Instant::now() + LATER;
    while is_deferred
        && group.len() < LATER_MAX
        && let Some(job) = queue.wait_until(due)
    {
        is_deferred = job.durability == Durability::Eventual;
        group.push_back(job);
    }
    group
}

/// What a transaction of a group came to, before the group is on the device.
enum Outcome {
    /// It is staged.
    Staged,
    /// It wants nothing written, and has seen nothing that is not durable.
    Nothing,
    /// It wants nothing written, and stands on what the group has staged.
    Depends,
    Refused(StoreError),
}

impl Database {
    fn open(
        path: &Path,
        cache_bytes: u64,
        disk: Arc<dyn Disk>,
        limits: Limits,
        lock: Arc<Lock>,
        broken: &Arc<Broken>,
    ) -> Result<Self, StoreError> {
        // Refused in some sandboxes; then sled's threads just wake more often.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(POOL_TIMER_SLACK_NS));
        let log_fault = |error| of_log(path, error);
        let unapplied = Memtable::default();
        let index_on = |log: &Log, rows: &[Row<'_>]| {
            let room = Room {
                to_go_on: log.has_room_for_index(0),
                for_a_new_one: log.has_room_for_new_index(),
            };
            let index = Index::open(path, cache_bytes, rows, log.sequence(), room)
                .map_err(|error| of_index(path, error, Some(log.sequence())))?;
            if index.is_none() {
                unapplied.fill(rows);
            }
            Ok::<_, StoreError>(index)
        };
        let (mut log, index): (Log, Option<Index>) =
            match Log::open_with(Arc::clone(&disk), limits, index_on).map_err(log_fault)? {
                Some((log, index)) => (log, index?),
                None => {
                    let state = match path.join("db").exists() {
                        true => Index::without_log(path, cache_bytes).map_err(|error| of_index(path, error, None))?,
                        false => State::new(),
                    };
                    let log = Log::create(disk, limits, &state).map_err(log_fault)?;
                    let index = index_on(&log, &rows(&state))?;
                    (log, index)
                }
            };
        let applied_log_bytes = log.bytes();
        log.set_index_beside(index.is_some());
        let base = Base::new(index.as_ref().map(|index| index.tree.clone()), Arc::clone(broken));
        let flushing = Memtable::default();
        let view = View::new(base.clone()).over(&flushing).over(&unapplied);
        let memtable = Memtable::default();
        Ok(Self {
            over: view.over(&memtable),
            lock,
            log,
            index,
            base,
            path: path.to_owned(),
            cache_bytes,
            index_rests: None,
            index_rest: INDEX_RESTS,
            view,
            memtable,
            flush: Flush::none(flushing),
            unapplied_bytes: unapplied.forget_deletes(),
            unapplied,
            applied_log_bytes,
            rotation_waits: false,
            last_group: 0,
        })
    }

    fn serve(&mut self, queue: &async_channel::Receiver<Job>, broken: &Broken, committed: &dyn Fn()) {
        let queue = Queue::new(queue);
        while let Some(first) = self.wait(&queue, broken) {
            let group = gather(first, &queue);
            if let Some(reason) = broken.reason() {
                for job in group {
                    (job.done)(Err(StoreError::Poisoned(reason.clone())));
                }
                continue;
            }
            self.run(group, &queue, broken);
            committed();
            if broken.reason().is_none() && self.log.wants_rotation() && self.rotate(broken) {
                self.after_rotation(broken);
            }
        }
        // The end of the run. Should it fail, the next start makes up for it.
        if broken.reason().is_some() || !self.has_room_for_index() {
            return self.index.iter().for_each(Index::leave_alone);
        }
        if let Err(cause) = self.give_to_index() {
            log::info!("the index was not brought up to the log: {cause}");
        }
    }

    /// The next transaction; when it takes its time, the last ones are sealed meanwhile. `None` at the end.
    fn wait(&mut self, queue: &Queue<'_, Job>, broken: &Broken) -> Option<Job> {
        if self.log.wants_seal() && broken.reason().is_none() {
            if let Some(job) = queue.wait_until(Instant::now() + SEAL_AFTER) {
                return Some(job);
            }
            self.log.seal();
            // The end of a run has no time for it.
            if !queue.is_closed() {
                if self.log.wants_rotation_at_rest() && self.rotate(broken) {
                    self.after_rotation(broken);
                }
                self.end_flush(broken);
                self.look_after_index(broken);
            }
        }
        queue.wait()
    }

    /// Runs a group, commits it, shows it to the readers, and answers.
    fn run(&mut self, mut group: VecDeque<Job>, queue: &Queue<'_, Job>, broken: &Broken) {
        let mut failed = None;
        let mut answers = Vec::new();
        let mut next = group.pop_front();
        while let Some(job) = next.take() {
            let Job {
                decide,
                blind,
                claim,
                durability: _,
                done,
            } = job;
            let outcome = match &failed {
                Some(reason) => Outcome::Refused(StoreError::Poisoned(String::clone(reason))),
                None => {
                    catch_unwind(AssertUnwindSafe(|| self.stage(decide, blind, claim, broken))).unwrap_or_else(|_| {
                        let reason = "a panic inside a write".to_owned();
                        failed = Some(reason.clone());
                        Outcome::Refused(StoreError::Poisoned(reason))
                    })
                }
            };
            answers.push((done, outcome));
            // What has been gathered is bounded by itself.
            next = group.pop_front();
            if next.is_none() && answers.len() < GROUP_MAX && self.log.staged_bytes() < GROUP_BYTES_MAX {
                // As many as the last time have just been answered, and may come again: a sync for all of them is worth
                // the wait.
                next = match answers.len() < self.last_group {
                    true => queue.linger(),
                    false => queue.next(),
                };
            }
        }
        self.last_group = answers.len();
        // Whatever broke while staging breaks the commit too.
        let committed = match broken.reason() {
            None => self.commit(),
            Some(reason) => {
                self.memtable.take();
                Err(StoreError::Poisoned(reason))
            }
        };
        let mut grown = 0;
        match &committed {
            Err(StoreError::Poisoned(reason)) => failed = Some(reason.clone()),
            _ => grown = self.show(),
        }
        if let Some(reason) = &failed {
            broken.set(reason);
        }
        for (done, outcome) in answers {
            done(match outcome {
                Outcome::Refused(error) => Err(error),
                Outcome::Nothing => Ok(()),
                Outcome::Staged | Outcome::Depends => committed.clone(),
            });
        }
        // What was answered is durable all the same; only the readers here cannot see it any more.
        if broken.reason().is_none()
            && let Err(reason) = self.hand_over_some(grown)
        {
            broken.set(&reason);
        }
    }

    fn stage(&mut self, decide: Decide, blind: bool, claim: Claim, broken: &Broken) -> Outcome {
        let batch = match decide(&self.over) {
            Ok(batch) => batch,
            Err(error) => return Outcome::Refused(error),
        };
        if batch.is_empty() {
            let alone = blind || self.memtable.is_empty();
            return if alone { Outcome::Nothing } else { Outcome::Depends };
        }
        let mut staged = self.log.stage(&batch.operations, claim);
        if let Err(StageError::Refused(CommitError::Full(_))) = &staged
            && claim == Claim::Reserve
            && self.do_without_index(broken)
        {
            staged = self.log.stage(&batch.operations, claim);
        }
        if let Err(error) = staged {
            return Outcome::Refused(match error {
                StageError::Refused(refused) => refused.into(),
                StageError::TooLarge => StoreError::TooLarge {
                    tree: "a transaction",
                    size: batch
                        .operations
                        .iter()
                        .map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len))
                        .sum(),
                    max: BODY_BYTES_MAX,
                },
            });
        }
        let mut deletes = batch.operations.iter().filter(|(_, value)| value.is_none()).peekable();
        // What they take is looked up only where it counts: the index may have to read it from the disk.
        if deletes.peek().is_some() && !self.log.has_room_for_new() {
            let deleted = deletes.map(|(key, _)| self.over.row_bytes(key)).sum();
            self.log.note_deleted(deleted);
        }
        self.memtable.add(batch.operations);
        Outcome::Staged
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        // Looked at each time: what goes into files without a name is lost with the process.
        let misplaced = self.lock.misplaced().map(str::to_owned);
        if let Some(cause) = misplaced.or_else(|| self.log.misplaced()) {
            self.memtable.take();
            return Err(StoreError::Poisoned(cause));
        }
        self.log.commit().map_err(|error| {
            // Nobody has seen it but those whose answer is an error now.
            self.memtable.take();
            error.into()
        })
    }

    /// Returns whether it was rotated.
    fn rotate(&mut self, broken: &Broken) -> bool {
        let rotated = self.log.rotate();
        let done = rotated.is_ok();
        match rotated {
            Ok(()) => {
                log::debug!("the log goes on as generation {}", self.log.generation());
                self.rotation_waits = false;
            }
            Err(CommitError::Full(cause) | CommitError::ReadOnly(cause)) if self.rotation_waits => {
                log::debug!("no room yet to rotate the log: {cause}")
            }
            Err(CommitError::Full(cause) | CommitError::ReadOnly(cause)) => {
                log::warn!("there is no room to rotate the log, which grows for now: {cause}");
                self.rotation_waits = true;
            }
            Err(CommitError::Broken(cause)) => broken.set(&cause),
        }
        done
    }
}
