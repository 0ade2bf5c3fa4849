//! New alerts on their way to the disk, and who waits for them.

use std::collections::BTreeMap;

use super::event::{Answer, Publish};
use crate::alert::SessionName;
use crate::gateway::api::AlertView;
use crate::gateway::{Accepted, Refusal};
use crate::store::outbox as outbox_store;

/// A request whose alerts are in the outbox.
pub(super) struct Taken {
    pub(super) parts: Vec<(SessionName, Part)>,
    pub(super) answer: Answer<Result<Vec<Accepted>, Refusal>>,
}

/// What the answer says of one alert.
pub(super) enum Part {
    New { seq: u64 },
    Duplicate(Box<AlertView>),
}

/// One transaction of new alerts.
#[derive(Default)]
pub(super) struct Write {
    pub(super) seqs: Vec<u64>,
    pub(super) taken: Vec<Taken>,
    /// Requests with a key of an alert in it: whether they are duplicates shows when it has ended.
    pub(super) undecided: Vec<Publish>,
}

/// What is on its way to the disk for the first time.
#[derive(Default)]
pub(super) struct Writes {
    /// The one that this turn's alerts go into.
    pub(super) next: Write,
    pub(super) next_rows: outbox_store::New,
    pub(super) under_way: BTreeMap<u64, Write>,
    pub(super) started: u64,
}

impl Writes {
    /// The transaction that the alert numbered `seq` is in.
    pub(super) fn of(&mut self, seq: u64) -> &mut Write {
        let mut under_way = self.under_way.values_mut();
        under_way
            .find(|write| write.seqs.contains(&seq))
            .unwrap_or(&mut self.next)
    }
}
