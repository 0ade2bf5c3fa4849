//! The sections `[[fallback]]` of a plan: where alerts go when WhatsApp does not take them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::address::{bracketed, server};
use super::{Endpoint, Proxy, Url};
use crate::alert::FallbackName;

/// How much of a file with a secret is read: far more than a line.
pub const SECRET_BYTES_MAX: u64 = 4096;

/// One fallback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FallbackPlan {
    pub name: FallbackName,
    pub kind: FallbackKind,
    /// Certificates, in PEM, that are trusted for it in place of the web's.
    pub ca: Option<PathBuf>,
}

/// What a fallback speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FallbackKind {
    /// The address of a topic on an ntfy server.
    Ntfy(WebTarget),
    /// JSON; with a secret it is signed.
    Webhook { target: WebTarget, secret: Option<Secret> },
    /// A mail server.
    Smtp(MailTarget),
}

/// Something that is asked over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebTarget {
    pub url: Url,
    /// From the environment, as for sessions.
    pub proxy: Option<Proxy>,
    /// Sent as a bearer token.
    pub token: Option<Secret>,
}

/// Where and how mails go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailTarget {
    pub server: MailServer,
    /// Name and password.
    pub login: Option<(String, Secret)>,
    pub from: String,
    /// At least one.
    pub to: Vec<String>,
}

/// A server that takes mails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailServer {
    /// `smtps`: encrypted from the first byte. Else it is from STARTTLS on, unless the server is on this host.
    pub tls: bool,
    pub host: String,
    pub port: u16,
}

impl MailServer {
    /// True for `localhost` and loopback addresses.
    pub fn is_loopback(&self) -> bool {
        self.endpoint().is_loopback()
    }

    /// What is dialled: TLS begins by itself, or later.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            tls: false,
            host: self.host.clone(),
            port: self.port,
            path: "/".to_owned(),
        }
    }
}

impl FromStr for MailServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected smtps://host[:port] for TLS at once, or smtp://host[:port] for STARTTLS";
        let (tls, host, port) = server(text, &[("smtps", true, 465), ("smtp", false, 587)], EXPECTED)?;
        Ok(Self { tls, host, port })
    }
}

impl fmt::Display for MailServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "smtps" } else { "smtp" };
        write!(f, "{scheme}://{}:{}", bracketed(&self.host), self.port)
    }
}

/// Something that no log may hold. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// It stands in the configuration.
    Given(String),
    /// It is read from this file each time that it is needed, so that it can be changed without a restart.
    File(PathBuf),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => f.write_str("Given(***)"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

/// What a route does with a fallback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteFallback {
    /// An alert that is older than this and not sent goes there, and so does one whose session has been down for so
    /// long.
    pub after: Duration,
    /// At least one, without repetition; each is configured. All of them get the alert.
    pub to: Vec<FallbackName>,
    /// WhatsApp gets the alert all the same, when it can.
    pub both: bool,
}
