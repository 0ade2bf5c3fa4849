//! Causes, verdicts and reasons as people read them, and the codes under which records keep them.

use std::fmt;

use super::{Cause, Origin, Reason, Verdict};

impl Cause {
    /// A name that never changes, for records and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Recycled => "recycled",
            Self::Closed(_) => "closed",
            Self::RestartRequired => "restart-required",
            Self::Unlinked => "unlinked",
            Self::Replaced => "replaced",
            Self::Locked => "locked",
            Self::TemporaryBan(_) => "temporary-ban",
            Self::Outdated => "outdated",
            Self::Rejected(_) => "rejected",
            Self::RateLimited => "rate-limited",
            Self::ServerTrouble(_) => "server-trouble",
            Self::AckOwed => "ack-owed",
            Self::OutOfStep => "out-of-step",
            Self::Unclassified(_) => "unclassified",
            Self::Unresolved => "unresolved",
            Self::Unreachable => "unreachable",
            Self::ProxyFailed => "proxy-failed",
            Self::TlsFailed => "tls-failed",
            Self::ClockSuspect => "clock-suspect",
            Self::UpgradeFailed => "upgrade-failed",
            Self::PathBroken => "path-broken",
            Self::LoginTimeout => "login-timeout",
            Self::PongTimeout => "pong-timeout",
            Self::WebSocketPongTimeout => "websocket-pong-timeout",
            Self::WriteTimeout => "write-timeout",
            Self::AckTimeout => "ack-timeout",
            Self::Zombie => "zombie",
            Self::NeverDrained => "never-drained",
            Self::Suspended => "suspended",
            Self::PathChanged => "path-changed",
            Self::ClockUnset => "clock-unset",
            Self::Forbidden => "forbidden",
            Self::StateUnusable(_) => "state-unusable",
            Self::PairingEnded => "pairing-ended",
            Self::Requested => "requested",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Path => "path",
            Self::Us => "us",
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recycled => f.write_str("the server recycled the line"),
            Self::Closed(code) => write!(f, "the server closed with code {code}"),
            Self::RestartRequired => f.write_str("the server asked for a restart of the line (515)"),
            Self::Unlinked => f.write_str("the phone unlinked this device"),
            Self::Replaced => f.write_str("the same credentials connected elsewhere"),
            Self::Locked => f.write_str("the account is locked or banned (403)"),
            Self::TemporaryBan(expires) => write!(f, "a temporary ban of {} s (402)", expires.as_secs()),
            Self::Outdated => f.write_str("the server finds this client too old (405)"),
            Self::Rejected(code) => write!(f, "the server rejects the login ({code})"),
            Self::RateLimited => f.write_str("the server limits the rate (429)"),
            Self::ServerTrouble(code) => write!(f, "the server has trouble ({code})"),
            Self::AckOwed => f.write_str("the server is owed an ack"),
            Self::OutOfStep => f.write_str("the stream was out of step"),
            Self::Unclassified(what) => write!(f, "the server said something unknown: {what}"),
            Self::Unresolved => f.write_str("the name did not resolve"),
            Self::Unreachable => f.write_str("no connection to the server"),
            Self::ProxyFailed => f.write_str("the proxy did not let us through"),
            Self::TlsFailed => f.write_str("TLS failed"),
            Self::ClockSuspect => f.write_str("a certificate is not valid now: is the clock right?"),
            Self::UpgradeFailed => f.write_str("the WebSocket upgrade failed"),
            Self::PathBroken => f.write_str("the path broke"),
            Self::LoginTimeout => f.write_str("the login took too long"),
            Self::PongTimeout => f.write_str("a ping went unanswered"),
            Self::WebSocketPongTimeout => f.write_str("a WebSocket ping went unanswered"),
            Self::WriteTimeout => f.write_str("a write did not leave in time"),
            Self::AckTimeout => f.write_str("alerts were written and never acked"),
            Self::Zombie => f.write_str("pings were answered, but nothing was delivered"),
            Self::NeverDrained => f.write_str("the end of the offline queue never came"),
            Self::Suspended => f.write_str("the host slept"),
            Self::PathChanged => f.write_str("the network changed during the attempt"),
            Self::ClockUnset => f.write_str("the clock is not set"),
            Self::Forbidden => f.write_str("the endpoint is not allowed"),
            Self::StateUnusable(why) => write!(f, "the session's state cannot be used: {why}"),
            Self::PairingEnded => f.write_str("nobody linked this device in time"),
            Self::Requested => f.write_str("stopped on request"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RedialNow => f.write_str("redial now"),
            Self::BackOff => f.write_str("back off"),
            Self::BackOffLong => f.write_str("back off long"),
            Self::HoldUntil(time) => write!(f, "hold for {} s", time.as_secs()),
            Self::AwaitClock => f.write_str("wait for the clock"),
            Self::Stop(stop) => write!(f, "stop: {}", stop.advice()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redial => "redial after the pause",
            Self::Hold => "one try after the time the server named",
            Self::HoldCheck => "compare the server's time with the clock",
            Self::StormBrake => "redial when the hourly cap allows",
            Self::Clock => "look whether the clock is right",
            Self::Login => "the login must be complete",
            Self::Close => "the closed line must be gone",
            Self::Useful => "the line counts as useful, pauses start over",
            Self::OfflineDrain => "the offline queue must be delivered",
            Self::ApplicationPing => "application ping",
            Self::ApplicationPong => "the application ping must be answered",
            Self::WebSocketPing => "WebSocket ping",
            Self::WebSocketPong => "the WebSocket ping must be answered",
            Self::Presence => "presence unavailable",
            Self::Probe => "content probe",
            Self::ProbeAnswer => "the content probe must be answered",
            Self::OwedAck => "a stanza must be acked",
            Self::Decode => "what came in must be readable",
        })
    }
}
