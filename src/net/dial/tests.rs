//! Several addresses of one name, of which some take a connection and then say nothing. The look-up is left out,
//! because what a name means is the machine's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use async_tungstenite::accept_async;
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use smol::net::{TcpListener, TcpStream};
use smol::{Executor, Timer};
use socket2::{Domain, Socket, Type};

use super::*;
use crate::board::Board;
use crate::config::ProxyKind;
use crate::net::ws;

const PATIENCE: Duration = Duration::from_secs(60);
/// A step's deadline that is to run out.
const SOON: Duration = Duration::from_millis(200);
/// A dial's deadline; half of it is the head start.
const DIAL: Duration = Duration::from_secs(2);

const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const OTHER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// How an address behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Upgrades, after a SOCKS5 tunnel to itself if it is asked for one.
    Good,
    /// TCP connects, and that is all.
    Silent,
    /// The same once the tunnel stands.
    SilentTunnel,
    /// Answers, but not with an upgrade.
    Busy,
    Refusing,
    /// SYNs are dropped.
    Stalled,
}
use Manner::{Busy, Good, Refusing, Silent, SilentTunnel, Stalled};

/// One name with these addresses, in the order in which a look-up gives them.
struct Site {
    tasks: Executor<'static>,
    name: String,
    addrs: Vec<SocketAddr>,
    /// What keeps stalled addresses full.
    _queued: Vec<Socket>,
}

impl Site {
    /// `name` is not used by another test, because what is suspect is the process's. `None`: this machine has no such
    /// address.
    fn of(name: &str, addresses: &[(IpAddr, Manner)]) -> Option<Self> {
        let mut site = Self {
            tasks: Executor::new(),
            name: format!("{name}.localhost"),
            addrs: Vec::new(),
            _queued: Vec::new(),
        };
        for (ip, manner) in addresses {
            let listener = Socket::new(Domain::for_address((*ip, 0).into()), Type::STREAM, None).ok()?;
            if let Err(error) = listener.bind(&SocketAddr::from((*ip, 0)).into()) {
                println!("{name}: not tried: {ip}: {error}");
                return None;
            }
            let addr = listener.local_addr().unwrap().as_socket().unwrap();
            site.addrs.push(addr);
            match manner {
                Refusing => continue,
                Stalled => {
                    listener.listen(0).unwrap();
                    site._queued.extend((0..4).map(|_| {
                        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
                        socket.set_nonblocking(true).unwrap();
                        let _ = socket.connect(&addr.into());
                        socket
                    }));
                    site._queued.push(listener);
                }
                Good | Silent | SilentTunnel | Busy => {
                    listener.listen(16).unwrap();
                    listener.set_nonblocking(true).unwrap();
                    let listener = smol::Async::new(std::net::TcpListener::from(listener)).unwrap();
                    site.tasks.spawn(serve(listener.into(), *manner)).detach();
                }
            }
        }
        Some(site)
    }

    fn target(&self, tls: bool) -> Endpoint {
        Endpoint {
            tls,
            host: self.name.clone(),
            port: 443,
            path: "/ws/chat".into(),
        }
    }

    fn dial(&self) -> Result<IpAddr, DialError> {
        self.dial_to(&self.target(false), None)
    }

    /// The address that the line came up on. A whole dial from the addresses on.
    fn dial_to(&self, target: &Endpoint, proxy: Option<&Proxy>) -> Result<IpAddr, DialError> {
        let mut schedule = Board::generic().schedule();
        schedule.steps.dial = DIAL;
        (schedule.steps.proxy, schedule.steps.tls, schedule.steps.upgrade) = (SOON, SOON, SOON);
        let progress = Progress::default();
        let dialing = async {
            let link = open_at(self.addrs.clone(), target, proxy, &schedule, &progress).await?;
            let conn = ws::upgrade(link, target, proxy, &schedule, &progress).await?;
            let peer = conn.stats.peer.ip();
            conn.trial.worked();
            Ok(peer)
        };
        let late = async {
            Timer::after(PATIENCE).await;
            panic!("no end of a dial within {PATIENCE:?}");
        };
        future::block_on(self.tasks.run(future::or(dialing, late)))
    }
}

async fn serve(listener: TcpListener, manner: Manner) {
    let mut kept = Vec::new();
    while let Ok((stream, _)) = listener.accept().await {
        kept.push(answer(stream, manner).await);
    }
}

/// What must be kept so that the connection stays open.
async fn answer(mut stream: TcpStream, manner: Manner) -> Option<Box<dyn Send>> {
    if manner == Silent {
        return Some(Box::new(stream));
    }
    let mut first = [0];
    stream.peek(&mut first).await.ok()?;
    if first == [5] {
        stream.read_exact(&mut [0; 3]).await.ok()?;
        stream.write_all(&[5, 0]).await.ok()?;
        let mut head = [0; 5];
        stream.read_exact(&mut head).await.ok()?;
        stream.read_exact(&mut vec![0; usize::from(head[4]) + 2]).await.ok()?;
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
    }
    match manner {
        Busy => {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream
                .write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
                .await;
            None
        }
        Good => Some(Box::new(accept_async(stream).await.ok()?)),
        Silent | SilentTunnel | Refusing | Stalled => Some(Box::new(stream)),
    }
}

#[track_caller]
fn names(error: &DialError, step: Step, words: &str) {
    assert_eq!((error.step(), error.is_deadline()), (step, true), "{error}");
    assert!(error.to_string().contains(words), "{words:?} is not in: {error}");
}

/// The family that is told by its address.
fn words(ip: IpAddr) -> String {
    format!(" over {} ({ip})", if ip.is_ipv4() { "IPv4" } else { "IPv6" })
}

#[test]
fn a_family_that_accepts_in_silence_gives_way_at_the_second_dial() {
    for (name, silent, good) in [("six", V6, V4), ("four", V4, V6), ("same", V4, OTHER_V4)] {
        let Some(site) = Site::of(name, &[(silent, Silent), (good, Good)]) else {
            continue;
        };
        names(&site.dial().unwrap_err(), Step::Upgrade, &words(silent));
        for _ in 0..3 {
            assert_eq!(site.dial(), Ok(good));
        }
    }
}

#[test]
fn silence_under_tls_is_the_same() {
    let Some(site) = Site::of("tls", &[(V6, Silent), (V4, Silent)]) else {
        return;
    };
    let target = site.target(true);
    names(&site.dial_to(&target, None).unwrap_err(), Step::Tls, &words(V6));
    names(&site.dial_to(&target, None).unwrap_err(), Step::Tls, &words(V4));
}

#[test]
fn a_proxys_addresses_are_told_apart_too() {
    for (name, manner, step) in [("proxy", Silent, Step::Proxy), ("tunnel", SilentTunnel, Step::Upgrade)] {
        for (family, silent, good) in [("six", V6, V4), ("four", V4, V6)] {
            let Some(site) = Site::of(&format!("{name}-{family}"), &[(silent, manner), (good, Good)]) else {
                continue;
            };
            let proxy = Proxy {
                kind: ProxyKind::Socks5,
                host: site.name.clone(),
                port: 1080,
                user: None,
            };
            let target = Endpoint {
                host: "elsewhere.localhost".into(),
                ..site.target(false)
            };
            let error = site.dial_to(&target, Some(&proxy)).unwrap_err();
            names(&error, step, &silent.to_string());
            assert_eq!(site.dial_to(&target, Some(&proxy)), Ok(good));
        }
    }
}

#[test]
fn a_suspect_is_dialled_where_there_is_nothing_else() {
    let alone = Site::of("alone", &[(V4, Silent)]).unwrap();
    for _ in 0..3 {
        names(&alone.dial().unwrap_err(), Step::Upgrade, &words(V4));
    }
    let Some(refused) = Site::of("refused", &[(V6, Silent), (V4, Refusing)]) else {
        return;
    };
    for _ in 0..3 {
        names(&refused.dial().unwrap_err(), Step::Upgrade, &words(V6));
    }
    let Some(stalled) = Site::of("stalled", &[(V6, Silent), (V4, Stalled)]) else {
        return;
    };
    for _ in 0..2 {
        names(&stalled.dial().unwrap_err(), Step::Upgrade, &words(V6));
    }
}

#[test]
fn where_all_are_silent_they_take_turns() {
    let Some(site) = Site::of("turns", &[(V6, Silent), (V4, Silent)]) else {
        return;
    };
    for silent in [V6, V4, V6, V4] {
        names(&site.dial().unwrap_err(), Step::Upgrade, &words(silent));
    }
}

#[test]
fn an_answer_speaks_for_the_address_even_if_it_is_a_refusal() {
    let site = Site::of("busy", &[(V4, Busy), (OTHER_V4, Good)]).unwrap();
    for _ in 0..2 {
        let error = site.dial().unwrap_err();
        assert!(matches!(error, DialError::Status { status: 503, .. }), "{error}");
        assert!(error.to_string().contains(&words(V4)), "{error}");
    }
}
