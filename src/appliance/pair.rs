//! Pairing without a relay: the state is opened, one session runs until it is linked and logged in once, and all is
//! closed.

use std::sync::Arc;

use smol::Executor;

use super::host_monitor::HostMonitor;
use super::ids;
use super::run::{RunError, RunOptions};
use crate::alert::SessionName;
use crate::blobs::{Blobs, Limits as BlobLimits};
use crate::gateway::api::PairEvent;
use crate::store::Store;
use crate::util::within;
use crate::whatsapp::session::NOTICES_MAX;
use crate::whatsapp::{Command, Session, SessionParts};

/// Pairs `session`, with `phone` (digits) by code. What happens goes to `events`, last a `Paired` or a `Failed`; when
/// nobody listens any more, it ends. Blocks.
///
/// # Errors
/// The state is in use or cannot be read, there is no such session, or it is paired already.
pub fn pair_alone(
    options: RunOptions,
    session: &SessionName,
    phone: Option<String>,
    events: &async_channel::Sender<PairEvent>,
) -> Result<(), RunError> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let Some(plan) = options.plan.sessions.into_iter().find(|plan| plan.name == *session) else {
        let text = format!("no session is named {session:?}", session = session.as_str());
        return Err(RunError::Refused(text));
    };
    let store = Store::open(&options.state, options.board.store().cache_bytes)?;
    let host_monitor = HostMonitor::open(store.clone());
    let executor: Arc<Executor<'static>> = Arc::new(Executor::new());
    let (notices_tx, notices) = async_channel::bounded(NOTICES_MAX);
    let (task, handle) = Session::new(SessionParts {
        plan,
        schedule: options.board.schedule(),
        recipients: Vec::new(),
        store: store.clone(),
        blobs: Blobs::open(&options.state, BlobLimits::default()),
        executor: Arc::clone(&executor),
        notices: notices_tx,
        seed: ids::seed(),
        clock_unset: host_monitor.clock_unset(),
        look_at_clock: host_monitor.look_at_clock(),
    });
    if handle.view().paired {
        return Err(RunError::Refused(format!(
            "session {session} is paired already; to link it anew, log it out on the phone first"
        )));
    }
    let (shown_tx, shown) = async_channel::bounded(16);
    smol::block_on(executor.run(async {
        let running = executor.spawn(task.run());
        let sessions = vec![handle.clone()];
        let _host_monitor = executor.spawn(async move { host_monitor.watch(sessions, || {}).await });
        let _drain = executor.spawn(async move { while notices.recv().await.is_ok() {} });
        handle
            .command(Command::Pair {
                phone,
                events: shown_tx,
            })
            .await;
        while let Ok(event) = shown.recv().await {
            let over = matches!(event, PairEvent::Paired { .. } | PairEvent::Failed { .. });
            let unheard = events.send(event).await.is_err();
            if over || unheard {
                break;
            }
        }
        handle.command(Command::Shutdown).await;
        let _ = within(super::run::GOODBYE, running).await;
    }));
    store.close(super::run::STORE_END);
    Ok(())
}
