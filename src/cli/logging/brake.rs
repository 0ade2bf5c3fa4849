//! Keeps one place in the program from filling the log: a sender that tries again and again would have each of its
//! refusals written, on a disk that is full perhaps.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use log::{Level, Record};

use crate::util::lock;

/// Lines that one place may say at once.
const BURST: u32 = 50;

/// After a burst, one line in this time. When nothing was said for as long as a burst is worth, a whole one may come
/// again.
const PAUSE: Duration = Duration::from_secs(2);

/// By the file and line that said something: there are as many as the program has.
#[derive(Default)]
pub(super) struct Brake {
    places: Mutex<HashMap<(&'static str, u32), Place>>,
}

struct Place {
    /// Lines that may still be said.
    left: u32,
    /// When `left` last grew.
    since: Instant,
    /// Lines left out since the last one that was said.
    left_out: u64,
}

impl Brake {
    /// Whether `record` is written, and then how many like it were left out before. Whoever asks for the details gets
    /// them all.
    pub(super) fn admit(&self, record: &Record<'_>, now: Instant) -> Option<u64> {
        let place = match record.level() {
            Level::Error | Level::Warn | Level::Info => record.file_static().zip(record.line()),
            Level::Debug | Level::Trace => None,
        };
        match place {
            Some(place) => self.admit_from(place, now),
            None => Some(0),
        }
    }

    fn admit_from(&self, place: (&'static str, u32), now: Instant) -> Option<u64> {
        let mut places = lock(&self.places);
        let place = places.entry(place).or_insert(Place {
            left: BURST,
            since: now,
            left_out: 0,
        });
        let pauses = now.saturating_duration_since(place.since).as_secs() / PAUSE.as_secs();
        if pauses > 0 {
            place.left = BURST.min(place.left.saturating_add(u32::try_from(pauses).unwrap_or(BURST)));
            place.since = now;
        }
        match place.left.checked_sub(1) {
            Some(left) => {
                place.left = left;
                Some(std::mem::take(&mut place.left_out))
            }
            None => {
                place.left_out += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_said_and_then_little_of_what_goes_on() {
        let brake = Brake::default();
        let start = Instant::now();
        let said = |place, from_ms: u64, to_ms: u64| -> Vec<u64> {
            let times = (from_ms..to_ms).step_by(10);
            times
                .filter_map(|ms| brake.admit_from(("file", place), start + Duration::from_millis(ms)))
                .collect()
        };
        let first = said(1, 0, 10_000);
        assert_eq!(first.len(), 54, "a burst, and one every two seconds");
        assert_eq!(first[49..], [0, 150, 199, 199, 199]);
        // Another place has its own, and so has this one after a while.
        assert_eq!(said(2, 0, 100), [0; 10]);
        let again = said(1, 200_000, 200_500);
        assert_eq!((again.len(), again[0], again[1]), (50, 199, 0));
    }
}
