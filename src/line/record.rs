//! The line log: what is known of a line at its end.

use serde::{Deserialize, Serialize};

use super::{Flapping, Origin};

/// The end of one line, for the disk and for people. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndRecord {
    /// Unix time of the end. The shell fills it in: there is no wall clock here.
    pub at_ms: u64,
    /// Counted from 1 since the program started.
    pub line: u64,
    /// [`Cause::code`](super::Cause::code): stable, unlike the words.
    pub cause: String,
    pub words: String,
    pub origin: Origin,
    pub verdict: String,
    /// Whatever else the shell knows: the server's words, the socket's error.
    pub detail: String,
    /// Whether it was ever logged in.
    pub logged_in: bool,
    /// From the login, or without one from the start of the attempt.
    pub held_ms: u64,
    /// How old each layer's last proof of life was.
    pub proofs: Ages,
    /// How long each layer's first unanswered question had waited.
    pub unanswered: Ages,
    /// The longest that this program was late for its own deadline, and how often it was by more than a second.
    pub lag_max_ms: u64,
    pub stalls: u32,
    pub slept_ms: u64,
    /// Steps of the wall clock: how many, and their sum.
    pub clock_steps: u32,
    pub clock_stepped_ms: i64,
    pub acks_owed: u32,
    pub ack_owed_oldest_ms: Option<u64>,
    /// The shell fills them in.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Ends in a row without a useful line in between.
    pub failures: u32,
    pub flapping: Option<Flapping>,
    /// What probably happened, in plain words; empty when the cause says it all.
    pub guess: String,
}

/// One age for each layer; `None`: there was nothing to have an age.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Ages {
    pub tcp: Option<u64>,
    pub websocket: Option<u64>,
    pub application: Option<u64>,
    pub content: Option<u64>,
}

/// What happened around a line while it was open.
#[derive(Debug, Default)]
pub(super) struct Around {
    pub(super) lag_max_ms: u64,
    pub(super) stalls: u32,
    pub(super) slept_ms: u64,
    pub(super) clock_steps: u32,
    pub(super) clock_stepped_ms: i64,
}

/// A program that did not run for this long has missed something.
const LAG_WORTH_A_WORD_MS: u64 = 3000;

impl EndRecord {
    /// The most telling of what is recorded.
    pub(super) fn guess(&self) -> String {
        if self.slept_ms > 0 {
            return format!("the host slept for {} s", self.slept_ms / 1000);
        }
        if self.lag_max_ms >= LAG_WORTH_A_WORD_MS {
            let seconds = self.lag_max_ms / 1000;
            return format!("this program stood still for {seconds} s: look at the load and the disk");
        }
        if let Some(flapping) = &self.flapping {
            return flapping.to_string();
        }
        if self.acks_owed > 0 && self.origin == Origin::Server {
            return "the server is owed an ack".to_owned();
        }
        let silent = self.unanswered.application.is_some() || self.unanswered.websocket.is_some();
        match (self.unanswered.application, self.proofs.tcp) {
            (Some(waited), Some(bytes)) if bytes < waited => {
                "bytes came, but no answer: the session was dead behind a path that works".to_owned()
            }
            _ if silent => "nothing came at all: the path was dead (NAT, Wi-Fi, proxy or the other end)".to_owned(),
            _ => String::new(),
        }
    }
}
