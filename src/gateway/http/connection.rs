//! One accepted connection: whole heads and bounded bodies come in, answers go out, and each has its deadline.
//!
//! What one connection holds is bounded however slowly, in however small pieces, and in whatever order its bytes
//! come: a head by [`Limits::head_bytes`], a body by [`Limits::kept_bytes`], and beside them one read. Deadlines
//! count for a whole head (a byte now and then buys no time), and for a body from its last byte, because a job's
//! output comes when the job has some.

use std::future::{Future, poll_fn, ready};
use std::io::{Error, ErrorKind, Result as IoResult};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use async_channel::Receiver;
use async_io::Timer;
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWriteExt, future};

use super::answer::{Answer, Body, Problem, phrase};
use super::body_file::BodyFile;
use super::head::{self, Framing, Head};
use super::limits::Limits;
use crate::gateway::socket::Socket;

/// Largest single read.
const READ_BYTES: usize = 8 * 1024;
/// What a client may send ahead while it waits for an answer. More would hide its leaving behind bytes that nobody
/// reads.
const AHEAD_MAX_BYTES: usize = 16 * 1024;
/// The size line of one chunk with its extensions.
const CHUNK_LINE_MAX_BYTES: usize = 1024;
/// The answer goes out in pieces of this size, each with its deadline: a reader that takes a byte now and then gains
/// nothing. A piece may be put together of many writes; what a stream pauses between them does not count.
const ANSWER_PIECE_BYTES: usize = 64 * 1024;
/// For the first byte of a body whose end is that of the connection. A request without one waits for its answer
/// meanwhile.
const BODY_BEGINS: Duration = Duration::from_secs(1);
/// Reads of one body between two turns of everybody else.
const READS_PER_TURN: u32 = 16;
/// Reading off what a client still sends after its last answer, so that a reset does not eat the answer: until
/// nothing has come for this long, and no longer and no more than that in all.
const LINGER_QUIET: Duration = Duration::from_secs(1);
const LINGER: Duration = Duration::from_secs(10);
const LINGER_MAX_BYTES: usize = 64 * 1024 * 1024;

/// How far a piece of an answer has gone out.
#[derive(Default)]
struct Pace {
    /// A piece of [`ANSWER_PIECE_BYTES`] at the most.
    bytes: usize,
    /// In writing it.
    spent: Duration,
}

/// An accepted socket, and what was read from it and not used yet.
pub(super) struct Connection {
    socket: Socket,
    limits: Limits,
    ahead: Ahead,
    /// No request has come yet: a client that connects and says nothing is told so, a kept connection just ends.
    fresh: bool,
}

/// A request with its head read and its body still to come.
pub(super) struct Request<'c> {
    pub head: Head,
    connection: &'c mut Connection,
    /// The body was read to its end, or there is none: another request may follow.
    pub whole: bool,
}

/// What came as a request's body.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// The first [`Limits::kept_bytes`] of it.
    pub kept: Vec<u8>,
    /// How long it was.
    pub bytes: u64,
    /// All of it, where it is longer than that and was to be kept.
    pub file: BodyFile,
}

/// Bytes that were read and not used. Taking from its front moves nothing.
#[derive(Default)]
struct Ahead {
    bytes: Vec<u8>,
    start: usize,
}

impl Ahead {
    fn held(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start >= self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// One read from `socket` behind what is held. Nothing is lost if it is asked and then not asked again.
    fn poll_fill(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<IoResult<usize>> {
        self.bytes.drain(..self.start);
        self.start = 0;
        let held = self.bytes.len();
        self.bytes.resize(held + READ_BYTES, 0);
        let polled = Pin::new(socket).poll_read(cx, &mut self.bytes[held..]);
        let count = match &polled {
            Poll::Ready(Ok(count)) => *count,
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        self.bytes.truncate(held + count);
        polled
    }
}

/// When the next byte of a body must be there.
struct BodyClock<'s, S> {
    limits: Limits,
    began: Instant,
    last: Instant,
    /// Gives a place among the slow bodies.
    slow: &'s (dyn Fn() -> Option<S> + Sync),
    place: Option<S>,
    reads: u32,
}

impl<S> BodyClock<'_, S> {
    fn deadline(&self) -> Instant {
        let deadline = (self.last + self.limits.body_gap).min(self.began + self.limits.body);
        match self.place {
            Some(_) => deadline,
            None => deadline.min(self.began + self.limits.request),
        }
    }

    /// The deadline has passed: goes on with a place among the slow bodies, or says what was too late.
    fn late(&mut self) -> Result<(), Problem> {
        let now = Instant::now();
        let seconds = |duration: Duration| humantime::format_duration(duration);
        if now >= self.began + self.limits.body {
            let error = format!("the message did not come whole within {}", seconds(self.limits.body));
            return Err(Problem::new(408, error));
        }
        if now >= self.last + self.limits.body_gap {
            let error = format!("nothing more of the message came for {}", seconds(self.limits.body_gap));
            return Err(Problem::new(408, error));
        }
        self.place = (self.slow)();
        match self.place {
            Some(_) => Ok(()),
            None => Err(Problem::new(
                503,
                "too many messages come slowly at once, come again later",
            )),
        }
    }
}

impl Connection {
    pub fn new(socket: Socket, limits: Limits) -> Self {
        Self {
            socket,
            limits,
            ahead: Ahead::default(),
            fresh: true,
        }
    }

    /// The next request's head. `None`: the client has left, a kept connection was idle for too long, or one of `ends`
    /// is closed and nothing of a request has come.
    ///
    /// # Errors
    /// What came is no request, is too long, or did not come in time.
    pub async fn head(&mut self, ends: [&Receiver<()>; 2]) -> Result<Option<Head>, Problem> {
        let fresh = std::mem::take(&mut self.fresh);
        let mut deadline = Instant::now() + self.limits.request;
        if !fresh && self.ahead.held().is_empty() {
            self.ahead.bytes.shrink_to(READ_BYTES);
            let idle = Instant::now() + self.limits.idle;
            match unless_closed(ends, self.fill_until(idle)).await {
                Some(Some(Ok(1..))) => deadline = Instant::now() + self.limits.request,
                Some(Some(Ok(0) | Err(_)) | None) | None => return Ok(None),
            }
        }
        let (mut skipped, mut looked) = (0, 0);
        loop {
            // Empty lines before a request are allowed (RFC 9112, section 2.2), and count.
            let empty = self
                .ahead
                .held()
                .iter()
                .take_while(|byte| matches!(byte, b'\r' | b'\n'));
            let empty = empty.count();
            if looked == 0 && empty > 0 {
                self.ahead.consume(empty);
                skipped += empty;
            }
            let held = self.ahead.held();
            if let Some(first) = held.first().filter(|first| !head::begins(**first)) {
                return Err(head::no_request(*first).into());
            }
            let end = head::end(held, looked);
            looked = held.len();
            if end.unwrap_or(looked + 1) + skipped > self.limits.head_bytes {
                let error = format!("the request's head is larger than {} bytes", self.limits.head_bytes);
                return Err(Problem::new(431, error));
            }
            if let Some(end) = end {
                let head = head::parse(&held[..end]);
                self.ahead.consume(end);
                return Ok(Some(head?));
            }
            let filled = match looked {
                0 => unless_closed(ends, self.fill_until(deadline)).await,
                _ => Some(self.fill_until(deadline).await),
            };
            match filled {
                Some(Some(Ok(1..))) => {}
                Some(Some(Ok(0))) if looked > 0 => {
                    return Err(Problem::new(400, "the request ended in the middle of its head"));
                }
                Some(Some(Ok(0) | Err(_))) | None => return Ok(None),
                Some(None) => {
                    let seconds = humantime::format_duration(self.limits.request);
                    return Err(Problem::new(
                        408,
                        format!("the request's head did not come within {seconds}"),
                    ));
                }
            }
        }
    }

    async fn fill(&mut self) -> IoResult<usize> {
        poll_fn(|cx| self.ahead.poll_fill(&mut self.socket, cx)).await
    }

    /// The same; `None` when nothing has come until `deadline`.
    async fn fill_until(&mut self, deadline: Instant) -> Option<IoResult<usize>> {
        let filled = async { Some(self.fill().await) };
        let late = async {
            Timer::at(deadline).await;
            None
        };
        future::or(filled, late).await
    }

    /// Ready when the client has left, or is none.
    async fn left(&mut self) {
        while self.ahead.held().len() < AHEAD_MAX_BYTES {
            match self.fill().await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// The same, as the end of something else.
    async fn gone<T>(&mut self) -> Option<T> {
        self.left().await;
        None
    }

    /// Reads more of a body.
    async fn fill_body<S>(&mut self, clock: &mut BodyClock<'_, S>) -> Result<(), Problem> {
        match self.fill_some(clock).await? {
            true => Ok(()),
            false => Err(not_whole("the connection ended")),
        }
    }

    /// Reads more of a body; false when the client writes no more.
    async fn fill_some<S>(&mut self, clock: &mut BodyClock<'_, S>) -> Result<bool, Problem> {
        clock.reads += 1;
        if clock.reads.is_multiple_of(READS_PER_TURN) {
            future::yield_now().await;
        }
        loop {
            match self.fill_until(clock.deadline()).await {
                Some(Ok(0)) => return Ok(false),
                Some(Ok(_)) => {
                    clock.last = Instant::now();
                    return Ok(true);
                }
                Some(Err(error)) => return Err(not_whole(&error.to_string())),
                None => clock.late()?,
            }
        }
    }

    /// The next `count` bytes of a body.
    async fn take<S>(
        &mut self,
        mut count: u64,
        received: &mut Received,
        clock: &mut BodyClock<'_, S>,
    ) -> Result<(), Problem> {
        if received.bytes.saturating_add(count) > self.limits.upload_bytes {
            return Err(too_large(self.limits.upload_bytes));
        }
        while count > 0 {
            let held = self.ahead.held();
            if held.is_empty() {
                self.fill_body(clock).await?;
                continue;
            }
            let here = held.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            let room = self.limits.kept_bytes.saturating_sub(received.kept.len());
            if here > room {
                received.file.push(&received.kept, &held[..room], &held[room..here]);
            }
            received.kept.extend_from_slice(&held[..here.min(room)]);
            received.bytes += here as u64;
            count -= here as u64;
            self.ahead.consume(here);
            received.file.write_some().await;
        }
        Ok(())
    }

    /// All that comes until the client writes no more. One that has no body at all may just wait for its answer.
    async fn rest<S>(&mut self, received: &mut Received, clock: &mut BodyClock<'_, S>) -> Result<(), Problem> {
        if self.ahead.held().is_empty() && self.fill_until(Instant::now() + BODY_BEGINS).await.is_none() {
            return Ok(());
        }
        loop {
            self.take(self.ahead.held().len() as u64, received, clock).await?;
            if !self.fill_some(clock).await? {
                return Ok(());
            }
        }
    }

    /// The next line of a chunked body's framing, without its end, at most `max` bytes.
    async fn line<S>(&mut self, max: usize, clock: &mut BodyClock<'_, S>) -> Result<Vec<u8>, Problem> {
        let mut looked = 0;
        loop {
            let held = self.ahead.held();
            if let Some(end) = held[looked..].iter().position(|byte| *byte == b'\n') {
                let line = held[..looked + end].trim_ascii_end().to_vec();
                self.ahead.consume(looked + end + 1);
                return Ok(line);
            }
            looked = held.len();
            if looked > max {
                return Err(bad_chunks());
            }
            self.fill_body(clock).await?;
        }
    }

    async fn chunks<S>(&mut self, received: &mut Received, clock: &mut BodyClock<'_, S>) -> Result<(), Problem> {
        loop {
            let line = self.line(CHUNK_LINE_MAX_BYTES, clock).await?;
            let size = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            let size = std::str::from_utf8(size).ok().filter(|size| !size.starts_with('+'));
            let size = size.and_then(|size| u64::from_str_radix(size, 16).ok());
            match size.ok_or_else(bad_chunks)? {
                0 => break,
                size => self.take(size, received, clock).await?,
            }
            if !self.line(CHUNK_LINE_MAX_BYTES, clock).await?.is_empty() {
                return Err(bad_chunks());
            }
        }
        // Trailers are read off: no dialect has any.
        let mut bytes = 0;
        loop {
            let line = self.line(self.limits.head_bytes, clock).await?;
            if line.is_empty() {
                return Ok(());
            }
            bytes += line.len();
            if bytes > self.limits.head_bytes {
                return Err(bad_chunks());
            }
        }
    }

    /// Puts an answer on the connection; with `close` it is said to be the last.
    ///
    /// # Errors
    /// The client does not take it. The connection is of no more use then.
    pub async fn answer(&mut self, answer: Answer, to: Option<&Head>, close: bool) -> IoResult<()> {
        let Answer {
            status, headers, body, ..
        } = answer;
        let (length, close) = match &body {
            Body::Bytes(bytes) => (Some(bytes.len() as u64), close),
            // Without a length only the end of the connection ends it.
            Body::Stream { length, .. } => (*length, close || length.is_none()),
            Body::Upgrade(_) => (None, false),
        };
        let date = httpdate::fmt_http_date(SystemTime::now());
        let mut head = format!("HTTP/1.1 {status} {}\r\nDate: {date}\r\n", phrase(status));
        let always = [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")];
        let given = headers.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in always.into_iter().chain(given) {
            // A value is ours alone, never a sender's; a line end in it would be a fault of ours.
            head.extend([name, ": ", value.split(['\r', '\n']).next().unwrap_or(""), "\r\n"]);
        }
        if let Some(length) = length {
            head.push_str(&format!("Content-Length: {length}\r\n"));
        }
        match close {
            true => head.push_str("Connection: close\r\n"),
            false if to.is_some_and(|head| head.old) => head.push_str("Connection: keep-alive\r\n"),
            false => {}
        }
        head.push_str("\r\n");
        if to.is_some_and(|head| head.method == "HEAD") {
            return self.write(head.as_bytes()).await;
        }
        match body {
            Body::Bytes(bytes) => {
                let mut wire = head.into_bytes();
                wire.extend_from_slice(&bytes);
                self.write(&wire).await
            }
            Body::Upgrade(_) => self.write(head.as_bytes()).await,
            Body::Stream { mut from, length } => {
                self.write(head.as_bytes()).await?;
                let mut pace = Pace::default();
                let mut piece = vec![0; READ_BYTES];
                let mut written = 0;
                loop {
                    let next = async { Some(from.read(&mut piece).await) };
                    let count = match length {
                        Some(_) => next.await,
                        // It may be quiet for long, and would hold its place for nobody.
                        None => future::or(next, self.gone()).await,
                    };
                    let Some(count) = count.transpose()? else { break };
                    if count == 0 {
                        break;
                    }
                    self.write_at(&mut pace, &piece[..count]).await?;
                    written += count as u64;
                }
                match length {
                    Some(length) if length != written => {
                        Err(Error::other("the answer has another length than was said"))
                    }
                    Some(_) | None => Ok(()),
                }
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> IoResult<()> {
        self.write_at(&mut Pace::default(), bytes).await
    }

    async fn write_at(&mut self, pace: &mut Pace, mut bytes: &[u8]) -> IoResult<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(ANSWER_PIECE_BYTES - pace.bytes));
            let began = Instant::now();
            let written = self.socket.write_all(now);
            let left = self.limits.answer.saturating_sub(pace.spent);
            let late = async {
                Timer::after(left).await;
                Err(Error::new(ErrorKind::TimedOut, "the client does not take its answer"))
            };
            future::or(written, late).await?;
            pace.bytes += now.len();
            pace.spent += began.elapsed();
            if pace.bytes == ANSWER_PIECE_BYTES {
                *pace = Pace::default();
            }
            bytes = later;
        }
        Ok(())
    }

    /// Says that the connection is another one from here on, and hands it over with what was read ahead.
    ///
    /// # Errors
    /// The client does not take it.
    pub async fn hand_over(mut self, mut answer: Answer, to: &Head) -> IoResult<()> {
        let Body::Upgrade(go_on) =
            std::mem::replace(&mut answer.body, Body::Upgrade(Box::new(|_, _| Box::pin(ready(())))))
        else {
            return Err(Error::other("the answer hands nothing over"));
        };
        self.answer(answer, Some(to), false).await?;
        let ahead = self.ahead.held().to_vec();
        go_on(self.socket, ahead).await;
        Ok(())
    }

    /// Closes our side, and reads off what the client still sends, within bounds: closing with unread bytes is a reset,
    /// and a reset takes with it the answer that a client reads only when it has written all.
    pub async fn leave(mut self) {
        if self.socket.close().await.is_err() {
            return;
        }
        let until = Instant::now() + LINGER;
        let mut bytes = 0;
        while bytes < LINGER_MAX_BYTES {
            self.ahead = Ahead::default();
            let deadline = until.min(Instant::now() + LINGER_QUIET);
            match self.fill_until(deadline).await {
                Some(Ok(count @ 1..)) => bytes += count,
                Some(Ok(0) | Err(_)) | None => return,
            }
            future::yield_now().await;
        }
    }
}

impl<'c> Request<'c> {
    pub fn new(head: Head, connection: &'c mut Connection) -> Self {
        Self {
            whole: head.framing == Framing::Length(0),
            head,
            connection,
        }
    }

    /// Reads the whole body. `slow` gives a place to one that takes its time, `file` takes what is more than is held in
    /// memory. A length that is too large is refused before anything is read, and before a client that waits for
    /// `100 Continue` gets it.
    ///
    /// # Errors
    /// It is larger than [`Limits::upload_bytes`], did not come in time or whole, or there is no place for a slow one.
    pub async fn body<S>(
        &mut self,
        slow: &(dyn Fn() -> Option<S> + Sync),
        file: BodyFile,
    ) -> Result<Received, Problem> {
        let mut received = Received {
            file,
            ..Received::default()
        };
        if self.whole {
            return Ok(received);
        }
        let limits = self.connection.limits;
        if matches!(self.head.framing, Framing::Length(length) if length > limits.upload_bytes) {
            return Err(too_large(limits.upload_bytes));
        }
        if self.head.expects_continue && self.connection.ahead.held().is_empty() {
            let interim = self.connection.write(b"HTTP/1.1 100 Continue\r\n\r\n").await;
            interim.map_err(|error| Problem::new(408, error.to_string()))?;
        }
        let now = Instant::now();
        let mut clock = BodyClock {
            limits,
            began: now,
            last: now,
            slow,
            place: None,
            reads: 0,
        };
        match self.head.framing {
            Framing::Length(length) => self.connection.take(length, &mut received, &mut clock).await?,
            Framing::Chunked => self.connection.chunks(&mut received, &mut clock).await?,
            Framing::ToTheEnd => self.connection.rest(&mut received, &mut clock).await?,
        }
        received.file.write_all().await;
        self.whole = true;
        Ok(received)
    }

    /// Runs `work`, unless the client leaves before it is done.
    pub async fn unless_left<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let left = async {
            self.connection.left().await;
            None
        };
        future::or(async { Some(work.await) }, left).await
    }
}

fn too_large(max: u64) -> Problem {
    Problem::new(413, format!("the message is larger than {max} bytes")).at("body")
}

fn bad_chunks() -> Problem {
    not_whole("its chunks cannot be read")
}

fn not_whole(why: &str) -> Problem {
    Problem::new(400, format!("the message did not come whole: {why}"))
}

/// `None` when one of `ends` is closed before `work` is done.
async fn unless_closed<T>(ends: [&Receiver<()>; 2], work: impl Future<Output = T>) -> Option<T> {
    let [one, other] = ends.map(|end| async {
        // Nothing is ever sent: this returns when the sender is gone.
        let _ = end.recv().await;
        None
    });
    future::or(async { Some(work.await) }, future::or(one, other)).await
}
