//! Pushover's `POST /1/messages.json`, as a form or JSON.
//!
//! | field | names |
//! |---|---|
//! | text | `message` |
//! | title | `title` |
//! | priority | `priority`, -2 to 2: min to max |
//! | link | `url`; `url_title` is written before it |
//! | picture | `attachment` of a form, `attachment_base64` |
//! | time to live | `ttl`, in seconds: what is not sent by then is not sent |
//! | `token` | whose it is, where a token is needed |
//! | `user` | a route, where the token is for none alone |
//! | `device`, `sound`, `retry`, `expire` | ignored |

use super::form::Form;
use super::{Draft, Parsed, Rejection, Request};
use crate::alert::Priority;

/// What is said of a message with nothing in it.
const TEXT_EMPTY: &str = "(no message)";

/// The application's token.
pub fn token(request: &Request<'_>) -> Option<String> {
    Form::read(request).text(&["token"])
}

/// Whom it is for.
pub fn user(request: &Request<'_>) -> Option<String> {
    Form::read(request).text(&["user"])
}

/// Reads an alert out of a message for Pushover.
///
/// # Errors
/// None at present: the type is that of every dialect.
pub fn parse(request: &Request<'_>) -> Result<Parsed, Rejection> {
    let form = Form::read(request);
    let mut draft = Draft::default();
    draft.title(&form.text(&["title"]).unwrap_or_default());
    let priority = form.text(&["priority"]).and_then(|given| given.parse::<i8>().ok());
    draft.set_priority(match priority.unwrap_or_default() {
        ..=-2 => Priority::Min,
        -1 => Priority::Low,
        0 => Priority::Default,
        1 => Priority::High,
        2.. => Priority::Max,
    });
    draft.click(&form.text(&["url"]).unwrap_or_default());
    draft.ttl(&form.text(&["ttl"]).unwrap_or_default());
    let mut text = form.text(&["message"]).unwrap_or_default();
    if let Some(label) = form.text(&["url_title"]).filter(|_| !text.is_empty()) {
        text = format!("{text}\n{label}:");
    }
    Ok(draft.finish_form(&form, text, request, TEXT_EMPTY))
}
