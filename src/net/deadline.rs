//! The deadline of one step.

use std::future::Future;
use std::time::Duration;

use super::{DialError, Step};

/// Runs one step under its deadline.
pub(crate) async fn within<T>(
    step: Step,
    at: &str,
    after: Duration,
    work: impl Future<Output = Result<T, DialError>>,
) -> Result<T, DialError> {
    crate::util::within(after, work).await.unwrap_or_else(|| {
        Err(DialError::Deadline {
            step,
            at: at.to_owned(),
            after,
        })
    })
}
