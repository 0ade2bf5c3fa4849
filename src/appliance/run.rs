//! The relay from start to stop.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use futures_lite::{FutureExt, future};
use jiff::tz::TimeZone;
use smol::{Executor, Task};

use super::dispatcher::{Dispatcher, DispatcherHandle, Parts};
use super::heartbeat::{Heartbeat, HeartbeatTrouble};
use super::hooks::{Hooks, Teller};
use super::host_monitor::HostMonitor;
use super::news::NewsDesk;
use super::proofs::Proofs;
use super::relay::Appliance;
use super::status::{Facts, started};
use super::tokens::Tokens;
use super::watchdog::{Watch, Withheld};
use super::{clock, ids, notify};
use crate::alert::SessionName;
use crate::blobs::{Blobs, Limits as BlobLimits};
use crate::board::Board;
use crate::config::{Fault, Plan, SessionPlan};
use crate::fallback::FallbackClient;
use crate::gateway::api::{BoardStatus, PairEvent};
use crate::gateway::{Certificate, ControlPlaces, Feed, Gateway, Mqtt, SmtpLimits, SpoolPlace, Tallies};
use crate::outbox::Limits;
use crate::store::{Batch, Store, StoreError, history};
use crate::util::{millis, within};
use crate::whatsapp::session::NOTICES_MAX;
use crate::whatsapp::{Command, Notice, Session, SessionHandle, SessionParts};

/// How long the sessions may take to say goodbye at the end.
pub(super) const GOODBYE: Duration = Duration::from_secs(15);

/// How long the last writes of a run may take, all together. With the gateway's 2 s, the goodbye and [`STORE_END`] that
/// is 23 s of the unit's `TimeoutStopSec=30`.
const LAST_WRITES: Duration = Duration::from_secs(3);

/// How long the store's thread may take after that to end.
pub(super) const STORE_END: Duration = Duration::from_secs(3);

/// Between two tries to record the start, while the disk refuses.
const START_AGAIN: Duration = Duration::from_secs(60);

/// How often the state is looked after: an empty transaction, which costs no sync. Whatever is written meanwhile looks
/// first, so that nothing is lost but time.
const STATE_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// What a run is told.
pub struct RunOptions {
    pub plan: Plan,
    /// Unknown keys, one line each, for health.
    pub config_warnings: Vec<String>,
    /// Files with secrets that cannot be read.
    pub unreadable: Vec<Fault>,
    /// What of the environment was left aside, one line each.
    pub environment: Vec<String>,
    pub board: &'static Board,
    /// Why that board.
    pub board_why: String,
    pub state: PathBuf,
    /// Where the control socket goes.
    pub control: ControlPlaces,
    /// Where alerts may lie as files.
    pub spools: Vec<SpoolPlace>,
    /// Told what a person in front of the terminal wants to see.
    pub console: Box<dyn Console>,
}

/// Where a run shows itself to a person. The log goes its own way.
pub trait Console: Send + Sync {
    fn listening(&self, addresses: &[std::net::SocketAddr]);
    fn pairing(&self, session: &str, event: &PairEvent);
}

/// Why a run did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An address is taken, or another relay answers on the control socket.
    #[error("{0}")]
    Listen(std::io::Error),
    #[error("signals cannot be received: {0}")]
    Signals(std::io::Error),
    /// What was asked for makes no sense here: a session that is not there, or is paired already.
    #[error("{0}")]
    Refused(String),
    /// The disk failed. A restart recovers what it has.
    #[error("the state can no longer be written: {0}")]
    StoreFailed(String),
    /// A task that runs for as long as the relay has ended or panicked. A restart is the cure.
    #[error("{0}")]
    PartEnded(String),
}

type Part = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs one of the parts that must never end, and tells when it does. An executor keeps a task's panic for whoever
/// awaits it, and nobody awaits these: without this one would be missing in silence.
async fn watch(name: String, part: Part, fatal: async_channel::Sender<String>) {
    let how = match AssertUnwindSafe(part).catch_unwind().await {
        Ok(()) => "has ended",
        Err(_) => "has panicked",
    };
    let _ = fatal.try_send(format!("{name} {how}"));
}

/// Runs the relay until SIGTERM, SIGINT or SIGHUP. Blocks the calling thread, which becomes the executor's.
///
/// # Errors
/// The state is in use or unreadable, an address cannot be listened on, or the store failed for good.
pub fn run(options: RunOptions) -> Result<(), RunError> {
    // Files are the owner's alone, also those that sled makes.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let executor: Arc<Executor<'static>> = Arc::new(Executor::new());
    // Not smol's `block_on`: that lets this thread poll the sockets too, and then it and async-io's own thread hand
    // them to each other at every event, which doubles the wake-ups of an idle relay.
    future::block_on(executor.run(serve(Arc::clone(&executor), options)))
}

async fn serve(executor: Arc<Executor<'static>>, options: RunOptions) -> Result<(), RunError> {
    let RunOptions {
        plan,
        config_warnings,
        unreadable: secrets_unreadable,
        environment,
        board,
        board_why,
        state,
        control,
        spools,
        console,
    } = options;
    let (started, started_at) = started();
    let mut signals = super::signals::Watch::start().map_err(RunError::Signals)?;
    let store = Store::open(&state, board.store().cache_bytes)?;
    let blob_limits = BlobLimits {
        file_bytes: plan.attachments.max.0,
        total_bytes: plan.attachments.total.0,
    };
    let blobs = Blobs::open(&state, blob_limits);
    let gateway = Gateway::bind_among(&plan.gateway.listen, &control, plan.gateway.access.clone())
        .map_err(RunError::Listen)?
        .with_tcp(board.schedule().tcp)
        .with_spools(spools, &plan.routes)
        .with_blobs(blobs.clone(), plan.attachments.fetch.clone(), board.schedule())
        .with_mail(plan.mail.clone())
        .with_ping(board.events().ping);
    let certificate = plan.gateway.tls.clone().map(|files| Arc::new(Certificate::open(files)));
    let gateway = match &certificate {
        Some(certificate) => gateway.with_certificate(Arc::clone(certificate)),
        None => gateway,
    };
    let gateway = gateway
        .with_smtp(&plan.smtp.listen, SmtpLimits::default())
        .map_err(RunError::Listen)?;
    let console: Arc<dyn Console> = Arc::from(console);
    console.listening(gateway.addresses());
    if plan.gateway.listen.is_empty() {
        log::warn!("gateway.listen is empty: nothing is served over HTTP, and alerts come by `tautline publish` only");
    }

    let host_monitor = Arc::new(HostMonitor::open(store.clone()));
    let (sessions, handles, notices) = make_sessions(&plan, board, (&store, &blobs), &host_monitor, &executor);
    let feed = Arc::new(Feed::default());
    let tallies = Arc::new(Tallies::default());
    let mqtt = plan
        .mqtt
        .map(|plan| Mqtt::new(plan, &host_name(), board.schedule(), ids::seed()));
    let time_zone = time_zone(plan.time_zone.as_deref());
    let fallback_client = Arc::new(FallbackClient::new(plan.fallbacks.clone(), board.schedule()));
    let hooks = Hooks::open(&store, &plan.hooks).await;
    let proofs = Arc::new(Proofs::open(store.clone(), Arc::clone(&executor), &plan.routes));
    let (dispatcher, requests, damaged) = Dispatcher::open(Parts {
        store: store.clone(),
        blobs,
        executor: Arc::clone(&executor),
        limits: limits_of(board),
        collect: board.store().collect,
        feed: Arc::clone(&feed),
        sessions: handles.clone(),
        routes: plan.routes,
        time_zone: time_zone.clone(),
        notices,
        fallback_client: Arc::clone(&fallback_client),
        proofs: Arc::clone(&proofs),
        tallies: Arc::clone(&tallies),
    })?;
    for finding in damaged.iter().chain(&dispatcher.orphaned()) {
        log::error!("{finding}");
    }
    let (tokens, unreadable) = Tokens::open(store.clone(), Arc::clone(&executor))?;
    for finding in &unreadable {
        log::error!("{finding}");
    }
    let tokens = Arc::new(tokens);
    let (withheld, heartbeat_trouble) = (Withheld::default(), HeartbeatTrouble::default());
    let facts = Facts {
        started,
        started_at,
        board: BoardStatus {
            name: board.name.to_owned(),
            why: board_why,
            detection_worst_ms: millis(board.detection_worst()),
        },
        schedule: board.schedule(),
        state,
        listening: gateway.listening(),
        smtp: gateway.smtp_listening(),
        spooling: gateway.spooling(),
        store: store.clone(),
        host_monitor: Arc::clone(&host_monitor),
        config_warnings,
        secrets_unreadable,
        environment,
        damaged,
        withheld: withheld.clone(),
        heartbeat_trouble: heartbeat_trouble.clone(),
        access: plan.gateway.access,
        tokens: Arc::clone(&tokens),
        refused: gateway.refused(),
        certificate,
        mqtt: mqtt.as_ref().map(Mqtt::view),
        unreadable,
        proofs: Arc::clone(&proofs),
        hooks: hooks.clone(),
    };

    let (fatal_tx, fatal) = async_channel::bounded(1);
    let watched = |name: &str, task| executor.spawn(watch(name.to_owned(), task, fatal_tx.clone()));
    let mut tasks: Vec<Task<()>> = vec![
        watched("the dispatcher", Box::pin(dispatcher.run())),
        watched(
            "the host monitor",
            watch_host(
                Arc::clone(&host_monitor),
                handles.clone(),
                Arc::clone(&executor),
                requests.clone(),
            ),
        ),
    ];
    let noting_start = executor.spawn(note_start(store.clone()));
    if let Some(limit) = notify::watchdog_limit() {
        let watch = Watch {
            limit,
            executor: Arc::clone(&executor),
            store: store.clone(),
            dispatcher: requests.clone(),
            sessions: handles.clone(),
            withheld,
        };
        tasks.push(executor.spawn(watch.keep(notify::feed)));
    }
    if let Some(plan) = plan.heartbeat {
        let heartbeat = Heartbeat {
            plan,
            schedule: board.schedule(),
            store: store.clone(),
            dispatcher: requests.clone(),
            sessions: handles.clone(),
            trouble: heartbeat_trouble,
        };
        tasks.push(watched("the heartbeat", Box::pin(heartbeat.keep())));
    }
    let telling = notify::is_heard().then(|| executor.spawn(notify::keep_status(handles.clone())));
    for handle in &handles {
        if !handle.view().paired {
            tasks.push(executor.spawn(show_pairing(handle.clone(), Arc::clone(&console))));
        }
    }
    let running: Vec<Task<()>> = sessions
        .into_iter()
        .zip(&handles)
        .map(|(session, handle)| watched(&format!("session {}", handle.name), Box::pin(session.run())))
        .collect();

    let (stop_tx, stop) = async_channel::bounded::<()>(1);
    let relay = Arc::new(Appliance {
        dispatcher: requests.clone(),
        facts,
        tokens,
        feed,
        fallback_client: Arc::clone(&fallback_client),
        proofs,
        tallies,
    });
    for (at, plan) in plan.hooks.into_iter().enumerate() {
        let teller = Teller {
            plan,
            at,
            hooks: hooks.clone(),
            schedule: board.schedule(),
            store: store.clone(),
            dispatcher: requests.clone(),
        };
        tasks.push(executor.spawn(teller.keep()));
    }
    if !plan.health_fallbacks.is_empty() {
        let desk = NewsDesk {
            to: plan.health_fallbacks,
            fallback_client,
            store: store.clone(),
            relay: Arc::clone(&relay),
            time_zone,
        };
        tasks.push(watched("the news of health", Box::pin(desk.keep())));
    }
    let stopped = until_closed(stop.clone());
    let from_broker = mqtt.map(|mqtt| {
        let relay = Arc::<Appliance>::clone(&relay);
        watched("the client of MQTT", Box::pin(mqtt.keep(relay, until_closed(stop))))
    });
    let serving = watched(
        "the gateway",
        Box::pin(gateway.serve(Arc::clone(&executor), relay, stopped)),
    );
    notify::ready();

    let signal = async {
        signals.stop().await;
        None
    };
    // Neither an unwritable store nor a part that has ended is mended in place: the process ends, and the next one
    // starts from what the disk has.
    let failed = future::or(store.failure(), check_state(&store));
    let broken = async { Some(RunError::StoreFailed(failed.await)) };
    let ended = async { fatal.recv().await.ok().map(RunError::PartEnded) };
    let failure = future::or(signal, future::or(broken, ended)).await;
    drop(telling);
    notify::stopping();
    drop(stop_tx);
    serving.await;
    if let Some(from_broker) = from_broker {
        from_broker.await;
    }
    // Already now, beside the goodbye, which may take most of the time there is.
    let early = executor.spawn(write_last_changes(requests.clone()));
    say_goodbye(&executor, &handles, running).await;
    // A start that is recorded after the end would take its goodbye away.
    drop(noting_start);
    let last = async {
        // Acks that came with the goodbye are worth keeping, and the dispatcher takes what the sessions have said
        // before what it is asked; what is lost here is sent again under the same id.
        let lost = write_last_changes(requests).await;
        host_monitor.keep_last_time().await;
        let failure = failure.or(lost.map(RunError::StoreFailed));
        note_end(&store, failure.as_ref()).await;
        // That may have been the first write since the state went: nobody must take this for a clean end.
        failure.or_else(|| store.poisoned().map(RunError::StoreFailed))
    };
    let failure = within(LAST_WRITES, last).await.unwrap_or_else(|| {
        let text = "the disk hangs: the last changes are perhaps not written";
        log::error!("{text}");
        Some(RunError::StoreFailed(text.into()))
    });
    drop((early, tasks));
    // Not by dropping it: tasks of the library hold it until the process ends.
    store.close(STORE_END);
    failure.map_or(Ok(()), Err)
}

/// The end of a channel on which nothing is said.
async fn until_closed(channel: async_channel::Receiver<()>) {
    let _ = channel.recv().await;
}

/// What this host calls itself.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// In which texts say the time. A name that the system no longer knows was one when the configuration was read.
fn time_zone(name: Option<&str>) -> TimeZone {
    let named = name.and_then(|name| TimeZone::get(name).ok());
    named.unwrap_or_else(TimeZone::system)
}

/// Returns why they were not written.
async fn write_last_changes(dispatcher: DispatcherHandle) -> Option<String> {
    let error = dispatcher.flush().await.err()?;
    log::error!("the last changes were not written: {error}");
    Some(error.to_string())
}

/// Asks the store's thread now and then whether the state is still where it was: what is removed under a relay that has
/// nothing to write would show at the next alert only.
async fn check_state(store: &Store) -> String {
    loop {
        Timer::after(STATE_CHECK_INTERVAL).await;
        // It breaks the store if not, and that is heard elsewhere.
        let _ = store.commit(Batch::new()).await;
    }
}

/// For the line log: that this run has begun, and how the last one ended. A disk that is full is asked again: until it
/// is recorded, a crash would pass for the goodbye of the run before.
async fn note_start(store: Store) {
    let boot = clock::boot_id();
    let at_ms = clock::wall_ms();
    let begin = || history::run_begins(&store, at_ms, boot.clone(), env!("CARGO_PKG_VERSION"));
    let mut begun = begin().await;
    if let Err(error) = &begun {
        log::warn!("the start could not be recorded: {error}");
    }
    while let Err(StoreError::Full(_) | StoreError::ReadOnly(_)) = &begun {
        Timer::after(START_AGAIN).await;
        begun = begin().await;
    }
    // An error has been said, and a store that is broken says the rest.
    let Ok(started) = begun else { return };
    match started.before {
        history::Before::Nothing | history::Before::Stopped { .. } => {}
        history::Before::Failed { why, .. } => log::warn!("the last run gave up: {why}"),
        history::Before::Vanished { host_too: Some(true) } => {
            log::warn!("the last run ended without a goodbye, and the host with it")
        }
        history::Before::Vanished { .. } => log::warn!("the last run ended without a goodbye"),
    }
}

/// Where it cannot be written, the next start says that there was no goodbye.
async fn note_end(store: &Store, failure: Option<&RunError>) {
    let noted = history::run_ends(store, clock::wall_ms(), failure.map(ToString::to_string));
    if let Err(error) = noted.await {
        log::debug!("the end of the run was not recorded: {error}");
    }
}

type Sessions = (
    Vec<Session>,
    Vec<SessionHandle>,
    async_channel::Receiver<(SessionName, Notice)>,
);

fn watch_host(
    host_monitor: Arc<HostMonitor>,
    handles: Vec<SessionHandle>,
    executor: Arc<Executor<'static>>,
    dispatcher: DispatcherHandle,
) -> Part {
    let clock_stepped = move || {
        // The host monitor waits for nobody, and a step must not be lost for want of room.
        let dispatcher = dispatcher.clone();
        executor.spawn(async move { dispatcher.clock_stepped().await }).detach();
    };
    Box::pin(async move { host_monitor.watch(handles, clock_stepped).await })
}

fn make_sessions(
    plan: &Plan,
    board: &Board,
    (store, blobs): (&Store, &Blobs),
    host_monitor: &HostMonitor,
    executor: &Arc<Executor<'static>>,
) -> Sessions {
    let (notices, heard) = async_channel::bounded(NOTICES_MAX);
    let recipients = |session: &SessionName| {
        let routes = plan.routes.iter().filter(|route| route.session == *session);
        routes.flat_map(|route| route.to.clone()).collect()
    };
    let make = |plan: &SessionPlan| {
        Session::new(SessionParts {
            plan: plan.clone(),
            schedule: board.schedule(),
            recipients: recipients(&plan.name),
            store: store.clone(),
            blobs: blobs.clone(),
            executor: Arc::clone(executor),
            notices: notices.clone(),
            seed: ids::seed(),
            clock_unset: host_monitor.clock_unset(),
            look_at_clock: host_monitor.look_at_clock(),
        })
    };
    let (sessions, handles) = plan.sessions.iter().map(make).unzip();
    (sessions, handles, heard)
}

fn limits_of(board: &Board) -> Limits {
    let numbers = board.outbox();
    Limits {
        in_flight_max: numbers.in_flight_max as usize,
        pending_max: usize::try_from(numbers.pending_max).unwrap_or(usize::MAX),
        ..Limits::default()
    }
}

async fn say_goodbye(executor: &Executor<'static>, handles: &[SessionHandle], running: Vec<Task<()>>) {
    // All at once: one whose queue is full must not take the others' time.
    let tell = |handle: SessionHandle| executor.spawn(async move { handle.command(Command::Shutdown).await });
    let telling: Vec<Task<bool>> = handles.iter().cloned().map(tell).collect();
    let all = async {
        for task in running {
            task.await;
        }
    };
    if within(GOODBYE, all).await.is_none() {
        log::warn!("a session did not end in time");
    }
    drop(telling);
}

/// Shows QR codes for as long as the session's first pairing attempt goes on.
async fn show_pairing(handle: SessionHandle, console: Arc<dyn Console>) {
    let (events_tx, events) = async_channel::bounded(4);
    if handle
        .command(Command::Pair {
            phone: None,
            events: events_tx,
        })
        .await
    {
        while let Ok(event) = events.recv().await {
            console.pairing(handle.name.as_str(), &event);
        }
    }
}
