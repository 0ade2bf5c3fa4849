//! HTTP CONNECT and SOCKS5 through small proxies that relay for real.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_tungstenite::tungstenite::Message;
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt, future, io};
use smol::net::TcpStream;
use tautline::config::{Endpoint, Proxy, ProxyKind};
use tautline::net::{self, DialError, ProxyError, Step};

use super::support::{self, SOON, Tasks, endpoint, run, schedule};

const USER: (&str, &str) = ("relay", "s3cret");
/// `relay:s3cret`, written down so that the encoder is not checked by itself.
const BASIC: &str = "Basic cmVsYXk6czNjcmV0";

fn proxy(kind: ProxyKind, addr: SocketAddr, user: bool) -> Proxy {
    let user = user.then(|| (USER.0.to_owned(), USER.1.to_owned()));
    Proxy {
        kind,
        host: addr.ip().to_string(),
        port: addr.port(),
        user,
    }
}

async fn echo_server(tasks: &Tasks) -> SocketAddr {
    support::ws_server(tasks, |mut ws| async move {
        while let Some(Ok(message)) = ws.next().await {
            if message.is_binary() && ws.send(message).await.is_err() {
                break;
            }
        }
    })
    .await
}

async fn relay(near: TcpStream, far: TcpStream) {
    let up = io::copy(near.clone(), far.clone());
    let down = io::copy(far, near);
    let _ = future::zip(up, down).await;
}

type Heads = Arc<Mutex<Vec<String>>>;

/// An HTTP proxy; with `auth` it wants [`BASIC`].
async fn http_proxy(tasks: &Tasks, auth: bool) -> (SocketAddr, Heads) {
    let (listener, addr) = support::listen().await;
    let heads = Heads::default();
    let seen = Arc::clone(&heads);
    let inner = Arc::clone(tasks);
    tasks
        .spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let head = support::read_head(&mut stream).await;
                seen.lock().unwrap().push(head.clone());
                if auth && !head.contains(&format!("Proxy-Authorization: {BASIC}\r\n")) {
                    let _ = stream
                        .write_all(b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic\r\n\r\n")
                        .await;
                    continue;
                }
                let goal = head.split(' ').nth(1).unwrap().to_owned();
                let far = TcpStream::connect(goal).await.unwrap();
                stream
                    .write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
                    .await
                    .unwrap();
                inner.spawn(relay(stream, far)).detach();
            }
        })
        .detach();
    (addr, heads)
}

/// A SOCKS5 proxy; with `auth` it wants [`USER`]. The address kinds it was asked for are noted.
async fn socks_proxy(tasks: &Tasks, auth: bool) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let (listener, addr) = support::listen().await;
    let kinds = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&kinds);
    let inner = Arc::clone(tasks);
    tasks
        .spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok((near, far, kind)) = socks_accept(stream, auth).await {
                    seen.lock().unwrap().push(kind);
                    inner.spawn(relay(near, far)).detach();
                }
            }
        })
        .detach();
    (addr, kinds)
}

async fn socks_accept(mut stream: TcpStream, auth: bool) -> io::Result<(TcpStream, TcpStream, u8)> {
    let mut greeting = [0; 2];
    stream.read_exact(&mut greeting).await?;
    let mut methods = vec![0; usize::from(greeting[1])];
    stream.read_exact(&mut methods).await?;
    let method = if auth { 2 } else { 0 };
    if !methods.contains(&method) {
        stream.write_all(&[5, 0xff]).await?;
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    stream.write_all(&[5, method]).await?;
    if auth {
        let mut said = vec![0; 3 + USER.0.len() + USER.1.len()];
        stream.read_exact(&mut said).await?;
        let mut want = vec![1, USER.0.len() as u8];
        want.extend_from_slice(USER.0.as_bytes());
        want.push(USER.1.len() as u8);
        want.extend_from_slice(USER.1.as_bytes());
        stream.write_all(&[1, u8::from(said != want)]).await?;
    }
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let len = match head[3] {
        1 => 4,
        3 => {
            let mut len = [0];
            stream.read_exact(&mut len).await?;
            usize::from(len[0])
        }
        _ => 16,
    };
    let mut rest = vec![0; len + 2];
    stream.read_exact(&mut rest).await?;
    let port = u16::from_be_bytes([rest[len], rest[len + 1]]);
    let far = TcpStream::connect(("127.0.0.1", port)).await?;
    // A domain name as the bound address: the client must read it whatever its kind.
    stream.write_all(&[5, 0, 0, 3, 4, b'h', b'e', b'r', b'e', 0, 1]).await?;
    Ok((stream, far, head[3]))
}

async fn talk(target: &Endpoint, proxy: &Proxy) -> net::WsConn {
    let mut conn = net::dial(target, Some(proxy), &schedule()).await.unwrap();
    conn.ws.send(Message::binary(&b"through"[..])).await.unwrap();
    assert_eq!(conn.ws.next().await.unwrap().unwrap().into_data(), &b"through"[..]);
    conn
}

#[test]
fn connect_with_and_without_credentials() {
    run(async |tasks| {
        let goal = echo_server(&tasks).await;
        for auth in [false, true] {
            let (addr, heads) = http_proxy(&tasks, auth).await;
            let conn = talk(&endpoint(false, goal), &proxy(ProxyKind::Http, addr, auth)).await;
            assert_eq!(conn.stats.peer, addr);
            assert_eq!(
                conn.stats.tuning.refused,
                Vec::<String>::new(),
                "a proxied socket is tuned too"
            );
            assert_eq!(
                conn.stats.tuning.in_force.user_timeout,
                Some(schedule().tcp.user_timeout)
            );
            let head = heads.lock().unwrap().pop().unwrap();
            assert!(
                head.starts_with(&format!("CONNECT {goal} HTTP/1.1\r\nHost: {goal}\r\n")),
                "{head}"
            );
        }
    });
}

#[test]
fn connect_refusals_are_told_apart() {
    run(async |tasks| {
        let target = endpoint(false, support::refusing());
        let error = async |proxy: Proxy| match net::dial(&target, Some(&proxy), &schedule()).await.unwrap_err() {
            DialError::Proxy { error, .. } => error,
            other => panic!("{other:?}"),
        };
        let (addr, _) = http_proxy(&tasks, true).await;
        assert_eq!(error(proxy(ProxyKind::Http, addr, false)).await, ProxyError::WantsAuth);
        let mut wrong = proxy(ProxyKind::Http, addr, true);
        wrong.user = Some(("relay".into(), "wrong".into()));
        assert_eq!(error(wrong).await, ProxyError::AuthRefused);

        let addr = support::answering_server(&tasks, "HTTP/1.1 403 Not Allowed\r\n\r\n").await;
        let refused = ProxyError::Status {
            status: 403,
            reason: "Not Allowed".into(),
        };
        assert_eq!(error(proxy(ProxyKind::Http, addr, false)).await, refused);
        let addr = support::answering_server(&tasks, "220 smtp ready\r\n\r\n").await;
        assert!(matches!(
            error(proxy(ProxyKind::Http, addr, false)).await,
            ProxyError::Garbled(_)
        ));
        let addr = support::answering_server(&tasks, "HTTP/1.1 200").await;
        assert!(matches!(
            error(proxy(ProxyKind::Http, addr, false)).await,
            ProxyError::Io(_)
        ));
    });
}

#[test]
fn socks_with_and_without_credentials_and_names_stay_names() {
    run(async |tasks| {
        let goal = echo_server(&tasks).await;
        for auth in [false, true] {
            let (addr, kinds) = socks_proxy(&tasks, auth).await;
            let by = proxy(ProxyKind::Socks5, addr, auth);
            talk(&endpoint(false, goal), &by).await;
            let named = Endpoint {
                host: "localhost".into(),
                ..endpoint(false, goal)
            };
            let conn = talk(&named, &by).await;
            assert_eq!(conn.stats.tuning.refused, Vec::<String>::new());
            assert_eq!(*kinds.lock().unwrap(), [1, 3]);
        }
    });
}

#[test]
fn socks_refusals_are_told_apart() {
    run(async |tasks| {
        let target = endpoint(false, support::refusing());
        let error = async |proxy: Proxy| match net::dial(&target, Some(&proxy), &schedule()).await.unwrap_err() {
            DialError::Proxy { error, .. } => error,
            other => panic!("{other:?}"),
        };
        let (addr, _) = socks_proxy(&tasks, true).await;
        assert_eq!(
            error(proxy(ProxyKind::Socks5, addr, false)).await,
            ProxyError::WantsAuth
        );
        let mut wrong = proxy(ProxyKind::Socks5, addr, true);
        wrong.user = Some(("relay".into(), "wr0ng!".into()));
        assert_eq!(error(wrong).await, ProxyError::AuthRefused);
        let mut long = proxy(ProxyKind::Socks5, addr, true);
        long.user = Some(("r".repeat(256), "x".into()));
        assert!(matches!(error(long).await, ProxyError::Unusable(_)));

        for (answer, want) in [
            (
                &b"\x05\x00\x05\x05\x00\x01\0\0\0\0\0\0"[..],
                ProxyError::Socks { code: 5 },
            ),
            (&b"\x05\xff"[..], ProxyError::WantsAuth),
        ] {
            let addr = scripted(&tasks, answer).await;
            assert_eq!(error(proxy(ProxyKind::Socks5, addr, false)).await, want);
        }
        for garbage in [
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            b"\x05\x02",
            b"\x05\x00\x05\x00\x00\x09",
        ] {
            let addr = scripted(&tasks, garbage).await;
            let error = error(proxy(ProxyKind::Socks5, addr, false)).await;
            assert!(matches!(error, ProxyError::Garbled(_)), "{garbage:?}: {error:?}");
        }
    });
}

/// Says `answer` at once, whatever it is told, and stays.
async fn scripted(tasks: &Tasks, answer: &'static [u8]) -> SocketAddr {
    let (listener, addr) = support::listen().await;
    tasks
        .spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer).await.unwrap();
            future::pending::<()>().await;
        })
        .detach();
    addr
}

#[test]
fn a_mute_proxy_meets_the_proxy_deadline() {
    run(async |tasks| {
        let addr = support::mute_server(&tasks).await;
        let mut schedule = schedule();
        schedule.steps.proxy = SOON;
        for kind in [ProxyKind::Http, ProxyKind::Socks5] {
            let error = net::dial(&endpoint(true, addr), Some(&proxy(kind, addr, false)), &schedule)
                .await
                .unwrap_err();
            assert_eq!(
                (error.step(), error.is_deadline()),
                (Step::Proxy, true),
                "{kind:?}: {error}"
            );
        }
    });
}

#[test]
fn a_dead_proxy_is_named_as_the_proxy() {
    run(async |_| {
        let dead = proxy(ProxyKind::Http, support::refusing(), false);
        let error = net::dial(&endpoint(false, support::refusing()), Some(&dead), &schedule())
            .await
            .unwrap_err();
        assert!(matches!(error, DialError::Unreachable { proxy: true, .. }), "{error:?}");
        assert!(
            error
                .to_string()
                .contains(&format!("proxy {}:{}", dead.host, dead.port)),
            "{error}"
        );
    });
}
