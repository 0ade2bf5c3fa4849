//! `tautline store`: looking after the state. `check` is here, the others have files of their own.

use std::collections::BTreeMap;

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use super::backup::{self, BackupArgs, RestoreArgs};
use super::output::{print, print_json};
use super::{Exit, Failure, Global, paths};
use crate::state::{Checked, ClosedIndex, check};

#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Read everything and say whether it is whole; changes nothing.
    Check,
    /// Write identity and alerts into one file, from the running relay or from the state.
    Backup(BackupArgs),
    /// Put a backup into a state without a linked session.
    Restore(RestoreArgs),
    /// Take over the login of Baileys or OpenClaw from its folder; the relay must not be running.
    ImportBaileys(super::import::ImportArgs),
}

pub(super) fn execute(global: &Global, command: StoreCommand) -> Result<(), Failure> {
    match command {
        StoreCommand::Check => looked_at(global),
        StoreCommand::Backup(args) => backup::execute(global, &args),
        StoreCommand::Restore(args) => backup::restore(global, &args),
        StoreCommand::ImportBaileys(args) => super::import::execute(global, &args),
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    sound: bool,
    generation: u64,
    transaction: u64,
    log_bytes: u64,
    torn_bytes: u64,
    /// Transaction at which the generation before ends.
    before: Option<u64>,
    /// `absent`, `as the log`, `behind`, `unreadable` or `not looked at`, none of them a fault; or `ahead`, which is
    /// one.
    index: &'static str,
    index_detail: String,
    /// The process that has the state; 0 when it has not said which it is.
    held_by: Option<u32>,
    records: BTreeMap<&'static str, usize>,
    faults: Vec<String>,
}

fn looked_at(global: &Global) -> Result<(), Failure> {
    let path = paths::state_directory(global)?;
    let report = match check(&path) {
        Ok(checked) => Report::of(checked),
        // Nothing could be read of it: that is a fault too, and scripts want to hear it in their own form.
        Err(error) => {
            if global.json {
                print_json(&json!({"sound": false, "faults": [error.to_string()]}))?;
            }
            return Err(Failure::of_store(error));
        }
    };
    if global.json {
        print_json(&report)?;
    } else {
        print(words(&report).trim_end())?;
    }
    match report.faults.len() {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Failed, "the state has a fault")),
        count => Err(Failure::new(Exit::Failed, format!("the state has {count} faults"))),
    }
}

impl Report {
    fn of(checked: Checked) -> Self {
        let Checked {
            generation,
            sequence,
            log_bytes,
            torn_bytes,
            before,
            records,
            index,
            held_by,
            faults,
        } = checked;
        let (index, index_detail) = match index {
            ClosedIndex::Absent => ("absent", "the next start makes it".into()),
            ClosedIndex::AsTheLog => ("as the log", String::new()),
            ClosedIndex::Behind(rows) => ("behind", format!("{rows} rows differ; the next start puts that right")),
            ClosedIndex::Ahead(seen) => ("ahead", format!("it has seen transaction {seen}")),
            ClosedIndex::Unreadable(cause) => ("unreadable", format!("{cause}; the next start makes it again")),
            ClosedIndex::NotLookedAt(cause) => ("not looked at", cause),
        };
        Self {
            sound: faults.is_empty(),
            generation,
            transaction: sequence,
            log_bytes,
            torn_bytes,
            before,
            index,
            index_detail,
            held_by: held_by.map(|holder| holder.pid.unwrap_or(0)),
            records,
            faults,
        }
    }
}

fn words(report: &Report) -> String {
    let mut text = match (report.held_by, report.sound) {
        (_, false) => "NOT SOUND\n".to_owned(),
        (None, true) => "sound\n".to_owned(),
        (Some(pid), true) => format!("sound as far as can be seen while process {pid} is using it\n"),
    };
    text += &format!(
        "log generation {}, {} bytes, last transaction {}\n",
        report.generation, report.log_bytes, report.transaction
    );
    if report.torn_bytes > 0 {
        text += &format!(
            "{} bytes of a last write that was never acknowledged; the next start cuts them off\n",
            report.torn_bytes
        );
    }
    if let Some(before) = report.before {
        text += &format!("the generation before ends with transaction {before}; nothing uses it\n");
    }
    text += &match report.index_detail.as_str() {
        "" => format!("index: {}\n", report.index),
        detail => format!("index: {} ({detail})\n", report.index),
    };
    for (tree, count) in &report.records {
        text += &format!("{count:>7}  {tree}\n");
    }
    for fault in &report.faults {
        text += &format!("fault: {fault}\n");
    }
    text
}
