//! What is said to a client.

/// Characters of one line; RFC 5321 allows 512 octets with the code and the line's end.
const LINE_CHARS_MAX: usize = 480;

/// A code, and a line of text or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub code: u16,
    lines: Vec<String>,
}

impl Reply {
    /// `text` begins with the extended code of RFC 3463 where there is one.
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        Self::of_lines(code, vec![text.into()])
    }

    /// At least one line.
    pub fn of_lines(code: u16, lines: Vec<String>) -> Self {
        Self { code, lines }
    }

    /// Appends it as it goes over the wire.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (index, line) in self.lines.iter().enumerate() {
            let last = index + 1 == self.lines.len();
            let text = line.chars().take(LINE_CHARS_MAX);
            // What a sender has written may stand in it.
            let text: String = text.map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect();
            let mark = if last { ' ' } else { '-' };
            out.extend_from_slice(format!("{}{mark}{text}\r\n", self.code).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_lines_of_ascii_whatever_stands_in_it() {
        let wire = |reply: Reply| {
            let mut out = Vec::new();
            reply.write(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(wire(Reply::new(250, "2.0.0 ok")), "250 2.0.0 ok\r\n");
        let lines = vec!["tautline".to_owned(), "a\r\n550 b\u{fc}".to_owned()];
        assert_eq!(wire(Reply::of_lines(250, lines)), "250-tautline\r\n250 a??550 b?\r\n");
        assert_eq!(wire(Reply::new(550, "x".repeat(2000))).len(), 4 + LINE_CHARS_MAX + 2);
    }
}
