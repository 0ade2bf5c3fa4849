//! Power cuts with sled in the loop: the log on the disk that keeps live and durable bytes apart, and sled's own files
//! as a real directory held them. Nothing of sled is ever synced, so whatever it has written so far may be there, or an
//! older generation of it, page by page, torn at sectors, in files that are shorter, empty, or not there at all.
//!
//! A longer run: `TAUTLINE_SEEDS=40 cargo test --features lab --test parts store::images -- --nocapture`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tautline::store::log::Limits;
use tautline::store::{Batch, Store, StoreError, Tree};

use super::disk::{Fault, SECTOR, SimDisk};

/// Rotates every dozen transactions.
const LIMITS: Limits = Limits {
    rotate_bytes_min: 128 * 1024,
    extent_bytes: 16 * 1024,
    headroom_bytes: 0,
    reserve_bytes: 8 * 1024,
};

const PAGE: usize = 4096;
const COUNTER: &[u8] = b"counter";

/// Enough for the index to be given a batch in the middle of a run: it gets one every 256 KiB.
const TRANSACTIONS_A_RUN: u64 = 14;
const RUNS: u64 = 3;

/// Images of each moment.
fn seeds() -> u64 {
    let given = std::env::var("TAUTLINE_SEEDS").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(1)
}

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn changes(number: u64) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut random = fastrand::Rng::with_seed(number);
    let mut changes = vec![(COUNTER.to_vec(), Some(number.to_be_bytes().to_vec()))];
    for _ in 0..random.usize(2..5) {
        let key = vec![b'k', random.u8(..12)];
        let value = (random.u8(..5) > 0).then(|| vec![random.u8(..); random.usize(..16 * 1024)]);
        changes.push((key, value));
    }
    changes
}

fn rows_after(number: u64) -> Rows {
    let mut rows = Rows::new();
    for (key, value) in (1..=number).flat_map(changes) {
        match value {
            Some(value) => rows.insert(key, value),
            None => rows.remove(&key),
        };
    }
    rows
}

fn write(store: &Store, number: u64) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    for (key, value) in changes(number) {
        match value {
            Some(value) => batch.put(Tree::Meta, &key, value)?,
            None => batch.delete(Tree::Meta, &key),
        }
    }
    smol::block_on(store.commit(batch))
}

/// All that sled's directory has held so far: of every file, every version of every page.
#[derive(Clone, Default)]
pub struct History {
    files: BTreeMap<String, FileHistory>,
    /// The index was being opened.
    marker: bool,
}

#[derive(Clone, Default)]
struct FileHistory {
    there: bool,
    lengths: Vec<usize>,
    /// By page, the oldest first. Before the first there were zeros.
    pages: BTreeMap<usize, Vec<Arc<[u8]>>>,
}

impl History {
    pub fn look(&mut self, state: &Path) {
        self.marker = state.join("db.opening").exists();
        self.files.values_mut().for_each(|file| file.there = false);
        for entry in std::fs::read_dir(state.join("db")).into_iter().flatten().flatten() {
            // sled may have renamed it meanwhile.
            let (true, Ok(bytes)) = (entry.path().is_file(), std::fs::read(entry.path())) else {
                continue;
            };
            let name = entry.file_name().to_string_lossy().into_owned();
            self.files.entry(name).or_default().take(&bytes);
        }
    }

    /// Page versions so far.
    pub fn versions(&self) -> usize {
        let pages = self.files.values().flat_map(|file| file.pages.values());
        pages.map(Vec::len).sum()
    }

    /// Writes it as it was at the last look into a state directory that has no index.
    pub fn newest(&self, state: &Path) {
        let db = state.join("db");
        std::fs::create_dir_all(&db).unwrap();
        for (name, file) in self.files.iter().filter(|(_, file)| file.there) {
            let mut bytes = vec![0; file.lengths.last().copied().unwrap_or_default()];
            for (number, versions) in &file.pages {
                let Some(newest) = versions.last() else { continue };
                let place = number * PAGE;
                let until = bytes.len().min(place + newest.len());
                if let Some(page) = bytes.get_mut(place..until) {
                    page.copy_from_slice(&newest[..until - place]);
                }
            }
            std::fs::write(db.join(name), bytes).unwrap();
        }
    }

    /// Writes what a power cut may have left of it into a state directory that has no index.
    pub fn damaged(&self, state: &Path, random: &mut fastrand::Rng) {
        std::fs::create_dir_all(state).unwrap();
        if self.marker || random.u8(..40) == 0 {
            std::fs::write(state.join("db.opening"), b"").unwrap();
        }
        let db = state.join("db");
        if self.files.is_empty() || random.u8(..40) == 0 {
            return;
        }
        std::fs::create_dir_all(&db).unwrap();
        if random.u8(..40) == 0 {
            std::fs::write(db.join("snap.00000000000000FF.generating"), b"half").unwrap();
        }
        // All of it, nothing, or a part: the extremes would be rare by chance alone.
        let share = *random.choice(&[0.0, 0.5, 0.9, 0.97, 1.0]).unwrap();
        for (name, file) in &self.files {
            // A file that is gone may be back, and one that is there may not be yet.
            let there = if file.there {
                random.u8(..12) > 0
            } else {
                random.u8(..4) == 0
            };
            match (there, random.u8(..16)) {
                (false, _) => {}
                (true, 0) => std::fs::write(db.join(name), b"").unwrap(),
                (true, _) => std::fs::write(db.join(name), file.damaged(share, random)).unwrap(),
            }
        }
    }
}

impl FileHistory {
    fn take(&mut self, bytes: &[u8]) {
        self.there = true;
        if self.lengths.last() != Some(&bytes.len()) {
            self.lengths.push(bytes.len());
        }
        for (number, page) in bytes.chunks(PAGE).enumerate() {
            let versions = self.pages.entry(number).or_default();
            let known = match versions.last() {
                Some(last) => **last == *page,
                None => page.iter().all(|byte| *byte == 0),
            };
            if !known {
                versions.push(page.into());
            }
        }
    }

    fn damaged(&self, share: f64, random: &mut fastrand::Rng) -> Vec<u8> {
        let newest = self.lengths.last().copied().unwrap_or_default();
        let length = match random.u8(..8) {
            0 => *random.choice(&self.lengths).unwrap_or(&newest),
            1 => random.usize(..=newest / PAGE) * PAGE,
            2 => random.usize(..=newest),
            _ => newest,
        };
        let mut bytes = vec![0; length];
        for (number, versions) in &self.pages {
            let place = number * PAGE..((number + 1) * PAGE).min(length);
            let Some(page) = bytes.get_mut(place) else { continue };
            for sector in Self::sectors(page.len(), random.f64() < 0.1) {
                // One more than there are versions: the zeros before the first.
                let version = match random.f64() < share {
                    true => versions.len(),
                    false => random.usize(..=versions.len()),
                };
                let Some(version) = version.checked_sub(1) else {
                    continue;
                };
                let until = sector.end.min(versions[version].len());
                if let Some(source) = versions[version].get(sector.start..until) {
                    page[sector.start..until].copy_from_slice(source);
                }
            }
        }
        bytes
    }

    /// What of a page comes from one version: all of it, or a sector at a time.
    fn sectors(page: usize, torn: bool) -> impl Iterator<Item = std::ops::Range<usize>> {
        let step = if torn { SECTOR } else { PAGE };
        (0..page).step_by(step).map(move |at| at..(at + step).min(page))
    }
}

/// What is known from outside about the transactions: those acknowledged, and those that were at least begun.
#[derive(Debug, Clone, Copy)]
struct Known {
    acknowledged: u64,
    attempted: u64,
}

type Log = BTreeMap<String, Vec<u8>>;

/// Opens what a power cut left, checks it, and writes up to `more` transactions, until the disk fails.
fn work(state: &Path, disk: &SimDisk, known: Known, more: u64) -> Result<Known, String> {
    let store = match Store::open_on(state, 1 << 20, Arc::new(disk.clone()), LIMITS) {
        Ok(store) => store,
        Err(StoreError::Open { cause, .. }) if cause.contains("no power") || cause.contains("input/output") => {
            return Ok(known);
        }
        Err(error) => return Err(format!("known {known:?}: {error}")),
    };
    let counter = store
        .view()
        .get(Tree::Meta, COUNTER)
        .map_err(|error| error.to_string())?;
    let found = counter.map_or(0, |value| u64::from_be_bytes(*value.first_chunk().unwrap()));
    if !(known.acknowledged..=known.attempted).contains(&found) {
        return Err(format!("found {found} of {known:?}"));
    }
    let rows: Result<Rows, StoreError> = store
        .view()
        .scan(Tree::Meta, b"")
        .map(|row| row.map(|(key, value)| (key, value.to_vec())))
        .collect();
    if rows.map_err(|error| error.to_string())? != rows_after(found) {
        return Err(format!("transaction {found} is not whole"));
    }
    for number in found + 1..=found + more {
        match write(&store, number) {
            Ok(()) => {}
            Err(StoreError::Poisoned(cause)) if cause.contains("no power") || cause.contains("input/output") => {
                return Ok(Known {
                    acknowledged: number - 1,
                    attempted: number,
                });
            }
            Err(error) => return Err(format!("transaction {number}: {error}")),
        }
    }
    let all = found + more;
    Ok(Known {
        acknowledged: all,
        attempted: all,
    })
}

/// Images so far, and those whose index was found unusable and made again.
#[derive(Default)]
struct Counts {
    images: AtomicU64,
    rebuilt: AtomicU64,
}

impl Counts {
    fn add(&self, state: &Path) {
        self.images.fetch_add(1, Ordering::SeqCst);
        let rebuilt = state.join("db.aside").exists();
        self.rebuilt.fetch_add(u64::from(rebuilt), Ordering::SeqCst);
    }
}

/// Opens what a cut left, is cut again at a random operation, and opens what that left.
fn check(log: &Log, index: &History, known: Known, random: &mut fastrand::Rng, counts: &Counts) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("a");
    index.damaged(&state, random);
    let disk = SimDisk::of(log);
    disk.fail_at(random.u64(..30), Fault::Cut);
    let mut again = History::default();
    again.look(&state);
    let again = Arc::new(Mutex::new(again));
    let (watched, place) = (Arc::clone(&again), state.clone());
    disk.watch(move |_| watched.lock().unwrap().look(&place));
    let known = work(&state, &disk, known, 6)?;
    counts.add(&state);
    let mut again = again.lock().unwrap().clone();
    again.look(&state);
    let (log, state) = (disk.after_power_cut(random), directory.path().join("b"));
    again.damaged(&state, random);
    work(&state, &SimDisk::of(&log), known, 2).map_err(|error| format!("after the second cut: {error}"))?;
    counts.add(&state);
    Ok(())
}

/// The workload, with `seeds` pairs of images made of every moment of it and checked.
fn cut_often(seeds: u64) -> Arc<Counts> {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().to_owned();
    let disk = SimDisk::default();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let counts = Arc::new(Counts::default());
    let wrong: Arc<Mutex<Vec<String>>> = Arc::default();
    let history = Mutex::new(History::default());
    {
        let (state, acknowledged) = (state.clone(), Arc::clone(&acknowledged));
        let (counts, wrong) = (Arc::clone(&counts), Arc::clone(&wrong));
        disk.watch(move |disk| {
            let mut history = history.lock().unwrap();
            history.look(&state);
            let at = disk.operations();
            let acknowledged = acknowledged.load(Ordering::SeqCst);
            let known = Known {
                acknowledged,
                attempted: acknowledged + 1,
            };
            for seed in 0..seeds {
                let mut random = fastrand::Rng::with_seed(at << 32 | seed);
                let log = disk.after_power_cut(&mut random);
                if let Err(error) = check(&log, &history, known, &mut random, &counts) {
                    wrong.lock().unwrap().push(format!("cut at {at}, seed {seed}: {error}"));
                }
            }
        });
    }
    for _ in 0..RUNS {
        let store = Store::open_on(&state, 1 << 20, Arc::new(disk.clone()), LIMITS).unwrap();
        for _ in 0..TRANSACTIONS_A_RUN {
            let number = acknowledged.load(Ordering::SeqCst) + 1;
            write(&store, number).unwrap();
            acknowledged.store(number, Ordering::SeqCst);
        }
    }
    let files: Vec<_> = disk.after_kill().into_keys().collect();
    assert!(
        !files.contains(&"log.1".to_owned()),
        "the workload rotates twice: {files:?}"
    );
    let wrong = wrong.lock().unwrap();
    assert!(wrong.is_empty(), "{} images: {}", wrong.len(), wrong.join("\n"));
    counts
}

#[test]
fn whatever_a_power_cut_leaves_of_sled_nothing_is_lost() {
    let counts = cut_often(seeds());
    let images = counts.images.load(Ordering::SeqCst);
    let rebuilt = counts.rebuilt.load(Ordering::SeqCst);
    println!("{images} images with sled's files in them; in {rebuilt} the index had to be made again");
    // Both ways out: put right row by row, and made again.
    assert!(
        images >= 200 && rebuilt > images / 20 && rebuilt < images * 19 / 20,
        "{images}, {rebuilt}"
    );
}
