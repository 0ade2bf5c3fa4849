//! What the journal has: `GET /v1/events`.

use super::answer::{Answer, Problem};
use super::call::{Call, Outcome};
use crate::gateway::api::EventView;

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
    for event in theirs(call, since, limit)? {
        let line = serde_json::to_string(&event)
            .map_err(|error| Problem::new(500, format!("the answer cannot be written as JSON: {error}")))?;
        lines.push_str(&line);
        lines.push('\n');
    }
    Ok(Answer::new(200, "application/x-ndjson", lines))
}

/// The entries after `since` that are theirs to see: those of alerts of other routes are passed over.
fn theirs(call: &Call<'_, '_>, mut since: u64, limit: usize) -> Result<Vec<EventView>, Problem> {
    let relay = &call.context.relay;
    let mut found = Vec::new();
    loop {
        let events = relay.events(since, limit)?;
        let Some(last) = events.last() else {
            return Ok(found);
        };
        since = last.number;
        let sees = |event: &EventView| event.route.as_ref().is_none_or(|route| call.sees(route));
        found.extend(events.into_iter().filter(sees).take(limit - found.len()));
        if found.len() == limit {
            return Ok(found);
        }
    }
}
