//! How the relay is: `GET /v1/status`, `/v1/health` and `/v1/routes`.

use super::answer::Answer;
use super::call::Call;
use crate::gateway::api::Health;

/// `GET /v1/status`.
pub(super) async fn status(call: &Call<'_, '_>) -> Answer {
    Answer::json(200, &call.context.relay.status().await)
}

/// `GET /v1/routes`.
pub(super) fn routes(call: &Call<'_, '_>) -> Answer {
    let mut routes = call.context.relay.routes();
    routes.retain(|route| call.sees(route.as_str()));
    Answer::json(200, &routes)
}

/// `GET /v1/health`.
pub(super) async fn health(call: &Call<'_, '_>) -> Answer {
    let status = call.context.relay.status().await;
    let mut problems = status.health;
    problems.retain(|entry| entry.severity == "error");
    if status.healthy {
        problems.clear();
    }
    let health = Health {
        healthy: status.healthy,
        problems,
    };
    Answer::json(if health.healthy { 200 } else { 503 }, &health)
}
