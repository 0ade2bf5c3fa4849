use super::record::{from_hex, hex};
use super::*;
use crate::alert::SessionName;

/// 2026-01-01.
const NOW: u64 = 1_767_225_600_000;
const DAY: u64 = 24 * 60 * 60 * 1000;

fn open(directory: &tempfile::TempDir) -> Store {
    Store::open(directory.path(), 1 << 20).unwrap()
}

fn entry(at: u64, what: TransitionKind, id: &str) -> Entry {
    Entry {
        at: Timestamp(at),
        event: Event::Alert {
            what,
            id: id.into(),
            route: "family".parse().unwrap(),
            session: "default".parse().unwrap(),
            delivery: Some(0),
        },
    }
}

/// Adds `count` entries of the moment `at` in one transaction.
fn add(store: &Store, bounds: Bounds, at: u64, count: usize) {
    let ends = store.journal_ends().clone();
    let entries = vec![entry(at, TransitionKind::Sent, "AAAAAAAAAAAA"); count];
    let added = store.update(move |view| {
        let mut batch = Batch::new();
        append_within(bounds, &ends, view, &mut batch, &entries)?;
        Ok((batch, ()))
    });
    smol::block_on(added).unwrap();
}

fn numbers(store: &Store) -> Vec<u64> {
    let rows = after(store.view(), 0, usize::MAX).unwrap();
    rows.into_iter().map(|(number, _)| number).collect()
}

/// The rows of format 1, as they stand on people's disks, and what they say. Later versions must still open them: never
/// edit one, add others.
fn version_1() -> [(&'static str, Event); 6] {
    let session: SessionName = "default".parse().unwrap();
    [
        (
            "0180d0eab6b73300030c74384b456d7a5378756b39620666616d696c790764656661756c740101",
            Event::Alert {
                what: TransitionKind::Read,
                id: "t8KEmzSxuk9b".into(),
                route: "family".parse().unwrap(),
                session: session.clone(),
                delivery: Some(1),
            },
        ),
        (
            "0180d0eab6b733010764656661756c74ac02",
            Event::Recorded {
                session: session.clone(),
                position: 300,
            },
        ),
        (
            "0180d0eab6b733020764656661756c74",
            Event::Online {
                session: session.clone(),
            },
        ),
        (
            "0180d0eab6b733030764656661756c740c706f6e672d74696d656f7574",
            Event::Offline {
                session: session.clone(),
                cause: "pong-timeout".into(),
            },
        ),
        (
            "0180d0eab6b733040764656661756c7408756e6c696e6b6564",
            Event::NeedsPerson {
                session: session.clone(),
                cause: "unlinked".into(),
            },
        ),
        ("0180d0eab6b733050764656661756c74", Event::Paired { session }),
    ]
}

#[test]
fn format_1_is_written_and_read() {
    for (row, event) in version_1() {
        let at = Timestamp(NOW);
        let entry = Entry { at, event };
        let written = encode(&entry).unwrap();
        assert_eq!(hex(&written), row, "{entry:?}");
        assert_eq!(decode(&from_hex(row)).unwrap(), entry);
    }
}

/// A part of the records on disk, by number. The order is never changed.
#[test]
fn happenings_keep_their_numbers() {
    use TransitionKind::{Accepted, Delivered, Dropped, Failed, Forgotten, Read, Retried, Sent};
    let all = [Accepted, Sent, Delivered, Read, Failed, Dropped, Retried, Forgotten];
    for (number, what) in all.into_iter().enumerate() {
        assert_eq!(postcard::to_extend(&what, Vec::new()).unwrap(), [number as u8]);
    }
}

#[test]
fn numbers_go_on_after_a_restart_and_old_entries_go() {
    let directory = tempfile::tempdir().unwrap();
    let bounds = Bounds {
        entries_max: 20,
        ..BOUNDS
    };
    let mut written = 0;
    for count in [1, 5, 30, 3, 1, 19] {
        let store = open(&directory);
        add(&store, bounds, NOW, count);
        add(&store, bounds, NOW, 1);
        written += count as u64 + 1;
        let kept: Vec<u64> = (written.saturating_sub(20) + 1..=written).collect();
        let found = numbers(&store);
        // One transaction deletes no more than it adds and a little, and none of its own.
        assert!(found.ends_with(&kept) && found.len() <= 31, "{found:?}");
        for _ in 0..3 {
            add(&store, bounds, NOW, 1);
        }
        written += 3;
        let kept: Vec<u64> = (written.saturating_sub(20) + 1..=written).collect();
        assert_eq!(numbers(&store), kept);
    }
}

#[test]
fn a_month_is_kept_and_a_clock_that_was_not_set_makes_nothing_old() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    add(&store, BOUNDS, 5000, 1);
    add(&store, BOUNDS, NOW, 3);
    add(&store, BOUNDS, NOW + 29 * DAY, 1);
    add(&store, BOUNDS, 5000, 1);
    assert_eq!(numbers(&store), [1, 2, 3, 4, 5, 6]);
    drop(store);
    let store = open(&directory);
    // The first has no age, and stands before the others until its turn comes by number.
    add(
        &store,
        Bounds {
            entries_max: 6,
            ..BOUNDS
        },
        NOW + 31 * DAY,
        1,
    );
    assert_eq!(numbers(&store), [5, 6, 7]);
    add(&store, BOUNDS, NOW + 400 * DAY, 1);
    assert_eq!(numbers(&store), [6, 7, 8], "what has no age waits for its turn");
}

#[test]
fn the_newest_stays_so_that_no_number_comes_twice() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let bounds = Bounds {
        entries_max: 0,
        age_ms_max: 0,
    };
    for at in 0..10 {
        add(&store, bounds, NOW + at, 1);
        assert_eq!(numbers(&store), [at + 1]);
    }
}

#[test]
fn an_alert_has_its_own_history_back_to_its_acceptance() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    for (what, id) in [
        (TransitionKind::Accepted, "one"),
        (TransitionKind::Forgotten, "one"),
        (TransitionKind::Accepted, "two"),
        (TransitionKind::Accepted, "one"),
        (TransitionKind::Sent, "one"),
        (TransitionKind::Sent, "two"),
    ] {
        smol::block_on(commit(&store, Batch::new(), vec![entry(NOW, what, id)])).unwrap();
    }
    let of = |id| {
        let found = of_alert(store.view(), id).unwrap();
        found.into_iter().map(|(number, _)| number).collect::<Vec<_>>()
    };
    assert_eq!(of("one"), [4, 5]);
    assert_eq!(of("two"), [3, 6]);
    assert!(of("").is_empty() && of("on").is_empty() && of("family").is_empty());
    let some: Vec<u64> = after(store.view(), 2, 3)
        .unwrap()
        .into_iter()
        .map(|(number, _)| number)
        .collect();
    assert_eq!(some, [3, 4, 5]);
    assert!(after(store.view(), u64::MAX, 3).unwrap().is_empty());
}

/// A state that holds `entries` and one row of another tree on either side.
fn state_of(entries: impl IntoIterator<Item = (u64, Entry)>) -> State {
    let others = [Tree::Inbound, Tree::LineEnd].map(|tree| (tree.raw_key(&key(1)), vec![1]));
    let row = |(number, entry)| {
        let value = encode(&entry).unwrap();
        (Tree::Journal.raw_key(&key(number)), value)
    };
    entries.into_iter().map(row).chain(others).collect()
}

fn numbers_of(state: &State) -> Vec<u64> {
    assert!(state.contains_key(&Tree::Inbound.raw_key(&key(1))));
    assert!(state.contains_key(&Tree::LineEnd.raw_key(&key(1))));
    rows_of(state).map(|(number, _)| number).collect()
}

#[test]
fn a_state_that_is_written_whole_is_told_on_within_the_bounds() {
    let sent = |at| entry(at, TransitionKind::Sent, "AAAAAAAAAAAA");
    let failed = || vec![entry(NOW, TransitionKind::Failed, "BBBBBBBBBBBB"); 3];
    let mut state = state_of([]);
    append_to(&mut state, &[]).unwrap();
    assert_eq!(numbers_of(&state), [0; 0]);
    append_to(&mut state, &failed()).unwrap();
    assert_eq!(numbers_of(&state), [1, 2, 3]);
    assert_eq!(beyond(&state, &state_of([])), failed());
    assert_eq!(beyond(&state, &state), []);
    let known = state_of([(9, failed().swap_remove(0))]);
    let mut state = state_of([(1, sent(NOW)), (2, failed().swap_remove(0))]);
    state.insert(Tree::Journal.raw_key(&key(3)), vec![99]);
    assert_eq!(beyond(&state, &known), [sent(NOW)]);

    // Old entries go until the first that is not, or whose age is not known.
    let old = NOW - 31 * DAY;
    let of = |ats: [u64; 4]| state_of((7u64..).zip(ats.map(sent)));
    let mut state = of([old, old, NOW - DAY, old]);
    append_to(&mut state, &failed()).unwrap();
    assert_eq!(numbers_of(&state), [9, 10, 11, 12, 13]);
    let mut state = of([old, 5000, old, old]);
    append_to(&mut state, &failed()).unwrap();
    assert_eq!(numbers_of(&state), [8, 9, 10, 11, 12, 13]);
    let mut state = of([old; 4]);
    append_to(&mut state, &[]).unwrap();
    assert_eq!(numbers_of(&state), [7, 8, 9, 10], "nothing newer came");

    // By number, also where there are more of them than are kept; none takes a number twice.
    for (entries_max, kept) in [(5, &[9, 10, 11, 12, 13][..]), (2, &[12, 13]), (0, &[13])] {
        let mut state = of([NOW; 4]);
        let bounds = Bounds { entries_max, ..BOUNDS };
        append_to_within(bounds, &mut state, &failed()).unwrap();
        assert_eq!(numbers_of(&state), kept);
    }
}

#[test]
fn a_journal_that_cannot_be_numbered_on_begins_anew() {
    for number in [u64::MAX, u64::MAX - 1, NUMBER_MAX + 1] {
        let alone = [(number, entry(NOW, TransitionKind::Sent, "AAAAAAAAAAAA"))];
        let mut state = state_of(alone.clone());
        append_to(&mut state, &[]).unwrap();
        assert_eq!(numbers_of(&state), [0; 0]);
        let mut state = state_of(alone);
        append_to(&mut state, &[entry(NOW, TransitionKind::Failed, "BBBBBBBBBBBB")]).unwrap();
        assert_eq!(numbers_of(&state), [1]);
    }
}

#[test]
fn an_entry_is_small() {
    let row = encode(&entry(NOW, TransitionKind::Delivered, "AAAAAAAAAAAA")).unwrap();
    assert!(row.len() <= 50, "{}", row.len());
}
