//! Standard output and error, without `println!`: that panics when the reader has closed the pipe.

use std::fmt::{Arguments, Display, Write as _};
use std::io::{Write, stdout};
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::terminal::is_bidi;
pub(super) use super::terminal::{Tone, cleaned, harmless, is_fancy, plain, tinted};
use super::{Failure, logging};
pub(super) use crate::gateway::span;
use crate::util::wall_ms;

/// A line for people, on stderr.
pub(super) fn say(text: Arguments<'_>) {
    logging::write_line(&harmless(&text.to_string()));
}

/// A result on stdout, with a newline, without what could drive a terminal.
///
/// # Errors
/// stdout is closed (ends with 0) or cannot be written.
pub(super) fn print(text: impl Display) -> Result<(), Failure> {
    print_styled(harmless(&text.to_string()))
}

/// [`print`] for what has colours of ours in it: every foreign part of it must have been made [`harmless`] or
/// [`plain`].
///
/// # Errors
/// As for [`print`].
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

/// A time in Unix milliseconds, as UTC to the millisecond. What no calendar has is shown as a number.
pub(super) fn utc(at_ms: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(at_ms);
    let mut text = String::new();
    match write!(text, "{}", humantime::format_rfc3339_millis(at)) {
        Ok(()) => text.trim_end_matches('Z').replace('T', " "),
        Err(_) => format!("{at_ms} ms"),
    }
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
    fn foreign_text_cannot_break_a_row() {
        assert_eq!(table(&["a"], &[vec!["x\x1b\ny".into()]]), "a\nx  y");
    }

    #[test]
    fn columns_are_aligned_and_the_last_is_not_padded() {
        let rows = vec![vec!["1".into(), "ä".into()], vec!["22".into(), String::new()]];
        assert_eq!(table(&["id", "name"], &rows), "id  name\n1   ä\n22");
    }
}
