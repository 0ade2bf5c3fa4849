//! A disk that keeps live and durable bytes apart, fails when told to, and loses power.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use tautline::store::log::{Disk, DiskFile};

/// What a device writes whole or not at all.
pub const SECTOR: usize = 512;

/// What one operation is to do instead of working.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The power goes: this operation is begun, and none after it happens.
    Cut,
    /// It fails for want of room, half done.
    Full,
    /// It fails, half done.
    Io,
    /// It fails, and nothing of it is done.
    ReadOnly,
}

/// One file's life since its last sync.
#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Debug, Clone, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Naming {
    Add(String, usize),
    Remove(String),
    Rename(String, String),
}

/// Called before an operation, with the disk as it then is.
type Watch = Arc<dyn Fn(SimDisk) + Send + Sync>;

#[derive(Clone, Default)]
struct Inner {
    contents: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    unsynced_names: Vec<Naming>,
    /// Writes, syncs and changes of names so far.
    operations: u64,
    fault: Option<(u64, Fault)>,
    dead: bool,
    free: Option<u64>,
    read_only: bool,
    watch: Option<Watch>,
}

/// Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<Inner>>);

impl SimDisk {
    pub fn of(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let disk = Self::default();
        {
            let mut inner = disk.inner();
            for (name, bytes) in files {
                let at = inner.contents.len();
                inner.contents.push(Content {
                    live: bytes.clone(),
                    durable: bytes.clone(),
                    unsynced: Vec::new(),
                });
                inner.names.insert(name.clone(), at);
            }
            inner.durable_names = inner.names.clone();
        }
        disk
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    pub fn operations(&self) -> u64 {
        self.inner().operations
    }

    /// Operation number `at`, counted from the first ever, meets `fault`.
    pub fn fail_at(&self, at: u64, fault: Fault) {
        self.inner().fault = Some((at, fault));
    }

    /// Has `watch` called before every operation, with a copy of the disk as it then is.
    pub fn watch(&self, watch: impl Fn(Self) + Send + Sync + 'static) {
        self.inner().watch = Some(Arc::new(watch));
    }

    fn show(&self) {
        let watch = self.inner().watch.clone();
        if let Some(watch) = watch {
            let mut copy = self.inner().clone();
            copy.watch = None;
            watch(Self(Arc::new(Mutex::new(copy))));
        }
    }

    /// From now on nothing can be written, and asking for room says so.
    pub fn set_read_only(&self, read_only: bool) {
        self.inner().read_only = read_only;
    }

    pub fn set_free(&self, bytes: Option<u64>) {
        self.inner().free = bytes;
    }

    /// What a process finds that starts after this one was killed: all that was written.
    pub fn after_kill(&self) -> BTreeMap<String, Vec<u8>> {
        let inner = self.inner();
        let files = inner.names.iter();
        files
            .map(|(name, at)| (name.clone(), inner.contents[*at].live.clone()))
            .collect()
    }

    /// The process was killed and starts again: the disk has forgotten nothing, and has synced nothing either.
    pub fn restart(&self) {
        let mut inner = self.inner();
        inner.dead = false;
        inner.fault = None;
    }

    /// What a power cut leaves: what was synced, any sectors of what was not, and a first part of the changed names.
    pub fn after_power_cut(&self, random: &mut fastrand::Rng) -> BTreeMap<String, Vec<u8>> {
        let inner = self.inner();
        let mut names = inner.durable_names.clone();
        let kept = random.usize(..=inner.unsynced_names.len());
        for naming in &inner.unsynced_names[..kept] {
            rename(&mut names, naming);
        }
        // Everything, nothing, or a part: the extremes would be rare by chance alone.
        let share = *random.choice(&[0.0, 0.5, 0.9, 1.0]).unwrap();
        names
            .into_iter()
            .map(|(name, at)| (name, torn(&inner.contents[at], share, random)))
            .collect()
    }

    /// Runs one operation, or its fault: then `half` of it.
    fn operate(&self, whole: impl FnOnce(&mut Inner), half: impl FnOnce(&mut Inner)) -> io::Result<()> {
        self.show();
        let mut inner = self.inner();
        if inner.dead {
            return Err(io::Error::other("no power"));
        }
        if inner.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let at = inner.operations;
        inner.operations += 1;
        match inner.fault {
            Some((fault_at, fault)) if fault_at == at => {
                if fault != Fault::ReadOnly {
                    half(&mut inner);
                }
                inner.dead = fault == Fault::Cut;
                Err(match fault {
                    Fault::Full => io::ErrorKind::StorageFull.into(),
                    Fault::ReadOnly => io::ErrorKind::ReadOnlyFilesystem.into(),
                    Fault::Io | Fault::Cut => io::Error::other("input/output error"),
                })
            }
            _ => {
                whole(&mut inner);
                Ok(())
            }
        }
    }
}

fn torn(content: &Content, share: f64, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = content.durable.clone();
    for change in &content.unsynced {
        match change {
            Change::Length(length) if random.f64() < share => bytes.resize(*length, 0),
            Change::Length(_) => {}
            Change::Write(offset, data) => {
                let mut at = 0;
                while at < data.len() {
                    let next = (at + SECTOR - (offset + at) % SECTOR).min(data.len());
                    if random.f64() < share {
                        write(&mut bytes, offset + at, &data[at..next]);
                    }
                    at = next;
                }
            }
        }
    }
    bytes
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

fn rename(names: &mut BTreeMap<String, usize>, naming: &Naming) {
    match naming {
        Naming::Add(name, at) => {
            names.insert(name.clone(), *at);
        }
        Naming::Remove(name) => {
            names.remove(name);
        }
        Naming::Rename(from, to) => {
            if let Some(at) = names.remove(from) {
                names.insert(to.clone(), at);
            }
        }
    }
}

impl Inner {
    fn name(&mut self, naming: Naming) {
        rename(&mut self.names, &naming);
        self.unsynced_names.push(naming);
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.inner().names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let inner = self.inner();
        let at = inner.names.get(name).ok_or_else(missing)?;
        Ok(inner.contents[*at].live.clone())
    }

    fn bytes(&self, name: &str) -> io::Result<u64> {
        let inner = self.inner();
        let at = inner.names.get(name).ok_or_else(missing)?;
        Ok(inner.contents[*at].live.len() as u64)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let at = *self.inner().names.get(name).ok_or_else(missing)?;
        Ok(Box::new(SimFile(self.clone(), at)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let at = self.inner().contents.len();
        let create = |inner: &mut Inner| {
            inner.contents.push(Content::default());
            inner.name(Naming::Add(name.into(), at));
        };
        self.operate(create, |_| {})?;
        Ok(Box::new(SimFile(self.clone(), at)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let naming = Naming::Rename(from.into(), to.into());
        self.operate(|inner| inner.name(naming), |_| {})
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.operate(|inner| inner.name(Naming::Remove(name.into())), |_| {})
    }

    fn sync_directory(&self) -> io::Result<()> {
        let sync = |inner: &mut Inner| {
            inner.durable_names = inner.names.clone();
            inner.unsynced_names.clear();
        };
        self.operate(sync, |_| {})
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        let inner = self.inner();
        match inner.read_only {
            true => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            false => Ok(inner.free),
        }
    }
}

struct SimFile(SimDisk, usize);

impl SimFile {
    fn write(&self, inner: &mut Inner, offset: u64, bytes: &[u8]) {
        let content = &mut inner.contents[self.1];
        write(&mut content.live, offset as usize, bytes);
        content.unsynced.push(Change::Write(offset as usize, bytes.to_vec()));
    }

    fn sync(&self) -> io::Result<()> {
        let sync = |inner: &mut Inner| {
            let content = &mut inner.contents[self.1];
            content.durable = content.live.clone();
            content.unsynced.clear();
        };
        self.0.operate(sync, |_| {})
    }
}

impl DiskFile for SimFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.operate(
            |inner| self.write(inner, offset, bytes),
            |inner| self.write(inner, offset, &bytes[..bytes.len() / 2]),
        )
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let set = |inner: &mut Inner| {
            let content = &mut inner.contents[self.1];
            content.live.resize(len as usize, 0);
            content.unsynced.push(Change::Length(len as usize));
        };
        self.0.operate(set, |_| {})
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.sync()
    }
}
