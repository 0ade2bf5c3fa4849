//! What has ended the store: a failed write or sync, or an index that can no longer be read.

use std::sync::Mutex;

use event_listener::Event;

use crate::util::lock;

/// Set once, and then nothing more is acknowledged.
#[derive(Default)]
pub(super) struct Broken {
    reason: Mutex<Option<String>>,
    happened: Event,
}

impl Broken {
    pub(super) fn reason(&self) -> Option<String> {
        lock(&self.reason).clone()
    }

    /// The first reason counts.
    pub(super) fn set(&self, reason: &str) {
        let mut known = lock(&self.reason);
        if known.is_some() {
            return;
        }
        log::error!("the state can no longer be written: {reason}");
        *known = Some(reason.to_owned());
        drop(known);
        self.happened.notify(usize::MAX);
    }

    /// Waits until it is set.
    pub(super) async fn wait(&self) -> String {
        loop {
            let happened = self.happened.listen();
            if let Some(reason) = self.reason() {
                return reason;
            }
            happened.await;
        }
    }
}
