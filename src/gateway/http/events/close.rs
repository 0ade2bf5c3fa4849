//! Why a stream of events ends. Each has a code, and says what to do.

use std::time::Duration;

/// When to come again after a restart: the relay is back within this, if it comes back at all.
const RESTART: Duration = Duration::from_secs(2);

/// The longest reason that a close frame takes, in bytes.
const REASON_MAX_BYTES: usize = 123;

/// Why we end it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Close {
    /// The relay stops.
    Restart,
    /// What came is no WebSocket's.
    Protocol,
    /// A message that is no text.
    Binary,
    /// A text that is not UTF-8.
    NoText,
    /// The right to read has ended.
    Revoked,
    /// A message that is too long.
    TooLong,
    /// There is no place.
    Busy,
    /// The journal cannot be read.
    Unreadable(String),
    /// What the client has said cannot be read.
    NotUnderstood(String),
    /// No sign of life.
    NoPong,
    /// What is told is not taken.
    Slow,
    /// The client has said nothing yet.
    NoHello,
}

impl Close {
    /// RFC 6455's, and those of ours from 4000.
    pub fn code(&self) -> u16 {
        match self {
            Self::Restart => 1001,
            Self::Protocol => 1002,
            Self::Binary => 1003,
            Self::NoText => 1007,
            Self::Revoked => 1008,
            Self::TooLong => 1009,
            Self::Busy | Self::Unreadable(_) => 1013,
            Self::NotUnderstood(_) => 4000,
            Self::NoPong => 4001,
            Self::Slow => 4002,
            Self::NoHello => 4003,
        }
    }

    /// Why, and what to do; `resume` is the number to go on from.
    pub fn reason(&self, resume: u64) -> String {
        let text = match self {
            Self::Restart => format!(
                "the relay stops: come again in {} s, resume from {resume}",
                RESTART.as_secs()
            ),
            Self::Protocol => "what came is no frame of a WebSocket".into(),
            Self::Binary => "messages here are text".into(),
            Self::NoText => "a message is not UTF-8".into(),
            Self::Revoked => "the token is no longer good for this: use another".into(),
            Self::TooLong => "a message is longer than 4096 bytes".into(),
            Self::Busy => "too many subscribe at once: come again in 60 s".into(),
            Self::Unreadable(why) => format!("come again in 10 s, resume from {resume}: {why}"),
            Self::NotUnderstood(why) => format!("not understood: {why}"),
            Self::NoPong => format!("no pong for two pings: resume from {resume}"),
            Self::Slow => format!("too slow: resume from {resume}"),
            Self::NoHello => "no hello came: send {\"since\":0}, or leave the subprotocol out".into(),
        };
        text[..text.floor_char_boundary(REASON_MAX_BYTES)].to_owned()
    }
}
