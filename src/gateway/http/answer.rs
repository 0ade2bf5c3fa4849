//! What goes back to a client: JSON, a page, a stream of lines, and one shape for everything that went wrong.

use std::borrow::Cow;
use std::pin::Pin;
use std::time::Duration;

use futures_lite::AsyncRead;
use serde::Serialize;

use super::head::BadHead;
use super::slot::Slot;
use crate::gateway::api::ErrorBody;
use crate::gateway::relay::Refusal;
use crate::gateway::socket::Socket;

/// When a client that was told "not now" may come again, in seconds.
const RETRY_AFTER_S: u64 = 10;
const JSON: &str = "application/json";

/// What an answer carries.
pub(super) enum Body {
    Bytes(Cow<'static, [u8]>),
    Stream {
        from: Pin<Box<dyn AsyncRead + Send + Sync>>,
        /// In bytes; absent when nobody knows, and then the connection ends with it.
        length: Option<u64>,
    },
    /// The connection is another one from here on: its socket, and what was read ahead of it.
    Upgrade(Upgrade),
}

/// What goes on with a connection that is handed over.
pub(super) type Upgrade = Box<dyn FnOnce(Socket, Vec<u8>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::Bytes(text.as_bytes().into())
    }
}

impl Body {
    pub fn upgrade<F: Future<Output = ()> + Send + 'static>(
        go_on: impl FnOnce(Socket, Vec<u8>) -> F + Send + 'static,
    ) -> Self {
        Self::Upgrade(Box::new(|socket, ahead| Box::pin(go_on(socket, ahead))))
    }

    pub fn stream(from: impl AsyncRead + Send + Sync + 'static, length: Option<u64>) -> Self {
        Self::Stream {
            from: Box::pin(from),
            length,
        }
    }
}

/// A whole answer; the connection puts it on the wire.
pub(super) struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
    /// No further request on this connection.
    pub close: bool,
    /// A subscriber's: the connection has this place from here on, and no longer one among the others.
    pub subscriber: Option<Slot>,
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
            subscriber: None,
        }
    }
}

/// Why a request was not done. One line, what and what to do; it becomes an [`ErrorBody`].
#[derive(Debug)]
pub(super) struct Problem {
    body: Box<ErrorBody>,
    /// For 405.
    allow: Option<String>,
    /// When to come again, in seconds.
    retry_after_s: u64,
}

impl Problem {
    pub fn new(http: u16, error: impl Into<String>) -> Self {
        let body = ErrorBody {
            code: code_of(http),
            http,
            error: error.into(),
            field: None,
            routes: Vec::new(),
            link: None,
        };
        Self {
            body: Box::new(body),
            allow: None,
            retry_after_s: RETRY_AFTER_S,
        }
    }

    /// When whoever was told "not now" may come again; whole seconds, and one at the least.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after_s = wait.as_secs() + 1;
        self
    }

    /// The same under another status.
    pub fn with_status(mut self, http: u16) -> Self {
        (self.body.http, self.body.code) = (http, code_of(http));
        self
    }

    /// Names the part of the request that is at fault.
    pub fn at(mut self, field: &str) -> Self {
        self.body.field = Some(field.to_owned());
        self
    }

    /// The address takes the methods `allow`, and no other.
    pub fn method(allow: &str) -> Self {
        Self {
            allow: Some(allow.to_owned()),
            ..Self::new(405, format!("this address takes {allow}"))
        }
    }

    /// No route has this name; says which there are.
    pub fn unknown_route(name: &str, routes: Vec<String>) -> Self {
        let known = match routes.as_slice() {
            [] => "no route is configured".into(),
            some => format!("the routes are {}", some.join(", ")),
        };
        let mut problem = Self::new(404, format!("unknown route {name:?}: {known}"));
        problem.body.routes = routes;
        problem
    }

    /// The same with ntfy's fields alone, and all of them: a client of it may take an error that has others for none.
    pub fn in_ntfys_words(mut self) -> Self {
        (self.body.field, self.body.routes) = (None, Vec::new());
        self.body.link = Some(String::new());
        self
    }

    pub fn body(&self) -> &ErrorBody {
        &self.body
    }
}

/// ntfy's code for a status that has only one there, else the status followed by 00.
fn code_of(http: u16) -> u32 {
    match http {
        401 => 40101,
        403 => 40301,
        404 => 40401,
        413 => 41301,
        429 => 42901,
        500 => 50001,
        507 => 50701,
        other => u32::from(other) * 100,
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let http = match &refusal {
            Refusal::UnknownRoute(_)
            | Refusal::UnknownAlert(_)
            | Refusal::UnknownSession(_)
            | Refusal::UnknownToken(_) => 404,
            Refusal::Conflict(_) => 409,
            Refusal::ForgottenAlert(_) => 410,
            // Never a 4xx: Alertmanager gives up on a 4xx and comes again after a 503.
            Refusal::Unavailable(_) | Refusal::Full(_) | Refusal::TooManyDelayed(_) | Refusal::StorageFailed(_) => 503,
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
            answer.headers.push(("Allow", allow));
        }
        // Nothing more is expected from a client that was too slow or has left.
        answer.close = problem.body.http == 408;
        if problem.body.http == 426 {
            let asked = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")];
            answer
                .headers
                .extend(asked.map(|(name, value)| (name, value.to_owned())));
        }
        if problem.body.http == 401 {
            // The first is for browsers, which ask for a name and a password: the token is either.
            let ways = [
                "Basic realm=\"tautline\", charset=\"UTF-8\"",
                "Bearer realm=\"tautline\"",
            ];
            answer
                .headers
                .extend(ways.map(|way| ("WWW-Authenticate", way.to_owned())));
        }
        if matches!(problem.body.http, 429 | 503) {
            answer.headers.push(("Retry-After", problem.retry_after_s.to_string()));
        }
        answer
    }
}

impl From<BadHead> for Problem {
    fn from(bad: BadHead) -> Self {
        Self::new(bad.http, bad.error)
    }
}

/// What a status is called.
pub(super) fn phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        // A client reads the number; the phrase may be empty.
        _ => "",
    }
}
