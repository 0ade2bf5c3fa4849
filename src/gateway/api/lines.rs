//! `GET /v1/lines`: what ended each line and how each run began, as JSON and in plain words.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::words::{span, utc};
use crate::alert::SessionName;
use crate::line::Ages;
use crate::store::history::{Before, Entry, LineEnded, RelayStarted};

/// One entry of `GET /v1/lines`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum HistoryEntry {
    /// A line ended, or an attempt to open one.
    LineEnded(Box<EndView>),
    /// The relay started.
    RelayStarted(StartView),
}

/// The end of a line, or of several attempts in one outage that failed alike; then all but `times` and `first_at` is of
/// the newest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EndView {
    /// Whose line it was.
    pub session: String,
    /// When the newest ended, in Unix milliseconds.
    pub at: u64,
    /// When the first of them ended, in Unix milliseconds.
    pub first_at: u64,
    /// How many they are.
    pub times: u32,
    /// A name that never changes.
    pub cause: String,
    /// The cause for people.
    pub words: String,
    /// `server`, `path` or `us`.
    pub origin: String,
    /// What follows from it, for people.
    pub verdict: String,
    /// The server's words, or the socket's error.
    pub detail: String,
    /// What probably happened; empty when the cause says it all.
    pub guess: String,
    /// Whether it had come as far as a login.
    pub logged_in: bool,
    /// How long it held, in milliseconds: from the login, or without one from the start of the attempt.
    pub held_ms: u64,
    /// When the server allows the next try, in Unix milliseconds, if it named a time.
    pub hold_until_at: Option<u64>,
    /// How old each layer's last proof of life was, in milliseconds.
    pub proof_ages_ms: Ages,
    /// How long each layer's first unanswered question had waited, in milliseconds.
    pub unanswered_ms: Ages,
    /// By how much this program was late at the most, in milliseconds.
    pub lag_max_ms: u64,
    /// How often it was late.
    pub stalls: u32,
    /// How long the host slept while the line was up, in milliseconds.
    pub slept_ms: u64,
    /// How often the wall clock was stepped.
    pub clock_steps: u32,
    /// By how much in all, in milliseconds; negative is back.
    pub clock_stepped_ms: i64,
    /// Stanzas of the server that were not acked yet.
    pub acks_owed: u32,
    /// How long the oldest of them had waited, in milliseconds.
    pub ack_owed_oldest_ms: Option<u64>,
    /// Bytes received on the line.
    pub bytes_in: u64,
    /// Bytes sent on the line.
    pub bytes_out: u64,
    /// Ends in a row without a useful line in between.
    pub failures: u32,
    /// Lines that keep ending after the same time, and who is known for that; `None` without such a rhythm.
    pub cadence: Option<String>,
}

/// A start of the relay, or several that each followed a crash soon after the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StartView {
    /// When the newest was, in Unix milliseconds.
    pub at: u64,
    /// When the first of them was, in Unix milliseconds.
    pub first_at: u64,
    /// How many they are.
    pub times: u32,
    /// The program's version.
    pub version: String,
    /// How the run before ended: `nothing` (none is known), `stopped`, `failed`, `vanished` (no goodbye), or
    /// `vanished-with-host`.
    pub before: String,
    /// When it ended, in Unix milliseconds, where it could say.
    pub before_at: Option<u64>,
    /// The same for people.
    pub words: String,
}

impl HistoryEntry {
    /// `session` is `None` for the relay's own.
    pub fn new(session: Option<SessionName>, entry: Entry) -> Self {
        match entry {
            Entry::LineEnded(ended) => {
                let session = session.map(String::from).unwrap_or_default();
                Self::LineEnded(Box::new(end_view(session, *ended)))
            }
            Entry::RelayStarted(started) => Self::RelayStarted(start_view(started)),
        }
    }

    /// When it was, or the newest of several.
    pub fn at(&self) -> u64 {
        match self {
            Self::LineEnded(end) => end.at,
            Self::RelayStarted(start) => start.at,
        }
    }

    /// Whose it is; empty for the relay's own.
    pub fn session(&self) -> &str {
        match self {
            Self::LineEnded(end) => &end.session,
            Self::RelayStarted(_) => "",
        }
    }

    /// What happened, as one sentence.
    pub fn headline(&self) -> String {
        let (mut text, times, first_at) = match self {
            Self::LineEnded(end) => (end.headline(), end.times, end.first_at),
            Self::RelayStarted(start) => (start.words.clone(), start.times, start.first_at),
        };
        if times > 1 {
            let _ = write!(text, "; {times} times since {}", utc(first_at));
        }
        text
    }

    /// What else is known, a sentence each.
    pub fn particulars(&self) -> Vec<String> {
        match self {
            Self::LineEnded(end) => end.particulars(),
            Self::RelayStarted(_) => Vec::new(),
        }
    }
}

impl EndView {
    fn headline(&self) -> String {
        let Self {
            words, origin, verdict, ..
        } = self;
        let held = match self.logged_in {
            true => format!("held {}", span(self.held_ms)),
            false => format!("not up after {}", span(self.held_ms)),
        };
        format!("{held}: {words} [{origin}]; {verdict}")
    }

    fn particulars(&self) -> Vec<String> {
        let mut all = Vec::new();
        if !self.guess.is_empty() {
            all.push(format!("probably: {}", self.guess));
        }
        if !self.detail.is_empty() {
            all.push(format!("in its own words: {}", self.detail));
        }
        if let Some(until) = self.hold_until_at {
            all.push(format!("no other try before {}", utc(until)));
        }
        if self.logged_in {
            all.push(format!("last proof of life: {}", ages(&self.proof_ages_ms, "none")));
        }
        let Ages {
            tcp,
            websocket,
            application,
            content,
        } = self.unanswered_ms;
        if tcp.or(websocket).or(application).or(content).is_some() {
            all.push(format!("unanswered: {}", ages(&self.unanswered_ms, "")));
        }
        let around = self.around();
        if !around.is_empty() {
            all.push(around.join(", "));
        }
        all
    }

    fn around(&self) -> Vec<String> {
        let mut around = Vec::new();
        let mut note = |holds: bool, text: String| {
            if holds {
                around.push(text);
            }
        };
        note(self.slept_ms > 0, format!("the host slept {}", span(self.slept_ms)));
        note(
            self.stalls > 0,
            format!(
                "this program was late {} times, by {} at most",
                self.stalls,
                span(self.lag_max_ms)
            ),
        );
        let stepped = span(self.clock_stepped_ms.unsigned_abs());
        let way = if self.clock_stepped_ms < 0 { "back" } else { "ahead" };
        note(
            self.clock_steps > 0,
            format!("the clock stepped {} times, {stepped} {way} in all", self.clock_steps),
        );
        note(self.acks_owed > 0, format!("owed acks: {}", self.acks_owed));
        note(
            self.bytes_in + self.bytes_out > 0,
            format!("{} bytes in, {} out", self.bytes_in, self.bytes_out),
        );
        around
    }
}

/// Each layer with its age; those without one are `missing`, or left out when that is empty.
fn ages(ages: &Ages, missing: &str) -> String {
    let layers = [
        ("tcp", ages.tcp),
        ("websocket", ages.websocket),
        ("application", ages.application),
        ("content", ages.content),
    ];
    let each = layers.into_iter().filter_map(|(layer, age)| match age {
        Some(age) => Some(format!("{layer} {}", span(age))),
        None if missing.is_empty() => None,
        None => Some(format!("{layer} {missing}")),
    });
    each.collect::<Vec<_>>().join(", ")
}

fn end_view(session: String, ended: LineEnded) -> EndView {
    let hold_until_at = ended.hold_ms.map(|hold| ended.end.at_ms.saturating_add(hold));
    let end = ended.end;
    EndView {
        session,
        at: end.at_ms,
        first_at: ended.first_at_ms,
        times: ended.times,
        cause: end.cause,
        words: end.words,
        origin: end.origin.to_string(),
        verdict: end.verdict,
        detail: end.detail,
        guess: end.guess,
        logged_in: end.logged_in,
        held_ms: end.held_ms,
        hold_until_at,
        proof_ages_ms: end.proofs,
        unanswered_ms: end.unanswered,
        lag_max_ms: end.lag_max_ms,
        stalls: end.stalls,
        slept_ms: end.slept_ms,
        clock_steps: end.clock_steps,
        clock_stepped_ms: end.clock_stepped_ms,
        acks_owed: end.acks_owed,
        ack_owed_oldest_ms: end.ack_owed_oldest_ms,
        bytes_in: end.bytes_in,
        bytes_out: end.bytes_out,
        failures: end.failures,
        cadence: end.flapping.map(|flapping| flapping.to_string()),
    }
}

fn start_view(started: RelayStarted) -> StartView {
    let (before, before_at, words) = match started.before {
        Before::Nothing => ("nothing", None, "no run before it is known".to_owned()),
        Before::Stopped { at_ms } => (
            "stopped",
            Some(at_ms),
            format!("the last run ended on request at {}", utc(at_ms)),
        ),
        Before::Failed { at_ms, why } => (
            "failed",
            Some(at_ms),
            format!("the last run gave up at {}: {why}", utc(at_ms)),
        ),
        Before::Vanished { host_too: Some(true) } => (
            "vanished-with-host",
            None,
            "the last run ended without a goodbye, and the host with it: a power cut, a reset, or the hardware watchdog"
                .to_owned(),
        ),
        Before::Vanished { host_too: Some(false) } => (
            "vanished",
            None,
            "the last run ended without a goodbye while the host stayed up: killed, crashed, or ended by the watchdog"
                .to_owned(),
        ),
        Before::Vanished { host_too: None } => (
            "vanished",
            None,
            "the last run ended without a goodbye: killed, crashed, or the power went".to_owned(),
        ),
    };
    StartView {
        at: started.at_ms,
        first_at: started.first_at_ms,
        times: started.times,
        words: format!("the relay started (version {}); {words}", started.version),
        version: started.version,
        before: before.to_owned(),
        before_at,
    }
}
