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
//! | delay | `x-delay` `delay` `x-at` `at` `x-in` `in` | refused: it says *when*, and now would be wrong |
//! | attach, filename | `x-attach` `attach` `a`; `x-filename` `filename` `file` `f` | refused: no attachments yet |
//! | email, call | `x-email` `x-e-mail` `email` `e-mail` `mail` `e`; `x-call` `call` | refused, as ntfy does without them |
//! | actions, icon, cache, firebase, template, sequence id | | ignored: the alert is worth more than they are |
//!
//! Unlike ntfy, a body over 4096 bytes is a long text and no attachment.

use super::{Alert, Priority, encoded_word};

/// Limits of the fields: characters, and for the text bytes. WhatsApp takes 65 536 characters in all.
const TITLE_CHARS_MAX: usize = 1024;
const TAGS_MAX: usize = 32;
const TAG_CHARS_MAX: usize = 64;
const CLICK_CHARS_MAX: usize = 2048;
const KEY_CHARS_MAX: usize = 256;
/// Largest text of an alert, in bytes.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// What ntfy says when a message is empty.
const TEXT_EMPTY: &str = "triggered";

const DELAY: &[&str] = &["x-delay", "delay", "x-at", "at", "x-in", "in"];
const ATTACH: &[&str] = &["x-attach", "attach", "a", "x-filename", "filename", "file", "f"];
const EMAIL: &[&str] = &["x-email", "x-e-mail", "email", "e-mail", "mail", "e"];
const CALL: &[&str] = &["x-call", "call"];

/// A publish request without its transport.
#[derive(Debug, Clone, Default)]
pub struct NtfyRequest<'a> {
    /// Names in any case, values as they came.
    pub headers: Vec<(&'a str, &'a str)>,
    /// Decoded.
    pub query: Vec<(&'a str, &'a str)>,
    pub body: &'a [u8],
}

/// Why a request is no alert. The text is one line for the sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NtfyError {
    #[error("invalid request: priority {0:?} invalid, use 1 to 5 or min, low, default, high, max, urgent")]
    Priority(String),
    #[error("invalid message: the body must be UTF-8 text, attachments are not supported yet")]
    NotUtf8,
    #[error("invalid request: delayed delivery is not supported yet, send it when it is due")]
    Delay,
    #[error("invalid request: attachments are not supported yet, send text only")]
    Attachment,
    #[error("invalid request: e-mail notifications are not supported")]
    Email,
    #[error("invalid request: phone calls are not supported")]
    Call,
    #[error("invalid request: {field} too long, at most {max} {unit}")]
    TooLong {
        field: &'static str,
        max: usize,
        unit: &'static str,
    },
    #[error("message too large, at most {TEXT_BYTES_MAX} bytes")]
    TextTooLarge,
}

impl NtfyError {
    /// ntfy's own number where it has one, else the HTTP status followed by 00.
    pub fn code(&self) -> u32 {
        match self {
            Self::Email => 40001,
            Self::Delay => 40004,
            Self::Priority(_) => 40007,
            Self::NotUtf8 => 40011,
            Self::Attachment => 40014,
            Self::Call => 40032,
            Self::TooLong { .. } => 40000,
            Self::TextTooLarge => 41301,
        }
    }

    /// The HTTP status.
    pub fn http(&self) -> u16 {
        match self {
            Self::TextTooLarge => 413,
            Self::Email
            | Self::Delay
            | Self::Priority(_)
            | Self::NotUtf8
            | Self::Attachment
            | Self::Call
            | Self::TooLong { .. } => 400,
        }
    }
}

/// Reads an alert out of a publish request.
///
/// # Errors
/// A field has no meaning as it stands, is over its limit, or asks for what would change when or whether the alert
/// arrives.
pub fn parse(request: &NtfyRequest<'_>) -> Result<Alert, NtfyError> {
    for (names, refusal) in [
        (DELAY, NtfyError::Delay),
        (ATTACH, NtfyError::Attachment),
        (EMAIL, NtfyError::Email),
        (CALL, NtfyError::Call),
    ] {
        if request.param(names).is_some() {
            return Err(refusal);
        }
    }
    let title = one_line(&request.param(&["x-title", "title", "t"]).unwrap_or_default());
    let click = request.param(&["x-click", "click"]).map(|click| one_line(&click));
    let key = request
        .param(&["idempotency-key", "x-key", "key"])
        .map(|key| one_line(&key));
    limit("title", &title, TITLE_CHARS_MAX)?;
    limit("click", click.as_deref().unwrap_or_default(), CLICK_CHARS_MAX)?;
    limit("key", key.as_deref().unwrap_or_default(), KEY_CHARS_MAX)?;
    Ok(Alert {
        title,
        text: request.text()?,
        priority: request.priority()?,
        tags: request.tags()?,
        click: click.filter(|click| !click.is_empty()),
        key: key.filter(|key| !key.is_empty()),
    })
}

/// A priority as senders write it.
///
/// # Errors
/// It is none of 1 to 5, min, low, default, high, max, urgent.
pub fn priority(text: &str) -> Result<Priority, NtfyError> {
    Ok(match text.trim().to_ascii_lowercase().as_str() {
        "1" | "min" => Priority::Min,
        "2" | "low" => Priority::Low,
        "3" | "default" | "" => Priority::Default,
        "4" | "high" => Priority::High,
        "5" | "max" | "urgent" => Priority::Max,
        _ => return Err(NtfyError::Priority(one_line(text).chars().take(40).collect())),
    })
}

impl NtfyRequest<'_> {
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

    fn text(&self) -> Result<String, NtfyError> {
        let body = std::str::from_utf8(self.body).map_err(|_| NtfyError::NotUtf8)?;
        let mut text = clean(body).trim().to_owned();
        if text.is_empty() {
            let message = self.param(&["x-message", "message", "m"]).unwrap_or_default();
            text = clean(&message.replace("\\n", "\n")).trim().to_owned();
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(NtfyError::TextTooLarge);
        }
        Ok(if text.is_empty() { TEXT_EMPTY.to_owned() } else { text })
    }

    fn priority(&self) -> Result<Priority, NtfyError> {
        let value = self.param(&["x-priority", "priority", "prio", "p"]);
        priority(&value.unwrap_or_default())
    }

    fn tags(&self) -> Result<Vec<String>, NtfyError> {
        let list = self.param(&["x-tags", "tags", "tag", "ta"]).unwrap_or_default();
        let tags: Vec<String> = list.split(',').map(one_line).filter(|tag| !tag.is_empty()).collect();
        if tags.len() > TAGS_MAX {
            return Err(NtfyError::TooLong {
                field: "list of tags",
                max: TAGS_MAX,
                unit: "tags",
            });
        }
        for tag in &tags {
            limit("tag", tag, TAG_CHARS_MAX)?;
        }
        Ok(tags)
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

fn limit(field: &'static str, value: &str, max: usize) -> Result<(), NtfyError> {
    if value.chars().count() > max {
        return Err(NtfyError::TooLong {
            field,
            max,
            unit: "characters",
        });
    }
    Ok(())
}

/// Without control characters other than newline and tab: they would forge or hide what a person reads.
fn clean(text: &str) -> String {
    let kept = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
    text.replace("\r\n", "\n")
        .replace('\r', "\n")
        .chars()
        .filter(kept)
        .collect()
}

/// The same on one line.
fn one_line(text: &str) -> String {
    clean(text).replace(['\n', '\t'], " ").trim().to_owned()
}

#[cfg(test)]
mod tests;
