//! The reader of backups over bytes that may be anything. See `state::fuzzing`.

use super::{Backup, Draft, Pending};
use crate::credentials::PreKeyOffset;
use crate::store::Tree;
use crate::store::log::State;
use crate::store::log::fuzz::right_checksums;

/// Reads `data` as a backup and merges it into an empty state, and once more with its checksums put right.
///
/// # Panics
/// The reader or a restore panics, lets through what never comes back, or makes of what it read something that does not
/// read back as the same.
pub fn backup(data: &[u8]) {
    check(data);
    let mut whole = data.to_vec();
    right_checksums(&mut whole);
    check(&whole);
}

/// Whether `data` can be restored as it is, and has something in it.
pub fn is_whole_backup(data: &[u8]) -> bool {
    Backup::read(data).is_ok_and(|backup| !backup.state.is_empty())
}

fn check(bytes: &[u8]) {
    let Ok(found) = Backup::read(bytes) else { return };
    assert_goes_along(&found.state);
    let again = read_again(found.made_at_ms, &found.state);
    assert_eq!(told(&again), told(&found));
    assert!(again.state == found.state);

    for pending in [Pending::Send, Pending::Hold] {
        let backup = Backup::read(bytes).expect("it was read before");
        let offset = PreKeyOffset::of(bytes.len() as u32);
        let next = backup.merged_into(State::new(), pending, found.made_at_ms, offset);
        let (next, _) = next.expect("what was read can be restored");
        assert_goes_along(&next);
        let restored = read_again(found.made_at_ms, &next);
        assert!(restored.state == next);
        let mut expected = told(&found);
        if pending == Pending::Hold {
            expected.pending = 0;
        }
        assert_eq!(told(&restored), expected);
    }
}

fn assert_goes_along(state: &State) {
    for key in state.keys() {
        assert!(Tree::of_raw_key(key).is_some_and(Tree::is_in_backup), "{key:?}");
    }
}

fn read_again(made_at_ms: u64, state: &State) -> Backup {
    let state = state.clone();
    let mut bytes = Vec::new();
    let written = Draft { made_at_ms, state }.write(&mut bytes);
    written.expect("a vector takes all");
    Backup::read(&bytes).expect("what was written is readable")
}

/// What a backup says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    made_at_ms: u64,
    sessions: Vec<String>,
    alerts: usize,
    pending: usize,
    messages: usize,
}

fn told(backup: &Backup) -> Told {
    Told {
        made_at_ms: backup.made_at_ms,
        sessions: backup.sessions.clone(),
        alerts: backup.alerts,
        pending: backup.pending,
        messages: backup.messages,
    }
}
