//! `tautline pair`: links a WhatsApp account, by QR code in the terminal or by number.

use clap::Args;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use crate::alert::{Recipient, SessionName};
use crate::appliance::pair_alone;
use crate::gateway::api::PairEvent;

use super::client::{Client, lost};
use super::output::{after_the_deed, is_fancy, print, print_json, print_styled, say};
use super::{Exit, Failure, Global};

/// A QR payload has about 240 characters.
const LINE_MAX_BYTES: usize = 64 * 1024;
/// Black on white whatever the terminal's own colours are: many readers do not take an inverted code.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const RESET: &str = "\x1b[0m";

const ADVICE: &str = "Tautline is an unofficial client, and WhatsApp's terms do not welcome such: link a number of its own, \
                      not the one you live by.\nA message that an account sends to its own chat makes no sound on its phone.";

#[derive(Debug, Args)]
pub(super) struct PairArgs {
    /// The session to link
    #[arg(long, value_name = "NAME", default_value = "default")]
    session: SessionName,
    /// Print each QR payload as a line instead of drawing it
    #[arg(long, conflicts_with = "code")]
    raw: bool,
    /// Pair by a code to type on the phone, for this number, like +15550100
    #[arg(long, value_name = "NUMBER", value_parser = parse_number)]
    code: Option<String>,
}

/// The digits of a number.
fn parse_number(text: &str) -> Result<String, String> {
    match text.parse() {
        Ok(Recipient::Number(digits)) => Ok(digits),
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

/// How the codes are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// QR codes, drawn.
    Drawn,
    /// The payload of each QR code as a line.
    Raw,
    /// Letters to type. The QR codes that come all the same would only push them off the screen.
    Letters,
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

/// What was shown last, so that the next code takes its place.
pub(super) struct Screen {
    json: bool,
    form: Form,
    fancy: bool,
    /// Lines of the code that stands there now.
    drawn: usize,
    explained: bool,
}

impl Screen {
    pub(super) fn new(json: bool, form: Form) -> Self {
        Self {
            json,
            form,
            fancy: is_fancy(),
            drawn: 0,
            explained: false,
        }
    }

    /// Shows one event; true when paired.
    pub(super) fn show(&mut self, event: &PairEvent) -> Result<bool, Failure> {
        if self.json {
            let printed = print_json(event);
            match event {
                PairEvent::Paired { account } => after_the_deed(printed, &format!("paired: {account}")),
                PairEvent::Qr { .. }
                | PairEvent::Code { .. }
                | PairEvent::Waiting { .. }
                | PairEvent::Failed { .. } => printed?,
            }
        }
        match event {
            PairEvent::Qr { payload, .. } if !self.json && self.form != Form::Letters => self.draw(payload)?,
            PairEvent::Code { code, valid_ms } if !self.json => {
                say(format_args!(
                    "On the phone: WhatsApp > Linked devices > Link a device > Link with phone number instead; type this \
                     within {}:",
                    super::output::span(*valid_ms)
                ));
                print(grouped(code))?;
            }
            PairEvent::Qr { .. } | PairEvent::Code { .. } => {}
            PairEvent::Waiting { reason } => {
                // The code on the screen is void now.
                self.drawn = 0;
                say(format_args!("not yet, trying again: {reason}"));
            }
            PairEvent::Paired { account } => {
                say(format_args!("paired: {account}"));
                return Ok(true);
            }
            PairEvent::Failed { reason } => {
                return Err(Failure::new(Exit::Failed, format!("not paired: {reason}")));
            }
        }
        Ok(false)
    }

    fn draw(&mut self, payload: &str) -> Result<(), Failure> {
        if self.form == Form::Raw {
            return print(payload);
        }
        if !std::mem::replace(&mut self.explained, true) {
            say(format_args!(
                "On the phone: WhatsApp > Linked devices > Link a device; point its camera here. The code is renewed \
                 by itself."
            ));
        }
        let code = render(payload, self.fancy)?;
        let up = match self.drawn {
            lines if self.fancy && lines > 0 => format!("\x1b[{lines}A\x1b[J"),
            _ => String::new(),
        };
        self.drawn = code.lines().count();
        print_styled(format_args!("{up}{code}"))
    }
}

/// `ABCD-EFGH`, as the phone asks for it. The dash carries nothing.
fn grouped(code: &str) -> String {
    match code.split_at_checked(4) {
        Some((first, second)) if code.len() == 8 => format!("{first}-{second}"),
        _ => code.to_owned(),
    }
}

/// Two modules a character, with the quiet zone that readers need. Without colours the blocks are the light modules:
/// most terminals are dark, and where they are not, `--raw` and `NO_COLOR` unset both help.
fn render(payload: &str, fancy: bool) -> Result<String, Failure> {
    // The lowest correction makes the smallest code; a screen has no dirt on it.
    let code = QrCode::with_error_correction_level(payload, EcLevel::L).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("the pairing code does not fit a QR code: {error}"),
        )
    })?;
    let mut renderer = code.render::<Dense1x2>();
    if fancy {
        let lines = renderer.build();
        let framed: Vec<_> = lines
            .lines()
            .map(|line| format!("{BLACK_ON_WHITE}{line}{RESET}"))
            .collect();
        return Ok(framed.join("\n"));
    }
    Ok(renderer.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads modules back from half blocks; true is dark.
    fn modules(image: &str, dark_is_ink: bool) -> Vec<Vec<bool>> {
        let mut rows = Vec::new();
        for line in image.lines() {
            let line = line.trim_start_matches(BLACK_ON_WHITE).trim_end_matches(RESET);
            let halves = |inked: &[char]| line.chars().map(|c| inked.contains(&c) == dark_is_ink).collect();
            rows.push(halves(&['▀', '█']));
            rows.push(halves(&['▄', '█']));
        }
        rows
    }

    #[test]
    fn both_renderings_show_the_code_with_its_quiet_zone() {
        let payload = format!("2@{}", "aB3+/=,".repeat(33));
        let code = QrCode::with_error_correction_level(&payload, EcLevel::L).unwrap();
        let (width, dark) = (code.width(), code.to_colors());
        for fancy in [true, false] {
            let shown = modules(&render(&payload, fancy).unwrap(), fancy);
            assert!(shown.iter().all(|row| row.len() == width + 8));
            for (y, row) in shown.iter().take(width + 8).enumerate() {
                for (x, &module) in row.iter().enumerate() {
                    let inside = (4..width + 4).contains(&x) && (4..width + 4).contains(&y);
                    let wanted = inside && dark[(y - 4) * width + x - 4] == qrcode::Color::Dark;
                    assert_eq!(module, wanted, "fancy {fancy}, {x} {y}");
                }
            }
        }
    }
}
