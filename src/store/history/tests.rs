use std::fmt::Write as _;

use super::record::{from_hex, hex};
use super::*;
use crate::line::{Ages, Cause, Flapping, Guess, Origin};

/// The rows of format 1, as they stand on people's disks: key and value in hex. Later versions must still read them:
/// never edit the file, add one beside it.
const VERSION_1: &str = include_str!("../../../tests/fixtures/store-v1/history.txt");

const AT: u64 = 1_700_000_000_000;

fn end(cause: &Cause, logged_in: bool, at_ms: u64) -> EndRecord {
    EndRecord {
        at_ms,
        line: 3,
        cause: cause.code().into(),
        words: cause.to_string(),
        origin: cause.origin(),
        verdict: cause.verdict().to_string(),
        detail: "server said so".into(),
        logged_in,
        held_ms: 60_400,
        proofs: Ages {
            tcp: Some(20_000),
            websocket: None,
            application: Some(21_000),
            content: Some(300),
        },
        unanswered: Ages {
            application: Some(8_000),
            ..Ages::default()
        },
        lag_max_ms: 12,
        stalls: 1,
        slept_ms: 5,
        clock_steps: 2,
        clock_stepped_ms: -7,
        acks_owed: 1,
        ack_owed_oldest_ms: Some(99),
        bytes_in: 4096,
        bytes_out: 512,
        failures: 4,
        flapping: Some(Flapping {
            every_ms: 60_400,
            times: 3,
            guess: Guess::Nat,
        }),
        guess: "a NAT forgets the flow".into(),
    }
}

struct Bench {
    _dir: tempfile::TempDir,
    store: Store,
    session: SessionName,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            store: Store::open(dir.path(), 1 << 20).unwrap(),
            _dir: dir,
            session: "default".parse().unwrap(),
        }
    }

    fn ended(&self, cause: &Cause, logged_in: bool, at_ms: u64) {
        let hold = match cause.verdict() {
            crate::line::Verdict::HoldUntil(hold) => Some(hold),
            _ => None,
        };
        let written = line_ended(&self.store, &self.session, end(cause, logged_in, at_ms), hold);
        smol::block_on(written).unwrap();
    }

    fn starts(&self, at_ms: u64, boot: &str) -> RelayStarted {
        smol::block_on(run_begins(&self.store, at_ms, Some(boot.into()), "0.1.0")).unwrap()
    }

    fn stops(&self, at_ms: u64, failure: Option<&str>) {
        smol::block_on(run_ends(&self.store, at_ms, failure.map(str::to_owned))).unwrap();
    }

    /// Cause, times, first and last of every entry, newest last.
    fn ends(&self) -> Vec<(String, u32, u64, u64)> {
        newest(self.store.view(), std::slice::from_ref(&self.session), usize::MAX)
            .unwrap()
            .into_iter()
            .filter_map(|(_, entry)| match entry {
                Entry::LineEnded(ended) => Some((ended.end.cause, ended.times, ended.first_at_ms, ended.end.at_ms)),
                Entry::RelayStarted(_) => None,
            })
            .collect()
    }

    fn rows(&self) -> String {
        let mut text = String::new();
        for row in self.store.view().scan(Tree::LineEnd, b"") {
            let (key, value) = row.unwrap();
            writeln!(text, "{} {}", hex(&key), hex(&value)).unwrap();
        }
        text
    }
}

/// One entry of each kind, with values that show every field.
fn write_all(bench: &Bench) {
    bench.starts(AT, "boot-1");
    bench.ended(&Cause::PongTimeout, true, AT + 1000);
    bench.ended(&Cause::TemporaryBan(Duration::from_secs(90)), false, AT + 2000);
    bench.stops(AT + 3000, None);
    bench.starts(AT + 4000, "boot-1");
    bench.starts(AT + 5000, "boot-2");
    bench.starts(AT + 6000, "boot-2");
    bench.stops(AT + 7000, Some("a task has ended"));
    bench.starts(AT + 8000, "boot-2");
}

#[test]
fn what_is_written_today_is_format_1() {
    let bench = Bench::new();
    write_all(&bench);
    assert_eq!(bench.rows(), VERSION_1, "all rows as they are now");
}

#[test]
fn format_1_is_read() {
    let (written, read) = (Bench::new(), Bench::new());
    write_all(&written);
    let mut batch = Batch::new();
    for line in VERSION_1.lines() {
        let (key, value) = line.split_once(' ').unwrap();
        batch.put(Tree::LineEnd, &from_hex(key), from_hex(value)).unwrap();
    }
    smol::block_on(read.store.commit(batch)).unwrap();
    let all = |bench: &Bench| newest(bench.store.view(), std::slice::from_ref(&bench.session), 99).unwrap();
    assert_eq!(all(&written), all(&read));
    assert_eq!(all(&read).len(), 7);
}

#[test]
fn an_outage_is_one_entry_for_each_cause_in_the_order_of_the_last() {
    let bench = Bench::new();
    bench.ended(&Cause::Recycled, true, 1);
    for at in 2..2000 {
        let cause = match at % 7 {
            0 => Cause::TlsFailed,
            even if even % 2 == 0 => Cause::Unresolved,
            _ => Cause::Unreachable,
        };
        bench.ended(&cause, false, at);
    }
    bench.ended(&Cause::Recycled, true, 2000);
    bench.ended(&Cause::Unresolved, false, 2001);
    bench.ended(&Cause::Unresolved, false, 2002);
    let entry = |cause: &str, times, first, last| (cause.to_owned(), times, first, last);
    assert_eq!(
        bench.ends(),
        [
            entry("recycled", 1, 1, 1),
            entry("tls-failed", 285, 7, 1995),
            entry("unreachable", 856, 3, 1998),
            entry("unresolved", 857, 2, 1999),
            entry("recycled", 1, 2000, 2000),
            entry("unresolved", 2, 2001, 2002),
        ]
    );
}

#[test]
fn the_oldest_go_and_what_is_kept_is_bounded() {
    let bench = Bench::new();
    let other: SessionName = "default2".parse().unwrap();
    smol::block_on(line_ended(&bench.store, &other, end(&Cause::Recycled, true, 0), None)).unwrap();
    for at in 1..=KEPT_MAX + 30 {
        bench.ended(&Cause::Recycled, true, at);
    }
    let ends = bench.ends();
    assert_eq!(ends.len() as u64, KEPT_MAX);
    assert_eq!((ends[0].2, ends[ends.len() - 1].2), (31, KEPT_MAX + 30));
    // Nobody else's.
    assert!(last_end(bench.store.view(), &other).unwrap().is_some());
    let mut long = end(&Cause::Recycled, true, 1);
    long.detail = "ü".repeat(100_000);
    smol::block_on(line_ended(&bench.store, &other, long, None)).unwrap();
    let kept = last_end(bench.store.view(), &other).unwrap().unwrap();
    assert_eq!(kept.end.detail, "ü".repeat(WORDS_BYTES_MAX / 2));
}

#[test]
fn a_hold_lasts_over_a_restart_and_no_longer_than_named() {
    let bench = Bench::new();
    bench.ended(&Cause::TemporaryBan(Duration::from_secs(90)), false, AT);
    let left = |now_ms| {
        let kept = last_end(bench.store.view(), &bench.session).unwrap().unwrap();
        kept.hold_left(now_ms).map(|left| left.as_secs())
    };
    assert_eq!(left(AT + 30_000), Some(60));
    assert_eq!((left(AT + 90_000), left(u64::MAX)), (None, None));
    assert_eq!(left(0), Some(90), "a clock that shows 1970 shows nothing");
    // Whatever came after it has tried since.
    bench.ended(&Cause::Unresolved, false, AT + 91_000);
    assert_eq!(left(AT + 92_000), None);
    // And a later ban is the newest again, although it stands in an entry that was there.
    bench.ended(&Cause::TemporaryBan(Duration::from_secs(10)), false, AT + 95_000);
    assert_eq!(left(AT + 96_000), Some(9));
    assert_eq!(bench.ends().len(), 2);
}

#[test]
fn a_start_says_how_the_last_run_ended() {
    let bench = Bench::new();
    assert_eq!(bench.starts(AT, "a").before, Before::Nothing);
    bench.stops(AT + 1, None);
    assert_eq!(bench.starts(AT + 2, "a").before, Before::Stopped { at_ms: AT + 1 });
    let vanished = |host_too| Before::Vanished {
        host_too: Some(host_too),
    };
    let crash = bench.starts(AT + 3, "a");
    assert_eq!((crash.before, crash.times), (vanished(false), 1));
    // A loop of crashes is one entry; one after a long time is not part of it.
    let crash = bench.starts(AT + 4, "a");
    assert_eq!((crash.times, crash.first_at_ms, crash.at_ms), (2, AT + 3, AT + 4));
    assert_eq!(bench.starts(AT + 4 + CRASH_LOOP_MS, "a").times, 1);
    assert_eq!(bench.starts(AT * 2, "b").before, vanished(true));
    bench.stops(AT * 2 + 1, Some("the gateway has panicked"));
    let Before::Failed { why, .. } = bench.starts(AT * 2 + 2, "b").before else {
        panic!("no failure")
    };
    assert_eq!(why, "the gateway has panicked");
    let no_id = smol::block_on(run_begins(&bench.store, AT * 2 + 3, None, "0.1.0")).unwrap();
    assert_eq!(no_id.before, Before::Vanished { host_too: None });
}

#[test]
fn all_are_merged_by_time_and_each_keeps_its_order() {
    let bench = Bench::new();
    bench.starts(10, "a");
    // The wall clock steps back between these.
    bench.ended(&Cause::Recycled, true, 50);
    bench.ended(&Cause::PathBroken, true, 20);
    bench.starts(30, "b");
    let entries = newest(bench.store.view(), std::slice::from_ref(&bench.session), 3).unwrap();
    let times: Vec<u64> = entries.iter().map(|(_, entry)| entry.at_ms()).collect();
    assert_eq!(times, [50, 20, 30]);
    assert_eq!(entries[0].0.as_ref(), Some(&bench.session));
    assert_eq!(entries[2].0, None);
    assert_eq!(Origin::Path, Cause::PathBroken.origin());
}

#[test]
fn what_a_later_version_wrote_is_left_out_and_left_alone() {
    let bench = Bench::new();
    bench.ended(&Cause::Unresolved, false, 1);
    let mut batch = Batch::new();
    batch.put(Tree::LineEnd, &key("default", 1), vec![99, 1, 2]).unwrap();
    smol::block_on(bench.store.commit(batch)).unwrap();
    assert_eq!(last_end(bench.store.view(), &bench.session).unwrap(), None);
    bench.ended(&Cause::Unresolved, false, 2);
    assert_eq!(bench.ends().len(), 2);
    let kept = bench.store.view().get(Tree::LineEnd, &key("default", 1)).unwrap();
    assert_eq!(kept.as_deref(), Some(&[99, 1, 2][..]));
}
