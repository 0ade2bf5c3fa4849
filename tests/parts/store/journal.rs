//! The journal on a disk that refuses, is killed, and loses power: numbers without gaps, never ahead of what they tell
//! of.

use std::sync::Arc;

use tautline::alert::SessionName;
use tautline::outbox::Timestamp;
use tautline::store::journal::{self, Entry, Event};
use tautline::store::log::{Limits, RealDisk};
use tautline::store::{Batch, Store, Tree};

use super::disk::{Fault, SimDisk};

fn entry(at: u64) -> Entry {
    let session: SessionName = "default".parse().unwrap();
    Entry {
        at: Timestamp(at),
        event: Event::Online { session },
    }
}

/// Row `number`, and an entry that tells of it.
async fn put(store: &Store, number: u64) -> bool {
    let mut batch = Batch::new();
    batch.put(Tree::Meta, &number.to_be_bytes(), vec![1]).unwrap();
    journal::commit_new(store, batch, vec![entry(number)]).await.is_ok()
}

/// Every entry tells of a row that is there, every row is told of, and the numbers go from 1 without a gap.
fn check(store: &Store) -> usize {
    let entries = journal::after(store.view(), 0, usize::MAX).unwrap();
    for (index, (number, _)) in entries.iter().enumerate() {
        assert_eq!(*number, index as u64 + 1, "a gap");
    }
    let mut told: Vec<u64> = entries.iter().map(|(_, entry)| entry.at.0).collect();
    told.sort_unstable();
    let rows = store.view().scan(Tree::Meta, b"").map(Result::unwrap);
    let rows: Vec<u64> = rows
        .map(|(key, _)| u64::from_be_bytes(key.try_into().unwrap()))
        .collect();
    assert_eq!(told, rows);
    rows.len()
}

fn together(store: &Store, numbers: std::ops::Range<u64>) -> usize {
    let executor = smol::Executor::new();
    let tasks: Vec<_> = numbers.map(|number| executor.spawn(put(store, number))).collect();
    smol::block_on(executor.run(async {
        let mut written = 0;
        for task in tasks {
            written += usize::from(task.await);
        }
        written
    }))
}

#[test]
fn what_is_refused_takes_its_numbers_back() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimDisk::default();
    let store = Store::open_on(directory.path(), 1 << 20, Arc::new(disk.clone()), Limits::default()).unwrap();
    let mut written = together(&store, 0..40);
    disk.set_free(Some(1 << 20));
    assert_eq!(together(&store, 40..80), 0);
    assert_eq!(check(&store), written);
    disk.set_free(None);
    written += together(&store, 80..120);
    disk.fail_at(disk.operations(), Fault::Full);
    written += together(&store, 120..160);
    written += together(&store, 160..200);
    assert_eq!(check(&store), written);
    assert!(written < 160, "one group was refused");
}

#[test]
fn a_restart_at_every_write_goes_on_where_the_disk_is() {
    let origin = SimDisk::default();
    {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open_on(directory.path(), 1 << 20, Arc::new(origin.clone()), Limits::default()).unwrap();
        together(&store, 0..8);
    }
    for cut in 0..12 {
        let disk = SimDisk::of(&origin.after_kill());
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open_on(directory.path(), 1 << 20, Arc::new(disk.clone()), Limits::default()).unwrap();
        disk.fail_at(disk.operations() + cut, Fault::Cut);
        for number in 8..16 {
            smol::block_on(put(&store, number));
        }
        drop(store);
        let image = disk.after_power_cut(&mut fastrand::Rng::with_seed(cut));
        let directory = tempfile::tempdir().unwrap();
        let disk = SimDisk::of(&image);
        let store = Store::open_on(directory.path(), 1 << 20, Arc::new(disk), Limits::default()).unwrap();
        let found = check(&store);
        assert!(found >= 8, "cut at {cut}: {found}");
        assert!(smol::block_on(put(&store, 100)));
        assert_eq!(check(&store), found + 1);
    }
}

#[test]
fn groups_of_many_writers_are_numbered_one_after_the_other() {
    let directory = tempfile::tempdir().unwrap();
    for run in 0..3 {
        let disk = Arc::new(RealDisk::new(directory.path().to_owned()));
        let store = Store::open_on(directory.path(), 1 << 20, disk, Limits::default()).unwrap();
        assert_eq!(together(&store, run * 500..(run + 1) * 500), 500);
        assert_eq!(check(&store), (run as usize + 1) * 500);
    }
}
