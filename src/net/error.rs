//! Why bringing a line up failed: at which step, what happened there, and whether it merely took too long.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// The steps of bringing a line up, in their order. Login comes after them and is not the network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    Resolve,
    Dial,
    Proxy,
    Tls,
    Upgrade,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolve",
            Self::Dial => "dial",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Upgrade => "upgrade",
        })
    }
}

/// Everything that can go wrong between a name and an upgraded WebSocket. `Display` is one line for logs and status;
/// the variants are for whoever decides what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// This build, or a plain `ws://`, does not go there. Nothing was sent.
    #[error("refused to dial {at}: {why}")]
    Forbidden { at: String, why: String },
    /// The name did not become an address.
    #[error("resolve: no address for {host}: {detail}; check DNS")]
    Dns { host: String, detail: String },
    /// Every address failed, or the time for all of them together ran out ([`AttemptError::Deadline`]).
    #[error("dial: {} {at}: {}", if *.proxy { "proxy" } else { "could not reach" }, Attempts(.attempts))]
    Unreachable {
        at: String,
        proxy: bool,
        attempts: Vec<Attempt>,
    },
    /// The proxy was reached, the tunnel was not.
    #[error("proxy {at}: {error}")]
    Proxy { at: String, error: ProxyError },
    /// Far more often this machine's clock than the server's certificate.
    #[error(
        "tls: the certificate of {at} {} by this machine's clock: {detail}; check the time",
        if *.not_yet { "is not yet valid" } else { "has expired" }
    )]
    CertificateTime { at: String, not_yet: bool, detail: String },
    /// The server is not who it should be, or somebody sits in between.
    #[error("tls: the certificate of {at} is not accepted: {detail}")]
    Certificate { at: String, detail: String },
    #[error("tls: {at}: {detail}")]
    Tls { at: String, detail: String },
    /// An HTTP answer in place of the WebSocket.
    #[error("upgrade: {at} answered HTTP {status}{}", RetryAfter(.retry_after))]
    Status {
        at: String,
        status: u16,
        retry_after: Option<Duration>,
    },
    #[error("upgrade: {at}: {detail}")]
    Upgrade { at: String, detail: String },
    #[error("{step}: {at} gave no answer within {after:?}")]
    Deadline { step: Step, at: String, after: Duration },
    /// The caller gave up first, by a deadline over all steps.
    #[error("{step}: {at} had not answered when the attempt was given up")]
    Abandoned { step: Step, at: String },
}

impl DialError {
    /// The step that failed. A forbidden endpoint never gets past resolving.
    #[must_use]
    pub fn step(&self) -> Step {
        match self {
            Self::Forbidden { .. } | Self::Dns { .. } => Step::Resolve,
            Self::Unreachable { .. } => Step::Dial,
            Self::Proxy { .. } => Step::Proxy,
            Self::CertificateTime { .. } | Self::Certificate { .. } | Self::Tls { .. } => Step::Tls,
            Self::Status { .. } | Self::Upgrade { .. } => Step::Upgrade,
            Self::Deadline { step, .. } | Self::Abandoned { step, .. } => *step,
        }
    }

    /// Nobody said no: the answer only did not come in time.
    #[must_use]
    pub fn is_deadline(&self) -> bool {
        match self {
            Self::Deadline { .. } | Self::Abandoned { .. } => true,
            Self::Unreachable { attempts, .. } => {
                attempts.iter().any(|attempt| attempt.error == AttemptError::Deadline)
            }
            Self::Forbidden { .. }
            | Self::Dns { .. }
            | Self::Proxy { .. }
            | Self::CertificateTime { .. }
            | Self::Certificate { .. }
            | Self::Tls { .. }
            | Self::Status { .. }
            | Self::Upgrade { .. } => false,
        }
    }

    /// Certificates are fine, the clock is not: wait for time, burn no backoff.
    #[must_use]
    pub fn is_clock(&self) -> bool {
        matches!(self, Self::CertificateTime { .. })
    }
}

/// One address that did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub addr: SocketAddr,
    pub error: AttemptError,
    /// The system's words.
    pub detail: String,
}

/// What an address said, or that it said nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptError {
    Refused,
    /// No route, no interface, or no address of that family here.
    NoRoute,
    /// The kernel gave up.
    TimedOut,
    /// Our deadline came first.
    Deadline,
    Other,
}

struct Attempts<'a>(&'a [Attempt]);

impl fmt::Display for Attempts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no address to try");
        }
        for (i, attempt) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", attempt.addr, attempt.detail)?;
        }
        Ok(())
    }
}

struct RetryAfter<'a>(&'a Option<Duration>);

impl fmt::Display for RetryAfter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(after) => write!(f, " (retry after {after:?})"),
            None => Ok(()),
        }
    }
}

/// Why a proxy gave no tunnel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// CONNECT was answered with this.
    #[error("refused with HTTP {status} {reason}")]
    Status { status: u16, reason: String },
    /// RFC 1928, section 6.
    #[error("refused with SOCKS code {code} ({})", socks_words(*.code))]
    Socks { code: u8 },
    #[error("wants a user name and password; put them into the proxy's URL")]
    WantsAuth,
    #[error("did not accept the user name and password")]
    AuthRefused,
    /// What is configured cannot be said in this protocol.
    #[error("{0}")]
    Unusable(String),
    #[error("does not speak the protocol: {0}")]
    Garbled(String),
    #[error("closed or failed: {0}")]
    Io(String),
}

fn socks_words(code: u8) -> &'static str {
    match code {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "ttl expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "unassigned",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_names_step_place_and_reason() {
        let attempt = |addr: &str, error, detail: &str| Attempt {
            addr: addr.parse().unwrap(),
            error,
            detail: detail.to_owned(),
        };
        let error = DialError::Unreachable {
            at: "relay.test:443".into(),
            proxy: false,
            attempts: vec![
                attempt("[::1]:443", AttemptError::NoRoute, "network unreachable"),
                attempt("127.0.0.1:443", AttemptError::Deadline, "no answer within 10s"),
            ],
        };
        assert_eq!(
            error.to_string(),
            "dial: could not reach relay.test:443: [::1]:443: network unreachable; 127.0.0.1:443: no answer within 10s"
        );
        assert!(error.is_deadline());
        assert_eq!(error.step(), Step::Dial);

        let busy = DialError::Status {
            at: "relay.test:443".into(),
            status: 503,
            retry_after: Some(Duration::from_secs(7)),
        };
        assert_eq!(
            busy.to_string(),
            "upgrade: relay.test:443 answered HTTP 503 (retry after 7s)"
        );
        assert!(!busy.is_deadline());
    }
}
