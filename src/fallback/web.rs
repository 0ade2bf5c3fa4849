//! One request to an address of the configuration, over HTTP or HTTPS.
//!
//! Deliberately absent: redirects (a secret in a header must not be led elsewhere), cookies, connections that are kept.

use std::time::Duration;

use crate::config::{Endpoint, Proxy, Url};
use crate::line::Schedule;
use crate::net::{self, DialError, Plain, Progress, Trust, http};
use crate::util::within;

/// From the first byte of the request to the last one of the answer. The steps before have deadlines of their own.
const EXCHANGE_MAX: Duration = Duration::from_secs(30);

/// How much of an answer is read: as much as the words of an error take.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: &'static str,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What was answered, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// How many seconds the server wants not to be asked again, where it says so.
    pub retry_after: Option<u64>,
    pub body: Vec<u8>,
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
/// There is no whole answer in time. Any status is an answer.
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
    let request = http::Request {
        method: request.method.to_owned(),
        authority: url.authority(),
        target: url.endpoint().path.clone(),
        headers: request.headers,
        body: request.body.into(),
    };
    let answered = http::exchange(stream, &request, ANSWER_BYTES_MAX);
    let late = || {
        let text = format!("{}: no whole answer within {} s", url.origin(), EXCHANGE_MAX.as_secs());
        WebError::Unanswered(text)
    };
    let answer = within(EXCHANGE_MAX, answered).await.ok_or_else(late)?;
    let answer = answer.map_err(|error| match error {
        // It was refused here.
        http::HttpError::Unwritable(_) | http::HttpError::Body(_) => {
            WebError::Unreached(format!("{}: {error}", url.origin()))
        }
        http::HttpError::Io(_) | http::HttpError::Malformed(_) | http::HttpError::TooLarge(_) => {
            WebError::Unanswered(format!("{}: {error}", url.origin()))
        }
    })?;
    trial.worked();
    let retry_after = answer.headers.iter().find(|(name, _)| name == "retry-after");
    Ok(Answer {
        status: answer.status,
        retry_after: retry_after.and_then(|(_, value)| value.parse().ok()),
        body: answer.body,
    })
}
