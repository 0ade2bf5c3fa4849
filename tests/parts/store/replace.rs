//! A whole state put in the place of another: after a cut at any operation it is one or the other.

use std::sync::Arc;

use tautline::store::log::{Claim, Limits, Log, State};

use super::disk::{Fault, SimDisk};

fn state(records: usize, byte: u8) -> State {
    let row = |number: usize| (number.to_be_bytes().to_vec(), vec![byte; 700]);
    (0..records).map(row).collect()
}

fn open(disk: &SimDisk) -> Option<(Log, State)> {
    Log::open(Arc::new(disk.clone()), Limits::default()).unwrap()
}

#[test]
fn a_power_cut_or_an_error_leaves_the_old_state_or_the_new_one() {
    let (old, new) = (state(3, 1), state(900, 2));
    let (mut replaced, mut kept) = (0, 0);
    for fault in [Fault::Cut, Fault::Io, Fault::Full] {
        for at in 0..12 {
            for seed in 0..4 {
                let disk = SimDisk::default();
                let mut log = Log::create(Arc::new(disk.clone()), Limits::default(), &old).unwrap();
                disk.fail_at(disk.operations() + at, fault);
                let done = log.replace(&new).is_ok();
                drop(log);
                let mut random = fastrand::Rng::with_seed(at << 8 | seed);
                let disk = SimDisk::of(&disk.after_power_cut(&mut random));
                let (_, found) = open(&disk).unwrap();
                assert!(found == old || found == new, "{fault:?} at {at}, seed {seed}");
                assert!(
                    !done || found == new,
                    "{fault:?} at {at}, seed {seed}: it was said to be there"
                );
                replaced += u32::from(found == new);
                kept += u32::from(found == old);
            }
        }
    }
    assert!(replaced > 30 && kept > 30, "{replaced} {kept}");
}

#[test]
fn transactions_go_on_after_it() {
    let disk = SimDisk::default();
    let mut log = Log::create(Arc::new(disk.clone()), Limits::default(), &state(3, 1)).unwrap();
    log.replace(&state(2, 2)).unwrap();
    assert_eq!((log.generation(), log.sequence()), (2, 1));
    log.stage(&[(b"key".to_vec(), Some(b"value".to_vec()))], Claim::New)
        .unwrap();
    log.commit().unwrap();
    drop(log);
    let (log, found) = open(&disk).unwrap();
    let mut expected = state(2, 2);
    expected.insert(b"key".to_vec(), b"value".to_vec());
    assert_eq!((log.sequence(), found), (2, expected));
}
