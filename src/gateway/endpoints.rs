//! Every address of the HTTP API, and what it does.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_io::Timer;
use futures_lite::io::AssertAsync;
use futures_lite::{AsyncRead, Stream, future};
use serde::Serialize;
use smol::lock::MutexGuardArc;

use crate::alert::{RouteName, SessionName};
use crate::outbox::Step;

use super::answer::{Answer, Body, Problem};
use super::api::{AlertView, HealthEntry, PairEvent};
use super::connection::{Received, Request};
use super::server::{Door, Shared};
use super::{Refusal, guard, page, publish, query};

/// `GET /v1/alerts` without `limit`, and at most with it.
const ALERTS_DEFAULT: usize = 100;
const ALERTS_MAX: usize = 1000;
/// `GET /v1/events` without `limit`, and at most with it.
const EVENTS_DEFAULT: usize = 100;
const EVENTS_MAX: usize = 1000;
/// `GET /v1/lines`: a day of a busy line, and all that one session keeps.
const LINES_DEFAULT: usize = 50;
const LINES_MAX: usize = 1000;
/// How long one may wait that should not.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// `?wait=` without `timeout`. Below the idle limits of what usually sits between two programs.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);
/// Between two empty lines of a pairing stream.
const PAIR_BEAT: Duration = Duration::from_secs(3);
/// How long a backup waits for the one before it. Less than the command line waits for an answer.
const BACKUP_TURN: Duration = Duration::from_secs(20);
/// What an address takes that only shows something.
const READ: &str = "GET, HEAD";

type Outcome = Result<Answer, Problem>;

/// Answers one request.
pub(super) async fn handle(shared: &Shared, door: Door, request: &mut Request<'_>) -> Answer {
    let checked = match door {
        Door::Tcp(listen) => guard::check(&request.head, listen),
        Door::Control => Ok(()),
    };
    let outcome = match checked {
        Ok(()) => dispatch(shared, door, request).await,
        Err(problem) => Err(problem),
    };
    outcome.unwrap_or_else(|problem| {
        log::debug!("{door}: {} {}", problem.body().http, problem.body().error);
        problem.into()
    })
}

async fn dispatch(shared: &Shared, door: Door, conn: &mut Request<'_>) -> Outcome {
    let path = conn.head.path.clone();
    // A base address that ends with a slash makes `//family`, a careful one `/family/`: they mean the same.
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        [] => on(conn, READ).map(|()| page::page(shared)),
        ["web", name] => on(conn, READ).and_then(|()| page::asset(name)),
        ["v1", "status"] => on(conn, READ).map(|()| Answer::json(200, &shared.relay.status())),
        ["v1", "routes"] => on(conn, READ).map(|()| Answer::json(200, &shared.relay.routes())),
        ["v1", "health"] => on(conn, READ).map(|()| health(shared)),
        ["v1", "lines"] => on(conn, READ).and_then(|()| lines(shared, conn)),
        ["v1", "alerts"] => on(conn, READ).and_then(|()| alerts(shared, conn)),
        ["v1", "events"] => on(conn, READ).and_then(|()| events(shared, conn)),
        ["v1", "alerts", id] => alert(shared, door, conn, id).await,
        ["v1", "alerts", id, "retry"] => {
            on(conn, "POST")?;
            control_only(door, "sending an alert again")?;
            Ok(Answer::json(200, &shared.relay.retry(id).await?))
        }
        ["v1", "chats"] => {
            on(conn, READ)?;
            control_only(door, "the list of chats")?;
            chats(shared, conn).await
        }
        ["v1", "backup"] => {
            on(conn, "GET")?;
            control_only(door, "taking a backup, which holds keys,")?;
            backup(shared).await
        }
        ["v1", "sessions", session, "pair"] => {
            on(conn, "POST")?;
            control_only(door, "pairing")?;
            pair(shared, conn, session).await
        }
        ["v1", ..] => Err(Problem::new(404, format!("there is nothing at {path}"))),
        [name] => {
            let route = route(shared, name)?;
            on(conn, "POST, PUT")?;
            let body = conn.body(&|| shared.slow_slot(door)).await?;
            publish::publish(shared, route, &conn.head, &body).await
        }
        // No HEAD here: it would publish.
        [name, "publish" | "send" | "trigger"] => {
            let route = route(shared, name)?;
            on(conn, "GET")?;
            if let Door::Tcp(_) = door {
                guard::check_acting_get(&conn.head)?;
            }
            publish::publish(shared, route, &conn.head, &Received::default()).await
        }
        _ => Err(Problem::new(404, format!("there is nothing at {path}"))),
    }
}

/// A backup, in memory until it has gone out.
struct Outgoing {
    file: std::fs::File,
    _turn: MutexGuardArc<()>,
}

impl std::io::Read for Outgoing {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.file.read(out)
    }
}

async fn backup(shared: &Shared) -> Result<Answer, Problem> {
    // One at a time: whoever reads slowly holds up the next one, and no more memory.
    let turn = async { Some(shared.backups.lock_arc().await) };
    let late = async {
        Timer::after(BACKUP_TURN).await;
        None
    };
    let turn = future::or(turn, late).await;
    let turn = turn.ok_or_else(|| Problem::new(503, "another backup is on its way out; try again when it is there"))?;
    let (file, bytes) = shared.relay.backup().await?;
    // Reading it waits for no disk.
    let file = AssertAsync::new(Outgoing { file, _turn: turn });
    let body = Body::stream(file, Some(bytes));
    Ok(Answer::new(200, "application/octet-stream", body))
}

/// Is the method one of `allow`?
fn on(conn: &Request<'_>, allow: &'static str) -> Result<(), Problem> {
    if allow.split(", ").any(|allowed| allowed == conn.head.method) {
        return Ok(());
    }
    Err(Problem::method(allow))
}

/// TCP has no tokens yet: what reveals contacts, links accounts or loses alerts needs the right to open the socket
/// file.
fn control_only(door: Door, what: &str) -> Result<(), Problem> {
    match door {
        Door::Control => Ok(()),
        Door::Tcp(_) => Err(Problem::new(
            403,
            format!("{what} is allowed on the control socket alone: use the tautline command"),
        )),
    }
}

/// A query of ours is read strictly: what it asks for must not be guessed.
fn pairs(conn: &Request<'_>) -> Result<Vec<(String, String)>, Problem> {
    let query::Decoded { pairs, mut faults } = query::decode(&conn.head.query);
    match faults.pop() {
        None => Ok(pairs),
        Some(fault) => Err(Problem::new(400, fault)),
    }
}

fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(given, _)| given == name)
        .map(|(_, value)| value.as_str())
}

fn route(shared: &Shared, name: &str) -> Result<RouteName, Problem> {
    let routes = shared.relay.routes();
    match routes.iter().find(|route| route.as_str() == name) {
        Some(route) => Ok(route.clone()),
        None => Err(Problem::unknown_route(
            name,
            routes.iter().map(ToString::to_string).collect(),
        )),
    }
}

/// ntfy's `{"healthy":true}`; when not, with what is wrong.
#[derive(Serialize)]
struct Health {
    healthy: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<HealthEntry>,
}

fn health(shared: &Shared) -> Answer {
    let status = shared.relay.status();
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

fn parse_limit(text: Option<&str>, default: usize, max: usize) -> Result<usize, Problem> {
    let Some(text) = text else { return Ok(default) };
    let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
    limit.ok_or_else(|| Problem::new(400, format!("limit is a number from 1 to {max}, not {text:?}")))
}

fn lines(shared: &Shared, conn: &Request<'_>) -> Outcome {
    let pairs = pairs(conn)?;
    let limit = parse_limit(value(&pairs, "limit"), LINES_DEFAULT, LINES_MAX)?;
    let session = value(&pairs, "session").map(parse_session).transpose()?;
    Ok(Answer::json(200, &shared.relay.lines(session, limit)?))
}

fn alerts(shared: &Shared, conn: &Request<'_>) -> Outcome {
    let pairs = pairs(conn)?;
    let limit = parse_limit(value(&pairs, "limit"), ALERTS_DEFAULT, ALERTS_MAX)?;
    let pending = match value(&pairs, "pending") {
        None | Some("0" | "false") => false,
        Some("" | "1" | "true") => true,
        Some(other) => return Err(Problem::new(400, format!("pending is 0 or 1, not {other:?}"))),
    };
    Ok(Answer::json(200, &shared.relay.alerts(pending, limit)))
}

/// What is there, a JSON object a line, and then the end. Whoever wants more asks again with the last number.
fn events(shared: &Shared, conn: &Request<'_>) -> Outcome {
    let pairs = pairs(conn)?;
    let since = match value(&pairs, "since") {
        None => 0,
        Some(text) => text.parse().map_err(|_| {
            let error = format!("since is the number of the last entry that is known, or 0, not {text:?}");
            Problem::new(400, error)
        })?,
    };
    let limit = parse_limit(value(&pairs, "limit"), EVENTS_DEFAULT, EVENTS_MAX)?;
    let mut lines = String::new();
    for event in shared.relay.events(since, limit)? {
        let line = serde_json::to_string(&event)
            .map_err(|error| Problem::new(500, format!("the answer cannot be written as JSON: {error}")))?;
        lines.push_str(&line);
        lines.push('\n');
    }
    Ok(Answer::new(200, "application/x-ndjson", lines))
}

async fn alert(shared: &Shared, door: Door, conn: &mut Request<'_>, id: &str) -> Outcome {
    on(conn, "GET, HEAD, DELETE")?;
    if conn.head.method == "DELETE" {
        control_only(door, "giving up an alert")?;
        return Ok(Answer::json(200, &shared.relay.drop_alert(id).await?));
    }
    let pairs = pairs(conn)?;
    let found = match value(&pairs, "wait") {
        None => shared.relay.alert(id),
        Some(step) => {
            let step = parse_step(step)?;
            let timeout = parse_timeout(value(&pairs, "timeout"))?.min(shared.limits.wait_max);
            // Too many wait already: this one looks again and again instead, and leaves its place between two looks.
            let slot = shared.waiting_slot(door);
            let timeout = if slot.is_some() {
                timeout
            } else {
                timeout.min(LOOK_AGAIN)
            };
            wait(shared, conn, id, step, timeout).await?
        }
    };
    match found {
        Some(view) => Ok(Answer::json(200, &view)),
        None if shared.relay.is_forgotten(id) => Err(Refusal::ForgottenAlert(id.to_owned()).into()),
        None => Err(Refusal::UnknownAlert(id.to_owned()).into()),
    }
}

/// Waits, unless the client leaves before.
async fn wait(
    shared: &Shared,
    conn: &mut Request<'_>,
    id: &str,
    step: Step,
    timeout: Duration,
) -> Result<Option<AlertView>, Problem> {
    let waiting = shared.relay.wait(id, step, timeout);
    match conn.unless_left(waiting).await {
        Some(found) => Ok(found),
        None => Err(Problem::new(408, "the client has left")),
    }
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
fn parse_timeout(text: Option<&str>) -> Result<Duration, Problem> {
    let Some(text) = text else {
        return Ok(WAIT_DEFAULT);
    };
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    humantime::parse_duration(text)
        .map_err(|_| Problem::new(400, format!("timeout is a time like 30s or 2m, not {text:?}")))
}

fn parse_session(name: &str) -> Result<SessionName, Problem> {
    name.parse()
        .map_err(|_| Refusal::UnknownSession(name.to_owned()).into())
}

async fn chats(shared: &Shared, conn: &Request<'_>) -> Outcome {
    let pairs = pairs(conn)?;
    let session = value(&pairs, "session").map(parse_session).transpose()?;
    Ok(Answer::json(200, &shared.relay.chats(session).await?))
}

async fn pair(shared: &Shared, conn: &Request<'_>, session: &str) -> Outcome {
    let session = parse_session(session)?;
    let pairs = pairs(conn)?;
    let phone = match value(&pairs, "phone") {
        None => None,
        Some(digits) if (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.to_owned())
        }
        Some(_) => {
            return Err(Problem::new(
                400,
                "phone is 7 to 15 digits with the country code, without + or 00",
            ));
        }
    };
    let events = shared.relay.pair(session, phone).await?;
    let lines = EventLines {
        events: Box::pin(events),
        beat: Timer::interval(PAIR_BEAT),
        line: Vec::new(),
    };
    let mut answer = Answer::new(200, "application/x-ndjson", Body::stream(lines, None));
    answer.close = true;
    Ok(answer)
}

/// Pairing events as JSON lines. Ends with the channel; when the client is gone, the channel is dropped with this.
struct EventLines {
    events: Pin<Box<async_channel::Receiver<PairEvent>>>,
    /// An empty line now and then: only writing shows that a client has left, and codes live for a minute.
    beat: Timer,
    /// What of the current line is not read yet.
    line: Vec<u8>,
}

impl AsyncRead for EventLines {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<std::io::Result<usize>> {
        if self.line.is_empty() {
            let event = match self.events.as_mut().poll_next(cx) {
                Poll::Ready(Some(event)) => Some(event),
                Poll::Ready(None) => return Poll::Ready(Ok(0)),
                Poll::Pending if Pin::new(&mut self.beat).poll_next(cx).is_ready() => None,
                Poll::Pending => return Poll::Pending,
            };
            self.line = event
                .map(|event| serde_json::to_vec(&event))
                .transpose()?
                .unwrap_or_default();
            self.line.push(b'\n');
        }
        let count = buffer.len().min(self.line.len());
        buffer[..count].copy_from_slice(&self.line[..count]);
        self.line.drain(..count);
        Poll::Ready(Ok(count))
    }
}
