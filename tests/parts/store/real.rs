//! The whole store on a real directory: sled in every sad state, older states, a full disk, files and modes.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tautline::store::log::{Claim, CommitError, Limits, Log, RealDisk, StageError, State, inspect};
use tautline::store::{Batch, Store, StoreError, Tree};

use super::disk::{Fault, SimDisk};

fn put(store: &Store, key: u32, value: &[u8]) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    batch.put(Tree::Meta, &key.to_be_bytes(), value.to_vec()).unwrap();
    smol::block_on(store.commit(batch))
}

fn rows(store: &Store) -> Vec<(Vec<u8>, Vec<u8>)> {
    let rows = store.view().scan(Tree::Meta, b"");
    rows.map(|row| row.map(|(key, value)| (key, value.to_vec())).unwrap())
        .collect()
}

fn open(directory: &Path) -> Result<Store, StoreError> {
    Store::open(directory, 1 << 20)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[test]
fn whatever_became_of_the_index_the_log_brings_it_back() {
    let origin = tempfile::tempdir().unwrap();
    let store = open(origin.path()).unwrap();
    for key in 0..60 {
        put(&store, key % 50, &[key as u8; 300]).unwrap();
    }
    let early = tempfile::tempdir().unwrap();
    copy(&origin.path().join("db"), &early.path().join("db"));
    for key in 20..30 {
        let mut batch = Batch::new();
        batch.delete(Tree::Meta, &u32::to_be_bytes(key));
        smol::block_on(store.commit(batch)).unwrap();
    }
    let expected = rows(&store);
    drop(store);
    let mut random = fastrand::Rng::with_seed(3);
    for case in 0..40 {
        let directory = tempfile::tempdir().unwrap();
        copy(origin.path(), directory.path());
        let db = directory.path().join("db");
        sadden(&db, case, early.path(), &mut random);
        let store = open(directory.path()).unwrap_or_else(|error| panic!("case {case}: {error}"));
        assert_eq!(rows(&store), expected, "case {case}");
        put(&store, 999, b"and on").unwrap();
        drop(store);
        let store = open(directory.path()).unwrap();
        assert_eq!(rows(&store).len(), expected.len() + 1, "case {case}");
    }
}

/// As a power cut or a kill leaves sled, or worse.
fn sadden(db: &Path, case: u32, early: &Path, random: &mut fastrand::Rng) {
    let file = db.join("db");
    match case {
        0 => std::fs::remove_dir_all(db).unwrap(),
        1 => std::fs::remove_file(db.join("conf")).unwrap(),
        2 => std::fs::write(db.join("conf"), b"").unwrap(),
        3 => std::fs::write(db.with_extension("opening"), b"").unwrap(),
        4 => std::fs::write(db.join("snap.0000.generating"), b"x").unwrap(),
        5 => std::fs::write(&file, b"").unwrap(),
        6 => std::fs::remove_file(&file).unwrap(),
        7 => {
            std::fs::remove_dir_all(db).unwrap();
            copy(&early.join("db"), db);
        }
        8 => {
            std::fs::remove_dir_all(db).unwrap();
            std::fs::write(db, b"a file").unwrap();
        }
        _ => {
            let mut bytes = std::fs::read(&file).unwrap();
            for _ in 0..random.usize(1..20) {
                let page = random.usize(..bytes.len() / 4096 + 1) * 4096;
                let end = (page + 4096).min(bytes.len());
                let value = if random.bool() { 0 } else { random.u8(..) };
                bytes[page..end].fill(value);
            }
            if random.bool() {
                bytes.truncate(random.usize(..bytes.len()));
            }
            std::fs::write(&file, bytes).unwrap();
        }
    }
}

#[test]
fn a_log_that_lost_what_the_index_has_seen_is_alarmed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    put(&store, 1, b"a").unwrap();
    let older = std::fs::read(directory.path().join("log.1")).unwrap();
    put(&store, 2, b"b").unwrap();
    drop(store);
    std::fs::write(directory.path().join("log.1"), older).unwrap();
    for _ in 0..2 {
        let Err(StoreError::Damaged { cause, .. }) = open(directory.path()) else {
            panic!("an older log was used")
        };
        assert!(cause.contains("the index has seen 2"), "{cause}");
    }
    std::fs::remove_file(directory.path().join("log.1")).unwrap();
    assert!(matches!(open(directory.path()), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_state_of_sled_alone_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    {
        let db = sled::Config::new().path(directory.path().join("db")).open().unwrap();
        let tree = db.open_tree("tautline").unwrap();
        for key in 0..1000_u32 {
            tree.insert([&[Tree::Meta as u8][..], &key.to_be_bytes()].concat(), vec![1; 300])
                .unwrap();
        }
        db.flush().unwrap();
    }
    let store = open(directory.path()).unwrap();
    assert_eq!(rows(&store).len(), 1000);
    drop(store);
    std::fs::remove_dir_all(directory.path().join("db")).unwrap();
    assert_eq!(rows(&open(directory.path()).unwrap()).len(), 1000, "from the log alone");
}

fn put_new(store: &Store, key: u32, value: &[u8]) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    batch.put(Tree::Outbox, &key.to_be_bytes(), value.to_vec()).unwrap();
    smol::block_on(store.update_new(move |_| Ok((batch, ()))))
}

#[test]
fn a_full_disk_refuses_what_is_new_and_goes_on_with_the_rest_in_the_reserve() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimDisk::default();
    let store = Store::open_on(directory.path(), 1 << 20, Arc::new(disk.clone()), Limits::default()).unwrap();
    put_new(&store, 1, b"a").unwrap();
    disk.set_free(Some(0));
    assert!(matches!(put_new(&store, 2, b"b"), Err(StoreError::Full(_))));
    assert!(matches!(store.short_of_room(), Some(StoreError::Full(_))));
    assert_eq!(store.view().get(Tree::Outbox, &2_u32.to_be_bytes()).unwrap(), None);
    // A megabyte of what a line needs, then that is refused too.
    let mut kept = 0;
    while put(&store, kept, &[1; 50 * 1024]).is_ok() {
        kept += 1;
    }
    assert!((20..=25).contains(&kept), "{kept}");
    assert!(matches!(put(&store, kept, &[1; 50 * 1024]), Err(StoreError::Full(_))));
    assert_eq!(rows(&store).len(), kept as usize, "what was refused is not seen");
    assert_eq!(store.poisoned(), None);
    smol::block_on(store.commit(Batch::new())).expect("the thread turns");
    // There is room again, by what the volume says, but not really; then really.
    disk.set_free(None);
    disk.fail_at(disk.operations(), Fault::Full);
    assert!(matches!(put_new(&store, 2, b"b"), Err(StoreError::Full(_))));
    assert_eq!(store.poisoned(), None);
    put_new(&store, 2, b"b").unwrap();
    put(&store, kept, b"").unwrap();
    assert!(store.short_of_room().is_none());
}

/// Where everything new is refused, nothing is written that could bring the next try about.
#[test]
fn a_rotation_that_found_no_room_is_tried_again_when_others_have_made_some() {
    let (disk, limits) = (SimDisk::default(), Limits::default());
    let mut log = Log::create(Arc::new(disk.clone()), limits, &State::new()).unwrap();
    // The same record again and again: the next snapshot has it once.
    while !log.wants_rotation() {
        log.stage(&[(vec![1], Some(vec![1; 100 * 1024]))], Claim::Reserve)
            .unwrap();
        log.commit().unwrap();
    }
    disk.set_free(Some(64 << 10));
    assert!(matches!(log.rotate(), Err(CommitError::Full(_))));
    assert!(!log.wants_rotation(), "it costs a reading of the whole file");
    assert!(!log.wants_rotation_at_rest());
    disk.set_free(Some(64 << 20));
    assert!(log.wants_rotation());
    log.rotate().unwrap();
    log.stage(&[(vec![2], Some(vec![1]))], Claim::New).unwrap();
}

/// A group may last longer than a want of room: the next transaction of it asks the volume again.
#[test]
fn what_the_volume_said_at_the_start_of_a_group_refuses_nothing_later_in_it() {
    let disk = SimDisk::default();
    let mut log = Log::create(Arc::new(disk.clone()), Limits::default(), &State::new()).unwrap();
    let operation = |key: u8| vec![(vec![key], Some(vec![key]))];
    log.stage(&operation(1), Claim::New).unwrap();
    log.commit().unwrap();
    disk.set_free(Some(0));
    log.stage(&operation(2), Claim::Reserve).unwrap();
    disk.set_free(Some(64 << 20));
    log.stage(&operation(3), Claim::New).unwrap();
    log.commit().unwrap();
    assert!(log.gauge().look(&disk).is_ok());
}

/// The whole log may have to be written once more, and what follows from what it holds before that.
#[test]
fn what_is_new_leaves_room_for_the_rotation_that_it_will_need() {
    let (disk, limits) = (SimDisk::default(), Limits::default());
    let mut log = Log::create(Arc::new(disk.clone()), limits, &State::new()).unwrap();
    const RECORD: usize = 100 * 1024;
    for key in 0..30 {
        log.stage(&[(vec![key], Some(vec![1; RECORD]))], Claim::New).unwrap();
        log.commit().unwrap();
    }
    let small = [(vec![100], Some(vec![1]))];
    let gauge = log.gauge();
    let needed = limits.headroom_bytes + log.bytes() + 2 * limits.reserve_bytes;
    disk.set_free(Some(needed));
    let refused = log.stage(&small, Claim::New);
    assert!(
        matches!(refused, Err(StageError::Refused(CommitError::Full(_)))),
        "{refused:?}"
    );
    assert!(gauge.look(&disk).is_err(), "health agrees");
    log.stage(&small, Claim::Reserve).unwrap();
    log.commit().unwrap();
    disk.set_free(Some(needed + (512 << 10)));
    assert!(gauge.look(&disk).is_ok());
    log.stage(&small, Claim::New).unwrap();
    log.commit().unwrap();
    // What is deleted is in no snapshot.
    disk.set_free(Some(needed - 20 * RECORD as u64));
    assert!(gauge.look(&disk).is_err());
    let deletes: Vec<_> = (0..25).map(|key| (vec![key], None)).collect();
    log.stage(&deletes, Claim::Reserve).unwrap();
    log.note_deleted(25 * RECORD as u64);
    log.commit().unwrap();
    assert!(gauge.look(&disk).is_ok());
    log.stage(&small, Claim::New).unwrap();
    log.commit().unwrap();
    // So is the generation before, which goes where its room is needed.
    log.rotate().unwrap();
    disk.set_free(Some(limits.headroom_bytes + (64 << 10)));
    log.stage(&small, Claim::New).unwrap();
}

#[test]
fn on_a_full_disk_the_generation_that_nothing_uses_goes_before_a_line_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimDisk::default();
    let limits = Limits {
        rotate_bytes_min: 256 * 1024,
        // Used up before a rotation is due, which would make room too.
        extent_bytes: 16 * 1024,
        reserve_bytes: 16 * 1024,
        ..Limits::default()
    };
    let store = Store::open_on(directory.path(), 1 << 20, Arc::new(disk.clone()), limits).unwrap();
    let logs = || disk.after_kill().into_keys().collect::<Vec<_>>();
    while logs() != ["log.1", "log.2"] {
        put(&store, 1, &[1; 50 * 1024]).unwrap();
    }
    disk.set_free(Some(0));
    assert!(matches!(put_new(&store, 2, b"b"), Err(StoreError::Full(_))));
    assert_eq!(logs(), ["log.1", "log.2"], "not for something new");
    while put(&store, 1, &[1; 50 * 1024]).is_ok() {}
    assert_eq!(logs(), ["log.2"]);
    assert_eq!(rows(&store).len(), 1);
}

/// New and other transactions in one group: the new ones are refused, the others are not.
#[test]
fn a_group_on_a_full_disk_is_refused_one_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimDisk::default();
    let store = Store::open_on(directory.path(), 1 << 20, Arc::new(disk.clone()), Limits::default()).unwrap();
    put_new(&store, 1, b"a").unwrap();
    disk.set_free(Some(1 << 20));
    let executor = smol::LocalExecutor::new();
    let tasks: Vec<_> = (0..40_u32)
        .map(|number| {
            let mut batch = Batch::new();
            batch.put(Tree::Meta, &number.to_be_bytes(), vec![1]).unwrap();
            let store = store.clone();
            executor.spawn(async move {
                match number % 2 {
                    0 => store.commit(batch).await,
                    _ => store.update_new(move |_| Ok((batch, ()))).await,
                }
            })
        })
        .collect();
    let results = smol::block_on(executor.run(async {
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await);
        }
        results
    }));
    for (number, result) in results.iter().enumerate() {
        match number % 2 {
            0 => assert!(result.is_ok(), "{number}: {result:?}"),
            _ => assert!(matches!(result, Err(StoreError::Full(_))), "{number}: {result:?}"),
        }
    }
    assert_eq!(rows(&store).len(), 20);
}

#[test]
fn a_read_only_file_system_refuses_and_goes_on_when_it_is_writable() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimDisk::default();
    let store = Store::open_on(directory.path(), 1 << 20, Arc::new(disk.clone()), Limits::default()).unwrap();
    put(&store, 1, b"a").unwrap();
    disk.set_read_only(true);
    for _ in 0..2 {
        assert!(matches!(put(&store, 2, b"b"), Err(StoreError::ReadOnly(_))));
        assert!(matches!(put_new(&store, 2, b"b"), Err(StoreError::ReadOnly(_))));
        assert!(matches!(store.short_of_room(), Some(StoreError::ReadOnly(_))));
    }
    smol::block_on(store.commit(Batch::new())).expect("the thread turns");
    disk.set_read_only(false);
    // Between the question and the write.
    disk.fail_at(disk.operations(), Fault::ReadOnly);
    assert!(matches!(put(&store, 2, b"b"), Err(StoreError::ReadOnly(_))));
    put(&store, 3, b"c").unwrap();
    assert_eq!((rows(&store).len(), store.poisoned()), (2, None));
    drop(store);
    let image = disk.after_power_cut(&mut fastrand::Rng::with_seed(1));
    let disk = Arc::new(SimDisk::of(&image));
    let store = Store::open_on(directory.path(), 1 << 20, disk, Limits::default()).unwrap();
    assert_eq!(rows(&store).len(), 2);
}

#[test]
fn a_failed_sync_poisons_and_is_never_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SimDisk::default();
    let store = Store::open_on(directory.path(), 1 << 20, Arc::new(disk.clone()), Limits::default()).unwrap();
    put(&store, 1, b"a").unwrap();
    // The write works, the sync after it does not.
    disk.fail_at(disk.operations() + 1, Fault::Io);
    assert!(matches!(put(&store, 2, b"b"), Err(StoreError::Poisoned(_))));
    let operations = disk.operations();
    assert!(matches!(put(&store, 3, b"c"), Err(StoreError::Poisoned(_))));
    assert_eq!(disk.operations(), operations);
    assert_eq!(rows(&store).len(), 1);
    assert!(store.poisoned().is_some());
}

#[test]
fn the_log_is_its_owners_alone_and_can_be_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("a/b");
    let store = open(&state).unwrap();
    put(&store, 1, b"a").unwrap();
    let mode = |name: &str| std::fs::metadata(state.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("log.1"), mode("lock")), (0o700, 0o600, 0o600));
    let found = inspect(&RealDisk::new(state.clone())).unwrap().unwrap();
    assert_eq!((found.sequence, found.transactions, found.state.len()), (1, 1, 1));
}

/// However the umask is: whoever opens the store, nobody else reads what sled writes.
#[test]
fn the_index_is_its_owners_alone() {
    fn exposed(place: &Path, found: &mut Vec<String>) {
        let metadata = std::fs::symlink_metadata(place).unwrap();
        let mode = metadata.permissions().mode() & 0o777;
        let right = if metadata.is_dir() { 0o700 } else { 0o600 };
        if mode != right {
            found.push(format!("{}: {mode:o}", place.display()));
        }
        if metadata.is_dir() {
            for entry in std::fs::read_dir(place).unwrap() {
                exposed(&entry.unwrap().path(), found);
            }
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("a");
    let store = open(&state).unwrap();
    for key in 0..40 {
        put(&store, key, &[1; 20_000]).unwrap();
    }
    drop(store);
    // Made again, with the old one set aside, which was not ours alone.
    std::fs::write(state.join("db.opening"), b"").unwrap();
    std::fs::set_permissions(state.join("db.opening"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::set_permissions(state.join("db/conf"), std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(&state).unwrap());
    assert!(state.join("db.aside").is_dir());
    let mut found = Vec::new();
    exposed(&state, &mut found);
    assert!(found.is_empty(), "{found:?}");
}

/// The store's own thread seals when it is quiet, and at the end: so that no damage to the last transaction is taken
/// for a torn write, with no index that knows better.
#[test]
fn the_last_transaction_is_vouched_for_after_a_quiet_moment() {
    let origin = tempfile::tempdir().unwrap();
    let store = open(origin.path()).unwrap();
    put(&store, 1, b"first").unwrap();
    put(&store, 2, b"the last one").unwrap();
    let damaged = |state: &Path| {
        let directory = tempfile::tempdir().unwrap();
        let mut bytes = std::fs::read(state.join("log.1")).unwrap();
        let at = bytes.windows(12).position(|part| part == b"the last one").unwrap();
        bytes[at] ^= 1;
        std::fs::write(directory.path().join("log.1"), bytes).unwrap();
        match open(directory.path()) {
            Err(StoreError::Damaged { .. }) => true,
            Ok(store) => {
                assert_eq!(rows(&store).len(), 1);
                false
            }
            Err(error) => panic!("{error}"),
        }
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while !damaged(origin.path()) {
        assert!(Instant::now() < deadline, "it is never sealed");
        std::thread::sleep(Duration::from_millis(200));
    }
    // At the end of a run it does not wait for that.
    let origin = tempfile::tempdir().unwrap();
    let store = open(origin.path()).unwrap();
    put(&store, 1, b"first").unwrap();
    put(&store, 2, b"the last one").unwrap();
    drop(store);
    assert!(damaged(origin.path()));
}

/// The next start builds it again; a relay that went on would find none of its records.
#[test]
fn an_index_that_cannot_be_read_in_a_run_ends_the_store_and_the_log_brings_it_back() {
    let directory = tempfile::tempdir().unwrap();
    let fill = |store: &Store| (0..3000).for_each(|key| put(store, key, &[7; 900]).unwrap());
    fill(&open(directory.path()).unwrap());
    // Its pages are no longer all in memory.
    let store = Store::open(directory.path(), 64 * 1024).unwrap();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(directory.path().join("db/db"))
        .unwrap();
    file.set_len(4096).unwrap();
    let unread = store.view().scan(Tree::Meta, b"").find_map(Result::err);
    assert!(matches!(unread, Some(StoreError::Read(_))), "{unread:?}");
    assert!(store.poisoned().unwrap().contains("the index cannot be read"));
    assert!(matches!(put(&store, 1, b"more"), Err(StoreError::Poisoned(_))));
    drop(store);
    assert_eq!(rows(&open(directory.path()).unwrap()).len(), 3000);
}
