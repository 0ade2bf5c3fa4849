//! ntfy's plain form: the body is the message, everything else stands in headers or in the query.
//!
//! Names are case-insensitive. A header wins over the query, and an earlier alias over a later one, as in ntfy.
//!
//! | field | names | here |
//! |---|---|---|
//! | message | `x-message` `message` `m`, then the body | the text; in the first three a literal `\n` is a newline |
//! | title | `x-title` `title` `t` | the title; RFC 2047 words are decoded, as in every header |
//! | priority | `x-priority` `priority` `prio` `p` | 1 to 5 or `min` `low` `default` `high` `max` `urgent` |
//! | tags | `x-tags` `tags` `tag` `ta` | comma separated |
//! | click | `x-click` `click` | a link on a line of its own |
//! | key (ours) | `idempotency-key` `x-key` `key` | the same key on the same route within a day is the same alert |
//! | time to live (ours) | `x-ttl` `ttl` | what is not sent within `90` (seconds), `10m` or `24h` expires |
//! | markdown | `x-markdown` `markdown` `md`, or the type `text/markdown` | the text is Markdown, and shown with WhatsApp's marks |
//! | delay | `x-delay` `delay` `x-at` `at` `x-in` `in` | it goes out after a time like `30m`, or at a Unix time, within 3 days; of words like `tomorrow, 7am` the text says that it was meant for later |
//! | filename | `x-filename` `filename` `file` `f` | the body is a file of this name: it is attached, and a text is part of the message |
//! | attach | `x-attach` `attach` `a` | a link to a file: it is attached where the configuration allows to fetch it, else sent in the text |
//! | email, call | `x-email` `x-e-mail` `email` `e-mail` `mail` `e`; `x-call` `call` | not done |
//! | sequence id | `x-sequence-id` `sequence-id` `sid` | what the same thing is called each time |
//! | template | `x-template` `template` `tpl` | `yes`: message, title, priority, tags, click and sequence id are [templates](super::template) over the JSON in the body; `github`, `grafana`, `alertmanager`: it is read as theirs |
//! | actions, icon, cache, firebase | | ignored: the alert is worth more than they are |
//!
//! A message in a header and one in the body are both sent. A form in parts (`curl -F`) is read by the names of the
//! query. Unlike ntfy, a body over 4096 bytes is a long text and no attachment. What is asked for and not done, cut or
//! left out becomes a warning in the answer; nothing but a text beyond all measure is refused.

use super::draft::quoted;
use super::file::Source;
use super::form::Form;
use super::{Body, Draft, Fields, Parsed, Rejection, RejectionKind, Request, alertmanager, github, grafana, template};
use crate::alert::hygiene::{self, clean};

/// What ntfy says when a message is empty.
const TEXT_EMPTY: &str = "triggered";
/// Characters of a file's name in a note.
const FILENAME_CHARS_MAX: usize = 128;

const MESSAGE: &[&str] = &["x-message", "message", "m"];
const TITLE: &[&str] = &["x-title", "title", "t"];
const PRIORITY: &[&str] = &["x-priority", "priority", "prio", "p"];
const TAGS: &[&str] = &["x-tags", "tags", "tag", "ta"];
const CLICK: &[&str] = &["x-click", "click"];
const KEY: &[&str] = &["idempotency-key", "x-key", "key"];
const TTL: &[&str] = &["x-ttl", "ttl"];
const SEQUENCE: &[&str] = &["x-sequence-id", "sequence-id", "sid"];
const DELAY: &[&str] = &["x-delay", "delay", "x-at", "at", "x-in", "in"];
const ATTACH: &[&str] = &["x-attach", "attach", "a"];
const FILENAME: &[&str] = &["x-filename", "filename", "file", "f"];
const EMAIL: &[&str] = &["x-email", "x-e-mail", "email", "e-mail", "mail", "e"];
const TEMPLATE: &[&str] = &["x-template", "template", "tpl"];
const MARKDOWN: &[&str] = &["x-markdown", "markdown", "md"];
const CALL: &[&str] = &["x-call", "call"];

/// Reads an alert out of a publish request.
///
/// # Errors
/// The body is a text of a size that no text has.
pub fn parse(request: &Request<'_>) -> Result<Parsed, Rejection> {
    if request.is_multipart() {
        return Ok(parse_parts(request));
    }
    let mut draft = Draft::default();
    match by_template(request) {
        Ok(Some(parsed)) => return Ok(parsed),
        Ok(None) => {}
        Err(warning) => draft.warn(warning),
    }
    draft.title(param(request, TITLE).unwrap_or_default());
    draft.priority(priority(request).unwrap_or_default());
    draft.tags(tags(request).split(','));
    draft.click(param(request, CLICK).unwrap_or_default());
    draft.key(param(request, KEY).unwrap_or_default());
    draft.ttl(param(request, TTL).unwrap_or_default());
    draft.sequence(param(request, SEQUENCE).unwrap_or_default());
    let text = text(request, &mut draft)?;
    undone(request, &mut draft);
    Ok(draft.finish(text, request.body_bytes, TEXT_EMPTY))
}

/// What the template that the request asks for makes of the JSON in its body. `None`: it asks for none.
///
/// # Errors
/// It cannot be had, in one line: the request is to be read without it.
pub(super) fn by_template(request: &Request<'_>) -> Result<Option<Parsed>, String> {
    let Some(name) = param(request, TEMPLATE).map(str::to_ascii_lowercase) else {
        return Ok(None);
    };
    let parsed = match name.as_str() {
        "yes" | "true" | "1" => {
            let Body::Text(body) = request.read_body() else {
                return Err("the body is no JSON, which a template needs".into());
            };
            let data = serde_json::from_str(&body)
                .map_err(|_| "the body is no JSON, which a template needs: it was sent as it is".to_owned())?;
            filled(request, &data)
        }
        "no" | "false" | "0" => return Ok(None),
        "github" => github::parse(request).map_err(|rejection| rejection.why)?,
        "grafana" => grafana::parse(request).map_err(|rejection| rejection.why)?,
        "alertmanager" => alertmanager::parse(request).map_err(|rejection| rejection.why)?,
        other => {
            return Err(format!(
                "no template is named {:?}: there are github, grafana, alertmanager, and yes for one in the message",
                quoted(other)
            ));
        }
    };
    Ok(Some(parsed))
}

/// The fields of the request, each as a template over `data`. One with a fault costs itself alone.
fn filled(request: &Request<'_>, data: &serde_json::Value) -> Parsed {
    let bare = Request {
        query: Fields::default(),
        ..request.clone()
    };
    let form = Form::read(&bare);
    let mut draft = Draft::default();
    let fill = |what: &str, given: Option<&str>, draft: &mut Draft| {
        let given = given.filter(|given| !given.is_empty())?.replace("\\n", "\n");
        match template::render(&given, data) {
            Ok(filled) => Some(clean(&filled).trim().to_owned()),
            Err(why) => {
                draft.warn(format!("the template of the {what} was not used: {}", quoted(&why)));
                None
            }
        }
    };
    let title = fill("title", param(request, TITLE), &mut draft).unwrap_or_default();
    draft.title(&title);
    let urgency = fill("priority", priority(request), &mut draft).unwrap_or_default();
    draft.priority(&urgency);
    let named = fill("tags", Some(&tags(request)), &mut draft).unwrap_or_default();
    draft.tags(named.split(','));
    let click = fill("click", param(request, CLICK), &mut draft).unwrap_or_default();
    draft.click(&click);
    let sequence = fill("sequence id", param(request, SEQUENCE), &mut draft).unwrap_or_default();
    draft.sequence(&sequence);
    draft.key(param(request, KEY).unwrap_or_default());
    draft.ttl(param(request, TTL).unwrap_or_default());
    undone(request, &mut draft);
    // Without a template, or where it says nothing, what came is told by its names.
    let text = fill("message", param(request, MESSAGE), &mut draft).filter(|text| !text.is_empty());
    let text = text.or_else(|| form.other_text()).unwrap_or_else(|| form.everything());
    let bytes = text.len() as u64;
    draft.finish(text, bytes, TEXT_EMPTY)
}

/// A form in parts, as `curl -F` makes it: ntfy has none, but its framing is nothing that a person should read. The
/// parts have the names of the query.
fn parse_parts(request: &Request<'_>) -> Parsed {
    let form = Form::read(request);
    let mut draft = Draft::default();
    let field = |names: &[&str]| param(request, names).map(str::to_owned).or_else(|| form.text(names));
    draft.title(&field(TITLE).unwrap_or_default());
    draft.priority(&field(PRIORITY).unwrap_or_default());
    let tags = Some(tags(request)).filter(|tags| !tags.is_empty());
    draft.tags(tags.or_else(|| form.text(TAGS)).unwrap_or_default().split(','));
    draft.click(&field(CLICK).unwrap_or_default());
    draft.key(&field(KEY).unwrap_or_default());
    draft.ttl(&field(TTL).unwrap_or_default());
    draft.sequence(&field(SEQUENCE).unwrap_or_default());
    undone(request, &mut draft);
    let text = field(MESSAGE).or_else(|| form.other_text());
    let text = text.unwrap_or_else(|| form.everything());
    draft.finish_form(&form, text, request, TEXT_EMPTY)
}

/// The value of the first of these names that has one: headers, then the query.
fn param<'r>(request: &'r Request<'_>, names: &[&str]) -> Option<&'r str> {
    let header = request.headers.first(names);
    header.or_else(|| request.query.first(names))
}

/// The tags, with commas between: of every such header, since one that is a list may be there several times, else of
/// the query.
fn tags(request: &Request<'_>) -> String {
    let all = |fields: &Fields<'_>| {
        let is_one = |name: &str| TAGS.iter().any(|tags| name.eq_ignore_ascii_case(tags));
        let values = fields
            .iter()
            .filter(|(name, value)| is_one(name) && !value.trim().is_empty());
        values.map(|(_, value)| value).collect::<Vec<_>>().join(",")
    };
    let headers = all(&request.headers);
    match headers.is_empty() {
        true => all(&request.query),
        false => headers,
    }
}

/// The priority of the alert. RFC 9218's `Priority: u=1, i` is about the transfer, and browsers and proxies add it.
fn priority<'r>(request: &'r Request<'_>) -> Option<&'r str> {
    let mut headers = PRIORITY.iter().filter_map(|name| {
        let value = request.headers.get(name)?;
        (*name != "priority" || !is_transfer_priority(value)).then_some(value)
    });
    headers.next().or_else(|| request.query.first(PRIORITY))
}

fn is_transfer_priority(value: &str) -> bool {
    value
        .split(',')
        .all(|item| matches!(item.trim(), "i") || item.trim().starts_with("u="))
}

/// The text before it is cut; empty when there is none.
fn text(request: &Request<'_>, draft: &mut Draft) -> Result<String, Rejection> {
    let message = param(request, MESSAGE).unwrap_or_default();
    let message = clean(&message.replace("\\n", "\n")).trim().to_owned();
    // Beside the address of a file it is that one's name.
    let filename = param(request, FILENAME).filter(|_| param(request, ATTACH).is_none());
    match (request.read_body(), filename) {
        (Body::Empty, _) => Ok(message),
        (Body::Text(_), None) if request.is_beyond_text() => Err(Rejection {
            kind: RejectionKind::TooLarge,
            field: "body",
            why: format!(
                "the message is larger than {} bytes: no text is as long as that",
                request.text_bytes_max
            ),
        }),
        (Body::Text(body), None) => {
            if request.is_in_part() {
                draft.in_part();
            }
            Ok(joined(message, body))
        }
        // A file that can be read is part of what was said.
        (Body::Text(body), Some(name)) if !request.is_beyond_text() => {
            let name = base_name(name);
            draft.warn(format!("{name:?} was sent as text"));
            if request.is_in_part() {
                draft.in_part();
            }
            Ok(joined(message, body))
        }
        (Body::Text(_) | Body::Binary, name) => {
            draft.file(name.unwrap_or_default(), Some(request.body_bytes), Source::Body);
            Ok(message)
        }
    }
}

/// Whether a content type says that the text is Markdown.
pub(super) fn is_type_markdown(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("text/markdown")
}

/// Both texts, where a sender gave two.
fn joined(message: String, body: String) -> String {
    match (message.is_empty(), body.is_empty()) {
        (true, _) => body,
        (false, true) => message,
        (false, false) if message == body => body,
        (false, false) => format!("{message}\n{body}"),
    }
}

/// What was asked for beside the text: what is done with all of it, or is not.
fn undone(request: &Request<'_>, draft: &mut Draft) {
    let is_markdown = param(request, MARKDOWN)
        .is_some_and(|given| matches!(&*given.trim().to_ascii_lowercase(), "yes" | "true" | "1"));
    if is_markdown || request.content_type.is_some_and(is_type_markdown) {
        draft.markdown();
    }
    if let Some(link) = param(request, ATTACH) {
        let name = param(request, FILENAME).unwrap_or_default();
        draft.file(name, None, Source::Link(link.to_owned()));
    }
    draft.delay(param(request, DELAY).unwrap_or_default(), request.now_ms);
    if param(request, EMAIL).is_some() {
        draft.warn("e-mail notifications are not supported");
    }
    if param(request, CALL).is_some() {
        draft.warn("phone calls are not supported");
    }
}

/// A file's name without where it was.
fn base_name(path: &str) -> String {
    let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
    let (name, _) = hygiene::shortened(name, FILENAME_CHARS_MAX);
    if name.is_empty() { "a file".into() } else { name }
}

#[cfg(test)]
mod tests;
