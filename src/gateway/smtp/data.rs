//! The bytes of a mail: where it ends, and the dots that SMTP has put before its lines.

/// Finds the end, `CRLF.CRLF`, however the bytes come in pieces. A line feed or a carriage return alone ends no line:
/// servers that think otherwise let one mail hide a second one in itself.
///
/// The exception are simple devices that know no carriage return at all: see [`of_bare_lines`](Self::of_bare_lines).
#[derive(Debug, Default)]
pub(super) struct Data {
    place: Place,
    bare: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// Behind a CRLF, or nothing has come.
    #[default]
    Start,
    /// Behind the dot that a line begins with. It is not told yet, and never is.
    Dot,
    /// Behind such a dot and a CR, which is not told yet.
    DotCr,
    Text,
    /// Behind a CR in a line.
    Cr,
}

impl Data {
    /// The client has never sent a carriage return: a line feed ends its lines. No server that hands mails on is
    /// one.
    pub fn of_bare_lines() -> Self {
        Self {
            bare: true,
            ..Self::default()
        }
    }

    /// Takes the next bytes and gives what is text of them to `text`. Where the mail has ended it returns how many were
    /// used.
    pub fn push(&mut self, bytes: &[u8], mut text: impl FnMut(&[u8])) -> Option<usize> {
        // What is text from here on and was not told.
        let mut from = 0;
        for (index, byte) in bytes.iter().enumerate() {
            self.place = match (self.place, byte) {
                (Place::Start, b'.') => {
                    text(&bytes[from..index]);
                    from = index + 1;
                    Place::Dot
                }
                (Place::Dot, b'\r') => {
                    from = index + 1;
                    Place::DotCr
                }
                (Place::DotCr, b'\n') => return Some(index + 1),
                (Place::Dot, b'\n') if self.bare => return Some(index + 1),
                (Place::DotCr, other) => {
                    // The line was not a dot alone: its CR is text.
                    text(b"\r");
                    from = index;
                    if *other == b'\r' { Place::Cr } else { Place::Text }
                }
                (Place::Cr, b'\n') => Place::Start,
                (Place::Start | Place::Text, b'\n') if self.bare => Place::Start,
                (Place::Start | Place::Text | Place::Cr, b'\r') => Place::Cr,
                (Place::Start | Place::Dot | Place::Text | Place::Cr, _) => Place::Text,
            };
        }
        text(&bytes[from.min(bytes.len())..]);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text, and what is left behind the end.
    fn read(pieces: &[&[u8]]) -> (Vec<u8>, Option<Vec<u8>>) {
        let (mut data, mut text) = (Data::default(), Vec::new());
        for (index, piece) in pieces.iter().enumerate() {
            if let Some(used) = data.push(piece, |bytes| text.extend_from_slice(bytes)) {
                let rest = [&piece[used..], &pieces[index + 1..].concat()].concat();
                return (text, Some(rest));
            }
        }
        (text, None)
    }

    #[test]
    fn only_a_dot_between_two_whole_line_ends_ends_a_mail() {
        for (wire, text, ended) in [
            ("a\r\n.\r\n", "a\r\n", true),
            (".\r\n", "", true),
            ("..\r\n.\r\n", ".\r\n", true),
            (".a\r\n...b\r\n.\r\n", "a\r\n..b\r\n", true),
            ("a\r\n.\r\r\n.\r\n", "a\r\n\r\r\n", true),
            ("a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n", true),
            // What others have taken for an end.
            ("a\n.\n", "a\n.\n", false),
            ("a\n.\r\n", "a\n.\r\n", false),
            ("a\r\n.\n", "a\r\n\n", false),
            ("a\r.\r\n", "a\r.\r\n", false),
            ("a\r.\r", "a\r.\r", false),
            ("a\r\n\r.\r\n", "a\r\n\r.\r\n", false),
            ("a\r\n.\r\0\n", "a\r\n\r\0\n", false),
            ("a.\r\n", "a.\r\n", false),
        ] {
            let (found, rest) = read(&[wire.as_bytes()]);
            assert_eq!(String::from_utf8(found).unwrap(), text, "{wire:?}");
            assert_eq!(rest.is_some(), ended, "{wire:?}");
        }
    }

    #[test]
    fn a_device_without_carriage_returns_ends_its_mail_all_the_same() {
        let mut text = Vec::new();
        let mut data = Data::of_bare_lines();
        let wire = b"Subject: x\n\n..one\ntwo\n.\nQUIT\n";
        let used = data.push(wire, |bytes| text.extend_from_slice(bytes)).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "Subject: x\n\n.one\ntwo\n");
        assert_eq!(&wire[used..], b"QUIT\n");
    }

    #[test]
    fn however_it_comes_in_pieces_it_is_the_same() {
        let wire = b"Subject: x\r\n\r\n..one\r\n.\rtwo\n.\nthree\r\r\n.\r\nQUIT\r\n";
        let whole = read(&[wire]);
        assert_eq!(whole.1.as_deref(), Some(&b"QUIT\r\n"[..]));
        for size in 1..wire.len() {
            let pieces: Vec<&[u8]> = wire.chunks(size).collect();
            assert_eq!(read(&pieces), whole, "{size}");
        }
    }
}
