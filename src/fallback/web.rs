//! One request to an address of the configuration, over HTTP or HTTPS.
//!
//! Deliberately absent: redirects (a secret in a header must not be led elsewhere), cookies, connections that are kept.

use std::time::Duration;

use super::letter::one_line;
use crate::config::{Endpoint, Proxy, Url};
use crate::line::Schedule;
use crate::net::{self, DialError, Plain, Progress, Trust, http};
use crate::util::within;

/// How long an answer may take where nobody says.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How much of an answer's body is read, and for how long: as much as the words of an error take. What counts is its
/// status.
const BODY_BYTES_MAX: usize = 4096;
const BODY_WITHIN: Duration = Duration::from_secs(2);

/// How much is told of an answer that says no.
const SAID_CHARS_MAX: usize = 100;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: &'static str,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// From the first byte of the request to the head of the answer. The steps before have deadlines of their own.
    pub within: Duration,
}

/// What was answered, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// How long the server wants not to be asked again, where it says so.
    pub retry_after: Option<Duration>,
    /// Its beginning.
    pub body: Vec<u8>,
}

impl Answer {
    /// What was asked is done.
    pub fn is_taken(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What was given is refused for what it is, and not for how it was given.
    pub fn is_refusal(&self) -> bool {
        matches!(self.status, 400 | 406 | 413 | 415 | 422)
    }

    /// An answer of `origin` that says no, for people.
    pub fn words(&self, origin: &str) -> String {
        let status = self.status;
        let said = one_line(&String::from_utf8_lossy(&self.body), SAID_CHARS_MAX);
        let hint = match status {
            300..=399 => "; redirects are not followed: write the address that it leads to",
            401 | 403 => "; is the token right?",
            404 => "; is the address right?",
            _ => "",
        };
        match said.is_empty() {
            true => format!("{origin} answered {status}{hint}"),
            false => format!("{origin} answered {status}: {said}{hint}"),
        }
    }
}

/// No answer, and whether the request can have had an effect all the same. The words name the host alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    /// There was no connection: nobody has seen the request.
    #[error("{0}")]
    Unreached(String),
    /// It went out, and no answer came back that can be read.
    #[error("{0}")]
    Unanswered(String),
}

/// Asks `url`.
///
/// # Errors
/// There is no answer in time. Any status is an answer.
pub async fn ask(url: &Url, proxy: Option<&Proxy>, schedule: &Schedule, request: Request) -> Result<Answer, WebError> {
    ask_trusting(None, url, proxy, schedule, request).await
}

/// [`ask`] with other certificates than the web's.
///
/// # Errors
/// As for [`ask`].
pub async fn ask_trusting(
    trust: Option<&Trust>,
    url: &Url,
    proxy: Option<&Proxy>,
    schedule: &Schedule,
    request: Request,
) -> Result<Answer, WebError> {
    let unreached = |error: DialError| WebError::Unreached(error.to_string());
    let (endpoint, progress) = (url.endpoint(), Progress::default());
    let (stream, trial) = match trust.filter(|_| endpoint.tls) {
        Some(trust) => {
            let plain = Endpoint {
                tls: false,
                ..endpoint.clone()
            };
            let opened = net::open_within(Plain::UntilTls, &plain, proxy, schedule, &progress).await;
            let link = opened.map_err(unreached)?;
            let at = progress.place(endpoint, proxy);
            let secured = net::start_tls(link.stream, &endpoint.host, trust, &at, schedule.steps.tls).await;
            (secured.map_err(unreached)?, link.trial)
        }
        None => {
            let opened = net::open_within(Plain::Private, endpoint, proxy, schedule, &progress).await;
            let link = opened.map_err(unreached)?;
            (link.stream, link.trial)
        }
    };
    let patience = request.within;
    let request = http::Request {
        method: request.method.to_owned(),
        authority: url.authority(),
        target: url.endpoint().path.clone(),
        headers: request.headers,
        body: request.body.into(),
    };
    let late = || {
        let text = format!("{}: no answer within {} s", url.origin(), patience.as_secs());
        WebError::Unanswered(text)
    };
    let answer = within(patience, http::open(stream, &request)).await.ok_or_else(late)?;
    let mut answer = answer.map_err(|error| match error {
        // It was refused here.
        http::HttpError::Unwritable(_) | http::HttpError::Body(_) => {
            WebError::Unreached(format!("{}: {error}", url.origin()))
        }
        http::HttpError::Io(_) | http::HttpError::Malformed(_) | http::HttpError::TooLarge(_) => {
            WebError::Unanswered(format!("{}: {error}", url.origin()))
        }
    })?;
    trial.worked();
    let retry_after = answer.header("retry-after").and_then(seconds);
    Ok(Answer {
        status: answer.status,
        retry_after: retry_after.map(Duration::from_secs),
        body: answer.beginning(BODY_BYTES_MAX, BODY_WITHIN).await,
    })
}
/// What a `Retry-After` in seconds asks for; more than fits is as much as fits. A date is not read.
fn seconds(value: &str) -> Option<u64> {
    let value = value.trim();
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| value.parse().unwrap_or(u64::from(u32::MAX)).min(u32::MAX.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_after_of_any_size_is_heeded_and_a_date_is_not_read() {
        let read = [
            "0",
            " 90 ",
            "99999999999999999999",
            "",
            "-1",
            "Wed, 21 Oct 2026 07:28:00 GMT",
        ]
        .map(seconds);
        assert_eq!(read, [Some(0), Some(90), Some(u32::MAX.into()), None, None, None]);
    }
}
