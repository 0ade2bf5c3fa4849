//! `tautline store import-baileys`: the login of another program becomes a session, without pairing again.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::output::{plain, print, print_json, say};
use super::{Exit, Failure, Global};
use crate::alert::SessionName;
use crate::credentials::Credentials;
use crate::credentials::import::{Counts, folder};
use crate::store::{Store, StoreError};

const WARNING: &str = "\
The program that had this login must never run on that folder again, not even once: stop it now, switch off whatever \
restarts it, and move the folder away. From the first message on both would use the same keys twice: contacts could not \
read what comes, WhatsApp would throw each of the two off the line for the other, and in the end log both out.";

/// Files named one by one; a folder full of damage is told by its number.
const LEFT_OUT_SHOWN_MAX: usize = 20;

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The folder with creds.json in it.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The session that it becomes.
    #[arg(long, value_name = "NAME", default_value = "default")]
    session: SessionName,
}

#[derive(Serialize)]
struct Report {
    session: String,
    /// `+` and the number.
    account: String,
    taken: Counts,
    left_out: Vec<FileReport>,
    warning: &'static str,
}

#[derive(Serialize)]
struct FileReport {
    file: String,
    reason: String,
}

pub(super) fn execute(global: &Global, args: &ImportArgs) -> Result<(), Failure> {
    let options = super::run::options(global)?;
    if !options.plan.sessions.iter().any(|session| session.name == args.session) {
        let text = format!("the configuration has no session {}", args.session);
        return Err(Failure::new(Exit::Refused, text));
    }
    super::paths::refuse_anothers(&options.state)?;
    // The state is not touched before all of the folder has been read.
    let imported = folder::read(&args.folder).map_err(|refusal| Failure::new(Exit::Failed, refusal))?;
    let report = Report {
        session: args.session.to_string(),
        account: format!("+{}", imported.number()),
        taken: imported.counts(),
        left_out: imported
            .left_out()
            .iter()
            .map(|left| FileReport {
                file: left.file.clone(),
                reason: left.reason.clone(),
            })
            .collect(),
        warning: WARNING,
    };
    let store = Store::open(&options.state, options.board.store().cache_bytes).map_err(failure)?;
    let credentials = Credentials::new(store, args.session.clone());
    if !smol::block_on(credentials.adopt(imported)).map_err(failure)? {
        let text = format!(
            "session {} is linked already; unlink it on the phone first, or name another with --session",
            args.session
        );
        return Err(Failure::new(Exit::Refused, text));
    }
    tell(global, &report)
}

fn failure(error: StoreError) -> Failure {
    match error {
        StoreError::Locked(_) => Failure::new(
            Exit::StateInUse,
            format!("{error}; stop the relay, import, and start it again"),
        ),
        error => Failure::of_store(error),
    }
}

fn tell(global: &Global, report: &Report) -> Result<(), Failure> {
    for left in report.left_out.iter().take(LEFT_OUT_SHOWN_MAX) {
        say(format_args!("left out: {}: {}", plain(&left.file, 120), left.reason));
    }
    if let Some(more @ 1..) = report.left_out.len().checked_sub(LEFT_OUT_SHOWN_MAX) {
        say(format_args!("left out: {more} files more (--json names them all)"));
    }
    say(format_args!("{WARNING}"));
    if global.json {
        return print_json(report);
    }
    let Counts {
        pre_keys,
        sessions,
        identities,
        sender_keys,
        groups,
        app_state_keys,
        app_state_collections,
        hidden_ids,
        tokens,
    } = report.taken;
    print(format_args!(
        "{} is session {} now; taken:",
        report.account, report.session
    ))?;
    for (count, what) in [
        (pre_keys, "pre-keys"),
        (sessions, "sessions with contacts' devices"),
        (identities, "identity keys"),
        (sender_keys, "sender keys of groups"),
        (groups, "groups that have our sender key"),
        (app_state_keys, "app-state keys"),
        (app_state_collections, "app-state collections"),
        (hidden_ids, "hidden ids"),
        (tokens, "contacts' tokens"),
    ] {
        print(format_args!("{count:>7}  {what}"))?;
    }
    Ok(())
}
