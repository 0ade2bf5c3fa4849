//! How the outbox stands, as status and health need it.

use std::collections::BTreeMap;

use crate::alert::{RouteName, SessionName};
use crate::gateway::api::HeldBackStatus;
use crate::outbox::{FallbackTrouble, Hold, OutboxFull, Step, Timestamp};

/// Numbers and words on the outbox, all of one instant.
#[derive(Debug, Clone, Default)]
pub(in crate::appliance) struct OutboxFacts {
    /// Deliveries by [`Step`].
    pub counts: [u64; Step::ALL.len()],
    /// Alerts that still have something to send.
    pub pending: usize,
    pub full: Option<OutboxFull>,
    /// What the rules of routes hold back.
    pub held_back: Vec<HeldBackStatus>,
    /// When the one was accepted that has waited longest, and why it was not sent when it was last tried.
    pub oldest: Option<Timestamp>,
    pub oldest_note: String,
    /// How many recipients the server lets nothing through to for now.
    pub held: BTreeMap<(SessionName, Hold), usize>,
    /// A line for each session that alerts wait for and that is not configured.
    pub orphaned: Vec<String>,
    /// The routes on which alerts fail for good.
    pub failed: Vec<FailedRoute>,
    /// The fallbacks that do not take what they are given.
    pub fallbacks: Vec<FallbackTrouble>,
}

/// A route whose last alerts have failed.
#[derive(Debug, Clone)]
pub(in crate::appliance) struct FailedRoute {
    pub route: RouteName,
    pub session: SessionName,
    /// Those since the last that got through.
    pub alerts: usize,
    /// The newest one's, in words.
    pub reason: String,
}
