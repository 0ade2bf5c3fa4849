//! ntfy's JSON, posted to `/`: the fields of [`ntfy`] under their long names, and the topic beside them.
//!
//! | field | name | |
//! |---|---|---|
//! | topic | `topic` | the route |
//! | everything else | `message` `title` `priority` `tags` `click` `attach` `delay` `email` `call` `key` `ttl` `sequence_id` `markdown` | as in ntfy's plain form |
//!
//! It comes with any content type: curl says that it is a form. Apprise puts the text into JSON and the rest into
//! headers, so headers count where the JSON is silent. Home Assistant sends every field, unused ones as `null`.

use super::form::Form;
use super::{Parsed, Rejection, Request, ntfy};

/// Names in JSON, and the header that says the same.
const FIELDS: &[(&str, &str)] = &[
    ("title", "x-title"),
    ("priority", "x-priority"),
    ("tags", "x-tags"),
    ("click", "x-click"),
    ("attach", "x-attach"),
    ("delay", "x-delay"),
    ("email", "x-email"),
    ("call", "x-call"),
    ("key", "x-key"),
    ("ttl", "x-ttl"),
    ("sequence_id", "x-sequence-id"),
    ("markdown", "x-markdown"),
];

/// Reads an alert out of a JSON publish request.
///
/// # Errors
/// The body is a text of a size that no text has.
pub fn parse(request: &Request<'_>) -> Result<Parsed, Rejection> {
    let form = Form::read(request);
    let topic = form.text(&["topic"]);
    if request.is_multipart() {
        return Ok(Parsed {
            topic,
            ..ntfy::parse(request)?
        });
    }
    if form.is_empty() {
        // No JSON: the body is the message, as everywhere else.
        let mut parsed = ntfy::parse(request)?;
        parsed.topic = topic;
        parsed.warnings.extend(form.faults);
        return Ok(parsed);
    }
    let fields = FIELDS
        .iter()
        .filter_map(|(name, header)| Some((*header, form.value(name).and_then(super::form::text_of)?)));
    let message = form
        .text(&["message"])
        .or_else(|| form.other_text())
        .or_else(|| Some(form.everything()).filter(|_| form.text(&["title"]).is_none()))
        .unwrap_or_default();
    let inner = Request {
        route: request.route,
        headers: request.headers.behind(fields),
        query: request.query.clone(),
        content_type: Some("text/plain; charset=utf-8"),
        body: message.as_bytes(),
        body_bytes: message.len() as u64,
        text_bytes_max: request.text_bytes_max,
        now_ms: request.now_ms,
    };
    let mut parsed = ntfy::parse(&inner)?;
    parsed.topic = topic;
    parsed.warnings.extend(form.faults);
    Ok(parsed)
}
