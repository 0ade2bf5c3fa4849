//! A mail without what no alert can carry, as it comes in: so that one of 30 MB never is in memory, and its text is
//! found also behind its pictures.
//!
//! What comes out is a mail again, small and well-formed: of the headers those that mean something here, texts up to a
//! bound, and in the place of a file its name and size. A mail that is reduced already stays as it is.
//!
//! Whoever wants the files gets them decoded, piece by piece as they come, and keeps them elsewhere.

use super::decode::{Coding, Decoder};
use super::header::{FILE, Headers, SIZE, is_header, name_in};

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

/// Files whose content is given. No alert has as many; pictures that belong to an HTML text are among them.
pub const FILES_MAX: usize = 20;

/// Some bytes of a file, behind those before of the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePiece {
    /// Which file of the mail, from 0; below [`FILES_MAX`].
    pub file: usize,
    /// Never empty.
    pub bytes: Vec<u8>,
}

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
    /// How many parts are files.
    files: usize,
    /// What has come of files, where it is wanted.
    pieces: Option<Vec<FilePiece>>,
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
    coding: Coding,
    /// Which of the files it is.
    file: Option<usize>,
    /// What makes its content of its lines, where that is wanted.
    decoder: Option<Decoder>,
    /// It stands before the first part, and is the text if there is none.
    is_preamble: bool,
}

impl Body {
    fn new(is_text: bool, said: Option<u64>, coding: Coding) -> Self {
        Self {
            kept: Vec::new(),
            bytes: 0,
            is_text,
            is_cut: false,
            said,
            coding,
            file: None,
            decoder: None,
            is_preamble: false,
        }
    }

    /// Takes a line; `text` is it without its end.
    fn take(&mut self, line: &[u8], text: &[u8]) {
        self.bytes += match self.coding {
            // What only fills up the last four letters is none of the file's.
            Coding::Base64 => text.iter().filter(|byte| **byte != b'=').count() as u64,
            Coding::Plain | Coding::QuotedPrintable => line.len() as u64,
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
            files: 0,
            pieces: None,
        }
    }
}

impl Reducer {
    /// One that gives the content of files as well.
    #[must_use]
    pub fn with_files() -> Self {
        Self {
            pieces: Some(Vec::new()),
            ..Self::default()
        }
    }

    /// Whether any part so far is a file.
    #[must_use]
    pub fn has_files(&self) -> bool {
        self.files > 0
    }

    /// How many bytes of files [wait](Self::take_pieces).
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.pieces.iter().flatten().map(|piece| piece.bytes.len()).sum()
    }

    /// What has come of files since the last time.
    pub fn take_pieces(&mut self) -> Vec<FilePiece> {
        self.pieces.as_mut().map(std::mem::take).unwrap_or_default()
    }

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
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.finish_with_files().0
    }

    /// The mail, and the last of its files.
    #[must_use]
    pub fn finish_with_files(mut self) -> (Vec<u8>, Vec<FilePiece>) {
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
        (self.out, self.pieces.unwrap_or_default())
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
            if let (Some(decoder), Some(file), Some(pieces)) = (&mut body.decoder, body.file, &mut self.pieces) {
                with_piece(pieces, file, |bytes| decoder.line(line, bytes));
            }
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
            let mut body = Body::new(true, headers.size(), Coding::Plain);
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
        let kind = headers.kind();
        match kind.is_message {
            true => self.out.extend_from_slice(&headers.kept_of_a_message()),
            false => self.out.extend_from_slice(headers.kept()),
        }
        self.place = match kind.boundary {
            Some(boundary) if self.boundaries.len() < DEPTH_MAX => {
                self.out.push(b'\n');
                self.boundaries.push(boundary);
                let mut preamble = Body::new(true, None, Coding::Plain);
                preamble.is_preamble = true;
                Place::Body(preamble)
            }
            Some(_) | None => {
                let mut body = Body::new(kind.is_text, headers.size(), kind.coding);
                if !body.is_text {
                    self.begin_file(&mut body, headers.file());
                }
                Place::Body(body)
            }
        };
    }

    /// Gives a file its number. Of one that was left out before, all there is is what its part says.
    fn begin_file(&mut self, body: &mut Body, said: Option<usize>) {
        let number = self.files;
        self.files += 1;
        if self.pieces.is_none() {
            body.file = said;
        } else if number < FILES_MAX && body.said.is_none() {
            body.file = Some(number);
            body.decoder = Some(Decoder::new(body.coding));
        }
    }

    fn end_body(&mut self) {
        let Place::Body(body) = std::mem::replace(&mut self.place, Place::Between) else {
            return;
        };
        let room = REDUCED_BYTES_MAX.saturating_sub(self.out.len() + TAIL_BYTES);
        let kept = &body.kept[..body.kept.len().min(room)];
        if let (Some(decoder), Some(file), Some(pieces)) = (body.decoder, body.file, &mut self.pieces) {
            with_piece(pieces, file, |bytes| decoder.finish(bytes));
        }
        let bytes = match body.coding {
            Coding::Base64 => body.bytes * 3 / 4,
            Coding::Plain | Coding::QuotedPrintable => body.bytes,
        };
        let is_whole = body.is_text && !body.is_cut && kept.len() == body.kept.len();
        // Its headers end here.
        if let Some(bytes) = body.said.or((!is_whole).then_some(bytes)) {
            self.out.extend_from_slice(format!("{SIZE}: {bytes}\n").as_bytes());
        }
        if let Some(file) = body.file {
            self.out.extend_from_slice(format!("{FILE}: {file}\n").as_bytes());
        }
        self.out.push(b'\n');
        self.out.extend_from_slice(kept);
        if kept.last().is_some_and(|last| *last != b'\n') {
            self.out.push(b'\n');
        }
    }
}

/// Adds to what waits of this file.
fn with_piece(pieces: &mut Vec<FilePiece>, file: usize, add: impl FnOnce(&mut Vec<u8>)) {
    let mut piece = match pieces.pop() {
        Some(last) if last.file == file => last,
        other => {
            pieces.extend(other);
            FilePiece {
                file,
                bytes: Vec::new(),
            }
        }
    };
    add(&mut piece.bytes);
    if !piece.bytes.is_empty() {
        pieces.push(piece);
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
    fn files_are_given_as_they_come_and_their_parts_say_which_they_are() {
        let mail = "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n--b\nContent-Type: image/png\n\
                    Content-Transfer-Encoding: base64\nX-Tautline-File: 7\n\nQUJD\nREVG\n--b\nContent-Disposition: attachment\n\n\
                    one\r\ntwo\r\n--b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\nQUJDR";
        for size in [1, 7, 1000] {
            let mut reducer = Reducer::with_files();
            let mut files = vec![Vec::new(); 3];
            let mut take = |pieces: Vec<FilePiece>| {
                for piece in pieces {
                    files[piece.file].extend(piece.bytes);
                }
            };
            for piece in mail.as_bytes().chunks(size) {
                reducer.push(piece);
                assert!(reducer.waiting_bytes() <= mail.len());
                take(reducer.take_pieces());
            }
            assert!(reducer.has_files());
            let (out, last) = reducer.finish_with_files();
            take(last);
            let out = String::from_utf8(out).unwrap();
            assert_eq!(files, [&b"ABCDEF"[..], b"one\r\ntwo", b"ABC"], "{out}");
            let numbers: Vec<&str> = out
                .lines()
                .filter_map(|line| line.strip_prefix("X-Tautline-File: "))
                .collect();
            assert_eq!(numbers, ["0", "1", "2"], "a sender's own counts for nothing: {out}");
            assert_eq!(text(&out), out, "it is reduced already");
        }
        assert!(!text(mail).contains("X-Tautline-File: 0"));
    }

    #[test]
    fn a_mail_within_a_mail_does_not_hide_what_is_behind_it() {
        let mail = "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type:\n Message/rfc822; name=a\n\nSubject: in\n\n\
                    message/\n--b\n\nbehind\n--b--\n";
        let expected = "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type:\n x-Message/rfc822; name=a\n\
                        X-Tautline-Bytes: 22\n\n--b\n\nbehind\n--b--\n";
        assert_eq!(text(mail), expected);
        assert_eq!(text(expected), expected);
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
