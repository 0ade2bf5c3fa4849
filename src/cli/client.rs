//! Talking to the running relay over its control socket.

use std::future::Future;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use async_io::Timer;
use serde::de::DeserializeOwned;
use smol::net::unix::UnixStream;

use crate::gateway::api::{ErrorBody, TOO_MANY_CONNECTIONS};
use crate::net::http::{HttpError, Incoming, Request, Response, exchange, exchange_streaming, open};

use super::{Exit, Failure, Global, paths};

/// Status and lists; far above what 1000 alerts need.
const BODY_MAX_BYTES: usize = 64 * 1024 * 1024;
/// An answer that needs no waiting. An alert is synced to an SD card in it, which may take seconds.
pub(super) const PROMPT: Duration = Duration::from_secs(30);

/// How long to try again while the relay has as many connections as it takes.
const CROWD_PATIENCE: Duration = Duration::from_secs(20);
const CROWD_PAUSE: Duration = Duration::from_millis(200);

/// The relay that was found.
pub(super) struct Client {
    path: PathBuf,
}

impl Client {
    /// Finds the first control socket that a relay answers on.
    ///
    /// # Errors
    /// [`Exit::Unreachable`], naming what was tried.
    pub async fn find(global: &Global) -> Result<Self, Failure> {
        let mut tried = Vec::new();
        for path in paths::control_candidates(global)? {
            if let Err(why) = paths::check_owner(&path) {
                tried.push(format!("{} ({why})", path.display()));
                continue;
            }
            match UnixStream::connect(&path).await {
                Ok(_) => return Ok(Self { path }),
                Err(error) => tried.push(format!("{} ({})", path.display(), reason(&error))),
            }
        }
        Err(Failure::new(
            Exit::Unreachable,
            format!(
                "the relay is not reachable: tried {}; start it with `tautline run` or `systemctl start tautline`",
                tried.join(", ")
            ),
        ))
    }

    /// One request, answered with 2xx and JSON.
    ///
    /// # Errors
    /// [`Exit::Unreachable`] when the relay went away or is silent for `deadline`, [`Exit::Refused`] with its words.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        target: &str,
        body: Vec<u8>,
        deadline: Duration,
    ) -> Result<T, Failure> {
        understood(&self.ask(method, target, body, deadline).await?)
    }

    /// Hands over a form in parts, and reads the answer's JSON.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn send_form<T: DeserializeOwned>(
        &self,
        target: &str,
        form: Form,
        deadline: Duration,
    ) -> Result<T, Failure> {
        let mut request = request("POST", target, form.body);
        let content_type = format!("multipart/form-data; boundary={}", form.boundary);
        request.headers.push(("Content-Type".into(), content_type));
        let answer = async {
            let stream = self.connect().await?;
            exchange(stream, &request, BODY_MAX_BYTES).await.map_err(lost)
        };
        let response = within(deadline, answer).await?;
        understood(&response)
    }

    /// One request, whatever the answer.
    ///
    /// # Errors
    /// [`Exit::Unreachable`] as for [`call`](Self::call).
    pub async fn ask(
        &self,
        method: &str,
        target: &str,
        body: Vec<u8>,
        deadline: Duration,
    ) -> Result<Response, Failure> {
        let mut response = self.send(method, target, body.clone(), deadline).await?;
        let until = Instant::now() + CROWD_PATIENCE;
        // Refused at the door, before anything was read: worth another try.
        while response.status == 503 && is_crowded(&response.body) && Instant::now() < until {
            Timer::after(CROWD_PAUSE).await;
            response = self.send(method, target, body.clone(), deadline).await?;
        }
        Ok(response)
    }

    /// Hands over `length` bytes of a file, whatever the answer.
    ///
    /// # Errors
    /// As for [`ask`](Self::ask).
    pub async fn send_file<F>(
        &self,
        target: &str,
        file: F,
        length: u64,
        deadline: Duration,
    ) -> Result<Response, Failure>
    where
        F: std::io::Read + Send + 'static,
    {
        let request = request("POST", target, Vec::new());
        let answer = async {
            let stream = self.connect().await?;
            let body = smol::Unblock::new(file);
            let sent = exchange_streaming(stream, &request, body, length, BODY_MAX_BYTES);
            sent.await.map_err(lost)
        };
        within(deadline, answer).await
    }

    async fn send(&self, method: &str, target: &str, body: Vec<u8>, deadline: Duration) -> Result<Response, Failure> {
        let request = request(method, target, body);
        let answer = async {
            let stream = self.connect().await?;
            exchange(stream, &request, BODY_MAX_BYTES).await.map_err(lost)
        };
        within(deadline, answer).await
    }

    /// One request whose answer is a stream of lines.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn stream(&self, method: &str, target: &str) -> Result<Incoming<UnixStream>, Failure> {
        let request = request(method, target, Vec::new());
        let answer = async {
            let stream = self.connect().await?;
            let mut incoming = open(stream, &request).await.map_err(lost)?;
            if !(200..300).contains(&incoming.status) {
                let body = incoming.body(BODY_MAX_BYTES).await.map_err(lost)?;
                return Err(refused(incoming.status, &body));
            }
            Ok(incoming)
        };
        within(PROMPT, answer).await
    }

    async fn connect(&self) -> Result<UnixStream, Failure> {
        UnixStream::connect(&self.path).await.map_err(|error| {
            let path = self.path.display();
            Failure::new(
                Exit::Unreachable,
                format!("the relay has gone away: {path} ({})", reason(&error)),
            )
        })
    }
}

/// A form in parts.
pub(super) struct Form {
    pub boundary: String,
    pub body: Vec<u8>,
}

fn understood<T: DeserializeOwned>(response: &Response) -> Result<T, Failure> {
    if !(200..300).contains(&response.status) {
        return Err(refused(response.status, &response.body));
    }
    serde_json::from_slice(&response.body)
        .map_err(|error| Failure::new(Exit::Failed, format!("the relay's answer is not understood: {error}")))
}

fn request(method: &str, target: &str, body: Vec<u8>) -> Request {
    Request {
        method: method.into(),
        authority: "localhost".into(),
        target: target.into(),
        headers: vec![(
            "User-Agent".into(),
            concat!("tautline/", env!("CARGO_PKG_VERSION")).into(),
        )],
        body: body.into(),
    }
}

/// Why a socket could not be opened, in the words of somebody who looks for a relay.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "not there".into(),
        ErrorKind::ConnectionRefused => "nobody answers".into(),
        ErrorKind::PermissionDenied => "no permission, try sudo or the relay's own user".into(),
        _ => error.to_string(),
    }
}

/// The connection stood and broke.
pub(super) fn lost(error: HttpError) -> Failure {
    let exit = match error {
        HttpError::Io(_) => Exit::Unreachable,
        HttpError::Unwritable(_) => Exit::Usage,
        HttpError::Malformed(_) | HttpError::TooLarge(_) | HttpError::Body(_) => Exit::Failed,
    };
    Failure::new(exit, format!("talking to the relay: {error}"))
}

fn is_crowded(body: &[u8]) -> bool {
    serde_json::from_slice(body).is_ok_and(|body: ErrorBody| body.error == TOO_MANY_CONNECTIONS)
}

fn refused(status: u16, body: &[u8]) -> Failure {
    let text = match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => body.error,
        Err(_) => format!("the relay refused with status {status}"),
    };
    Failure::new(if status == 500 { Exit::Failed } else { Exit::Refused }, text)
}

/// # Errors
/// [`Exit::Unreachable`] when `deadline` passes first.
pub(super) async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    crate::util::within(deadline, work).await.unwrap_or_else(|| {
        let text = format!(
            "the relay does not answer within {}",
            humantime::format_duration(deadline)
        );
        Err(Failure::new(Exit::Unreachable, text))
    })
}
