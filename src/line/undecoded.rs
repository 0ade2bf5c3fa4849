//! Frames that came and have not become stanzas. The library logs what it cannot read and goes on; if its cipher has
//! lost count, it reads nothing from then on.

use std::time::{Duration, Instant};

/// How long a frame may take to become a stanza: far longer than decoding a large one takes on the slowest board.
const DECODED_WITHIN: Duration = Duration::from_secs(2);

/// A line is given up for what cannot be read once in this time. A stanza that the library never understands would
/// otherwise come again at every login and keep the session from working; whether the line lives is the pings' to
/// judge.
pub(super) const GIVEN_UP_EVERY: Duration = Duration::from_secs(3600);

/// The undecoded frames of one line.
#[derive(Debug, Default)]
pub(super) struct Undecoded {
    /// How many are missing, as last counted.
    frames: u64,
    /// How many are known never to become stanzas.
    lost: u64,
    /// The first count since which every one found some missing beyond those; `None`: all are decoded.
    since: Option<Instant>,
}

impl Undecoded {
    /// `frames` are missing now. A frame is counted as it is split off and becomes a stanza on a task of its own, so
    /// that one may be missing at any moment.
    pub(super) fn count(&mut self, now: Instant, frames: u64) {
        self.frames = frames;
        if frames <= self.lost {
            self.since = None;
        } else {
            self.since.get_or_insert(now);
        }
    }

    /// This program stood still until now, and with it the tasks that decode.
    pub(super) fn stood_still(&mut self, now: Instant) {
        self.since = self.since.map(|_| now);
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.since.map(|since| since + DECODED_WITHIN)
    }

    /// The time is over: what is missing now will not come.
    pub(super) fn give_up(&mut self) {
        self.lost = self.frames;
        self.since = None;
    }
}
