//! The sections `[[fallback]]` of a plan: where alerts go when WhatsApp does not take them.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{Proxy, Url};
use crate::alert::FallbackName;

/// Of a file with a secret so much is read: far more than a line.
pub const SECRET_BYTES_MAX: u64 = 4096;

/// One fallback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FallbackPlan {
    pub name: FallbackName,
    pub kind: FallbackKind,
    pub url: Url,
    /// From the environment, as for sessions.
    pub proxy: Option<Proxy>,
    /// Sent as a bearer token.
    pub token: Option<Secret>,
}

/// What a fallback speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FallbackKind {
    /// The address of a topic on an ntfy server.
    Ntfy,
    /// JSON; with a secret it is signed.
    Webhook { secret: Option<Secret> },
}

impl FallbackKind {
    /// As the configuration calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ntfy => "ntfy",
            Self::Webhook { .. } => "webhook",
        }
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
    /// An alert that is older than this and not sent goes there, and so does one whose session has been down for so long.
    pub after: Duration,
    /// At least one, without repetition; each is configured. All of them get the alert.
    pub to: Vec<FallbackName>,
    /// WhatsApp gets the alert all the same, when it can.
    pub both: bool,
}
