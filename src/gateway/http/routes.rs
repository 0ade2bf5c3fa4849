//! The table of endpoints, and the way of a request to one of them.

use std::future::{Future, ready};
use std::pin::Pin;

use super::answer::{Answer, Problem};
use super::auth::{self, Scope};
use super::call::{Call, Outcome};
use super::connection::Request;
use super::context::{Context, Listener};
use super::{alerts, backup, events, lines, page, publish, sessions, status};
use crate::alert::{ROUTE_NAMES_RESERVED, RouteName};

/// An address of the HTTP API. Addresses are contracts: rows are only ever added.
pub struct Endpoint {
    /// What it takes. Where `GET` only shows something there is a `HEAD` too.
    pub methods: &'static [&'static str],
    /// Segments; `{…}` stands for any one, `{route}` for a configured route.
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
    /// An id or a name, which the endpoint looks up.
    Named(for<'a, 'c> fn(Call<'a, 'c>, String) -> Reply<'a>),
    /// A configured route.
    Route(for<'a, 'c> fn(Call<'a, 'c>, RouteName) -> Reply<'a>),
    /// A name, and behind it a configured route.
    Hook(for<'a, 'c> fn(Call<'a, 'c>, String, RouteName) -> Reply<'a>),
}

const READ: &[&str] = &["GET", "HEAD"];
const GET: &[&str] = &["GET"];
const POST: &[&str] = &["POST"];
const PUBLISH: &[&str] = &["POST", "PUT"];
const HOOK: &[&str] = &["POST", "PUT", "GET"];
const DELETE: &[&str] = &["DELETE"];

/// Every endpoint. The first path that fits a request is its own; `{route}` stands last, and no route may have the name of
/// a first segment (`ROUTE_NAMES_RESERVED`).
pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        methods: READ,
        path: "/",
        scope: Scope::Read,
        summary: "The status page, for a browser.",
        handler: Handler::Fixed(|call| Box::pin(async move { Ok(page::page(&call).await) })),
    },
    Endpoint {
        methods: READ,
        path: "/web/{file}",
        scope: Scope::Read,
        summary: "What the page is made of.",
        handler: Handler::Named(|_, name| at_once(page::asset(&name))),
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
        handler: Handler::Fixed(|call| Box::pin(async move { Ok(status::health(&call).await) })),
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
        path: "/v1/lines",
        scope: Scope::Read,
        summary: "Why each line ended, and how each run of the relay began.",
        handler: Handler::Fixed(|call| at_once(lines::list(&call))),
    },
    Endpoint {
        methods: READ,
        path: "/v1/events",
        scope: Scope::Read,
        summary: "What the journal has, as JSON lines.",
        handler: Handler::Fixed(|call| at_once(events::list(&call))),
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
        handler: Handler::Named(|call, id| Box::pin(alerts::show(call, id))),
    },
    Endpoint {
        methods: DELETE,
        path: "/v1/alerts/{id}",
        scope: Scope::Admin,
        summary: "Gives up what of an alert is not yet sent.",
        handler: Handler::Named(|call, id| Box::pin(alerts::give_up(call, id))),
    },
    Endpoint {
        methods: POST,
        path: "/v1/alerts/{id}/retry",
        scope: Scope::Admin,
        summary: "Sends again what was given up, and at once what waits.",
        handler: Handler::Named(|call, id| Box::pin(alerts::retry(call, id))),
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
        scope: Scope::Admin,
        summary: "A backup of the state, with keys in it.",
        handler: Handler::Fixed(|call| Box::pin(backup::backup(call))),
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
        summary: "Publishes a message for Gotify; the application's token is the name of the route.",
        handler: Handler::Fixed(|call| Box::pin(publish::gotify(call))),
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
}

/// The segments of a path. A base address that ends with a slash makes `//family`, a careful one `/family/`: they mean the
/// same.
fn segments_of(path: &str) -> Vec<&str> {
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

/// Answers one request.
pub(super) async fn handle(context: &Context, listener: Listener, request: &mut Request<'_>) -> Answer {
    let outcome = dispatch(context, listener, request).await;
    outcome.unwrap_or_else(|problem| {
        log::debug!("{listener}: {} {}", problem.body().http, problem.body().error);
        problem.into()
    })
}

async fn dispatch(context: &Context, listener: Listener, request: &mut Request<'_>) -> Outcome {
    let caller = auth::identify(listener, &request.head)?;
    let nothing = || Problem::new(404, format!("there is nothing at {}", request.head.path));
    let segments = segments_of(&request.head.path);
    let found = ENDPOINTS
        .iter()
        .find_map(|endpoint| Some((endpoint, endpoint.matches(&segments)?)));
    let (first, open) = found.ok_or_else(nothing)?;
    let last = open.last().copied().unwrap_or_default();
    // A route that is not there has no methods either.
    let route = match first.handler {
        Handler::Route(_) if is_reserved(last) => return Err(nothing()),
        Handler::Route(_) | Handler::Hook(_) => Some(context.route(last)?),
        Handler::Fixed(_) | Handler::Named(_) => None,
    };
    let name = open.first().copied().unwrap_or_default().to_owned();
    let mut here = ENDPOINTS.iter().filter(|endpoint| endpoint.path == first.path);
    let takes = |endpoint: &&Endpoint| endpoint.methods.contains(&request.head.method.as_str());
    let Some(endpoint) = here.find(takes) else {
        return Err(Problem::method(&allowed(first.path)));
    };
    auth::permit(caller, endpoint.scope, &request.head)?;
    let handler = endpoint.handler;
    let missing = nothing();
    let call = Call {
        context,
        listener,
        request,
    };
    match (handler, route) {
        (Handler::Fixed(handler), _) => handler(call).await,
        (Handler::Named(handler), _) => handler(call, name).await,
        (Handler::Route(handler), Some(route)) => handler(call, route).await,
        (Handler::Hook(handler), Some(route)) => handler(call, name, route).await,
        // The rows of one path leave the same open, as a test makes sure.
        (Handler::Route(_) | Handler::Hook(_), None) => Err(missing),
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
mod tests {
    use super::*;

    fn found(path: &str) -> &'static str {
        let segments = segments_of(path);
        let found = ENDPOINTS.iter().find(|endpoint| endpoint.matches(&segments).is_some());
        found.map_or("", |endpoint| endpoint.path)
    }

    #[test]
    fn the_first_path_that_fits_is_a_requests_own() {
        for (path, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("/family", "/{route}"),
            ("//family/", "/{route}"),
            ("/family/publish", "/{route}/publish"),
            ("/v1/status", "/v1/status"),
            ("/v1/alerts/x", "/v1/alerts/{id}"),
            ("/v1/alerts/x/retry", "/v1/alerts/{id}/retry"),
            ("/v1/hooks/slack/family", "/v1/hooks/{dialect}/{route}"),
            ("/message", "/message"),
            ("/notify/family", "/notify/{route}"),
            ("/v1/nothing", ""),
            ("/a/b/c", ""),
        ] {
            assert_eq!(found(path), expected, "{path}");
        }
    }

    #[test]
    fn every_endpoint_can_be_reached_and_none_hides_a_route() {
        for endpoint in ENDPOINTS {
            assert_eq!(found(endpoint.path), endpoint.path, "hidden by a row before it");
            let segments = segments_of(endpoint.path);
            match segments.first() {
                Some(first) if !first.starts_with('{') => assert!(is_reserved(first), "{first} hides a route"),
                Some(_) | None => {}
            }
            let open: Vec<_> = segments.iter().filter(|segment| segment.starts_with('{')).collect();
            match endpoint.handler {
                Handler::Fixed(_) => assert!(open.is_empty(), "{}", endpoint.path),
                Handler::Named(_) => assert!(open.len() == 1 && *open[0] != "{route}", "{}", endpoint.path),
                Handler::Route(_) => assert_eq!(open, [&"{route}"], "{}", endpoint.path),
                Handler::Hook(_) => assert_eq!(open, [&"{dialect}", &"{route}"], "{}", endpoint.path),
            }
        }
    }

    #[test]
    fn a_method_is_answered_once_and_showing_has_a_head() {
        for (index, endpoint) in ENDPOINTS.iter().enumerate() {
            for method in endpoint.methods {
                let again = |later: &&Endpoint| later.path == endpoint.path && later.methods.contains(method);
                assert!(
                    !ENDPOINTS[index + 1..].iter().any(|later| again(&later)),
                    "{method} {}",
                    endpoint.path
                );
            }
            let shows = endpoint.scope == Scope::Read;
            assert_eq!(
                shows,
                endpoint.methods == READ && endpoint.path != "/v1/chats",
                "{}",
                endpoint.path
            );
        }
        assert_eq!(allowed("/v1/alerts/{id}"), "GET, HEAD, DELETE");
    }
}
