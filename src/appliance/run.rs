//! The relay from start to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use futures_lite::{StreamExt, future};
use smol::{Executor, Task};

use super::courier::Courier;
use super::relay::Appliance;
use super::status::{Facts, started};
use super::{ids, notify};
use crate::board::Board;
use crate::config::Plan;
use crate::gateway::Gateway;
use crate::gateway::api::{BoardStatus, PairEvent};
use crate::outbox::Limits;
use crate::store::{Store, StoreError};
use crate::whatsapp::session::NOTICES_MAX;
use crate::whatsapp::{Command, Session, SessionHandle, SessionParts};

/// How long the sessions may take to say goodbye at the end.
pub(super) const GOODBYE: Duration = Duration::from_secs(15);

/// What a run is told.
pub struct RunOptions {
    pub plan: Plan,
    /// One line each, for health.
    pub config_warnings: Vec<String>,
    pub board: &'static Board,
    /// Why that board.
    pub board_why: String,
    pub state: PathBuf,
    /// Where the control socket goes.
    pub control: PathBuf,
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
    /// An address is taken, or the control socket cannot be made.
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
}

/// Runs the relay until SIGTERM or SIGINT. Blocks the calling thread, which becomes the executor's.
///
/// # Errors
/// The state is in use or unreadable, an address cannot be listened on, or the store failed for good.
pub fn run(options: RunOptions) -> Result<(), RunError> {
    // Files are the owner's alone, also those that sled makes.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let executor: Arc<Executor<'static>> = Arc::new(Executor::new());
    // Not smol's `block_on`: that lets this thread poll the sockets too, and then it and async-io's own thread hand them to
    // each other at every event, which doubles the wake-ups of an idle relay.
    future::block_on(executor.run(serve(Arc::clone(&executor), options)))
}

async fn serve(executor: Arc<Executor<'static>>, options: RunOptions) -> Result<(), RunError> {
    let RunOptions {
        plan,
        config_warnings,
        board,
        board_why,
        state,
        control,
        console,
    } = options;
    let (started, started_at) = started();
    let mut signals = super::signals::watch().map_err(RunError::Signals)?;
    let store = Store::open(&state, board.store().cache_bytes)?;
    let gateway = Gateway::bind(&plan.gateway.listen, &control)
        .map_err(RunError::Listen)?
        .with_tcp(board.schedule().tcp);
    let console: Arc<dyn Console> = Arc::from(console);
    console.listening(gateway.addresses());

    let (notices_tx, notices) = async_channel::bounded(NOTICES_MAX);
    let mut sessions = Vec::new();
    let mut handles = Vec::new();
    for session in &plan.sessions {
        let (session, handle) = Session::new(SessionParts {
            plan: session.clone(),
            schedule: board.schedule(),
            store: store.clone(),
            executor: Arc::clone(&executor),
            notices: notices_tx.clone(),
            seed: ids::seed(),
        });
        sessions.push(session);
        handles.push(handle);
    }
    drop(notices_tx);

    let numbers = board.outbox();
    let limits = Limits {
        in_flight_max: numbers.in_flight_max as usize,
        pending_max: usize::try_from(numbers.pending_max).unwrap_or(usize::MAX),
        ..Limits::default()
    };
    let (courier, damaged) = Courier::open(
        store.clone(),
        Arc::clone(&executor),
        limits,
        board.store().collect,
        handles.clone(),
        plan.routes,
    )?;
    for error in &damaged {
        log::error!("an alert on disk cannot be read: {error}");
    }
    let facts = Facts {
        started,
        started_at,
        board: BoardStatus {
            name: board.name.to_owned(),
            why: board_why,
            detection_worst_ms: u64::try_from(board.detection_worst().as_millis()).unwrap_or(u64::MAX),
        },
        schedule: board.schedule(),
        state,
        listen: gateway.addresses().iter().map(ToString::to_string).collect(),
        store: store.clone(),
        config_warnings,
        damaged: damaged.iter().map(ToString::to_string).collect(),
    };

    let mut tasks: Vec<Task<()>> = vec![
        executor.spawn(Arc::clone(&courier).listen(notices)),
        executor.spawn(Arc::clone(&courier).persist_forever()),
        executor.spawn(Arc::clone(&courier).keep_time()),
        executor.spawn(notify::feed_watchdog(store.clone())),
    ];
    for handle in &handles {
        if !handle.view().paired {
            tasks.push(executor.spawn(show_pairing(handle.clone(), Arc::clone(&console))));
        }
    }
    let running: Vec<Task<()>> = sessions
        .into_iter()
        .map(|session| executor.spawn(session.run()))
        .collect();

    let (stop_tx, stop) = async_channel::bounded::<()>(1);
    let relay = Arc::new(Appliance {
        courier: Arc::clone(&courier),
        facts,
    });
    let serving = executor.spawn(gateway.serve(Arc::clone(&executor), relay, async move {
        let _ = stop.recv().await;
    }));
    notify::ready();

    let signal = async {
        let signal = signals.next().await;
        log::info!("stopping on {}", signal.map_or("a signal", |_| "request"));
        None
    };
    // An unwritable store is not recovered in place: the process ends, and the next one reads what the disk has.
    let failure = future::or(signal, async { Some(store.failure().await) }).await;
    notify::stopping();
    drop(stop_tx);
    serving.await;
    say_goodbye(&handles, running).await;
    // Acks that came with the goodbye are worth keeping; what is lost here is sent again under the same id.
    if let Err(error) = courier.persist_now().await {
        log::error!("the last changes were not written: {error}");
    }
    drop(tasks);
    failure.map_or(Ok(()), |reason| Err(RunError::StoreFailed(reason)))
}

async fn say_goodbye(handles: &[SessionHandle], running: Vec<Task<()>>) {
    let all = async {
        for handle in handles {
            handle.command(Command::Shutdown).await;
        }
        for task in running {
            task.await;
        }
    };
    let late = async {
        Timer::after(GOODBYE).await;
        log::warn!("a session did not end in time");
    };
    future::or(all, late).await;
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
