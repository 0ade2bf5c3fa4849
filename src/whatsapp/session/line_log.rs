//! The session's part of the line log: ends of lines on their way to the disk, and what the last one still asks of us.

use std::time::Duration;

use smol::{Executor, Task};

use crate::alert::SessionName;
use crate::line::{Cause, EndRecord};
use crate::store::{Store, history};
use crate::util::{wall_ms, within};

/// Ends that wait for the disk. Attempts are braked to a few a minute: a disk that is this far behind hangs.
const WAITING_MAX: usize = 32;

/// How long the last ones may take at the end of the run.
const LAST_WRITES: Duration = Duration::from_secs(3);

/// Writes ends one after the other, beside the session: redialling never waits for the disk.
pub(super) struct LineLog {
    name: SessionName,
    ends: async_channel::Sender<(EndRecord, Option<Duration>)>,
    writer: Option<Task<()>>,
}

impl LineLog {
    pub(super) fn open(executor: &Executor<'static>, store: &Store, name: &SessionName) -> Self {
        let (ends, waiting) = async_channel::bounded(WAITING_MAX);
        let writer = executor.spawn(write(store.clone(), name.clone(), waiting));
        Self {
            name: name.clone(),
            ends,
            writer: Some(writer),
        }
    }

    /// Puts it on its way. A record that the disk does not take is lost, and the log has said its words already.
    pub(super) fn keep(&self, end: EndRecord, hold: Option<Duration>) {
        if self.ends.try_send((end, hold)).is_err() {
            log::warn!("session {}: the disk is too slow to record why lines end", self.name);
        }
    }

    /// Waits for what is on its way, for a moment.
    pub(super) async fn close(&mut self) {
        self.ends.close();
        if let Some(writer) = self.writer.take() {
            let _ = within(LAST_WRITES, writer).await;
        }
    }
}

async fn write(store: Store, name: SessionName, waiting: async_channel::Receiver<(EndRecord, Option<Duration>)>) {
    let mut reported = false;
    while let Ok((end, hold)) = waiting.recv().await {
        match history::line_ended(&store, &name, end, hold).await {
            Ok(()) => reported = false,
            Err(error) if reported => log::debug!("session {name}: nor could this end be recorded: {error}"),
            Err(error) => {
                log::warn!("session {name}: the end of a line could not be recorded: {error}");
                reported = true;
            }
        }
    }
}

/// What is left of a time that the server named in an earlier run.
pub(super) struct Held {
    by: history::LineEnded,
}

impl Held {
    /// `None`: it is over.
    pub(super) fn left(&self) -> Option<Duration> {
        self.by.hold_left(wall_ms())
    }

    /// The words of the end after which the server named the time.
    pub(super) fn words(&self) -> &str {
        &self.by.end.words
    }

    /// Why it is waited.
    pub(super) fn cause(&self) -> Cause {
        Cause::TemporaryBan(Duration::from_millis(self.by.hold_ms.unwrap_or_default()))
    }
}

/// How the last line ended, and whether that holds the next one.
pub(super) fn last(store: &Store, name: &SessionName) -> (Option<EndRecord>, Option<Held>) {
    let last = history::last_end(store.view(), name).unwrap_or_else(|error| {
        log::warn!("session {name}: how its last line ended is not known: {error}");
        None
    });
    let held = last.clone().filter(|by| by.hold_ms.is_some()).map(|by| Held { by });
    (last.map(|last| last.end), held)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::line::{Input, Output, Supervisor};
    use crate::store::{Batch, StoreError};

    fn end() -> EndRecord {
        let mut core = Supervisor::new(crate::board::Board::generic().schedule(), 7);
        let now = Instant::now();
        core.handle(now, Input::Start { paired: true });
        let cause = Cause::Unreachable;
        core.handle(now, Input::Ended { cause });
        let outputs = std::iter::from_fn(|| core.poll_output());
        let ends = outputs.filter_map(|output| match output {
            Output::LineEnded { record, .. } => Some(*record),
            _ => None,
        });
        ends.last().expect("an end")
    }

    /// The session goes on and ends as ever; what came before is still there.
    #[test]
    fn a_broken_store_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let name: SessionName = "default".parse().unwrap();
        let executor: &'static Executor<'static> = Box::leak(Box::new(Executor::new()));
        let mut line_log = LineLog::open(executor, &store, &name);
        smol::block_on(executor.run(async {
            line_log.keep(end(), None);
            while history::last_end(store.view(), &name).unwrap().is_none() {
                async_io::Timer::after(Duration::from_millis(2)).await;
            }
            let broken = store.update::<(), _>(|_| panic!("on purpose")).await;
            assert!(matches!(broken, Err(StoreError::Poisoned(_))), "{broken:?}");
            for _ in 0..3 * WAITING_MAX {
                line_log.keep(end(), None);
            }
            line_log.close().await;
            assert!(store.commit(Batch::new()).await.is_err());
        }));
        assert_eq!(history::last_end(store.view(), &name).unwrap().unwrap().times, 1);
    }
}
