//! The deadlines of a client, each with why it stands.

use std::fmt;

/// What is due at a client's next deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The pause after an end is over.
    Redial,
    /// Dialling has deadlines of its own, step by step; this one is for what hangs in spite of them.
    Dial,
    /// The broker has to take the connection, counted from when it was asked.
    Connack,
    /// It has to say which topics it will deliver, counted from when it was asked.
    Suback,
    /// A question keeps the connection, and shows whether it lives.
    Ping,
    /// The answer to it is due, counted from when it was asked, whenever that leaves.
    Pong,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redial => "connect again",
            Self::Dial => "the connection must be there",
            Self::Connack => "the broker must answer CONNECT",
            Self::Suback => "the broker must answer SUBSCRIBE",
            Self::Ping => "ask the broker for a sign of life",
            Self::Pong => "the broker must answer the ping",
        })
    }
}
