//! `tautline boards`: the profiles and the one in force.

use std::process::ExitCode;

use super::output::say;
use super::{Exit, Global};

/// Lists the boards, or shows the one called `show`.
pub fn execute(_args: &Global, _show: Option<&str>) -> ExitCode {
    say(format_args!("tautline: `boards` is not built yet"));
    Exit::Failed.into()
}
