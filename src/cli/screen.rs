//! What a person sees of a pairing: the codes, drawn or as lines, and how it goes.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use super::output::{after_the_deed, is_fancy, print, print_json, print_styled, say, span};
use super::{Exit, Failure};
use crate::gateway::api::PairEvent;

/// Black on white whatever the terminal's own colours are: many readers do not take an inverted code.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const RESET: &str = "\x1b[0m";

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
                    span(*valid_ms)
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
