//! One line of a client: which command it is, and what it says.

use crate::alert::charset;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Helo,
    Ehlo,
    /// The sender, empty for nobody, and how large the mail is to be, where that is said.
    Mail {
        from: String,
        size: Option<u64>,
    },
    Rcpt {
        to: String,
    },
    Data,
    Rset,
    Noop,
    Quit,
    Help,
    Vrfy,
    StartTls,
    Auth {
        mechanism: String,
        initial: Option<String>,
    },
    /// A command of mail servers that has no sense here.
    Absent,
    /// One that is known, and what is wrong with the rest of it.
    Broken(&'static str),
    Unknown,
}

/// Reads a line without its end.
pub(super) fn read(line: &[u8]) -> Command {
    let line = line.trim_ascii();
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (verb, rest) = line.split_at(end);
    let rest = rest.trim_ascii_start();
    match verb.to_ascii_uppercase().as_slice() {
        b"HELO" => Command::Helo,
        b"EHLO" => Command::Ehlo,
        b"MAIL" => mail(rest),
        b"RCPT" => match path(rest, b"TO:") {
            Some((to, _)) if !to.is_empty() => Command::Rcpt { to },
            Some(_) | None => Command::Broken("expected RCPT TO:<address>"),
        },
        b"DATA" => Command::Data,
        b"RSET" => Command::Rset,
        b"NOOP" => Command::Noop,
        b"QUIT" => Command::Quit,
        b"HELP" => Command::Help,
        b"VRFY" => Command::Vrfy,
        b"STARTTLS" if rest.is_empty() => Command::StartTls,
        b"STARTTLS" => Command::Broken("STARTTLS takes nothing behind it"),
        b"AUTH" => auth(rest),
        b"EXPN" | b"TURN" | b"ETRN" | b"BDAT" | b"BURL" | b"SEND" | b"SOML" | b"SAML" | b"LHLO" => Command::Absent,
        _ => Command::Unknown,
    }
}

fn mail(rest: &[u8]) -> Command {
    let Some((from, parameters)) = path(rest, b"FROM:") else {
        return Command::Broken("expected MAIL FROM:<address>");
    };
    // What a parameter asks for beside the size, such as BODY=8BITMIME, changes nothing here.
    let size = parameters.split(u8::is_ascii_whitespace).find_map(|parameter| {
        let (name, value) = parameter.split_at_checked(5)?;
        let value = std::str::from_utf8(value).ok();
        name.eq_ignore_ascii_case(b"SIZE=").then(|| value?.parse().ok())?
    });
    Command::Mail { from, size }
}

/// The address behind `name`, and what follows it. Spaces before it and missing brackets are what simple devices write.
fn path<'l>(rest: &'l [u8], name: &[u8]) -> Option<(String, &'l [u8])> {
    let (given, rest) = rest.split_at_checked(name.len())?;
    if !given.eq_ignore_ascii_case(name) {
        return None;
    }
    let rest = rest.trim_ascii_start();
    let (inside, behind) = match rest.strip_prefix(b"<") {
        Some(inside) => {
            let end = end_of_path(inside)?;
            (&inside[..end], &inside[end + 1..])
        }
        None => {
            let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
            if end == 0 {
                return None;
            }
            rest.split_at(end)
        }
    };
    // A source route (`@a,@b:user@host`) was meant for servers on the way.
    let inside = match inside.first() {
        Some(b'@') => inside.splitn(2, |byte| *byte == b':').nth(1).unwrap_or(inside),
        Some(_) | None => inside,
    };
    Some((charset::value(inside).trim().to_owned(), behind))
}

/// Where the `>` is that ends an address; one in quotes does not.
fn end_of_path(inside: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    inside.iter().position(|byte| {
        let is_end = *byte == b'>' && !quoted;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        is_end
    })
}

fn auth(rest: &[u8]) -> Command {
    let Ok(rest) = std::str::from_utf8(rest) else {
        return Command::Broken("expected AUTH and a mechanism");
    };
    let mut words = rest.split_ascii_whitespace();
    match words.next() {
        Some(mechanism) => Command::Auth {
            mechanism: mechanism.to_ascii_uppercase(),
            initial: words.next().map(str::to_owned),
        },
        None => Command::Broken("expected AUTH and a mechanism"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for (line, from) in [
            ("MAIL FROM:<root@nas>", Some("root@nas")),
            ("mail from:<root@nas> SIZE=100 BODY=8BITMIME", Some("root@nas")),
            ("MAIL FROM: <root@nas>", Some("root@nas")),
            ("MAIL FROM:root@nas SIZE=1", Some("root@nas")),
            ("MAIL  FROM:<>", Some("")),
            ("MAIL FROM:<\"a> b\"@nas>", Some("\"a> b\"@nas")),
            ("MAIL FROM:<@one,@two:root@nas>", Some("root@nas")),
            ("MAIL FROM:<j\u{f6}rg@nas> SMTPUTF8", Some("j\u{f6}rg@nas")),
            ("MAIL FROM:<root@nas", None),
            ("MAIL FROM:", None),
            ("MAIL TO:<root@nas>", None),
            ("MAIL", None),
        ] {
            let found = match read(line.as_bytes()) {
                Command::Mail { from, .. } => Some(from),
                Command::Broken(_) => None,
                other => panic!("{line}: {other:?}"),
            };
            assert_eq!(found.as_deref(), from, "{line}");
        }
        assert_eq!(
            read(b"RCPT TO:<j\xf6rg>"),
            Command::Rcpt { to: "j\u{f6}rg".into() },
            "also in Latin-1"
        );
        assert!(matches!(read(b"RCPT TO:<>"), Command::Broken(_)));
    }

    #[test]
    fn parameters_that_are_unknown_cost_nothing() {
        let size = |line: &str| match read(line.as_bytes()) {
            Command::Mail { size, .. } => size,
            other => panic!("{other:?}"),
        };
        assert_eq!(size("MAIL FROM:<a> RET=HDRS size=12 X"), Some(12));
        assert_eq!(size("MAIL FROM:<a> SIZE=x"), None);
        assert_eq!(size("MAIL FROM:<a> SIZE"), None);
    }

    #[test]
    fn what_is_no_command_is_known_as_none() {
        for line in ["", "GET / HTTP/1.1", "Host: x", "\u{16}\u{3}\u{1}", "MAILFROM:<a>"] {
            assert_eq!(read(line.as_bytes()), Command::Unknown, "{line:?}");
        }
        assert_eq!(read(b"quit "), Command::Quit);
        assert_eq!(read(b"BDAT 10 LAST"), Command::Absent);
        let auth = Command::Auth {
            mechanism: "PLAIN".into(),
            initial: Some("AGE=".into()),
        };
        assert_eq!(read(b"auth plain AGE="), auth);
        assert!(matches!(read(b"AUTH"), Command::Broken(_)));
    }
}
