//! Any JSON, form or text: the fields are found by the names that senders use for them.
//!
//! | field | names, the first that has a value |
//! |---|---|
//! | text | `message` `text` `body` `msg` `content` `description` `details` `value`, else the title; else every field, one a line |
//! | title | `title` `subject` `summary` `name` `event` `heading` |
//! | priority | `priority` `prio`: 1 to 5 or ntfy's words; else `severity` `level` `type` `status` by their words |
//! | tags | `tags` `tag`: a list, or separated by commas or spaces |
//! | link | `click` `url` `link` `href` |
//! | key | `key` `idempotency_key` `dedup_key`, or the header `Idempotency-Key` |
//! | status | `status` `state`: `resolved` `ok` `recovered` `recovery` `up` is resolved, all else fires |
//! | sequence | `sequence` `sequence_id` `fingerprint` |
//! | labels | `labels`: a table |
//! | sender | `sender` `source` `from` `host` `hostname` |
//! | time to live | `ttl`: seconds, or `10m`, `24h` |
//!
//! With `template=yes` in the query its fields are [templates](super::template) over what came, as in [ntfy's](ntfy).
//!
//! Shoutrrr's generic form, Healthchecks and Home Assistant's `rest_command` with a body of one's own, Node-RED, and
//! what a script puts together come so. Names that are not known are no fault; a body that is a plain text is the text.

use serde_json::Value;

use super::form::{Form, text_of};
use super::{Draft, Parsed, Rejection, Request, ntfy};
use crate::alert::Status;

/// What is said of a request in which nothing is.
const TEXT_EMPTY: &str = "triggered";

const TITLE: &[&str] = &["title", "subject", "summary", "name", "event", "heading"];

/// Reads an alert out of whatever was sent.
///
/// # Errors
/// None at present: the type is that of every dialect.
pub fn parse(request: &Request<'_>) -> Result<Parsed, Rejection> {
    let form = Form::read(request);
    let mut draft = Draft::default();
    match ntfy::by_template(request) {
        Ok(Some(parsed)) => return Ok(parsed),
        Ok(None) => {}
        Err(warning) => draft.warn(warning),
    }
    let title = form.text(TITLE).unwrap_or_default();
    let text = form.other_text().unwrap_or_default();
    draft.title(&title);
    let is_markdown = |value: &Value| matches!(value, Value::Bool(true)) || value == "true" || value == "yes";
    if form.value("markdown").is_some_and(is_markdown) || form.text(&["format"]).as_deref() == Some("markdown") {
        draft.markdown();
    }
    match form.text(&["priority", "prio"]) {
        Some(priority) if priority.parse::<crate::alert::Priority>().is_ok() => draft.priority(&priority),
        Some(word) => draft.severity(&word),
        None => draft.severity(&form.text(&["severity", "level", "type", "status"]).unwrap_or_default()),
    }
    let tags = form.text(&["tags", "tag"]).unwrap_or_default();
    // Healthchecks separates tags by spaces.
    match tags.contains(',') {
        true => draft.tags(tags.split(',')),
        false => draft.tags(tags.split_whitespace()),
    }
    draft.click(&form.text(&["click", "url", "link", "href"]).unwrap_or_default());
    let key = form.text(&["key", "idempotency_key", "dedup_key"]);
    let header = request.headers.get("idempotency-key").map(str::to_owned);
    draft.key(&key.or(header).unwrap_or_default());
    draft.ttl(&form.text(&["ttl"]).unwrap_or_default());
    let status = form.text(&["status", "state"]).unwrap_or_default().to_ascii_lowercase();
    if matches!(status.trim(), "resolved" | "ok" | "recovered" | "recovery" | "up") {
        draft.status(Status::Resolved);
    }
    draft.sequence(
        &form
            .text(&["sequence", "sequence_id", "fingerprint"])
            .unwrap_or_default(),
    );
    draft.sender(
        &form
            .text(&["sender", "source", "from", "host", "hostname"])
            .unwrap_or_default(),
    );
    for (name, value) in form.value("labels").and_then(Value::as_object).into_iter().flatten() {
        draft.label(name, &text_of(value).unwrap_or_default());
    }
    Ok(draft.finish_form(&form, text, request, TEXT_EMPTY))
}
