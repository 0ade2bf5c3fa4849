//! `tautline config check|print`.

use std::io::{self, Write};
use std::path::Path;

use serde_json::json;

use crate::config::{ConfigErrors, Env, Fault, Loaded, load, to_json, to_toml};

use super::Exit;

/// What to do with the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
pub enum ConfigCommand {
    /// Check the file; every fault at once, with file, line and key.
    Check,
    /// Print every value with where it came from.
    Print,
}

/// Says whether the file is right: everything that is wrong with it on `err`, or with `json` as a document on `out`.
/// Unknown keys count. Returns the exit code.
///
/// # Errors
/// `out` or `err` cannot be written to.
pub fn check(config: Option<&Path>, env: &Env, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let (file, faults, environment, serves_nobody) = match load(config, env) {
        Ok(loaded) => {
            let serves_nobody = loaded.plan.gateway.listen.is_empty();
            let faults = loaded.warnings.into_iter().chain(loaded.unreadable).collect();
            (loaded.file, faults, loaded.environment, serves_nobody)
        }
        Err(ConfigErrors(faults)) => (None, faults, Vec::new(), false),
    };
    // No fault of the file, and the relay may run in another environment than this command.
    let warnings: Vec<_> = environment.iter().map(Fault::to_json).collect();
    if !json {
        for warning in &environment {
            writeln!(err, "warning: {warning}")?;
        }
    }
    if json {
        let list: Vec<_> = faults.iter().map(Fault::to_json).collect();
        let file = file.map(|path| path.display().to_string());
        writeln!(
            out,
            "{:#}",
            json!({"ok": faults.is_empty(), "file": file, "faults": list, "warnings": warnings})
        )?;
    } else if faults.is_empty() {
        if serves_nobody {
            writeln!(
                err,
                "note: gateway.listen is empty: nothing is served over HTTP, and alerts come by `tautline publish` only"
            )?;
        }
        match file {
            Some(path) => writeln!(out, "{}: ok", path.display())?,
            None => writeln!(out, "no file: the defaults hold")?,
        }
    } else {
        for fault in &faults {
            writeln!(err, "{fault}")?;
        }
    }
    Ok(if faults.is_empty() { 0 } else { Exit::BadConfig as u8 })
}

/// Prints the plan, every value with where it came from, as a file that means the same (but for passwords).
/// Returns the exit code.
///
/// # Errors
/// `out` or `err` cannot be written to.
pub fn print(config: Option<&Path>, env: &Env, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let Loaded {
        file,
        warnings,
        environment,
        provenance,
        ..
    } = match load(config, env) {
        Ok(loaded) => loaded,
        Err(errors) => {
            writeln!(err, "{errors}")?;
            return Ok(Exit::BadConfig as u8);
        }
    };
    for warning in warnings.iter().chain(&environment) {
        writeln!(err, "{warning}")?;
    }
    if json {
        let file = file.map(|path| path.display().to_string());
        writeln!(out, "{:#}", json!({"file": file, "values": to_json(&provenance)}))?;
    } else {
        write!(out, "{}", to_toml(&provenance))?;
    }
    Ok(0)
}
