//! A route as it is configured, and how a test of it went.

use serde::{Deserialize, Serialize};

use super::AlertView;

/// `GET /v1/routes/<route>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RouteView {
    /// As it is configured.
    pub name: String,
    /// The session that sends its alerts.
    pub session: String,
    /// Its recipients.
    pub to: Vec<String>,
    /// What is done between an alert and a message, a sentence each.
    pub policies: Vec<String>,
    /// When a test was last delivered by WhatsApp to all of them, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven_at: Option<u64>,
    /// Its fallbacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<RouteFallbackView>,
}

/// A fallback of a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RouteFallbackView {
    /// As it is configured.
    pub name: String,
    /// When it last took a test, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven_at: Option<u64>,
}

/// The answer to `POST /v1/routes/<route>/test`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RouteTested {
    /// The test as it went by WhatsApp; its `state` says how far.
    pub alert: AlertView,
    /// Each fallback of the route.
    pub fallbacks: Vec<FallbackTested>,
    /// It was delivered to all recipients, and all fallbacks took it.
    pub proven: bool,
}

/// How a fallback took a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FallbackTested {
    /// As it is configured.
    pub name: String,
    /// It said that it has it.
    pub taken: bool,
    /// Why not; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}
