//! The table of endpoints, and the way of a request to one of them.

use std::future::{Future, ready};
use std::pin::Pin;
use std::time::Instant;

use super::answer::{Answer, Problem};
use super::auth::{self, Caller, Scope};
use super::call::{Call, Outcome};
use super::connection::Request;
use super::context::{Context, Listener};
use super::head::{Head, Value};
use super::subscribe::Form;
use super::{
    alerts, backup, events, lines, login, mail, metrics, openapi, page, probes, publish, route_detail, sessions,
    status, subscribe, tokens,
};
use crate::alert::{ROUTE_NAMES_RESERVED, RouteName};
use crate::dialect::Dialect;

/// An address of the HTTP API. Addresses are contracts: rows are only ever added.
pub struct Endpoint {
    /// What it takes. Where `GET` only shows something there is a `HEAD` too.
    pub methods: &'static [&'static str],
    /// Segments; `{…}` stands for any one, `{route}` for a configured route, `{topics}` for several with commas.
    pub path: &'static str,
    /// The right that it takes.
    pub scope: Scope,
    /// What it does, for documents.
    pub summary: &'static str,
    handler: Handler,
}

type Reply<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// What answers, by what its path leaves open.
#[derive(Clone, Copy)]
enum Handler {
    /// Nothing.
    Fixed(for<'a, 'c> fn(Call<'a, 'c>) -> Reply<'a>),
    /// An alert's id.
    Alert(for<'a, 'c> fn(Call<'a, 'c>, String) -> Reply<'a>),
    /// A name, which the endpoint looks up.
    Named(for<'a, 'c> fn(Call<'a, 'c>, String) -> Reply<'a>),
    /// A configured route.
    Route(for<'a, 'c> fn(Call<'a, 'c>, RouteName) -> Reply<'a>),
    /// A configured route, and behind it a name.
    Item(for<'a, 'c> fn(Call<'a, 'c>, RouteName, String) -> Reply<'a>),
    /// A name, and behind it a configured route.
    Hook(for<'a, 'c> fn(Call<'a, 'c>, String, RouteName) -> Reply<'a>),
}

const READ: &[&str] = &["GET", "HEAD"];
const GET: &[&str] = &["GET"];
const POST: &[&str] = &["POST"];
const PUBLISH: &[&str] = &["POST", "PUT"];
const HOOK: &[&str] = &["POST", "PUT", "GET"];
const DELETE: &[&str] = &["DELETE"];

/// Every endpoint. The first path that fits a request is its own; `{route}` stands last, and no route may have the name
/// of a first segment (`ROUTE_NAMES_RESERVED`).
pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        methods: READ,
        path: "/",
        scope: Scope::Nothing,
        summary: "The page, for a browser; it shows what whoever asks may see.",
        handler: Handler::Fixed(|call| Box::pin(async move { Ok(page::page(call).await) })),
    },
    Endpoint {
        methods: READ,
        path: "/web/{file}",
        scope: Scope::Nothing,
        summary: "What the page is made of.",
        handler: Handler::Named(|_, name| at_once(page::asset(&name))),
    },
    Endpoint {
        methods: POST,
        path: "/v1/login",
        scope: Scope::Nothing,
        summary: "Shows a token once; the answer is a cookie that does what the token may.",
        handler: Handler::Fixed(|call| Box::pin(login::begin(call))),
    },
    Endpoint {
        methods: DELETE,
        path: "/v1/login",
        scope: Scope::Nothing,
        summary: "Logs out: this browser, or every one that has shown the same token.",
        handler: Handler::Fixed(|call| Box::pin(login::end(call))),
    },
    Endpoint {
        methods: READ,
        path: "/v1/status",
        scope: Scope::Read,
        summary: "Sessions, layers, deadlines, outbox and health.",
        handler: Handler::Fixed(|call| Box::pin(async move { Ok(status::status(&call).await) })),
    },
    Endpoint {
        methods: READ,
        path: "/v1/health",
        scope: Scope::Read,
        summary: "200 while all is well, else 503 with what is wrong.",
        handler: Handler::Fixed(|call| Box::pin(async move { status::health(&call).await })),
    },
    Endpoint {
        methods: READ,
        path: "/metrics",
        scope: Scope::Read,
        summary: "The relay in numbers, for Prometheus.",
        handler: Handler::Fixed(|call| Box::pin(async move { Ok(metrics::metrics(&call).await) })),
    },
    Endpoint {
        methods: READ,
        path: "/v1/openapi.json",
        scope: Scope::Read,
        summary: "This API, for programs that make clients of it.",
        handler: Handler::Fixed(|_| at_once(Ok(openapi::document()))),
    },
    Endpoint {
        methods: READ,
        path: "/v1/routes",
        scope: Scope::Read,
        summary: "The names of the configured routes.",
        handler: Handler::Fixed(|call| at_once(Ok(status::routes(&call)))),
    },
    Endpoint {
        methods: READ,
        path: "/v1/routes/{route}",
        scope: Scope::Read,
        summary: "One route: its policies in words, and when it was last proven.",
        handler: Handler::Route(|call, route| at_once(route_detail::show(&call, &route))),
    },
    Endpoint {
        methods: POST,
        path: "/v1/routes/{route}/test",
        scope: Scope::Admin,
        summary: "Sends a test to a route and to its fallbacks, and waits for it.",
        handler: Handler::Route(|call, route| Box::pin(route_detail::test(call, route))),
    },
    Endpoint {
        methods: READ,
        path: "/v1/lines",
        scope: Scope::Read,
        summary: "Why each line ended, and how each run of the relay began.",
        handler: Handler::Fixed(|call| at_once(lines::list(&call))),
    },
    Endpoint {
        methods: READ,
        path: "/v1/events",
        scope: Scope::Read,
        summary: "What the journal has, as JSON lines; and as it grows, by WebSocket, server-sent events or JSON lines.",
        handler: Handler::Fixed(|call| Box::pin(events::events(call))),
    },
    Endpoint {
        methods: READ,
        path: "/v1/alerts",
        scope: Scope::Read,
        summary: "The newest alerts.",
        handler: Handler::Fixed(|call| Box::pin(alerts::list(call))),
    },
    Endpoint {
        methods: READ,
        path: "/v1/alerts/{id}",
        scope: Scope::Read,
        summary: "One alert with its history; waits for a state of it if asked to.",
        handler: Handler::Alert(|call, id| Box::pin(alerts::show(call, id))),
    },
    Endpoint {
        methods: DELETE,
        path: "/v1/alerts/{id}",
        scope: Scope::Admin,
        summary: "Gives up what of an alert is not yet sent.",
        handler: Handler::Alert(|call, id| Box::pin(alerts::give_up(call, id))),
    },
    Endpoint {
        methods: POST,
        path: "/v1/alerts/{id}/retry",
        scope: Scope::Admin,
        summary: "Sends again what was given up, and at once what waits.",
        handler: Handler::Alert(|call, id| Box::pin(alerts::retry(call, id))),
    },
    Endpoint {
        methods: POST,
        path: "/v1/alerts/{id}/ack",
        scope: Scope::Admin,
        summary: "Notes that somebody has seen to an alert: it is not said again.",
        handler: Handler::Alert(|call, id| Box::pin(alerts::ack(call, id))),
    },
    Endpoint {
        methods: READ,
        path: "/v1/chats",
        scope: Scope::Admin,
        summary: "Groups and contacts that a route can name.",
        handler: Handler::Fixed(|call| Box::pin(sessions::chats(call))),
    },
    Endpoint {
        methods: POST,
        path: "/v1/sessions/{session}/pair",
        scope: Scope::Admin,
        summary: "Links an account; what happens comes as JSON lines.",
        handler: Handler::Named(|call, session| Box::pin(sessions::pair(call, session))),
    },
    Endpoint {
        methods: GET,
        path: "/v1/backup",
        scope: Scope::Control,
        summary: "A backup of the state, with keys in it.",
        handler: Handler::Fixed(|call| Box::pin(backup::backup(call))),
    },
    Endpoint {
        methods: GET,
        path: "/v1/tokens",
        scope: Scope::Control,
        summary: "The tokens, without their secrets.",
        handler: Handler::Fixed(|call| at_once(tokens::list(&call))),
    },
    Endpoint {
        methods: POST,
        path: "/v1/tokens",
        scope: Scope::Control,
        summary: "Makes a token; the answer is the one time that its secret is shown.",
        handler: Handler::Fixed(|call| Box::pin(tokens::make(call))),
    },
    Endpoint {
        methods: DELETE,
        path: "/v1/tokens/{name}",
        scope: Scope::Control,
        summary: "Revokes a token, at once.",
        handler: Handler::Named(|call, name| Box::pin(tokens::revoke(call, name))),
    },
    Endpoint {
        methods: READ,
        path: "/v1/account",
        scope: Scope::Any,
        summary: "Who one is, as ntfy's clients ask.",
        handler: Handler::Fixed(|call| at_once(Ok(probes::account(&call)))),
    },
    Endpoint {
        methods: READ,
        path: "/v1/config",
        scope: Scope::Any,
        summary: "What there is of ntfy's, as its apps ask.",
        handler: Handler::Fixed(|_| at_once(Ok(probes::config()))),
    },
    Endpoint {
        methods: READ,
        path: "/v1/stats",
        scope: Scope::Read,
        summary: "How many alerts were ever accepted, as ntfy's clients ask.",
        handler: Handler::Fixed(|call| Box::pin(probes::stats(call))),
    },
    Endpoint {
        methods: READ,
        path: "/version",
        scope: Scope::Any,
        summary: "The version of Gotify that is spoken, as its clients ask.",
        handler: Handler::Fixed(|_| at_once(Ok(probes::version()))),
    },
    Endpoint {
        methods: READ,
        path: "/health",
        scope: Scope::Any,
        summary: "Whether messages are taken, as Gotify's senders ask.",
        handler: Handler::Fixed(|_| at_once(Ok(probes::health()))),
    },
    Endpoint {
        methods: READ,
        path: "/api/sessions",
        scope: Scope::Any,
        summary: "The sessions, as WAHA's clients ask.",
        handler: Handler::Fixed(|call| Box::pin(probes::sessions(call))),
    },
    Endpoint {
        methods: READ,
        path: "/api/sessions/{session}",
        scope: Scope::Any,
        summary: "One session, as WAHA's clients ask.",
        handler: Handler::Named(|call, session| Box::pin(probes::session(call, session))),
    },
    Endpoint {
        methods: POST,
        path: "/1/users/validate.json",
        scope: Scope::Any,
        summary: "The routes as a user's devices, as Pushover's clients ask.",
        handler: Handler::Fixed(|call| Box::pin(probes::pushover_user(call))),
    },
    Endpoint {
        methods: PUBLISH,
        path: "/",
        scope: Scope::Publish,
        summary: "Publishes ntfy's JSON, in which the topic is the route.",
        handler: Handler::Fixed(|call| Box::pin(publish::ntfy_json(call))),
    },
    Endpoint {
        methods: POST,
        path: "/message",
        scope: Scope::Publish,
        summary: "Publishes a message for Gotify; the application's token says the route.",
        handler: Handler::Fixed(|call| Box::pin(publish::gotify(call))),
    },
    Endpoint {
        methods: POST,
        path: "/1/messages.json",
        scope: Scope::Publish,
        summary: "Publishes a message for Pushover; the token, or the user, says the route.",
        handler: Handler::Fixed(|call| Box::pin(publish::pushover(call))),
    },
    Endpoint {
        methods: POST,
        path: "/api/sendText",
        scope: Scope::Publish,
        summary: "Publishes a message for WAHA; `chatId` leads to the route.",
        handler: Handler::Fixed(|call| Box::pin(publish::waha(call))),
    },
    Endpoint {
        methods: POST,
        path: "/api/sendImage",
        scope: Scope::Publish,
        summary: "The same, with the caption as its text.",
        handler: Handler::Fixed(|call| Box::pin(publish::waha(call))),
    },
    Endpoint {
        methods: POST,
        path: "/api/sendFile",
        scope: Scope::Publish,
        summary: "The same, with the caption as its text.",
        handler: Handler::Fixed(|call| Box::pin(publish::waha(call))),
    },
    Endpoint {
        methods: POST,
        path: "/v1/mail",
        scope: Scope::Publish,
        summary: "Publishes a mail; its recipients, `to` in the query, lead to routes.",
        handler: Handler::Fixed(|call| Box::pin(mail::mail(call))),
    },
    Endpoint {
        methods: POST,
        path: "/notify",
        scope: Scope::Publish,
        summary: "Publishes what is posted to Apprise's API; the header `X-Apprise-Config-ID` says the route.",
        handler: Handler::Fixed(|call| Box::pin(publish::apprise(call))),
    },
    Endpoint {
        methods: POST,
        path: "/notify/{route}",
        scope: Scope::Publish,
        summary: "Publishes what is posted to Apprise's API.",
        handler: Handler::Route(|call, route| Box::pin(publish::speak(call, "apprise", route))),
    },
    Endpoint {
        methods: HOOK,
        path: "/v1/hooks/{dialect}/{route}",
        scope: Scope::Publish,
        summary: "Publishes a request in the form of another program.",
        handler: Handler::Hook(|call, dialect, route| {
            Box::pin(async move { publish::speak(call, &dialect, route).await })
        }),
    },
    Endpoint {
        methods: POST,
        path: "/v1/hooks/{dialect}/{route}/message",
        scope: Scope::Publish,
        summary: "The same, for Gotify's senders, which append the last segment.",
        handler: Handler::Hook(|call, dialect, route| {
            Box::pin(async move { publish::speak(call, &dialect, route).await })
        }),
    },
    Endpoint {
        methods: PUBLISH,
        path: "/{route}",
        scope: Scope::Publish,
        summary: "Publishes the body, in ntfy's form.",
        handler: Handler::Route(|call, route| Box::pin(publish::publish(call, route))),
    },
    // No HEAD here: it would publish.
    Endpoint {
        methods: GET,
        path: "/{route}/publish",
        scope: Scope::Publish,
        summary: "Publishes what stands in the query, for what cannot POST.",
        handler: Handler::Route(|call, route| Box::pin(publish::trigger(call, route))),
    },
    Endpoint {
        methods: GET,
        path: "/{route}/send",
        scope: Scope::Publish,
        summary: "The same.",
        handler: Handler::Route(|call, route| Box::pin(publish::trigger(call, route))),
    },
    Endpoint {
        methods: GET,
        path: "/{route}/trigger",
        scope: Scope::Publish,
        summary: "The same.",
        handler: Handler::Route(|call, route| Box::pin(publish::trigger(call, route))),
    },
    Endpoint {
        methods: READ,
        path: "/{topics}/json",
        scope: Scope::Read,
        summary: "The alerts of routes as they come, as JSON lines in ntfy's words; with `poll=1` those that there were.",
        handler: Handler::Named(|call, topics| Box::pin(subscribe::lines(call, topics, Form::Json))),
    },
    Endpoint {
        methods: READ,
        path: "/{topics}/sse",
        scope: Scope::Read,
        summary: "The same as server-sent events.",
        handler: Handler::Named(|call, topics| Box::pin(subscribe::lines(call, topics, Form::Sse))),
    },
    Endpoint {
        methods: READ,
        path: "/{topics}/raw",
        scope: Scope::Read,
        summary: "The same as bare texts.",
        handler: Handler::Named(|call, topics| Box::pin(subscribe::lines(call, topics, Form::Raw))),
    },
    Endpoint {
        methods: READ,
        path: "/{topics}/ws",
        scope: Scope::Read,
        summary: "The same by a WebSocket.",
        handler: Handler::Named(|call, topics| Box::pin(subscribe::ws(call, topics))),
    },
    Endpoint {
        methods: READ,
        path: "/{topics}/auth",
        scope: Scope::Read,
        summary: "Whether one may subscribe, as ntfy's app asks first.",
        handler: Handler::Named(|call, topics| at_once(subscribe::auth(&call, &topics))),
    },
    Endpoint {
        methods: DELETE,
        path: "/{route}/{id}",
        scope: Scope::Publish,
        summary: "Gives up what is not yet sent, by its id or its sequence id.",
        handler: Handler::Item(|call, route, id| Box::pin(subscribe::delete(call, route, id))),
    },
];

/// The reply of an endpoint that waits for nothing.
fn at_once<'a>(outcome: Outcome) -> Reply<'a> {
    Box::pin(ready(outcome))
}

impl Endpoint {
    /// The segments at the placeholders. `None`: the path is another one.
    fn matches<'s>(&self, segments: &[&'s str]) -> Option<Vec<&'s str>> {
        let own = segments_of(self.path);
        if own.len() != segments.len() {
            return None;
        }
        let mut open = Vec::new();
        for (own, given) in own.into_iter().zip(segments) {
            if own.starts_with('{') {
                open.push(*given);
            } else if own != *given {
                return None;
            }
        }
        Some(open)
    }

    /// The dialect that is spoken there, where its name stands in the path or its senders have a path of their own.
    fn dialect<'s>(&self, open: &[&'s str]) -> Option<&'s str> {
        match self.handler {
            Handler::Hook(_) => open.first().copied(),
            _ if self.path.starts_with("/1/") => Some("pushover"),
            Handler::Fixed(_) | Handler::Alert(_) | Handler::Named(_) | Handler::Route(_) | Handler::Item(_) => None,
        }
    }
}

/// The segments of a path. A base address that ends with a slash makes `//family`, a careful one `/family/`: they mean
/// the same.
fn segments_of(path: &str) -> Vec<&str> {
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

/// Answers one request.
pub(super) async fn handle(context: &Context, listener: Listener, request: &mut Request<'_>) -> Answer {
    let outcome = dispatch(context, listener, request).await;
    let answer: Answer = outcome.unwrap_or_else(|problem| {
        log::debug!("{listener}: {} {}", problem.body().http, problem.body().error);
        let by_ntfy = matches!(listener, Listener::Tcp { .. }) && is_ntfys(&segments_of(&request.head.path));
        let problem = if by_ntfy { problem.in_ntfys_words() } else { problem };
        problem.into()
    });
    context.traffic.answered(answer.status);
    without_dialog(answer, &request.head)
}

/// A browser shows a dialog of its own for a 401, also where the page has asked, which can ask better.
fn without_dialog(mut answer: Answer, head: &Head) -> Answer {
    let by_script = match head.value("sec-fetch-mode") {
        Value::Text(mode) => mode != "navigate",
        Value::Absent | Value::Unreadable => false,
    };
    if by_script {
        answer
            .headers
            .retain(|(name, value)| *name != "WWW-Authenticate" || !value.starts_with("Basic"));
    }
    answer
}

/// Whether ntfy has this address too.
fn is_ntfys(segments: &[&str]) -> bool {
    match segments {
        [] => true,
        ["v1", rest @ ..] => matches!(rest, ["account" | "config" | "health" | "stats" | "version", ..]),
        _ => {
            let found = ENDPOINTS.iter().find(|endpoint| endpoint.matches(segments).is_some());
            found.is_some_and(|endpoint| endpoint.path.starts_with("/{"))
        }
    }
}

async fn dispatch(context: &Context, listener: Listener, request: &mut Request<'_>) -> Outcome {
    let began = Instant::now();
    let origin = auth::origin(&context.access, listener, &request.head)?;
    let mut caller = auth::identify(context, listener, origin, &request.head)?;
    let nothing = |head: &Head| Problem::new(404, format!("there is nothing at {}", head.path));
    let path = request.head.path.clone();
    let segments = segments_of(&path);
    let found = ENDPOINTS
        .iter()
        .find_map(|endpoint| Some((endpoint, endpoint.matches(&segments)?)));
    let spoken = found.as_ref().and_then(|(endpoint, open)| endpoint.dialect(open));
    let mut body = None;
    let takes = |endpoint: &&Endpoint| endpoint.methods.contains(&request.head.method.as_str());
    let endpoint = found.as_ref().and_then(|(first, _)| {
        let mut here = ENDPOINTS.iter().filter(|endpoint| endpoint.path == first.path);
        here.find(takes)
    });
    let is_for_all = endpoint.is_some_and(|endpoint| endpoint.scope == Scope::Nothing);
    // Before anything is told of what is here.
    if caller.is_nobody() && !is_for_all {
        let mut token = None;
        if let Some(name) = spoken
            && publish::has_token_in_body(name)
        {
            let received = context.receive(listener, request).await?;
            token = publish::token_in_body(context, name, &request.head, &received);
            body = Some(received);
        }
        caller = match auth::identify_by(context, &request.head, token.as_deref()) {
            Ok(caller) => caller,
            Err(denied) => {
                let from = origin.and_then(|origin| origin.client);
                return Err(auth::refuse(context, from, &request.head, denied).await);
            }
        };
    }
    if let Err(problem) = auth::admit(context, origin, &caller) {
        let gives_up = spoken
            .and_then(Dialect::named)
            .is_some_and(|dialect| dialect.gives_up_on_4xx);
        return Err(if gives_up { problem.with_status(503) } else { problem });
    }
    let (first, open) = found.ok_or_else(|| nothing(&request.head))?;
    let last = open.last().copied().unwrap_or_default();
    let name = open.first().copied().unwrap_or_default();
    // The right comes first, also for a route that is not there; then 404, then 405.
    let named = match first.handler {
        Handler::Route(_) if is_reserved(last) => return Err(nothing(&request.head)),
        Handler::Item(_) if is_reserved(name) => return Err(nothing(&request.head)),
        Handler::Route(_) | Handler::Hook(_) => Some(last),
        Handler::Item(_) => Some(name),
        Handler::Fixed(_) | Handler::Named(_) | Handler::Alert(_) => None,
    };
    if let Some(endpoint) = endpoint {
        auth::permit(&caller, endpoint.scope, named, &request.head)?;
    }
    let route = named.map(|name| context.route(name)).transpose()?;
    let Some(endpoint) = endpoint else {
        return Err(Problem::method(&allowed(first.path)));
    };
    let (handler, scope) = (endpoint.handler, endpoint.scope);
    let (name, last) = (name.to_owned(), last.to_owned());
    if !caller.may_everywhere(scope) {
        keep_to_their_routes(context, &caller, endpoint, &name, &request.head).await?;
    }
    let missing = nothing(&request.head);
    let call = Call {
        context,
        listener,
        caller,
        scope,
        request,
        body,
    };
    let outcome = match (handler, route) {
        (Handler::Fixed(handler), _) => handler(call).await,
        (Handler::Named(handler) | Handler::Alert(handler), _) => handler(call, name).await,
        (Handler::Route(handler), Some(route)) => handler(call, route).await,
        (Handler::Hook(handler), Some(route)) => handler(call, name, route).await,
        (Handler::Item(handler), Some(route)) => handler(call, route, last).await,
        // The rows of one path leave the same open, as a test makes sure.
        (Handler::Route(_) | Handler::Hook(_) | Handler::Item(_), None) => Err(missing),
    };
    if scope == Scope::Publish && outcome.is_ok() {
        context.traffic.published(began.elapsed());
    }
    outcome
}

/// For a token that is not for all routes: an alert must be of one of its own, and what administers the whole relay is
/// not for it. Lists are shortened where they are made ([`Call::sees`]), and a route that a body names is looked at
/// when it is read ([`Call::route`]).
async fn keep_to_their_routes(
    context: &Context,
    caller: &Caller,
    endpoint: &Endpoint,
    name: &str,
    head: &Head,
) -> Result<(), Problem> {
    let scope = endpoint.scope;
    let theirs = |route: &str| match caller.may(scope, Some(route)) {
        true => Ok(()),
        false => Err(auth::refusal(caller, scope, Some(route), head)),
    };
    match endpoint.handler {
        Handler::Route(_) | Handler::Hook(_) | Handler::Item(_) => Ok(()),
        Handler::Alert(_) => match context.relay.alert(name).await {
            Some(alert) => theirs(&alert.route),
            None => Ok(()),
        },
        Handler::Fixed(_) | Handler::Named(_) => match scope {
            Scope::Any | Scope::Publish | Scope::Read | Scope::Nothing => Ok(()),
            Scope::Admin | Scope::Control => Err(auth::refusal(caller, scope, None, head)),
        },
    }
}

fn is_reserved(segment: &str) -> bool {
    ROUTE_NAMES_RESERVED
        .iter()
        .any(|reserved| reserved.eq_ignore_ascii_case(segment))
}

/// What a path takes, as `Allow` says it.
fn allowed(path: &str) -> String {
    let here = ENDPOINTS.iter().filter(|endpoint| endpoint.path == path);
    let methods: Vec<&str> = here.flat_map(|endpoint| endpoint.methods).copied().collect();
    methods.join(", ")
}

#[cfg(test)]
mod tests;
