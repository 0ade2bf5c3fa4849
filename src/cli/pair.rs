//! `tautline pair`: links a WhatsApp account, by QR code in the terminal or by number.

use clap::Args;

use crate::alert::{Recipient, SessionName};
use crate::appliance::pair_alone;

use super::client::{Client, lost};
use super::output::say;
use super::screen::{Form, Screen};
use super::{Exit, Failure, Global};

/// A QR payload has about 240 characters.
const LINE_MAX_BYTES: usize = 64 * 1024;

const ADVICE: &str = "Tautline is an unofficial client, and WhatsApp's terms do not welcome such: link a number of its own, \
                      not the one you live by.\nA message that an account sends to its own chat makes no sound on its phone.";

#[derive(Debug, Args)]
pub(super) struct PairArgs {
    /// The session to link.
    #[arg(long, value_name = "NAME", default_value = "default")]
    session: SessionName,
    /// Print each QR payload as a line instead of drawing it.
    #[arg(long, conflicts_with = "code")]
    raw: bool,
    /// Pair by a code to type on the phone, for this number, like +15550100.
    #[arg(long, value_name = "NUMBER", value_parser = parse_number)]
    code: Option<String>,
}

/// The digits of a number.
fn parse_number(text: &str) -> Result<String, String> {
    match text.parse() {
        Ok(Recipient::Number(digits)) => Ok(digits.to_string()),
        Ok(Recipient::Group(_) | Recipient::Me | Recipient::Lid(_)) | Err(_) => {
            Err("a number starts with + and the country code, like +15550100".into())
        }
    }
}

pub(super) fn execute(global: &Global, args: &PairArgs) -> Result<(), Failure> {
    say(format_args!("{ADVICE}"));
    match smol::block_on(Client::find(global)) {
        Ok(client) => smol::block_on(by_the_relay(&client, global, args)),
        // Nobody runs: this process is the relay for as long as pairing takes.
        Err(failure) if failure.exit == Exit::Unreachable => alone(global, args),
        Err(failure) => Err(failure),
    }
}

fn alone(global: &Global, args: &PairArgs) -> Result<(), Failure> {
    let options = super::run::options(global)?;
    let (events, seen) = async_channel::bounded(16);
    let (session, phone) = (args.session.clone(), args.code.clone());
    let pairing = std::thread::spawn(move || pair_alone(options, &session, phone, &events));
    let mut screen = Screen::new(global.json, args.form());
    let mut shown = Ok(false);
    while let Ok(event) = seen.recv_blocking() {
        shown = screen.show(&event);
        if !matches!(shown, Ok(false)) {
            break;
        }
    }
    drop(seen);
    let ended = pairing
        .join()
        .map_err(|_| Failure::new(Exit::Failed, "pairing ended by a panic"))?;
    ended.map_err(super::run::failure)?;
    match shown? {
        true => Ok(()),
        false => Err(Failure::new(Exit::Failed, "pairing ended without a result; try again")),
    }
}

async fn by_the_relay(client: &Client, global: &Global, args: &PairArgs) -> Result<(), Failure> {
    let mut target = format!("/v1/sessions/{}/pair", args.session);
    if let Some(digits) = &args.code {
        target.push_str(&format!("?phone={digits}"));
    }
    {
        let mut events = client.stream("POST", &target).await?;
        let mut screen = Screen::new(global.json, args.form());
        while let Some(line) = events.line(LINE_MAX_BYTES).await.map_err(lost)? {
            if line.is_empty() {
                continue;
            }
            let event = serde_json::from_slice(&line).map_err(|error| {
                Failure::new(Exit::Failed, format!("the relay's answer is not understood: {error}"))
            })?;
            if screen.show(&event)? {
                return Ok(());
            }
        }
        Err(Failure::new(
            Exit::Failed,
            "the relay ended the pairing without a result; try again",
        ))
    }
}

impl PairArgs {
    fn form(&self) -> Form {
        match (&self.code, self.raw) {
            (Some(_), _) => Form::Letters,
            (None, true) => Form::Raw,
            (None, false) => Form::Drawn,
        }
    }
}
