//! What is due, and when.

use serde::{Deserialize, Serialize};

/// Something that will be done at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Deadline {
    /// How far off it is, in milliseconds.
    pub in_ms: u64,
    /// What is due then, for people.
    pub reason: String,
}
