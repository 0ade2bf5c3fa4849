//! A small HTTP/1.1 client over a stream that somebody else opened: one request, one answer, then the stream is closed.
//!
//! Used for the control socket and for the few files that WhatsApp serves over HTTPS. Deliberately absent: keep-alive,
//! redirects, compression, TLS and deadlines. The caller opens the stream and bounds the time. A body is never copied:
//! it is written as it stands in memory, or piece by piece by whoever has it elsewhere.

use std::io::{Error as IoError, ErrorKind};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, future, io};

use crate::util::within;

/// Status line and headers together.
const HEAD_MAX_BYTES: usize = 64 * 1024;
const HEADERS_MAX: usize = 128;
/// Interim answers (1xx) before the real one; more is a server that plays with us.
const INTERIM_MAX: usize = 8;
/// The size line of one chunk with its extensions, and the whole trailer section.
const CHUNK_LINE_MAX_BYTES: usize = 4 * 1024;
const READ_BYTES: usize = 16 * 1024;
/// Head and body that are no longer than this go out in one write.
const ONE_WRITE_BYTES_MAX: usize = 16 * 1024;
/// How much of a body that is streamed is read at once.
const PIECE_BYTES: usize = 16 * 1024;

/// One request. `Host`, `Content-Length` and `Connection: close` are added.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Goes into `Host`.
    pub authority: String,
    /// Path and query, already encoded.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
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
    Io(#[from] IoError),
    #[error("the request cannot be written as HTTP/1.1: {0}")]
    Unwritable(String),
    #[error("the answer is not HTTP/1.1: {0}")]
    Malformed(String),
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("what was to be sent could not be read: {0}")]
    Body(#[source] IoError),
}

/// Sends `request` and reads the whole answer, at most `body_max` bytes of it. The caller sets the deadline.
///
/// # Errors
/// The stream failed, the answer is no HTTP/1.1, or it is larger than `body_max`. A 4xx or 5xx is an answer.
pub async fn exchange<S>(stream: S, request: &Request, body_max: usize) -> Result<Response, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut incoming = open(stream, request).await?;
    let body = incoming.body(body_max).await?;
    Ok(Response {
        status: incoming.status,
        headers: incoming.headers,
        body,
    })
}

/// Sends `request` and reads the answer's head; the body is then read from what comes back. The caller sets the
/// deadline.
///
/// # Errors
/// The stream failed, or what came is no HTTP/1.1 head of at most 64 KiB.
pub async fn open<S>(mut stream: S, request: &Request) -> Result<Incoming<S>, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = encode_head(request, request.body.len() as u64)?;
    let writing = async {
        if head.len() + request.body.len() <= ONE_WRITE_BYTES_MAX {
            stream.write_all(&[&head[..], &request.body[..]].concat()).await?;
        } else {
            stream.write_all(&head).await?;
            stream.write_all(&request.body).await?;
        }
        stream.flush().await
    };
    // A server may refuse early and close while we still write (413): its answer is worth more than our write error.
    let unsent = writing.await.err();
    match Incoming::receive(stream, request.method == "HEAD").await {
        Ok(incoming) => Ok(incoming),
        Err(error) => Err(unsent.map_or(error, HttpError::Io)),
    }
}

/// Sends `request` with `length` bytes of `body` in place of its own, and reads the whole answer, at most `answer_max`
/// bytes of it. A server that answers before it has all of the body is heard, and not sent the rest: such an answer is
/// a refusal. The caller sets the deadlines.
///
/// # Errors
/// As for [`exchange`]; and `body` could not be read, or was too short.
pub async fn exchange_streaming<S, B>(
    stream: S,
    request: &Request,
    mut body: B,
    length: u64,
    answer_max: usize,
) -> Result<Response, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + Unpin,
{
    let head = encode_head(request, length)?;
    let (reader, mut writer) = io::split(stream);
    let mut receiving = pin!(Incoming::receive(reader, false));
    let writing = async {
        writer.write_all(&head).await.map_err(HttpError::Io)?;
        let mut piece = vec![0; PIECE_BYTES];
        let mut left = length;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            let count = body.read(&mut piece[..wanted]).await.map_err(HttpError::Body)?;
            if count == 0 {
                return Err(HttpError::Body(ErrorKind::UnexpectedEof.into()));
            }
            writer.write_all(&piece[..count]).await.map_err(HttpError::Io)?;
            left -= count as u64;
        }
        writer.flush().await.map_err(HttpError::Io)
    };
    let written = async { Turn::Written(writing.await) };
    let answered = async { Turn::Answered(receiving.as_mut().await) };
    let mut incoming = match future::or(written, answered).await {
        Turn::Answered(answer) => answer?,
        Turn::Written(Ok(())) => receiving.await?,
        // It may have refused early and closed: its answer is worth more than our write error.
        Turn::Written(Err(error @ HttpError::Io(_))) => receiving.await.map_err(|_| error)?,
        Turn::Written(Err(error)) => return Err(error),
    };
    let body = incoming.body(answer_max).await?;
    Ok(Response {
        status: incoming.status,
        headers: incoming.headers,
        body,
    })
}

/// What comes first while a body is streamed.
enum Turn<A> {
    Written(Result<(), HttpError>),
    Answered(A),
}

/// An answer whose body is still on its way.
#[derive(Debug)]
pub struct Incoming<S> {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    stream: S,
    /// Bytes that were read and not yet used.
    buffer: Vec<u8>,
    framing: Framing,
    /// Body bytes of a line that is not complete yet.
    line: Vec<u8>,
}

/// How the end of the body is found (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// This many bytes are still to come.
    Length(usize),
    /// This many bytes of the current chunk are still to come; at zero a size line follows.
    Chunked {
        remaining: usize,
        first: bool,
    },
    /// Until the server closes.
    Close,
    Done,
}

impl<S: AsyncRead + Unpin> Incoming<S> {
    async fn receive(stream: S, headless: bool) -> Result<Self, HttpError> {
        let mut incoming = Self {
            status: 0,
            headers: Vec::new(),
            stream,
            buffer: Vec::new(),
            framing: Framing::Done,
            line: Vec::new(),
        };
        for _ in 0..=INTERIM_MAX {
            incoming.head().await?;
            match incoming.status {
                // Nobody asked for an upgrade.
                101 => return Err(HttpError::Malformed("status 101 without a request for it".into())),
                100..=199 => continue,
                _ => {}
            }
            incoming.framing = if headless || matches!(incoming.status, 204 | 304) {
                Framing::Done
            } else {
                framing(&incoming.headers)?
            };
            return Ok(incoming);
        }
        Err(HttpError::Malformed(format!("more than {INTERIM_MAX} interim answers")))
    }

    /// The first value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The whole body, at most `max` bytes.
    ///
    /// # Errors
    /// The stream failed or ended early, the framing is broken, or there is more than `max`.
    pub async fn body(&mut self, max: usize) -> Result<Vec<u8>, HttpError> {
        if matches!(self.framing, Framing::Length(length) if length > max) {
            return Err(HttpError::TooLarge(max));
        }
        let mut body = Vec::new();
        while let Some(piece) = self.piece().await? {
            if body.len() + piece.len() > max {
                return Err(HttpError::TooLarge(max));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// The beginning of the body, at most `max` bytes: what comes within `patience`, and what of it can be read. For
    /// words that a person is shown; how large the whole is, and whether it ends, costs nothing.
    pub async fn beginning(&mut self, max: usize, patience: Duration) -> Vec<u8> {
        let mut body = Vec::new();
        let reading = async {
            while body.len() < max
                && let Ok(Some(piece)) = self.piece().await
            {
                body.extend_from_slice(&piece[..piece.len().min(max - body.len())]);
            }
        };
        let _ = within(patience, reading).await;
        body
    }

    /// The next line of the body without its end; `None` at the end of the body. A last line may lack its newline.
    ///
    /// # Errors
    /// As for [`body`](Self::body); `max` is for one line.
    pub async fn line(&mut self, max: usize) -> Result<Option<Vec<u8>>, HttpError> {
        loop {
            if let Some(end) = self.line.iter().position(|&byte| byte == b'\n') {
                let rest = self.line.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.line, rest);
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(line));
            }
            if self.line.len() > max {
                return Err(HttpError::TooLarge(max));
            }
            match self.piece().await? {
                Some(piece) => self.line.extend_from_slice(&piece),
                None if self.line.is_empty() => return Ok(None),
                None => return Ok(Some(std::mem::take(&mut self.line))),
            }
        }
    }

    /// The next bytes of the body, as they come; `None` at its end.
    ///
    /// # Errors
    /// The stream failed or ended early, or the framing is broken.
    pub async fn piece(&mut self) -> Result<Option<Vec<u8>>, HttpError> {
        loop {
            match self.framing {
                Framing::Done => return Ok(None),
                Framing::Length(0) => self.framing = Framing::Done,
                Framing::Length(remaining) => {
                    let piece = self.take(remaining).await?;
                    self.framing = Framing::Length(remaining - piece.len());
                    return Ok(Some(piece));
                }
                Framing::Close => {
                    if self.buffer.is_empty() && !self.fill().await? {
                        self.framing = Framing::Done;
                        continue;
                    }
                    return Ok(Some(std::mem::take(&mut self.buffer)));
                }
                Framing::Chunked { remaining: 0, first } => self.framing = self.next_chunk(first).await?,
                Framing::Chunked { remaining, .. } => {
                    let piece = self.take(remaining).await?;
                    self.framing = Framing::Chunked {
                        remaining: remaining - piece.len(),
                        first: false,
                    };
                    return Ok(Some(piece));
                }
            }
        }
    }

    /// Reads the end of the last chunk and the size line of the next one; after the last chunk, the trailers too.
    async fn next_chunk(&mut self, first: bool) -> Result<Framing, HttpError> {
        if !first && !self.framing_line(2).await?.is_empty() {
            return Err(HttpError::Malformed("a chunk is longer than it said".into()));
        }
        let line = self.framing_line(CHUNK_LINE_MAX_BYTES).await?;
        let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        let size = std::str::from_utf8(digits)
            .ok()
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|digits| usize::from_str_radix(digits, 16).ok())
            .ok_or_else(|| HttpError::Malformed("a chunk size is not a number".into()))?;
        if size > 0 {
            return Ok(Framing::Chunked {
                remaining: size,
                first: false,
            });
        }
        let mut left = CHUNK_LINE_MAX_BYTES;
        loop {
            let trailer = self.framing_line(left).await?;
            if trailer.is_empty() {
                return Ok(Framing::Done);
            }
            left -= trailer.len();
        }
    }

    /// A line between chunks, without its CRLF, at most `max` bytes long.
    async fn framing_line(&mut self, max: usize) -> Result<Vec<u8>, HttpError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let rest = self.buffer.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.pop();
                if line.pop_if(|&mut byte| byte == b'\r').is_some() && line.len() <= max {
                    return Ok(line);
                }
                return Err(HttpError::Malformed("a broken line between chunks".into()));
            }
            if self.buffer.len() > max + 2 {
                return Err(HttpError::Malformed("a line between chunks is too long".into()));
            }
            if !self.fill().await? {
                return Err(cut_off());
            }
        }
    }

    /// Up to `max` bytes that have come, waiting for at least one.
    async fn take(&mut self, max: usize) -> Result<Vec<u8>, HttpError> {
        if self.buffer.is_empty() && !self.fill().await? {
            return Err(cut_off());
        }
        let rest = self.buffer.split_off(self.buffer.len().min(max));
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    /// Reads once into the buffer; false at the end of the stream.
    async fn fill(&mut self) -> Result<bool, HttpError> {
        let used = self.buffer.len();
        self.buffer.resize(used + READ_BYTES, 0);
        let result = self.stream.read(&mut self.buffer[used..]).await;
        let count = *result.as_ref().unwrap_or(&0);
        self.buffer.truncate(used + count);
        result?;
        Ok(count > 0)
    }

    /// Reads one head, interim or final, into `status` and `headers`.
    async fn head(&mut self) -> Result<(), HttpError> {
        loop {
            if let Some((used, status, headers)) = parse_head(&self.buffer)? {
                self.buffer.drain(..used);
                (self.status, self.headers) = (status, headers);
                return Ok(());
            }
            if self.buffer.len() >= HEAD_MAX_BYTES {
                return Err(HttpError::TooLarge(HEAD_MAX_BYTES));
            }
            if !self.fill().await? {
                return Err(cut_off());
            }
        }
    }
}

fn cut_off() -> HttpError {
    HttpError::Io(IoError::new(
        ErrorKind::UnexpectedEof,
        "it was closed before the answer was complete",
    ))
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(candidate, _)| candidate == name)
        .map(|(_, value)| value.as_str())
}

type Head = (usize, u16, Vec<(String, String)>);

fn parse_head(bytes: &[u8]) -> Result<Option<Head>, HttpError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let malformed = |error: httparse::Error| HttpError::Malformed(error.to_string());
    let used = match response.parse(bytes).map_err(malformed)? {
        httparse::Status::Complete(used) => used,
        httparse::Status::Partial => return Ok(None),
    };
    let headers = response
        .headers
        .iter()
        .map(|header| {
            let value = String::from_utf8_lossy(header.value).trim().to_owned();
            (header.name.to_ascii_lowercase(), value)
        })
        .collect();
    Ok(Some((used, response.code.unwrap_or_default(), headers)))
}

fn framing(headers: &[(String, String)]) -> Result<Framing, HttpError> {
    if let Some(coding) = find(headers, "transfer-encoding") {
        return if coding.eq_ignore_ascii_case("chunked") {
            Ok(Framing::Chunked {
                remaining: 0,
                first: true,
            })
        } else {
            Err(HttpError::Malformed(format!("unknown transfer encoding {coding:?}")))
        };
    }
    let mut lengths = headers.iter().filter(|(name, _)| name == "content-length");
    let Some((_, length)) = lengths.next() else {
        return Ok(Framing::Close);
    };
    if lengths.any(|(_, other)| other != length) {
        return Err(HttpError::Malformed("two different content lengths".into()));
    }
    // `usize::from_str` would take `+5`; HTTP does not.
    let digits = length.bytes().all(|byte| byte.is_ascii_digit());
    match length.parse() {
        Ok(length) if digits => Ok(Framing::Length(length)),
        _ => Err(HttpError::Malformed(format!("content length {length:?}"))),
    }
}

/// All that goes before the body, which has `length` bytes.
fn encode_head(request: &Request, length: u64) -> Result<Vec<u8>, HttpError> {
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    let named = [
        ("method", &request.method),
        ("authority", &request.authority),
        ("target", &request.target),
    ];
    for (what, text) in named {
        if !plain(text) {
            return Err(HttpError::Unwritable(format!("its {what} is {text:?}")));
        }
    }
    let mut wire = format!(
        "{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
        request.method, request.target, request.authority
    );
    // A GET with `Content-Length: 0` is legal but unusual; some front ends refuse it.
    if length > 0 || !matches!(request.method.as_str(), "GET" | "HEAD") {
        wire.push_str(&format!("Content-Length: {length}\r\n"));
    }
    for (name, value) in &request.headers {
        // A line break in a value would be a header of the value's own making.
        if !plain(name) || name.contains(':') || value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(HttpError::Unwritable(format!(
                "header {name:?} has a control character"
            )));
        }
        wire.push_str(&format!("{name}: {value}\r\n"));
    }
    wire.push_str("\r\n");
    Ok(wire.into_bytes())
}

#[cfg(test)]
mod tests;
