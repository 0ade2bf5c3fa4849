//! A deadline that counts from the last byte that passed: what is slow goes on, what stands still ends.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::{AsyncRead, AsyncWrite, FutureExt as _};

/// A stream whose reads and writes fail with [`ErrorKind::TimedOut`] when for `after` nothing has passed in either
/// direction although somebody waited for it.
#[derive(Debug)]
pub struct Unstalled<S> {
    stream: S,
    after: Duration,
    /// Moved on by what passes only once it has fired: a timer a piece would cost more than the piece.
    timer: Timer,
    passed_at: Instant,
}

impl<S> Unstalled<S> {
    pub fn new(stream: S, after: Duration) -> Self {
        Self {
            stream,
            after,
            timer: Timer::after(after),
            passed_at: Instant::now(),
        }
    }

    /// What became of one try: that something passed, or that it was waited for too long.
    fn judge<T>(&mut self, cx: &mut Context<'_>, tried: Poll<Result<T>>) -> Poll<Result<T>> {
        if tried.is_ready() {
            self.passed_at = Instant::now();
            return tried;
        }
        while self.timer.poll(cx).is_ready() {
            let until = self.passed_at + self.after;
            if until <= Instant::now() {
                let words = format!("nothing has passed for {} s", self.after.as_secs());
                return Poll::Ready(Err(Error::new(ErrorKind::TimedOut, words)));
            }
            self.timer.set_at(until);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unstalled<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize>> {
        let tried = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.judge(cx, tried)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unstalled<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        let tried = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.judge(cx, tried)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let tried = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, tried)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let tried = Pin::new(&mut self.stream).poll_close(cx);
        self.judge(cx, tried)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
    use smol::Async;

    use super::*;

    /// How long it takes until a write to somebody who reads nothing fails, or a read from somebody who writes nothing.
    #[test]
    fn what_stands_still_ends_and_what_moves_does_not() {
        smol::block_on(async {
            const AFTER: Duration = Duration::from_millis(200);
            let pair = || Async::<UnixStream>::pair().unwrap();

            let (near, _far) = pair();
            let began = Instant::now();
            let error = Unstalled::new(near, AFTER).write_all(&vec![0; 8 << 20]).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);
            assert!(began.elapsed() >= AFTER);

            let (near, _far) = pair();
            let error = Unstalled::new(near, AFTER).read(&mut [0]).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);

            // Longer in all than it may stand still.
            let (near, mut far) = pair();
            let mut near = Unstalled::new(near, AFTER);
            let slowly = async {
                for _ in 0..6 {
                    Timer::after(AFTER / 4).await;
                    far.write_all(b"x").await.unwrap();
                    far.flush().await.unwrap();
                }
            };
            let reading = async { near.read_exact(&mut [0; 6]).await };
            let (_, read) = futures_lite::future::zip(slowly, reading).await;
            assert!(read.is_ok(), "{read:?}");
        });
    }
}
