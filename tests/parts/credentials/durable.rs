//! What must be on the device before the library goes on, and what need not: on a disk that holds its syncs back.

use std::io;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use tautline::store::log::{Disk, DiskFile, Limits, RealDisk};
use tautline::store::{Batch, Store, Tree};
use wacore::store::traits::*;

use super::{Place, device, of};

/// How the syncs of the log's frames go.
#[derive(Default)]
struct Syncs {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    held: bool,
    /// One that is held back right now.
    waiting: bool,
    count: u32,
}

impl Syncs {
    fn hold(&self, held: bool) {
        self.state.lock().unwrap().held = held;
        self.changed.notify_all();
    }

    fn wait_for_one(&self) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| !state.waiting).unwrap());
    }

    fn count(&self) -> u32 {
        self.state.lock().unwrap().count
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.count += 1;
        state.waiting = true;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |state| state.held).unwrap();
        state.waiting = false;
    }
}

struct HeldDisk(RealDisk, Arc<Syncs>);

impl HeldDisk {
    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(HeldFile(file, Arc::clone(&self.1)))
    }
}

impl Disk for HeldDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.0.read(name)
    }
    fn bytes(&self, name: &str) -> io::Result<u64> {
        self.0.bytes(name)
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.0.open(name)?))
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.0.create(name)?))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync_directory(&self) -> io::Result<()> {
        self.0.sync_directory()
    }
    fn free_bytes(&self) -> io::Result<Option<u64>> {
        self.0.free_bytes()
    }
}

struct HeldFile(Box<dyn DiskFile>, Arc<Syncs>);

impl DiskFile for HeldFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&mut self) -> io::Result<()> {
        self.1.pass();
        self.0.sync_data()
    }
    fn sync_all(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }
}

fn open(place: &Place) -> (Store, Arc<Syncs>) {
    let directory: PathBuf = place.dir.path().to_owned();
    let syncs = Arc::new(Syncs::default());
    let disk = Arc::new(HeldDisk(RealDisk::new(directory.clone()), Arc::clone(&syncs)));
    (
        Store::open_on(&directory, 1 << 20, disk, Limits::default()).unwrap(),
        syncs,
    )
}

/// Checks that `call` does not return while its sync is held back, and does after it.
fn returns_after_its_sync<T>(what: &str, syncs: &Syncs, call: impl Future<Output = T>) -> T {
    syncs.hold(true);
    let mut call = pin!(call);
    let polled = |call: &mut Pin<&mut _>| smol::block_on(smol::future::poll_once(call));
    assert!(polled(&mut call).is_none(), "{what}");
    syncs.wait_for_one();
    assert!(polled(&mut call).is_none(), "{what} returned before its sync");
    syncs.hold(false);
    smol::block_on(call)
}

#[test]
fn what_must_not_be_lost_is_synced_before_its_call_returns() {
    let place = Place::new();
    let (store, syncs) = open(&place);
    let credentials = of(&store, "default");
    let rows = [(Arc::from("a"), Bytes::from_static(b"row"))];
    let pending = [PendingInboundRow {
        chat: "c",
        sender: "s",
        id: "1",
        message: b"m",
    }];
    let keys = [(1, Bytes::from_static(b"key"))];
    returns_after_its_sync("a device", &syncs, credentials.import(&device())).unwrap();
    returns_after_its_sync("sessions", &syncs, credentials.put_sessions_batch(&rows)).unwrap();
    returns_after_its_sync("sender keys", &syncs, credentials.put_sender_keys_batch(&rows)).unwrap();
    let inbound = credentials.store_pending_inbound_batch(&pending);
    returns_after_its_sync("pending inbound", &syncs, inbound).unwrap();
    let stored = credentials.store_prekeys_batch(&keys, false);
    returns_after_its_sync("prekeys", &syncs, stored).unwrap();
    returns_after_its_sync("a used prekey", &syncs, credentials.remove_prekey(1)).unwrap();
}

#[test]
fn sent_messages_wait_for_no_sync_and_share_a_few() {
    let place = Place::new();
    {
        let (store, syncs) = open(&place);
        let credentials = of(&store, "default");
        let first = {
            let mut batch = Batch::new();
            batch.put(Tree::Meta, b"first", vec![1]).unwrap();
            store.commit(batch)
        };
        returns_after_its_sync("a commit", &syncs, async {
            let (first, ()) = smol::future::zip(first, async {
                for number in 0..100 {
                    let id = format!("m{number}");
                    // Not until a sync, for none gets through.
                    credentials.store_sent_message("c", &id, b"text").await.unwrap();
                }
            })
            .await;
            first.unwrap();
        });
        let taken = smol::block_on(credentials.take_sent_message("c", "m99")).unwrap();
        assert_eq!(taken.unwrap(), b"text", "a later transaction sees it");
        // The first commit's, those that were gathered in at most 64 at a time, and that of the take.
        assert!(syncs.count() <= 5, "{} syncs", syncs.count());
        let before = syncs.count();
        smol::block_on(credentials.store_sent_message("c", "last", b"text")).unwrap();
        drop((store, credentials));
        assert_eq!(syncs.count(), before + 1, "closing the store writes what lies still");
    }
    let store = place.open();
    assert_eq!(store.view().scan(Tree::SentMessage, b"").count(), 101);
}

#[test]
fn a_sent_message_is_written_by_itself_after_a_moment() {
    let place = Place::new();
    let (store, syncs) = open(&place);
    smol::block_on(of(&store, "default").store_sent_message("c", "m", b"x")).unwrap();
    syncs.hold(true);
    syncs.wait_for_one();
    syncs.hold(false);
}
