//! How bad a condition is, and from when on.

use std::time::Duration;

/// How bad a condition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Alerts go their way; somebody should look when there is time.
    Warning,
    /// Alerts are lost, refused or stuck until somebody acts: the relay is not healthy.
    Error,
}

impl Severity {
    /// As the HTTP API says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// How a condition's severity follows from its duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    Warning,
    Error,
    /// A warning at first, and an error once it has lasted this long.
    ErrorAfter(Duration),
}

impl Grade {
    /// The severity of a condition that has lasted for `lasts`.
    pub fn after(self, lasts: Duration) -> Severity {
        match self {
            Self::Warning => Severity::Warning,
            Self::Error => Severity::Error,
            Self::ErrorAfter(limit) if lasts < limit => Severity::Warning,
            Self::ErrorAfter(_) => Severity::Error,
        }
    }
}
