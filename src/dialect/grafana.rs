//! Grafana's webhook contact point: Alertmanager's form with a title and a message that Grafana has written.
//!
//! The table of [`alertmanager`] holds, and beside it:
//!
//! | field | from |
//! |---|---|
//! | title | `title`, where it is not Grafana's own list of labels |
//! | text | `message`, where somebody has written a template for it; Grafana's own says less than the alerts do |
//! | picture | `imageURL` of the alerts, as a link in the text |
//!
//! A repeat cannot be told apart: nothing has a key.

use super::form::{Form, text_of};
use super::{Draft, Parsed, Rejection, Request, alertmanager};

/// What is said of a notification with nothing in it.
const TEXT_EMPTY: &str = "(no message)";

/// Reads a notification.
///
/// # Errors
/// None at present: the type is that of every dialect.
pub fn parse(request: &Request<'_>) -> Result<Parsed, Rejection> {
    let form = Form::read(request);
    let mut draft = Draft::default();
    draft.sender("Grafana");
    let title = form.text(&["title"]).filter(|title| !is_default_title(title));
    let message = form.text(&["message"]).filter(|message| !is_default_message(message));
    let mut text = alertmanager::notification(&form, &mut draft, title, message);
    for alert in form.list("alerts") {
        if let Some(image) = alert.get("imageURL").and_then(text_of) {
            text.push_str(&format!("\npicture: {image}"));
        }
    }
    Ok(draft.finish_form(&form, text, request, TEXT_EMPTY))
}

/// As in `[FIRING:1]  (blue)`, which Grafana makes of the labels.
fn is_default_title(title: &str) -> bool {
    title.starts_with("[FIRING:") || title.starts_with("[RESOLVED")
}

/// Grafana's default template: a heading, then the labels of each alert.
fn is_default_message(message: &str) -> bool {
    message.starts_with("**Firing**") || message.starts_with("**Resolved**")
}
