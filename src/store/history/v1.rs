//! Format 1 of an entry of the line history, frozen. Entries that must hold more are format 2, in a file of their own.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Before, Entry, LineEnded, RelayStarted};
use crate::line::{Ages, EndRecord, Flapping, Guess, Origin};

type Text<'a> = Cow<'a, str>;

#[derive(Serialize, Deserialize)]
pub(super) enum EntryV1<'a> {
    LineEnded(Box<LineEndedV1<'a>>),
    RelayStarted(RelayStartedV1<'a>),
}

#[derive(Serialize, Deserialize)]
pub(super) struct LineEndedV1<'a> {
    times: u32,
    first_at_ms: u64,
    hold_ms: Option<u64>,
    end: EndRecordV1<'a>,
}

#[derive(Serialize, Deserialize)]
struct EndRecordV1<'a> {
    at_ms: u64,
    line: u64,
    cause: Text<'a>,
    words: Text<'a>,
    origin: OriginV1,
    verdict: Text<'a>,
    detail: Text<'a>,
    logged_in: bool,
    held_ms: u64,
    proofs: AgesV1,
    unanswered: AgesV1,
    lag_max_ms: u64,
    stalls: u32,
    slept_ms: u64,
    clock_steps: u32,
    clock_stepped_ms: i64,
    acks_owed: u32,
    ack_owed_oldest_ms: Option<u64>,
    bytes_in: u64,
    bytes_out: u64,
    failures: u32,
    flapping: Option<FlappingV1>,
    guess: Text<'a>,
}

#[derive(Serialize, Deserialize)]
enum OriginV1 {
    Server,
    Path,
    Us,
}

#[derive(Serialize, Deserialize)]
struct AgesV1 {
    tcp: Option<u64>,
    websocket: Option<u64>,
    application: Option<u64>,
    content: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct FlappingV1 {
    every_ms: u64,
    times: u32,
    guess: GuessV1,
}

#[derive(Serialize, Deserialize)]
enum GuessV1 {
    Nat,
    UnackedWrites,
    IdleRecycle,
    OwedAck,
    Unknown,
}

#[derive(Serialize, Deserialize)]
pub(super) struct RelayStartedV1<'a> {
    times: u32,
    first_at_ms: u64,
    at_ms: u64,
    version: Text<'a>,
    before: BeforeV1<'a>,
}

#[derive(Serialize, Deserialize)]
enum BeforeV1<'a> {
    Nothing,
    Stopped { at_ms: u64 },
    Failed { at_ms: u64, why: Text<'a> },
    Vanished { host_too: Option<bool> },
}

impl<'a> EntryV1<'a> {
    pub(super) fn of(entry: &'a Entry) -> Self {
        match entry {
            Entry::LineEnded(ended) => Self::LineEnded(Box::new(LineEndedV1 {
                times: ended.times,
                first_at_ms: ended.first_at_ms,
                hold_ms: ended.hold_ms,
                end: EndRecordV1::of(&ended.end),
            })),
            Entry::RelayStarted(started) => Self::RelayStarted(RelayStartedV1 {
                times: started.times,
                first_at_ms: started.first_at_ms,
                at_ms: started.at_ms,
                version: started.version.as_str().into(),
                before: BeforeV1::of(&started.before),
            }),
        }
    }
}

impl From<EntryV1<'_>> for Entry {
    fn from(stored: EntryV1<'_>) -> Self {
        match stored {
            EntryV1::LineEnded(ended) => Self::LineEnded(Box::new(LineEnded {
                times: ended.times,
                first_at_ms: ended.first_at_ms,
                hold_ms: ended.hold_ms,
                end: ended.end.into(),
            })),
            EntryV1::RelayStarted(started) => Self::RelayStarted(RelayStarted {
                times: started.times,
                first_at_ms: started.first_at_ms,
                at_ms: started.at_ms,
                version: started.version.into_owned(),
                before: started.before.into(),
            }),
        }
    }
}

impl<'a> EndRecordV1<'a> {
    fn of(end: &'a EndRecord) -> Self {
        Self {
            at_ms: end.at_ms,
            line: end.line,
            cause: end.cause.as_str().into(),
            words: end.words.as_str().into(),
            origin: end.origin.into(),
            verdict: end.verdict.as_str().into(),
            detail: end.detail.as_str().into(),
            logged_in: end.logged_in,
            held_ms: end.held_ms,
            proofs: end.proofs.into(),
            unanswered: end.unanswered.into(),
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
            flapping: end.flapping.map(FlappingV1::from),
            guess: end.guess.as_str().into(),
        }
    }
}

impl From<EndRecordV1<'_>> for EndRecord {
    fn from(stored: EndRecordV1<'_>) -> Self {
        Self {
            at_ms: stored.at_ms,
            line: stored.line,
            cause: stored.cause.into_owned(),
            words: stored.words.into_owned(),
            origin: stored.origin.into(),
            verdict: stored.verdict.into_owned(),
            detail: stored.detail.into_owned(),
            logged_in: stored.logged_in,
            held_ms: stored.held_ms,
            proofs: stored.proofs.into(),
            unanswered: stored.unanswered.into(),
            lag_max_ms: stored.lag_max_ms,
            stalls: stored.stalls,
            slept_ms: stored.slept_ms,
            clock_steps: stored.clock_steps,
            clock_stepped_ms: stored.clock_stepped_ms,
            acks_owed: stored.acks_owed,
            ack_owed_oldest_ms: stored.ack_owed_oldest_ms,
            bytes_in: stored.bytes_in,
            bytes_out: stored.bytes_out,
            failures: stored.failures,
            flapping: stored.flapping.map(Flapping::from),
            guess: stored.guess.into_owned(),
        }
    }
}

impl From<Ages> for AgesV1 {
    fn from(ages: Ages) -> Self {
        Self {
            tcp: ages.tcp,
            websocket: ages.websocket,
            application: ages.application,
            content: ages.content,
        }
    }
}

impl From<AgesV1> for Ages {
    fn from(stored: AgesV1) -> Self {
        Self {
            tcp: stored.tcp,
            websocket: stored.websocket,
            application: stored.application,
            content: stored.content,
        }
    }
}

impl From<Flapping> for FlappingV1 {
    fn from(flapping: Flapping) -> Self {
        Self {
            every_ms: flapping.every_ms,
            times: flapping.times,
            guess: flapping.guess.into(),
        }
    }
}

impl From<FlappingV1> for Flapping {
    fn from(stored: FlappingV1) -> Self {
        Self {
            every_ms: stored.every_ms,
            times: stored.times,
            guess: stored.guess.into(),
        }
    }
}

impl<'a> BeforeV1<'a> {
    fn of(before: &'a Before) -> Self {
        match before {
            Before::Nothing => Self::Nothing,
            Before::Stopped { at_ms } => Self::Stopped { at_ms: *at_ms },
            Before::Failed { at_ms, why } => Self::Failed {
                at_ms: *at_ms,
                why: why.as_str().into(),
            },
            Before::Vanished { host_too } => Self::Vanished { host_too: *host_too },
        }
    }
}

impl From<BeforeV1<'_>> for Before {
    fn from(stored: BeforeV1<'_>) -> Self {
        match stored {
            BeforeV1::Nothing => Self::Nothing,
            BeforeV1::Stopped { at_ms } => Self::Stopped { at_ms },
            BeforeV1::Failed { at_ms, why } => Self::Failed {
                at_ms,
                why: why.into_owned(),
            },
            BeforeV1::Vanished { host_too } => Self::Vanished { host_too },
        }
    }
}

impl From<Origin> for OriginV1 {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Server => Self::Server,
            Origin::Path => Self::Path,
            Origin::Us => Self::Us,
        }
    }
}

impl From<OriginV1> for Origin {
    fn from(stored: OriginV1) -> Self {
        match stored {
            OriginV1::Server => Self::Server,
            OriginV1::Path => Self::Path,
            OriginV1::Us => Self::Us,
        }
    }
}

impl From<Guess> for GuessV1 {
    fn from(guess: Guess) -> Self {
        match guess {
            Guess::Nat => Self::Nat,
            Guess::UnackedWrites => Self::UnackedWrites,
            Guess::IdleRecycle => Self::IdleRecycle,
            Guess::OwedAck => Self::OwedAck,
            Guess::Unknown => Self::Unknown,
        }
    }
}

impl From<GuessV1> for Guess {
    fn from(stored: GuessV1) -> Self {
        match stored {
            GuessV1::Nat => Self::Nat,
            GuessV1::UnackedWrites => Self::UnackedWrites,
            GuessV1::IdleRecycle => Self::IdleRecycle,
            GuessV1::OwedAck => Self::OwedAck,
            GuessV1::Unknown => Self::Unknown,
        }
    }
}
