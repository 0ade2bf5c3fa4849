//! Something in the middle that holds two connections for one: a forwarder, or a proxy. It can stop to pass anything on
//! while it keeps both connections open and its kernel acks whatever comes.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

/// How a client asks for the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It does not: all that comes goes to one place.
    Plain,
    HttpConnect,
    Socks5,
}

/// A piece that passed, as one read returned it.
#[derive(Debug, Clone, Copy)]
pub struct Piece {
    pub at: Instant,
    /// Towards the server.
    pub up: bool,
    pub bytes: u64,
}

/// Pieces that are kept.
const PIECES_MAX: usize = 100_000;

#[derive(Default)]
struct Inside {
    /// Flows that began under an older number pass nothing on any more.
    generation: AtomicU64,
    flows: AtomicU64,
    refusing: AtomicBool,
    stopped: AtomicBool,
    /// Both ends of every flow; a stalled one stays open when its other end has gone.
    ends: Mutex<Vec<TcpStream>>,
    pieces: Mutex<Vec<Piece>>,
}

/// Its connections end when it is dropped.
pub struct Middlebox {
    addr: SocketAddr,
    inside: Arc<Inside>,
    accepting: Option<JoinHandle<()>>,
}

impl Middlebox {
    /// Listens on a port of 127.0.0.1. `goal` is where a plain one leads, and the only place to which a proxy goes.
    pub fn start(kind: Kind, goal: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
        let addr = listener.local_addr().expect("it is bound");
        let inside = Arc::new(Inside::default());
        let shared = Arc::clone(&inside);
        let accepting = std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if shared.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.serve(kind, near, goal));
            }
        });
        Self {
            addr,
            inside,
            accepting: Some(accepting),
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Connections that it has led to the goal.
    pub fn flows(&self) -> u64 {
        self.inside.flows.load(Ordering::SeqCst)
    }

    /// Nothing passes any more on the connections there are; both ends stay open, and what is sent is acked. New ones
    /// are good.
    pub fn stall(&self) {
        self.inside.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// New connections are closed at once.
    pub fn refuse(&self, on: bool) {
        self.inside.refusing.store(on, Ordering::SeqCst);
    }

    /// What has passed since `from`.
    pub fn pieces_since(&self, from: Instant) -> Vec<Piece> {
        let pieces = self.inside.pieces.lock().expect("no panic under it");
        pieces.iter().filter(|piece| piece.at >= from).copied().collect()
    }
}

impl Drop for Middlebox {
    fn drop(&mut self) {
        self.inside.stopped.store(true, Ordering::SeqCst);
        // Wakes the one that accepts.
        let _ = TcpStream::connect(self.addr);
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
        for end in self.inside.ends.lock().expect("no panic under it").drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Inside {
    fn serve(self: Arc<Self>, kind: Kind, mut near: TcpStream, goal: SocketAddr) {
        if self.refusing.load(Ordering::SeqCst) || greet(kind, &mut near).is_err() {
            return;
        }
        let Ok(far) = TcpStream::connect(goal) else { return };
        if agree(kind, &mut near).is_err() {
            return;
        }
        let generation = self.generation.load(Ordering::SeqCst);
        self.flows.fetch_add(1, Ordering::SeqCst);
        let both = || Ok::<_, io::Error>([near.try_clone()?, far.try_clone()?, near.try_clone()?, far.try_clone()?]);
        let Ok([a, b, c, d]) = both() else { return };
        for end in [&near, &far] {
            let _ = end.set_nodelay(true);
        }
        self.ends.lock().expect("no panic under it").extend([near, far]);
        let up = Arc::clone(&self);
        std::thread::spawn(move || up.pass(a, b, true, generation));
        self.pass(d, c, false, generation);
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream, up: bool, generation: u64) {
        let mut buffer = [0; 16 * 1024];
        let stalled = || self.generation.load(Ordering::SeqCst) != generation;
        loop {
            let read = from.read(&mut buffer);
            if stalled() {
                match read {
                    Ok(1..) => continue,
                    // The other end is not told.
                    Ok(0) | Err(_) => return,
                }
            }
            let Ok(length @ 1..) = read else { break };
            self.note(up, length);
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }

    fn note(&self, up: bool, length: usize) {
        let mut pieces = self.pieces.lock().expect("no panic under it");
        if pieces.len() < PIECES_MAX {
            pieces.push(Piece {
                at: Instant::now(),
                up,
                bytes: length as u64,
            });
        }
    }
}

/// Reads what a client says before its own bytes. Where it wants to go is not looked at.
fn greet(kind: Kind, near: &mut TcpStream) -> io::Result<()> {
    match kind {
        Kind::Plain => Ok(()),
        Kind::HttpConnect => {
            // A client says nothing more before it has its answer, so nothing of its own is swallowed here.
            let mut reader = BufReader::new(near);
            let mut line = String::new();
            while reader.read_line(&mut line)? > 2 {
                line.clear();
            }
            Ok(())
        }
        Kind::Socks5 => {
            let mut greeting = [0; 2];
            near.read_exact(&mut greeting)?;
            near.read_exact(&mut vec![0; usize::from(greeting[1])])?;
            near.write_all(&[5, 0])?;
            let mut head = [0; 5];
            near.read_exact(&mut head)?;
            let rest = match head[3] {
                1 => 3 + 2,
                3 => usize::from(head[4]) + 2,
                _ => 15 + 2,
            };
            near.read_exact(&mut vec![0; rest])
        }
    }
}

fn agree(kind: Kind, near: &mut TcpStream) -> io::Result<()> {
    match kind {
        Kind::Plain => Ok(()),
        Kind::HttpConnect => near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n"),
        Kind::Socks5 => near.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
    }
}
