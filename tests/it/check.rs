//! `tautline store check` as a script sees it: what is sound, what is not, and that looking changes nothing.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tautline::store::log::{RealDisk, inspect};
use tautline::store::{Batch, Store, StoreError, Tree};

/// Runs the check: code, and all words.
fn check(state: &Path, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tautline"));
    command.env_clear().env("HOME", "/nowhere").arg("--state").arg(state);
    let output = command.args(["store", "check"]).args(args).output().expect("it starts");
    let words = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let words = String::from_utf8_lossy(&words).into_owned();
    assert!(!words.contains("panicked"), "{words}");
    (output.status.code().expect("no signal"), words)
}

#[track_caller]
fn ends(state: &Path, code: i32, parts: &[&str]) {
    let (ended, words) = check(state, &[]);
    assert_eq!(ended, code, "{words}");
    for part in parts {
        assert!(words.contains(part), "no {part:?} in: {words}");
    }
}

fn put(store: &Store, tree: Tree, key: &[u8], value: &[u8]) {
    let mut batch = Batch::new();
    batch.put(tree, key, value.to_vec()).unwrap();
    smol::block_on(store.commit(batch)).unwrap();
}

/// A state with a few records, closed.
fn state() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), 1 << 20).unwrap();
    for number in 0..20u8 {
        put(&store, Tree::Meta, &[number], &[1; 200]);
    }
    directory
}

/// A program that another test has just started holds every descriptor of this process, the lock's too, until it runs.
fn open_when_free(directory: &Path) -> Store {
    let started = Instant::now();
    loop {
        match Store::open(directory, 1 << 20) {
            Err(StoreError::Locked(_)) if started.elapsed() < Duration::from_secs(30) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened.unwrap(),
        }
    }
}

/// Every file with its content, but for the lock, which names who looked last.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().is_some_and(|name| name != "lock") {
            found.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    found
}

#[test]
fn a_sound_state_is_sound_and_stays_as_it_is() {
    let directory = state();
    let before = files(directory.path());
    ends(
        directory.path(),
        0,
        &["sound\n", "last transaction 20", "index: as the log", "20  meta"],
    );
    let (code, json) = check(directory.path(), &["--json"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (code, &report["sound"], &report["records"]["meta"]),
        (0, &true.into(), &20.into())
    );
    assert!(files(directory.path()) == before, "the check has changed something");
}

#[test]
fn a_torn_end_and_a_lost_index_are_no_faults() {
    let directory = state();
    let log = directory.path().join("log.1");
    let mut bytes = std::fs::read(&log).unwrap();
    let found = inspect(&RealDisk::new(directory.path().to_owned())).unwrap().unwrap();
    // Between the last transaction and the seal of an earlier moment.
    bytes[found.bytes as usize..][..100].fill(7);
    std::fs::write(&log, &bytes).unwrap();
    ends(
        directory.path(),
        0,
        &["sound\n", "100 bytes of a last write", "index: as the log"],
    );
    std::fs::remove_dir_all(directory.path().join("db")).unwrap();
    ends(directory.path(), 0, &["index: absent"]);
    std::fs::create_dir(directory.path().join("db")).unwrap();
    std::fs::write(directory.path().join("db/conf"), "rubbish").unwrap();
    ends(directory.path(), 0, &["index: behind (20 rows differ"]);
    assert_eq!(std::fs::read(directory.path().join("db/conf")).unwrap(), b"rubbish");
    assert!(!directory.path().join("db.check").exists());
}

#[test]
fn a_flipped_bit_is_damage_and_nothing_is_set_aside() {
    let directory = state();
    let log = directory.path().join("log.1");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[2000] ^= 1;
    std::fs::write(&log, &bytes).unwrap();
    ends(
        directory.path(),
        1,
        &["log.1", "is not readable", "keep a copy", "restore a backup"],
    );
    assert!(log.exists());
}

#[test]
fn a_log_that_lost_its_end_is_found_by_the_index() {
    let directory = state();
    let log = directory.path().join("log.1");
    let bytes = std::fs::read(&log).unwrap();
    std::fs::write(&log, &bytes[..2000]).unwrap();
    ends(
        directory.path(),
        1,
        &[
            "NOT SOUND",
            "the index has seen 20",
            "has lost its end",
            "restore a backup",
        ],
    );
}

#[test]
fn a_newest_log_that_is_missing_is_found_by_the_index() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), 1 << 20).unwrap();
    for number in 0..60u8 {
        put(&store, Tree::Meta, &[number % 4], &[1; 100_000]);
    }
    drop(store);
    let newest = directory.path().join("log.2");
    std::fs::remove_file(&newest).expect("it has rotated");
    let (code, words) = check(directory.path(), &["--json"]);
    let report: serde_json::Value = serde_json::from_str(words.lines().next().unwrap()).unwrap();
    assert_eq!(
        (code, &report["sound"], &report["index"], &report["generation"]),
        (1, &false.into(), &"ahead".into(), &1.into()),
        "{words}"
    );
    let last = format!(
        "the log ends with transaction {}, and the index has seen 60",
        report["transaction"]
    );
    assert!(report["faults"][0].as_str().unwrap().contains(&last), "{words}");
    ends(
        directory.path(),
        1,
        &[
            "NOT SOUND\n",
            &last,
            "the newest log is missing",
            "older files were put back",
            "keep a copy",
            "index: ahead",
        ],
    );
    let Err(refused) = Store::open(directory.path(), 1 << 20) else {
        panic!("a relay would start on it")
    };
    assert!(refused.to_string().contains(&last), "{refused}");

    std::fs::remove_file(directory.path().join("log.1")).unwrap();
    ends(
        directory.path(),
        1,
        &["the log is gone", "the index has seen transaction 60", "keep a copy"],
    );
    assert!(!directory.path().join("db.check").exists());
}

#[test]
fn records_that_cannot_be_read_are_told_by_kind() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), 1 << 20).unwrap();
    let key = tautline::store::join(&[b"default"]);
    let address = tautline::store::join(&[b"default", b"15550100002@c.us.0"]);
    put(&store, Tree::Outbox, &7u64.to_be_bytes(), b"\x01rubbish");
    put(&store, Tree::Device, &key, b"\x02later");
    put(&store, Tree::Identity, &address, b"\x01short");
    put(&store, Tree::Session, &address, b"\xff\x01\x05");
    put(&store, Tree::InboundIdentity, &key, b"short");
    put(&store, Tree::Inbound, &key, b"");
    drop(store);
    let (code, words) = check(directory.path(), &[]);
    assert_eq!(code, 1, "{words}");
    for part in [
        "the state has 6 faults",
        "under outbox is not readable",
        "this alert is not sent",
        "under device is not readable: format 2",
        "pair again",
        "under identity",
        "under session is not readable: a piece of it is missing",
        "under inbound-identity",
        "under inbound is not readable: ",
    ] {
        assert!(words.contains(part), "no {part:?} in: {words}");
    }
    assert!(!words.contains("15550100002"), "{words}");
    let (code, json) = check(directory.path(), &["--json"]);
    let report: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((code, &report["sound"]), (1, &false.into()));
    assert_eq!(report["faults"].as_array().map(Vec::len), Some(6));
}

#[test]
fn the_generation_before_is_read_too() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), 1 << 20).unwrap();
    for number in 0..60u8 {
        put(&store, Tree::Meta, &[number % 4], &[1; 100_000]);
    }
    drop(store);
    let old = directory.path().join("log.1");
    assert!(
        old.exists() && directory.path().join("log.2").exists(),
        "it has rotated"
    );
    ends(directory.path(), 0, &["the generation before ends with transaction"]);
    let mut bytes = std::fs::read(&old).unwrap();
    bytes[1_000_000] ^= 1;
    std::fs::write(&old, &bytes).unwrap();
    ends(
        directory.path(),
        1,
        &["the generation before", "log.1", "nothing is lost", "dmesg"],
    );
}

#[test]
fn what_is_no_state_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    ends(directory.path(), 1, &["there is no state in it"]);
    std::fs::write(directory.path().join("photo.jpg"), "x").unwrap();
    ends(directory.path(), 1, &["there is no state in it"]);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    ends(&directory.path().join("nowhere"), 1, &["there is no such directory"]);
    ends(&directory.path().join("photo.jpg"), 1, &["it is not a directory"]);
    let Err(refused) = Store::open(&directory.path().join("photo.jpg"), 1 << 20) else {
        panic!("a photo was opened")
    };
    assert!(refused.to_string().ends_with("it is not a directory"), "{refused}");
}

#[test]
fn a_log_that_cannot_be_read_is_named() {
    let directory = state();
    // A directory in its place cannot be read by root either.
    let log = directory.path().join("log.1");
    std::fs::remove_file(&log).unwrap();
    std::fs::create_dir(&log).unwrap();
    ends(directory.path(), 1, &["cannot open the state", "log.1"]);
}

#[test]
fn a_relay_that_runs_is_no_hindrance() {
    let directory = state();
    let store = open_when_free(directory.path());
    let busy = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for number in 0..400u32 {
                put(&store, Tree::Meta, &[number as u8], &[2; 5000]);
            }
        });
        let mut looks = 0;
        while !writing.is_finished() || looks < 2 {
            let holder = format!("while process {} is using it", std::process::id());
            ends(directory.path(), 0, &[&holder, "index: not looked at"]);
            looks += 1;
        }
        looks
    });
    assert!(busy >= 2);
    // What it leaves behind while it looks is the owner's alone.
    let mode = std::fs::metadata(directory.path().join("lock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_a_killed_check_leaves_goes_with_the_next_start() {
    let directory = state();
    let copy = directory.path().join("db.check");
    std::fs::create_dir_all(copy.join("db")).unwrap();
    std::fs::write(copy.join("db/conf"), "x").unwrap();
    drop(open_when_free(directory.path()));
    assert!(!copy.exists());
}

/// Only root can look at another user's state, so nothing is shown elsewhere.
#[test]
fn a_check_by_root_leaves_a_lock_that_the_owner_can_open() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = state();
    let lock = directory.path().join("lock");
    std::fs::remove_file(&lock).unwrap();
    chown(directory.path(), Some(65_534), Some(65_534)).unwrap();
    ends(directory.path(), 0, &["sound\n"]);
    let made = std::fs::metadata(&lock).unwrap();
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (65_534, 65_534, 0o600));

    // What is not a lock is not written to.
    let photo = directory.path().join("photo.jpg");
    std::fs::write(&photo, "x").unwrap();
    std::fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink(&photo, &lock).unwrap();
    ends(directory.path(), 0, &["sound\n", "the lock cannot be taken"]);
    assert_eq!(std::fs::read(&photo).unwrap(), b"x");
}
