//! whatsapp-rust's runtime on the one smol executor.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::net::offload;
use futures_lite::future;
use smol::{Executor, Task, Timer};
use wacore::runtime::{AbortHandle, Runtime};

/// A variable of the environment, in lab builds alone: how many milliseconds a minute lasts.
const LAB_MINUTE_MS: &str = "TAUTLINE_LAB_MINUTE_MS";

type Unit = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// Tasks on the executor it is given, blocking work on smol's pool.
#[derive(Debug, Clone)]
pub struct SmolRuntime {
    executor: Arc<Executor<'static>>,
}

impl SmolRuntime {
    #[must_use]
    pub fn new(executor: Arc<Executor<'static>>) -> Self {
        Self { executor }
    }
}

impl Runtime for SmolRuntime {
    fn spawn(&self, future: Unit) -> AbortHandle {
        let kept = DetachOnDrop(Some(self.executor.spawn(future)));
        AbortHandle::new(move || kept.cancel())
    }

    fn spawn_detached(&self, future: Unit) {
        self.executor.spawn(future).detach();
    }

    fn sleep(&self, duration: Duration) -> Unit {
        let duration = lab_minute(duration);
        Box::pin(async move {
            Timer::after(duration).await;
        })
    }

    /// Starts when it is first polled, and then runs to its end whether anybody waits or not: what is handed over here
    /// may be half a write. A panic ends the closure alone.
    fn spawn_blocking(&self, f: Box<dyn FnOnce() + Send + 'static>) -> Unit {
        Box::pin(async move {
            // A closure that panicked has ended too, and that is all that is waited for.
            let _ = offload(f).await;
        })
    }

    fn yield_now(&self) -> Option<Unit> {
        Some(Box::pin(future::yield_now()))
    }

    /// The executor has one thread; a long batch must not hold up the keepalive.
    fn yield_frequency(&self) -> u32 {
        1
    }
}

/// For how long to wait in place of `duration`. In a lab build, [`LAB_MINUTE_MS`] makes waits of exactly a minute
/// shorter: the library waits that long for the end of the offline queue, and no test should. Any other build waits as
/// told.
pub(super) fn lab_minute(duration: Duration) -> Duration {
    if !cfg!(feature = "lab") || duration != Duration::from_secs(60) {
        return duration;
    }
    let set = std::env::var(LAB_MINUTE_MS).ok().and_then(|ms| ms.parse().ok());
    set.map_or(duration, Duration::from_millis)
}

/// A task behind an [`AbortHandle`]. `detach` there drops the closure without calling it, and a dropped smol task is
/// cancelled: so dropping this lets the task run, and only [`cancel`](Self::cancel) ends it.
struct DetachOnDrop(Option<Task<()>>);

impl DetachOnDrop {
    fn cancel(mut self) {
        drop(self.0.take());
    }
}

impl Drop for DetachOnDrop {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.detach();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_channel::{Receiver, Sender};

    /// Longer than any of this takes; a hang becomes a failure.
    const PATIENCE: Duration = Duration::from_secs(30);

    fn run<T>(test: impl AsyncFnOnce(SmolRuntime) -> T) -> T {
        let executor = Arc::new(Executor::new());
        let runtime = SmolRuntime::new(Arc::clone(&executor));
        let patient = async {
            Timer::after(PATIENCE).await;
            panic!("nothing happened for {PATIENCE:?}");
        };
        future::block_on(executor.run(future::or(test(runtime), patient)))
    }

    /// A task that waits for ever; the receiver closes when it is dropped.
    async fn parked(runtime: &SmolRuntime) -> (AbortHandle, Receiver<()>) {
        let (alive, dropped) = async_channel::bounded::<()>(1);
        let (started, has_started) = async_channel::bounded(1);
        let handle = runtime.spawn(Box::pin(async move {
            let _alive: Sender<()> = alive;
            let _ = started.send(()).await;
            future::pending::<()>().await;
        }));
        has_started.recv().await.unwrap();
        (handle, dropped)
    }

    #[test]
    fn abort_cancels() {
        run(async |runtime| {
            let (handle, dropped) = parked(&runtime).await;
            handle.abort();
            dropped.recv().await.unwrap_err();
        });
    }

    #[test]
    fn dropping_the_handle_cancels() {
        run(async |runtime| {
            let (handle, dropped) = parked(&runtime).await;
            drop(handle);
            dropped.recv().await.unwrap_err();
        });
    }

    #[test]
    fn detach_lets_it_run() {
        run(async |runtime| {
            let (tx, rx) = async_channel::bounded(1);
            let (go, goes) = async_channel::bounded::<()>(1);
            let handle = runtime.spawn(Box::pin(async move {
                let _ = goes.recv().await;
                let _ = tx.send(7).await;
            }));
            handle.detach();
            go.send(()).await.unwrap();
            assert_eq!(rx.recv().await, Ok(7));
        });
    }

    #[test]
    fn a_detached_spawn_runs_without_a_handle() {
        run(async |runtime| {
            let (tx, rx) = async_channel::bounded(1);
            runtime.spawn_detached(Box::pin(async move {
                let _ = tx.send(7).await;
            }));
            assert_eq!(rx.recv().await, Ok(7));
        });
    }

    #[test]
    fn blocking_work_is_awaited_and_survives_its_caller() {
        run(async |runtime| {
            let (tx, rx) = async_channel::bounded(1);
            let (go, goes) = async_channel::bounded::<()>(1);
            let mut work = runtime.spawn_blocking(Box::new(move || {
                let _ = goes.recv_blocking();
                let _ = tx.try_send(7);
            }));
            assert!(future::poll_once(&mut work).await.is_none());
            drop(work);
            go.send(()).await.unwrap();
            assert_eq!(rx.recv().await, Ok(7));

            let (tx, rx) = async_channel::bounded(1);
            runtime
                .spawn_blocking(Box::new(move || assert!(tx.try_send(8).is_ok())))
                .await;
            assert_eq!(rx.try_recv(), Ok(8));
        });
    }

    #[test]
    fn a_panic_in_blocking_work_stays_there() {
        run(async |runtime| {
            runtime.spawn_blocking(Box::new(|| panic!("on purpose"))).await;
        });
    }

    #[test]
    fn sleep_and_yield_come_back() {
        run(async |runtime| {
            runtime.sleep(Duration::from_millis(1)).await;
            let turn = runtime.yield_now().expect("one thread must yield");
            turn.await;
        });
    }
}
