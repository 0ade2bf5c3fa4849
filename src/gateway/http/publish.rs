//! `POST /{route}` and its kin: a sender's words become an [`Alert`](crate::alert::Alert), the relay keeps it, the sender is
//! told.

use crate::alert::RouteName;
use crate::dialect::{Fields, Parsed, Rejection, RejectionKind, Request, ntfy};

use super::answer::{Answer, Problem};
use super::call::{Call, Outcome};
use super::connection::Received;
use super::context::Context;
use super::head::Head;
use crate::gateway::api::Published;
use crate::gateway::query;
use crate::gateway::relay::Accepted;

/// Lets ntfy's dialect read the request.
fn parse(head: &Head, body: &Received, route: &RouteName, text_bytes_max: u64) -> Result<Parsed, Problem> {
    let query::Decoded { pairs, faults } = query::decode(&head.query);
    let headers = Fields::from_headers(head.headers());
    let content_type = headers.get("content-type").map(str::to_owned);
    let request = Request {
        route: Some(route.as_str()),
        headers,
        query: pairs.into_iter().collect(),
        content_type: content_type.as_deref(),
        body: &body.kept,
        body_bytes: body.bytes,
        text_bytes_max,
    };
    let mut parsed = ntfy::parse(&request)?;
    parsed.warnings.extend(faults);
    Ok(parsed)
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let http = match rejection.kind {
            RejectionKind::TooLarge => 413,
        };
        Self::new(http, rejection.why).at(rejection.field)
    }
}

/// `POST /{route}`: the body is the message.
pub(super) async fn publish(call: Call<'_, '_>, route: RouteName) -> Outcome {
    let (context, listener) = (call.context, call.listener);
    let body = call.request.body(&|| context.slow_slot(listener)).await?;
    take(context, route, &call.request.head, &body).await
}

/// `GET /{route}/publish` and its kin: all stands in the query.
pub(super) async fn trigger(call: Call<'_, '_>, route: RouteName) -> Outcome {
    take(call.context, route, &call.request.head, &Received::default()).await
}

/// Parses, keeps, answers exactly 200: the ntfy clients take no other 2xx for success.
async fn take(context: &Context, route: RouteName, head: &Head, body: &Received) -> Outcome {
    let Parsed { alerts, warnings } = parse(head, body, &route, context.limits.body_bytes)?;
    let click = alerts.first().and_then(|alert| alert.click.clone());
    let accepted = context.relay.publish(route, alerts).await?;
    // ntfy's form has one alert a request, and its answer is about one.
    let Some(accepted) = accepted.into_iter().next() else {
        return Err(Problem::new(500, "the relay says nothing about the alert"));
    };
    Ok(Answer::json(200, &published(accepted, click, warnings)))
}

fn published(accepted: Accepted, click: Option<String>, warnings: Vec<String>) -> Published {
    let Accepted {
        alert,
        duplicate,
        warning,
    } = accepted;
    let needs_person = warning.is_some();
    let warnings: Vec<String> = warning.into_iter().chain(warnings).collect();
    Published {
        id: alert.id,
        time: alert.accepted_at / 1000,
        event: "message".into(),
        topic: alert.route,
        message: alert.text,
        title: alert.title,
        priority: alert.priority,
        tags: alert.tags,
        click,
        state: alert.state,
        warning: (!warnings.is_empty()).then(|| warnings.join("; ")),
        needs_person,
        duplicate,
    }
}
