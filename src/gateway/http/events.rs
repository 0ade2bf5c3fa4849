//! The journal: `GET /v1/events`, as a list, or as a stream by WebSocket, server-sent events or JSON lines.
//!
//! A stream is read out of the journal at the pace of its client (`source`, `tail`), so it costs a place in the
//! journal and no queue: who is slow, sleeps or comes again goes on where it was, and nobody else notices.

mod close;
mod socket;
mod source;
mod stream;
mod tail;
mod wanted;

use super::answer::{Answer, Problem};
use super::call::{Call, Outcome};
use super::head::{Head, Value};
use super::websocket;
use crate::gateway::api::EventView;
use stream::Form;
use wanted::{Filter, Wanted, since};

/// Without `limit`, and at most with it.
const EVENTS_DEFAULT: usize = 100;
const EVENTS_MAX: usize = 1000;

/// `GET /v1/events`, in the form that is asked for.
pub(super) async fn events(call: Call<'_, '_>) -> Outcome {
    let mut wanted = Wanted::of(&call)?;
    let head = &call.request.head;
    if websocket::is_wanted(head) {
        return socket::socket(call, wanted).await;
    }
    if accepts_sse(head) {
        // A browser comes again to the address that it had, with the last number that it saw.
        if let Value::Text(text) = head.value("last-event-id") {
            wanted.since = Some(since(text)?);
        }
        return stream::stream(call, wanted, Form::Sse).await;
    }
    match call.query()?.value("follow") {
        Some("1") => stream::stream(call, wanted, Form::Lines).await,
        Some(other) => Err(Problem::new(400, format!("follow is 1, not {other:?}")).at("follow")),
        None => list(&call, wanted),
    }
}

fn accepts_sse(head: &Head) -> bool {
    match head.value("accept") {
        Value::Text(text) => text.split([',', ';']).any(|kind| kind.trim() == "text/event-stream"),
        Value::Absent | Value::Unreadable => false,
    }
}

/// What is there, a JSON object a line, and then the end. Whoever wants more asks again with the last number.
fn list(call: &Call<'_, '_>, wanted: Wanted) -> Outcome {
    let limit = call.query()?.limit(EVENTS_DEFAULT, EVENTS_MAX)?;
    let mut lines = String::new();
    for event in theirs(call, wanted.since.unwrap_or(0), limit, &wanted.filter)? {
        let line = serde_json::to_string(&event)
            .map_err(|error| Problem::new(500, format!("the answer cannot be written as JSON: {error}")))?;
        lines.push_str(&line);
        lines.push('\n');
    }
    Ok(Answer::new(200, "application/x-ndjson", lines))
}

/// The entries after `since` that are theirs to see and wanted: others are passed over.
fn theirs(call: &Call<'_, '_>, mut since: u64, limit: usize, filter: &Filter) -> Result<Vec<EventView>, Problem> {
    let relay = &call.context.relay;
    let mut found = Vec::new();
    loop {
        let events = relay.events(since, limit)?;
        let Some(last) = events.last() else {
            return Ok(found);
        };
        since = last.number;
        let sees = |event: &EventView| event.route.as_ref().is_none_or(|route| call.sees(route));
        let fits = |event: &EventView| sees(event) && filter.fits(event);
        found.extend(events.into_iter().filter(fits).take(limit - found.len()));
        if found.len() == limit {
            return Ok(found);
        }
    }
}
