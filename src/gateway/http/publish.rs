//! The ways to publish: a sender's words become alerts, the relay keeps them, the sender is told.
//!
//! Which dialect a request is in is said by its address alone: senders label their bodies as they like.

use crate::alert::RouteName;
use crate::dialect::{DIALECTS, Dialect, Fields, Parsed, Rejection, RejectionKind, Request, json, ntfy_json};

use super::answer::{Answer, Problem};
use super::call::{Call, Outcome};
use super::connection::Received;
use super::context::Context;
use super::head::Head;
use crate::gateway::api::{GotifyMessage, Published};
use crate::gateway::query;
use crate::gateway::relay::Accepted;

/// Makes the dialect's request of what came, and gives it to `read`.
fn with_request<T>(
    context: &Context,
    head: &Head,
    body: &Received,
    route: Option<&RouteName>,
    read: impl FnOnce(&Request<'_>) -> T,
) -> (T, Vec<String>) {
    let query::Decoded { pairs, faults } = query::decode(&head.query);
    let headers = Fields::from_headers(head.headers());
    let content_type = headers.get("content-type").map(str::to_owned);
    let request = Request {
        route: route.map(RouteName::as_str),
        headers,
        query: pairs.into_iter().collect(),
        content_type: content_type.as_deref(),
        body: &body.kept,
        body_bytes: body.bytes,
        text_bytes_max: context.limits.body_bytes,
    };
    (read(&request), faults)
}

/// Characters of a dialect's name that nobody knows, in a warning.
const NAME_CHARS_MAX: usize = 32;

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let http = match rejection.kind {
            RejectionKind::TooLarge => 413,
        };
        Self::new(http, rejection.why).at(rejection.field)
    }
}

/// The dialect of this name.
fn dialect(name: &str) -> Option<&'static Dialect> {
    DIALECTS.iter().find(|dialect| dialect.name == name)
}

/// The body of a request that publishes.
async fn body(call: &mut Call<'_, '_>) -> Result<Received, Problem> {
    let (context, listener) = (call.context, call.listener);
    call.request.body(&|| context.slow_slot(listener)).await
}

/// `POST /{route}`: the body is the message.
pub(super) async fn publish(call: Call<'_, '_>, route: RouteName) -> Outcome {
    speak(call, "ntfy", route).await
}

/// `GET /{route}/publish` and its kin: all stands in the query.
pub(super) async fn trigger(call: Call<'_, '_>, route: RouteName) -> Outcome {
    take(call.context, "ntfy", route, &call.request.head, &Received::default()).await
}

/// A request in the dialect of this name, for this route.
pub(super) async fn speak(mut call: Call<'_, '_>, name: &str, route: RouteName) -> Outcome {
    let body = body(&mut call).await?;
    take(call.context, name, route, &call.request.head, &body).await
}

/// `POST /`: ntfy's JSON, which names its topic.
pub(super) async fn ntfy_json(mut call: Call<'_, '_>) -> Outcome {
    let body = body(&mut call).await?;
    let head = &call.request.head;
    let (topic, _) = with_request(call.context, head, &body, None, ntfy_json::topic);
    let Some(topic) = topic else {
        let error = "the body is no JSON with a \"topic\" in it: post it to /ROUTE, or name the route as its topic";
        return Err(Problem::new(400, error).at("topic"));
    };
    let route = call.context.route(&topic)?;
    take(call.context, "ntfy-json", route, head, &body).await
}

/// `POST /message`, as Gotify's senders do. Until there are tokens, the application's token is the name of a route.
pub(super) async fn gotify(mut call: Call<'_, '_>) -> Outcome {
    let body = body(&mut call).await?;
    let head = &call.request.head;
    let (token, _) = with_request(call.context, head, &body, None, |request| {
        let bearer = request
            .headers
            .get("authorization")
            .and_then(|value| value.strip_prefix("Bearer "));
        let key = request.headers.get("x-gotify-key").or(bearer);
        key.or_else(|| request.query.get("token"))
            .map(|token| token.trim().to_owned())
    });
    let Some(token) = token else {
        let error = "which route is it for? Set the application's token to the name of the route";
        return Err(Problem::new(401, error).at("token"));
    };
    let route = call.context.route(&token)?;
    take(call.context, "gotify", route, head, &body).await
}

/// Parses, keeps, answers exactly 200: the ntfy clients take no other 2xx for success. A dialect that nobody knows is read
/// as any JSON is, because its text is worth more than its form.
async fn take(context: &Context, name: &str, route: RouteName, head: &Head, body: &Received) -> Outcome {
    let known = dialect(name);
    let parse = known.map_or(json::parse as fn(&Request<'_>) -> _, |dialect| dialect.parse);
    let (parsed, faults) = with_request(context, head, body, Some(&route), parse);
    let Parsed { alerts, mut warnings } = parsed?;
    warnings.extend(faults);
    if known.is_none() {
        let name = crate::alert::hygiene::shortened(name, NAME_CHARS_MAX).0;
        warnings.push(format!(
            "no dialect is named {name:?}: it was read as any JSON or text is"
        ));
    }
    let click = alerts.first().and_then(|alert| alert.click.clone());
    let accepted = context.relay.publish(route, alerts).await?;
    // Each dialect makes one alert of a request, and its answer is about one.
    let Some(accepted) = accepted.into_iter().next() else {
        return Err(Problem::new(500, "the relay says nothing about the alert"));
    };
    let published = published(accepted, click, warnings);
    Ok(match name {
        "gotify" => Answer::json(200, &GotifyMessage::from(published)),
        _ => Answer::json(200, &published),
    })
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
