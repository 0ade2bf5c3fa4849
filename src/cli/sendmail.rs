//! `tautline sendmail`, and the program called as `sendmail`: takes a mail on standard input, as cron and others call
//! it.
//!
//! They ask once, and hardly any of them looks at the answer. So a mail that the relay cannot take now, for whatever
//! reason that may pass, is kept in the spool.

mod flags;
mod whole;

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::dialect::mail::{self, Reducer};
use crate::gateway::api::{ErrorBody, Mailed};
use crate::gateway::{Limits, query};
use crate::net::http::Response;
use crate::spool::{Entry, Name};
use crate::util::wall_ms;

use super::client::{Client, PROMPT};
use super::output::say;
use super::{Failure, Global, logging, spool};
use flags::{Call, Mode};
use whole::Whole;

/// The longest mail that is read to its end, in bytes. Of a longer one the rest is left.
const MAIL_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What is read at once, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// How long the relay may take for a mail with files: they come onto an SD card, and pictures are made smaller.
const WITH_FILES: Duration = Duration::from_secs(120);

/// Recipients that are told to the relay, and characters of one, as of the sender.
const RECIPIENTS_MAX: usize = 50;
const ADDRESS_CHARS_MAX: usize = 128;

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct SendmailArgs {
    /// Flags as sendmail takes them (-t -i -f … -F …), and recipients: addresses, or names of routes.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<std::ffi::OsString>,
}

/// The exit codes of sysexits.h, which is what callers of sendmail expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Sysexit {
    Ok = 0,
    Usage = 64,
    DataErr = 65,
    NoUser = 67,
    Unavailable = 69,
    OsErr = 71,
    IoErr = 74,
    TempFail = 75,
}

/// How a call ends that has not put the mail anywhere.
struct Ended(Sysexit, String);

pub(super) fn execute(global: &Global, args: &SendmailArgs) -> ExitCode {
    let code = match send(global, args) {
        Ok(()) => Sysexit::Ok,
        Err(Ended(code, text)) => {
            say(format_args!("sendmail: {text}"));
            code
        }
    };
    logging::finish();
    ExitCode::from(code as u8)
}

fn send(global: &Global, args: &SendmailArgs) -> Result<(), Ended> {
    let mut call = flags::read(&args.arguments).map_err(|why| Ended(Sysexit::Usage, why))?;
    call.sender = call.sender.map(short);
    match call.mode {
        Mode::Deliver => {}
        Mode::Help => {
            let _ = io::stdout().write_all(HELP.as_bytes());
            return Ok(());
        }
        // Whoever prints the queue of mails, or makes aliases, is told that there are none.
        Mode::Nothing => {
            let _ = io::stdout().write_all(b"Mail queue is empty: see tautline queue\n");
            return Ok(());
        }
        Mode::Refused(flag) => {
            let why = format!("{flag} is not supported: a mail on standard input is");
            return Err(Ended(Sysexit::Unavailable, why));
        }
    }
    let mut mail = read(&mut io::stdin().lock()).map_err(|error| {
        let why = format!("cannot read standard input: {error}; nothing was sent");
        Ended(Sysexit::IoErr, why)
    })?;
    let name = Name::draw().map_err(|error| Ended(Sysexit::OsErr, format!("no random numbers: {error}")))?;
    let to = recipients(&call, &mail.text);
    let why = match smol::block_on(hand_over(global, &call, &name, &to, &mut mail)) {
        Handed::Taken => return Ok(()),
        Handed::Refused(ended) => return Err(ended),
        Handed::Later(why) => why,
    };
    let entry = Entry {
        to,
        fields: call
            .sender
            .iter()
            .map(|from| ("from".to_owned(), from.clone()))
            .collect(),
        body: mail.text,
        ..Entry::new("mail", wall_ms())
    };
    match spool::keep(global, &name, &entry) {
        // It is what was asked for: nobody reads more than the exit code.
        Ok(file) => {
            log::info!("{why}; the mail is kept as {}", file.display());
            Ok(())
        }
        Err(Failure { text, .. }) => Err(Ended(Sysexit::TempFail, format!("{why}; {text}"))),
    }
}

const HELP: &str = "\
Usage: tautline sendmail [FLAGS] [RECIPIENT]... < MAIL

Takes a mail on standard input, as sendmail does: the relay sends it as an alert, and where none
answers it is kept in the spool. A recipient is an address or the name of a route; [mail] in the
configuration says which address leads where.

  -t          take the recipients from To, Cc and Bcc
  -f ADDRESS  the sender (also -r); <> is nobody
  -F NAME     the sender's name
  -i -oi -bm -B … -o … and other flags of sendmail are taken and mean nothing here

Exit codes are those of sysexits.h.
";

/// A mail as it was read.
struct Mail {
    /// Without what is no text.
    text: Vec<u8>,
    /// All of it, where it has files and is not longer than the relay takes.
    whole: Option<Whole>,
}

fn read(from: &mut impl Read) -> io::Result<Mail> {
    let mut reducer = Reducer::default();
    let (mut whole, longest) = (Some(Whole::default()), Limits::default().upload_bytes);
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = MAIL_BYTES_MAX;
    loop {
        let most = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        match from.read(&mut piece[..most]) {
            Ok(0) => break,
            Ok(bytes) => {
                reducer.push(&piece[..bytes]);
                // What cannot be kept of it costs the files.
                whole = whole.and_then(|mut whole| whole.push(&piece[..bytes]).ok().map(|()| whole));
                whole = whole.filter(|whole| whole.length() <= longest);
                left -= bytes as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Mail {
        whole: whole.filter(|_| reducer.has_files()),
        text: reducer.finish(),
    })
}

/// Those on the command line, and with `-t` those in the mail.
fn recipients(call: &Call, mail: &[u8]) -> Vec<String> {
    let mut all: Vec<String> = call
        .recipients
        .iter()
        .flat_map(|list| mail::addresses_in(list))
        .collect();
    if call.from_headers {
        all.extend(mail::recipients(mail));
    }
    all.into_iter().take(RECIPIENTS_MAX).map(short).collect()
}

fn short(address: String) -> String {
    address.chars().take(ADDRESS_CHARS_MAX).collect()
}

/// What became of a mail that was given to the relay.
enum Handed {
    Taken,
    /// Another try would end the same.
    Refused(Ended),
    Later(String),
}

async fn hand_over(global: &Global, call: &Call, name: &Name, to: &[String], mail: &mut Mail) -> Handed {
    let mut pairs: Vec<(&str, &str)> = to.iter().map(|to| ("to", to.as_str())).collect();
    // Under the same key it is the same mail, should the answer be lost.
    pairs.push(("key", name.as_str()));
    pairs.extend(call.sender.as_deref().map(|from| ("from", from)));
    let target = format!("/v1/mail?{}", query::encode(&pairs));
    let client = match Client::find(global).await {
        Ok(client) => client,
        Err(failure) => return Handed::Later(failure.text),
    };
    let whole = mail.whole.take().map(|whole| (whole.length(), whole.read()));
    if let Some((length, Ok(whole))) = whole {
        match client.send_file(&target, whole, length, WITH_FILES).await {
            Ok(response) if response.status < 300 => return understood(&response),
            // Its text alone may be taken, and says what is wrong if not.
            Ok(response) => log::info!("the relay does not take the mail with its files: {}", response.status),
            Err(failure) => return Handed::Later(failure.text),
        }
    }
    match client.ask("POST", &target, mail.text.clone(), PROMPT).await {
        Ok(response) => understood(&response),
        Err(failure) => Handed::Later(failure.text),
    }
}

fn understood(response: &Response) -> Handed {
    let body: Option<ErrorBody> = serde_json::from_slice(&response.body).ok();
    let field = body.as_ref().and_then(|body| body.field.as_deref()).unwrap_or_default();
    let why = body.as_ref().map_or_else(
        || format!("the relay answered with status {}", response.status),
        |body| body.error.clone(),
    );
    match (response.status, field) {
        (200..300, _) => {
            if let Ok(mailed) = serde_json::from_slice::<Mailed>(&response.body)
                && let Some(warning) = mailed.warning
            {
                say(format_args!("sendmail: warning: {warning}"));
            }
            Handed::Taken
        }
        (400, "to") => Handed::Refused(Ended(Sysexit::NoUser, why)),
        (400 | 413, _) => Handed::Refused(Ended(Sysexit::DataErr, why)),
        _ => Handed::Later(why),
    }
}
