//! Carrying out what the supervisor has decided.

use std::sync::Arc;
use std::time::Instant;

use super::super::client::LiveClient;
use super::super::handle::Notice;
use super::super::slewed_clock::SlewGuard;
use super::super::{keepalive, version};
use super::pairing::Pairing;
use super::{LibraryRun, Session};
use crate::line::{Cause, EndRecord, Input, Output, PairEvent, State, Stop, Verdict};
use crate::util::wall_ms;

impl Session {
    /// Does what the supervisor decided, until it has nothing more to say.
    pub(super) async fn execute_outputs(&mut self) {
        while let Some(output) = self.supervisor.poll_output() {
            match output {
                Output::Dial { pairing } => self.dial(pairing).await,
                Output::Close => self.break_line().await,
                Output::Ask(question) => {
                    if let Some(client) = &self.client {
                        keepalive::send(client, &self.parts, question);
                    }
                }
                Output::FreshClient => self.start_afresh().await,
                Output::AckOverdue { waited, .. } => {
                    log::warn!(
                        "session {}: a stanza waits for its ack since {} s",
                        self.name,
                        waited.as_secs()
                    );
                }
                Output::Undrained => self.go_on_undrained(),
                // One request is as good as two.
                Output::LookAtClock => drop(self.look_at_clock.try_send(())),
                Output::CheckHold => self.report_hold_left(),
                Output::LineEnded { cause, verdict, record } => {
                    self.notify_end(&cause, &verdict).await;
                    self.on_ended(cause, verdict, *record);
                }
                Output::Quarantine(stop) => self.quarantine(stop).await,
            }
        }
        if let State::Stopped(stop) = self.supervisor.state() {
            self.on_stopped(stop).await;
        }
        let (state, deadline) = (self.supervisor.state(), self.supervisor.shown_timeout());
        let ack_owed_since = self.supervisor.ack_owed_since();
        let changed = self.with_view(|view| view.state != state);
        self.change(|view| {
            view.state = state;
            view.deadline = deadline;
            view.ack_owed_since = ack_owed_since;
        });
        if changed {
            self.changed.notify(usize::MAX);
        }
    }

    async fn on_stopped(&mut self, stop: Stop) {
        if stop == Stop::Requested {
            self.done = true;
        }
        if !self.pairing.listeners.is_empty() {
            self.show(PairEvent::Failed {
                reason: stop.advice().to_owned(),
            });
        }
        self.pairing = Pairing::default();
        self.change(|view| view.pairing = None);
        if stop == Stop::Requested {
            // Before the client's goodbye, which may take all the time that the process has left.
            self.line_log.close().await;
        }
        self.let_go_of_client().await;
    }

    async fn dial(&mut self, pairing: bool) {
        // The one try that an earlier run still owed the server's time is this one.
        self.held = None;
        if self.outdated {
            self.outdated = false;
            self.let_go_of_client().await;
            self.parts.fetch_version().await;
        }
        if self.client.is_none() {
            match LiveClient::build(&self.parts, self.notices.clone()).await {
                Ok(client) => self.client = Some(client),
                Err(error) => {
                    log::error!("session {}: no client: {error:#}", self.name);
                    // The library says of a full disk that the database failed.
                    let text = match self.parts.store.short_of_room() {
                        Some(why) => why.to_string(),
                        None => format!("{error:#}"),
                    };
                    self.change(|view| view.trouble = Some(text.clone()));
                    let cause = Cause::StateUnusable(text);
                    self.supervisor.handle(Instant::now(), Input::Ended { cause });
                    return;
                }
            }
        }
        let Some(client) = &mut self.client else { return };
        client.before_line().await;
        self.server_reason = None;
        let slewing = SlewGuard::hold();
        let (over_tx, over) = async_channel::bounded(1);
        let running = Arc::clone(&client.client);
        let task = self.parts.executor.spawn(async move {
            running.run().await;
            let _ = over_tx.send(()).await;
        });
        self.library_run = Some(LibraryRun {
            _task: task,
            over,
            broken: false,
            logged_in: false,
            up: false,
            _slewing: slewing,
        });
        self.change(|view| {
            view.lines += 1;
            view.trouble = None;
        });
        log::debug!(
            "session {}: dialling{}",
            self.name,
            if pairing { " to pair" } else { "" }
        );
    }

    async fn break_line(&mut self) {
        let Some(line) = &mut self.library_run else { return };
        line.broken = true;
        let open = self
            .client
            .as_ref()
            .is_some_and(|client| client.break_line("closed here"));
        if !open {
            // Nothing tells the library to stop dialling: its client ends with the attempt.
            self.start_afresh().await;
        }
    }

    /// The next line gets a new client. A line that is still open was not let go, and ends with the old one.
    async fn start_afresh(&mut self) {
        if self.library_run.is_some() {
            log::info!(
                "session {}: the protocol library has not given the line up; starting a fresh client",
                self.name
            );
            self.lose_line(Some((Cause::PathBroken, "it was not let go".to_owned())))
                .await;
        }
        self.let_go_of_client().await;
    }

    pub(super) fn refresh_version(&mut self) {
        let fresh = self
            .version_looked_at
            .is_some_and(|at| at.elapsed() < version::REFRESH_EVERY);
        if fresh || !self.parts.plan.endpoint.tls {
            return;
        }
        self.version_looked_at = Some(Instant::now());
        let parts = Arc::clone(&self.parts);
        self.parts
            .executor
            .spawn(async move { parts.fetch_version().await })
            .detach();
    }

    /// For the journal: the end of what was online, and that only a person can help. Attempts that did not come up are
    /// not in it, or a long outage would leave nothing else.
    async fn notify_end(&self, cause: &Cause, verdict: &Verdict) {
        let cause = cause.code();
        if self.with_view(|view| view.online_since.is_some()) {
            self.notify(Notice::Offline { cause }).await;
        }
        match verdict {
            Verdict::Stop(Stop::Requested) => {}
            Verdict::Stop(_) => self.notify(Notice::NeedsPerson { cause }).await,
            Verdict::RedialNow
            | Verdict::BackOff
            | Verdict::BackOffLong
            | Verdict::HoldUntil(_)
            | Verdict::AwaitClock => {}
        }
    }

    fn on_ended(&mut self, cause: Cause, verdict: Verdict, mut record: EndRecord) {
        self.outdated |= cause == Cause::Outdated;
        let detail = std::mem::take(&mut self.end_detail);
        let level = match verdict {
            Verdict::Stop(Stop::Requested | Stop::PairingEnded) | Verdict::RedialNow | Verdict::BackOff => {
                log::Level::Info
            }
            Verdict::Stop(_) | Verdict::HoldUntil(_) | Verdict::BackOffLong | Verdict::AwaitClock => log::Level::Warn,
        };
        let words: String = [&detail, &record.guess]
            .into_iter()
            .filter(|words| !words.is_empty())
            .map(|words| format!(" ({words})"))
            .collect();
        log::log!(level, "session {}: {cause}{words}; {verdict}", self.name);
        record.at_ms = wall_ms();
        record.detail = detail;
        (record.bytes_in, record.bytes_out) = self.client.as_ref().map_or((0, 0), LiveClient::bytes);
        let stops = matches!(verdict, Verdict::Stop(_));
        if !stops && !self.with_view(|view| view.paired) {
            let reason = format!("{cause}{words}");
            self.show(PairEvent::Waiting { reason });
        }
        let hold = match verdict {
            Verdict::HoldUntil(hold) => Some(hold),
            Verdict::RedialNow | Verdict::BackOff | Verdict::BackOffLong | Verdict::AwaitClock | Verdict::Stop(_) => {
                None
            }
        };
        self.line_log.keep(record.clone(), hold);
        self.change(|view| {
            view.online_since = None;
            view.undrained = false;
            view.offline_since.get_or_insert_with(Instant::now);
            view.last_end = Some(record);
        });
    }

    async fn quarantine(&mut self, stop: Stop) {
        self.let_go_of_client().await;
        self.parts.forget_name().await;
        self.parts.timers.forget().await;
        self.uploads.forget().await;
        match self.parts.credentials.quarantine(stop.advice(), wall_ms()).await {
            Ok(()) => log::warn!("session {}: its credentials are dead and were set aside", self.name),
            Err(error) => {
                log::error!(
                    "session {}: dead credentials could not be set aside: {error}",
                    self.name
                );
                self.change(|view| view.trouble = Some(error.to_string()));
            }
        }
        self.parts.directory.set_account(None);
        self.change(|view| {
            view.paired = false;
            view.account = None;
        });
    }

    /// The library calls the session active by itself after a minute, and alerts go out then.
    fn go_on_undrained(&self) {
        log::warn!(
            "session {}: the server does not say that all that had waited there is through; going on without",
            self.name
        );
        self.change(|view| view.undrained = true);
    }

    /// Somebody is logged in with a copy of these credentials, whose ratchets count from now on. Before anything else:
    /// a crash must not lead to a login with the old ones.
    pub(super) async fn note_copy(&self) {
        if let Err(error) = self.parts.credentials.note_copy().await {
            log::error!(
                "session {}: that a copy of its state is in use could not be written, and messages of the next run may be \
                 unreadable: {error}",
                self.name
            );
        }
    }

    /// An earlier run was stopped by a copy and could not note it: it was an older version's, or the disk was full. The
    /// line log may know. Noted twice, it costs new encryption sessions and nothing else.
    pub(super) async fn remember_copy(&self) {
        let replaced = |end: &EndRecord| end.cause == Cause::Replaced.code();
        if self.with_view(|view| view.paired && view.last_end.as_ref().is_some_and(replaced)) {
            self.note_copy().await;
        }
    }

    pub(super) async fn let_go_of_client(&mut self) {
        self.library_run = None;
        self.uploads.line_down();
        if let Some(client) = self.client.take() {
            client.end().await;
        }
    }
}
