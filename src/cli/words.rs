//! Arguments as scripts bring them: a text that begins with a dash, and bytes that are not UTF-8.
//!
//! clap takes every argument with a dash in front for an option. In front of `publish` a text is told from one: options
//! of that command are letters in known places, and what has a space or a digit in it, or no letter behind its dash, is
//! what somebody wants to say. A misspelt `--tilte` is still refused. After `--` everything is text.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Command, CommandFactory};

use crate::alert::charset;

/// Stands in front of an argument that is a text, on its way through clap. A character for private use.
const MARK: &str = "\u{f8ff}";

/// An argument as text, whatever its encoding: it is read as the text of an HTTP request is.
pub(super) fn text() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().map(|value| {
        let value = value.as_bytes();
        let text = value.strip_prefix(MARK.as_bytes()).unwrap_or(value);
        charset::text(text, None).into_owned()
    })
}

/// Takes the mark away again from clap's words about an argument.
pub(super) fn without_mark(text: &str) -> String {
    text.replace(MARK, "")
}

/// The arguments with each text that begins with a dash marked, where the command is `publish`.
pub(super) fn marked<C: CommandFactory>(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let top = C::command();
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let Some(at) = command_at(&top, &arguments) else {
        return arguments;
    };
    let Some(publish) = top.find_subcommand("publish").filter(|_| arguments[at] == "publish") else {
        return arguments;
    };
    let mut only_texts = false;
    for argument in arguments.iter_mut().skip(at + 1) {
        only_texts |= argument == "--";
        // One that begins with that character anyway gets it a second time, and so keeps its own.
        let like_a_mark = argument.as_bytes().starts_with(MARK.as_bytes());
        if like_a_mark || (!only_texts && is_text(&top, publish, argument)) {
            let mut with = OsString::from(MARK);
            with.push(&*argument);
            *argument = with;
        }
    }
    arguments
}

/// The arguments where the command is `sendmail`, or the program is called so, with everything behind that kept from
/// clap: sendmail's flags are its own.
pub(super) fn as_sendmail<C: CommandFactory>(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let called = arguments.first().map(Path::new).and_then(Path::file_name);
    if called.is_some_and(|name| name == "sendmail") {
        arguments.splice(1..1, ["sendmail".into(), "--".into()]);
        return arguments;
    }
    if let Some(at) = command_at(&C::command(), &arguments)
        && arguments[at] == "sendmail"
    {
        arguments.insert(at + 1, "--".into());
    }
    arguments
}

/// The place of the command's name: behind the program's and the options for all commands, and their values.
fn command_at(top: &Command, arguments: &[OsString]) -> Option<usize> {
    let mut at = 1;
    while let Some(argument) = arguments.get(at) {
        let text = argument.to_string_lossy();
        if !text.starts_with('-') {
            return Some(at);
        }
        let takes = |name: &str| long(&[top], name) == Some(true);
        at += if text.strip_prefix("--").is_some_and(takes) {
            2
        } else {
            1
        };
    }
    None
}

/// Whether one of `commands` has the long option `name`, and whether it takes a value.
fn long(commands: &[&Command], name: &str) -> Option<bool> {
    let all = commands.iter().flat_map(|command| command.get_arguments());
    let mut found = all.filter(|argument| argument.get_long() == Some(name));
    found.next().map(|argument| argument.get_action().takes_values())
}

fn is_text(top: &Command, publish: &Command, argument: &OsStr) -> bool {
    let argument = String::from_utf8_lossy(argument.as_bytes());
    let Some(rest) = argument.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
        return false;
    };
    let speaks = rest.contains(|c: char| c.is_whitespace() || c.is_numeric());
    if let Some(name) = rest.strip_prefix('-') {
        let (name, value) = name
            .split_once('=')
            .map_or((name, None), |(name, value)| (name, Some(value)));
        if name == "help" || name == "version" || long(&[publish, top], name).is_some() {
            return false;
        }
        let like_an_option = name
            .split('-')
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase()));
        return !like_an_option || (speaks && value.is_none_or(|value| value.contains(char::is_whitespace)));
    }
    let Some(first) = rest.chars().next().filter(char::is_ascii_alphabetic) else {
        return true;
    };
    let mut all = publish.get_arguments().chain(top.get_arguments());
    match all.find(|argument| argument.get_short() == Some(first)) {
        // Its value may be behind it without a space, as in `-tDisk full` and `-p5`.
        Some(known) if known.get_action().takes_values() => false,
        _ => speaks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;

    fn texts(arguments: &[&str]) -> Vec<String> {
        let all = ["tautline", "--state", "/x", "publish"].iter().chain(arguments);
        let marked = marked::<Cli>(all.map(OsString::from));
        let marked = marked.iter().map(|argument| argument.to_string_lossy().into_owned());
        marked
            .filter(|argument| argument.starts_with(MARK))
            .map(|text| text.strip_prefix(MARK).unwrap_or(&text).to_owned())
            .collect()
    }

    #[test]
    fn a_text_that_begins_with_a_dash_is_told_from_an_option() {
        for text in [
            "- disk full",
            "-5",
            "-5 °C",
            "--- x",
            "---",
            "----",
            "-→ x",
            "-x y",
            "--5",
            "--foo bar",
            "--CRITICAL--",
            "--load=5 is high",
            "-3.5",
            "-version 7 failed",
            "--tilte of the day",
            "-ä",
        ] {
            assert_eq!(texts(&["--to", "family", text]), [text], "{text}");
        }
        for option in [
            "-",
            "-tDisk full",
            "-p5",
            "--title=- x",
            "--to",
            "-v",
            "-vv",
            "-h",
            "--help",
            "--foo",
            "-x",
            "--foo=5",
        ] {
            assert!(texts(&[option]).is_empty(), "{option}");
        }
        assert_eq!(texts(&["-t", "- title", "--", "- text"]), ["- title"]);
        let logo = format!("{MARK} disk");
        assert_eq!(
            texts(&[logo.as_str(), "--", logo.as_str()]),
            [logo.as_str(), logo.as_str()]
        );
    }

    #[test]
    fn what_is_sendmails_is_kept_from_clap() {
        for (given, expected) in [
            ("/usr/sbin/sendmail -t -i", "/usr/sbin/sendmail sendmail -- -t -i"),
            ("sendmail", "sendmail sendmail --"),
            (
                "tautline --state /x sendmail -v root",
                "tautline --state /x sendmail -- -v root",
            ),
            ("tautline publish sendmail", "tautline publish sendmail"),
            ("tautline", "tautline"),
        ] {
            let words = as_sendmail::<Cli>(given.split(' ').map(OsString::from));
            let expected: Vec<OsString> = expected.split(' ').map(OsString::from).collect();
            assert_eq!(words, expected, "{given}");
        }
    }

    #[test]
    fn other_commands_are_left_alone() {
        let arguments = ["tautline", "status", "- x"].map(OsString::from);
        assert_eq!(marked::<Cli>(arguments.clone()), arguments);
        let none = ["tautline", "--state"].map(OsString::from);
        assert_eq!(marked::<Cli>(none.clone()), none);
    }
}
