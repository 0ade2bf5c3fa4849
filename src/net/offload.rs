//! Work that blocks, off the executor's thread.
//!
//! A thread for each piece of work, which ends with it: such work is rare here (a name to look up, a large message to
//! encrypt). smol's own pool keeps its threads for ever and wakes each of them twice a second (`blocking` 1.7), which a
//! quiet appliance would do for months.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use smol::lock::Semaphore;

/// Pieces of work at once. A `getaddrinfo` that nobody answers may hold its place for half a minute; others must still
/// find one.
const THREADS_MAX: usize = 8;

static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(THREADS_MAX)));

/// Runs `work` on a thread of its own and returns what it returned; `None` if it panicked or no thread could be
/// started.
///
/// It starts when the future is first polled and a place is free. From then on it runs to its end, whether anybody
/// waits or not.
pub async fn offload<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let place = PLACES.acquire_arc().await;
    let (done, finished) = async_channel::bounded(1);
    let thread = std::thread::Builder::new().name("offload".into()).spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(work));
        drop(place);
        if let Ok(value) = result {
            let _ = done.try_send(value);
        }
    });
    if let Err(error) = thread {
        log::warn!("no thread could be started: {error}");
        return None;
    }
    // The channel closes without a value when the work panicked.
    finished.recv().await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_value_survives_a_panic_and_finishes_what_nobody_waits_for() {
        smol::block_on(async {
            assert_eq!(offload(|| 7).await, Some(7));
            assert_eq!(offload(|| -> u8 { panic!("on purpose") }).await, None);
            let (said, heard) = async_channel::bounded(1);
            let (go, wait) = async_channel::bounded::<()>(1);
            let mut work = Box::pin(offload(move || {
                let _ = wait.recv_blocking();
                let _ = said.try_send(());
            }));
            assert!(futures_lite::future::poll_once(&mut work).await.is_none());
            drop(work);
            let _ = go.try_send(());
            assert_eq!(heard.recv().await, Ok(()));
        });
    }
}
