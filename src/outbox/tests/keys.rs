//! A key counts for its day, whatever becomes of its alert's record.

use super::*;

/// One settled alert is kept, and no more.
fn bench(limits: Limits) -> Bench {
    let mut bench = Bench::new(Limits {
        settled_max: 1,
        ..limits
    });
    bench.handle(Input::SessionUp(session()));
    bench
}

/// Accepts an alert with `key`, and sends it. Its number.
fn send(bench: &mut Bench, key: Option<&str>) -> u64 {
    let accepted = bench.try_accept(&["1"], key).unwrap();
    assert!(!accepted.duplicate);
    let seq = accepted.record.seq;
    bench.handle(Input::Durable { seq });
    bench.ack(&format!("M{seq}1"), None);
    seq
}

/// What a restart makes of it.
fn restarted(bench: &Bench) -> Bench {
    begun(bench, None)
}

/// The same with what is known of the starts.
fn begun(bench: &Bench, starts: Option<(&mut Vec<Start>, Start)>) -> Bench {
    let records: Vec<AlertRecord> = bench.outbox.list(false, 1000).into_iter().cloned().collect();
    let mut after = Bench::new(bench.outbox.limits.clone());
    after.now = bench.now;
    after.keys = bench.keys.clone();
    if let Some((known, this)) = starts {
        *known = after.outbox.begin(after.now, std::mem::take(known), this);
    }
    after.outbox.restore_keys(after.now, bench.keys.values().cloned());
    after.outbox.restore(after.now, records.into_iter());
    after.drain();
    after
}

#[test]
fn a_forgotten_alert_answers_for_its_key_until_the_day_is_over() {
    let mut bench = bench(Limits::default());
    let first = send(&mut bench, Some("k"));
    let at = bench.now.wall;
    bench.receipt("M11", ReceiptKind::Delivered);
    for other in 0..300 {
        send(&mut bench, Some(&format!("other {other}")));
    }
    assert!(bench.outbox.get("A1").is_none() && bench.outbox.is_forgotten("A1"));
    assert!(!bench.outbox.is_forgotten("A999"));
    bench.pass(DAY - SECOND);
    // A step of the wall clock does not move the end.
    bench.now.wall.0 += 400 * DAY.as_millis() as u64;
    let again = bench.try_accept(&["1"], Some("k")).unwrap();
    assert!(again.duplicate && again.durable);
    assert_eq!(again.forgotten, Some(Step::Delivered));
    assert_eq!(
        (again.record.seq, again.record.id.as_str(), again.record.accepted_at),
        (first, "A1", at)
    );
    bench.pass(SECOND);
    send(&mut bench, Some("k"));
}

#[test]
fn the_key_of_a_forgotten_alert_survives_a_restart_and_its_number_is_not_used_again() {
    let mut bench = bench(Limits::default());
    for key in ["k", "l"] {
        send(&mut bench, Some(key));
    }
    let newest = send(&mut bench, Some("m"));
    bench.outbox.remove(bench.now, newest);
    bench.pass(DAY / 2);
    let mut after = restarted(&bench);
    for key in ["k", "l"] {
        assert!(after.try_accept(&["1"], Some(key)).unwrap().duplicate, "{key}");
    }
    assert_eq!(after.try_accept(&["1"], None).unwrap().record.seq, 3);
    after.pass(DAY / 2);
    let mut after = restarted(&after);
    assert!(after.keys.is_empty(), "their day is over: {:?}", after.keys);
    assert!(!after.try_accept(&["1"], Some("k")).unwrap().duplicate);
}

#[test]
fn a_key_is_of_its_route_alone() {
    let (one, other) = ("family".parse().unwrap(), "famil".parse().unwrap());
    assert_ne!(Fingerprint::of(&one, "k"), Fingerprint::of(&one, "l"));
    assert_ne!(Fingerprint::of(&one, "k"), Fingerprint::of(&other, "k"));
    assert_ne!(Fingerprint::of(&one, "k"), Fingerprint::of(&other, "yk"));
}

#[test]
fn an_alert_that_reached_nobody_leaves_no_key_and_one_without_a_key_neither() {
    let mut bench = bench(Limits::default());
    bench.try_accept(&["1"], Some("k")).unwrap();
    bench.handle(Input::Durable { seq: 1 });
    bench.refuse("M11", "404");
    for _ in 0..3 {
        send(&mut bench, None);
    }
    assert_eq!((bench.forgotten.as_slice(), bench.keys.len()), (&[1, 2, 3][..], 0));
    assert!(!bench.try_accept(&["1"], Some("k")).unwrap().duplicate);
}

#[test]
fn the_oldest_keys_go_when_there_are_too_many() {
    let mut bench = bench(Limits {
        keys_max: 10,
        ..Limits::default()
    });
    for key in 0..30 {
        send(&mut bench, Some(&format!("k{key}")));
    }
    // The newest alert is kept whole.
    let kept: Vec<u64> = bench.keys.keys().copied().collect();
    assert_eq!(kept, (20..30).collect::<Vec<u64>>());
    assert!(bench.try_accept(&["1"], Some("k19")).unwrap().duplicate);
    assert!(!bench.try_accept(&["1"], Some("k18")).unwrap().duplicate);
}

/// A board that is switched off and on. Its clock shows the same time at every boot until something sets it.
struct Board {
    bench: Bench,
    starts: Vec<Start>,
    boots: u32,
    uptime: Duration,
    /// What its clock shows when it boots.
    boots_at: Timestamp,
}

impl Board {
    fn new(boots_at: Timestamp) -> Self {
        let mut board = Self {
            bench: bench(Limits::default()),
            starts: Vec::new(),
            boots: 0,
            uptime: Duration::ZERO,
            boots_at,
        };
        board.boot();
        board
    }

    fn boot(&mut self) {
        self.boots += 1;
        self.uptime = 20 * SECOND;
        self.bench.now.mono += DAY;
        self.bench.now.wall = Timestamp(self.boots_at.0 + 20_000);
        self.restart();
    }

    fn restart(&mut self) {
        let this = Start {
            boot: format!("boot {}", self.boots),
            uptime: self.uptime,
            wall: self.bench.now.wall,
            seq: self.bench.outbox.seq_next,
        };
        self.bench = begun(&self.bench, Some((&mut self.starts, this)));
        self.bench.handle(Input::SessionUp(session()));
    }

    fn pass(&mut self, time: Duration) {
        self.uptime += time;
        self.bench.pass(time);
    }

    fn is_duplicate(&mut self, key: &str) -> bool {
        let answer = self.bench.try_accept(&["1"], Some(key)).unwrap();
        if !answer.duplicate {
            let seq = answer.record.seq;
            self.bench.handle(Input::Durable { seq });
            self.bench.ack(&format!("M{seq}1"), None);
        }
        answer.duplicate
    }
}

/// As a Pi begins without a network, as systemd does on one, and as a card does on which the clock is not kept.
const BOOTS_AT: [u64; 2] = [0, WALL - 300 * 86_400_000];

#[test]
fn a_board_that_does_not_know_the_time_sends_what_it_says_at_each_boot() {
    for boots_at in BOOTS_AT {
        let mut board = Board::new(Timestamp(boots_at));
        let mut sent = 0;
        for _ in 0..40 {
            board.pass(10 * SECOND);
            sent += usize::from(!board.is_duplicate("boot"));
            // Of some alerts nothing but the key is kept.
            board.is_duplicate("other");
            board.pass(60 * SECOND);
            board.boot();
        }
        // A key may count at the boot after its own, where its sender may not know what became of it, and at no later
        // one.
        assert!((20..=40).contains(&sent), "{sent} from {boots_at}");
    }
}

#[test]
fn a_clock_that_is_set_after_the_boot_makes_no_key_older_or_younger() {
    for boots_at in BOOTS_AT {
        let mut board = Board::new(Timestamp(boots_at));
        assert!(!board.is_duplicate("early"));
        board.pass(60 * SECOND);
        board.bench.now.wall = Timestamp(WALL);
        assert!(!board.is_duplicate("late"));
        for _ in 0..23 {
            board.pass(3600 * SECOND);
            board.restart();
            assert!(board.is_duplicate("early") && board.is_duplicate("late"), "{boots_at}");
        }
        assert!(board.starts.len() < 30, "{}", board.starts.len());
        board.pass(3 * 3600 * SECOND);
        board.restart();
        assert!(
            !board.is_duplicate("early") && !board.is_duplicate("late"),
            "{boots_at}"
        );
    }
}

#[test]
fn a_relay_that_starts_again_and_again_renews_no_key() {
    for boots_at in BOOTS_AT {
        let mut board = Board::new(Timestamp(boots_at));
        assert!(!board.is_duplicate("k"));
        for minute in 1..=26 * 60 {
            board.pass(60 * SECOND);
            // The clock goes back to where it was, as where two services set it.
            board.bench.now.wall = Timestamp(boots_at);
            board.restart();
            if minute < 24 * 60 {
                assert!(board.is_duplicate("k"), "{minute}");
            }
        }
        assert!(!board.is_duplicate("k"));
        assert!(board.starts.len() < 120, "{}", board.starts.len());
    }
}

#[test]
fn a_clock_that_runs_while_the_board_is_off_dates_every_key() {
    let mut board = Board::new(Timestamp(WALL));
    assert!(!board.is_duplicate("k"));
    for _ in 0..23 {
        board.boots_at.0 += 3_600_000;
        board.boot();
        assert!(board.is_duplicate("k"));
    }
    board.boots_at.0 += 3_600_000;
    board.boot();
    assert!(!board.is_duplicate("k"));
}
