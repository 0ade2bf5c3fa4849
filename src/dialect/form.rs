//! The fields of a body, in whatever form they came: JSON, a form, or a form of several parts; and behind them the
//! query.
//!
//! Senders label bodies as they like (`curl -d '{…}'` says that JSON is a form), so JSON is known by its first
//! character. What cannot be read as what it says it is, is a text: nothing is refused here.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::file::{File, Source};
use super::query;
use super::{Body, Request};
use crate::alert::charset;
use crate::alert::hygiene::{TOKEN_START, clean};

/// Parts of a form that are looked at.
const PARTS_MAX: usize = 64;
/// Fields that are written out where none of them is known.
const FIELDS_MAX: usize = 40;
/// How deep a place in JSON may be that is cut off and still read.
const DEPTH_MAX: usize = 64;

/// Why a file is not whole.
const CUT_OFF: &str = "it is too large for a form";

/// Senders leave the padding away, or do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A body as named values.
#[derive(Debug, Default)]
pub struct Form<'r> {
    fields: Map<String, Value>,
    /// The body where it is no form: its text, clean and trimmed.
    pub plain: Option<String>,
    /// Files that came in parts of the body; see [`files`](Self::files).
    files: Vec<File>,
    /// What could not be read, each in one line for the sender.
    pub faults: Vec<String>,
    /// The body is no text, and no form.
    pub is_binary: bool,
    /// The last text that could be read ends where what was kept of the body ends.
    pub ends_in_text: bool,
    query: Option<&'r super::Fields<'r>>,
}

impl<'r> Form<'r> {
    /// Reads what the request brought.
    pub fn read(request: &'r Request<'r>) -> Self {
        let mut form = Self {
            query: Some(&request.query),
            ..Self::default()
        };
        let media = request.content_type.unwrap_or_default();
        if request.is_multipart()
            && let Some(boundary) = parameter(media, "boundary")
        {
            form.read_parts(request, boundary);
            // A part that has neither a name nor a content is none: its head has no end, perhaps.
            let is_part = |(name, value): (&String, &Value)| !name.is_empty() || value.as_str() != Some("");
            if form.fields.iter().any(is_part) || !form.files.is_empty() {
                return form;
            }
            form.fields.clear();
            form.faults
                .push("the body is no form in parts: it was sent as it is".into());
        }
        let text = match request.read_body() {
            Body::Empty => return form,
            Body::Binary => {
                form.is_binary = true;
                return form;
            }
            Body::Text(text) => text,
        };
        if text.starts_with(['{', '[']) {
            form.read_json(text, request.is_in_part());
        } else if request.is_media("application/x-www-form-urlencoded") && text.contains('=') {
            let decoded = query::decode(request.body);
            form.faults.extend(decoded.faults);
            form.insert(decoded.pairs);
        } else {
            form.plain = Some(text).filter(|text| !text.is_empty());
            form.ends_in_text = request.is_in_part();
        }
        form
    }

    fn insert(&mut self, pairs: Vec<(String, String)>) {
        for (name, value) in pairs {
            // The first of a name counts, unless it is empty.
            if !value.is_empty() || !self.fields.contains_key(&name) {
                let old = self.fields.entry(name).or_insert(Value::Null);
                if old.as_str().unwrap_or_default().is_empty() {
                    *old = Value::String(value);
                }
            }
        }
        // Senders put a whole JSON into a field: Uptime Kuma calls it `data`, Discord and Slack `payload`.
        for wrapper in ["data", "payload_json", "payload"] {
            let wrapped = self.fields.get(wrapper).and_then(Value::as_str);
            if let Some(Ok(Value::Object(inner))) = wrapped.map(serde_json::from_str) {
                self.fields.remove(wrapper);
                for (name, value) in inner {
                    self.fields.entry(name).or_insert(value);
                }
            }
        }
    }

    fn read_json(&mut self, text: String, is_cut_off: bool) {
        let read = serde_json::from_str(&text).or_else(|error| match is_cut_off.then(|| completed(&text)).flatten() {
            Some(value) => {
                self.faults.push("the body is so long that its end was not read".into());
                Ok(value)
            }
            None => Err(error),
        });
        match read {
            Ok(Value::Object(fields)) => self.fields = fields,
            Ok(other) => {
                self.fields.insert(LIST.into(), other);
            }
            Err(error) => {
                let at = format!("line {}, column {}", error.line(), error.column());
                self.faults.push(format!(
                    "the body looks like JSON and is none ({at}): it was sent as it is"
                ));
                self.plain = Some(text);
            }
        }
    }

    /// RFC 7578, as far as senders speak it.
    fn read_parts(&mut self, request: &Request<'_>, boundary: &str) {
        let mut pairs = Vec::new();
        let left_out = request.body_bytes - (request.body.len() as u64).min(request.body_bytes);
        for part in parts(request.body, boundary).take(PARTS_MAX) {
            let is_cut_off = !part.is_closed && left_out > 0;
            let header = |name: &str| part.header(name);
            let disposition = header("content-disposition").unwrap_or_default();
            let name = parameter(&disposition, "name").unwrap_or_default();
            match parameter(&disposition, "filename") {
                Some(file) => self.files.push(File {
                    name: file.to_owned(),
                    // The rest of the body is nearly all this file's.
                    bytes: Some(part.body.len() as u64 + if is_cut_off { left_out } else { 0 }),
                    source: match is_cut_off {
                        true => Source::Missing(CUT_OFF),
                        false => Source::Part(place(request.body, part.body)),
                    },
                }),
                None => {
                    self.ends_in_text |= is_cut_off;
                    let kind = header("content-type");
                    let text = charset::text(part.body, kind.as_deref().and_then(|kind| parameter(kind, "charset")));
                    pairs.push((name.to_owned(), text.into_owned()));
                }
            }
        }
        self.insert(pairs);
    }

    /// The files that came: in parts of the body, or in its JSON as base64 or as links.
    pub fn files(&self) -> Vec<File> {
        let mut files = self.files.clone();
        let list = self.fields.get("attachments").and_then(Value::as_array);
        let single = ["attachment", "file"]
            .into_iter()
            .filter_map(|name| self.fields.get(name));
        let objects = list
            .into_iter()
            .flatten()
            .chain(single)
            .filter(|value| value.is_object());
        files.extend(objects.filter_map(file_of).take(PARTS_MAX));
        if let Some(base64) = self.fields.get("attachment_base64").and_then(Value::as_str) {
            files.push(decoded("", base64));
        }
        files
    }

    /// What is the text where a dialect has found none: the body that is no form, or one of the usual names.
    pub fn other_text(&self) -> Option<String> {
        self.plain.clone().or_else(|| self.text(USUAL_TEXT))
    }

    /// Whether there is no field at all in the body.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The value at a path of names, `a.b.c`; `null`, empty texts and empty lists are none.
    pub fn value(&self, path: &str) -> Option<&Value> {
        at(&self.fields, path)
    }

    /// All fields, one a line, for a request in which no name is known; what lies deeper is written as JSON. Left out
    /// are tokens of ours, and what stands under a name of `SAYS_NO_TEXT`.
    pub fn everything(&self) -> String {
        let asked = self.query.into_iter().flat_map(|query| query.iter());
        let asked = asked.filter(|(name, _)| !self.fields.contains_key(*name));
        let asked = asked.map(|(name, value)| (name, Cow::Owned(Value::String(value.to_owned()))));
        let fields = self
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), Cow::Borrowed(value)));
        let mut lines = Vec::new();
        let mut more = 0;
        for (name, value) in fields.chain(asked) {
            let is_text = !SAYS_NO_TEXT.iter().any(|known| known.eq_ignore_ascii_case(name));
            let Some(value) = text_of(&value).filter(|_| is_text) else {
                continue;
            };
            // A token that a sender has put there is for us, and for nobody's phone.
            if value.starts_with(TOKEN_START) {
                continue;
            }
            if lines.len() == FIELDS_MAX {
                more += 1;
                continue;
            }
            lines.push(if name.is_empty() {
                value
            } else {
                format!("{name}: {value}")
            });
        }
        if more > 0 {
            lines.push(format!("and {more} more fields"));
        }
        lines.join("\n")
    }

    /// The list that the whole body is, or that stands under this name.
    pub fn list(&self, name: &str) -> &[Value] {
        let list = self.fields.get(LIST).or_else(|| self.value(name));
        list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The text of the first of these that has one: in the body, then in the query.
    pub fn text(&self, paths: &[&str]) -> Option<String> {
        let body = paths.iter().find_map(|path| self.value(path).and_then(text_of));
        body.or_else(|| {
            let asked = self.query.and_then(|query| query.first(paths));
            asked.map(|text| clean(text).trim().to_owned())
        })
        .filter(|text| !text.is_empty())
    }
}

/// What senders call the text.
pub const USUAL_TEXT: &[&str] = &[
    "message",
    "text",
    "body",
    "msg",
    "content",
    "description",
    "details",
    "value",
];

/// Names under which no text stands in any dialect, and secrets.
const SAYS_NO_TEXT: &[&str] = &[
    "title",
    "subject",
    "summary",
    "heading",
    "username",
    "name",
    "priority",
    "prio",
    "tags",
    "tag",
    "click",
    "url",
    "link",
    "href",
    "key",
    "idempotency_key",
    "dedup_key",
    "ttl",
    "token",
    "auth",
    "user",
    "icon",
    "icon_url",
    "icon_emoji",
    "avatar_url",
    "channel",
    "tts",
    "format",
    "sound",
    "device",
    "retry",
    "expire",
    "extras",
    "version",
    "severity",
    "level",
    "topic",
    "actions",
    "attach",
    "delay",
    "email",
    "call",
    "filename",
    "markdown",
    "sequence_id",
    "cache",
    "firebase",
    "session",
    "chatId",
];

/// The name under which a body that is a list, or a single value, is kept.
const LIST: &str = "";

/// The value at a path of names, `a.b.c`, if there is something in it.
pub fn at<'v>(fields: &'v Map<String, Value>, path: &str) -> Option<&'v Value> {
    let mut names = path.split('.');
    let mut value = fields.get(names.next()?)?;
    for name in names {
        value = match (value, name.parse::<usize>()) {
            (Value::Array(list), Ok(index)) => list.get(index)?,
            (value, _) => value.get(name)?,
        };
    }
    let is_something = match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    };
    is_something.then_some(value)
}

/// A value as a text for people, clean: what is no text is written as JSON.
pub fn text_of(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => Cow::Borrowed(text.as_str()),
        Value::Array(list) if list.iter().all(Value::is_string) => {
            let texts: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
            texts.join(", ").into()
        }
        other => other.to_string().into(),
    };
    Some(clean(&text).trim().to_owned()).filter(|text| !text.is_empty())
}

/// A parameter of a header's value, without its quotes: RFC 2231's forms are left as they are.
fn parameter<'v>(value: &'v str, name: &str) -> Option<&'v str> {
    let mut rest = value;
    loop {
        let (_, behind) = rest.split_once(';')?;
        let (given, after) = behind.split_once('=')?;
        // A parameter without a value, as in `a; b; c=d`.
        let given = given.rsplit(';').next().unwrap_or_default().trim();
        let (found, next) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim(), &after[end..])
            }
        };
        if given.eq_ignore_ascii_case(name) {
            return Some(found);
        }
        rest = next;
    }
}

/// The file that an object in JSON is, as Apprise and its kin write it: a name, and base64 or a link.
fn file_of(value: &Value) -> Option<File> {
    let text = |names: &[&str]| names.iter().find_map(|name| value.get(name).and_then(Value::as_str));
    let name = text(&["filename", "fileName", "name"]).unwrap_or_default();
    if let Some(base64) = text(&["base64", "data"]) {
        return Some(decoded(name, base64));
    }
    let link = text(&["url", "href"]).filter(|link| link.starts_with("http://") || link.starts_with("https://"))?;
    Some(File {
        name: name.to_owned(),
        bytes: None,
        source: Source::Link(link.to_owned()),
    })
}

/// A file in base64, with or without its padding, line ends and the head of a `data:` address.
pub(super) fn decoded(name: &str, base64: &str) -> File {
    let digits = match base64.starts_with("data:") {
        true => base64.split_once(',').map_or("", |(_, digits)| digits),
        false => base64,
    };
    let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let bytes = BASE64.decode(digits.trim_ascii_end()).ok();
    File {
        name: name.to_owned(),
        bytes: Some(
            bytes
                .as_ref()
                .map_or(digits.len() as u64 / 4 * 3, |bytes| bytes.len() as u64),
        ),
        source: bytes.map_or(Source::Missing("its base64 cannot be read"), Source::Bytes),
    }
}

/// Where `part`, a piece of `body`, lies in it.
fn place(body: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize)
        .saturating_sub(body.as_ptr() as usize)
        .min(body.len());
    start..(start + part.len()).min(body.len())
}

struct Part<'b> {
    head: &'b [u8],
    body: &'b [u8],
    /// A boundary follows.
    is_closed: bool,
}

impl Part<'_> {
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        let lines = self.head.split(|byte| *byte == b'\n');
        let mut named = lines.filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            line[..colon]
                .trim_ascii()
                .eq_ignore_ascii_case(name.as_bytes())
                .then(|| charset::value(line[colon + 1..].trim_ascii()))
        });
        named.next()
    }
}

/// The parts of a body between its boundaries. The last may be cut off.
fn parts<'b>(body: &'b [u8], boundary: &str) -> impl Iterator<Item = Part<'b>> {
    let delimiter = format!("--{boundary}");
    let mut rest = find(body, delimiter.as_bytes()).map(|at| &body[at + delimiter.len()..]);
    std::iter::from_fn(move || {
        let here = rest.take()?;
        if here.starts_with(b"--") {
            return None;
        }
        let (part, next): (&[u8], Option<&[u8]>) = match find(here, delimiter.as_bytes()) {
            Some(at) => (&here[..at], Some(&here[at + delimiter.len()..])),
            None => (here, None),
        };
        rest = next;
        let part = after_line(part);
        let (head, body) = split_head(part);
        let body = body.strip_suffix(b"\n").unwrap_or(body);
        let body = body.strip_suffix(b"\r").unwrap_or(body);
        let is_closed = rest.is_some();
        Some(Part { head, body, is_closed })
    })
}

/// Without the rest of the boundary's own line.
fn after_line(part: &[u8]) -> &[u8] {
    part.iter()
        .position(|byte| *byte == b'\n')
        .map_or(&[], |end| &part[end + 1..])
}

/// Head and body of a part. One without a head begins with an empty line.
fn split_head(part: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    for line in part.split_inclusive(|byte| *byte == b'\n') {
        if line.trim_ascii().is_empty() {
            return (&part[..at], &part[at + line.len()..]);
        }
        at += line.len();
    }
    (part, &[])
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// JSON of which only the beginning is there, up to the last value that is whole.
fn completed(text: &str) -> Option<Value> {
    let mut open = Vec::new();
    let mut in_string = false;
    let mut escaped = false;
    // Where it can be cut, and what closes it there.
    let mut cut: Option<(usize, Vec<char>)> = None;
    for (at, c) in text.char_indices() {
        if in_string {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match c {
            '"' => in_string = true,
            '{' | '[' => {
                open.push(if c == '{' { '}' } else { ']' });
                cut = (open.len() <= DEPTH_MAX).then(|| (at + 1, open.clone())).or(cut);
            }
            '}' | ']' => {
                open.pop();
                cut = (open.len() <= DEPTH_MAX).then(|| (at + 1, open.clone())).or(cut);
            }
            // Whatever stands before a comma is whole.
            ',' if open.len() <= DEPTH_MAX => cut = Some((at, open.clone())),
            _ => {}
        }
    }
    let (end, open) = cut?;
    let closing: String = open.iter().rev().collect();
    serde_json::from_str(&format!("{}{closing}", &text[..end])).ok()
}

#[cfg(test)]
mod tests;
