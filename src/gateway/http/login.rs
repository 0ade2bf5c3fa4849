//! Logging in: a browser shows a token once, and keeps a secret that is good for nothing else, in a cookie that no
//! script can read.
//!
//! Over TLS the cookie has the prefix `__Host-` and is `Secure`. Plain HTTP is answered on loopback and in trusted
//! networks alone, and there not every browser keeps a `Secure` cookie; so that one is without, and has the port in its
//! name, because browsers tell no ports apart.

use std::fmt::Write;
use std::time::Instant;

use super::answer::{Answer, Problem};
use super::auth::{self, Caller};
use super::call::{Call, Outcome};
use super::context::Listener;
use crate::access::{Digest, LOGIN_LASTS, Presented};
use crate::gateway::api::{LoginView, NewLogin};
use crate::util::millis;

/// Random bytes of the secret.
const SECRET_BYTES: usize = 32;

/// `POST /v1/login`.
pub(super) async fn begin(call: Call<'_, '_>) -> Outcome {
    let Listener::Tcp { .. } = call.listener else {
        return Err(Problem::new(409, "the control socket may do all without a login"));
    };
    let body = call.context.receive(call.listener, call.request).await?;
    let new: NewLogin = serde_json::from_slice(&body.kept)
        .map_err(|error| Problem::new(400, format!("the body is no login: {error}")).at("body"))?;
    let context = call.context;
    let grant = match context.relay.token(new.token.trim()) {
        Presented::Valid(grant) => grant,
        presented => {
            let from = auth::origin(&context.access, call.listener, &call.request.head)?;
            let denied = auth::denied(&presented);
            let from = from.and_then(|origin| origin.client);
            let problem = auth::refuse(context, from, &call.request.head, denied).await;
            return Err(problem.at("token"));
        }
    };
    let mut random = [0; SECRET_BYTES];
    getrandom::fill(&mut random).map_err(|error| Problem::new(500, format!("no random bytes: {error}")))?;
    let secret = random.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    let now = Instant::now();
    context.logins.begin(grant, Digest::of(&secret), now);
    let Some(login) = context.logins.find(&secret, now) else {
        return Err(Problem::new(500, "the login is gone already"));
    };
    let mut answer = Answer::json(200, &view(&login, now));
    let age = LOGIN_LASTS.as_secs();
    answer
        .headers
        .push(("Set-Cookie", cookie(&call, &format!("{secret}; Max-Age={age}"))));
    Ok(answer)
}

/// `DELETE /v1/login`: this one, or with `all` every one of the same token.
pub(super) async fn end(call: Call<'_, '_>) -> Outcome {
    let all = call.query()?.is_set("all")?;
    let logins = &call.context.logins;
    let ended = match call.caller.login() {
        None => 0,
        Some(login) if all => logins.end_all(login),
        Some(login) => {
            logins.end(login);
            1
        }
    };
    let mut answer = Answer::json(200, &serde_json::json!({ "ended": ended }));
    answer.headers.push(("Set-Cookie", cookie(&call, "; Max-Age=0")));
    Ok(answer)
}

/// What the status tells whoever came with a login.
pub(super) fn shown(caller: &Caller) -> Option<LoginView> {
    caller.login().map(|login| view(login, Instant::now()))
}

fn view(login: &crate::access::Login, now: Instant) -> LoginView {
    LoginView {
        token: login.grant.name.to_string(),
        rights: login.grant.rights.iter().map(|right| right.name().to_owned()).collect(),
        ends_in_ms: millis(login.left(now)),
    }
}

fn cookie(call: &Call<'_, '_>, value: &str) -> String {
    let (name, secure) = auth::cookie_of(&call.context.access, call.listener, &call.request.head);
    let secure = if secure { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}")
}
