//! The one thread that writes. It runs transactions in the order in which they came and syncs once for all that waited.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use event_listener::Event;

use super::{Batch, StoreError, View};

/// Transactions that share one sync; also how many may wait. A caller past that waits for its turn.
const GROUP_MAX: usize = 256;

/// sled's pool threads wake once a second each. They inherit the timer slack of the thread that opens the database, and
/// with this much of it the kernel folds their wake-ups into a few a minute. Nothing punctual runs on them.
const POOL_TIMER_SLACK_NS: u64 = 60_000_000_000;

/// Set once, when a write or a sync has failed.
#[derive(Default)]
struct Broken {
    reason: Mutex<Option<String>>,
    happened: Event,
}

impl Broken {
    fn reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, reason: &str) {
        log::error!("the state can no longer be written: {reason}");
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        self.happened.notify(usize::MAX);
    }
}

type Decide = Box<dyn FnOnce(&View) -> Result<Batch, StoreError> + Send>;

/// One transaction: it may look and return a batch; `done` reports what became of it.
struct Job {
    decide: Decide,
    done: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
}

pub(super) struct Writer {
    jobs: Option<async_channel::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    broken: Arc<Broken>,
}

impl Writer {
    /// Opens the database on the writer's own thread and starts it.
    pub(super) fn start(path: &Path, cache_bytes: u64) -> Result<(Self, sled::Tree), String> {
        let (jobs, queue) = async_channel::bounded(GROUP_MAX);
        let (opened_tx, opened_rx) = std::sync::mpsc::sync_channel(1);
        let broken = Arc::new(Broken::default());
        let thread = {
            let (path, broken) = (path.to_owned(), Arc::clone(&broken));
            std::thread::Builder::new()
                .name("store".into())
                .spawn(move || {
                    let opened = catch_unwind(AssertUnwindSafe(|| Database::open(&path, cache_bytes)));
                    match opened.unwrap_or_else(|_| Err("the database panicked while opening".into())) {
                        Ok(database) => {
                            let _ = opened_tx.send(Ok(database.view.tree.clone()));
                            // A panic outside a transaction, as in a sync, must not leave a store that merely never answers.
                            if catch_unwind(AssertUnwindSafe(|| database.serve(&queue, &broken))).is_err() {
                                broken.set("the store's thread panicked");
                            }
                        }
                        Err(cause) => {
                            let _ = opened_tx.send(Err(cause));
                        }
                    }
                })
                .map_err(|error| error.to_string())?
        };
        let tree = opened_rx.recv().map_err(|_| "the store's thread ended".to_owned())??;
        Ok((
            Self {
                jobs: Some(jobs),
                thread: Some(thread),
                broken,
            },
            tree,
        ))
    }

    pub(super) async fn update<T, F>(&self, decide: F) -> Result<T, StoreError>
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
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
                Ok(batch)
            }),
            done: Box::new(move |result| {
                let _ = answer_tx.try_send(result);
            }),
        };
        let gone = || StoreError::Poisoned(self.poisoned().unwrap_or_else(|| "the store is closed".into()));
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job).await.map_err(|_| gone())?;
        answer_rx.recv().await.map_err(|_| gone())??;
        let value = beside.lock().unwrap_or_else(PoisonError::into_inner).take();
        value.ok_or_else(gone)
    }

    pub(super) fn poisoned(&self) -> Option<String> {
        self.broken.reason()
    }

    pub(super) async fn failure(&self) -> String {
        loop {
            let happened = self.broken.happened.listen();
            if let Some(reason) = self.broken.reason() {
                return reason;
            }
            happened.await;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Closing the queue lets the thread finish what it holds and end; the lock is released after that.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Database {
    db: sled::Db,
    view: View,
    path: PathBuf,
    /// The file that sled appends to, opened a second time for a sync that reaches the device.
    file: File,
}

impl Database {
    fn open(path: &Path, cache_bytes: u64) -> Result<Self, String> {
        // Refused in some sandboxes; then sled's threads just wake more often.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(POOL_TIMER_SLACK_NS));
        let created = !path.exists();
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(cache_bytes)
            .flush_every_ms(None);
        let db = config.open().map_err(|error| match error {
            sled::Error::Corruption { .. } => format!(
                "the database in {} is damaged; docs/operations.md says what can be done (\"When the state is damaged\")",
                path.display()
            ),
            other => other.to_string(),
        })?;
        let tree = db.open_tree("tautline").map_err(|error| error.to_string())?;
        let file = File::open(path.join("db")).map_err(|error| error.to_string())?;
        let database = Self {
            db,
            view: View { tree },
            path: path.to_owned(),
            file,
        };
        if created {
            database.sync_creation().map_err(|error| error.to_string())?;
        }
        Ok(database)
    }

    /// sled syncs neither its `conf` nor the directories when it creates them.
    fn sync_creation(&self) -> std::io::Result<()> {
        self.db.flush().map_err(std::io::Error::other)?;
        self.file.sync_all()?;
        let conf = self.path.join("conf");
        if conf.exists() {
            File::open(conf)?.sync_all()?;
        }
        File::open(&self.path)?.sync_all()?;
        match self.path.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }

    fn serve(self, queue: &async_channel::Receiver<Job>, broken: &Broken) {
        while let Ok(first) = queue.recv_blocking() {
            let mut group = vec![first];
            while group.len() < GROUP_MAX
                && let Ok(job) = queue.try_recv()
            {
                group.push(job);
            }
            if let Some(reason) = broken.reason() {
                group
                    .into_iter()
                    .for_each(|job| (job.done)(Err(StoreError::Poisoned(reason.clone()))));
                continue;
            }
            self.run(group, broken);
        }
    }

    /// Applies each job's batch, syncs once, then answers them all.
    fn run(&self, group: Vec<Job>, broken: &Broken) {
        let mut failed: Option<String> = None;
        let mut wrote = false;
        let mut answers = Vec::with_capacity(group.len());
        for Job { decide, done } in group {
            let result = match &failed {
                Some(reason) => Err(StoreError::Poisoned(reason.clone())),
                None => catch_unwind(AssertUnwindSafe(|| self.apply(decide))).unwrap_or_else(|_| {
                    failed = Some("a panic inside a write".into());
                    Err(StoreError::Poisoned("a panic inside a write".into()))
                }),
            };
            if let Err(StoreError::Poisoned(reason)) = &result {
                failed.get_or_insert_with(|| reason.clone());
            }
            wrote |= matches!(result, Ok(true));
            answers.push((done, result.map(drop)));
        }
        if wrote && let Err(error) = self.sync() {
            failed.get_or_insert(format!("sync: {error}"));
        }
        if let Some(reason) = &failed {
            broken.set(reason);
        }
        for (done, result) in answers {
            done(match (&failed, result) {
                // Applied, but the sync that would have made it last failed.
                (Some(reason), Ok(())) => Err(StoreError::Poisoned(reason.clone())),
                (_, result) => result,
            });
        }
    }

    /// True when there was something to write.
    fn apply(&self, decide: Decide) -> Result<bool, StoreError> {
        let batch = decide(&self.view)?;
        if batch.is_empty() {
            return Ok(false);
        }
        let mut operations = sled::Batch::default();
        for (key, value) in batch.operations {
            match value {
                Some(value) => operations.insert(key, value),
                None => operations.remove(key),
            }
        }
        self.view
            .tree
            .apply_batch(operations)
            .map_err(|error| StoreError::Poisoned(error.to_string()))?;
        Ok(true)
    }

    fn sync(&self) -> std::io::Result<()> {
        self.db.flush().map_err(std::io::Error::other)?;
        self.file.sync_data()?;
        self.sync_blobs()
    }

    /// A page of several large values may grow past what sled keeps in its one file. It then lies in a file of its own,
    /// which sled does not sync. There are none as long as values are small, which they are.
    fn sync_blobs(&self) -> std::io::Result<()> {
        let blobs = self.path.join("blobs");
        let mut any = false;
        for entry in std::fs::read_dir(&blobs)? {
            // One that sled removes meanwhile needs no sync.
            if let Ok(file) = File::open(entry?.path()) {
                file.sync_all()?;
                any = true;
            }
        }
        if any { File::open(&blobs)?.sync_all() } else { Ok(()) }
    }
}
