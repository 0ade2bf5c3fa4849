//! What a stream of events says beside the journal's entries.

use serde::{Deserialize, Serialize};

/// A word about the stream itself. `event` says which; no entry of the journal is called so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum StreamWord {
    /// The first of all.
    Hello {
        /// The program's version.
        version: String,
        /// What comes is behind this number.
        since: u64,
        /// The oldest entry that the journal still has.
        oldest: u64,
        /// The newest one.
        newest: u64,
        /// Between two signs of life, in milliseconds. Where none has come for twice as long, the connection is dead.
        ping_ms: u64,
    },
    /// The number that was asked for has never been given: this is another journal than the one that it came from.
    /// What is known of that no longer holds; all that this one has follows.
    Reset {
        /// The newest entry of this one.
        newest: u64,
    },
    /// These entries are gone: the journal has let go of them before they could be told.
    Gap {
        /// The first of them.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// A sign of life.
    Keepalive {
        /// All that is wanted up to this number has been told: one may resume from here.
        upto: u64,
    },
    /// The last of all where no WebSocket says it by its own close.
    End {
        /// As a WebSocket would be closed with.
        code: u16,
        /// Why, and what to do.
        reason: String,
        /// The number to resume from.
        resume: u64,
    },
}
