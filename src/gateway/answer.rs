//! What goes back to a client: JSON, a page, a stream of lines, and one shape for everything that went wrong.

use serde::Serialize;
use trillium_http::{Body, Conn};

use super::Refusal;
use super::api::ErrorBody;
use super::socket::Clocked;

/// When a client that was told "not now" may come again, in seconds.
const RETRY_AFTER_S: &str = "10";
const JSON: &str = "application/json";

/// A whole answer; [`Answer::give`] puts it on the connection.
pub(super) struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
    /// No further request on this connection.
    pub close: bool,
}

impl Answer {
    pub fn json<T: Serialize>(status: u16, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(status, JSON, body),
            Err(error) => Problem::new(500, format!("the answer cannot be written as JSON: {error}")).into(),
        }
    }

    pub fn new(status: u16, content_type: &str, body: impl Into<Body>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", content_type.into())],
            body: body.into(),
            close: false,
        }
    }

    pub fn give(self, mut conn: Conn<Clocked>) -> Conn<Clocked> {
        for (name, value) in self.headers {
            conn.response_headers_mut().insert(name, value);
        }
        if self.close {
            conn.response_headers_mut().insert("Connection", "close");
        }
        conn.transport_mut().answering();
        conn.set_status(self.status);
        conn.set_response_body(self.body);
        conn
    }
}

/// Why a request was not done. One line, what and what to do; it becomes an [`ErrorBody`].
#[derive(Debug)]
pub(super) struct Problem {
    body: Box<ErrorBody>,
    /// For 405.
    allow: Option<&'static str>,
}

impl Problem {
    pub fn new(http: u16, error: impl Into<String>) -> Self {
        Self::with_code(code_of(http), http, error)
    }

    /// With ntfy's own code, where the fault has one.
    pub fn with_code(code: u32, http: u16, error: impl Into<String>) -> Self {
        let body = ErrorBody {
            code,
            http,
            error: error.into(),
            routes: Vec::new(),
        };
        Self {
            body: Box::new(body),
            allow: None,
        }
    }

    pub fn method(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::new(405, format!("this address takes {allow}"))
        }
    }

    pub fn unknown_route(name: &str, routes: Vec<String>) -> Self {
        let known = match routes.as_slice() {
            [] => "no route is configured".into(),
            some => format!("the routes are {}", some.join(", ")),
        };
        let mut problem = Self::new(404, format!("unknown route {name:?}: {known}"));
        problem.body.routes = routes;
        problem
    }

    pub fn body(&self) -> &ErrorBody {
        &self.body
    }
}

/// ntfy's code for a status that has only one there, else the status followed by 00.
fn code_of(http: u16) -> u32 {
    match http {
        413 => 41301,
        500 => 50001,
        507 => 50701,
        other => u32::from(other) * 100,
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let http = match &refusal {
            Refusal::UnknownRoute(_) | Refusal::UnknownAlert(_) | Refusal::UnknownSession(_) => 404,
            Refusal::Conflict(_) => 409,
            // Never 429: Alertmanager gives up on a 4xx and comes again after a 503.
            Refusal::Unavailable(_) | Refusal::Full(_) | Refusal::StorageFailed(_) => 503,
            Refusal::Storage(_) => 507,
        };
        Self::new(http, refusal.to_string())
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        // An `ErrorBody` is strings and numbers: it cannot fail to be JSON.
        let body = serde_json::to_vec(&problem.body).unwrap_or_default();
        let mut answer = Self::new(problem.body.http, JSON, body);
        if let Some(allow) = problem.allow {
            answer.headers.push(("Allow", allow.into()));
        }
        // Nothing more is expected from a client that was too slow or has left.
        answer.close = problem.body.http == 408;
        if problem.body.http == 503 {
            answer.headers.push(("Retry-After", RETRY_AFTER_S.into()));
        }
        answer
    }
}

/// The same, as bytes, for the moments when there is no request to answer: a head that never ended, or no room.
pub(super) fn raw(http: u16, phrase: &str, error: &str) -> Vec<u8> {
    let body = serde_json::to_string(&Problem::new(http, error).body).unwrap_or_default();
    let retry = match http {
        503 => format!("Retry-After: {RETRY_AFTER_S}\r\n"),
        _ => String::new(),
    };
    let length = body.len();
    format!(
        "HTTP/1.1 {http} {phrase}\r\nConnection: close\r\nContent-Type: {JSON}\r\nX-Content-Type-Options: nosniff\r\n\
         {retry}Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
