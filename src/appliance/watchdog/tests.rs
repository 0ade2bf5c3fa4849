use std::io;
use std::sync::Condvar;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::appliance::dispatcher::{Dispatcher, Parts};
use crate::appliance::proofs::Proofs;
use crate::board::Board;
use crate::fallback::FallbackClient;
use crate::store::Tree;
use crate::store::log::{Disk, DiskFile, Limits, RealDisk};

/// For what should happen in a moment, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// A disk whose syncs hang for as long as the gate is shut.
struct Hanging {
    real: RealDisk,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    shut: Mutex<bool>,
    moved: Condvar,
}

impl Gate {
    fn set(&self, shut: bool) {
        *self.shut.lock().unwrap() = shut;
        self.moved.notify_all();
    }

    fn pass(&self) {
        drop(self.moved.wait_while(self.shut.lock().unwrap(), |shut| *shut).unwrap());
    }
}

impl Hanging {
    fn file(&self, inner: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let gate = Arc::clone(&self.gate);
        Box::new(HangingFile { inner, gate })
    }
}

impl Disk for Hanging {
    fn list(&self) -> io::Result<Vec<String>> {
        self.real.list()
    }
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.real.read(name)
    }
    fn bytes(&self, name: &str) -> io::Result<u64> {
        self.real.bytes(name)
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.real.open(name)?))
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.real.create(name)?))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.real.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.real.remove(name)
    }
    fn sync_directory(&self) -> io::Result<()> {
        self.real.sync_directory()
    }
    fn free_bytes(&self) -> io::Result<Option<u64>> {
        self.real.free_bytes()
    }
}

struct HangingFile {
    inner: Box<dyn DiskFile>,
    gate: Arc<Gate>,
}

impl DiskFile for HangingFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, bytes)
    }
    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
    fn sync_data(&mut self) -> io::Result<()> {
        self.gate.pass();
        self.inner.sync_data()
    }
    fn sync_all(&mut self) -> io::Result<()> {
        self.gate.pass();
        self.inner.sync_all()
    }
}

fn dispatcher(executor: &Arc<Executor<'static>>, store: &Store) -> (Dispatcher, DispatcherHandle) {
    let (_, notices) = async_channel::bounded(1);
    let parts = Parts {
        feed: Arc::default(),
        store: store.clone(),
        blobs: crate::blobs::Blobs::open(std::path::Path::new("/nonexistent"), crate::blobs::Limits::default()),
        executor: Arc::clone(executor),
        limits: crate::outbox::Limits::default(),
        collect: Duration::from_millis(1),
        sessions: Vec::new(),
        routes: Vec::new(),
        time_zone: jiff::tz::TimeZone::UTC,
        notices,
        fallback_client: Arc::new(FallbackClient::new(Vec::new(), Board::generic().schedule())),
        tallies: Arc::default(),
        proofs: Arc::new(Proofs::open(store.clone(), Arc::clone(executor), &[])),
    };
    let (dispatcher, handle, _) = Dispatcher::open(parts).unwrap();
    (dispatcher, handle)
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let from = Instant::now();
    while !condition() {
        assert!(from.elapsed() < SOON, "{what} never came");
        Timer::after(Duration::from_millis(2)).await;
    }
}

/// A write that hangs in the store's thread withholds the feed, is told, and no longer when it has gone through.
#[test]
fn a_store_that_hangs_is_not_fed_for_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Arc::new(Gate::default());
    let disk = Hanging {
        real: RealDisk::new(dir.path().to_owned()),
        gate: Arc::clone(&gate),
    };
    let store = Store::open_on(dir.path(), 1 << 20, Arc::new(disk), Limits::default()).unwrap();
    let executor: Arc<Executor<'static>> = Arc::new(Executor::new());
    let (running, dispatcher) = dispatcher(&executor, &store);
    let (withheld, fed) = (Withheld::default(), Arc::new(AtomicU32::new(0)));
    let watch = Watch {
        limit: Duration::from_millis(300),
        executor: Arc::clone(&executor),
        store: store.clone(),
        dispatcher,
        sessions: Vec::new(),
        withheld: withheld.clone(),
    };
    let counted = Arc::clone(&fed);
    smol::block_on(executor.run(async {
        let running = executor.spawn(running.run());
        let _watching = executor.spawn(watch.keep(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        }));
        until("three feeds", || fed.load(Ordering::SeqCst) >= 3).await;
        assert!(withheld.all().is_empty());

        gate.set(true);
        let mut batch = Batch::new();
        batch.put(Tree::Meta, b"x", vec![1]).unwrap();
        let writing = executor.spawn(async move { store.commit(batch).await });
        until("the loss", || !withheld.all().is_empty()).await;
        let (who, waited) = withheld.all().remove(0);
        assert_eq!(who, "the store");
        assert!(waited >= Duration::from_millis(100), "{waited:?}");
        let hanging = fed.load(Ordering::SeqCst);
        Timer::after(Duration::from_millis(600)).await;
        assert_eq!(fed.load(Ordering::SeqCst), hanging, "fed while the store hangs");

        gate.set(false);
        until("the next feed", || fed.load(Ordering::SeqCst) > hanging).await;
        assert!(withheld.all().is_empty());
        writing.await.unwrap();

        // An end is no standstill: it is another's matter that the run ends for it.
        running.cancel().await;
        let ended = fed.load(Ordering::SeqCst);
        until("the next feed", || fed.load(Ordering::SeqCst) > ended + 1).await;
    }));
}

/// One that is there and takes no turn, as if it waited for itself.
#[test]
fn a_dispatcher_that_stands_still_is_not_fed_for_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), 1 << 20).unwrap();
    let executor: Arc<Executor<'static>> = Arc::new(Executor::new());
    let (_stands_still, dispatcher) = dispatcher(&executor, &store);
    let (withheld, fed) = (Withheld::default(), Arc::new(AtomicU32::new(0)));
    let watch = Watch {
        limit: Duration::from_millis(300),
        executor: Arc::clone(&executor),
        store,
        dispatcher,
        sessions: Vec::new(),
        withheld: withheld.clone(),
    };
    let counted = Arc::clone(&fed);
    smol::block_on(executor.run(async {
        let _watching = executor.spawn(watch.keep(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        }));
        until("the loss", || !withheld.all().is_empty()).await;
    }));
    assert_eq!(withheld.all().remove(0).0, "the dispatcher");
    assert_eq!(fed.load(Ordering::SeqCst), 0);
}

#[test]
fn a_disk_that_hangs_does_not_hold_the_end_of_a_run_and_stays_locked() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Arc::new(Gate::default());
    let disk = Hanging {
        real: RealDisk::new(dir.path().to_owned()),
        gate: Arc::clone(&gate),
    };
    let store = Store::open_on(dir.path(), 1 << 20, Arc::new(disk), Limits::default()).unwrap();
    gate.set(true);
    let mut batch = Batch::new();
    batch.put(Tree::Meta, b"x", vec![1]).unwrap();
    let sent = smol::block_on(future::or(async { Some(store.commit(batch).await) }, async {
        Timer::after(Duration::from_millis(100)).await;
        None
    }));
    assert!(sent.is_none(), "it was to hang");
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        store.close(Duration::from_millis(100));
        drop(store);
        let _ = ended.send(());
    });
    end.recv_timeout(SOON).expect("the end of the run");
    let open = || Store::open(dir.path(), 1 << 20);
    assert!(matches!(open(), Err(crate::store::StoreError::Locked(_))));
    gate.set(false);
    smol::block_on(until("the lock to be free", || match open() {
        Ok(store) => store.view().get(Tree::Meta, b"x").unwrap().is_some(),
        Err(_) => false,
    }));
}
