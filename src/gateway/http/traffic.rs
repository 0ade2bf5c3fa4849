//! What was answered over HTTP since the start, in numbers.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use crate::gateway::tallies::Spread;
use crate::util::lock;

/// Bounds of how long a publish may take, in seconds: mostly one sync of the disk.
pub(super) const PUBLISH_S: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Shared by all connections.
#[derive(Default)]
pub(super) struct Traffic(Mutex<Numbers>);

/// The numbers as they are at one moment.
#[derive(Default, Clone)]
pub(super) struct Numbers {
    /// Answers by their status.
    pub answers: BTreeMap<u16, u64>,
    /// From the head of a request to the answer that its alerts are on disk.
    pub published: Spread<{ PUBLISH_S.len() }>,
}

impl Traffic {
    /// A request was answered.
    pub fn answered(&self, status: u16) {
        *lock(&self.0).answers.entry(status).or_default() += 1;
    }

    /// Alerts were taken, after this long.
    pub fn published(&self, after: Duration) {
        lock(&self.0).published.add(&PUBLISH_S, after.as_secs_f64());
    }

    pub fn numbers(&self) -> Numbers {
        lock(&self.0).clone()
    }
}
