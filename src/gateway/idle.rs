//! Connections that nobody uses give way to new ones: a client may keep what it has opened, and must not keep others
//! out by it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};

use crate::util::lock;

/// How long a connection must have been idle: whoever has just been answered may be about to ask again, and whoever has
/// just connected is about to.
const GIVES_WAY_AFTER: Duration = Duration::from_millis(200);

/// Since when, and a number that tells those of one moment apart.
type Key = (Instant, u64);

/// The idle connections of one kind. Each leaves its place among the open ones (`Place`) here meanwhile.
pub(super) struct Idle<Place> {
    /// Nothing comes by the sender: it is dropped when the place is taken.
    places: Mutex<BTreeMap<Key, (Place, Sender<()>)>>,
    next: AtomicU64,
}

impl<Place> Default for Idle<Place> {
    fn default() -> Self {
        Self {
            places: Mutex::default(),
            next: AtomicU64::new(0),
        }
    }
}

impl<Place> Idle<Place> {
    /// A connection waits for a request from `now` on.
    pub(super) fn rest(&self, place: Place, now: Instant) -> Rest<'_, Place> {
        let (held, evicted) = async_channel::bounded(1);
        let key = (now, self.next.fetch_add(1, Ordering::Relaxed));
        lock(&self.places).insert(key, (place, held));
        Rest {
            idle: self,
            key,
            evicted,
        }
    }

    /// The place of the one that has been idle for longest, if that is long enough.
    pub(super) fn give_way(&self, now: Instant) -> Option<Place> {
        let mut places = lock(&self.places);
        let oldest = places.first_entry()?;
        let long = now.saturating_duration_since(oldest.key().0) >= GIVES_WAY_AFTER;
        long.then(|| oldest.remove().0)
    }
}

/// A connection's time without a request.
pub(super) struct Rest<'i, Place> {
    idle: &'i Idle<Place>,
    key: Key,
    evicted: Receiver<()>,
}

impl<Place> Rest<'_, Place> {
    /// Closed once the place is taken.
    pub(super) fn evicted(&self) -> &Receiver<()> {
        &self.evicted
    }

    /// The end of it. `None`: the place was taken.
    pub(super) fn end(self) -> Option<Place> {
        self.take()
    }

    fn take(&self) -> Option<Place> {
        lock(&self.idle.places).remove(&self.key).map(|(place, _)| place)
    }
}

impl<Place> Drop for Rest<'_, Place> {
    fn drop(&mut self) {
        self.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_gives_way_and_learns_of_it() {
        let idle = Idle::default();
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let first = idle.rest("first", start);
        let second = idle.rest("second", start);
        let third = idle.rest("third", after(100));
        assert_eq!(idle.give_way(after(199)), None, "it may be about to ask");
        assert_eq!(second.end(), Some("second"));
        assert_eq!(idle.give_way(after(200)), Some("first"));
        assert!(first.evicted().is_closed() && !third.evicted().is_closed());
        assert_eq!(first.end(), None);
        assert_eq!(idle.give_way(after(299)), None);
        drop(third);
        assert_eq!(idle.give_way(after(1000)), None, "what has ended holds no place");
    }
}
