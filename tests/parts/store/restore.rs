//! A backup restored over a state that has an index: after a power cut at any operation, with any older version of
//! sled's pages beside the log, it is the old state or the new one, and goes on.
//!
//! A longer run: `TAUTLINE_SEEDS=40 cargo test --features lab --test parts store::restore -- --nocapture`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tautline::state::backup::{Backup, BackupError, Pending};
use tautline::store::log::{Exporter, Limits, RealDisk, inspect};
use tautline::store::{Batch, Store, StoreError, Tree};

use super::disk::{Fault, SimDisk};
use super::images::History;

const LIMITS: Limits = Limits {
    rotate_bytes_min: 1 << 20,
    extent_bytes: 16 * 1024,
    headroom_bytes: 0,
    reserve_bytes: 8 * 1024,
};

/// The size of what was restored. More than sled's buffer, and than the index is put right in at once.
const RESTORED: u32 = 700;
const NOW_MS: u64 = 1_795_207_971_000;

/// By tree and key.
type Rows = BTreeMap<(u8, Vec<u8>), Vec<u8>>;
type Files = BTreeMap<String, Vec<u8>>;

fn rows(store: &Store) -> Rows {
    let mut rows = Rows::new();
    for tree in Tree::all() {
        for row in store.view().scan(tree, b"") {
            let (key, value) = row.unwrap();
            rows.insert((tree as u8, key), value.to_vec());
        }
    }
    rows
}

fn meta(number: u32) -> (u8, Vec<u8>) {
    (Tree::Meta as u8, number.to_be_bytes().to_vec())
}

/// What the backup brings. Some of it is in the old state too, and says something else there.
fn restored() -> Rows {
    let value = |number: u32| [&[1][..], &[number as u8; 700]].concat();
    (0..RESTORED).map(|number| (meta(number), value(number))).collect()
}

fn backup() -> Backup {
    let mut exporter = Exporter::begin(Vec::new(), NOW_MS).unwrap();
    for ((tree, key), value) in restored() {
        exporter.record([&[tree][..], &key].concat(), value).unwrap();
    }
    Backup::read(&exporter.end().unwrap().0).unwrap()
}

/// A state that a relay ran on without a linked session: the log, all that its index has been, and what it says.
struct Old {
    log: Files,
    index: History,
    rows: Rows,
}

impl Old {
    fn make() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let disk = SimDisk::default();
        let mut index = History::default();
        let mut rows = Rows::new();
        for run in 0..3 {
            let store = Store::open_on(directory.path(), 1 << 20, Arc::new(disk.clone()), LIMITS).unwrap();
            for number in 0..12 {
                let mut batch = Batch::new();
                // Keys of a pairing that nobody finished: they go. What the state knows beside that stays.
                let (key, value) = (vec![run, number], vec![number; 9000]);
                batch.put(Tree::Identity, &key, value.clone()).unwrap();
                rows.insert((Tree::Identity as u8, key), value);
                let (place, value) = (meta(u32::from(number) * 10), vec![1, run, number]);
                batch.put(Tree::Meta, &place.1, value.clone()).unwrap();
                rows.insert(place, value);
                let (place, value) = (meta(RESTORED + u32::from(number)), vec![1, run, number]);
                batch.put(Tree::Meta, &place.1, value.clone()).unwrap();
                rows.insert(place, value);
                smol::block_on(store.commit(batch)).unwrap();
                index.look(directory.path());
            }
            drop(store);
            index.look(directory.path());
        }
        Self {
            log: disk.after_kill(),
            index,
            rows,
        }
    }

    /// Puts the index there, half the time as the last run left it.
    fn index_after_a_cut(&self, state: &Path, random: &mut fastrand::Rng) {
        match random.bool() {
            true => self.index.newest(state),
            false => self.index.damaged(state, random),
        }
    }

    fn after_the_restore(&self) -> Rows {
        let stays = |place: &(u8, Vec<u8>)| place.0 == Tree::Meta as u8;
        let mut rows: Rows = self
            .rows
            .clone()
            .into_iter()
            .filter(|(place, _)| stays(place))
            .collect();
        rows.extend(restored());
        rows
    }
}

fn restore(state: &Path, disk: &SimDisk) -> Result<(), BackupError> {
    backup()
        .restore_on(state, Arc::new(disk.clone()), Pending::Hold, NOW_MS)
        .map(drop)
}

fn open(state: &Path, disk: &SimDisk) -> Result<Store, StoreError> {
    Store::open_on(state, 1 << 20, Arc::new(disk.clone()), LIMITS)
}

/// Opens it, writes, and opens it once more. Returns what was found.
fn goes_on(state: &Path, disk: &SimDisk) -> Rows {
    let store = open(state, disk).unwrap();
    let found = rows(&store);
    let mut batch = Batch::new();
    batch.put(Tree::Meta, b"later", vec![1, 7]).unwrap();
    smol::block_on(store.commit(batch)).unwrap();
    drop(store);
    let mut expected = found.clone();
    expected.insert((Tree::Meta as u8, b"later".to_vec()), vec![1, 7]);
    assert!(rows(&open(state, disk).unwrap()) == expected, "it does not go on");
    found
}

fn seeds() -> u64 {
    let given = std::env::var("TAUTLINE_SEEDS").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(4)
}

/// How many operations a restore takes where nothing is in its way.
fn operations(old: &Old) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimDisk::of(&old.log);
    restore(directory.path(), &disk).unwrap();
    disk.operations()
}

#[test]
fn a_restore_that_is_cut_anywhere_leaves_the_old_state_or_the_new_one() {
    let old = Old::make();
    let new = old.after_the_restore();
    let (mut kept, mut replaced, mut rebuilt) = (0, 0, 0);
    let operations = operations(&old);
    for fault in [Fault::Cut, Fault::Io, Fault::Full] {
        for at in 0..=operations {
            for seed in 0..seeds() {
                let what = format!("{fault:?} at {at}, seed {seed}");
                let mut random = fastrand::Rng::with_seed((fault as u64) << 48 | at << 32 | seed);
                let directory = tempfile::tempdir().unwrap();
                let state = directory.path().join("a");
                old.index_after_a_cut(&state, &mut random);
                let disk = SimDisk::of(&old.log);
                disk.fail_at(at, fault);
                let done = restore(&state, &disk).is_ok();
                assert!(done || at < operations, "{what}: without a fault");
                let disk = SimDisk::of(&disk.after_power_cut(&mut random));
                // Nothing of the index was written meanwhile, so that any older page may be there, of this look or
                // another.
                if random.bool() {
                    std::fs::remove_dir_all(&state).unwrap();
                    old.index_after_a_cut(&state, &mut random);
                }
                let found = goes_on(&state, &disk);
                assert!(found == old.rows || found == new, "{what}: neither");
                assert!(!done || found == new, "{what}: it was said to be there");
                kept += u32::from(found == old.rows);
                replaced += u32::from(found == new);
                rebuilt += u32::from(state.join("db.aside").exists());
            }
        }
    }
    let all = kept + replaced;
    println!("{all} images of a restore: {kept} old, {replaced} new; in {rebuilt} the index was made again");
    assert!(kept > all / 20 && replaced > all / 20, "{kept} {replaced}");
    assert!(rebuilt > 0 && rebuilt < all, "{rebuilt} of {all}");
}

#[test]
fn a_first_start_that_is_cut_while_it_puts_the_index_right_loses_nothing() {
    let old = Old::make();
    let new = old.after_the_restore();
    let (mut images, mut rebuilt, mut versions) = (0, 0, 0);
    for seed in 0..6 * seeds() {
        let mut random = fastrand::Rng::with_seed(seed);
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("a");
        old.index_after_a_cut(&state, &mut random);
        let disk = SimDisk::of(&old.log);
        restore(&state, &disk).unwrap();

        // Whatever sled's files are at any moment of the start, and at its end.
        let ended = AtomicBool::new(false);
        let mut index = old.index.clone();
        index.look(&state);
        let before = index.versions();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                drop(open(&state, &disk).unwrap());
                ended.store(true, Ordering::SeqCst);
            });
            while !ended.load(Ordering::SeqCst) {
                index.look(&state);
                std::thread::yield_now();
            }
        });
        index.look(&state);
        versions += index.versions() - before;
        for image in 0..3 {
            let place = directory.path().join(image.to_string());
            index.damaged(&place, &mut random);
            let log = SimDisk::of(&disk.after_power_cut(&mut random));
            assert!(goes_on(&place, &log) == new, "seed {seed}, image {image}");
            images += 1;
            rebuilt += u32::from(place.join("db.aside").exists());
        }
    }
    println!("{images} images of a first start: in {rebuilt} the index was made again");
    assert!(versions > images, "the starts wrote {versions} pages");
    assert!(rebuilt > 0 && rebuilt < images as u32, "{rebuilt} of {images}");
}

fn file_names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Otherwise the start after it would find an index that is ahead of the log, and stop.
#[test]
fn a_log_that_has_lost_its_end_is_not_restored_over() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path();
    let store = Store::open(state, 1 << 20).unwrap();
    for number in 0..6 {
        let mut batch = Batch::new();
        batch.put(Tree::Meta, &[number], vec![1; 3000]).unwrap();
        smol::block_on(store.commit(batch)).unwrap();
    }
    drop(store);
    // Half of what was written, zeros after it: as a power cut leaves a write that nobody was told of.
    let log = state.join("log.1");
    let mut bytes = std::fs::read(&log).unwrap();
    let end = inspect(&RealDisk::new(state.to_owned())).unwrap().unwrap().bytes;
    bytes[end as usize / 2..].fill(0);
    std::fs::write(&log, &bytes).unwrap();
    let names = file_names(state);
    let error = backup().restore(state, Pending::Hold, NOW_MS).unwrap_err();
    assert!(
        matches!(&error, BackupError::Store(StoreError::Damaged { .. })),
        "{error}"
    );
    assert_eq!((file_names(state), std::fs::read(&log).unwrap()), (names, bytes));

    // An index that nobody can read says nothing, and a start makes it again.
    std::fs::write(state.join("db.opening"), b"").unwrap();
    backup().restore(state, Pending::Hold, NOW_MS).unwrap();
    let found = rows(&Store::open(state, 1 << 20).unwrap());
    assert!(restored().iter().all(|(place, value)| found.get(place) == Some(value)));
}
