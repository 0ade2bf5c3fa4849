//! `POST /<route>` and its kin: a sender's words become an [`Alert`](crate::alert::Alert), the relay keeps it, the sender is
//! told.

use crate::alert::RouteName;
use crate::dialect::{Fields, Parsed, Rejection, RejectionKind, Request, ntfy};

use super::Accepted;
use super::answer::{Answer, Problem};
use super::api::Published;
use super::connection::Received;
use super::head::Head;
use super::query;
use super::server::Shared;

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

/// Parses, keeps, answers exactly 200: the ntfy clients take no other 2xx for success.
pub(super) async fn publish(
    shared: &Shared,
    route: RouteName,
    head: &Head,
    body: &Received,
) -> Result<Answer, Problem> {
    let Parsed { alerts, warnings } = parse(head, body, &route, shared.limits.body_bytes)?;
    // ntfy's form has one alert a request, and its answer is about one.
    let Some(alert) = alerts.into_iter().next() else {
        return Err(Problem::new(400, "there is no alert in the request"));
    };
    let click = alert.click.clone();
    let mut accepted = shared.relay.publish(route, vec![alert]).await?;
    let Some(accepted) = accepted.pop() else {
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
