//! The static numbers that keep a line taut. A board supplies them; nothing here is measured or adapted at run time.

use std::time::Duration;

/// Every interval and deadline of one line, in force for the whole run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pub tcp: TcpSchedule,
    pub websocket: WebSocketSchedule,
    pub application: ApplicationSchedule,
    pub steps: StepDeadlines,
    pub redial: RedialSchedule,
    /// Messages that all layers together may send in any hour.
    pub budget_per_hour: u32,
}

/// Kernel keepalive, set on every socket. Sees a dead host or a forgotten NAT flow, and writes that are never acked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpSchedule {
    /// `TCP_KEEPIDLE`: idle time before the first probe.
    pub idle: Duration,
    /// `TCP_KEEPINTVL`: time between probes.
    pub interval: Duration,
    /// `TCP_KEEPCNT`: unanswered probes before the kernel gives up.
    pub count: u32,
    /// `TCP_USER_TIMEOUT`: how long written bytes may stay unacked. With it set, Linux uses it in place of `count`.
    pub user_timeout: Duration,
}

/// RFC 6455 ping and pong. Sees a dead path end to end through proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebSocketSchedule {
    pub ping: Duration,
    pub pong: Duration,
}

/// The `w:p` ping and what stands above it. Sees a session that no longer works although the path does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplicationSchedule {
    /// A ping goes out at a random time between these after the last one; phase noise keeps a fleet from pulsing.
    pub ping_min: Duration,
    pub ping_max: Duration,
    /// Counted from the first unanswered send.
    pub pong: Duration,
    /// Presence `unavailable`, again and again; `available` is never announced.
    pub presence: Duration,
    /// An IQ whose answer carries content.
    pub probe: Duration,
    /// `<ib><offline>` is expected this long after going active.
    pub offline_drain: Duration,
}

/// How long one step of bringing a line up may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepDeadlines {
    pub resolve: Duration,
    /// All addresses together; the families are raced.
    pub dial: Duration,
    pub proxy: Duration,
    pub tls: Duration,
    pub upgrade: Duration,
    /// From the upgraded WebSocket to the server's `success`, Noise included.
    pub login: Duration,
    /// One WebSocket message into the socket.
    pub write: Duration,
}

/// Pauses between attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedialSchedule {
    pub first: Duration,
    pub max: Duration,
    /// A line that held this long was useful: the next pause starts from `first` again.
    pub useful: Duration,
    /// The storm brake: never more attempts than this in any hour.
    pub per_hour_max: u32,
}
