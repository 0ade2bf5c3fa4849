//! Logging in, as the page does.

use serde::{Deserialize, Serialize};

/// `POST /v1/login`: the token that is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewLogin {
    /// Its secret.
    pub token: String,
}

/// The answer, and `login` in the status: what it is good for. Its secret is in the cookie alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LoginView {
    /// The name of the token.
    pub token: String,
    /// `publish`, `read`, `admin`.
    pub rights: Vec<String>,
    /// How long it lets in if nothing more is asked with it, in milliseconds.
    pub ends_in_ms: u64,
}
