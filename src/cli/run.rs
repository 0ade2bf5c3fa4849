//! `tautline run`: the relay in the foreground.

use std::process::ExitCode;

use super::output::say;
use super::{Exit, Global};

/// Runs the relay until it is told to stop.
pub fn execute(_args: &Global) -> ExitCode {
    say(format_args!("tautline: `run` is not built yet"));
    Exit::Failed.into()
}
