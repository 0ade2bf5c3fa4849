//! What can be seen of one connection from outside: when it last showed life, and how it ended.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::TcpTuning;
use crate::util::lock;

/// Shared by everyone who handles one connection. Instants are monotonic; nothing here looks at the wall clock.
#[derive(Debug)]
pub struct ConnectionStats {
    /// The address that won the race: the server's, or the proxy's.
    pub peer: SocketAddr,
    pub tuning: TcpTuning,
    state: Mutex<StatsSnapshot>,
}

/// One look at a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsSnapshot {
    /// The WebSocket upgrade was through.
    pub upgraded_at: Option<Instant>,
    /// Any byte at all, below TLS.
    pub last_read: Option<Instant>,
    /// The first bytes that the kernel took since `last_read`. Acks and pongs want no answer, so an old one is a reason
    /// to ask (ping), not yet a proof of death.
    pub first_unanswered_write: Option<Instant>,
    pub last_pong: Option<Instant>,
    /// Bytes on the wire, TLS included.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// The first cause; what follows from it is not recorded.
    pub ended: Option<(Instant, Ended)>,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The peer said goodbye (RFC 6455, section 7.4).
    ServerClose { code: Option<u16>, reason: String },
    /// The stream ended without a close frame; with WhatsApp that is the routine recycle.
    Eof,
    /// The socket failed under a read.
    Read(String),
    /// What came is no WebSocket, too large, or no binary message.
    Garbage(String),
    /// The socket failed under a write.
    Write(String),
    /// A message did not fit into the socket in time.
    WriteDeadline(Duration),
    /// The library hung up, or dropped its end.
    Hangup,
    /// We cut it, for this reason.
    Local(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerClose {
                code: Some(code),
                reason,
            } if reason.is_empty() => write!(f, "server closed ({code})"),
            Self::ServerClose {
                code: Some(code),
                reason,
            } => write!(f, "server closed ({code} {reason:?})"),
            Self::ServerClose { code: None, .. } => f.write_str("server closed (no code)"),
            Self::Eof => f.write_str("stream ended"),
            Self::Read(detail) => write!(f, "read failed: {detail}"),
            Self::Garbage(detail) => write!(f, "not what was expected: {detail}"),
            Self::Write(detail) => write!(f, "write failed: {detail}"),
            Self::WriteDeadline(after) => write!(f, "write blocked for {after:?}"),
            Self::Hangup => f.write_str("hung up here"),
            Self::Local(why) => write!(f, "cut here: {why}"),
        }
    }
}

impl ConnectionStats {
    pub(super) fn new(peer: SocketAddr, tuning: TcpTuning) -> Self {
        let state = StatsSnapshot {
            upgraded_at: None,
            last_read: None,
            first_unanswered_write: None,
            last_pong: None,
            bytes_in: 0,
            bytes_out: 0,
            ended: None,
        };
        Self {
            peer,
            tuning,
            state: Mutex::new(state),
        }
    }

    /// A copy, consistent in itself.
    #[must_use]
    pub fn snapshot(&self) -> StatsSnapshot {
        self.state().clone()
    }

    pub(super) fn on_read(&self, bytes: usize) {
        let mut state = self.state();
        state.last_read = Some(Instant::now());
        state.first_unanswered_write = None;
        state.bytes_in += bytes as u64;
    }

    pub(super) fn on_write(&self, bytes: usize) {
        let mut state = self.state();
        state.first_unanswered_write.get_or_insert_with(Instant::now);
        state.bytes_out += bytes as u64;
    }

    pub(super) fn on_upgrade(&self) {
        self.state().upgraded_at = Some(Instant::now());
    }

    pub(crate) fn on_pong(&self) {
        self.state().last_pong = Some(Instant::now());
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.state().ended.as_ref().map(|(_, how)| how.clone())
    }

    /// Records the end and says whether this was the first one.
    pub(crate) fn on_end(&self, how: Ended) -> bool {
        let mut state = self.state();
        let first = state.ended.is_none();
        state.ended.get_or_insert_with(|| (Instant::now(), how));
        first
    }

    fn state(&self) -> MutexGuard<'_, StatsSnapshot> {
        lock(&self.state)
    }
}
