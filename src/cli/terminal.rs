//! What a terminal is given: nothing foreign that could drive it, and colours where it takes them.

use std::io::{IsTerminal, stdout};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// `text` without what could drive a terminal; lines and tabs stay. Whatever a server or a sender has given passes here
/// on its way to a person.
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

/// Whether to write colours and move the cursor on stdout.
pub(super) fn is_fancy() -> bool {
    stdout().is_terminal() && allows_colours()
}

/// Whether the environment leaves colours to whoever writes to a terminal.
pub(super) fn allows_colours() -> bool {
    let unwanted = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !unwanted("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
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
pub(super) fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_drive_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\nc\u{202e}d", 20), "a [2Jb c d");
        assert_eq!(harmless("a\x1b[2J\tb\nc\u{9b}31m\u{202e}\r"), "a [2J\tb\nc 31m  ");
        assert_eq!(plain("äöüß", 3), "äö…");
        assert_eq!(plain("äöü", 3), "äöü");
    }
}
