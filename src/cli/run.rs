//! `tautline run`: the relay in the foreground.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

use super::logging::to_journal;
use super::output::{print, say};
use super::screen::{Form, Screen};
use super::{Exit, Failure, Global, paths};
use crate::appliance::detect::board_in_force;
use crate::appliance::{Console, RunError, RunOptions, run};
use crate::config::{Env, load};
use crate::gateway::api::PairEvent;
use crate::store::StoreError;

/// Runs the relay until it is told to stop.
pub(super) fn execute(global: &Global) -> Result<(), Failure> {
    let options = options(global)?;
    if cfg!(feature = "lab") {
        say(format_args!(
            "tautline: a LAB build: certificate chains are not checked, and only loopback endpoints are dialled"
        ));
    }
    run(options).map_err(failure)
}

/// What a run is told, from the file, the environment and the host.
pub(super) fn options(global: &Global) -> Result<RunOptions, Failure> {
    let loaded = load(global.config.as_deref(), &Env::process())
        .map_err(|errors| Failure::new(Exit::BadConfig, format!("the configuration is wrong\n{errors}")))?;
    if cfg!(feature = "lab") {
        // The dialler refuses too, by what the name resolves to; here it is said before anything starts.
        if let Some(session) = loaded
            .plan
            .sessions
            .iter()
            .find(|session| !session.endpoint.is_loopback())
        {
            let text = "this is a lab build, which does not check certificate chains and dials loopback endpoints only";
            let text = format!("session {}: {} is refused: {text}", session.name, session.endpoint);
            return Err(Failure::new(Exit::BadConfig, text));
        }
    }
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    for warning in loaded.environment.iter().chain(&loaded.unreadable) {
        log::warn!("{warning}");
    }
    let state = absolute(paths::state_directory(global)?);
    paths::refuse_anothers_log(&state)?;
    let (board, board_why) = board_in_force(loaded.plan.board.as_deref(), Path::new("/"));
    Ok(RunOptions {
        plan: loaded.plan,
        config_warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
        unreadable: loaded.unreadable,
        environment: loaded.environment.iter().map(ToString::to_string).collect(),
        board,
        board_why,
        // Absolute, because status shows it to people who are elsewhere.
        state,
        control: paths::control_places(global)?,
        spools: paths::spool_places(global)?,
        console: Box::new(Terminal::start()),
    })
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// The exit code of a run that did not start or ended by itself.
pub(super) fn failure(error: RunError) -> Failure {
    let exit = match &error {
        RunError::Store(StoreError::Locked(_)) => Exit::StateInUse,
        RunError::Store(StoreError::Unfit { .. }) => Exit::BadConfig,
        // It is the same after a restart, until a person has acted.
        RunError::Refused(_) | RunError::Store(StoreError::Damaged { .. } | StoreError::Newer { .. }) => Exit::Refused,
        RunError::Store(_)
        | RunError::Listen(_)
        | RunError::Signals(_)
        | RunError::StoreFailed(_)
        | RunError::PartEnded(_) => Exit::Failed,
    };
    Failure::new(exit, error)
}

/// The terminal or whatever stdout is. Under systemd only the log speaks: a QR code in a journal helps nobody.
///
/// A thread prints: nobody may be reading, and a write that waits must not hold the relay.
struct Terminal {
    to_print: SyncSender<Shown>,
}

enum Shown {
    Address(SocketAddr),
    Pairing(String, PairEvent),
}

/// What may wait to be printed. More is dropped: a QR code is void after twenty seconds.
const SHOWN_MAX: usize = 32;

impl Terminal {
    fn start() -> Self {
        let (to_print, shown) = sync_channel(SHOWN_MAX);
        let printing = move || {
            let mut screen = Screen::new(false, Form::Drawn);
            for shown in shown {
                match shown {
                    Shown::Address(address) => drop(print(format_args!("Tautline is at http://{address}/"))),
                    Shown::Pairing(session, event) => print_pairing(&mut screen, &session, &event),
                }
            }
        };
        // Where there can be no thread, nothing is printed.
        if let Err(error) = std::thread::Builder::new().name("console".into()).spawn(printing) {
            log::warn!("nothing is printed: {error}");
        }
        Self { to_print }
    }

    fn print(&self, shown: Shown) {
        let _ = self.to_print.try_send(shown);
    }
}

impl Console for Terminal {
    fn listening(&self, addresses: &[SocketAddr]) {
        for address in addresses {
            if to_journal() {
                log::info!("listening on http://{address}/");
            } else {
                self.print(Shown::Address(*address));
            }
        }
    }

    fn pairing(&self, session: &str, event: &PairEvent) {
        if to_journal() {
            if matches!(event, PairEvent::Qr { .. }) {
                log::info!("session {session} is not paired: run `tautline pair --session {session}`");
            }
            return;
        }
        // The log says that, and goes on saying it.
        if !matches!(event, PairEvent::Waiting { .. }) {
            self.print(Shown::Pairing(session.to_owned(), event.clone()));
        }
    }
}

fn print_pairing(screen: &mut Screen, session: &str, event: &PairEvent) {
    if matches!(event, PairEvent::Qr { .. }) {
        say(format_args!("Session {session} is not paired yet:"));
    }
    // A failure is a pairing that nobody used; the relay goes on without.
    if let Err(failure) = screen.show(event) {
        say(format_args!("tautline: {}", failure.text));
    }
}
