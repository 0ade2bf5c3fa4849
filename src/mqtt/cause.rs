//! Why a connection ended, and what follows.

use std::fmt;

use super::packet::reason_words;
use super::timer::Reason;

/// What ended a connection, or kept it from coming up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It could not be dialled; the words name the step.
    Dial(String),
    /// A file that is needed for it cannot be read, or has something else in it.
    Unreadable(String),
    /// The broker did not take it, with this code.
    Refused {
        /// As MQTT 5 has them; those of 3.1.1 are translated.
        code: u8,
        /// The broker's own words; may be empty.
        words: String,
    },
    /// The broker speaks MQTT 3.1.1 and nothing later.
    Older,
    /// The broker ended it, with this code.
    Disconnected {
        /// As MQTT 5 has them.
        code: u8,
        /// The broker's own words; may be empty.
        words: String,
    },
    /// The broker closed it, or it broke.
    Closed(String),
    /// What the broker sent is not MQTT, or not what was asked for.
    Protocol(&'static str),
    /// An answer did not come in time.
    Late(Reason),
}

/// What follows from an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Again at once.
    Now,
    /// Again after a pause that grows.
    BackOff,
    /// Again after the longest pause: it will be the same until somebody has changed something.
    Patience,
}

impl Cause {
    pub(super) fn verdict(&self) -> Verdict {
        match self {
            Self::Older => Verdict::Now,
            Self::Dial(_) | Self::Closed(_) | Self::Late(_) => Verdict::BackOff,
            Self::Unreadable(_) | Self::Protocol(_) => Verdict::Patience,
            Self::Refused { code, .. } | Self::Disconnected { code, .. } => match code {
                // Unavailable, busy, shutting down, keep-alive, too fast: it passes.
                0x88 | 0x89 | 0x8B | 0x8D | 0x96 | 0x97 | 0x98 | 0x9F | 0xA0 | 0x00 | 0x80 => Verdict::BackOff,
                _ => Verdict::Patience,
            },
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |f: &mut fmt::Formatter<'_>, what: &str, code: u8, words: &str| {
            write!(f, "{what}: {}", reason_words(code))?;
            match words {
                "" => Ok(()),
                words => write!(f, " ({words})"),
            }
        };
        match self {
            Self::Dial(words) | Self::Unreadable(words) => f.write_str(words),
            Self::Refused { code, words } => told(f, "the broker refused the connection", *code, words),
            Self::Older => f.write_str("the broker speaks MQTT 3.1.1"),
            Self::Disconnected { code, words } => told(f, "the broker ended the connection", *code, words),
            Self::Closed(words) => write!(f, "the connection ended: {words}"),
            Self::Protocol(what) => write!(f, "the broker does not keep to MQTT: {what}"),
            Self::Late(reason) => write!(f, "no answer in time: {reason}"),
        }
    }
}
