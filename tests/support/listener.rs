//! A small HTTP server that remembers what it was asked, and answers as it is told.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(candidate, _)| candidate == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

/// What is done with a request after it was read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Status(u16, String),
    /// The connection is closed without a word: whoever asked cannot know.
    HangUp,
    /// Nothing is said for as long as this stands.
    Silence,
    /// 200, and then a body of a gigabyte, as much of it as is taken.
    Endless,
}

#[derive(Default)]
struct Inner {
    asked: Vec<Asked>,
    reply: Option<Reply>,
    closed: bool,
}

struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic under it")
    }
}

pub struct Listener {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Listener {
    pub fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner::default()),
            changed: Condvar::new(),
        });
        serve(socket, Arc::clone(&shared));
        Self { shared, address }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on.
    pub fn answer(&self, status: u16, body: &str) {
        self.reply(Reply::Status(status, body.to_owned()));
    }

    pub fn reply(&self, reply: Reply) {
        self.shared.lock().reply = Some(reply);
        self.shared.changed.notify_all();
    }

    /// Nobody listens any more.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        // It wakes the accepting thread, which then lets the port go.
        let _ = TcpStream::connect(self.address);
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(self.address).is_ok() {
            assert!(Instant::now() < until, "the port stays open");
        }
    }

    /// On the same port.
    pub fn reopen(&self) {
        self.shared.lock().closed = false;
        let until = Instant::now() + Duration::from_secs(30);
        let socket = loop {
            match TcpListener::bind(self.address) {
                Ok(socket) => break socket,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
        };
        serve(socket, Arc::clone(&self.shared));
    }

    pub fn count(&self) -> usize {
        self.shared.lock().asked.len()
    }

    pub fn all(&self) -> Vec<Asked> {
        self.shared.lock().asked.clone()
    }

    /// Whether there are more than `seen` requests within `patience`.
    pub fn came_within(&self, seen: usize, patience: Duration) -> bool {
        let waits = |inner: &mut Inner| inner.asked.len() <= seen;
        let (inner, _) = self
            .shared
            .changed
            .wait_timeout_while(self.shared.lock(), patience, waits)
            .expect("no panic under it");
        inner.asked.len() > seen
    }

    /// The request number `index`, from 0.
    #[track_caller]
    pub fn wait(&self, index: usize, patience: Duration) -> Asked {
        assert!(
            self.came_within(index, patience),
            "request {index} never came: {:?}",
            self.all()
        );
        self.shared.lock().asked[index].clone()
    }
}

fn serve(socket: TcpListener, shared: Arc<Shared>) {
    std::thread::spawn(move || {
        for stream in socket.incoming().flatten() {
            if shared.lock().closed {
                return;
            }
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                let _ = one(stream, &shared);
            });
        }
    });
}

fn pour(mut stream: TcpStream) -> std::io::Result<()> {
    const PIECES: usize = 1 << 14;
    let piece = vec![b'x'; 1 << 16];
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", PIECES << 16)?;
    for _ in 0..PIECES {
        stream.write_all(&piece)?;
    }
    Ok(())
}

fn one(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(());
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => break,
        }
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, length)| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let asked = Asked {
        method,
        target,
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let mut inner = shared.lock();
    inner.asked.push(asked);
    shared.changed.notify_all();
    let silent = |inner: &mut Inner| inner.reply == Some(Reply::Silence);
    let inner = shared.changed.wait_while(inner, silent).expect("no panic under it");
    let reply = inner.reply.clone();
    drop(inner);
    let (status, body) = match reply {
        None => (200, "OK".to_owned()),
        Some(Reply::Status(status, body)) => (status, body),
        Some(Reply::HangUp | Reply::Silence) => return Ok(()),
        Some(Reply::Endless) => return pour(stream),
    };
    let mut stream = stream;
    let location = if (300..400).contains(&status) {
        "Location: /elsewhere\r\n"
    } else {
        ""
    };
    write!(
        stream,
        "HTTP/1.1 {status} X\r\n{location}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
