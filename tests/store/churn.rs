//! Much written and little kept: neither the log nor the index may grow with what has passed through.
//! A longer run, which prints what it measures: `TAUTLINE_CHURN=200000 cargo test --features lab --test store churn -- --nocapture`.

use std::path::Path;

use tautline::store::{Batch, Store, Tree};

/// Records kept at a time, and how large one is: about an outbox after a week.
const KEPT: u64 = 1000;
const VALUE_BYTES: usize = 300;

/// sled writes segments of 512 KiB and uses them again when little in them still counts.
const INDEX_BYTES_MAX: u64 = 16 << 20;

/// With two generations of the log, each at most its 4 MiB, the group that went past it, and the zeros laid down.
const ALL_BYTES_MAX: u64 = INDEX_BYTES_MAX + 2 * (5 << 20);

/// Updates of one transaction.
const TOGETHER: u64 = 20;

/// Bytes that the files under `path` take, as `du` counts them.
fn used(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(path).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        bytes += match metadata.is_dir() {
            true => used(&entry.path()),
            false => metadata.blocks() * 512,
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
