//! What goes to a fallback in one request.

use super::record::Timestamp;
use crate::alert::{Alert, FallbackName, RouteName, SessionName};

/// What a fallback is to be given: alerts of one route, in the order of acceptance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    pub to: FallbackName,
    /// Names the request: the same at every attempt, so that a fallback can know it again.
    pub key: String,
    pub route: RouteName,
    pub session: SessionName,
    /// Why WhatsApp has not delivered them, in words that go on from "because".
    pub why: String,
    /// There is at least one.
    pub alerts: Vec<Handed>,
}

/// An alert as a fallback is given it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    pub id: String,
    pub accepted_at: Timestamp,
    pub alert: Alert,
    /// What is to be said of it: when it was accepted, where it is late, and that it flaps.
    pub remark: Option<String>,
}
