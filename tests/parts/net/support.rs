//! Servers and schedules for the socket tests. Everything is on 127.0.0.1 and a port that the kernel picks.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use async_tungstenite::{WebSocketStream, accept_async};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use smol::net::{TcpListener, TcpStream};
use smol::{Executor, Timer};
use socket2::{Domain, Socket, Type};
use tautline::config::Endpoint;
use tautline::line::{ApplicationSchedule, RedialSchedule, Schedule, StepDeadlines, TcpSchedule, WebSocketSchedule};

/// Longer than anything here takes; a hang becomes a failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A step's deadline where the test is about something else: whoever runs into it has run out of patience before.
const FAR: Duration = Duration::from_secs(600);

/// A step's deadline where the test is about its running out.
pub const SOON: Duration = Duration::from_millis(200);

pub type Tasks = Arc<Executor<'static>>;

pub fn run<T>(test: impl AsyncFnOnce(Tasks) -> T) -> T {
    let tasks = Tasks::default();
    let patient = async {
        Timer::after(PATIENCE).await;
        panic!("nothing happened for {PATIENCE:?}");
    };
    future::block_on(tasks.run(future::or(test(Arc::clone(&tasks)), patient)))
}

/// Comes back when `condition` holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            Timer::after(Duration::from_millis(1)).await;
        }
    };
    let late = async {
        Timer::after(PATIENCE / 2).await;
        panic!("never came: {what}");
    };
    future::or(waiting, late).await;
}

pub fn schedule() -> Schedule {
    let second = Duration::from_secs(1);
    Schedule {
        tcp: TcpSchedule {
            idle: 15 * second,
            interval: 5 * second,
            count: 3,
            user_timeout: 30 * second,
        },
        websocket: WebSocketSchedule {
            ping: 20 * second,
            pong: 10 * second,
        },
        application: ApplicationSchedule {
            ping_min: 15 * second,
            ping_max: 30 * second,
            pong: 20 * second,
            presence: 300 * second,
            probe: 600 * second,
            offline_drain: 60 * second,
        },
        steps: StepDeadlines {
            resolve: FAR,
            dial: FAR,
            proxy: FAR,
            tls: FAR,
            upgrade: FAR,
            login: FAR,
            write: FAR,
        },
        redial: RedialSchedule {
            first: second,
            max: 60 * second,
            useful: 30 * second,
            per_hour_max: 120,
        },
        budget_per_hour: 480,
    }
}

pub fn endpoint(tls: bool, addr: SocketAddr) -> Endpoint {
    Endpoint {
        tls,
        host: addr.ip().to_string(),
        port: addr.port(),
        path: "/ws/chat".into(),
    }
}

pub async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Accepts everybody and says nothing.
pub async fn mute_server(tasks: &Tasks) -> SocketAddr {
    let (listener, addr) = listen().await;
    tasks
        .spawn(async move {
            let mut kept = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                kept.push(stream);
            }
        })
        .detach();
    addr
}

/// Answers the first request head of every connection with `answer`, then hangs up.
pub async fn answering_server(tasks: &Tasks, answer: impl Into<Vec<u8>>) -> SocketAddr {
    let (listener, addr) = listen().await;
    let answer = answer.into();
    tasks
        .spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                read_head(&mut stream).await;
                let _ = stream.write_all(&answer).await;
                let _ = stream.close().await;
            }
        })
        .detach();
    addr
}

pub async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).await.is_ok() {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Upgrades every connection and gives it to `serve`.
pub async fn ws_server<F>(
    tasks: &Tasks,
    mut serve: impl FnMut(WebSocketStream<TcpStream>) -> F + Send + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let (listener, addr) = listen().await;
    let inner = Arc::clone(tasks);
    tasks
        .spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(ws) = accept_async(stream).await {
                    inner.spawn(serve(ws)).detach();
                }
            }
        })
        .detach();
    addr
}

/// An address where SYNs are dropped: a listener whose queue is full and that never accepts.
pub struct Stalled {
    pub addr: SocketAddr,
    _listener: Socket,
    _queued: Vec<Socket>,
}

pub fn stalled() -> Stalled {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap().as_socket().unwrap();
    let queued = (0..4)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&addr.into());
            socket
        })
        .collect();
    Stalled {
        addr,
        _listener: listener,
        _queued: queued,
    }
}

/// An address that refuses: it was bound a moment ago.
pub fn refusing() -> SocketAddr {
    StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
