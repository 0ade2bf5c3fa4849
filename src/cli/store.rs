//! `tautline store check`: reads all of the state and says whether it is whole.

use std::collections::BTreeMap;

use clap::Subcommand;
use serde::Serialize;

use super::output::{print, print_json};
use super::{Exit, Failure, Global, paths};
use crate::store::{Checked, StoreError, check};

#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum StoreCommand {
    /// Read everything and say whether it is whole; the relay must not be running
    Check,
}

#[derive(Serialize)]
struct Report {
    generation: u64,
    transaction: u64,
    log_bytes: u64,
    torn_bytes: u64,
    records: BTreeMap<&'static str, usize>,
    faults: Vec<String>,
}

pub(super) fn execute(global: &Global, command: StoreCommand) -> Result<(), Failure> {
    let StoreCommand::Check = command;
    let path = paths::state_directory(global)?;
    let checked = check(&path).map_err(|error| {
        let exit = if matches!(error, StoreError::Locked(_)) {
            Exit::StateInUse
        } else {
            Exit::Failed
        };
        Failure::new(exit, error)
    })?;
    let Checked {
        generation,
        sequence,
        log_bytes,
        torn_bytes,
        records,
        faults,
    } = checked;
    let faulty = faults.len();
    let report = Report {
        generation,
        transaction: sequence,
        log_bytes,
        torn_bytes,
        records,
        faults,
    };
    if global.json {
        print_json(&report)?;
    } else {
        print(words(&report).trim_end())?;
    }
    if faulty > 0 {
        return Err(Failure::new(Exit::Failed, format!("{faulty} records are not readable")));
    }
    Ok(())
}

fn words(report: &Report) -> String {
    let mut text = format!(
        "log generation {}, {} bytes, last transaction {}\n",
        report.generation, report.log_bytes, report.transaction
    );
    if report.torn_bytes > 0 {
        text += &format!(
            "{} bytes of a last write that was never acknowledged; the next start cuts them off\n",
            report.torn_bytes
        );
    }
    for (tree, count) in &report.records {
        text += &format!("{count:>7}  {tree}\n");
    }
    for fault in &report.faults {
        text += &format!("not readable: {fault}\n");
    }
    text
}
