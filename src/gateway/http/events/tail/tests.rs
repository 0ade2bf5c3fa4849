use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::*;
use crate::util::Random;

fn entry(number: u64) -> EventView {
    EventView {
        number,
        at: number,
        event: "sent".into(),
        session: "default".into(),
        alert: Some("A".into()),
        route: Some("family".into()),
        delivery: None,
        cause: None,
        position: None,
    }
}

fn numbers(told: &[Item]) -> Vec<(u64, u64)> {
    let span = |told: &Item| match told {
        Item::Entry(event) => (event.number, event.number),
        Item::Gap { from, to } => (*from, *to),
    };
    told.iter().map(span).collect()
}

#[test]
fn what_is_missing_is_told_as_one_gap() {
    let mut tail = Tail::new(3, None);
    let told = tail.take([4, 5, 9, 10].map(entry).into(), |_| true);
    assert_eq!(numbers(&told), [(4, 4), (5, 5), (6, 8), (9, 9), (10, 10)]);
    assert_eq!(told[2], Item::Gap { from: 6, to: 8 });
    assert!(tail.take(vec![entry(10)], |_| true).is_empty());
    // A gap is told whatever is wanted: nobody knows what was in it.
    let told = tail.take(vec![entry(12)], |_| false);
    assert_eq!((told, tail.after()), (vec![Item::Gap { from: 11, to: 11 }], 12));
}

#[test]
fn a_window_holds_what_is_not_acknowledged() {
    let mut tail = Tail::new(0, Some(3));
    let read: Vec<_> = (1..=tail.room() as u64).map(entry).collect();
    assert_eq!(tail.take(read, |event| event.number != 2).len(), 2);
    assert_eq!((tail.room(), tail.acknowledged()), (1, 0));
    tail.take(vec![entry(4)], |_| true);
    assert_eq!(tail.room(), 0);
    tail.acknowledge(2);
    assert_eq!((tail.room(), tail.acknowledged()), (1, 2));
    tail.acknowledge(u64::MAX);
    assert_eq!((tail.room(), tail.acknowledged()), (3, 4));
}

/// A journal, and one client that reads it over connections that break.
struct World {
    random: Random,
    /// What it still has.
    journal: VecDeque<u64>,
    newest: u64,
    trimmed: BTreeSet<u64>,
    connection: Option<Connection>,
    window: Option<usize>,
    /// What the client wants: all, or each third.
    each: u64,
    /// The client's own: the number it resumes from, what it was told, and what it was told to be gone.
    last: u64,
    seen: Vec<u64>,
    gaps: Vec<(u64, u64)>,
}

struct Connection {
    tail: Tail,
    /// Written, and not yet read by the client.
    wire: VecDeque<Item>,
    /// Read and not acknowledged.
    read: usize,
}

/// What a socket takes without being read. More is not written.
const WIRE: usize = 40;

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let window = [None, Some(1), Some(5), Some(100)][pick(&mut random, 4)];
        Self {
            window,
            each: [1, 3][pick(&mut random, 2)],
            random,
            journal: VecDeque::new(),
            newest: 0,
            trimmed: BTreeSet::new(),
            connection: None,
            last: 0,
            seen: Vec::new(),
            gaps: Vec::new(),
        }
    }

    fn wants(each: u64, number: u64) -> bool {
        number.is_multiple_of(each)
    }

    /// The gateway's turn: a page, if the socket takes one.
    fn write(&mut self) {
        let each = self.each;
        let Some(connection) = &mut self.connection else { return };
        if connection.wire.len() >= WIRE || connection.tail.room() == 0 {
            return;
        }
        let (after, room) = (connection.tail.after(), connection.tail.room());
        let there = self.journal.iter().filter(|number| **number > after);
        let page = there.take(room).map(|number| entry(*number)).collect();
        let told = connection.tail.take(page, |event| Self::wants(each, event.number));
        connection.wire.extend(told);
        let unread = connection.wire.iter().filter(|told| matches!(told, Item::Entry(_)));
        let open = unread.count() + connection.read;
        assert!(
            self.window.is_none_or(|window| open <= window),
            "{open} in a window of {:?}",
            self.window
        );
    }

    /// The client's turn: it reads some, and acknowledges now and then.
    fn read(&mut self, most: usize) {
        let Some(connection) = &mut self.connection else { return };
        for _ in 0..most {
            match connection.wire.pop_front() {
                Some(Item::Entry(event)) => {
                    self.seen.push(event.number);
                    self.last = event.number;
                    connection.read += 1;
                }
                Some(Item::Gap { from, to }) => {
                    self.gaps.push((from, to));
                    self.last = to;
                }
                None => break,
            }
        }
        if pick(&mut self.random, 3) > 0 {
            connection.tail.acknowledge(self.last);
            connection.read = 0;
        }
    }

    fn turn(&mut self) {
        match pick(&mut self.random, 12) {
            0..=3 => {
                for _ in 0..=pick(&mut self.random, 30) {
                    self.newest += 1;
                    self.journal.push_back(self.newest);
                }
            }
            // The newest always stays.
            4 => {
                for _ in 0..pick(&mut self.random, 60) {
                    if self.journal.len() > 1 {
                        self.trimmed.extend(self.journal.pop_front());
                    }
                }
            }
            // A connection breaks, or the relay starts anew: what was under way is lost.
            5 => self.connection = None,
            6..=8 => self.write(),
            // A slow reader takes little, and sometimes nothing for long.
            _ => {
                let most = [0, 1, 3, 100][pick(&mut self.random, 4)];
                self.read(most);
            }
        }
        if self.connection.is_none() && pick(&mut self.random, 3) == 0 {
            self.connect();
        }
    }

    fn connect(&mut self) {
        self.connection = Some(Connection {
            tail: Tail::new(self.last, self.window),
            wire: VecDeque::new(),
            read: 0,
        });
    }

    /// Nothing breaks any more: the client comes to the end.
    fn settle(&mut self) {
        if self.connection.is_none() {
            self.connect();
        }
        for _ in 0..10 * (self.newest + 10) {
            self.write();
            self.read(100);
            let done = |connection: &Connection| connection.tail.after() == self.newest && connection.wire.is_empty();
            if self.connection.as_ref().is_some_and(done) {
                break;
            }
        }
    }

    fn check(&self) {
        assert!(
            self.seen.is_sorted_by(|one, next| one < next),
            "twice, or out of order: {:?}",
            self.seen
        );
        let gone: BTreeSet<u64> = self.gaps.iter().flat_map(|(from, to)| *from..=*to).collect();
        let told: BTreeSet<u64> = self.seen.iter().copied().collect();
        assert!(gone.is_subset(&self.trimmed), "said to be gone, and is there");
        assert!(gone.is_disjoint(&told), "said to be gone, and was told");
        let wanted = (1..=self.newest).filter(|number| Self::wants(self.each, *number));
        let lost: Vec<u64> = wanted
            .filter(|number| !told.contains(number) && !gone.contains(number))
            .collect();
        assert!(lost.is_empty(), "never told: {lost:?}");
        assert!(told.iter().all(|number| Self::wants(self.each, *number)));
    }
}

fn pick(random: &mut Random, of: usize) -> usize {
    let picked = random.between(Duration::ZERO, Duration::from_nanos(of as u64 * 1000));
    (picked.as_nanos() as usize / 1000).min(of - 1)
}

#[test]
fn a_transcript_is_the_journal_but_for_the_gaps_that_were_told() {
    let mut gaps = 0;
    for seed in 0..500 {
        let mut world = World::new(seed);
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..200 {
                world.turn();
            }
            world.settle();
            world.check();
        }));
        assert!(ran.is_ok(), "seed {seed}");
        gaps += world.gaps.len();
    }
    assert!(gaps > 500, "the histories have hardly any gaps: {gaps}");
}
