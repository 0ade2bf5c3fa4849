//! How long messages are kept: by a clock that does not step, and within a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tautline::credentials::Credentials;
use tautline::store::{Batch, Store, Tree, join};
use wacore::store::traits::ProtocolStore;

use super::{Place, of};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Waits for everything that was handed to the writer before.
fn settle(store: &Store) {
    smol::block_on(store.commit(Batch::new())).unwrap();
}

/// A clock in a test's hand, and credentials that count by it.
struct Clock(Arc<AtomicI64>);

impl Clock {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(77)))
    }

    fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }

    fn of(&self, store: &Store) -> Credentials {
        let clock = Arc::clone(&self.0);
        let ticks = Arc::new(move || clock.load(Ordering::Relaxed));
        Credentials::with_ticks(store.clone(), "default".parse().unwrap(), ticks)
    }
}

/// The library's sweep, every five minutes for so long. Its idea of the time is as wrong as it can be: what it names is
/// always far behind what was kept.
fn run(clock: &Clock, credentials: &Credentials, seconds: i64) -> u32 {
    let mut deleted = 0;
    for _ in 0..seconds / 300 {
        clock.pass(300);
        deleted += smol::block_on(credentials.delete_expired_sent_messages(i64::MAX)).unwrap();
        deleted += smol::block_on(credentials.delete_expired_pending_inbound(i64::MAX)).unwrap();
    }
    deleted
}

async fn has(credentials: &Credentials, id: &str) -> bool {
    let kept = credentials.keeps_sent(id).await.unwrap();
    assert_eq!(kept, credentials.take_sent_message("c", id).await.unwrap().is_some());
    kept
}

#[test]
fn a_copy_lives_for_days_whatever_the_library_takes_the_time_for() {
    let (place, clock) = (Place::new(), Clock::new());
    let store = place.open();
    let credentials = clock.of(&store);
    smol::block_on(credentials.store_sent_message("c", "m", b"text")).unwrap();
    assert_eq!(run(&clock, &credentials, 13 * DAY), 0);
    smol::block_on(async {
        assert!(has(&credentials, "m").await);
        // The library takes it out for each device that asks.
        assert!(has(&credentials, "m").await);
        credentials.store_sent_message("c", "n", b"text").await.unwrap();
    });
    assert_eq!(run(&clock, &credentials, 2 * DAY), 1, "and no longer than it has to");
    smol::block_on(async {
        assert!(!has(&credentials, "m").await);
        assert!(has(&credentials, "n").await);
    });
}

#[test]
fn the_count_goes_on_over_restarts_also_with_nothing_to_send() {
    let (place, clock) = (Place::new(), Clock::new());
    smol::block_on(clock.of(&place.open()).store_sent_message("c", "m", b"text")).unwrap();
    let mut deleted = 0;
    for day in 0..20 {
        // Another boot: the clock begins anew, and the box was off for a year.
        let clock = Clock::new();
        clock.pass(365 * DAY * day);
        let store = place.open();
        let credentials = clock.of(&store);
        assert_eq!(
            smol::block_on(credentials.delete_expired_sent_messages(i64::MAX)).unwrap(),
            0
        );
        deleted += run(&clock, &credentials, DAY);
        assert!(day > 12 || deleted == 0, "after {day} days");
    }
    assert_eq!(deleted, 1);
}

#[test]
fn with_nothing_kept_nothing_is_written() {
    let (place, clock) = (Place::new(), Clock::new());
    let store = place.open();
    let credentials = clock.of(&store);
    assert_eq!(run(&clock, &credentials, 3 * DAY), 0);
    assert_eq!(store.view().scan(Tree::Meta, b"").count(), 0);
    smol::block_on(credentials.store_sent_message("c", "m", b"text")).unwrap();
    run(&clock, &credentials, DAY);
    assert_eq!(store.view().scan(Tree::Meta, b"").count(), 1);
}

#[test]
fn what_came_in_and_was_not_taken_is_kept_by_the_same_clock() {
    let (place, clock) = (Place::new(), Clock::new());
    let store = place.open();
    let credentials = clock.of(&store);
    smol::block_on(credentials.store_pending_inbound("c", "s", "1", b"text")).unwrap();
    assert_eq!(run(&clock, &credentials, 6 * DAY), 0);
    assert!(
        smol::block_on(credentials.get_pending_inbound("c", "s", "1"))
            .unwrap()
            .is_some()
    );
    assert_eq!(run(&clock, &credentials, 2 * DAY), 1);
}

#[test]
fn two_devices_that_ask_at_once_both_get_it() {
    let place = Place::new();
    let credentials = place.credentials();
    smol::block_on(async {
        credentials.store_sent_message("c", "m", b"payload").await.unwrap();
        let (one, two) = smol::future::zip(
            credentials.take_sent_message("c", "m"),
            credentials.take_sent_message("c", "m"),
        )
        .await;
        assert_eq!(one.unwrap().as_deref(), Some(&b"payload"[..]));
        assert_eq!(two.unwrap().as_deref(), Some(&b"payload"[..]));
    });
}

#[test]
fn large_messages_are_bounded_by_their_bytes_and_the_newest_stay() {
    let (place, clock) = (Place::new(), Clock::new());
    let store = place.open();
    let credentials = clock.of(&store);
    let text = vec![b'x'; 60_000];
    smol::block_on(async {
        for number in 0..120 {
            clock.pass(1);
            credentials
                .store_sent_message("c", &format!("m{number}"), &text)
                .await
                .unwrap();
            // Before the clock goes on: it is read when the message's turn comes.
            store.commit(Batch::new()).await.unwrap();
        }
        assert!(has(&credentials, "m119").await && has(&credentials, "m100").await);
        assert!(!has(&credentials, "m0").await);
    });
    let bytes: usize = store
        .view()
        .scan(Tree::SentMessage, b"")
        .map(|row| row.unwrap().1.len())
        .sum();
    assert!(bytes < (2 << 20) + (256 << 10) + text.len(), "{bytes}");
    assert!(bytes > 1 << 20, "{bytes}");
}

#[test]
fn sent_messages_that_nobody_sweeps_are_bounded() {
    let place = Place::new();
    let store = place.open();
    let row = {
        let credentials = of(&store, "default");
        smol::block_on(credentials.store_sent_message("c", "seed", b"x")).unwrap();
        settle(&store);
        let key = join(&[b"default", b"c", b"seed"]);
        store.view().get(Tree::SentMessage, &key).unwrap().unwrap().to_vec()
    };
    let mut batch = Batch::new();
    for i in 0..5000 {
        let key = join(&[b"default", b"c", format!("m{i}").as_bytes()]);
        batch.put(Tree::SentMessage, &key, row.clone()).unwrap();
    }
    smol::block_on(store.commit(batch)).unwrap();
    // A new handle counts at its first store.
    smol::block_on(of(&store, "default").store_sent_message("c", "last", b"x")).unwrap();
    settle(&store);
    assert_eq!(store.view().scan(Tree::SentMessage, b"").count(), 3072 + 1);
    let last = smol::block_on(of(&store, "default").take_sent_message("c", "last")).unwrap();
    assert!(last.is_some());
}
