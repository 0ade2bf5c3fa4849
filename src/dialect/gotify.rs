//! Gotify's `POST /message`, as JSON, as a form of either kind, or in the query.
//!
//! | field | names |
//! |---|---|
//! | text | `message` |
//! | title | `title` |
//! | priority | `priority`, 0 to 10: 0 is min, to 3 low, to 7 default, to 9 high, 10 and more max |
//! | link | `extras.client::notification.click.url` |
//! | Markdown | `extras.client::display.contentType` is `text/markdown` |
//! | other extras | ignored |

use super::form::{Form, text_of};
use super::{Draft, Parsed, Rejection, Request, ntfy};
use crate::alert::Priority;

/// What is said of a message with nothing in it.
const TEXT_EMPTY: &str = "(no message)";

/// Reads an alert out of a message for Gotify.
///
/// # Errors
/// None at present: the type is that of every dialect.
pub fn parse(request: &Request<'_>) -> Result<Parsed, Rejection> {
    let form = Form::read(request);
    let mut draft = Draft::default();
    draft.title(&form.text(&["title"]).unwrap_or_default());
    if let Some(given) = form.text(&["priority"]) {
        match given.parse::<f64>() {
            Ok(number) => draft.set_priority(priority(number)),
            Err(_) => draft.severity(&given),
        }
    }
    // The name of the extra has no dot in it, so the path is one.
    let click = form.value("extras.client::notification.click.url").and_then(text_of);
    draft.click(&click.unwrap_or_default());
    let kind = form.value("extras.client::display.contentType").and_then(text_of);
    if kind.is_some_and(|kind| ntfy::is_type_markdown(&kind)) {
        draft.markdown();
    }
    let text = form.text(&["message"]).unwrap_or_default();
    Ok(draft.finish_form(&form, text, request, TEXT_EMPTY))
}

/// Gotify's scale, by what its app does: no sound to 3, one to 7, an insistent one above.
fn priority(number: f64) -> Priority {
    match number {
        _ if number >= 10.0 => Priority::Max,
        _ if number >= 8.0 => Priority::High,
        _ if number >= 4.0 => Priority::Default,
        _ if number >= 1.0 => Priority::Low,
        _ => Priority::Min,
    }
}
