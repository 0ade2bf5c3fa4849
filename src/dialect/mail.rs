//! Mail, as cron, smartd, mdadm and others hand it to `sendmail`: a message in the form of RFC 5322.
//!
//! | field | where it comes from |
//! |---|---|
//! | text | the text part; without one what HTML says; else the subject |
//! | title | `Subject`, else the name in `From` |
//! | priority | `X-Priority` or `X-MSMail-Priority` 1 and 2, `Importance: high`, `Priority: urgent`: high; 4 and 5, `low`, `non-urgent`: low |
//! | files | pictures, videos, documents; what cannot be kept is left out with a mark, signatures without one |
//! | key | the field `key` of the request, never the `Message-ID` |
//!
//! A picture that belongs to an HTML text, as a logo, is no file for an alert. But cameras send what they have seen in
//! this form: so it is one where the mail has no other files, unless it is as small as a logo.
//!
//! Two alerts may have one `Message-ID`: a script that sends the same file at every alarm. So that is no key.
//!
//! Dropped are bounces and what a program answers by itself (`Auto-Submitted: auto-replied`): an alert that answers an
//! alert has no end. `auto-generated` is what cron and mdadm say of themselves, and an empty sender is what a device
//! has that nobody gave one: both arrive.

use std::borrow::Cow;

use mail_parser::{Address, Encoding, Message, MessageParser, MessagePart, MimeHeaders, PartType};

mod decode;
mod header;
mod html;
mod reduce;

pub use reduce::{FILES_MAX, FilePiece, REDUCED_BYTES_MAX, Reducer};

use super::file::Source;
use super::{Draft, Parsed, Rejection, Request, json};
use crate::alert::hygiene::clean;
use crate::alert::{Priority, charset, encoded_word};
use decode::Coding;

/// What is said of a mail in which nothing is.
const TEXT_EMPTY: &str = "(an empty mail)";

/// Files that are named one by one.
const FILES_NAMED: usize = 10;

/// How deep parts are looked into; the reducer nests none deeper.
const DEPTH_MAX: usize = 20;

/// Why a file is not there.
const OF_A_MAIL: &str = "it did not come along with its mail";

/// A picture in an HTML text that is no longer than this, in bytes, is a logo or a sign. What the smallest camera has
/// seen is longer.
const LOGO_BYTES_MAX: u64 = 16 * 1024;

/// Addresses of one mail.
const ADDRESSES_MAX: usize = 100;

/// Reads an alert out of a mail; none out of a bounce or an answer.
///
/// # Errors
/// None at present: the type is that of every dialect.
pub fn parse(request: &Request<'_>) -> Result<Parsed, Rejection> {
    if request.is_multipart() {
        // A form, and no mail.
        return json::parse(request);
    }
    let raw = reduce::reduced(request.body);
    let Some(mail) = MessageParser::default().parse(&raw) else {
        let text = clean(&charset::text(request.body, None)).trim().to_owned();
        return Ok(Draft::default().finish(text, request.body_bytes, TEXT_EMPTY));
    };
    if let Some(why) = dropped(&mail, &raw, request) {
        return Ok(Parsed {
            warnings: vec![format!("{why}: it was dropped")],
            ..Parsed::default()
        });
    }
    let mut draft = Draft::default();
    let mut read = Read::default();
    read.part(&mail, &raw, 0, Place::default());
    let title = header(&mail, &raw, "Subject")
        .filter(|subject| !subject.is_empty())
        .or_else(|| sender(&mail));
    let title = title.unwrap_or_default();
    if let Some(priority) = priority(&mail, &raw) {
        draft.set_priority(priority);
    }
    draft.key(request.query.get("key").unwrap_or_default());
    read.sort_out();
    for file in read.files.iter().take(FILES_NAMED) {
        let source = file.beside.map_or(Source::Missing(OF_A_MAIL), Source::Beside);
        draft.file(&file.name, Some(file.bytes), source);
    }
    match read.files.len().saturating_sub(FILES_NAMED) {
        0 => {}
        more => draft.file(&format!("{more} more files"), None, Source::Missing(OF_A_MAIL)),
    }
    let text = read.text();
    if read.is_cut || (request.is_in_part() && read.ends_in_text) {
        draft.in_part();
    }
    let bytes = read
        .bytes
        .max(if request.is_in_part() { request.body_bytes } else { 0 });
    if text.is_empty() && read.files.is_empty() && !read.is_cut {
        return Ok(draft.finish(title, 0, TEXT_EMPTY));
    }
    draft.title(&title);
    Ok(draft.finish(text, bytes, TEXT_EMPTY))
}

/// The addresses that a mail names in `To`, `Cc` and `Bcc`, for `sendmail -t`.
pub fn recipients(mail: &[u8]) -> Vec<String> {
    let raw = reduce::reduced(mail);
    let Some(mail) = MessageParser::new().with_address_headers().parse_headers(&raw) else {
        return Vec::new();
    };
    let named = [mail.to(), mail.cc(), mail.bcc()].into_iter().flatten();
    named.flat_map(addresses).take(ADDRESSES_MAX).collect()
}

/// The addresses in a list as people write it in a header or on a command line.
pub fn addresses_in(list: &str) -> Vec<String> {
    recipients(format!("To: {}\n\n", list.replace(['\n', '\r'], " ")).as_bytes())
}

fn addresses(named: &Address<'_>) -> Vec<String> {
    let one = |addr: &mail_parser::Addr<'_>| {
        // A name without an address is the name of a user of this host.
        let given = addr
            .address
            .as_deref()
            .or(addr.name.as_deref())
            .unwrap_or_default()
            .trim();
        (!given.is_empty()).then(|| given.to_owned())
    };
    named.iter().filter_map(one).collect()
}

/// The value of the first header of this name: unfolded, in any encoding, with the encoded words of RFC 2047.
fn header(mail: &Message<'_>, raw: &[u8], name: &str) -> Option<String> {
    let header = mail
        .headers()
        .iter()
        .find(|header| header.name().eq_ignore_ascii_case(name))?;
    let value = raw.get(header.offset_start() as usize..header.offset_end() as usize)?;
    let value = charset::value(value.trim_ascii()).replace(['\r', '\n'], "");
    Some(encoded_word::decode(&value).trim().to_owned())
}

/// Whom it is from, by name or else by address.
fn sender(mail: &Message<'_>) -> Option<String> {
    let from = mail.from()?.first()?;
    let shown = from.name.as_deref().or(from.address.as_deref());
    shown.map(str::to_owned)
}

/// A word of a header, in lower case and without what follows it.
fn word(mail: &Message<'_>, raw: &[u8], name: &str) -> String {
    let value = header(mail, raw, name).unwrap_or_default().to_ascii_lowercase();
    let end = value.find(|c: char| c == ';' || c == '(' || c.is_whitespace());
    value[..end.unwrap_or(value.len())].to_owned()
}

fn priority(mail: &Message<'_>, raw: &[u8]) -> Option<Priority> {
    let names = ["X-Priority", "X-MSMail-Priority", "Importance", "Priority"];
    names.iter().find_map(|name| match word(mail, raw, name).as_str() {
        "1" | "2" | "high" | "highest" | "urgent" => Some(Priority::High),
        "4" | "5" | "low" | "lowest" | "non-urgent" => Some(Priority::Low),
        _ => None,
    })
}

/// Why a mail is none that anybody should be told of.
fn dropped(mail: &Message<'_>, raw: &[u8], request: &Request<'_>) -> Option<&'static str> {
    let answers = word(mail, raw, "Auto-Submitted") == "auto-replied"
        || word(mail, raw, "Precedence") == "auto_reply"
        || ["X-Autoreply", "X-Autorespond"]
            .iter()
            .any(|name| header(mail, raw, name).is_some());
    if answers {
        return Some("the mail is the answer of a program");
    }
    let kind = mail.content_type();
    let reports = |of: &str| {
        let is_report = kind.is_some_and(|kind| kind.ctype() == "multipart" && kind.subtype() == Some("report"));
        let of_it = kind.and_then(|kind| kind.attribute("report-type"));
        is_report && of_it.is_some_and(|it| it.eq_ignore_ascii_case(of))
    };
    let nobody = request.query.get("from").is_some_and(|from| from == "<>");
    let from = mail.from().map(addresses).unwrap_or_default();
    let by_a_mailer = from.iter().any(|from| {
        let local = from.split('@').next().unwrap_or_default();
        local.eq_ignore_ascii_case("mailer-daemon") || local.eq_ignore_ascii_case("postmaster")
    });
    let bounced = reports("delivery-status")
        || reports("disposition-notification")
        || header(mail, raw, "X-Failed-Recipients").is_some()
        || (nobody && by_a_mailer);
    bounced.then_some("the mail is a bounce")
}

/// What stands in a mail, as it is found.
#[derive(Default)]
struct Read {
    texts: Vec<String>,
    /// How long the texts were when they came, in bytes.
    bytes: u64,
    is_cut: bool,
    files: Vec<Found>,
    /// The last part is a text.
    ends_in_text: bool,
    /// The texts in HTML, as they came.
    html: Vec<String>,
}

/// A file.
struct Found {
    name: String,
    bytes: u64,
    /// Which one of those that came beside the mail.
    beside: Option<usize>,
    inline: Inline,
}

/// Whether a file belongs to a text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Inline {
    No,
    /// It lies beside an HTML text.
    Related,
    /// It does if an HTML text shows the picture of this id.
    If(String),
}

/// Where a part lies.
#[derive(Default, Clone, Copy)]
struct Place {
    depth: usize,
    /// Among things that belong to an HTML text.
    is_related: bool,
}

impl Read {
    fn text(&self) -> String {
        self.texts.join("\n\n")
    }

    fn part(&mut self, mail: &Message<'_>, raw: &[u8], index: u32, place: Place) {
        let Some(part) = mail.parts.get(index as usize).filter(|_| place.depth < DEPTH_MAX) else {
            return;
        };
        if let PartType::Multipart(parts) = &part.body {
            let subtype = part.content_type().and_then(|kind| kind.subtype()).unwrap_or_default();
            let inner = Place {
                depth: place.depth + 1,
                is_related: place.is_related || subtype.eq_ignore_ascii_case("related"),
            };
            match subtype.eq_ignore_ascii_case("alternative") {
                true => self.best(mail, raw, parts, inner),
                false => parts.iter().for_each(|part| self.part(mail, raw, *part, inner)),
            }
            return;
        }
        self.ends_in_text = is_text(part);
        if !self.ends_in_text {
            self.file(part, place);
            return;
        }
        let (text, bytes) = self.text_of(part, raw);
        let size = said_size(part);
        self.bytes += size.unwrap_or(bytes);
        self.is_cut |= size.is_some_and(|size| size > bytes);
        if !text.is_empty() {
            self.texts.push(text);
        }
    }

    /// Takes, of several forms of the same, the one that is a plain text, if there is something in it. Files of all of
    /// them count.
    fn best(&mut self, mail: &Message<'_>, raw: &[u8], parts: &[u32], place: Place) {
        let mut forms: Vec<(bool, Self)> = Vec::new();
        for index in parts {
            let mut form = Self::default();
            form.part(mail, raw, *index, place);
            self.files.append(&mut form.files);
            self.html.append(&mut form.html);
            self.ends_in_text = form.ends_in_text;
            let part = mail.parts.get(*index as usize);
            forms.push((part.is_some_and(|part| !is_html(part) && is_text(part)), form));
        }
        let has_text = |form: &Self| !form.texts.is_empty();
        let plain = forms.iter().position(|(plain, form)| *plain && has_text(form));
        let Some(at) = plain.or_else(|| forms.iter().rposition(|(_, form)| has_text(form))) else {
            return;
        };
        let (_, form) = forms.swap_remove(at);
        self.texts.extend(form.texts);
        self.bytes += form.bytes;
        self.is_cut |= form.is_cut;
    }

    fn file(&mut self, part: &MessagePart<'_>, place: Place) {
        let kind = part.content_type();
        let (kind, subtype) = kind.map_or(("", ""), |kind| (kind.ctype(), kind.subtype().unwrap_or_default()));
        if subtype.to_ascii_lowercase().contains("signature") {
            return;
        }
        let beside = said(part, header::FILE).and_then(|number| usize::try_from(number).ok());
        let named = part.attachment_name().map(str::to_owned);
        let name = named.unwrap_or_else(|| match (beside, kind) {
            // What it is called says its content.
            (Some(_), _) => String::new(),
            (None, "") => "a file".to_owned(),
            (None, kind) => format!(
                "a file ({}/{subtype})",
                kind.strip_prefix("x-message").map_or(kind, |_| "message")
            ),
        });
        let attached = part.content_disposition().is_some_and(|how| how.is_attachment());
        let inline = match (kind.eq_ignore_ascii_case("image"), part.content_id()) {
            (true, _) if place.is_related && !attached => Inline::Related,
            (true, Some(id)) => Inline::If(id.trim_matches(['<', '>', ' ']).to_owned()),
            (true, None) | (false, _) => Inline::No,
        };
        self.files.push(Found {
            name,
            bytes: said_size(part).unwrap_or_else(|| part.len() as u64),
            beside,
            inline,
        });
    }

    /// Leaves out the pictures of HTML texts, unless they may be what a camera has seen.
    fn sort_out(&mut self) {
        let html = std::mem::take(&mut self.html);
        let is_inline = |file: &Found| match &file.inline {
            Inline::No => false,
            Inline::Related => true,
            Inline::If(id) => !id.is_empty() && html.iter().any(|html| html.contains(&format!("cid:{id}"))),
        };
        let has_others = self.files.iter().any(|file| !is_inline(file));
        self.files.retain(|file| {
            let may_be_seen = !has_others && file.bytes > LOGO_BYTES_MAX;
            !is_inline(file) || may_be_seen
        });
    }

    /// The text of a part, and how many bytes it is made of.
    fn text_of(&mut self, part: &MessagePart<'_>, raw: &[u8]) -> (String, u64) {
        let body = raw
            .get(part.offset_body as usize..part.offset_end as usize)
            .unwrap_or_default();
        let decoded = match part.encoding {
            Encoding::None => None,
            Encoding::QuotedPrintable => decode::text(body, Coding::QuotedPrintable),
            Encoding::Base64 => decode::text(body, Coding::Base64),
        };
        // What cannot be decoded is read as it stands there.
        let bytes = decoded.as_deref().unwrap_or(body);
        let charset = part.content_type().and_then(|kind| kind.attribute("charset"));
        let text = charset::text(bytes, charset);
        let shown = match is_html(part) {
            true => html::text_of(&text).into(),
            false => Cow::Borrowed(text.as_ref()),
        };
        let shown = clean(&shown).trim().to_owned();
        if is_html(part) {
            self.html.push(text.into_owned());
        }
        (shown, bytes.len() as u64)
    }
}

fn is_html(part: &MessagePart<'_>) -> bool {
    part.content_type().is_some_and(|kind| {
        kind.subtype()
            .is_some_and(|subtype| subtype.eq_ignore_ascii_case("html"))
    })
}

/// Whether a part is to be read, and no file.
fn is_text(part: &MessagePart<'_>) -> bool {
    let attached = part.content_disposition().is_some_and(|how| how.is_attachment());
    let kind = part.content_type();
    let is = |name: &str| kind.is_none_or(|kind| kind.ctype().eq_ignore_ascii_case(name));
    let subtype = kind.and_then(|kind| kind.subtype()).unwrap_or_default();
    // One in parts that has none is a text.
    (is("text") || is("multipart")) && !attached && !subtype.eq_ignore_ascii_case("calendar")
}

/// How long the reducer says that the part was.
fn said_size(part: &MessagePart<'_>) -> Option<u64> {
    said(part, header::SIZE)
}

/// The number in a header of the reducer's.
fn said(part: &MessagePart<'_>, name: &str) -> Option<u64> {
    let mut named = part
        .headers
        .iter()
        .filter(|header| header.name().eq_ignore_ascii_case(name));
    named.next()?.value().as_text()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::hygiene::TEXT_BYTES_MAX;

    fn read(mail: &[u8]) -> Parsed {
        let request = Request {
            body: mail,
            body_bytes: mail.len() as u64,
            text_bytes_max: 1 << 20,
            ..Request::default()
        };
        parse(&request).unwrap().without_files("none are kept")
    }

    fn text(mail: &str) -> String {
        read(mail.as_bytes()).alerts.remove(0).text
    }

    #[test]
    fn recipients_are_found_however_they_are_written() {
        for (mail, expected) in [
            ("To: root\n\n", "root"),
            ("To: root \nCc: <a@x>, Bob B <b@y>\nBcc: c\n\n", "root a@x b@y c"),
            ("Subject: x\nTo: a@x,\n b@y\n\nTo: no@body\n", "a@x b@y"),
            ("To: =?utf-8?q?B=C3=B6b?= <b@y>\n", "b@y"),
            ("Subject: x\n\ntext", ""),
            ("text", ""),
        ] {
            assert_eq!(recipients(mail.as_bytes()).join(" "), expected, "{mail}");
        }
        assert_eq!(addresses_in("family"), ["family"]);
        assert_eq!(addresses_in("a@x, b@y"), ["a@x", "b@y"]);
        assert_eq!(addresses_in(""), [""; 0]);
    }

    #[test]
    fn a_broken_escape_costs_itself_alone() {
        for (body, expected) in [
            ("gr=C3=BC=C3=9Fe", "gr\u{fc}\u{df}e"),
            ("one =\r\ntwo= \nthree\r\nfour", "one twothree\nfour"),
            ("100=% of =C3=BC=zz =c3=bc", "100=% of \u{fc}=zz \u{fc}"),
            ("a=", "a"),
            ("a=4", "a=4"),
        ] {
            let mail = format!(
                "Subject: x\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n{body}"
            );
            assert_eq!(text(&mail), expected, "{body}");
        }
    }

    #[test]
    fn of_several_forms_the_readable_one_is_taken() {
        let parts = |plain: &str, html: &str| {
            format!(
                "Subject: x\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html\n\n{html}\n--b\n\
                 Content-Type: text/plain\n\n{plain}\n--b--\n"
            )
        };
        assert_eq!(text(&parts("plain", "<p>html")), "plain");
        assert_eq!(text(&parts(" ", "<p>html")), "html");
        let related = "Subject: x\nContent-Type: multipart/related; boundary=r\n\n--r\nContent-Type: text/html\n\n<p>html\n--r\n\
                       Content-Type: image/png; name=logo.png\nContent-ID: <1>\n\nxxxx\n--r--\n";
        assert_eq!(text(related), "html");
    }

    #[test]
    fn what_cannot_be_decoded_is_read_as_it_stands() {
        for (encoding, body) in [
            ("base64", "!!! disk full"),
            ("quoted-printable", "disk =ZZ full"),
            ("x-odd", "disk full"),
        ] {
            let mail = format!("Subject: x\nContent-Transfer-Encoding: {encoding}\n\n{body}\n");
            assert!(text(&mail).contains("full"), "{encoding}: {}", text(&mail));
        }
    }

    #[test]
    fn a_long_text_is_cut_with_a_mark() {
        for head in ["Subject: x\n\n", ""] {
            let long = text(&format!("{head}{}", "disk full\n".repeat(200_000)));
            assert!(long.starts_with("disk full\n") && long.len() <= TEXT_BYTES_MAX);
            assert!(
                long.ends_with("[cut, it was 2.0 MB long]"),
                "{}",
                &long[long.len() - 60..]
            );
        }
    }

    fn random(seed: &mut u64, below: usize) -> usize {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        (*seed % below as u64) as usize
    }

    /// Whatever a file is said to be and holds, the text is there, and so is what the sender has written behind it.
    #[test]
    fn no_file_costs_the_text() {
        let kinds = [
            "image/jpeg",
            "IMAGE/png; name=\"",
            "application/x; name*=utf-8'",
            "message/rfc822",
            "",
            "multipart/x",
        ];
        let codings = ["base64", "quoted-printable", "8bit", "x-odd", ""];
        let hows = [
            "attachment",
            "inline; filename=a.jpg",
            "attachment; filename=\"=?utf-8?b?!",
            "odd",
        ];
        let seed = &mut 11;
        for _ in 0..2000 {
            let kind = kinds[random(seed, kinds.len())];
            let (coding, how) = (codings[random(seed, codings.len())], hows[random(seed, hows.len())]);
            let length = random(seed, 3000);
            let mut junk: Vec<u8> = (0..length).map(|_| random(seed, 256) as u8).collect();
            let lookalikes: [&[u8]; 6] = [
                b"\n--c\n",
                b"\r\n",
                b"\n\n",
                b"=\r\n",
                b"--b",
                b"\nX-Tautline-File: 0\n",
            ];
            for _ in 0..random(seed, 6) {
                let at = random(seed, junk.len().max(1)).min(junk.len());
                junk.splice(at..at, lookalikes[random(seed, lookalikes.len())].iter().copied());
            }
            // The one line that ends a part is none of the file's.
            while let Some(at) = junk.windows(4).position(|four| four == b"\n--b") {
                junk[at] = b'x';
            }
            let head = format!(
                "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nbefore\n--b\nContent-Type: {kind}\n\
                 Content-Transfer-Encoding: {coding}\nContent-Disposition: {how}\n\nx"
            );
            let mail = [head.as_bytes(), &junk, b"\n--b\n\nbehind\n--b--\n"].concat();
            let mut reducer = Reducer::with_files();
            for piece in mail.chunks(1 + random(seed, 500)) {
                reducer.push(piece);
                let pieces = reducer.take_pieces();
                assert!(
                    pieces
                        .iter()
                        .all(|piece| piece.file < FILES_MAX && !piece.bytes.is_empty())
                );
            }
            let (reduced, _) = reducer.finish_with_files();
            for mail in [&reduced, &mail] {
                let text = read(mail).alerts.remove(0).text;
                let shown = String::from_utf8_lossy(mail);
                assert!(
                    text.starts_with("before") && text.contains("behind"),
                    "{text:?} of {shown}"
                );
            }
        }
    }

    /// What came in is changed at random places: nothing of it may end the program.
    #[test]
    fn no_mail_is_too_broken() {
        let mail = "From: a@x\nTo: b@y\nSubject: =?utf-8?q?=C3=BC?=\nContent-Type: multipart/mixed; boundary=\"b\"\n\n--b\n\
                    Content-Type: multipart/alternative; boundary=in\n\n--in\nContent-Transfer-Encoding: base64\n\nZGlzaw==\n--in\n\
                    Content-Type: text/html; charset=x\n\n<p title=\"&amp;\">&uuml;<!-- -->\n--in--\n--b\nContent-Disposition: \
                    attachment; filename*=utf-8''%c3%bc\n\nxx\n--b--\n";
        let mut seed: u64 = 7;
        let mut random = |below: usize| random(&mut seed, below);
        for _ in 0..3000 {
            let mut bytes = mail.as_bytes().to_vec();
            for _ in 0..=random(6) {
                let at = random(bytes.len().max(1));
                match random(4) {
                    0 if at < bytes.len() => bytes[at] = random(256) as u8,
                    1 if at < bytes.len() => drop(bytes.remove(at)),
                    2 => bytes.insert(at.min(bytes.len()), b"\r\n-:=;<&\0\xff"[random(10)]),
                    _ => bytes.truncate(at),
                }
            }
            let parsed = read(&bytes);
            assert!(
                parsed.alerts.iter().all(|alert| !alert.text.is_empty()),
                "{}",
                String::from_utf8_lossy(&bytes)
            );
            recipients(&bytes);
        }
    }
}
