//! One request on its way to its endpoint, and how an endpoint reads its query.

use super::answer::{Answer, Problem};
use super::auth::{self, Caller, Scope};
use super::connection::{Received, Request};
use super::context::{Context, Listener};
use crate::alert::{RouteName, SessionName};
use crate::gateway::query;
use crate::gateway::relay::Refusal;

/// What comes of a request.
pub(super) type Outcome = Result<Answer, Problem>;

/// A request that may be made, with all that an endpoint needs to answer it.
pub(super) struct Call<'a, 'c> {
    pub context: &'a Context,
    pub listener: Listener,
    /// Who asks, and with what right they came in.
    pub caller: Caller,
    pub scope: Scope,
    pub request: &'a mut Request<'c>,
    /// The body, where it had to be read before anybody knew who asks.
    pub body: Option<Received>,
}

impl Call<'_, '_> {
    /// Whether what the endpoint does is theirs on this route. What belongs to another is to stay unseen.
    pub fn sees(&self, route: &str) -> bool {
        self.caller.may(self.scope, Some(route))
    }

    /// The configured route of this name, if it is theirs.
    ///
    /// # Errors
    /// 403 for another's, 404 with the routes that there are.
    pub fn route(&self, name: &str) -> Result<RouteName, Problem> {
        match self.sees(name) {
            true => self.context.route(name),
            false => Err(auth::refusal(&self.caller, self.scope, Some(name), &self.request.head)),
        }
    }

    /// The query, read strictly: what it asks for must not be guessed.
    ///
    /// # Errors
    /// 400 if a part of it cannot be read.
    pub fn query(&self) -> Result<Query, Problem> {
        let query::Decoded { pairs, mut faults } = query::decode(&self.request.head.query);
        match faults.pop() {
            None => Ok(Query(pairs)),
            Some(fault) => Err(Problem::new(400, fault)),
        }
    }
}

/// The parameters of one request.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// The first value of this name.
    pub fn value(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        pairs.find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Whether `name` is there: alone, or as 1 or true.
    ///
    /// # Errors
    /// 400 if it says something else than yes or no.
    pub fn is_set(&self, name: &str) -> Result<bool, Problem> {
        match self.value(name) {
            None | Some("0" | "false") => Ok(false),
            Some("" | "1" | "true") => Ok(true),
            Some(other) => Err(Problem::new(400, format!("{name} is 0 or 1, not {other:?}")).at(name)),
        }
    }

    /// `limit`, or `default` without one.
    ///
    /// # Errors
    /// 400 unless it is a number from 1 to `max`.
    pub fn limit(&self, default: usize, max: usize) -> Result<usize, Problem> {
        let Some(text) = self.value("limit") else {
            return Ok(default);
        };
        let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
        limit.ok_or_else(|| Problem::new(400, format!("limit is a number from 1 to {max}, not {text:?}")))
    }

    /// `session`, if it is there.
    ///
    /// # Errors
    /// 404 for what can be no session's name.
    pub fn session(&self) -> Result<Option<SessionName>, Problem> {
        self.value("session").map(parse_session).transpose()
    }
}

/// The session of this name.
///
/// # Errors
/// 404 for what can be no session's name.
pub(super) fn parse_session(name: &str) -> Result<SessionName, Problem> {
    name.parse()
        .map_err(|_| Refusal::UnknownSession(name.to_owned()).into())
}
