//! Taking from a channel on a thread of its own, for a while if need be.

use std::future::Future;
use std::num::NonZeroU64;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use async_channel::Receiver;

/// sled's pool threads wake once a second each. They inherit the timer slack of the thread that opens the database, and
/// with this much of it the kernel folds their wake-ups into a few a minute. Nothing punctual runs on them.
pub(super) const POOL_TIMER_SLACK_NS: u64 = 60_000_000_000;

/// Whoever has just been answered may come again at once. Going to sleep for that time costs both sides a wake-up,
/// which on a fast disk is a fifth of a commit.
const LINGER: Duration = Duration::from_micros(50);

pub(super) struct Queue<'a, T> {
    receiver: &'a Receiver<T>,
    waker: Waker,
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl<'a, T> Queue<'a, T> {
    /// For the thread that calls.
    pub(super) fn new(receiver: &'a Receiver<T>) -> Self {
        Self {
            receiver,
            waker: Waker::from(Arc::new(Unpark(thread::current()))),
        }
    }

    /// What waits already.
    pub(super) fn next(&self) -> Option<T> {
        self.receiver.try_recv().ok()
    }

    /// Nobody can add to it any more.
    pub(super) fn is_closed(&self) -> bool {
        self.receiver.is_closed()
    }

    /// What comes within [`LINGER`].
    pub(super) fn linger(&self) -> Option<T> {
        let until = Instant::now() + LINGER;
        loop {
            let taken = self.next();
            if taken.is_some() || Instant::now() >= until {
                return taken;
            }
            thread::yield_now();
        }
    }

    /// `None` at the end.
    pub(super) fn wait(&self) -> Option<T> {
        self.linger().or_else(|| self.receiver.recv_blocking().ok())
    }

    /// `None` at the end, or when nothing has come by `due`.
    pub(super) fn wait_until(&self, due: Instant) -> Option<T> {
        if let Some(job) = self.linger() {
            return Some(job);
        }
        // This thread's timers are late by a minute for the sake of sled's, which inherit that. Not this one.
        let _ = rustix::thread::set_current_timer_slack(None);
        let taken = self.park_until(due);
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(POOL_TIMER_SLACK_NS));
        taken
    }

    fn park_until(&self, due: Instant) -> Option<T> {
        let mut received = pin!(self.receiver.recv());
        loop {
            match received.as_mut().poll(&mut Context::from_waker(&self.waker)) {
                Poll::Ready(taken) => return taken.ok(),
                Poll::Pending => {}
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            thread::park_timeout(left);
        }
    }
}
