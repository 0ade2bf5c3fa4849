//! The alerts that the relay has, one by one and all together.

use std::time::Duration;

use super::answer::{Answer, Problem};
use super::call::{Call, Outcome};
use crate::gateway::api::AlertView;
use crate::gateway::relay::Refusal;
use crate::outbox::Step;

/// Without `limit`, and at most with it.
const ALERTS_DEFAULT: usize = 100;
const ALERTS_MAX: usize = 1000;
/// How long one may wait that should not.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// `?wait=` without `timeout`. Below the idle limits of what usually sits between two programs.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);

/// `GET /v1/alerts`.
pub(super) async fn list(call: Call<'_, '_>) -> Outcome {
    let query = call.query()?;
    let limit = query.limit(ALERTS_DEFAULT, ALERTS_MAX)?;
    let pending = query.is_set("pending")?;
    Ok(Answer::json(200, &newest(&call, pending, limit).await))
}

/// The newest that are theirs to see.
pub(super) async fn newest(call: &Call<'_, '_>, pending: bool, limit: usize) -> Vec<AlertView> {
    let relay = &call.context.relay;
    if call.caller.may_everywhere(call.scope) {
        return relay.alerts(pending, limit).await;
    }
    let all = relay.alerts(pending, ALERTS_MAX).await.into_iter();
    all.filter(|alert| call.sees(&alert.route)).take(limit).collect()
}

/// `GET /v1/alerts/{id}`.
pub(super) async fn show(mut call: Call<'_, '_>, id: String) -> Outcome {
    let relay = &call.context.relay;
    let query = call.query()?;
    let timeout = parse_timeout(query.value("timeout"))?.min(call.context.limits.wait_max);
    let found = match query.value("wait") {
        None => relay.alert(&id).await,
        Some(step) => {
            let step = parse_step(step)?;
            // Too many wait already: this one looks again and again instead, and leaves its place between two looks.
            let slot = call.context.waiting_slot(call.listener);
            let timeout = if slot.is_some() {
                timeout
            } else {
                timeout.min(LOOK_AGAIN)
            };
            wait(&mut call, &id, step, timeout).await?
        }
    };
    match found {
        Some(view) => Ok(Answer::json(200, &view)),
        None if relay.is_forgotten(&id).await => Err(Refusal::ForgottenAlert(id).into()),
        None => Err(Refusal::UnknownAlert(id).into()),
    }
}

/// Waits, unless the client leaves before.
async fn wait(call: &mut Call<'_, '_>, id: &str, step: Step, timeout: Duration) -> Result<Option<AlertView>, Problem> {
    let waiting = call.context.relay.wait(id, step, timeout);
    match call.request.unless_left(waiting).await {
        Some(found) => Ok(found),
        None => Err(Problem::new(408, "the client has left")),
    }
}

/// `DELETE /v1/alerts/{id}`.
pub(super) async fn give_up(call: Call<'_, '_>, id: String) -> Outcome {
    Ok(Answer::json(200, &call.context.relay.drop_alert(&id).await?))
}

/// `POST /v1/alerts/{id}/retry`.
pub(super) async fn retry(call: Call<'_, '_>, id: String) -> Outcome {
    Ok(Answer::json(200, &call.context.relay.retry(&id).await?))
}

/// `POST /v1/alerts/{id}/ack`.
pub(super) async fn ack(call: Call<'_, '_>, id: String) -> Outcome {
    let by = match call.caller.grant() {
        Some(grant) => format!("whoever has the token {}", grant.name),
        None => "somebody on this box".to_owned(),
    };
    Ok(Answer::json(200, &call.context.relay.ack(&id, &by).await?))
}

fn parse_step(text: &str) -> Result<Step, Problem> {
    match text {
        // `--wait` alone, and ntfy-like bare parameters.
        "" | "sent" => Ok(Step::Sent),
        "delivered" => Ok(Step::Delivered),
        "read" => Ok(Step::Read),
        other => Err(Problem::new(
            400,
            format!("wait is sent, delivered or read, not {other:?}"),
        )),
    }
}

/// `30s`, `2m`, or a bare number of seconds.
pub(super) fn parse_timeout(text: Option<&str>) -> Result<Duration, Problem> {
    let Some(text) = text else {
        return Ok(WAIT_DEFAULT);
    };
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    humantime::parse_duration(text)
        .map_err(|_| Problem::new(400, format!("timeout is a time like 30s or 2m, not {text:?}")))
}
