//! TCP: the race between the addresses of a name, over sockets that are tuned before they connect.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use smol::net::TcpStream;
use smol::{Async, Timer};
use socket2::{Domain, Protocol, Socket, Type};

use super::suspects::Candidates;
use super::{Attempt, AttemptError, DialError, TcpTuning, tune};
use crate::line::TcpSchedule;

/// The pause before the next address is tried beside the one still pending (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// A connected, tuned socket.
#[derive(Debug)]
pub struct Dialed {
    pub socket: TcpStream,
    pub peer: SocketAddr,
    pub tuning: TcpTuning,
}

/// Races `addrs` in their order: the next one starts 250 ms after the one before it, or at once when that fails. The
/// first success wins and the others are dropped. `at` names the goal in errors, `proxy` says whether it is a proxy.
///
/// # Errors
/// [`DialError::Unreachable`] with what every address said, those included that said nothing within `deadline`.
pub async fn connect(
    addrs: &[SocketAddr],
    at: &str,
    proxy: bool,
    schedule: &TcpSchedule,
    deadline: Duration,
) -> Result<Dialed, DialError> {
    let all = Candidates {
        first: addrs.to_vec(),
        later: Vec::new(),
    };
    connect_in_turn(&all, at, proxy, schedule, deadline).await
}

/// [`connect`] where some addresses wait for the others: until those have failed, or for half of `deadline`, which is
/// long enough for a lost SYN or two and leaves as much to those that waited.
pub(super) async fn connect_in_turn(
    candidates: &Candidates,
    at: &str,
    proxy: bool,
    schedule: &TcpSchedule,
    deadline: Duration,
) -> Result<Dialed, DialError> {
    let race = Race {
        waiting: candidates.first.iter().copied().collect(),
        later: candidates.later.iter().copied().collect(),
        pending: Vec::new(),
        failed: Vec::new(),
        schedule: *schedule,
        stagger: Timer::after(STAGGER),
        head_start: Timer::after(deadline / 2),
        after: deadline,
        deadline: Timer::after(deadline),
    };
    race.await.map_err(|attempts| DialError::Unreachable {
        at: at.to_owned(),
        proxy,
        attempts,
    })
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<Dialed>> + Send>>;

struct Race {
    waiting: VecDeque<SocketAddr>,
    /// They become `waiting` when all others have failed, or at `head_start`.
    later: VecDeque<SocketAddr>,
    pending: Vec<(SocketAddr, Connecting)>,
    failed: Vec<Attempt>,
    schedule: TcpSchedule,
    stagger: Timer,
    head_start: Timer,
    after: Duration,
    deadline: Timer,
}

impl Race {
    /// Polls what is pending. `Ready` carries the winner; failures move to `failed`.
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<Dialed> {
        let mut i = 0;
        while let Some((addr, connecting)) = self.pending.get_mut(i) {
            match connecting.as_mut().poll(cx) {
                Poll::Ready(Ok(dialed)) => return Poll::Ready(dialed),
                Poll::Ready(Err(err)) => {
                    self.failed.push(Attempt {
                        addr: *addr,
                        error: kind_of(&err),
                        detail: words(&err),
                    });
                    drop(self.pending.remove(i));
                }
                Poll::Pending => i += 1,
            }
        }
        Poll::Pending
    }

    fn out_of_time(&mut self) -> Vec<Attempt> {
        let mut attempts = std::mem::take(&mut self.failed);
        let pending = self
            .pending
            .drain(..)
            .map(|(addr, _)| (addr, format!("no answer within {:?}", self.after)));
        let waiting = self
            .waiting
            .drain(..)
            .chain(self.later.drain(..))
            .map(|addr| (addr, "not tried in time".to_owned()));
        attempts.extend(pending.chain(waiting).map(|(addr, detail)| Attempt {
            addr,
            error: AttemptError::Deadline,
            detail,
        }));
        attempts
    }
}

impl Future for Race {
    type Output = Result<Dialed, Vec<Attempt>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let failed_before = self.failed.len();
            if let Poll::Ready(dialed) = self.poll_pending(cx) {
                return Poll::Ready(Ok(dialed));
            }
            let all_failed = self.pending.is_empty() && self.waiting.is_empty();
            if !self.later.is_empty() && (all_failed || Pin::new(&mut self.head_start).poll(cx).is_ready()) {
                let later = std::mem::take(&mut self.later);
                self.waiting.extend(later);
            }
            if self.pending.is_empty() && self.waiting.is_empty() {
                return Poll::Ready(Err(std::mem::take(&mut self.failed)));
            }
            if Pin::new(&mut self.deadline).poll(cx).is_ready() {
                return Poll::Ready(Err(self.out_of_time()));
            }
            let next_may_start = self.pending.is_empty()
                || self.failed.len() > failed_before
                || (!self.waiting.is_empty() && Pin::new(&mut self.stagger).poll(cx).is_ready());
            let Some(addr) = next_may_start.then(|| self.waiting.pop_front()).flatten() else {
                return Poll::Pending;
            };
            let connecting = Box::pin(connect_one(addr, self.schedule));
            self.pending.push((addr, connecting));
            self.stagger.set_after(STAGGER);
        }
    }
}

async fn connect_one(addr: SocketAddr, schedule: TcpSchedule) -> io::Result<Dialed> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Before connecting, so that TCP_USER_TIMEOUT bounds the SYN as well.
    let tuning = tune(&socket, &schedule);
    match socket.connect(&addr.into()) {
        Ok(()) => {}
        Err(err) if err.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(err) => return Err(err),
    }
    let stream = Async::new_nonblocking(std::net::TcpStream::from(socket))?;
    stream.writable().await?;
    if let Some(err) = stream.get_ref().take_error()? {
        return Err(err);
    }
    Ok(Dialed {
        socket: TcpStream::from(stream),
        peer: addr,
        tuning,
    })
}

fn kind_of(err: &io::Error) -> AttemptError {
    match err.kind() {
        io::ErrorKind::ConnectionRefused => AttemptError::Refused,
        io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable => AttemptError::NoRoute,
        io::ErrorKind::TimedOut => AttemptError::TimedOut,
        _ => AttemptError::Other,
    }
}

/// The system's words without its number.
fn words(err: &io::Error) -> String {
    let text = err.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    text.to_lowercase()
}
