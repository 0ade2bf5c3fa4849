//! ntfy's plain form: the body is the message, everything else stands in headers or in the query.
//!
//! Names are case-insensitive. A header wins over the query, and an earlier alias over a later one, as in ntfy.
//!
//! | field | names | here |
//! |---|---|---|
//! | message | the body, else `x-message` `message` `m` | the text; in the latter three a literal `\n` is a newline |
//! | title | `x-title` `title` `t` | the title; RFC 2047 words are decoded, as in every header |
//! | priority | `x-priority` `priority` `prio` `p` | 1 to 5 or `min` `low` `default` `high` `max` `urgent` |
//! | tags | `x-tags` `tags` `tag` `ta` | comma separated |
//! | click | `x-click` `click` | a link on a line of its own |
//! | key (ours) | `idempotency-key` `x-key` `key` | the same key on the same route within a day is the same alert |
//! | markdown | `x-markdown` `markdown` `md` | accepted, sent as it is: WhatsApp's own marks are close to it |
//! | delay | `x-delay` `delay` `x-at` `at` `x-in` `in` | sent at once, and the text says when it was meant for |
//! | filename | `x-filename` `filename` `file` `f` | the body is a file: its text is sent, of anything else its name and size |
//! | attach | `x-attach` `attach` `a` | the link is sent in the text |
//! | email, call | `x-email` `x-e-mail` `email` `e-mail` `mail` `e`; `x-call` `call` | not done |
//! | actions, icon, cache, firebase, template, sequence id | | ignored: the alert is worth more than they are |
//!
//! Unlike ntfy, a body over 4096 bytes is a long text and no attachment. What is asked for and not done, cut or left
//! out becomes a warning in the answer; nothing but a text beyond all measure is refused.

use super::hygiene::{
    self, CLICK_CHARS_MAX, TAG_CHARS_MAX, TAGS_MAX, TEXT_BYTES_MAX, TITLE_CHARS_MAX, clean, one_line,
};
use super::{Alert, Parsed, Priority, charset, encoded_word, render};

/// What ntfy says when a message is empty.
const TEXT_EMPTY: &str = "triggered";
/// Characters of a value that is quoted in a warning or a note.
const QUOTED_CHARS_MAX: usize = 64;
/// Characters of a file's name in a note.
const FILENAME_CHARS_MAX: usize = 128;

const DELAY: &[&str] = &["x-delay", "delay", "x-at", "at", "x-in", "in"];
const ATTACH: &[&str] = &["x-attach", "attach", "a"];
const FILENAME: &[&str] = &["x-filename", "filename", "file", "f"];
const EMAIL: &[&str] = &["x-email", "x-e-mail", "email", "e-mail", "mail", "e"];
const CALL: &[&str] = &["x-call", "call"];

/// A publish request without its transport.
#[derive(Debug, Clone, Default)]
pub struct NtfyRequest<'a> {
    /// Names in any case, values decoded by [`charset::value`].
    pub headers: Vec<(&'a str, &'a str)>,
    /// Decoded.
    pub query: Vec<(&'a str, &'a str)>,
    /// The start of the body: all of it, or more than [`TEXT_BYTES_MAX`] of text.
    pub body: &'a [u8],
    /// The whole body's length in bytes.
    pub body_bytes: u64,
    /// A body that is a text and longer than this is refused, in bytes.
    pub text_bytes_max: u64,
}

/// Why a request is no alert. The text is one line for the sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NtfyError {
    #[error("the message is larger than {0} bytes: no text is as long as that")]
    TextTooLarge(u64),
}

impl NtfyError {
    /// ntfy's own number.
    pub fn code(&self) -> u32 {
        match self {
            Self::TextTooLarge(_) => 41301,
        }
    }

    /// The HTTP status.
    pub fn http(&self) -> u16 {
        match self {
            Self::TextTooLarge(_) => 413,
        }
    }
}

/// Reads an alert out of a publish request.
///
/// # Errors
/// The body is a text of a size that no text has.
pub fn parse(request: &NtfyRequest<'_>) -> Result<Parsed, NtfyError> {
    let mut reading = Reading::default();
    let mut alert = Alert {
        title: reading.title(request),
        text: String::new(),
        priority: reading.priority(request),
        tags: reading.tags(request),
        click: reading.click(request),
        key: reading.key(request),
    };
    let text = reading.text(request)?;
    reading.undone(request);
    alert.text = reading.finish(text, request, &alert);
    Ok(Parsed {
        alert,
        warnings: reading.warnings,
    })
}

/// A priority as senders write it; `None` if it is none.
pub fn priority(text: &str) -> Option<Priority> {
    Some(match text.trim().to_ascii_lowercase().as_str() {
        "1" | "min" => Priority::Min,
        "2" | "low" => Priority::Low,
        "3" | "default" | "" => Priority::Default,
        "4" | "high" => Priority::High,
        "5" | "max" | "urgent" => Priority::Max,
        _ => return None,
    })
}

/// One request being read: what is told to the sender, and what the person reads behind the text.
#[derive(Default)]
struct Reading {
    warnings: Vec<String>,
    /// Each becomes a line in brackets behind the text.
    notes: Vec<String>,
}

impl Reading {
    fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    fn title(&mut self, request: &NtfyRequest<'_>) -> String {
        let given = request.param(&["x-title", "title", "t"]).unwrap_or_default();
        let (title, cut) = hygiene::shortened(&given, TITLE_CHARS_MAX);
        if cut {
            self.warn(format!("the title was cut to {TITLE_CHARS_MAX} characters"));
        }
        title
    }

    fn priority(&mut self, request: &NtfyRequest<'_>) -> Priority {
        let given = request
            .param(&["x-priority", "priority", "prio", "p"])
            .unwrap_or_default();
        priority(&given).unwrap_or_else(|| {
            let given = quoted(&given);
            self.warn(format!(
                "the priority {given:?} is none of 1 to 5, min, low, default, high, max, urgent: default was taken"
            ));
            Priority::Default
        })
    }

    fn tags(&mut self, request: &NtfyRequest<'_>) -> Vec<String> {
        let list = request.param(&["x-tags", "tags", "tag", "ta"]).unwrap_or_default();
        let mut tags: Vec<String> = list.split(',').map(one_line).filter(|tag| !tag.is_empty()).collect();
        if tags.len() > TAGS_MAX {
            self.warn(format!("of {} tags {TAGS_MAX} were taken", tags.len()));
            tags.truncate(TAGS_MAX);
        }
        let mut any_cut = false;
        for tag in &mut tags {
            let (short, cut) = hygiene::shortened(tag, TAG_CHARS_MAX);
            *tag = short;
            any_cut |= cut;
        }
        if any_cut {
            self.warn(format!("a tag was cut to {TAG_CHARS_MAX} characters"));
        }
        tags
    }

    /// Half a link leads somewhere else: one that is too long is left out.
    fn click(&mut self, request: &NtfyRequest<'_>) -> Option<String> {
        let click = one_line(&request.param(&["x-click", "click"])?);
        if click.chars().nth(CLICK_CHARS_MAX).is_some() {
            self.warn(format!(
                "the link is longer than {CLICK_CHARS_MAX} characters and was left out"
            ));
            self.notes.push("a link was too long and is left out".into());
            return None;
        }
        Some(click).filter(|click| !click.is_empty())
    }

    fn key(&mut self, request: &NtfyRequest<'_>) -> Option<String> {
        let given = request.param(&["idempotency-key", "x-key", "key"])?;
        let key = hygiene::key(&given);
        if given.chars().nth(hygiene::KEY_CHARS_MAX).is_some() {
            self.warn("the key is long and is kept as its hash; it counts as any other");
        }
        Some(key).filter(|key| !key.is_empty())
    }

    /// The text before it is cut; empty when there is none.
    fn text(&mut self, request: &NtfyRequest<'_>) -> Result<String, NtfyError> {
        let message = request.param(&["x-message", "message", "m"]).unwrap_or_default();
        let message = clean(&message.replace("\\n", "\n")).trim().to_owned();
        let filename = request.param(FILENAME);
        let body = request.body_text();
        let size = hygiene::size(request.body_bytes);
        match (body, filename) {
            (Body::Empty, _) => Ok(message),
            (Body::Text(body), None) if request.body_bytes <= request.text_bytes_max => {
                Ok(if body.is_empty() { message } else { body })
            }
            (Body::Text(_), None) => Err(NtfyError::TextTooLarge(request.text_bytes_max)),
            // A file that can be read is part of what was said.
            (Body::Text(body), Some(name)) if request.body_bytes <= request.text_bytes_max => {
                let name = base_name(&name);
                self.warn(format!("attachments are not supported yet: {name:?} was sent as text"));
                let both = [message, body];
                let both: Vec<&str> = both
                    .iter()
                    .map(String::as_str)
                    .filter(|text| !text.is_empty())
                    .collect();
                Ok(both.join("\n"))
            }
            (Body::Text(_) | Body::Binary, name) => {
                let name = name.map(|name| base_name(&name)).unwrap_or_else(|| "a file".into());
                self.warn(format!(
                    "attachments are not supported yet: {name} ({size}) was left out"
                ));
                self.notes.push(format!("left out: {name}, {size}"));
                Ok(message)
            }
        }
    }

    /// What was asked for beside the text and is not done.
    fn undone(&mut self, request: &NtfyRequest<'_>) {
        if let Some(link) = request.param(ATTACH) {
            let (link, _) = hygiene::shortened(&link, CLICK_CHARS_MAX);
            self.warn("attachments are not supported yet: the link of it was sent in the text");
            self.notes.push(format!("attachment: {link}"));
        }
        if let Some(delay) = request.param(DELAY) {
            let delay = quoted(&delay);
            self.warn(format!(
                "delayed delivery is not supported yet: it is sent at once, not at {delay:?}"
            ));
            self.notes.push(format!("meant for later: {delay}"));
        }
        if request.param(EMAIL).is_some() {
            self.warn("e-mail notifications are not supported");
        }
        if request.param(CALL).is_some() {
            self.warn("phone calls are not supported");
        }
    }

    /// The text with its notes, cut so that the whole message fits.
    fn finish(&mut self, text: String, request: &NtfyRequest<'_>, alert: &Alert) -> String {
        let mut notes = String::new();
        for note in &self.notes {
            notes.push_str(&format!("\n[{note}]"));
        }
        if text.is_empty() && notes.is_empty() {
            return TEXT_EMPTY.to_owned();
        }
        let whole = hygiene::size(request.body_bytes.max(text.len() as u64));
        let bytes = TEXT_BYTES_MAX.saturating_sub(notes.len());
        // A note has at most as many units as bytes.
        let units = render::room(alert).saturating_sub(notes.len());
        let text = match hygiene::cut(&text, bytes, units, &format!("… [cut, it was {whole} long]")) {
            None => text,
            Some(cut) => {
                self.warn(format!(
                    "the message of {whole} was cut to {}",
                    hygiene::size(cut.len() as u64)
                ));
                cut
            }
        };
        format!("{text}{notes}").trim_start().to_owned()
    }
}

/// What a body is.
enum Body {
    Empty,
    /// Clean; empty if only white space came.
    Text(String),
    Binary,
}

impl NtfyRequest<'_> {
    fn body_text(&self) -> Body {
        if self.body.is_empty() {
            return Body::Empty;
        }
        let charset = value_of(&self.headers, "content-type").and_then(charset_of);
        let unicode = charset.is_some_and(|charset| charset.to_ascii_lowercase().contains("utf-16"));
        if !unicode && charset::is_binary(self.body) {
            return Body::Binary;
        }
        Body::Text(clean(&charset::text(self.body, charset)).trim().to_owned())
    }

    /// The first of these names that has a value: headers, then the query.
    fn param(&self, names: &[&str]) -> Option<String> {
        let header = names.iter().find_map(|name| self.header(name));
        header.or_else(|| {
            let mut found = names.iter().filter_map(|name| value_of(&self.query, name));
            found.find(|value| !value.is_empty()).map(str::to_owned)
        })
    }

    fn header(&self, name: &str) -> Option<String> {
        let value = value_of(&self.headers, name)?;
        // RFC 9218's `Priority: u=1, i` is about the transfer; browsers and proxies add it.
        if value.is_empty() || (name == "priority" && is_transfer_priority(value)) {
            return None;
        }
        Some(encoded_word::decode(value).trim().to_owned())
    }
}

/// The trimmed value of the first pair of this name.
fn value_of<'a>(pairs: &[(&'a str, &'a str)], name: &str) -> Option<&'a str> {
    let (_, value) = pairs.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(value.trim())
}

fn is_transfer_priority(value: &str) -> bool {
    value
        .split(',')
        .all(|item| matches!(item.trim(), "i") || item.trim().starts_with("u="))
}

/// The `charset` parameter of a content type.
fn charset_of(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then_some(value.trim())
    })
}

/// A file's name without where it was.
fn base_name(path: &str) -> String {
    let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
    let (name, _) = hygiene::shortened(name, FILENAME_CHARS_MAX);
    if name.is_empty() { "a file".into() } else { name }
}

fn quoted(value: &str) -> String {
    hygiene::shortened(value, QUOTED_CHARS_MAX).0
}

#[cfg(test)]
mod tests;
