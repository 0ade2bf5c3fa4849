//! How the relay is: `GET /v1/status`, `/v1/health` and `/v1/routes`.

use super::answer::Answer;
use super::auth::Scope;
use super::call::{Call, Outcome};
use super::login;
use crate::gateway::api::{Health, Status};

/// `GET /v1/status`.
pub(super) async fn status(call: &Call<'_, '_>) -> Answer {
    Answer::json(200, &theirs(call).await)
}

/// The status as the caller may see it. What health says of a case names routes and recipients: who may not read all
/// routes is told what is wrong in general.
pub(super) async fn theirs(call: &Call<'_, '_>) -> Status {
    let mut status = call.context.relay.status().await;
    let theirs = Scope::ALL.into_iter().filter(|scope| call.caller.may(*scope, None));
    status.login = login::shown(&call.caller);
    status.rights = theirs.map(|scope| scope.name().to_owned()).collect();
    if !call.caller.may_everywhere(call.scope) {
        for entry in &mut status.health {
            entry.text.clone_from(&entry.title);
        }
        status.held_back.retain(|held| call.sees(&held.route));
        status.hooks.clear();
    }
    status
}

/// `GET /v1/routes`.
pub(super) fn routes(call: &Call<'_, '_>) -> Answer {
    let mut routes = call.context.relay.routes();
    routes.retain(|route| call.sees(route.as_str()));
    Answer::json(200, &routes)
}

/// `GET /v1/health`.
pub(super) async fn health(call: &Call<'_, '_>) -> Outcome {
    let strict = call.query()?.is_set("strict")?;
    let status = theirs(call).await;
    let mut problems = status.health;
    problems.retain(|entry| strict || entry.severity == "error");
    let health = Health {
        healthy: problems.is_empty(),
        problems,
    };
    Ok(Answer::json(if health.healthy { 200 } else { 503 }, &health))
}
