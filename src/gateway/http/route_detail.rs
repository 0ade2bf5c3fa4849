//! One route: what it does, and a test of it.

use super::alerts::parse_timeout;
use super::answer::{Answer, Problem};
use super::call::{Call, Outcome};
use crate::alert::RouteName;

/// `GET /v1/routes/{route}`.
pub(super) fn show(call: &Call<'_, '_>, route: &RouteName) -> Outcome {
    Ok(Answer::json(200, &call.context.relay.route(route)?))
}

/// `POST /v1/routes/{route}/test`.
pub(super) async fn test(call: Call<'_, '_>, route: RouteName) -> Outcome {
    let query = call.query()?;
    let timeout = parse_timeout(query.value("timeout"))?.min(call.context.limits.wait_max);
    let tested = call.context.relay.test_route(route, timeout);
    match call.request.unless_left(tested).await {
        Some(tested) => Ok(Answer::json(200, &tested?)),
        None => Err(Problem::new(408, "the client has left")),
    }
}
