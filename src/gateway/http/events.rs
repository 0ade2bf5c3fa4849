//! What the journal has: `GET /v1/events`.

use super::answer::{Answer, Problem};
use super::call::{Call, Outcome};

/// Without `limit`, and at most with it.
const EVENTS_DEFAULT: usize = 100;
const EVENTS_MAX: usize = 1000;

/// What is there, a JSON object a line, and then the end. Whoever wants more asks again with the last number.
pub(super) fn list(call: &Call<'_, '_>) -> Outcome {
    let query = call.query()?;
    let since = match query.value("since") {
        None => 0,
        Some(text) => text.parse().map_err(|_| {
            let error = format!("since is the number of the last entry that is known, or 0, not {text:?}");
            Problem::new(400, error)
        })?,
    };
    let limit = query.limit(EVENTS_DEFAULT, EVENTS_MAX)?;
    let mut lines = String::new();
    for event in call.context.relay.events(since, limit)? {
        let line = serde_json::to_string(&event)
            .map_err(|error| Problem::new(500, format!("the answer cannot be written as JSON: {error}")))?;
        lines.push_str(&line);
        lines.push('\n');
    }
    Ok(Answer::new(200, "application/x-ndjson", lines))
}
