//! What is looked at, and what is seen of it.

use std::path::PathBuf;

use serde::Serialize;

use crate::config::{ConfigErrors, Loaded};
use crate::gateway::api::{RouteView, Status, TokenView};

/// What is looked at.
pub struct Site {
    pub config: Result<Loaded, ConfigErrors>,
    /// The state directory; without one, why it is not known.
    pub state: Result<PathBuf, String>,
    /// What the running relay says of itself; without one, why it does not.
    pub relay: Result<RelayView, String>,
}

/// What a running relay says of itself.
pub struct RelayView {
    pub status: Status,
    pub routes: Vec<RouteView>,
    pub tokens: Vec<TokenView>,
}

/// How what was seen is to be judged. The order is that of gravity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It could not be looked at, or does not apply here.
    Skipped,
    /// Alerts go out; something is worth a look.
    Warning,
    /// Alerts do not go out, or will not after the next start.
    Fault,
}

/// What a check says.
pub(super) struct Seen {
    pub verdict: Verdict,
    pub text: String,
    pub next: String,
}

impl Seen {
    pub fn good(text: impl Into<String>) -> Self {
        Self::new(Verdict::Good, text, "")
    }

    pub fn skipped(text: impl Into<String>) -> Self {
        Self::new(Verdict::Skipped, text, "")
    }

    pub fn warning(text: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Verdict::Warning, text, next)
    }

    pub fn fault(text: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Verdict::Fault, text, next)
    }

    pub fn new(verdict: Verdict, text: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            verdict,
            text: text.into(),
            next: next.into(),
        }
    }
}
