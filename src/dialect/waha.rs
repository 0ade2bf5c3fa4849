//! WAHA's `sendText`, `sendImage` and `sendFile`, which what was written for a WhatsApp bridge speaks.
//!
//! | field | names |
//! |---|---|
//! | text | `text`, else `caption` |
//! | file | `file`: `filename`, and `data` in base64 or `url` |
//! | route | `chatId`, where the address names none: see `[mail]` for what it may be |
//!
//! `session` means nothing here: a route has its own.

use super::file::Source;
use super::form::{Form, text_of};
use super::{Draft, Parsed, Rejection, Request};

/// What is said of a message with nothing in it.
const TEXT_EMPTY: &str = "(no message)";

/// Reads an alert out of a message for WAHA.
///
/// # Errors
/// None at present: the type is that of every dialect.
pub fn parse(request: &Request<'_>) -> Result<Parsed, Rejection> {
    let form = Form::read(request);
    let mut draft = Draft::default();
    if form.value("file").is_some() && form.files().is_empty() {
        let name = form.value("file.filename").and_then(text_of).unwrap_or_default();
        draft.file(&name, None, Source::Missing("it has neither data nor an address"));
    }
    let text = form.text(&["text", "caption"]).unwrap_or_default();
    Ok(draft.finish_form(&form, text, request, TEXT_EMPTY))
}

/// Whom a message is for, in the words of its sender.
pub fn chat(request: &Request<'_>) -> Option<String> {
    Form::read(request).text(&["chatId"])
}
