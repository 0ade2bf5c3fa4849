//! stdout and stderr, without `println!`: that panics when the reader has closed the pipe.

use std::fmt::{Arguments, Display, Write as _};
use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Failure, logging};
pub(super) use crate::gateway::span;
use crate::util::wall_ms;

/// A line for people, on stderr.
pub(super) fn say(text: Arguments<'_>) {
    logging::write_line(&harmless(&text.to_string()));
}

/// `text` without what could drive a terminal; lines and tabs stay. Whatever a server or a sender has given passes here on
/// its way to a person.
pub(super) fn harmless(text: &str) -> String {
    let drives = |c: char| (c.is_control() && c != '\n' && c != '\t') || is_bidi(c);
    text.chars().map(|c| if drives(c) { ' ' } else { c }).collect()
}

/// `value` with all its texts made [`harmless`], for what is coloured before it is printed.
pub(super) fn cleaned<T: Serialize + DeserializeOwned + Clone>(value: &T) -> T {
    fn clean(value: &mut Value) {
        match value {
            Value::String(text) => *text = harmless(text),
            Value::Array(items) => items.iter_mut().for_each(clean),
            Value::Object(fields) => fields.values_mut().for_each(clean),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let made = serde_json::to_value(value).and_then(|mut made| {
        clean(&mut made);
        serde_json::from_value(made)
    });
    // What came as JSON goes through JSON again.
    made.unwrap_or_else(|_| value.clone())
}

/// A result on stdout, with a newline, without what could drive a terminal.
///
/// # Errors
/// stdout is closed (ends with 0) or cannot be written.
pub(super) fn print(text: impl Display) -> Result<(), Failure> {
    print_styled(harmless(&text.to_string()))
}

/// [`print`] for what has colours of ours in it: every foreign part of it must have been made [`harmless`] or [`plain`].
///
/// # Errors
/// As there.
pub(super) fn print_styled(text: impl Display) -> Result<(), Failure> {
    let mut out = stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

/// A result as one line of JSON.
///
/// # Errors
/// As for [`print`].
pub(super) fn print_json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let line = serde_json::to_string(value).map_err(std::io::Error::from)?;
    // serde_json escapes only what JSON has to; these mean something to terminals. They stand in strings alone.
    let escaped = line.chars().fold(String::with_capacity(line.len()), |mut out, c| {
        if c.is_control() || is_bidi(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
        out
    });
    print(escaped)
}

/// The deed is done: what cannot be printed of it is said on stderr, and the code does not ask for a second try.
pub(super) fn after_the_deed(printed: Result<(), Failure>, what: &str) {
    if let Err(failure) = printed
        && !failure.text.is_empty()
    {
        say(format_args!("tautline: {what}; {}", failure.text));
    }
}

/// Whether to write colours and move the cursor on stdout.
pub(super) fn is_fancy() -> bool {
    stdout().is_terminal() && allows_colours()
}

/// Whether the environment leaves colours to whoever writes to a terminal.
pub(super) fn allows_colours() -> bool {
    let unwanted = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !unwanted("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// A time in Unix milliseconds, as UTC to the millisecond. What no calendar has is shown as a number.
pub(super) fn utc(at_ms: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(at_ms);
    let mut text = String::new();
    match write!(text, "{}", humantime::format_rfc3339_millis(at)) {
        Ok(()) => text.trim_end_matches('Z').replace('T', " "),
        Err(_) => format!("{at_ms} ms"),
    }
}

/// What a word means, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Wait,
    Bad,
    Dim,
}

/// `text` in the colour of `tone` where stdout takes colours.
pub(super) fn tinted(text: &str, tone: Tone, fancy: bool) -> String {
    let code = match tone {
        Tone::Good => "32",
        Tone::Wait => "33",
        Tone::Bad => "31;1",
        Tone::Dim => "2",
    };
    if fancy {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.into()
    }
}

/// One line of foreign text, safe for a terminal: senders choose what stands in an alert, and an escape sequence in it
/// would be carried out.
pub(super) fn plain(text: &str, chars_max: usize) -> String {
    let mut line: String = text
        .chars()
        .take(chars_max + 1)
        .map(|c| if c.is_control() || is_bidi(c) { ' ' } else { c })
        .collect();
    if line.chars().count() > chars_max {
        line = line.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect();
    }
    line
}

/// Marks that turn the direction of the text around them.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Rows with aligned columns; the last one is not padded. Width is counted in characters.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let mut line = String::new();
        for (cell, width) in cells.into_iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        // A cell is a part of one line.
        plain(line.trim_end(), usize::MAX - 1)
    };
    let mut lines = vec![line(head.to_vec())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

/// How long ago a wall-clock time was.
pub(super) fn ago(at_ms: u64) -> String {
    format!("{} ago", span(wall_ms().saturating_sub(at_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_drive_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\nc\u{202e}d", 20), "a [2Jb c d");
        assert_eq!(harmless("a\x1b[2J\tb\nc\u{9b}31m\u{202e}\r"), "a [2J\tb\nc 31m  ");
        assert_eq!(table(&["a"], &[vec!["x\x1b\ny".into()]]), "a\nx  y");
        assert_eq!(plain("äöüß", 3), "äö…");
        assert_eq!(plain("äöü", 3), "äöü");
    }

    #[test]
    fn columns_are_aligned_and_the_last_is_not_padded() {
        let rows = vec![vec!["1".into(), "ä".into()], vec!["22".into(), String::new()]];
        assert_eq!(table(&["id", "name"], &rows), "id  name\n1   ä\n22");
    }
}
