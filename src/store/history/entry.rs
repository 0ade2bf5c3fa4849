//! What an entry of the line log says.

use std::time::Duration;

use crate::line::EndRecord;

/// One entry. Times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    LineEnded(Box<LineEnded>),
    RelayStarted(RelayStarted),
}

impl Entry {
    /// When it was written last.
    pub fn at_ms(&self) -> u64 {
        match self {
            Self::LineEnded(ended) => ended.end.at_ms,
            Self::RelayStarted(started) => started.at_ms,
        }
    }
}

/// The end of a line, or of several attempts in one outage that failed alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineEnded {
    /// How many ends this stands for, and when the first was.
    pub times: u32,
    pub first_at_ms: u64,
    /// The server named a time before which it wants no other try, counted from the end.
    pub hold_ms: Option<u64>,
    /// The newest of them.
    pub end: EndRecord,
}

impl LineEnded {
    /// How much is left at `now_ms` of the time that the server named. A clock that shows a time before the end is
    /// wrong: then all of it is.
    pub fn hold_left(&self, now_ms: u64) -> Option<Duration> {
        let hold = self.hold_ms?;
        let passed = now_ms.saturating_sub(self.end.at_ms);
        let left = hold.saturating_sub(passed);
        (left > 0).then(|| Duration::from_millis(left))
    }
}

/// A start of the relay, or several that followed crashes of the same kind, each soon after the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayStarted {
    pub times: u32,
    pub first_at_ms: u64,
    /// The newest.
    pub at_ms: u64,
    /// The version of the program.
    pub version: String,
    pub before: Before,
}

/// How the run before ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// There was none that is known of.
    Nothing,
    /// On request.
    Stopped { at_ms: u64 },
    /// By itself, and it could say why.
    Failed { at_ms: u64, why: String },
    /// Without a goodbye. `host_too`: the host has started since, so it went down with it; `None` where it does not
    /// tell.
    Vanished { host_too: Option<bool> },
}

impl Before {
    /// The same kind of crash; the words of failures may differ in numbers.
    pub(super) fn is_crash_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Failed { .. }, Self::Failed { .. }) => true,
            (Self::Vanished { host_too }, Self::Vanished { host_too: other }) => host_too == other,
            (Self::Nothing | Self::Stopped { .. } | Self::Failed { .. } | Self::Vanished { .. }, _) => false,
        }
    }
}
