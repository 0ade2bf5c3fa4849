//! The headers of a mail or of a part of one, as far as they mean something here.

use mail_parser::{MessageParser, MimeHeaders};

use super::decode::Coding;

/// The header of a part that says how long its body was, in bytes, where that is not all there.
pub(super) const SIZE: &str = "X-Tautline-Bytes";

/// The header of a part that says which of the files that came with the mail it was, from 0.
pub(super) const FILE: &str = "X-Tautline-File";

/// Before a kind of which nobody but us should know what it is.
pub(super) const UNKNOWN: &[u8] = b"x-";

/// Headers that mean something here. The rest is dropped, however much of it there is.
const KEPT: &[&str] = &[
    "auto-submitted",
    "bcc",
    "cc",
    "content-disposition",
    "content-id",
    "content-transfer-encoding",
    "content-type",
    "date",
    "from",
    "importance",
    "message-id",
    "mime-version",
    "precedence",
    "priority",
    "subject",
    "to",
    "x-autoreply",
    "x-autorespond",
    "x-failed-recipients",
    "x-msmail-priority",
    "x-priority",
];

/// Others by which a mail is known to be one.
const KNOWN: &[&str] = &["received", "reply-to", "return-path", "sender", "user-agent"];

/// Bytes of those that are kept, of one of them, and of the others.
const KEPT_BYTES_MAX: usize = 16 * 1024;
const ONE_BYTES_MAX: usize = 4 * 1024;
const OTHERS_BYTES_MAX: usize = 64 * 1024;

/// The name of the header that begins in this line, as it stands there.
pub(super) fn name_in(line: &[u8]) -> Option<&str> {
    let name = &line[..line.iter().position(|byte| *byte == b':')?];
    let name = name.trim_ascii_end();
    let fits = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic());
    std::str::from_utf8(name).ok().filter(|_| fits)
}

/// Whether a line can stand among headers.
pub(super) fn is_header(line: &[u8]) -> bool {
    line.starts_with(b" ") || line.starts_with(b"\t") || name_in(line).is_some()
}

/// Headers as they come, line by line.
#[derive(Default)]
pub(super) struct Headers {
    /// Those that are kept, with a line feed behind each line.
    kept: Vec<u8>,
    /// The others, likewise.
    others: Vec<u8>,
    /// Bytes of the others that are not kept.
    others_lost: u64,
    /// The last header is one of the others.
    in_others: bool,
    /// Bytes of the last header.
    one_bytes: usize,
    is_known: bool,
    /// How long the body was before it was reduced, by its own word.
    size: Option<u64>,
    /// Which file it was, likewise.
    file: Option<usize>,
}

/// What a part is.
pub(super) struct Kind {
    /// What its own parts lie between.
    pub boundary: Option<Vec<u8>>,
    /// A text to be read, and no file.
    pub is_text: bool,
    /// A mail.
    pub is_message: bool,
    pub coding: Coding,
}

impl Headers {
    /// Takes a line, or a piece of a long one; `starts`: its first.
    pub fn line(&mut self, line: &[u8], starts: bool) {
        let folded = line.starts_with(b" ") || line.starts_with(b"\t");
        if starts && !folded {
            self.one_bytes = 0;
            let name = name_in(line).unwrap_or_default().to_ascii_lowercase();
            self.in_others = !KEPT.contains(&name.as_str());
            self.is_known |= !self.in_others || KNOWN.contains(&name.as_str());
            let value = || {
                let value = line.splitn(2, |byte| *byte == b':').nth(1).unwrap_or_default();
                std::str::from_utf8(value).ok().map(str::trim)
            };
            if name.eq_ignore_ascii_case(SIZE) {
                self.size = value().and_then(|value| value.parse().ok());
            }
            if name.eq_ignore_ascii_case(FILE) {
                self.file = value().and_then(|value| value.parse().ok());
            }
        }
        self.one_bytes += line.len() + 1;
        let (into, fits) = match self.in_others {
            true => (&mut self.others, true),
            false => (&mut self.kept, self.one_bytes <= ONE_BYTES_MAX),
        };
        let most = if self.in_others {
            OTHERS_BYTES_MAX
        } else {
            KEPT_BYTES_MAX
        };
        if fits && into.len() + line.len() < most {
            // A piece of a long line goes on where the one before ended.
            if !starts {
                into.pop();
            }
            into.extend_from_slice(line);
            into.push(b'\n');
        } else if self.in_others {
            self.others_lost += line.len() as u64;
        } else {
            // Of a header that is too long the start is kept, and nothing that follows.
            let start = &line[..line.len().min(ONE_BYTES_MAX)];
            if starts && !folded && !fits && into.len() + start.len() < most {
                into.extend_from_slice(start);
                into.push(b'\n');
            }
            self.one_bytes = KEPT_BYTES_MAX;
        }
    }

    /// Whether there is one by which a mail is known to be one: a text may begin with `Warning:`.
    pub fn are_a_mails(&self) -> bool {
        self.is_known
    }

    /// Those that are kept, a line feed behind each line.
    pub fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// The others, likewise.
    pub fn others(&self) -> &[u8] {
        &self.others
    }

    /// How many bytes of the others are not kept.
    pub fn others_lost(&self) -> u64 {
        self.others_lost
    }

    /// How long the body was before it was reduced, in bytes.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Which of the files it was.
    pub fn file(&self) -> Option<usize> {
        self.file
    }

    /// What the part is.
    pub fn kind(&self) -> Kind {
        let raw = [self.kept.as_slice(), b"\n"].concat();
        let parser = MessageParser::new().with_mime_headers();
        let Some(read) = parser.parse_headers(&raw) else {
            return Kind {
                boundary: None,
                is_text: true,
                is_message: false,
                coding: Coding::Plain,
            };
        };
        let kind = read.content_type();
        let attached = read.content_disposition().is_some_and(|how| how.is_attachment());
        let encoding = read.content_transfer_encoding().unwrap_or_default();
        let is = |name: &str| kind.is_none_or(|kind| kind.ctype().eq_ignore_ascii_case(name));
        let subtype = kind.and_then(|kind| kind.subtype()).unwrap_or_default();
        let boundary = kind
            .filter(|_| is("multipart"))
            .and_then(|kind| kind.attribute("boundary"));
        Kind {
            boundary: boundary.map(|boundary| boundary.as_bytes().to_vec()),
            is_text: (is("text") || is("multipart")) && !attached && !subtype.eq_ignore_ascii_case("calendar"),
            is_message: kind.is_some() && is("message"),
            coding: Coding::named(encoding),
        }
    }

    /// Those that are kept, of a part that is a mail. Its kind gets a name that no parser knows: one that reads mails
    /// within mails would look for its headers, which are left out, and take the next part for them.
    pub fn kept_of_a_message(&self) -> Vec<u8> {
        let mut kept = Vec::with_capacity(self.kept.len() + UNKNOWN.len());
        for line in self.kept.split_inclusive(|byte| *byte == b'\n') {
            let at = line
                .to_ascii_lowercase()
                .windows(8)
                .position(|word| word == b"message/");
            let is_kind = line.starts_with(b" ")
                || line.starts_with(b"\t")
                || name_in(line).is_some_and(|name| name.eq_ignore_ascii_case("content-type"));
            match at.filter(|_| is_kind) {
                Some(at) => kept.extend_from_slice(&[&line[..at], UNKNOWN, &line[at..]].concat()),
                None => kept.extend_from_slice(line),
            }
        }
        kept
    }
}
