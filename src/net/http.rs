//! A small HTTP/1.1 client over a stream that somebody else opened: one request, one answer, then the stream is closed.
//!
//! Used for the control socket and for the few files that WhatsApp serves over HTTPS.

use futures_lite::{AsyncRead, AsyncWrite};

/// One request. `Host`, `Content-Length` and `Connection: close` are added.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Goes into `Host`.
    pub authority: String,
    /// Path and query, already encoded.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A whole answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("the answer is not HTTP/1.1: {0}")]
    Malformed(String),
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

/// Sends `request` and reads the whole answer, at most `body_max` bytes of it. The caller sets the deadline.
///
/// # Errors
/// The stream failed, the answer is no HTTP/1.1, or it is larger than `body_max`. A 4xx or 5xx is an answer.
pub async fn exchange<S>(_stream: S, _request: &Request, _body_max: usize) -> Result<Response, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Err(HttpError::Malformed("not built yet".into()))
}
