//! A letter as a mail: headers and a body of lines that every mail server takes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::letter::{Letter, one_line};
use crate::alert::Priority;

/// A mail is no place for megabytes.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// RFC 5322 allows 998; what is near to it goes encoded.
const LINE_BYTES_MAX: usize = 900;

/// Bytes of a word of RFC 2047 before they are encoded. A line with such a word has at most 76 characters; 39 bytes are
/// 64, and `Subject: ` stands before the first.
const WORD_BYTES_MAX: usize = 39;

/// Characters of a line of base64.
const BASE64_LINE: usize = 76;

/// The mail, with CRLF at the end of each line. `date` is as RFC 5322 has it.
pub(super) fn compose(letter: &Letter, from: &str, to: &[String], date: &str) -> String {
    let subject = match letter.title.as_str() {
        "" => one_line(&letter.text, 70),
        title => title.to_owned(),
    };
    let text = letter.body(TEXT_BYTES_MAX).replace("\r\n", "\n").replace('\r', "\n");
    let plain = text.is_ascii()
        && text.lines().all(|line| line.len() <= LINE_BYTES_MAX)
        && !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
    let host = from.rsplit_once('@').map_or("localhost", |(_, host)| host);
    let mut mail = String::new();
    let mut header = |name: &str, value: &str| {
        mail.push_str(&format!("{name}: {value}\r\n"));
    };
    header("Date", date);
    header("From", from);
    header("To", &to.join(",\r\n "));
    header("Subject", &encoded(&subject));
    // The same at every attempt, so that a mailbox can know it again.
    header("Message-ID", &format!("<{}.{}@{host}>", letter.key, letter.to));
    header("Auto-Submitted", "auto-generated");
    if let Some(route) = &letter.route {
        header("X-Tautline-Route", route);
    }
    match letter.priority {
        Priority::Max | Priority::High => {
            header("Importance", "high");
            header("X-Priority", if letter.priority == Priority::Max { "1" } else { "2" });
        }
        Priority::Low | Priority::Min => header("Importance", "low"),
        Priority::Default => {}
    }
    header("MIME-Version", "1.0");
    header("Content-Type", "text/plain; charset=utf-8");
    header("Content-Transfer-Encoding", if plain { "7bit" } else { "base64" });
    mail.push_str("\r\n");
    if plain {
        for line in text.lines() {
            mail.push_str(line);
            mail.push_str("\r\n");
        }
        return mail;
    }
    let coded = BASE64.encode(text.replace('\n', "\r\n"));
    let mut rest = coded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(BASE64_LINE));
        mail.push_str(line);
        mail.push_str("\r\n");
        rest = after;
    }
    mail
}

/// A header's text: as it is, or in words of RFC 2047, folded.
fn encoded(text: &str) -> String {
    let text = text.replace(char::is_control, " ");
    // What looks like an encoded word must not be read as one.
    if text.is_ascii() && !text.contains("=?") && text.len() <= LINE_BYTES_MAX {
        return text;
    }
    let mut words = Vec::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.floor_char_boundary(WORD_BYTES_MAX));
        words.push(format!("=?UTF-8?B?{}?=", BASE64.encode(word)));
        rest = after;
    }
    words.join("\r\n ")
}

/// A line with a dot alone ends a mail.
pub(super) const END: &[u8] = b".\r\n";

/// The mail as it goes over the wire after DATA, before its [`END`]: a line that begins with a dot gets another.
pub(super) fn stuffed(mail: &str) -> Vec<u8> {
    let mut wire = Vec::with_capacity(mail.len() + 64);
    for line in mail.split_inclusive("\r\n") {
        if line.starts_with('.') {
            wire.push(b'.');
        }
        wire.extend_from_slice(line.as_bytes());
    }
    wire
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::parcel;
    use super::*;

    const DATE: &str = "Thu, 01 Jan 2026 00:00:00 +0000";

    fn mail(title: &str, text: &str) -> String {
        let to = ["me@example.com".to_owned(), "you@example.com".to_owned()];
        compose(&Letter::of(&parcel(&[(title, text)])), "box@example.com", &to, DATE)
    }

    #[test]
    fn what_is_ascii_goes_as_it_is() {
        let mail = mail("NAS", "disk full\n.hidden\n.");
        let (head, body) = mail.split_once("\r\n\r\n").unwrap();
        for line in [
            "Date: Thu, 01 Jan 2026 00:00:00 +0000",
            "From: box@example.com",
            "To: me@example.com,\r\n you@example.com",
            "Subject: NAS",
            "Message-ID: <AAAAAAAAAAA0.ntfy@example.com>",
            "Content-Transfer-Encoding: 7bit",
        ] {
            assert!(head.contains(line), "{line} is not in\n{head}");
        }
        assert!(
            body.starts_with("disk full\r\n.hidden\r\n.\r\n\r\n(by ntfy, because "),
            "{body:?}"
        );
        let wire = String::from_utf8(stuffed(&mail)).unwrap();
        assert!(
            wire.contains("\r\n..hidden\r\n..\r\n") && wire.ends_with(")\r\n"),
            "{wire:?}"
        );
        assert_eq!(wire.matches("\r\n.\r\n").count(), 0);
    }

    #[test]
    fn the_rest_is_encoded_in_short_lines() {
        let long = "ü".repeat(100);
        let mail = mail(&long, &format!("größer\n{}", "x".repeat(2000)));
        assert!(
            mail.is_ascii() && mail.split("\r\n").all(|line| line.len() <= 76),
            "{mail}"
        );
        assert!(!mail.replace("\r\n", "").contains('\n'));
        let (head, body) = mail.split_once("\r\n\r\n").unwrap();
        let words: Vec<&str> = head
            .split("=?UTF-8?B?")
            .skip(1)
            .map(|word| word.split("?=").next().unwrap())
            .collect();
        assert!(words.len() > 3 && words.iter().all(|word| word.len() <= 63));
        let subject: Vec<u8> = words.iter().flat_map(|word| BASE64.decode(word).unwrap()).collect();
        assert_eq!(String::from_utf8(subject).unwrap(), long);
        let text = BASE64.decode(body.replace("\r\n", "")).unwrap();
        assert!(String::from_utf8(text).unwrap().starts_with("größer\r\nxxx"));
    }

    #[test]
    fn no_title_becomes_a_header() {
        let mail = mail("a\r\nBcc: all@example.com", "x");
        assert!(mail.contains("Subject: a  Bcc: all@example.com\r\n"), "{mail}");
        let subject = super::encoded("=?UTF-8?B?QQ==?=");
        assert!(subject.starts_with("=?UTF-8?B?PT9"), "{subject}");
    }
}
