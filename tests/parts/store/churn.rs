//! Much written and little kept: neither the log nor the index may grow with what has passed through.
//! A longer run, which prints what it measures:
//! `TAUTLINE_CHURN=200000 cargo test --features lab --test parts store::churn -- --nocapture`.

use std::path::Path;
use std::time::{Duration, Instant};

use tautline::store::{Batch, Store, Tree};

/// Records kept at a time, and how large one is: about an outbox after a week.
const KEPT: u64 = 1000;
const VALUE_BYTES: usize = 300;

/// sled writes segments of 512 KiB and uses them again when little in them still counts.
const INDEX_BYTES_MAX: u64 = 16 << 20;

/// With two generations of the log: each what is kept, at most 4 MiB more, the group that went past it, and the zeros
/// laid down.
const ALL_BYTES_MAX: u64 = INDEX_BYTES_MAX + 2 * (6 << 20);

/// Updates of one transaction.
const TOGETHER: u64 = 20;

/// Bytes that the files under `path` take, as `du` counts them. They come and go meanwhile.
fn used(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        bytes += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => used(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        };
    }
    bytes
}

fn churn(store: &Store, updates: u64, mut look: impl FnMut(u64)) {
    let mut next = 0;
    while next < updates {
        let mut batch = Batch::new();
        for number in next..next + TOGETHER {
            // Accepted, then three steps later by the same key, then gone.
            let seq = number / 4;
            let value = vec![number as u8; VALUE_BYTES + (number % 4) as usize];
            batch.put(Tree::Outbox, &seq.to_be_bytes(), value).unwrap();
            if let Some(old) = seq.checked_sub(KEPT) {
                batch.delete(Tree::Outbox, &old.to_be_bytes());
            }
        }
        smol::block_on(store.commit(batch)).unwrap();
        next += TOGETHER;
        if next % (updates / 20).max(TOGETHER) < TOGETHER {
            look(next);
        }
    }
}

#[test]
fn what_has_passed_through_leaves_nothing() {
    let updates = std::env::var("TAUTLINE_CHURN").ok().and_then(|text| text.parse().ok());
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), 1 << 20).unwrap();
    churn(&store, updates.unwrap_or(20_000), |done| {
        let (all, index) = (used(directory.path()), used(&directory.path().join("db")));
        println!(
            "{done} updates: {} KiB, {} KiB of it the index",
            all / 1024,
            index / 1024
        );
        assert!(
            index <= INDEX_BYTES_MAX && all <= ALL_BYTES_MAX,
            "{index} of {all} bytes"
        );
    });
}

#[test]
fn what_is_on_its_way_into_the_index_is_seen_all_the_while() {
    const ROWS: u64 = 300;
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), 1 << 20).unwrap();
    let mut expected = std::collections::BTreeMap::new();
    let rows = |store: &Store| -> std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
        let row = |row: Result<(Vec<u8>, tautline::store::Value), _>| row.map(|(key, value)| (key, value.to_vec()));
        store
            .view()
            .scan(Tree::Outbox, b"")
            .map(|found| row(found).unwrap())
            .collect()
    };
    // Some times what the index is given at once; each row is put, put again and deleted in turn.
    for number in 0..6000u64 {
        let key = (number * 7 % ROWS).to_be_bytes();
        let mut batch = Batch::new();
        if number / ROWS % 3 == 2 {
            batch.delete(Tree::Outbox, &key);
            expected.remove(&key[..]);
        } else {
            let value = vec![number as u8; VALUE_BYTES];
            batch.put(Tree::Outbox, &key, value.clone()).unwrap();
            expected.insert(key.to_vec(), value);
        }
        smol::block_on(store.commit(batch)).unwrap();
        let found = store
            .view()
            .get(Tree::Outbox, &key)
            .unwrap()
            .map(|value| value.to_vec());
        assert_eq!(found.as_ref(), expected.get(&key[..]), "row {number}");
        if number % 50 == 0 {
            assert_eq!(rows(&store), expected, "after {number}");
        }
    }
    drop(store);
    let store = Store::open(directory.path(), 1 << 20).unwrap();
    assert_eq!(rows(&store), expected);
}

/// What it may take while ten thousand alerts of a kilobyte are alive.
const FLOOD_INDEX_BYTES_MAX: u64 = 48 << 20;

/// Ten thousand alerts that wait, as after a night without a line; then all of them go out and are forgotten. A longer
/// run: `TAUTLINE_FLOODS=20 cargo test --features lab --test parts store::flood -- --nocapture`.
#[test]
fn a_flood_leaves_nothing() {
    let floods = std::env::var("TAUTLINE_FLOODS").ok().and_then(|text| text.parse().ok());
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), 1 << 20).unwrap();
    let index = || used(&directory.path().join("db"));
    for flood in 0..floods.unwrap_or(1) {
        for step in 0..5_u8 {
            for chunk in 0..500_u64 {
                let mut batch = Batch::new();
                for seq in chunk * TOGETHER..(chunk + 1) * TOGETHER {
                    match step {
                        4 => batch.delete(Tree::Outbox, &seq.to_be_bytes()),
                        _ => batch.put(Tree::Outbox, &seq.to_be_bytes(), vec![step; 900]).unwrap(),
                    }
                }
                smol::block_on(store.commit(batch)).unwrap();
            }
            println!(
                "flood {flood}, step {step}: {} KiB of index, {} KiB resident",
                index() / 1024,
                anonymous()
            );
            assert!(index() <= FLOOD_INDEX_BYTES_MAX, "{}", index());
        }
    }
    // Built again in a quiet moment, while it is read.
    let mut batch = Batch::new();
    batch.put(Tree::Meta, b"still", vec![1]).unwrap();
    smol::block_on(store.commit(batch)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while index() > INDEX_BYTES_MAX {
        assert!(Instant::now() < deadline, "it keeps {} bytes", index());
        assert_eq!(
            store.view().get(Tree::Meta, b"still").unwrap().as_deref(),
            Some(&[1][..])
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("{} KiB of index, {} KiB resident", index() / 1024, anonymous());
    let mut batch = Batch::new();
    batch.put(Tree::Meta, b"and", vec![2]).unwrap();
    smol::block_on(store.commit(batch)).unwrap();
    let rows = |store: &Store| {
        store
            .view()
            .scan(Tree::Meta, b"")
            .map(Result::unwrap)
            .collect::<Vec<_>>()
    };
    let before = rows(&store);
    assert_eq!((before.len(), store.view().scan(Tree::Outbox, b"").count()), (2, 0));
    drop(store);
    assert!(!directory.path().join("db.aside").exists() && !directory.path().join("db.opening").exists());
    assert_eq!(rows(&Store::open(directory.path(), 1 << 20).unwrap()), before);
}

/// KiB of memory that is no file's.
fn anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
