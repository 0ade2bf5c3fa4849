//! Damage of every kind to a log's bytes: cut, refused and set aside, or put right; never read past, never a panic.

use std::collections::BTreeMap;
use std::sync::Arc;

use tautline::store::log::{Claim, Limits, Log, LogError, State, inspect};

use super::disk::SimDisk;

type Files = BTreeMap<String, Vec<u8>>;

/// A log of `count` transactions, each synced by itself: files as they are, and the state after each.
fn log_of(count: u8) -> (Files, Vec<State>) {
    made(count, false)
}

fn made(count: u8, sealed: bool) -> (Files, Vec<State>) {
    let disk = SimDisk::default();
    let mut states = vec![State::new()];
    let mut log = Log::create(Arc::new(disk.clone()), Limits::default(), &State::new()).unwrap();
    for number in 1..=count {
        let mut state = states.last().unwrap().clone();
        state.insert(vec![number], vec![number; 40]);
        log.stage(&[(vec![number], Some(vec![number; 40]))], Claim::New)
            .unwrap();
        log.commit().unwrap();
        states.push(state);
    }
    if sealed {
        log.seal();
    }
    drop(log);
    let mut files = disk.after_kill();
    // Without the zeros ahead, to have every byte mean something.
    let bytes = files.get_mut("log.1").unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // A seal ends with a zero of its own.
    bytes.truncate(end + usize::from(sealed));
    (files, states)
}

fn open(files: &Files) -> (Result<Option<(Log, State)>, LogError>, SimDisk) {
    let disk = SimDisk::of(files);
    (Log::open(Arc::new(disk.clone()), Limits::default()), disk)
}

#[test]
fn a_log_cut_at_any_byte_is_a_first_part_of_itself() {
    let (files, states) = log_of(4);
    let whole = &files["log.1"];
    let mut seen = [false; 5];
    for len in 0..whole.len() {
        let files = Files::from([("log.1".to_owned(), whole[..len].to_vec())]);
        let (opened, disk) = open(&files);
        match opened {
            Ok(Some((log, state))) => {
                assert_eq!(state, states[log.sequence() as usize], "cut to {len}");
                assert_eq!(inspect(&disk).unwrap().unwrap().torn_bytes, 0, "cut to {len}");
                seen[log.sequence() as usize] = true;
            }
            // Within the header and the snapshot, which are synced before the file has its name.
            Err(LogError::Damaged { .. }) => assert!(len < 32 + 27, "cut to {len}"),
            other => panic!("cut to {len}: {:?}", other.map(|_| ())),
        }
    }
    assert_eq!(seen, [true, true, true, true, false]);
}

#[test]
fn any_flipped_byte_is_alarmed_or_costs_the_last_transaction_at_most() {
    let (files, states) = log_of(4);
    let whole = &files["log.1"];
    let (mut alarmed, mut cut) = (0, 0);
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        match open(&Files::from([("log.1".to_owned(), bytes)])) {
            (Ok(Some((log, state))), _) => {
                // Like a torn write: nothing after it says that it was synced. The index does (real.rs).
                assert_eq!((log.sequence(), &state), (3, &states[3]), "byte {at}");
                cut += 1;
            }
            (Err(LogError::Damaged { file, .. }), disk) => {
                assert_eq!(file, "log.1.damaged", "byte {at}");
                assert_eq!(disk.after_kill().into_keys().collect::<Vec<_>>(), [file]);
                alarmed += 1;
            }
            (other, _) => panic!("byte {at}: {:?}", other.map(|_| ())),
        }
    }
    assert!(alarmed > 3 * cut && cut > 0, "{alarmed} {cut}");
}

#[test]
fn under_a_seal_damage_to_the_last_transaction_is_alarmed_too() {
    let (files, _) = log_of(4);
    let end = files["log.1"].len();
    let (files, states) = made(4, true);
    let whole = &files["log.1"];
    let mut kept = 0;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        match open(&Files::from([("log.1".to_owned(), bytes)])).0 {
            // The seal itself, and the zeros before it: like a torn write after the last transaction.
            Ok(Some((log, state))) if at >= end => {
                assert_eq!((log.sequence(), &state), (4, &states[4]), "byte {at}");
                kept += 1;
            }
            Err(LogError::Damaged { .. }) if at < end => {}
            other => panic!("byte {at} of {end}: {:?}", other.map(|_| ())),
        }
    }
    assert!(kept > 3700, "the seal is on another page: {kept}");
    // All of the page of the transactions at once, and the zeros of a page that was never written.
    for byte in [0xFF, 0] {
        let mut bytes = whole.clone();
        bytes[end - 50..4096].fill(byte);
        let opened = open(&Files::from([("log.1".to_owned(), bytes)])).0;
        assert!(matches!(opened, Err(LogError::Damaged { .. })), "{byte}");
    }
}

/// Frames of sizes that end before a seal, within one, and after it.
#[test]
fn a_log_that_is_sealed_often_goes_on_and_has_no_torn_end() {
    let disk = SimDisk::default();
    let limits = Limits {
        rotate_bytes_min: 64 * 1024,
        extent_bytes: 8 * 1024,
        headroom_bytes: 0,
        reserve_bytes: 8 * 1024,
    };
    let mut random = fastrand::Rng::with_seed(11);
    let (mut state, mut within) = (State::new(), 0);
    drop(Log::create(Arc::new(disk.clone()), limits, &state).unwrap());
    for number in 0..1500_u32 {
        let (mut log, found) = Log::open(Arc::new(disk.clone()), limits).unwrap().unwrap();
        assert_eq!(found, state, "before {number}");
        assert_eq!(inspect(&disk).unwrap().unwrap().torn_bytes, 0, "before {number}");
        assert!(!log.wants_seal() || number.is_multiple_of(4), "before {number}");
        let (key, value) = (vec![random.u8(..20)], vec![random.u8(1..); random.usize(..50)]);
        log.stage(&[(key.clone(), Some(value.clone()))], Claim::New).unwrap();
        log.commit().unwrap();
        state.insert(key, value);
        if number % 4 != 3 {
            let before = inspect(&disk).unwrap().unwrap().bytes;
            within += u32::from((1..27).contains(&(before % 4096)));
            log.seal();
        }
        if log.wants_rotation() {
            log.rotate().unwrap();
        }
    }
    assert!(within > 5, "{within}");
}

#[test]
fn an_older_generation_is_not_used_in_place_of_a_damaged_one() {
    let (files, _) = log_of(2);
    let newer = Files::from([
        ("log.1".to_owned(), files["log.1"].clone()),
        ("log.2".to_owned(), b"not a log".to_vec()),
    ]);
    let (first, disk) = open(&newer);
    assert!(matches!(first, Err(LogError::Damaged { .. })));
    // And not by asking again.
    let (second, _) = open(&disk.after_kill());
    assert!(matches!(&second, Err(LogError::Damaged { file, .. }) if file == "log.2.damaged"));
    assert!(matches!(inspect(&disk), Err(LogError::Damaged { .. })));
}

#[test]
fn what_a_later_version_wrote_is_refused_and_left_in_place() {
    let (files, _) = log_of(1);
    let mut bytes = files["log.1"].clone();
    bytes[8] = 2;
    let crc = crc32c(&bytes[..28]).to_le_bytes();
    bytes[28..32].copy_from_slice(&crc);
    let (opened, disk) = open(&Files::from([("log.1".to_owned(), bytes)]));
    assert!(matches!(opened, Err(LogError::Newer { .. })));
    assert!(disk.after_kill().contains_key("log.1"));
}

/// Bit by bit, as an own reading of the format: the log's uses a table.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut value = !0_u32;
    for byte in bytes {
        value ^= u32::from(*byte);
        for _ in 0..8 {
            value = (value >> 1) ^ (0x82F6_3B78 & (value & 1).wrapping_neg());
        }
    }
    !value
}

fn frame(bytes: &mut Vec<u8>, sequence: u64, durable: u64, kind: u8, body: &[u8]) {
    let mut rest = sequence.to_le_bytes().to_vec();
    rest.extend(durable.to_le_bytes());
    rest.extend([kind, 1]);
    rest.extend(body);
    let length = (body.len() as u32).to_le_bytes();
    bytes.extend(length);
    bytes.extend(crc32c(&[&length[..], &rest].concat()).to_le_bytes());
    bytes.extend(rest);
}

/// A log of format 1, byte by byte, as `docs/store-format.md` draws it. Every later version must open it.
#[test]
fn format_1_is_read_for_ever() {
    let mut bytes = b"TAUTLOG\n\x01\0\0\0".to_vec();
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend(7_u64.to_le_bytes());
    bytes.extend(crc32c(&bytes).to_le_bytes());
    frame(&mut bytes, 7, 7, 1, b"\x01\x02ka\x01\x01A");
    frame(&mut bytes, 7, 7, 2, b"\x01\x02kb\x01\x02BB");
    frame(&mut bytes, 8, 7, 3, b"\x02\x02kc\x01\x00\x02ka\x00");
    let (before, whole) = (bytes.len() - 2, bytes.len());
    let expected = State::from([(b"kb".to_vec(), b"BB".to_vec()), (b"kc".to_vec(), Vec::new())]);
    bytes.resize(4096, 0);
    frame(&mut bytes, 8, 8, 4, b"\0");
    for len in [whole, 4096, bytes.len()] {
        let (opened, _) = open(&Files::from([("log.1".to_owned(), bytes[..len].to_vec())]));
        let (log, state) = opened.unwrap().unwrap();
        assert_eq!((log.sequence(), &state), (8, &expected));
        assert_eq!(log.wants_seal(), len < bytes.len());
    }
    bytes[before] ^= 1;
    let (opened, _) = open(&Files::from([("log.1".to_owned(), bytes)]));
    assert!(matches!(opened, Err(LogError::Damaged { .. })));
}

/// Seeds for a fuzzer's corpus and their descendants: the reader answers every one of them.
#[test]
fn random_bytes_and_mutations_are_answered() {
    let (files, _) = log_of(6);
    let whole = &files["log.1"];
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..3000 {
        let mut bytes = whole.clone();
        for _ in 0..random.usize(1..6) {
            let (from, to) = (random.usize(..bytes.len()), random.usize(..bytes.len()));
            match random.u8(..4) {
                0 => bytes[from] = random.u8(..),
                1 => bytes.truncate(from.max(1)),
                2 => bytes.insert(from, random.u8(..)),
                _ => bytes.copy_within(from.min(to)..from.max(to), from.min(to) / 2),
            }
        }
        // A right header over wrong bytes gets further.
        if random.bool() && bytes.len() >= 32 {
            bytes[..32].copy_from_slice(&whole[..32]);
        }
        let _ = open(&Files::from([("log.1".to_owned(), bytes)]));
    }
}
