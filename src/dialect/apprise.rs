//! Apprise's `json://` and `form://`, and what is posted to its API at `/notify/KEY`.
//!
//! | field | names |
//! |---|---|
//! | text | `message`, `body` |
//! | title | `title` |
//! | priority | `type`: `failure` is high, `info`, `success` and `warning` are default |
//! | files | `attachments` in base64, `file01` … of a form |
//! | Markdown | `format` is `markdown` |
//! | `version`, `tag` | ignored |

use super::form::Form;
use super::{Draft, Parsed, Rejection, Request};

/// What Apprise itself never sends.
const TEXT_EMPTY: &str = "(no message)";

/// Reads an alert out of a notification by Apprise.
///
/// # Errors
/// None at present: the type is that of every dialect.
pub fn parse(request: &Request<'_>) -> Result<Parsed, Rejection> {
    let form = Form::read(request);
    let mut draft = Draft::default();
    draft.title(&form.text(&["title"]).unwrap_or_default());
    draft.severity(&form.text(&["type"]).unwrap_or_default());
    if form
        .text(&["format"])
        .is_some_and(|format| format.trim().eq_ignore_ascii_case("markdown"))
    {
        draft.markdown();
    }
    let text = form.text(&["message", "body"]).unwrap_or_default();
    Ok(draft.finish_form(&form, text, request, TEXT_EMPTY))
}
