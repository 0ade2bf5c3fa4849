//! How far an alert has come at a fallback.

use serde::{Deserialize, Serialize};

use crate::outbox::{Handover, HandoverState};

/// An alert on its way to a fallback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HandoverView {
    /// The fallback's name.
    pub to: String,
    /// `wanted`, `begun` (a request may have gone out), `done` or `givenup`.
    pub state: HandoverState,
    /// Since when, in Unix milliseconds.
    pub since_at: u64,
    /// Names the request; the fallback has it as `Idempotency-Key`. Empty while none was begun.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request: String,
    /// Why the last attempt came to nothing; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl From<&Handover> for HandoverView {
    fn from(handover: &Handover) -> Self {
        Self {
            to: handover.to.to_string(),
            state: handover.state,
            since_at: handover.since.0,
            request: handover.key.clone(),
            note: handover.note.clone(),
        }
    }
}
