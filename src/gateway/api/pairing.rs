//! Linking an account, line by line.

use serde::{Deserialize, Serialize};

use crate::line::PairEvent;

/// A line of the answer to `POST /v1/sessions/<session>/pair`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PairLine {
    /// What a person has to see next.
    #[serde(flatten)]
    pub event: PairEvent,
    /// The QR code row by row from the top, `1` for a dark module; with `draw` alone, and without the quiet zone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<String>,
}
