//! The task that runs one session: it feeds the supervisor with what happens and does what the supervisor decides.
//!
//! One closed set of events, one loop, one timer. What takes long (a send, a ping, a fetch) is spawned and comes back
//! as an event.

mod execute;
mod hold;
mod line_events;
mod line_log;
mod linking;
mod pairing;
mod proofs;
mod receipts;
mod sending;

use std::sync::{Arc, Mutex};
use std::time::Instant;

use async_io::Timer;
use event_listener::Event as Signal;
use futures_lite::future;
use smol::{Executor, Task};

use super::again::{Again, Repairs};
use super::chats;
use super::client::LiveClient;
use super::events::LineEvent;
use super::handle::{COMMANDS_MAX, Command, Notice, SessionHandle, SessionView};
use super::media::Uploads;
use super::parts::ClientParts;
use super::runtime::lab_minute;
use super::slewed_clock::{self, SlewGuard};
use crate::alert::{Chat, Recipient, SessionName};
use crate::blobs::Blobs;
use crate::config::SessionPlan;
use crate::line::{Cause, HostEvent, Input, Schedule, State, Stop, Supervisor, printable};
use crate::store::Store;
use crate::util::lock;
use line_log::{Held, LineLog};
use pairing::Pairing;

/// Notices that wait for the dispatcher.
pub const NOTICES_MAX: usize = 4096;

/// What a session is made of.
pub struct SessionParts {
    pub plan: SessionPlan,
    pub schedule: Schedule,
    /// Whom the routes of this session name.
    pub recipients: Vec<Recipient>,
    pub store: Store,
    /// Where the files lie that go with alerts.
    pub blobs: Blobs,
    pub executor: Arc<Executor<'static>>,
    /// Where notices go, with the session's name.
    pub notices: async_channel::Sender<(SessionName, Notice)>,
    /// For jitter alone.
    pub seed: u64,
    /// The clock is not set now. When it is, [`Command::Host`] tells.
    pub clock_unset: bool,
    /// Where the session asks for a look at the clock that it waits for.
    pub look_at_clock: async_channel::Sender<()>,
}

enum Event {
    Command(Command),
    Line(LineEvent),
    /// The library has given the line up.
    LineOver,
    /// Its task ended without a word. Its client would refuse to run again.
    LibraryPanicked,
    /// The timer that was armed for the earliest deadline has fired.
    Deadline,
    /// Nobody holds a handle any more.
    Abandoned,
}

/// One linked account and its task.
pub struct Session {
    name: SessionName,
    parts: Arc<ClientParts>,
    notices: async_channel::Sender<(SessionName, Notice)>,
    commands: async_channel::Receiver<Command>,
    look_at_clock: async_channel::Sender<()>,
    view: Arc<Mutex<SessionView>>,
    /// Notified when the view's state changes.
    changed: Arc<Signal>,
    line_log: LineLog,
    /// The server named a time in an earlier run, and it is not over.
    held: Option<Held>,
    supervisor: Supervisor,
    client: Option<LiveClient>,
    library_run: Option<LibraryRun>,
    pairing: Pairing,
    repairs: Arc<Repairs>,
    uploads: Arc<Uploads>,
    /// Until there is a line.
    to_send_again: Vec<Again>,
    /// Set by the server's own words; the first of a line counts.
    server_reason: Option<(Cause, String)>,
    /// What the end of the line looked like, until the supervisor has judged it.
    end_detail: String,
    /// Fetch a web version before the next line: the server found ours too old.
    outdated: bool,
    version_looked_at: Option<Instant>,
    /// Nobody holds a handle any more.
    abandoned: bool,
    done: bool,
}

/// The library's run of one line.
struct LibraryRun {
    /// Ends with the line.
    _task: Task<()>,
    over: async_channel::Receiver<()>,
    /// We broke it: a login that it still tells of is not taken.
    broken: bool,
    /// The server's `success` was seen.
    logged_in: bool,
    /// Alerts may go out.
    up: bool,
    _slewing: SlewGuard,
}

impl Session {
    /// Looks up the session's credentials and makes its handle. Nothing runs until [`run`](Self::run). Credentials that
    /// cannot be read are this session's trouble alone: it says so, and the others work.
    pub fn new(parts: SessionParts) -> (Self, SessionHandle) {
        // Before anything asks the library for the time.
        slewed_clock::install();
        let (commands_tx, commands) = async_channel::bounded(COMMANDS_MAX);
        let view = Arc::new(Mutex::new(SessionView::default()));
        let name = parts.plan.name.clone();
        let mut schedule = parts.schedule.clone();
        schedule.application.offline_drain = lab_minute(schedule.application.offline_drain);
        let mut supervisor = Supervisor::new(schedule, parts.seed);
        if parts.clock_unset {
            supervisor.handle(Instant::now(), Input::Host(HostEvent::ClockUnset));
        }
        let (notices, look_at_clock) = (parts.notices.clone(), parts.look_at_clock.clone());
        let changed = Arc::new(Signal::new());
        let line_log = LineLog::open(&parts.executor, &parts.store, &name);
        let (last_end, held) = line_log::last(&parts.store, &name);
        let uploads = Uploads::new(
            name.clone(),
            parts.store.clone(),
            parts.blobs,
            Arc::clone(&parts.executor),
            parts.notices,
        );
        let parts = Arc::new(ClientParts::new(
            parts.plan,
            parts.schedule,
            parts.recipients,
            parts.store,
            parts.executor,
        ));
        let session = Self {
            name: name.clone(),
            notices,
            commands,
            look_at_clock,
            view: Arc::clone(&view),
            changed: Arc::clone(&changed),
            line_log,
            held,
            supervisor,
            client: None,
            library_run: None,
            pairing: Pairing::default(),
            repairs: Arc::default(),
            uploads,
            to_send_again: Vec::new(),
            server_reason: None,
            end_detail: String::new(),
            outdated: false,
            version_looked_at: None,
            abandoned: false,
            done: false,
            parts,
        };
        session.look_at_credentials();
        session.change(|view| {
            view.offline_since = Some(Instant::now());
            view.last_end = last_end;
        });
        let handle = SessionHandle {
            name,
            directory: Arc::clone(&session.parts.directory),
            commands: commands_tx,
            view,
            changed,
        };
        (session, handle)
    }

    /// Runs until [`Command::Shutdown`], or until nobody holds a handle.
    pub async fn run(mut self) {
        let paired = self.with_view(|view| view.paired);
        self.remember_copy().await;
        self.start(paired);
        while !self.done {
            self.execute_outputs().await;
            if self.done {
                break;
            }
            match self.next_event().await {
                Event::Command(command) => self.on_command(command).await,
                Event::Line(event) => self.on_line_event(event).await,
                Event::LineOver => self.lose_line(None).await,
                Event::LibraryPanicked => {
                    log::error!(
                        "session {}: the protocol library panicked; starting a fresh client",
                        self.name
                    );
                    self.lose_line(None).await;
                    self.let_go_of_client().await;
                }
                Event::Deadline => self.on_deadline(),
                Event::Abandoned => {
                    self.abandoned = true;
                    self.supervisor.handle(Instant::now(), Input::Shutdown);
                }
            }
        }
        self.let_go_of_client().await;
        // Where no line had to end first.
        self.line_log.close().await;
    }

    async fn next_event(&mut self) -> Event {
        let timeout = self.supervisor.poll_timeout().map(|(at, _)| at);
        let deadline = async {
            match timeout {
                Some(at) => drop(Timer::at(at).await),
                None => future::pending().await,
            }
            Event::Deadline
        };
        let line_event = async {
            match &self.client {
                Some(client) => match client.events.recv().await {
                    Ok(event) => Event::Line(event),
                    Err(_) => future::pending().await,
                },
                None => future::pending().await,
            }
        };
        let over = async {
            match &self.library_run {
                Some(line) => match line.over.recv().await {
                    Ok(()) => Event::LineOver,
                    Err(_) => Event::LibraryPanicked,
                },
                None => future::pending().await,
            }
        };
        let command = async {
            match self.abandoned {
                false => self.commands.recv().await.map_or(Event::Abandoned, Event::Command),
                true => future::pending().await,
            }
        };
        // What the line said comes before its end, and a deadline cannot be starved by either.
        future::or(deadline, future::or(line_event, future::or(over, command))).await
    }

    async fn on_command(&mut self, command: Command) {
        match command {
            Command::Send { message, fresh } => self.on_send(message, fresh).await,
            Command::SendAgain(again) => self.send_again(again),
            Command::Pair { phone, events } => self.on_pair(phone, events),
            Command::Chats { answer } => self.on_chats(answer),
            Command::Suspect => self
                .supervisor
                .handle(Instant::now(), Input::Suspect(Cause::AckTimeout)),
            Command::Host(event) => self.supervisor.handle(Instant::now(), Input::Host(event)),
            Command::Turn { answer } => drop(answer.try_send(())),
            Command::Shutdown => {
                self.supervisor.handle(Instant::now(), Input::Shutdown);
                self.done |= self.supervisor.state() == State::Stopped(Stop::Requested);
            }
        }
    }

    /// Alerts may go out.
    fn is_up(&self) -> bool {
        self.library_run.as_ref().is_some_and(|line| line.up)
    }

    fn on_chats(&self, answer: async_channel::Sender<Result<Vec<Chat>, String>>) {
        let Some(client) = self.client.as_ref().filter(|_| self.is_up()) else {
            let paired = self.with_view(|view| view.paired);
            let advice = if paired {
                "see `tautline status`"
            } else {
                "link it with `tautline pair`"
            };
            let _ = answer.try_send(Err(format!("session {} is not online: {advice}", self.name)));
            return;
        };
        let (client, store, session) = (Arc::clone(&client.client), self.parts.store.clone(), self.name.clone());
        self.parts
            .executor
            .spawn(async move {
                let chats = chats::chats(&client, &store, &session).await;
                let _ = answer.try_send(chats);
            })
            .detach();
    }

    /// The line is no more. What it said before may still wait: acks among it, and why it ends. `seen` counts where the
    /// server has not said why; without it, what the socket or the dialling showed.
    async fn lose_line(&mut self, seen: Option<(Cause, String)>) {
        let waiting: Vec<_> = match &self.client {
            Some(client) => std::iter::from_fn(|| client.events.try_recv().ok()).collect(),
            None => Vec::new(),
        };
        for event in waiting {
            self.on_line_event(event).await;
        }
        let was_up = self.library_run.take().is_some_and(|line| line.up);
        self.uploads.line_down();
        let (cause, detail) = match (self.server_reason.take(), seen) {
            (Some(said), _) => said,
            (None, Some(seen)) => seen,
            (None, None) => self.cause_seen(was_up),
        };
        self.feed_proofs();
        // A proxy's words, a close frame's, a resolver's: whoever said them.
        self.end_detail = printable(&detail);
        self.supervisor.handle(Instant::now(), Input::Ended { cause });
        if was_up {
            self.notify(Notice::Down).await;
        }
    }

    fn cause_seen(&self, was_up: bool) -> (Cause, String) {
        let seen = self.client.as_ref().and_then(|client| client.how_it_ended(was_up));
        seen.unwrap_or_else(|| (Cause::LoginTimeout, "the login did not complete".to_owned()))
    }

    fn on_deadline(&mut self) {
        let now = Instant::now();
        self.feed_proofs();
        self.supervisor.handle_timeout(now);
    }

    async fn notify(&self, notice: Notice) {
        let _ = self.notices.send((self.name.clone(), notice)).await;
    }

    fn with_view<T>(&self, read: impl FnOnce(&SessionView) -> T) -> T {
        read(&lock(&self.view))
    }

    fn change(&self, change: impl FnOnce(&mut SessionView)) {
        change(&mut lock(&self.view));
    }
}

/// All but the last two digits hidden.
pub fn masked(number: &str) -> String {
    let shown = number.len().saturating_sub(2);
    format!("+{}{}", "•".repeat(shown), &number[shown..])
}
