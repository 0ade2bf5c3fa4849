//! Discord's webhook, which *arr programs, game servers and CI programs speak.
//!
//! | field | names |
//! |---|---|
//! | title | the title of the only embed, else `username` |
//! | text | `content`, then `embeds` with their fields |
//! | link | `embeds[].url`, the first |
//! | files | parts of a form: left out with a mark |
//!
//! Texts are Markdown, as Discord shows them.
//!
//! The JSON also comes in a form's field `payload_json`.

use serde_json::Value;

use super::form::{Form, text_of};
use super::{Draft, Parsed, Rejection, Request};

/// What is said of a message with nothing in it.
const TEXT_EMPTY: &str = "(no message)";

/// Reads an alert out of a message for Discord.
///
/// # Errors
/// None at present: the type is that of every dialect.
pub fn parse(request: &Request<'_>) -> Result<Parsed, Rejection> {
    let form = Form::read(request);
    let mut draft = Draft::default();
    let embeds = form.list("embeds");
    let mut lines: Vec<String> = Vec::new();
    lines.extend(form.text(&["content"]));
    let mut title = form.text(&["username"]).unwrap_or_default();
    for embed in embeds {
        let text = |name: &str| embed.get(name).and_then(text_of);
        match text("title") {
            Some(only) if embeds.len() == 1 => title = only,
            other => lines.extend(other),
        }
        lines.extend(text("description"));
        for field in embed.get("fields").and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| field.get(name).and_then(text_of).unwrap_or_default();
            lines.push(format!("{}: {}", text("name"), text("value")));
        }
        lines.extend(
            embed
                .get("footer")
                .and_then(|footer| footer.get("text"))
                .and_then(text_of),
        );
    }
    let click = embeds.iter().find_map(|embed| embed.get("url").and_then(text_of));
    draft.title(&title);
    draft.markdown();
    draft.click(&click.unwrap_or_default());
    Ok(draft.finish_form(&form, lines.join("\n"), request, TEXT_EMPTY))
}
