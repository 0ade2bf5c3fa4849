//! What stands in a part, out of the form in which mails carry it.

use mail_parser::decoders::base64::base64_decode;

use crate::alert::encoded_word::base64_digit;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// As it is.
    Plain,
    QuotedPrintable,
    Base64,
}

impl Coding {
    /// By its name in `Content-Transfer-Encoding`.
    pub fn named(name: &str) -> Self {
        match name.trim() {
            name if name.eq_ignore_ascii_case("base64") => Self::Base64,
            name if name.eq_ignore_ascii_case("quoted-printable") => Self::QuotedPrintable,
            _ => Self::Plain,
        }
    }
}

/// The bytes of a file, out of the lines of its part as they come. Whatever they are: what cannot be decoded is left
/// out, and a file that is broken off ends there.
pub(super) struct Decoder {
    coding: Coding,
    /// Letters of base64 that make no whole bytes yet.
    bits: u32,
    letters: u8,
    /// The end of the last line: that of the last one of all belongs to the boundary behind it.
    end: Vec<u8>,
}

impl Decoder {
    pub fn new(coding: Coding) -> Self {
        Self {
            coding,
            bits: 0,
            letters: 0,
            end: Vec::new(),
        }
    }

    /// Takes a line with its end, or a piece of a long one, and adds what it says to `into`.
    pub fn line(&mut self, line: &[u8], into: &mut Vec<u8>) {
        match self.coding {
            Coding::Base64 => self.letters(line, into),
            Coding::QuotedPrintable => {
                into.append(&mut self.end);
                into.extend_from_slice(&quoted_printable(line));
                let goes_on = line.trim_ascii_end().ends_with(b"=");
                if line.ends_with(b"\n") && !goes_on && into.last() == Some(&b'\n') {
                    into.pop();
                    self.end.push(b'\n');
                }
            }
            Coding::Plain => {
                into.append(&mut self.end);
                let text = line.strip_suffix(b"\n").unwrap_or(line);
                let text = text.strip_suffix(b"\r").unwrap_or(text);
                into.extend_from_slice(text);
                self.end.extend_from_slice(&line[text.len()..]);
            }
        }
    }

    /// The part has ended.
    pub fn finish(mut self, into: &mut Vec<u8>) {
        self.flush(into);
    }

    fn letters(&mut self, line: &[u8], into: &mut Vec<u8>) {
        for byte in line {
            let Some(digit) = base64_digit(*byte) else {
                if *byte == b'=' {
                    self.flush(into);
                }
                continue;
            };
            self.bits = self.bits << 6 | digit;
            self.letters += 1;
            if self.letters == 4 {
                into.extend_from_slice(&self.bits.to_be_bytes()[1..]);
                (self.bits, self.letters) = (0, 0);
            }
        }
    }

    /// The whole bytes of letters that are fewer than four.
    fn flush(&mut self, into: &mut Vec<u8>) {
        let bytes = usize::from(self.letters) * 6 / 8;
        let bits = self.bits << (6 * (4 - u32::from(self.letters.min(4))));
        into.extend_from_slice(&bits.to_be_bytes()[1..=bytes]);
        (self.bits, self.letters) = (0, 0);
    }
}

/// The bytes of a text. `None`: it cannot be decoded.
pub(super) fn text(body: &[u8], coding: Coding) -> Option<Vec<u8>> {
    match coding {
        Coding::Plain => None,
        Coding::QuotedPrintable => Some(quoted_printable(body)),
        Coding::Base64 => base64_decode(body),
    }
}

/// What stands in quoted-printable. An escape that is none stands for itself: a decoder that gives up would show the
/// whole text undecoded for the sake of one sign.
fn quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(body.len());
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let ends = line
            .strip_suffix(b"\n")
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        // Space at the end of a line was added on the way.
        let mut rest = ends.unwrap_or(line).trim_ascii_end();
        let goes_on = rest.strip_suffix(b"=");
        rest = goes_on.unwrap_or(rest);
        while let Some((byte, behind)) = rest.split_first() {
            let digit = |at: usize| behind.get(at).and_then(|byte| char::from(*byte).to_digit(16));
            match (byte, digit(0), digit(1)) {
                (b'=', Some(high), Some(low)) => {
                    text.push((high * 16 + low) as u8);
                    rest = &behind[2..];
                }
                _ => {
                    text.push(*byte);
                    rest = behind;
                }
            }
        }
        if ends.is_some() && goes_on.is_none() {
            text.push(b'\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coding: &str, body: &[u8]) -> Vec<u8> {
        let (mut decoder, mut bytes) = (Decoder::new(Coding::named(coding)), Vec::new());
        for line in body.split_inclusive(|byte| *byte == b'\n') {
            decoder.line(line, &mut bytes);
        }
        decoder.finish(&mut bytes);
        bytes
    }

    #[test]
    fn a_file_is_what_its_sender_had() {
        for (coding, body, expected) in [
            ("base64", "QUJD\r\nREVG\r\n", "ABCDEF"),
            ("BASE64 ", "QU\r\nJDRA==\r\n\r\n", "ABCD"),
            ("base64", "QUI=", "AB"),
            ("base64", "QUI=\nQ0Q=", "ABCD"),
            // Broken off, and with what is no letter in it.
            ("base64", "QUJDR", "ABC"),
            ("base64", "Q U!J-D\0RE", "ABCD"),
            ("base64", "", ""),
            ("quoted-printable", "a=3Db=\r\nc \r\nd\r\n", "a=bc\nd"),
            ("quoted-printable", "=0D=0A=\r\n", "\r\n"),
            ("8bit", "a\r\n\r\nb\r\n", "a\r\n\r\nb"),
            ("7bit", "a\nb", "a\nb"),
            ("x-odd", "a\n\n", "a\n"),
            ("", "", ""),
        ] {
            let found = decoded(coding, body.as_bytes());
            assert_eq!(String::from_utf8_lossy(&found), expected, "{coding} {body:?}");
        }
        // Two lines of base64 in one, and three letters at the end.
        assert_eq!(decoded("base64", b"QUJDREU"), b"ABCDE");
    }
}
