//! When the dispatcher writes what is put off, and who waits for it.

use std::time::{Duration, Instant};

use super::event::Answer;
use crate::store::StoreError;

/// When what is put off is written: one transaction after the other, and a round of them for all that there was at its
/// start.
pub(super) struct Rounds {
    /// How long changes are collected.
    pub(super) collect: Duration,
    /// When the changes that are being collected are written; `None`: none are.
    pub(super) collected_at: Option<Instant>,
    /// After a refusal nothing is tried before.
    pub(super) not_before: Option<Instant>,
    /// A transaction is under way.
    pub(super) writing: bool,
    /// The next round is not to wait: what goes with it makes room on a disk that is full.
    pub(super) urgent: bool,
    /// Those who wait for the round that is under way, and for the next.
    pub(super) wanted: Vec<Answer<Result<(), StoreError>>>,
    pub(super) wanted_next: Vec<Answer<Result<(), StoreError>>>,
}

impl Rounds {
    pub(super) fn new(collect: Duration) -> Self {
        Self {
            collect,
            collected_at: None,
            not_before: None,
            writing: false,
            urgent: false,
            wanted: Vec::new(),
            wanted_next: Vec::new(),
        }
    }

    /// Somebody waits until all that is put off now is on disk.
    pub(super) fn want(&mut self, answer: Answer<Result<(), StoreError>>) {
        self.wanted_next.push(answer);
    }

    /// What is put off now makes room for what is new.
    pub(super) fn hurry(&mut self) {
        self.urgent = true;
    }

    pub(super) fn tell(&mut self, result: &Result<(), StoreError>) {
        for answer in self.wanted.drain(..) {
            let _ = answer.try_send(result.clone());
        }
    }
}
