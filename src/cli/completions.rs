//! `tautline completions`: a script for the shell, on stdout.

use std::io::Write;

use clap::Command;
use clap_complete::Shell;

use super::Failure;

pub(super) fn execute(shell: Shell, mut command: Command) -> Result<(), Failure> {
    // Through a buffer: clap's generator panics on a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "tautline", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(())
}
