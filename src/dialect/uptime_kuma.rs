//! Uptime Kuma's webhook: JSON, the same in a part `data` of a form, or in the query.
//!
//! | field | names |
//! |---|---|
//! | title | `monitor.name`, with what became of it |
//! | text | `heartbeat.msg`, else `msg` |
//! | priority | `heartbeat.status`: 0 (down) is high |
//! | tags | a red circle when it is down, a check mark when it is up again |
//! | status | resolved when it is up again |
//! | sequence | `monitor.id`, else its name |
//! | labels | `monitor`: its name |
//! | link | `monitor.url` |
//!
//! A test and a warning about a certificate have neither heartbeat nor monitor: `msg` is the text.

use serde_json::Value;

use super::form::{Form, text_of};
use super::{Draft, Parsed, Rejection, Request};
use crate::alert::Status;

/// What is said of a message with nothing in it.
const TEXT_EMPTY: &str = "(no message)";

/// Reads an alert out of a notification by Uptime Kuma.
///
/// # Errors
/// None at present: the type is that of every dialect.
pub fn parse(request: &Request<'_>) -> Result<Parsed, Rejection> {
    let form = Form::read(request);
    let mut draft = Draft::default();
    let status = form.value("heartbeat.status").and_then(Value::as_i64);
    let (state, tag) = match status {
        Some(0) => (" is down", "red_circle"),
        Some(1) => (" is up", "white_check_mark"),
        Some(2) => (" is pending", ""),
        Some(3) => (" is under maintenance", ""),
        Some(_) | None => ("", ""),
    };
    let field = |path: &str| form.value(path).and_then(text_of);
    if let Some(name) = field("monitor.name") {
        draft.title(&format!("{name}{state}"));
    }
    if status == Some(0) {
        draft.severity("down");
    }
    draft.tags([tag]);
    draft.sender("Uptime Kuma");
    let name = field("monitor.name").unwrap_or_default();
    draft.label("monitor", &name);
    if status.is_some() {
        draft.sequence(&field("monitor.id").unwrap_or(name));
    }
    if status == Some(1) {
        draft.status(Status::Resolved);
    }
    draft.click(
        &field("monitor.url")
            .filter(|url| url.starts_with("http"))
            .unwrap_or_default(),
    );
    let text = field("heartbeat.msg").or_else(|| form.text(&["msg"]));
    Ok(draft.finish_form(&form, text.unwrap_or_default(), request, TEXT_EMPTY))
}
