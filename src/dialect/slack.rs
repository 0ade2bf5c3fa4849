//! Slack's incoming webhook, which nearly every NAS and CI program can speak; Mattermost's and Rocket.Chat's are alike.
//!
//! | field | names |
//! |---|---|
//! | title | `username` |
//! | text | `text`, then `blocks`, then `attachments` with their fields |
//! | priority | `attachments[].color`: `danger` is high |
//! | link | `title_link` of the first attachment that has one |
//!
//! Slack's marks are written out: `<https://a|b>` becomes `b (https://a)`, `&amp;` becomes `&`. The JSON also comes in
//! a form's field `payload`.

use serde_json::Value;

use super::form::{Form, text_of};
use super::{Draft, Parsed, Rejection, Request};

/// What is said of a message with nothing in it.
const TEXT_EMPTY: &str = "(no message)";

/// Reads an alert out of a message for Slack.
///
/// # Errors
/// None at present: the type is that of every dialect.
pub fn parse(request: &Request<'_>) -> Result<Parsed, Rejection> {
    let form = Form::read(request);
    let mut draft = Draft::default();
    let mut lines: Vec<String> = Vec::new();
    lines.extend(form.text(&["text"]));
    for block in form.list("blocks") {
        lines.extend(block.get("text").and_then(of_block));
        let fields = block.get("fields").or_else(|| block.get("elements"));
        let fields = fields.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        lines.extend(fields.iter().filter_map(of_block));
    }
    let mut click = None;
    for attachment in form.list("attachments") {
        let text = |name: &str| attachment.get(name).and_then(text_of);
        let before = lines.len();
        lines.extend(text("pretext"));
        lines.extend(text("title"));
        lines.extend(text("text"));
        for field in attachment.get("fields").and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| field.get(name).and_then(text_of).unwrap_or_default();
            lines.push(format!("{}: {}", text("title"), text("value")));
        }
        if lines.len() == before {
            lines.extend(text("fallback"));
        }
        draft.severity(&text("color").unwrap_or_default());
        click = click.or_else(|| text("title_link"));
    }
    // Some send the same in `text` and in the blocks, for old clients.
    let mut text: Vec<String> = Vec::new();
    for line in lines.iter().map(|line| written_out(line)) {
        if !text.contains(&line) {
            text.push(line);
        }
    }
    draft.title(&form.text(&["username"]).unwrap_or_default());
    draft.click(&click.unwrap_or_default());
    Ok(draft.finish_form(&form, text.join("\n"), request, TEXT_EMPTY))
}

/// A text in a block: `{"type": "mrkdwn", "text": "…"}`, or the text itself.
fn of_block(value: &Value) -> Option<String> {
    match value {
        Value::Object(fields) => fields.get("text").filter(|text| text.is_string()).and_then(text_of),
        Value::String(_) => text_of(value),
        _ => None,
    }
}

/// Slack's marks as a person reads them.
fn written_out(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        plain.push_str(before);
        let Some((mark, behind)) = after.split_once('>') else {
            plain.push('<');
            rest = after;
            continue;
        };
        match mark.split_once('|') {
            // `<!here|here>`, `<@U1|name>`, `<#C1|channel>`.
            Some((_, label)) if mark.starts_with(['!', '@', '#']) => plain.push_str(label),
            Some((link, label)) if link.contains("://") || link.starts_with("mailto:") => {
                plain.push_str(&format!("{label} ({link})"));
            }
            None if mark.starts_with('!') => plain.push_str(&format!("@{}", &mark[1..])),
            None if mark.contains("://") || mark.starts_with('@') => plain.push_str(mark),
            _ => plain.push_str(&format!("<{mark}>")),
        }
        rest = behind;
    }
    plain.push_str(rest);
    plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}
