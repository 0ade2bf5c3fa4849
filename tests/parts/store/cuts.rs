//! The log alone, on a disk that loses power or fails at every single operation, while starting and rotating too.

use std::collections::BTreeMap;
use std::sync::Arc;

use tautline::store::log::{Claim, CommitError, Limits, Log, LogError, Operation, StageError, State};

use super::disk::{Fault, SimDisk};

/// Small, so that a short workload rotates and grows the file several times.
const LIMITS: Limits = Limits {
    rotate_bytes_min: 4 * 1024,
    extent_bytes: 2 * 1024,
    headroom_bytes: 0,
    reserve_bytes: 1024,
};

type Files = BTreeMap<String, Vec<u8>>;

fn seeds() -> u64 {
    let given = std::env::var("TAUTLINE_SEEDS").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(3)
}

/// Transaction `number`: it moves a counter and changes other keys, of sizes over and under a sector.
fn transaction(number: u64) -> Vec<Operation> {
    let mut random = fastrand::Rng::with_seed(number);
    let mut operations = vec![(b"counter".to_vec(), Some(number.to_be_bytes().to_vec()))];
    for _ in 0..random.usize(1..4) {
        let key = vec![b'k', random.u8(..12)];
        let value = (random.u8(..4) > 0).then(|| vec![random.u8(..); random.usize(..700)]);
        operations.push((key, value));
    }
    operations
}

fn state_after(number: u64) -> State {
    let mut state = State::new();
    for (key, value) in (1..=number).flat_map(transaction) {
        match value {
            Some(value) => state.insert(key, value),
            None => state.remove(&key),
        };
    }
    state
}

/// What the writer knows when its disk stops.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    acknowledged: u64,
    attempted: u64,
}

/// Opens or creates, checks against what was known, and writes up to `upto` in groups of one to four; until the end or
/// the first fault that does not pass.
fn work(disk: &SimDisk, mut known: Known, upto: u64, refused: &mut u64) -> Result<Known, String> {
    let opened = match Log::open(Arc::new(disk.clone()), LIMITS) {
        Ok(opened) => opened,
        Err(LogError::Io { .. }) => return Ok(known),
        Err(error) => return Err(format!("known {known:?}: {error}")),
    };
    let mut log = match opened {
        Some((log, state)) => {
            let found = log.sequence();
            if !(known.acknowledged..=known.attempted).contains(&found) {
                return Err(format!("found {found} of {known:?}"));
            }
            if state != state_after(found) {
                return Err(format!("transaction {found} is not whole"));
            }
            known = Known {
                acknowledged: found,
                attempted: found,
            };
            log
        }
        None if known.acknowledged > 0 => return Err(format!("nothing is there of {known:?}")),
        None => match Log::create(Arc::new(disk.clone()), LIMITS, &State::new()) {
            Ok(log) => log,
            Err(_) => return Ok(known),
        },
    };
    while known.acknowledged < upto {
        let wanted = 1 + known.acknowledged % 4;
        let mut count = 0;
        for number in known.acknowledged + 1..=known.acknowledged + wanted {
            let claim = [Claim::New, Claim::Reserve][number as usize / 3 % 2];
            match log.stage(&transaction(number), claim) {
                Ok(()) => count += 1,
                Err(StageError::TooLarge) => unreachable!("it is small"),
                // This one alone, and then what follows from it. Something broken is met again at the commit.
                Err(StageError::Refused(_)) => {
                    *refused += 1;
                    break;
                }
            }
        }
        match log.commit() {
            Ok(()) => known.acknowledged += count,
            // Refused: not there, now or later. It is tried again.
            Err(CommitError::Full(_) | CommitError::ReadOnly(_)) => {
                *refused += 1;
                continue;
            }
            Err(CommitError::Broken(_)) => {
                known.attempted = known.acknowledged + count;
                return Ok(known);
            }
        }
        known.attempted = known.acknowledged;
        // As after a quiet moment.
        if known.acknowledged.is_multiple_of(3) {
            log.seal();
        }
        if log.wants_rotation()
            && let Err(CommitError::Broken(_)) = log.rotate()
        {
            return Ok(known);
        }
    }
    Ok(known)
}

const FIRST: u64 = 40;

/// How many operations of the disk the whole workload takes.
fn operations() -> u64 {
    let disk = SimDisk::default();
    work(&disk, Known::default(), FIRST, &mut 0).unwrap();
    assert!(disk.after_kill().contains_key("log.5"), "the workload rotates");
    disk.operations()
}

fn reopen(files: &Files, known: Known) -> Result<Known, String> {
    work(&SimDisk::of(files), known, known.attempted + 3, &mut 0)
}

#[test]
fn a_power_cut_at_every_operation_and_again_in_the_recovery_loses_nothing() {
    let mut images = 0;
    for at in 0..operations() {
        for seed in 0..seeds() {
            let mut random = fastrand::Rng::with_seed(at << 16 | seed);
            let disk = SimDisk::default();
            disk.fail_at(at, Fault::Cut);
            let known = work(&disk, Known::default(), FIRST, &mut 0).unwrap();
            let image = disk.after_power_cut(&mut random);
            // The next start is cut too, in its recovery or a little later, and the one after that is not.
            for again in [0, 1, 2, 3, 4, 6, 9, 15] {
                let disk = SimDisk::of(&image);
                disk.fail_at(again, Fault::Cut);
                let context = |error| format!("cut at {at}, seed {seed}, again at {again}: {error}");
                let second = work(&disk, known, known.attempted + 12, &mut 0)
                    .map_err(context)
                    .unwrap();
                let image = disk.after_power_cut(&mut random);
                reopen(&image, second).map_err(context).unwrap();
                images += 2;
            }
        }
    }
    assert!(images > 1000, "{images}");
    println!("{images} images");
}

#[test]
fn a_kill_at_every_operation_loses_nothing() {
    for at in 0..operations() {
        let disk = SimDisk::default();
        disk.fail_at(at, Fault::Cut);
        let known = work(&disk, Known::default(), FIRST, &mut 0).unwrap();
        reopen(&disk.after_kill(), known)
            .map_err(|error| format!("killed at {at}: {error}"))
            .unwrap();
    }
}

/// A start may read what the last run wrote and never synced. What it has shown is there after a power cut too.
#[test]
fn what_a_start_has_read_lasts() {
    for at in 0..operations() {
        let disk = SimDisk::default();
        disk.fail_at(at, Fault::Cut);
        work(&disk, Known::default(), FIRST, &mut 0).unwrap();
        disk.restart();
        let Some((log, state)) = Log::open(Arc::new(disk.clone()), LIMITS).unwrap() else {
            continue;
        };
        for seed in 0..4 {
            let image = disk.after_power_cut(&mut fastrand::Rng::with_seed(at << 16 | seed));
            let (after, same) = Log::open(Arc::new(SimDisk::of(&image)), LIMITS).unwrap().unwrap();
            assert_eq!(
                (after.sequence(), same),
                (log.sequence(), state.clone()),
                "killed at {at}, seed {seed}"
            );
        }
    }
}

/// EIO once, at every write, sync and change of names: whatever was acknowledged is there after a power cut.
#[test]
fn an_error_at_every_operation_loses_nothing() {
    for at in 0..operations() {
        let mut random = fastrand::Rng::with_seed(at);
        let disk = SimDisk::default();
        disk.fail_at(at, Fault::Io);
        let known = work(&disk, Known::default(), FIRST, &mut 0).unwrap();
        for image in [disk.after_kill(), disk.after_power_cut(&mut random)] {
            reopen(&image, known)
                .map_err(|error| format!("error at {at}: {error}"))
                .unwrap();
        }
    }
}

/// ENOSPC once, half way through every write: refused without a trace, or stopped; never half there.
#[test]
fn a_full_disk_at_every_operation_refuses_whole() {
    let mut refused = 0;
    for at in 0..operations() {
        let mut random = fastrand::Rng::with_seed(at);
        let disk = SimDisk::default();
        disk.fail_at(at, Fault::Full);
        let known = work(&disk, Known::default(), FIRST, &mut refused).unwrap();
        for image in [disk.after_kill(), disk.after_power_cut(&mut random)] {
            reopen(&image, known)
                .map_err(|error| format!("full at {at}: {error}"))
                .unwrap();
        }
    }
    assert!(refused >= 10, "a full disk mostly refuses and goes on: {refused}");
}

/// The file system becomes read-only for one operation, at every one: refused without a trace, or stopped.
#[test]
fn a_read_only_moment_at_every_operation_refuses_whole() {
    let mut refused = 0;
    for at in 0..operations() {
        let mut random = fastrand::Rng::with_seed(at);
        let disk = SimDisk::default();
        disk.fail_at(at, Fault::ReadOnly);
        let known = work(&disk, Known::default(), FIRST, &mut refused).unwrap();
        for image in [disk.after_kill(), disk.after_power_cut(&mut random)] {
            reopen(&image, known)
                .map_err(|error| format!("read-only at {at}: {error}"))
                .unwrap();
        }
    }
    assert!(refused >= 10, "it mostly refuses and goes on: {refused}");
}

#[test]
fn a_refused_transaction_is_not_there_even_if_the_power_goes_right_after() {
    for seed in 0..50 {
        let disk = SimDisk::default();
        let mut log = Log::create(Arc::new(disk.clone()), Limits::default(), &State::new()).unwrap();
        log.stage(&transaction(1), Claim::New).unwrap();
        log.commit().unwrap();
        // A group of which half is written: its first transactions are whole there.
        for number in 2..=6 {
            log.stage(&transaction(number), Claim::New).unwrap();
        }
        // Within the zeros laid down for the first: the write of the frame itself fails, half done.
        disk.fail_at(disk.operations(), Fault::Full);
        assert!(matches!(log.commit(), Err(CommitError::Full(_))));
        drop(log);
        let image = disk.after_power_cut(&mut fastrand::Rng::with_seed(seed));
        let (log, state) = Log::open(Arc::new(SimDisk::of(&image)), LIMITS).unwrap().unwrap();
        assert_eq!((log.sequence(), state), (1, state_after(1)));
    }
}

#[test]
fn the_file_stays_within_its_bound_and_one_old_generation_is_kept() {
    let disk = SimDisk::default();
    work(&disk, Known::default(), 400, &mut 0).unwrap();
    let files = disk.after_kill();
    assert_eq!(files.len(), 2, "{:?}", files.keys());
    for (name, bytes) in &files {
        // The bound, one group past it, and the zeros laid down.
        assert!(bytes.len() < 40 * 1024, "{name}: {}", bytes.len());
    }
}
