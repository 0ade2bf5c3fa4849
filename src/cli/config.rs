//! `tautline config`: the file, and every value with where it came from.

use std::process::ExitCode;

use clap::Subcommand;

use super::output::say;
use super::{Exit, Global};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum ConfigCommand {
    /// Check the file; every fault at once, with file, line and key
    Check,
    /// Print every value with where it came from
    Print,
}

/// Checks or prints the configuration.
pub fn execute(_args: &Global, _command: ConfigCommand) -> ExitCode {
    say(format_args!("tautline: `config` is not built yet"));
    Exit::Failed.into()
}
