//! What is said of a request that came to nothing.

use crate::outbox::HandoverFailure;

/// Nobody can have seen the request, or the answer said no to it, in words.
pub(super) fn failure(words: impl Into<String>) -> HandoverFailure {
    HandoverFailure {
        words: words.into(),
        unclear: false,
        refused: false,
        pause: None,
    }
}
