//! How old kept messages are, by a clock that no step of the wall clock moves.
//!
//! It counts the seconds in which this relay had its state open, sleep included, and nothing else: a board without a
//! battery may learn of a year at once, and a copy that has just been made must not be a year old then. So a message is
//! kept at least for as long as is said, and longer on a box that is often off.
//!
//! The count goes on from what the newest kept message says, or from what was last written of it, whichever is more. It
//! is written only now and then: a crash costs some of its progress, and so keeps messages a little longer.

use std::sync::{Arc, Mutex};

use rustix::time::{ClockId, clock_gettime};

use super::records::{PENDING_KEY_PARTS, SENT_KEY_PARTS, StoredMessage};
use super::transaction::Transaction;
use crate::alert::SessionName;
use crate::store::{StoreError, Tree, join};
use crate::util::lock;

/// The row under [`Tree::Meta`]; the session's name is its second part.
const KEY: &[u8] = b"kept-time";

/// How often kept messages are looked through, and the count is written: an idle box must not write to its card every
/// few minutes only because time passes. In seconds.
const SWEEP_EVERY_S: i64 = 6 * 3600;

/// Seconds of a clock that never steps; where it begins does not matter. Tests bring their own.
pub type Ticks = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Time since boot, with sleep.
pub(super) fn boottime() -> Ticks {
    Arc::new(|| clock_gettime(ClockId::Boottime).tv_sec)
}

/// The count of one session, shared by all clones of its [`Credentials`](super::Credentials).
pub(super) struct Age {
    session: SessionName,
    ticks: Ticks,
    state: Mutex<Option<Count>>,
}

#[derive(Clone, Copy)]
struct Count {
    seconds: i64,
    /// What the clock showed when the count stood there.
    at: i64,
    /// What the disk has of it.
    written: i64,
    /// No sweep before the count is here: of sent messages, of received ones.
    sweep_at: [i64; 2],
}

impl Count {
    fn advance(&mut self, at: i64) -> i64 {
        self.seconds = self.seconds.saturating_add(at.saturating_sub(self.at).max(0));
        self.at = self.at.max(at);
        self.seconds
    }
}

impl Age {
    pub(super) fn new(session: SessionName, ticks: Ticks) -> Self {
        Self {
            session,
            ticks,
            state: Mutex::new(None),
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Option<Count>) -> T) -> T {
        let mut state = lock(&self.state);
        if let Some(count) = state.as_mut() {
            count.advance((self.ticks)());
        }
        look(&mut state)
    }

    /// Whether kept messages of `tree` have not been looked through for long. A count that has not begun says yes.
    pub(super) fn sweep_is_due(&self, tree: Tree) -> bool {
        self.with(|state| state.is_none_or(|count| count.seconds >= count.sweep_at[place(tree)]))
    }

    fn key(&self) -> Vec<u8> {
        join(&[KEY, self.session.as_str().as_bytes()])
    }

    /// How far the count is. On the writer's thread: the first call reads all kept messages.
    pub(super) fn now(&self, transaction: &Transaction<'_>) -> Result<i64, StoreError> {
        if let Some(seconds) = self.with(|state| state.map(|count| count.seconds)) {
            return Ok(seconds);
        }
        let written = transaction.get::<i64>(Tree::Meta, &self.key())?.unwrap_or(0);
        let begin = Count {
            seconds: written.max(self.newest_kept(transaction)?),
            at: (self.ticks)(),
            written,
            sweep_at: [i64::MIN; 2],
        };
        Ok(self.with(|state| state.get_or_insert(begin).seconds))
    }

    /// Begins to look through the kept messages of `tree` under `ours`, and returns how far the count is. It is written
    /// where that is due.
    pub(super) fn begin_sweep(
        &self,
        transaction: &mut Transaction<'_>,
        tree: Tree,
        ours: &[u8],
        parts: usize,
    ) -> Result<i64, StoreError> {
        let seconds = self.now(transaction)?;
        // With nothing to count for, a box that sends nothing writes nothing.
        let any = transaction.keys(tree, ours, parts).next().is_some();
        let unwritten = self.with(|state| {
            let count = state.as_mut()?;
            count.sweep_at[place(tree)] = seconds.saturating_add(SWEEP_EVERY_S);
            let due = any && seconds.saturating_sub(count.written) >= SWEEP_EVERY_S;
            due.then(|| count.written = seconds)
        });
        if unwritten.is_some() {
            transaction.put(Tree::Meta, self.key(), &seconds)?;
        }
        Ok(seconds)
    }

    /// What the newest kept message says. An unreadable one says nothing.
    fn newest_kept(&self, transaction: &Transaction<'_>) -> Result<i64, StoreError> {
        let mut newest = 0;
        let trees = [
            (Tree::SentMessage, SENT_KEY_PARTS),
            (Tree::PendingInbound, PENDING_KEY_PARTS),
        ];
        let ours = join(&[self.session.as_str().as_bytes()]);
        for (tree, parts) in trees {
            for key in transaction.keys(tree, &ours, parts) {
                match transaction.get::<StoredMessage>(tree, &key?) {
                    Ok(row) => newest = newest.max(row.map_or(0, |row| row.stored_at)),
                    Err(StoreError::Record { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(newest)
    }
}

fn place(tree: Tree) -> usize {
    usize::from(tree != Tree::SentMessage)
}
