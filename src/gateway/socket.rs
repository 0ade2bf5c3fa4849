//! One accepted connection, with its deadlines.
//!
//! trillium-http has none of its own, and a client that says nothing must not hold a slot for ever. The deadlines sit
//! under the HTTP code, on reads and writes, so no path through it can forget them.

use std::future::Future as _;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_io::Timer;
use futures_lite::{AsyncRead, AsyncWrite};
use smol::net::TcpStream;
use smol::net::unix::UnixStream;

use super::server::Limits;

/// Clones share the socket.
#[derive(Debug, Clone)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

macro_rules! each {
    ($socket:expr, $stream:ident => $do:expr) => {
        match $socket.get_mut() {
            Socket::Tcp($stream) => $do,
            Socket::Unix($stream) => $do,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }
    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write_vectored(cx, parts))
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        each!(self, stream => Pin::new(stream).poll_close(cx))
    }
}

/// Where the conversation stands; each has its own deadline for the next read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between two requests: [`Limits::idle`], then the end of the stream.
    Idle,
    /// From a request's first byte (on a new connection: from the start) to the end of its body: [`Limits::request`].
    Request,
    /// The relay works on it. Reads only look for a client that left, and take at most what is left of this many bytes.
    Working(usize),
    /// The answer goes out; the next read is for another request.
    Answer,
}

/// A [`Socket`] whose reads and writes have deadlines.
pub(super) struct Clocked {
    socket: Socket,
    phase: Phase,
    timer: Timer,
    /// The timer runs for a write that did not go out whole.
    stalled: bool,
    limits: Limits,
}

/// What a client may send ahead while it waits for an answer.
const AHEAD_MAX_BYTES: usize = 16 * 1024;

impl Clocked {
    pub fn new(socket: Socket, limits: Limits) -> Self {
        Self {
            socket,
            phase: Phase::Request,
            timer: Timer::after(limits.request),
            stalled: false,
            limits,
        }
    }

    /// The request is read; the relay may take its time.
    pub fn working(&mut self) {
        self.phase = Phase::Working(AHEAD_MAX_BYTES);
        self.timer = Timer::never();
    }

    pub fn answering(&mut self) {
        self.phase = Phase::Answer;
    }

    fn expired(&mut self, cx: &mut Context<'_>) -> bool {
        Pin::new(&mut self.timer).poll(cx).is_ready()
    }

    /// Runs the clock of a write. The deadline counts from the first write that did not go out whole until one does, so
    /// a reader that takes a byte now and then gains nothing, and a stream with long pauses loses nothing.
    fn written(&mut self, cx: &mut Context<'_>, wanted: usize, result: Poll<Result<usize>>) -> Poll<Result<usize>> {
        if matches!(result, Poll::Ready(Ok(count)) if count == wanted) {
            self.stalled = false;
            return result;
        }
        if !self.stalled {
            self.stalled = true;
            self.timer.set_after(self.limits.answer);
        }
        if result.is_pending() && self.expired(cx) {
            let error = Error::new(ErrorKind::ConnectionAborted, "the client does not take its answer");
            return Poll::Ready(Err(error));
        }
        result
    }
}

impl AsyncRead for Clocked {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize>> {
        let this = &mut *self;
        let room = match this.phase {
            // It would hide the client's leaving behind bytes that nobody reads: this is no client.
            Phase::Working(0) => {
                let error = Error::new(ErrorKind::InvalidData, "too much was sent ahead of the answer");
                return Poll::Ready(Err(error));
            }
            Phase::Working(left) => left.min(buffer.len()),
            Phase::Idle | Phase::Request => buffer.len(),
            Phase::Answer => {
                this.phase = Phase::Idle;
                let idle = this.limits.idle;
                this.timer.set_after(idle);
                buffer.len()
            }
        };
        match Pin::new(&mut this.socket).poll_read(cx, &mut buffer[..room]) {
            Poll::Ready(Ok(count)) => {
                match this.phase {
                    Phase::Idle if count > 0 => {
                        this.phase = Phase::Request;
                        let request = this.limits.request;
                        this.timer.set_after(request);
                    }
                    Phase::Working(left) => this.phase = Phase::Working(left - count),
                    Phase::Idle | Phase::Request | Phase::Answer => {}
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if matches!(this.phase, Phase::Working(_)) || !this.expired(cx) => Poll::Pending,
            Poll::Pending if this.phase == Phase::Idle => Poll::Ready(Ok(0)),
            Poll::Pending => {
                let error = Error::new(ErrorKind::TimedOut, "the request did not come in time");
                Poll::Ready(Err(error))
            }
        }
    }
}

impl AsyncWrite for Clocked {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.written(cx, bytes.len(), result)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, parts);
        self.written(cx, parts.iter().map(|part| part.len()).sum(), result)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}
