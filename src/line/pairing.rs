//! How pairing goes on, for whoever shows it.

use serde::{Deserialize, Serialize};

/// What a person who pairs a session has to see next. Also a line of the stream that
/// `POST /v1/sessions/<session>/pair` answers with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum PairEvent {
    /// Show it; the next one replaces it.
    Qr { payload: String, valid_ms: u64 },
    /// Type it on the phone: linked devices, link with phone number.
    Code { code: String, valid_ms: u64 },
    /// There is no line to link over, for this reason; it is tried again by itself.
    Waiting { reason: String },
    /// Linked and logged in.
    Paired { account: String },
    /// It ended without a link; asking again starts over.
    Failed { reason: String },
}
