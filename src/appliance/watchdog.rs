//! The last resort: drives the pure [`line::Watchdog`](crate::line::Watchdog), which is fed by answers
//! alone.
//!
//! The store answers when an empty transaction has been through its thread. That costs no sync, so an idle box does not
//! write to its card for it; but it waits behind whatever the thread is doing, and a write that hangs holds it up. The
//! dispatcher and each session answer with a turn of their loop. That this loop here runs at all is the last proof.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::future;
use smol::Executor;

use crate::line::{Lost, Progress, Watchdog, WatchdogInput, WatchdogOutput};
use crate::store::{Batch, Store};
use crate::util::lock;
use crate::whatsapp::{Command, SessionHandle};

use super::dispatcher::DispatcherHandle;

/// By who it is: their name, and since when they are asked.
type Lagging = BTreeMap<Progress, (String, Instant)>;

/// Who makes no progress, for health. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Withheld(Arc<Mutex<Lagging>>);

impl Withheld {
    fn inner(&self) -> MutexGuard<'_, Lagging> {
        lock(&self.0)
    }

    /// Each by name, with the time since it was asked.
    pub(super) fn all(&self) -> Vec<(String, Duration)> {
        self.inner()
            .values()
            .map(|(name, since)| (name.clone(), since.elapsed()))
            .collect()
    }
}

/// Whose progress it is, for people. `sessions` are in the order of the configuration, by which they are counted.
fn name_of(who: Progress, sessions: &[SessionHandle]) -> String {
    match who {
        Progress::Store => "the store".to_owned(),
        Progress::Dispatcher => "the dispatcher".to_owned(),
        Progress::Session(number) => match sessions.get(number as usize) {
            Some(session) => format!("session {}", session.name),
            None => format!("session number {number}"),
        },
    }
}

/// No answer can come from a task that has ended: at the goodbye it should, and else the run ends for it.
fn made_or_gone(who: Progress, turned: bool) -> WatchdogInput {
    match turned {
        true => WatchdogInput::Made(who),
        false => WatchdogInput::Gone(who),
    }
}

/// What the watchdog asks, and where the answers go.
pub(super) struct Watch {
    pub(super) limit: Duration,
    pub(super) executor: Arc<Executor<'static>>,
    pub(super) store: Store,
    pub(super) dispatcher: DispatcherHandle,
    /// In the order of the configuration.
    pub(super) sessions: Vec<SessionHandle>,
    pub(super) withheld: Withheld,
}

impl Watch {
    /// Calls `feed` whenever all have shown progress. Runs for as long as the relay.
    pub(super) async fn keep(self, feed: impl Fn()) {
        let number = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX);
        let mut watchdog = Watchdog::new(Instant::now(), self.limit, number);
        // One question at a time for each.
        let (answers_tx, answers) = async_channel::bounded(self.sessions.len() + 2);
        loop {
            while let Some(output) = watchdog.poll_output() {
                match output {
                    WatchdogOutput::Ask(who) => self.ask(who, answers_tx.clone()),
                    WatchdogOutput::Feed => feed(),
                    WatchdogOutput::Withheld(lost) => self.on_withheld(lost),
                }
            }
            let at = watchdog.poll_timeout();
            let answer = async { answers.recv().await.ok() };
            let due = async {
                Timer::at(at).await;
                None
            };
            match future::or(answer, due).await {
                Some(input) => {
                    let (WatchdogInput::Made(who) | WatchdogInput::Gone(who)) = input;
                    if self.withheld.inner().remove(&who).is_some() {
                        log::warn!("{} makes progress again", name_of(who, &self.sessions));
                    }
                    watchdog.handle(Instant::now(), input);
                }
                None => watchdog.handle_timeout(Instant::now()),
            }
        }
    }

    fn ask(&self, who: Progress, answers: async_channel::Sender<WatchdogInput>) {
        match who {
            Progress::Store => {
                let store = self.store.clone();
                let asked = async move {
                    // A store that can no longer be written ends the run by itself.
                    if store.commit(Batch::new()).await.is_ok() {
                        let _ = answers.try_send(WatchdogInput::Made(who));
                    }
                };
                self.executor.spawn(asked).detach();
            }
            Progress::Dispatcher => {
                let dispatcher = self.dispatcher.clone();
                let asked = async move {
                    let _ = answers.try_send(made_or_gone(who, dispatcher.turn().await));
                };
                self.executor.spawn(asked).detach();
            }
            Progress::Session(number) => {
                let Some(session) = self.sessions.get(number as usize).cloned() else {
                    return;
                };
                let asked = async move {
                    let (answer, turned) = async_channel::bounded(1);
                    let turns = session.command(Command::Turn { answer }).await && turned.recv().await.is_ok();
                    let _ = answers.try_send(made_or_gone(who, turns));
                };
                self.executor.spawn(asked).detach();
            }
        }
    }

    fn on_withheld(&self, lost: Lost) {
        log::error!(
            "{} has made no progress for {} s; the watchdog is not fed, and systemd will restart the relay",
            name_of(lost.who, &self.sessions),
            lost.waited.as_secs()
        );
        if let Some(since) = Instant::now().checked_sub(lost.waited) {
            let name = name_of(lost.who, &self.sessions);
            self.withheld.inner().insert(lost.who, (name, since));
        }
    }
}

#[cfg(test)]
mod tests;
