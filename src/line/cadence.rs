//! Lines that keep ending after the same time have a cause that the single end does not show. The periods are known
//! from the field: each names its culprit.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::util::millis;

/// Lines that are remembered.
const REMEMBERED_MAX: usize = 16;

/// This many in a row are no accident.
const TIMES_MIN: u32 = 3;

/// Lines that keep ending alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flapping {
    /// How long each of them held, the newest one's milliseconds.
    pub every_ms: u64,
    /// How many in a row.
    pub times: u32,
    pub guess: Guess,
}

/// Who is behind a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guess {
    /// About 60 s: a NAT, Hyper-V's for one, forgets an idle flow.
    Nat,
    /// 924.6 s: Linux gives up on an unacked write (`tcp_retries2` = 15), so `TCP_USER_TIMEOUT` was refused.
    UnackedWrites,
    /// About 30 min: the server recycles idle accounts. Routine.
    IdleRecycle,
    /// 50 min 2 s: the server is owed an ack.
    OwedAck,
    Unknown,
}

impl Guess {
    fn of(held: Duration) -> Self {
        match held.as_secs() {
            50..=75 => Self::Nat,
            900..=960 => Self::UnackedWrites,
            1620..=1980 => Self::IdleRecycle,
            2970..=3030 => Self::OwedAck,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Guess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nat => "a NAT forgets the flow",
            Self::UnackedWrites => "the kernel gives up on unacked writes; is TCP_USER_TIMEOUT refused?",
            Self::IdleRecycle => "the server recycles idle lines, a routine",
            Self::OwedAck => "the server is owed an ack",
            Self::Unknown => "no known cause has this period",
        })
    }
}

impl fmt::Display for Flapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { every_ms, times, guess } = self;
        write!(
            f,
            "{times} lines in a row ended after about {} s: {guess}",
            every_ms / 1000
        )
    }
}

/// How long the last lines held, oldest first.
#[derive(Debug, Default)]
pub(super) struct Cadence {
    held: VecDeque<Duration>,
}

impl Cadence {
    /// One more line has ended. The answer is about it and those before.
    pub(super) fn note(&mut self, held: Duration) -> Option<Flapping> {
        if self.held.len() == REMEMBERED_MAX {
            self.held.pop_front();
        }
        self.held.push_back(held);
        let tolerance = Duration::from_secs(2).max(held / 20);
        let alike = |other: &&Duration| other.abs_diff(held) <= tolerance;
        let times = self.held.iter().rev().take_while(alike).count() as u32;
        (times >= TIMES_MIN).then(|| Flapping {
            every_ms: millis(held),
            times,
            guess: Guess::of(held),
        })
    }
}
