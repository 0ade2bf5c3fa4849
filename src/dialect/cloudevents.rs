//! CloudEvents 1.0 by HTTP, in either form: the attributes in the JSON beside `data`, or as headers `ce-…` beside the
//! data itself.
//!
//! | field | from |
//! |---|---|
//! | title | `subject`, else `type` |
//! | text | the usual names in the data (`message`, `text`, …), else its fields, one a line; data that is a text; without data the `type` |
//! | priority | `severity` or `level` in the data, by their words |
//! | link | `url` or `link` in the data |
//! | key | `source` and `id`, which name an event once and for all |
//!
//! The events of a batch are texts below each other. Data in base64 is left out with a mark.

use serde_json::Value;

use super::form::{Form, USUAL_TEXT, decoded, text_of};
use super::{Draft, Parsed, Rejection, Request};

/// What is said of an event with nothing in it.
const TEXT_EMPTY: &str = "(an event without data)";

/// Fields of the data that are written out where none of them is known.
const FIELDS_MAX: usize = 40;

/// Reads an event, or a batch of them.
///
/// # Errors
/// None at present: the type is that of every dialect.
pub fn parse(request: &Request<'_>) -> Result<Parsed, Rejection> {
    let form = Form::read(request);
    let mut draft = Draft::default();
    let batch = form.list("");
    if !batch.is_empty() {
        let texts: Vec<String> = batch.iter().map(|event| of_event(event, &mut draft)).collect();
        return Ok(draft.finish_form(&form, texts.join("\n\n"), request, TEXT_EMPTY));
    }
    let attribute = |name: &str| {
        let header = request.headers.get(&format!("ce-{name}")).map(str::to_owned);
        header
            .or_else(|| form.value(name).and_then(text_of))
            .unwrap_or_default()
    };
    let (subject, kind) = (attribute("subject"), attribute("type"));
    draft.title(if subject.is_empty() { &kind } else { &subject });
    let (source, id) = (attribute("source"), attribute("id"));
    if !source.is_empty() && !id.is_empty() {
        draft.key(&format!("{source} {id}"));
    }
    let is_beside = request.headers.get("ce-specversion").is_some();
    let text = match (is_beside, form.value("data")) {
        // The body is the data.
        (true, _) => {
            draft.severity(&form.text(&["severity", "level"]).unwrap_or_default());
            draft.click(&form.text(&["url", "link"]).unwrap_or_default());
            form.other_text().unwrap_or_else(|| form.everything())
        }
        (false, Some(data)) => of_data(data, &mut draft),
        (false, None) => match form.value("data_base64").and_then(Value::as_str) {
            Some(base64) => {
                let file = decoded("", base64);
                draft.file("", file.bytes, file.source);
                kind
            }
            None if form.value("specversion").is_some() => kind,
            None => String::new(),
        },
    };
    Ok(draft.finish_form(&form, text, request, TEXT_EMPTY))
}

/// The text of one event of several.
fn of_event(event: &Value, draft: &mut Draft) -> String {
    let attribute = |name: &str| event.get(name).and_then(text_of);
    let name = attribute("subject").or_else(|| attribute("type")).unwrap_or_default();
    let text = match event.get("data") {
        Some(data) => of_data(data, draft),
        None => String::new(),
    };
    match (name.as_str(), text.as_str()) {
        ("", "") => text_of(event).unwrap_or_default(),
        (name, "") => name.to_owned(),
        ("", text) => text.to_owned(),
        (name, text) => format!("{name}: {text}"),
    }
}

fn of_data(data: &Value, draft: &mut Draft) -> String {
    let Value::Object(fields) = data else {
        return text_of(data).unwrap_or_default();
    };
    let at = |names: &[&str]| names.iter().find_map(|name| fields.get(*name).and_then(text_of));
    draft.raise(&at(&["severity", "level"]).unwrap_or_default());
    draft.click(&at(&["url", "link"]).unwrap_or_default());
    at(USUAL_TEXT).unwrap_or_else(|| {
        let written = fields.iter().filter_map(|(name, value)| Some((name, text_of(value)?)));
        let lines = written.take(FIELDS_MAX).map(|(name, value)| format!("{name}: {value}"));
        let lines: Vec<String> = lines.collect();
        match fields.len().saturating_sub(FIELDS_MAX) {
            0 => lines.join("\n"),
            more => format!("{}\nand {more} more fields", lines.join("\n")),
        }
    })
}
