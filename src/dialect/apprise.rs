//! Apprise's `json://` and `form://`, and what is posted to its API at `/notify/KEY`.
//!
//! | field | names |
//! |---|---|
//! | text | `message`, `body` |
//! | title | `title` |
//! | priority | `type`: `failure` is high, `info`, `success` and `warning` are default |
//! | files | `attachments`, `file01` …: left out with a mark |
//! | `version`, `format`, `tag` | ignored; a text in Markdown is sent as it is |

use serde_json::Value;

use super::form::Form;
use super::{Draft, Parsed, Rejection, Request};

/// What Apprise itself never sends.
const TEXT_EMPTY: &str = "(no message)";

/// Base64 has four characters for three bytes.
const BASE64_CHARS: u64 = 4;
const BASE64_BYTES: u64 = 3;

/// Reads an alert out of a notification by Apprise.
///
/// # Errors
/// None at present: the type is that of every dialect.
pub fn parse(request: &Request<'_>) -> Result<Parsed, Rejection> {
    let form = Form::read(request);
    let mut draft = Draft::default();
    draft.title(&form.text(&["title"]).unwrap_or_default());
    draft.severity(&form.text(&["type"]).unwrap_or_default());
    for file in form.list("attachments") {
        let text = |name: &str| file.get(name).and_then(Value::as_str);
        let bytes = text("base64").map(|it| it.len() as u64 / BASE64_CHARS * BASE64_BYTES);
        draft.left_out(text("filename").unwrap_or_default(), bytes);
    }
    let text = form.text(&["message", "body"]).unwrap_or_default();
    Ok(draft.finish_form(&form, text, request, TEXT_EMPTY))
}
