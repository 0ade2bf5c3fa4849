//! The flags of sendmail, as its many callers pass them: in one word with their value or before it, several letters in
//! one word, and most of them without a meaning here.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use crate::alert::charset;

/// Flags that have a value, in the same word or the next: those of sendmail, Postfix, Exim and msmtp. A lone `-q` has
/// none.
const WITH_VALUE: &str = "ABCDFLMNOQRVXbdfhopr";

/// The flags whose value stands in the same word or is not there.
const VALUE_ATTACHED: &str = "dq";

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mode {
    /// To take a mail on standard input.
    #[default]
    Deliver,
    /// To print how it is used.
    Help,
    /// Something that has nothing to do here: a queue to run or to print, aliases to make.
    Nothing,
    /// Something that this program does not do.
    Refused(&'static str),
}

/// A call of sendmail.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Call {
    pub mode: Mode,
    /// `-t`.
    pub from_headers: bool,
    /// The envelope's sender; `<>` for nobody.
    pub sender: Option<String>,
    /// As they were given: each may be a list.
    pub recipients: Vec<String>,
}

/// Reads the arguments behind the program's name.
///
/// # Errors
/// A flag lacks its value; in words.
pub(super) fn read(arguments: &[OsString]) -> Result<Call, String> {
    let mut call = Call::default();
    let mut words = arguments
        .iter()
        .map(|word| charset::value(word.as_bytes()).into_owned());
    let mut only_recipients = false;
    while let Some(word) = words.next() {
        match word.strip_prefix('-') {
            Some(flags) if !only_recipients && !flags.is_empty() => {
                if flags == "-" {
                    only_recipients = true;
                } else if flags == "-help" {
                    call.mode = Mode::Help;
                } else {
                    read_flags(&mut call, flags, &mut words)?;
                }
            }
            // A lone dash is nobody.
            Some("") => {}
            Some(_) | None => call.recipients.push(word),
        }
    }
    Ok(call)
}

fn read_flags(call: &mut Call, flags: &str, words: &mut impl Iterator<Item = String>) -> Result<(), String> {
    let mut rest = flags;
    while let Some(flag) = rest.chars().next() {
        rest = &rest[flag.len_utf8()..];
        if !WITH_VALUE.contains(flag) && !VALUE_ATTACHED.contains(flag) {
            if flag == 't' {
                call.from_headers = true;
            }
            continue;
        }
        let value = match rest {
            "" if VALUE_ATTACHED.contains(flag) => String::new(),
            "" => words.next().ok_or_else(|| format!("-{flag} lacks its value"))?,
            attached => attached.to_owned(),
        };
        match flag {
            'f' | 'r' => {
                call.sender = Some(match value.trim() {
                    "" => "<>".to_owned(),
                    sender => sender.to_owned(),
                });
            }
            'b' => call.mode = mode(&value),
            'q' => call.mode = Mode::Nothing,
            _ => {}
        }
        return Ok(());
    }
    Ok(())
}

fn mode(value: &str) -> Mode {
    match value.chars().next() {
        Some('p' | 'i' | 'h' | 'H') => Mode::Nothing,
        Some('s') => Mode::Refused("-bs"),
        Some('d' | 'D') => Mode::Refused("-bd"),
        Some('t') => Mode::Refused("-bt"),
        Some('v') => Mode::Refused("-bv"),
        // -bm is what is done anyway.
        Some(_) | None => Mode::Deliver,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(words: &str) -> Call {
        let arguments: Vec<OsString> = words
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(OsString::from)
            .collect();
        read(&arguments).unwrap()
    }

    fn plain(from_headers: bool, sender: Option<&str>, recipients: &[&str]) -> Call {
        Call {
            mode: Mode::Deliver,
            from_headers,
            sender: sender.map(str::to_owned),
            recipients: recipients.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn calls_as_programs_make_them() {
        for (words, expected) in [
            ("-FCronDaemon -i -B8BITMIME -oem root", plain(false, None, &["root"])),
            (
                "-FCronDaemon -i -odi -oem -oi -t -f root",
                plain(true, Some("root"), &[]),
            ),
            ("-i -B 8BITMIME root@nas", plain(false, None, &["root@nas"])),
            ("-FAnacron -odi root", plain(false, None, &["root"])),
            ("-i root", plain(false, None, &["root"])),
            ("-t", plain(true, None, &[])),
            ("-oi -t", plain(true, None, &[])),
            ("-i -t", plain(true, None, &[])),
            ("-ti", plain(true, None, &[])),
            ("-i -- me", plain(false, None, &["me"])),
            ("-oi -f root@localhost -t", plain(true, Some("root@localhost"), &[])),
            ("-f fail2ban root", plain(false, Some("fail2ban"), &["root"])),
            ("-t -f netdata@nas", plain(true, Some("netdata@nas"), &[])),
            (
                "-B 8BITMIME -f root@pve -- a@x b@y",
                plain(false, Some("root@pve"), &["a@x", "b@y"]),
            ),
            ("-i a b", plain(false, None, &["a", "b"])),
            ("-t -i -fwww-data@web", plain(true, Some("www-data@web"), &[])),
            (
                "-bm -om -F Bob -N never -R hdrs -V id -X log root",
                plain(false, None, &["root"]),
            ),
            (
                "-O DeliveryMode=b -O ErrorMode=m -v -G -U -n -m -h 5 root",
                plain(false, None, &["root"]),
            ),
            ("-f <> root", plain(false, Some("<>"), &["root"])),
            ("-it -f root -- -odd", plain(true, Some("root"), &["-odd"])),
            ("", plain(false, None, &[])),
        ] {
            assert_eq!(call(words), expected, "{words}");
        }
        assert_eq!(
            read(&["-f".into(), "".into(), "root".into()])
                .unwrap()
                .sender
                .as_deref(),
            Some("<>")
        );
        assert!(read(&["-f".into()]).unwrap_err().contains("-f"));
    }

    #[test]
    fn calls_for_something_else_are_told_apart() {
        for (words, mode) in [
            ("-bp", Mode::Nothing),
            ("-bi", Mode::Nothing),
            ("-q", Mode::Nothing),
            ("-q30m", Mode::Nothing),
            ("-bs", Mode::Refused("-bs")),
            ("-bd -q1h", Mode::Nothing),
            ("--help", Mode::Help),
        ] {
            assert_eq!(call(words).mode, mode, "{words}");
        }
    }
}
