//! stdout and stderr, without `println!`: that panics when the reader has closed the pipe.

use std::fmt::{Arguments, Display, Write as _};
use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::Failure;
pub(super) use crate::gateway::span;
use crate::store::last_time::wall_ms;

/// A line for people, on stderr. If nobody can read it, nobody misses it.
pub(super) fn say(text: Arguments<'_>) {
    let _ = writeln!(stderr().lock(), "{text}");
}

/// A result on stdout, with a newline.
///
/// # Errors
/// stdout is closed (ends with 0) or cannot be written.
pub(super) fn print(text: impl Display) -> Result<(), Failure> {
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
    print(line)
}

/// Whether to write colours and move the cursor on stdout.
pub(super) fn is_fancy() -> bool {
    let unwanted = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    stdout().is_terminal() && !unwanted("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
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
        line.trim_end().to_owned()
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
        assert_eq!(plain("äöüß", 3), "äö…");
        assert_eq!(plain("äöü", 3), "äöü");
    }

    #[test]
    fn columns_are_aligned_and_the_last_is_not_padded() {
        let rows = vec![vec!["1".into(), "ä".into()], vec!["22".into(), String::new()]];
        assert_eq!(table(&["id", "name"], &rows), "id  name\n1   ä\n22");
    }
}
