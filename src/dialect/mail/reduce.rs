//! A mail without what no alert can carry, as it comes in: so that one of 30 MB never is in memory, and its text is
//! found also behind its pictures.
//!
//! What comes out is a mail again, small and well-formed: of the headers those that mean something here, texts up to a
//! bound, and in the place of a file its name and size. A mail that is reduced already stays as it is.

use super::header::{Headers, SIZE, is_header, name_in};

/// The longest mail that comes out, in bytes. It fits what the gateway keeps of a body.
pub const REDUCED_BYTES_MAX: usize = 120 * 1024;

/// The most that is kept of one text, in bytes: the longest that an alert may have, also in base64.
const TEXT_BYTES_MAX: usize = 96 * 1024;

/// How much of one line is looked at, in bytes. The rest of a longer one is never a boundary.
const LINE_BYTES_MAX: usize = 4 * 1024;

/// Parts, and how deep they may be nested. No sender comes near.
const PARTS_MAX: usize = 100;
const DEPTH_MAX: usize = 10;

/// Room that is left for what ends a mail.
const TAIL_BYTES: usize = 2 * 1024;

/// Takes a mail piece by piece.
pub struct Reducer {
    out: Vec<u8>,
    line: Vec<u8>,
    /// The end of a line is still to come, and its start was handed on.
    in_long_line: bool,
    place: Place,
    headers: Headers,
    /// The boundaries of the parts that are open, outermost first.
    boundaries: Vec<Vec<u8>>,
    parts: usize,
}

/// What the next line is.
enum Place {
    /// Nothing has come.
    Start,
    Headers,
    Body(Body),
    /// Where nothing is read: behind the last part.
    Between,
}

struct Body {
    kept: Vec<u8>,
    /// How long it is so far, in bytes; of base64 the letters that stand for bytes.
    bytes: u64,
    /// A text, or a file.
    is_text: bool,
    /// A text of which something is missing.
    is_cut: bool,
    /// The size that the part gives itself, where it was reduced before.
    said: Option<u64>,
    base64: bool,
    /// It stands before the first part, and is the text if there is none.
    is_preamble: bool,
}

impl Body {
    fn new(is_text: bool, said: Option<u64>, base64: bool) -> Self {
        Self {
            kept: Vec::new(),
            bytes: 0,
            is_text,
            is_cut: false,
            said,
            base64,
            is_preamble: false,
        }
    }

    /// Takes a line; `text` is it without its end.
    fn take(&mut self, line: &[u8], text: &[u8]) {
        self.bytes += match self.base64 {
            // What only fills up the last four letters is none of the file's.
            true => text.iter().filter(|byte| **byte != b'=').count() as u64,
            false => line.len() as u64,
        };
        if !self.is_text || self.is_cut {
            return;
        }
        let room = TEXT_BYTES_MAX - self.kept.len();
        self.is_cut = line.len() > room;
        self.kept.extend_from_slice(&line[..room.min(line.len())]);
    }
}

impl Default for Reducer {
    fn default() -> Self {
        Self {
            out: Vec::new(),
            line: Vec::new(),
            in_long_line: false,
            place: Place::Start,
            headers: Headers::default(),
            boundaries: Vec::new(),
            parts: 0,
        }
    }
}

impl Reducer {
    /// Takes the next bytes.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (piece, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
            bytes = rest;
            self.line.extend_from_slice(piece);
            if end.is_some() || self.line.len() >= LINE_BYTES_MAX {
                self.flush_line(end.is_some());
            }
        }
    }

    /// The mail, once all of it was pushed.
    pub fn finish(mut self) -> Vec<u8> {
        if !self.line.is_empty() {
            self.flush_line(true);
        }
        if matches!(self.place, Place::Headers) {
            self.end_headers();
        }
        if let (Place::Body(body), Some(boundary)) = (&self.place, self.boundaries.last())
            && body.is_preamble
        {
            self.out
                .extend_from_slice(&[b"--", boundary.as_slice(), b"\n"].concat());
        }
        self.end_body();
        self.close_parts(0);
        self.out
    }

    /// Ends the parts that are open from this depth on.
    fn close_parts(&mut self, depth: usize) {
        for boundary in self.boundaries.drain(depth..).rev() {
            self.out
                .extend_from_slice(&[b"--", boundary.as_slice(), b"--\n"].concat());
        }
    }

    fn flush_line(&mut self, ends: bool) {
        let line = std::mem::take(&mut self.line);
        let starts = !std::mem::replace(&mut self.in_long_line, !ends);
        self.take_line(&line, starts);
        // The room of a long line is not needed again.
        if line.capacity() <= LINE_BYTES_MAX {
            self.line = line;
            self.line.clear();
        }
    }

    /// Takes a line with its end, or a piece of a long one; `starts`: its first.
    fn take_line(&mut self, line: &[u8], starts: bool) {
        let text = without_end(line);
        match &mut self.place {
            Place::Start if text.is_empty() || text.starts_with(b"From ") || text.starts_with(b">From ") => {}
            Place::Start if name_in(text).is_some() => {
                self.place = Place::Headers;
                self.headers.line(text, starts);
            }
            // It has none: all of it is the text.
            Place::Start => {
                self.end_headers();
                self.body_line(line, text, starts);
            }
            Place::Headers if starts && text.is_empty() => self.end_headers(),
            Place::Headers if starts && !is_header(text) => {
                // Somebody forgot the empty line.
                self.end_headers();
                self.body_line(line, text, starts);
            }
            Place::Headers => self.headers.line(text, starts),
            Place::Body(_) | Place::Between => self.body_line(line, text, starts),
        }
    }

    fn body_line(&mut self, line: &[u8], text: &[u8], starts: bool) {
        if starts && let Some((depth, closes)) = self.boundary(text) {
            if !matches!(&self.place, Place::Body(body) if body.is_preamble) {
                self.end_body();
            }
            self.close_parts(depth + 1);
            let full = self.parts >= PARTS_MAX || self.out.len() + TAIL_BYTES >= REDUCED_BYTES_MAX;
            self.place = if closes {
                self.close_parts(depth);
                Place::Between
            } else if full {
                Place::Between
            } else {
                self.out
                    .extend_from_slice(&[b"--", self.boundaries[depth].as_slice(), b"\n"].concat());
                Place::Headers
            };
            return;
        }
        if let Place::Body(body) = &mut self.place {
            body.take(line, text);
        }
    }

    /// Which open boundary this line is, by its depth, and whether it closes it.
    fn boundary(&self, text: &[u8]) -> Option<(usize, bool)> {
        let text = text.strip_prefix(b"--")?.trim_ascii_end();
        let depth = |text: &[u8]| self.boundaries.iter().rposition(|boundary| boundary == text);
        match depth(text) {
            Some(depth) => Some((depth, false)),
            None => depth(text.strip_suffix(b"--")?).map(|depth| (depth, true)),
        }
    }

    fn end_headers(&mut self) {
        let headers = std::mem::take(&mut self.headers);
        self.parts += 1;
        if self.parts == 1 && !headers.are_a_mails() {
            // It has none, and what looked like them is the start of the text.
            self.out.extend_from_slice(b"Content-Type: text/plain\n");
            let mut body = Body::new(true, headers.size(), false);
            body.take(headers.others(), headers.others());
            body.bytes += headers.others_lost();
            body.is_cut |= headers.others_lost() > 0;
            self.place = Place::Body(body);
            return;
        }
        if self.out.len() + headers.kept().len() + TAIL_BYTES >= REDUCED_BYTES_MAX {
            self.place = Place::Between;
            self.out.push(b'\n');
            return;
        }
        self.out.extend_from_slice(headers.kept());
        let kind = headers.kind();
        self.place = match kind.boundary {
            Some(boundary) if self.boundaries.len() < DEPTH_MAX => {
                self.out.push(b'\n');
                self.boundaries.push(boundary);
                let mut preamble = Body::new(true, None, false);
                preamble.is_preamble = true;
                Place::Body(preamble)
            }
            Some(_) | None => Place::Body(Body::new(kind.is_text, headers.size(), kind.base64)),
        };
    }

    fn end_body(&mut self) {
        let Place::Body(body) = std::mem::replace(&mut self.place, Place::Between) else {
            return;
        };
        let room = REDUCED_BYTES_MAX.saturating_sub(self.out.len() + TAIL_BYTES);
        let kept = &body.kept[..body.kept.len().min(room)];
        let bytes = match body.base64 {
            true => body.bytes * 3 / 4,
            false => body.bytes,
        };
        let is_whole = body.is_text && !body.is_cut && kept.len() == body.kept.len();
        // Its headers end here.
        if let Some(bytes) = body.said.or((!is_whole).then_some(bytes)) {
            self.out.extend_from_slice(format!("{SIZE}: {bytes}\n").as_bytes());
        }
        self.out.push(b'\n');
        self.out.extend_from_slice(kept);
        if kept.last().is_some_and(|last| *last != b'\n') {
            self.out.push(b'\n');
        }
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The whole of a mail at once.
pub fn reduced(mail: &[u8]) -> Vec<u8> {
    let mut reducer = Reducer::default();
    reducer.push(mail);
    reducer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(mail: &str) -> String {
        String::from_utf8(reduced(mail.as_bytes())).unwrap()
    }

    #[test]
    fn a_small_mail_keeps_what_means_something() {
        let mail = "From root Thu Nov 27 2026\nReceived: by x;\n\tlater\nSubject: a\r\n b\r\nX-Cron-Env: <HOME=/root>\n\ntext\n\n.\nmore";
        assert_eq!(text(mail), "Subject: a\n b\n\ntext\n\n.\nmore\n");
        for (mail, expected) in [
            ("", ""),
            ("disk full", "Content-Type: text/plain\n\ndisk full\n"),
            (
                "ALERT: disk\nhost: nas\n",
                "Content-Type: text/plain\n\nALERT: disk\nhost: nas\n",
            ),
            ("Subject: x\ndisk full\n", "Subject: x\n\ndisk full\n"),
            ("Subject: x", "Subject: x\n\n"),
            ("\n\nSubject: x\n\n", "Subject: x\n\n"),
            (
                "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\nno part",
                "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nno part\n--b--\n",
            ),
        ] {
            assert_eq!(text(mail), expected, "{mail}");
        }
    }

    #[test]
    fn files_become_their_size_and_texts_behind_them_stay() {
        let picture = "QUJD\r\n".repeat(200_000);
        let mail = format!(
            "Subject: x\nContent-Type: multipart/mixed;\n boundary=\"b 1\"\n\npreamble\n--b 1\nContent-Type: image/jpeg; \
             name=a.jpg\nContent-Transfer-Encoding: base64\n\n{picture}\n--b 1 \nContent-Type: multipart/alternative; \
             boundary=in\n\n--in\n\ntext\n--in\nContent-Type: text/html\n\n<p>text\n--b 1--\nepilogue\n"
        );
        let expected = "Subject: x\nContent-Type: multipart/mixed;\n boundary=\"b 1\"\n\n--b 1\nContent-Type: image/jpeg; \
             name=a.jpg\nContent-Transfer-Encoding: base64\nX-Tautline-Bytes: 600000\n\n--b 1\nContent-Type: \
             multipart/alternative; boundary=in\n\n--in\n\ntext\n--in\nContent-Type: text/html\n\n<p>text\n--in--\n--b 1--\n";
        assert_eq!(text(&mail), expected);
        assert_eq!(text(expected), expected, "it is reduced already");
        // However it comes.
        let mut reducer = Reducer::default();
        for piece in mail.as_bytes().chunks(7) {
            reducer.push(piece);
        }
        assert_eq!(reducer.finish(), expected.as_bytes());
    }

    #[test]
    fn whatever_comes_what_comes_out_is_bounded() {
        let part = |text: &str| format!("--b\n\n{text}\n");
        let head = "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n";
        for mail in [
            format!("Subject: x\n\n{}", "long ".repeat(200_000)),
            format!("Subject: x\n\n{}", "line\n".repeat(200_000)),
            format!("Subject: {}\n\ntext", "x".repeat(200_000)),
            format!("{}\n\ntext", "Subject: x\n".repeat(20_000)),
            format!("{head}{}", part("x").repeat(20_000)),
            format!("{head}{}", part(&"text ".repeat(10_000)).repeat(30)),
            head.replace(
                "multipart/mixed; boundary=b\n\n",
                "multipart/mixed; boundary=b\n\n--b\n",
            )
            .repeat(1000),
            "x".repeat(300_000),
        ] {
            let out = reduced(mail.as_bytes());
            assert!(out.len() <= REDUCED_BYTES_MAX, "{} of {mail:.40}", out.len());
            assert!(reduced(&out) == out, "{mail:.40}");
        }
    }

    #[test]
    fn a_long_chain_of_headers_costs_neither_subject_nor_kind() {
        let chain = "Received: from a by b with esmtp; Thu, 27 Nov 2026\n\tid 12345\n".repeat(10_000);
        let out = text(&format!("{chain}Subject: x\nContent-Type: text/html\n\n<p>y"));
        assert_eq!(out, "Subject: x\nContent-Type: text/html\n\n<p>y\n");
    }
}
