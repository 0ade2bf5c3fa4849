//! whatsapp-rust's transport over our sockets.
//!
//! The library leaves two duties to whoever writes a transport: its timeout for an answer starts only once a send has
//! returned, so `send` needs a deadline of its own; and it calls `disconnect` when something hangs, so that must not
//! wait behind the very write that hangs. Here a send holds the sink's lock for at most the write deadline, and
//! `disconnect` takes no lock at all: it shuts the TCP socket down, which wakes whoever hangs on it.
//!
//! Deliberately absent: a queue before the socket. A send returns when the kernel has the bytes, or it fails.

use std::net::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use async_trait::async_trait;
use async_tungstenite::tungstenite::error::ProtocolError;
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::{Error as WsError, Message, protocol::CloseFrame};
use async_tungstenite::{WebSocketReceiver, WebSocketSender};
use bytes::Bytes;
use futures_lite::{StreamExt, future};
use smol::net::TcpStream;
use smol::{Executor, Task};
use wacore::net::{DisconnectReason, Transport, TransportEvent, TransportFactory};

use crate::config::{Endpoint, Proxy};
use crate::line::Schedule;
use crate::net::{self, ConnectionStats, DialError, Ended, Progress, Stream, Trial, WsConn};
use crate::util::{lock, within};

/// Messages that wait for the library. When they are full the reader stops reading, and TCP slows the server down.
const EVENTS_MAX: usize = 64;

/// A stream of tiny messages must not keep the executor's thread to itself.
const MESSAGES_PER_TURN: u32 = 32;

/// The longest payload of a control frame (RFC 6455, section 5.5).
const PING_BYTES_MAX: usize = 125;

/// Opens a session's lines, one after the other, and remembers what the library would forget: a connect that fails
/// gives no event there.
pub struct LineFactory {
    executor: Arc<Executor<'static>>,
    target: Endpoint,
    proxy: Option<Proxy>,
    schedule: Schedule,
    seen: Mutex<Seen>,
    /// Called with the instant at which a line was upgraded.
    on_upgrade: Box<dyn Fn(Instant) + Send + Sync>,
}

#[derive(Default)]
struct Seen {
    error: Option<DialError>,
    line: Weak<Line>,
    stats: Option<Arc<ConnectionStats>>,
}

impl LineFactory {
    #[must_use]
    pub fn new(executor: Arc<Executor<'static>>, target: Endpoint, proxy: Option<Proxy>, schedule: Schedule) -> Self {
        Self {
            executor,
            target,
            proxy,
            schedule,
            seen: Mutex::default(),
            on_upgrade: Box::new(|_| {}),
        }
    }

    /// Calls `tell` with the instant at which each line was upgraded.
    #[must_use]
    pub fn on_upgrade(mut self, tell: impl Fn(Instant) + Send + Sync + 'static) -> Self {
        self.on_upgrade = Box::new(tell);
        self
    }

    /// Why the last attempt brought no line up, once. An attempt that starts forgets the one before it.
    pub fn take_last_error(&self) -> Option<DialError> {
        self.seen().error.take()
    }

    /// The newest line, while anybody holds it.
    #[must_use]
    pub fn line(&self) -> Option<Arc<Line>> {
        self.seen().line.upgrade()
    }

    /// The newest line's stats, also after its end. `None` until one was opened.
    #[must_use]
    pub fn stats(&self) -> Option<Arc<ConnectionStats>> {
        self.seen().stats.clone()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    /// Dials; a failure is remembered, also when the library's own deadline drops this future half-way.
    async fn dial(&self) -> Result<WsConn, DialError> {
        self.seen().error = None;
        let mut attempt = Attempt {
            factory: self,
            progress: Progress::default(),
            over: false,
        };
        let dialed = net::dial_reporting(&self.target, self.proxy.as_ref(), &self.schedule, &attempt.progress).await;
        attempt.over = true;
        if let Err(error) = &dialed {
            self.seen().error = Some(error.clone());
        }
        dialed
    }
}

struct Attempt<'a> {
    factory: &'a LineFactory,
    progress: Progress,
    over: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.over {
            let Self { factory, progress, .. } = self;
            factory.seen().error = Some(DialError::Abandoned {
                step: progress.step(),
                at: progress.place(&factory.target, factory.proxy.as_ref()),
            });
        }
    }
}

#[async_trait]
impl TransportFactory for LineFactory {
    async fn create_transport(&self) -> anyhow::Result<(Arc<dyn Transport>, Receiver<TransportEvent>)> {
        let WsConn {
            ws,
            socket,
            stats,
            trial,
        } = self.dial().await?;
        log::debug!("line up to {}: {}", stats.peer, stats.tuning);
        let (sink, messages) = ws.split();
        let line = Arc::new(Line {
            stats: Arc::clone(&stats),
            socket,
            sink: smol::lock::Mutex::new(sink),
            write_deadline: self.schedule.steps.write,
        });
        {
            let mut seen = self.seen();
            seen.line = Arc::downgrade(&line);
            seen.stats = Some(stats);
        }
        (self.on_upgrade)(Instant::now());
        let (events, receiver) = async_channel::bounded(EVENTS_MAX);
        // The queue is new and has room.
        let _ = events.try_send(TransportEvent::Connected);
        let reader = self.executor.spawn(read(Arc::clone(&line), trial, messages, events));
        Ok((Arc::new(WsTransport { line, _reader: reader }), receiver))
    }
}

/// One open connection, as the supervisor handles it.
#[derive(Debug)]
pub struct Line {
    stats: Arc<ConnectionStats>,
    socket: TcpStream,
    sink: smol::lock::Mutex<WebSocketSender<Stream>>,
    write_deadline: Duration,
}

/// The line is over; nothing can be sent on it any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the line has ended: {0}")]
pub struct LineClosed(pub Ended);

impl Line {
    #[must_use]
    pub fn stats(&self) -> &Arc<ConnectionStats> {
        &self.stats
    }

    /// Sends a WebSocket ping, cut to 125 bytes; the pong shows in the stats.
    ///
    /// # Errors
    /// The line has ended, or ends now because the ping did not go out within the write deadline.
    pub async fn ping(&self, payload: &[u8]) -> Result<(), LineClosed> {
        let payload = &payload[..payload.len().min(PING_BYTES_MAX)];
        self.write(Message::Ping(Bytes::copy_from_slice(payload))).await
    }

    /// Ends the line at once, whatever hangs on it. The library sees a read error with `why`.
    pub fn cut(&self, why: &str) {
        self.end(Ended::Local(why.to_owned()));
    }

    async fn write(&self, message: Message) -> Result<(), LineClosed> {
        if let Some(how) = self.stats.ended() {
            return Err(LineClosed(how));
        }
        let writing = async {
            let mut sink = self.sink.lock().await;
            sink.send(message).await.map_err(|err| Ended::Write(err.to_string()))
        };
        // The wait for the lock counts: whoever holds it is a write that hangs.
        let written = within(self.write_deadline, writing).await;
        let late = || Err(Ended::WriteDeadline(self.write_deadline));
        written.unwrap_or_else(late).map_err(|how| {
            self.end(how.clone());
            LineClosed(self.stats.ended().unwrap_or(how))
        })
    }

    /// Records the cause, unless there is one already, and shuts the socket down. Never waits.
    fn end(&self, how: Ended) {
        let polite = matches!(how, Ended::Hangup | Ended::Local(_));
        if !self.stats.on_end(how) {
            return;
        }
        // A goodbye only if it goes out in one go: no write is under way, and the socket has room.
        if polite && let Some(mut sink) = self.sink.try_lock() {
            let goodbye = CloseFrame {
                code: CloseCode::Normal,
                reason: "".into(),
            };
            let _ = future::block_on(future::poll_once(sink.close(Some(goodbye))));
        }
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// The library's handle. Dropping it ends the line.
struct WsTransport {
    line: Arc<Line>,
    _reader: Task<()>,
}

#[async_trait]
impl Transport for WsTransport {
    async fn send(&self, data: Bytes) -> anyhow::Result<()> {
        Ok(self.line.write(Message::Binary(data)).await?)
    }

    async fn disconnect(&self) {
        self.line.end(Ended::Hangup);
    }
}

impl Drop for WsTransport {
    fn drop(&mut self) {
        self.line.end(Ended::Hangup);
    }
}

/// Reads until the end, and says last why it ended.
async fn read(line: Arc<Line>, trial: Trial, mut messages: WebSocketReceiver<Stream>, events: Sender<TransportEvent>) {
    let how = read_until_end(&line.stats, trial, &mut messages, &events).await;
    if matches!(how, Ended::ServerClose { .. }) {
        // One more look lets the answering close frame out.
        let _ = future::poll_once(messages.next()).await;
    }
    line.end(how.clone());
    let reason = disconnect_reason(line.stats.ended().unwrap_or(how));
    let _ = events.send(TransportEvent::Disconnected(reason)).await;
}

async fn read_until_end(
    stats: &ConnectionStats,
    trial: Trial,
    messages: &mut WebSocketReceiver<Stream>,
    events: &Sender<TransportEvent>,
) -> Ended {
    let mut this_turn = 0;
    let mut trial = Some(trial);
    while let Some(message) = messages.next().await {
        match message {
            Ok(Message::Binary(data)) => {
                if let Some(trial) = trial.take() {
                    trial.worked();
                }
                // While the queue is full nothing more is read.
                if events.send(TransportEvent::DataReceived(data)).await.is_err() {
                    return Ended::Hangup;
                }
            }
            // Its pong is queued already; the next read sends it.
            Ok(Message::Ping(_)) => {}
            Ok(Message::Pong(_)) => stats.on_pong(),
            Ok(Message::Close(frame)) => {
                let (code, reason) =
                    frame.map_or((None, String::new()), |f| (Some(f.code.into()), f.reason.to_string()));
                return Ended::ServerClose { code, reason };
            }
            Ok(Message::Text(_) | Message::Frame(_)) => return Ended::Garbage("a message that is not binary".into()),
            Err(err) => return read_end(&err),
        }
        this_turn += 1;
        if this_turn == MESSAGES_PER_TURN {
            this_turn = 0;
            future::yield_now().await;
        }
    }
    Ended::Eof
}

fn read_end(err: &WsError) -> Ended {
    match err {
        WsError::ConnectionClosed
        | WsError::AlreadyClosed
        | WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Ended::Eof,
        WsError::Io(io) => match io.kind() {
            // TLS cut off without close_notify.
            std::io::ErrorKind::UnexpectedEof => Ended::Eof,
            // rustls: a record that does not decrypt.
            std::io::ErrorKind::InvalidData => Ended::Garbage(io.to_string()),
            _ => Ended::Read(io.to_string()),
        },
        WsError::Protocol(_) | WsError::Capacity(_) | WsError::Utf8(_) | WsError::AttackAttempt => {
            Ended::Garbage(err.to_string())
        }
        _ => Ended::Read(err.to_string()),
    }
}

fn disconnect_reason(how: Ended) -> DisconnectReason {
    match how {
        Ended::ServerClose { code, reason } => DisconnectReason::ServerClose { code, reason },
        Ended::Eof => DisconnectReason::StreamEnded,
        Ended::Hangup => DisconnectReason::Unknown,
        Ended::Read(_) | Ended::Garbage(_) | Ended::Write(_) | Ended::WriteDeadline(_) | Ended::Local(_) => {
            DisconnectReason::ReadError(how.to_string())
        }
    }
}
