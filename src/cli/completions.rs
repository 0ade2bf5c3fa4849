//! `tautline completions`: a script for the shell, on stdout.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Failure};

pub(super) fn execute(shell: Shell) -> Result<(), Failure> {
    // Through a buffer: clap's generator panics on a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tautline", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(())
}
