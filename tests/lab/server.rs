//! Sockets: accept, upgrade, shake hands, then one task a line that moves frames both ways.
//!
//! A line's task owns its socket alone. Whatever the rest of the lab wants from it comes as an [`Out`] in order, or,
//! when it must not wait behind a blocked write, as an [`End`] through the second channel.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_channel::Receiver;
use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use async_tungstenite::tungstenite::protocol::CloseFrame;
use async_tungstenite::tungstenite::{Message, http};
use futures_lite::{FutureExt as _, StreamExt as _, future};
use smol::net::{TcpListener, TcpStream};
use smol::{Executor, Timer};
use socket2::{Domain, Socket, Type};
use wacore::framing::{FrameDecoder, encode_frame};
use wacore_binary::consts::WA_CONN_HEADER;
use wacore_binary::{OwnedNodeRef, marshal, util};

use super::faults::{SessionTimer, stream_error};
use super::noise::{self, Next, Shaken, Transport};
use super::world::{Direction, End, LINE_QUEUE_MAX, Line, LineState, Out, Seen, Shared};
use super::{login, queries};

type Ws = WebSocketStream<TcpStream>;

/// How long to wait before trying again for a port that somebody else holds.
const REBIND_PAUSE: Duration = Duration::from_millis(10);
/// How long a client may take over upgrade and handshake, unless a fault slows us ourselves.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// `ED 00 01`, three bytes of length, and that many bytes of routing may stand before the header.
const ROUTING_MAGIC: [u8; 4] = [b'E', b'D', 0, 1];

/// Keeps the port while nobody listens on it: another server that asks for any port would get it, and then its clients.
/// A connect to it is refused.
fn keep_place(addr: SocketAddr) -> Option<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).ok()?;
    // Past connections of the listener must not stand in the way, and nobody else may share it.
    socket.set_reuse_address(true).ok()?;
    socket.bind(&addr.into()).ok()?;
    socket.set_reuse_address(false).ok()?;
    Some(socket)
}

/// Accepts for as long as it is polled. While the door is shut the listener is gone, so that the kernel refuses.
pub async fn accept(
    ex: &Executor<'static>,
    shared: Arc<Shared>,
    addr: SocketAddr,
    first: TcpListener,
    door: Receiver<()>,
) {
    let mut listener = Some(first);
    let mut place = None;
    loop {
        let shut = shared.lock_quietly(|w| w.standing.refuse_tcp);
        match (&listener, shut) {
            (Some(_), true) => {
                listener = None;
                place = keep_place(addr);
            }
            // Should somebody hold it for a moment, try again.
            (None, false) => {
                drop(place.take());
                match TcpListener::bind(addr).await {
                    Ok(bound) => listener = Some(bound),
                    Err(_) => drop(Timer::after(REBIND_PAUSE).await),
                }
            }
            (None, true) | (Some(_), false) => {}
        }
        let is_shut = listener.is_none();
        if shared.lock_quietly(|w| w.door_shut) != is_shut {
            shared.lock().door_shut = is_shut;
        }
        let knocked = async {
            let _ = door.recv().await;
            None
        };
        let accepted = match &listener {
            Some(open) => async { open.accept().await.ok() }.or(knocked).await,
            None if shut => knocked.await,
            None => None,
        };
        if let Some((tcp, _)) = accepted {
            ex.spawn(serve(shared.clone(), tcp)).detach();
        }
    }
}

async fn serve(shared: Arc<Shared>, tcp: TcpStream) {
    let (out, outs) = async_channel::bounded(LINE_QUEUE_MAX);
    let (cut, cuts) = async_channel::bounded(1);
    let id = {
        let mut world = shared.lock();
        let id = world.next_line;
        world.next_line += 1;
        world.counters.accepted += 1;
        let line = Line {
            state: LineState::Opening,
            out,
            cut,
            resumed: false,
            pings: 0,
            since: Instant::now(),
        };
        world.lines.insert(id, line);
        id
    };
    let _ = tcp.set_nodelay(true);
    let socket = tcp.clone();
    let ended = async { run(&shared, id, tcp, &outs).await.unwrap_or(End::Fin) };
    let cut_short = async {
        match cuts.recv().await {
            Ok(end) => end,
            Err(_) => future::pending().await,
        }
    };
    let end = cut_short.or(ended).await;
    if end == End::Rst {
        // With a linger of zero, close() resets instead of finishing.
        let _ = socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO));
    }
    drop(socket);
    let mut world = shared.lock();
    world.lines.remove(&id);
    world.refs.retain(|_, line| *line != id);
    world.counters.ended += 1;
}

/// A line from its first byte to its last.
async fn run(shared: &Shared, id: u64, tcp: TcpStream, outs: &Receiver<Out>) -> io::Result<End> {
    let opening = async {
        let mut ws = upgrade(shared, tcp).await?;
        let mut decoder = FrameDecoder::new();
        let shaken = shake(shared, &mut ws, &mut decoder).await?;
        Ok::<_, io::Error>((ws, decoder, shaken))
    };
    let too_slow = async {
        Timer::after(HANDSHAKE_TIMEOUT).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    let (ws, decoder, shaken) = opening.or(too_slow).await?;
    let Shaken {
        transport,
        client_static,
        payload,
        resumed,
    } = shaken;
    login::enter(&mut shared.lock(), id, client_static, &payload, resumed);
    LineTask {
        shared,
        id,
        ws,
        transport,
        decoder,
        frozen: false,
        black_hole: false,
        later: Vec::new(),
        ends: shared
            .lock_quietly(|w| w.standing.session_timer)
            .map(|timer| (Instant::now() + timer.after, timer)),
    }
    .run(outs)
    .await
}

async fn upgrade(shared: &Shared, tcp: TcpStream) -> io::Result<Ws> {
    let status = shared.lock_quietly(|w| w.standing.http_status);
    // Extensions are declined by not naming any in the answer.
    #[expect(clippy::result_large_err, reason = "the signature is the library's")]
    let answer = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        let status = match status {
            Some(status) => status,
            None if request.uri().path() == "/ws/chat" => return Ok(response),
            None => 404,
        };
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::SERVICE_UNAVAILABLE);
        Err(refusal)
    };
    let ws = async_tungstenite::accept_hdr_async(tcp, answer)
        .await
        .map_err(io::Error::other)?;
    shared.lock().counters.upgrades += 1;
    Ok(ws)
}

async fn shake(shared: &Shared, ws: &mut Ws, decoder: &mut FrameDecoder) -> io::Result<Shaken> {
    let (keys, delay, mute) =
        shared.lock_quietly(|w| (w.keys.clone(), w.standing.handshake_delay, w.standing.mute_handshake));
    let hello = first_frame(ws, decoder).await?;
    if mute {
        return future::pending().await;
    }
    if !delay.is_zero() {
        Timer::after(delay).await;
    }
    let (reply, next) = noise::answer_hello(&keys, &hello).map_err(io::Error::other)?;
    let reply = encode_frame(&reply, None).map_err(io::Error::other)?;
    ws.send(Message::binary(reply)).await.map_err(io::Error::other)?;
    let shaken = match next {
        Next::Done(shaken) => *shaken,
        Next::Finish(pending) => {
            let finish = next_frame(ws, decoder).await?;
            noise::finish(*pending, &finish).map_err(io::Error::other)?
        }
    };
    let mut world = shared.lock();
    let counter = &mut world.counters;
    *(if shaken.resumed {
        &mut counter.handshakes_ik
    } else {
        &mut counter.handshakes_xx
    }) += 1;
    Ok(shaken)
}

/// The first frame, after the connection header and what may stand before it.
async fn first_frame(ws: &mut Ws, decoder: &mut FrameDecoder) -> io::Result<Vec<u8>> {
    let mut head: Vec<u8> = Vec::new();
    loop {
        let skip = match head.strip_prefix(&ROUTING_MAGIC) {
            Some([a, b, c, ..]) => ROUTING_MAGIC.len() + 3 + u32::from_be_bytes([0, *a, *b, *c]) as usize,
            Some(_) => usize::MAX,
            None => 0,
        };
        if let Some(header) = head.get(skip..).filter(|rest| rest.len() >= WA_CONN_HEADER.len()) {
            let Some(rest) = header.strip_prefix(&WA_CONN_HEADER) else {
                return Err(io::Error::other("the first bytes are not WhatsApp's"));
            };
            decoder.feed(rest);
            return next_frame(ws, decoder).await;
        }
        head.extend_from_slice(&read_binary(ws).await?);
    }
}

async fn next_frame(ws: &mut Ws, decoder: &mut FrameDecoder) -> io::Result<Vec<u8>> {
    loop {
        if let Some(frame) = decoder.decode_frame() {
            return Ok(frame.to_vec());
        }
        let bytes = read_binary(ws).await?;
        decoder.feed(&bytes);
    }
}

async fn read_binary(ws: &mut Ws) -> io::Result<Vec<u8>> {
    loop {
        match ws.next().await {
            Some(Ok(Message::Binary(bytes))) => return Ok(bytes.to_vec()),
            Some(Ok(Message::Close(_))) | None => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(io::Error::other(error)),
        }
    }
}

/// The task of a line after its handshake.
struct LineTask<'a> {
    shared: &'a Shared,
    id: u64,
    ws: Ws,
    transport: Transport,
    decoder: FrameDecoder,
    /// Neither reads nor writes.
    frozen: bool,
    /// Reads and forgets, writes nothing.
    black_hole: bool,
    /// What is to be written at its time.
    later: Vec<(Instant, wacore_binary::Node)>,
    /// When the server has had enough of it.
    ends: Option<(Instant, SessionTimer)>,
}

enum Turn {
    /// The first of `later` is due.
    Due,
    Read(Option<Result<Message, async_tungstenite::tungstenite::Error>>),
    Write(Out),
    TimeIsUp(SessionTimer),
}

impl LineTask<'_> {
    async fn run(mut self, outs: &Receiver<Out>) -> io::Result<End> {
        let mut held: Vec<Out> = Vec::new();
        loop {
            while let Some(frame) = self.decoder.decode_frame() {
                self.on_frame(frame.to_vec())?;
            }
            match self.turn(outs).await? {
                Turn::Read(message) => {
                    if let Some(end) = self.on_message(message) {
                        return Ok(end);
                    }
                }
                Turn::Write(Out::Freeze(on)) => {
                    self.frozen = on;
                    if !on {
                        for out in held.drain(..) {
                            self.write(out).await?;
                        }
                    }
                }
                Turn::Write(Out::BlackHole(on)) => self.black_hole = on,
                Turn::Write(Out::End(end)) => return Ok(end),
                Turn::Write(out) if self.frozen => {
                    if held.len() < LINE_QUEUE_MAX {
                        held.push(out);
                    }
                }
                Turn::Write(_) if self.black_hole => {}
                Turn::Write(Out::Later(at, node)) => {
                    self.later.push((at, node));
                    self.later.sort_by_key(|(at, _)| *at);
                }
                Turn::Due if self.black_hole => drop(self.later.remove(0)),
                Turn::Due => {
                    let (_, node) = self.later.remove(0);
                    self.write(Out::Node(node)).await?;
                }
                Turn::Write(out) => self.write(out).await?,
                Turn::TimeIsUp(timer) => {
                    if let Some(code) = timer.error {
                        self.write(Out::Node(stream_error(code))).await?;
                    }
                    return Ok(End::Fin);
                }
            }
        }
    }

    async fn turn(&mut self, outs: &Receiver<Out>) -> io::Result<Turn> {
        let write = async { outs.recv().await.map(Turn::Write).map_err(io::Error::other) };
        if self.frozen {
            return write.await;
        }
        let ends = self.ends;
        let time_is_up = async {
            match ends {
                Some((at, timer)) => {
                    Timer::at(at).await;
                    Ok(Turn::TimeIsUp(timer))
                }
                None => future::pending().await,
            }
        };
        let due = self.later.first().map(|(at, _)| *at);
        let is_due = async {
            match due {
                Some(at) => {
                    Timer::at(at).await;
                    Ok(Turn::Due)
                }
                None => future::pending().await,
            }
        };
        let read = async { Ok(Turn::Read(self.ws.next().await)) };
        time_is_up.or(is_due).or(write).or(read).await
    }

    fn on_message(&mut self, message: Option<Result<Message, async_tungstenite::tungstenite::Error>>) -> Option<End> {
        match message {
            Some(Ok(Message::Binary(bytes))) => self.decoder.feed(&bytes),
            Some(Ok(Message::Pong(_))) => self.shared.lock().counters.ws_pongs += 1,
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Some(End::Fin),
        }
        None
    }

    fn on_frame(&mut self, mut body: Vec<u8>) -> io::Result<()> {
        self.transport.open(&mut body).map_err(io::Error::other)?;
        // Only now, so that the cipher stays in step and the fault can end.
        if self.black_hole {
            return Ok(());
        }
        let plain = util::unpack(&body).map_err(io::Error::other)?.into_owned();
        let node = OwnedNodeRef::new(plain).map_err(io::Error::other)?.to_owned_node();
        let mut world = self.shared.lock();
        world.note(Seen {
            line: self.id,
            at: Instant::now(),
            direction: Direction::FromClient,
            node: node.clone(),
        });
        queries::on_stanza(&mut world, self.id, &node);
        Ok(())
    }

    async fn write(&mut self, out: Out) -> io::Result<()> {
        let message = match out {
            Out::Node(node) => {
                let plain = marshal(&node).map_err(io::Error::other)?;
                self.sealed(&plain)?
            }
            Out::Sealed(bytes) => self.sealed(&bytes)?,
            Out::Framed(bytes) => Message::binary(encode_frame(&bytes, None).map_err(io::Error::other)?),
            Out::Ping => Message::Ping(b"lab".to_vec().into()),
            Out::Close(code) => {
                let frame = CloseFrame {
                    code: code.into(),
                    reason: "".into(),
                };
                self.ws.close(Some(frame)).await.map_err(io::Error::other)?;
                return Ok(());
            }
            Out::Later(..) | Out::Freeze(_) | Out::BlackHole(_) | Out::End(_) => return Ok(()),
        };
        self.ws.send(message).await.map_err(io::Error::other)
    }

    fn sealed(&mut self, plain: &[u8]) -> io::Result<Message> {
        let body = self.transport.seal(plain).map_err(io::Error::other)?;
        Ok(Message::binary(encode_frame(&body, None).map_err(io::Error::other)?))
    }
}
