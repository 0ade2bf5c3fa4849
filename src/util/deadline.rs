//! A future under a deadline.

use std::future::Future;
use std::time::Duration;

/// What `work` gives, or `None` when it has not ended after `deadline`; it is dropped then. `work` is looked at first,
/// so that a result that is there counts even if this program was late to look.
pub(crate) async fn within<T>(deadline: Duration, work: impl Future<Output = T>) -> Option<T> {
    let done = async { Some(work.await) };
    let late = async {
        smol::Timer::after(deadline).await;
        None
    };
    futures_lite::future::or(done, late).await
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[test]
    fn a_result_that_is_there_wins_over_a_deadline_that_has_passed() {
        smol::block_on(async {
            assert_eq!(within(Duration::ZERO, ready(1)).await, Some(1));
            assert_eq!(within(Duration::ZERO, pending::<()>()).await, None);
        });
    }
}
