//! The signals that end a run.

use async_signal::{Signal, Signals};

/// SIGTERM from systemd, SIGINT from a terminal.
pub(super) fn watch() -> std::io::Result<Signals> {
    Signals::new([Signal::Term, Signal::Int])
}
