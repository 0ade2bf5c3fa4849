//! What a subscriber asks for: from where, how fast, and which events.

use serde::Deserialize;

use crate::alert::{RouteName, SessionName};
use crate::gateway::api::EventView;
use crate::gateway::http::answer::Problem;
use crate::gateway::http::call::Call;
use crate::hook::EventKind;

/// Values of one filter.
const VALUES_MAX: usize = 50;
/// The largest window that a client can ask for.
const WINDOW_MAX: usize = 1000;

/// The first message of a client of `tautline.v1`; each of them stands for the parameter of the same name.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hello {
    since: Option<u64>,
    window: Option<usize>,
    kind: Option<Vec<String>>,
    session: Option<Vec<String>>,
    route: Option<Vec<String>>,
    alert: Option<Vec<String>>,
}

/// What is asked for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// What is behind this number; `None`: what comes from now on.
    pub since: Option<u64>,
    /// Events that may be told without being acknowledged; `None`: as many as the socket takes.
    pub window: Option<usize>,
    pub filter: Filter,
}

/// Which events are told. An empty list takes all; each of the others has to have a value that fits.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    kinds: Vec<EventKind>,
    sessions: Vec<SessionName>,
    routes: Vec<RouteName>,
    alerts: Vec<String>,
}

impl Wanted {
    /// From the query.
    ///
    /// # Errors
    /// 400 for what cannot be read, 403 and 404 for routes.
    pub fn of(call: &Call<'_, '_>) -> Result<Self, Problem> {
        let query = call.query()?;
        let list = |name: &str| {
            let values = query.value(name).map(|text| text.split(',').map(str::to_owned));
            values.map(Iterator::collect::<Vec<_>>)
        };
        let since = query.value("since").map(since).transpose()?;
        let window = query.value("window").map(|text| {
            let window = text.parse().ok();
            window.ok_or_else(|| Problem::new(400, format!("window is a number, not {text:?}")).at("window"))
        });
        let hello = Hello {
            since,
            window: window.transpose()?,
            kind: list("kind"),
            session: list("session"),
            route: list("route"),
            alert: list("alert"),
        };
        Self::default().with(hello, &|name| call.route(name))
    }

    /// What the client says in `hello` in the place of what stood in the query. `route` finds a route that is theirs.
    ///
    /// # Errors
    /// As there.
    pub fn with(mut self, hello: Hello, route: &dyn Fn(&str) -> Result<RouteName, Problem>) -> Result<Self, Problem> {
        let bad = |field: &str, error: String| Problem::new(400, error).at(field);
        self.since = hello.since.or(self.since);
        if let Some(window) = hello.window {
            if !(1..=WINDOW_MAX).contains(&window) {
                let error = format!("window is a number from 1 to {WINDOW_MAX}, not {window}");
                return Err(bad("window", error));
            }
            self.window = Some(window);
        }
        let lists = [&hello.kind, &hello.session, &hello.route, &hello.alert];
        if lists.into_iter().flatten().any(|list| list.len() > VALUES_MAX) {
            let error = format!("a filter has at most {VALUES_MAX} values");
            return Err(Problem::new(400, error));
        }
        if let Some(kinds) = hello.kind {
            let parse = |word: &String| {
                let error = format!("kind is alert, session, message or the name of an event, not {word:?}");
                word.parse().map_err(|_| bad("kind", error))
            };
            self.filter.kinds = kinds.iter().map(parse).collect::<Result<_, Problem>>()?;
        }
        if let Some(sessions) = hello.session {
            let parse = |name: &String| name.parse().map_err(|error| bad("session", format!("{error}")));
            self.filter.sessions = sessions.iter().map(parse).collect::<Result<_, Problem>>()?;
        }
        if let Some(routes) = hello.route {
            self.filter.routes = routes.iter().map(|name| route(name)).collect::<Result<_, _>>()?;
        }
        if let Some(alerts) = hello.alert {
            self.filter.alerts = alerts;
        }
        Ok(self)
    }
}

/// # Errors
/// 400: it is no number.
pub(super) fn since(text: &str) -> Result<u64, Problem> {
    text.trim().parse().map_err(|_| {
        let error = format!("since is the number of the last entry that is known, or 0, not {text:?}");
        Problem::new(400, error).at("since")
    })
}

impl Filter {
    pub fn fits(&self, event: &EventView) -> bool {
        let is = |kind: &EventKind| kind.takes(&event.event, event.of());
        let session = |name: &SessionName| name.as_str() == event.session;
        let route = |name: &RouteName| event.route.as_deref() == Some(name.as_str());
        let alert = |id: &String| event.alert.as_ref() == Some(id);
        (self.kinds.is_empty() || self.kinds.iter().any(is))
            && (self.sessions.is_empty() || self.sessions.iter().any(session))
            && (self.routes.is_empty() || self.routes.iter().any(route))
            && (self.alerts.is_empty() || self.alerts.iter().any(alert))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event: &str, alert: Option<&str>, route: Option<&str>, position: Option<u64>) -> EventView {
        EventView {
            number: 1,
            at: 1,
            event: event.into(),
            session: "default".into(),
            alert: alert.map(str::to_owned),
            route: route.map(str::to_owned),
            delivery: None,
            cause: None,
            position,
        }
    }

    fn wanted(hello: &str) -> Result<Wanted, String> {
        let hello: Hello = serde_json::from_str(hello).map_err(|error| error.to_string())?;
        let wanted = Wanted::default().with(hello, &|name| name.parse().map_err(|_| Problem::new(404, "no route")));
        wanted.map_err(|problem| problem.body().error.clone())
    }

    #[test]
    fn a_filter_takes_what_it_names() {
        let sent = event("sent", Some("A"), Some("family"), None);
        let online = event("online", None, None, None);
        let recorded = event("recorded", None, None, Some(3));
        for (hello, expected) in [
            ("{}", [true, true, true]),
            (r#"{"kind":["alert"]}"#, [true, false, false]),
            (r#"{"kind":["session"]}"#, [false, true, false]),
            (r#"{"kind":["message","sent"]}"#, [true, false, true]),
            (r#"{"kind":["failed"]}"#, [false, false, false]),
            (r#"{"session":["default"]}"#, [true, true, true]),
            (r#"{"session":["other"]}"#, [false, false, false]),
            (r#"{"route":["family","ops"]}"#, [true, false, false]),
            (r#"{"alert":["A"]}"#, [true, false, false]),
            (r#"{"alert":["B"]}"#, [false, false, false]),
            (r#"{"alert":["A"],"route":["ops"]}"#, [false, false, false]),
        ] {
            let filter = wanted(hello).unwrap().filter;
            let fits = [&sent, &online, &recorded].map(|event| filter.fits(event));
            assert_eq!(fits, expected, "{hello}");
        }
    }

    #[test]
    fn every_event_is_a_kind() {
        use crate::outbox::TransitionKind;
        use crate::store::journal::Event;
        let session: SessionName = "default".parse().unwrap();
        let cause = "unlinked".to_owned();
        for event in [
            Event::Alert {
                what: TransitionKind::Handover,
                id: "A".into(),
                route: "family".parse().unwrap(),
                session: session.clone(),
                delivery: None,
            },
            Event::Recorded {
                session: session.clone(),
                position: 1,
            },
            Event::Online {
                session: session.clone(),
            },
            Event::Offline {
                session: session.clone(),
                cause: cause.clone(),
            },
            Event::NeedsPerson {
                session: session.clone(),
                cause,
            },
            Event::Paired { session },
        ] {
            let at = crate::outbox::Timestamp(1);
            let name = EventView::from((1, crate::store::journal::Entry { at, event })).event;
            assert!(name.parse::<EventKind>().is_ok(), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_guessed() {
        for hello in [
            r#"{"sins":5}"#,
            r#"{"since":-1}"#,
            r#"{"window":0}"#,
            r#"{"window":1001}"#,
            r#"{"kind":["everything"]}"#,
            r#"{"session":[""]}"#,
            r#"{"route":["a b"]}"#,
        ] {
            assert!(wanted(hello).is_err(), "{hello}");
        }
        let many = serde_json::json!({ "alert": vec!["A"; VALUES_MAX + 1] });
        assert!(wanted(&many.to_string()).unwrap_err().contains("at most"));
        assert!(since("x").is_err() && since("-1").is_err() && since("7").is_ok());
    }

    #[test]
    fn what_is_said_later_counts() {
        let query = Wanted {
            since: Some(3),
            window: Some(9),
            ..Wanted::default()
        };
        let hello = |text: &str| serde_json::from_str::<Hello>(text).unwrap();
        let no_route = |_: &str| Err(Problem::new(404, "no route"));
        let same = query.clone().with(hello("{}"), &no_route).ok().unwrap();
        assert_eq!(same, query);
        let newer = query.with(hello(r#"{"since":8,"window":2}"#), &no_route).ok().unwrap();
        assert_eq!((newer.since, newer.window), (Some(8), Some(2)));
    }
}
