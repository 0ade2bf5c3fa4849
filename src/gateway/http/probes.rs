//! What clients ask before they send: whether this is a server of the kind that they know, whether it is well, and who
//! they are there. The answers have the shapes of those servers, and say no more than whoever may send can know.

use serde_json::{Value, json};

use super::answer::{Answer, Problem};
use super::call::{Call, Outcome};
use super::publish::receive;
use crate::access::Right;
use crate::alert::ROUTE_NAMES_RESERVED;
use crate::gateway::api::{SessionState, SessionStatus};

/// The Gotify whose messages are understood here; some of its clients want to know that it is new enough.
const GOTIFY_VERSION: &str = "2.6.3";

/// Messages that ntfy's clients may think they have left: nobody counts them.
const MESSAGES_LEFT: u64 = 1_000_000;

/// What ntfy's clients may attach at once, in bytes: the largest body.
const ATTACHMENT_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// `GET /version`, as Gotify's clients ask.
pub(super) fn version() -> Answer {
    let server = concat!("tautline ", env!("CARGO_PKG_VERSION"));
    let version = json!({"version": GOTIFY_VERSION, "commit": "", "buildDate": "", "server": server});
    Answer::json(200, &version)
}

/// `GET /health`, as Gotify's senders ask: whether messages are taken. How WhatsApp is says `/v1/health`; a sender that
/// kept its alert back for it would lose it.
pub(super) fn health() -> Answer {
    Answer::json(200, &json!({"health": "green", "database": "green"}))
}

/// `GET /v1/account`, as ntfy's clients ask: who they are. The token's name is their user's.
pub(super) fn account(call: &Call<'_, '_>) -> Answer {
    let (username, role) = match call.caller.grant() {
        None => ("*", "anonymous"),
        Some(grant) if grant.rights.has(Right::Admin) => (grant.name.as_str(), "admin"),
        Some(grant) => (grant.name.as_str(), "user"),
    };
    let limits = json!({
        "basis": if role == "anonymous" { "ip" } else { "role" },
        "messages": MESSAGES_LEFT,
        "messages_expiry_duration": 0,
        "emails": 0,
        "calls": 0,
        "reservations": 0,
        "attachment_total_size": ATTACHMENT_BYTES_MAX,
        "attachment_file_size": ATTACHMENT_BYTES_MAX,
        "attachment_expiry_duration": 0,
        "attachment_bandwidth": ATTACHMENT_BYTES_MAX,
    });
    let stats = json!({
        "messages": 0,
        "messages_remaining": MESSAGES_LEFT,
        "emails": 0,
        "emails_remaining": 0,
        "calls": 0,
        "calls_remaining": 0,
        "reservations": 0,
        "reservations_remaining": 0,
        "attachment_total_size": 0,
        "attachment_total_size_remaining": ATTACHMENT_BYTES_MAX,
    });
    Answer::json(
        200,
        &json!({"username": username, "role": role, "limits": limits, "stats": stats}),
    )
}

/// `GET /v1/config`, as ntfy's apps ask: what there is here of ntfy beyond publishing and subscribing, which is
/// nothing.
pub(super) fn config() -> Answer {
    let config = json!({
        "base_url": "",
        "app_root": "/",
        "enable_login": false,
        "require_login": false,
        "enable_signup": false,
        "enable_payments": false,
        "enable_calls": false,
        "enable_emails": false,
        "enable_reservations": false,
        "enable_web_push": false,
        "billing_contact": "",
        "web_push_public_key": "",
        "disallowed_topics": ROUTE_NAMES_RESERVED,
    });
    Answer::json(200, &config)
}

/// `GET /v1/stats`, as ntfy's clients ask: how many alerts were ever accepted.
pub(super) async fn stats(call: Call<'_, '_>) -> Outcome {
    let newest = call.context.relay.alerts(false, 1).await;
    let messages = newest.first().map_or(0, |alert| alert.seq);
    Ok(Answer::json(200, &json!({"messages": messages, "messages_rate": 0.0})))
}

/// `GET /api/sessions`, as WAHA's clients ask.
pub(super) async fn sessions(call: Call<'_, '_>) -> Outcome {
    let status = call.context.relay.status().await;
    let all: Vec<Value> = status.sessions.iter().map(as_waha).collect();
    Ok(Answer::json(200, &all))
}

/// `GET /api/sessions/{session}`.
pub(super) async fn session(call: Call<'_, '_>, name: String) -> Outcome {
    let status = call.context.relay.status().await;
    match status.sessions.iter().find(|session| session.name == name) {
        Some(session) => Ok(Answer::json(200, &as_waha(session))),
        None => Err(Problem::new(404, format!("unknown session {name:?}"))),
    }
}

/// A session in WAHA's words. One without a line works too: what is sent meanwhile is kept.
fn as_waha(session: &SessionStatus) -> Value {
    let status = match session.state {
        SessionState::Online | SessionState::Connecting | SessionState::Waiting => "WORKING",
        SessionState::Unpaired | SessionState::Pairing => "SCAN_QR_CODE",
        SessionState::Stopped => "FAILED",
    };
    json!({"name": session.name, "status": status, "me": null})
}

/// `POST /1/users/validate.json`, as Pushover's clients ask: the devices of a user are the routes.
pub(super) async fn pushover_user(mut call: Call<'_, '_>) -> Outcome {
    receive(&mut call).await?;
    let mut routes = call.context.relay.routes();
    routes.retain(|route| call.sees(route.as_str()));
    let answer = json!({"status": 1, "request": "", "group": 0, "devices": routes, "licenses": []});
    Ok(Answer::json(200, &answer))
}
