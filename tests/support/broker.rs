//! Mosquitto as a process of the test's own, and somebody else who speaks MQTT 5 with it.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::SOON;

/// A broker on loopback, with its own folder.
pub struct Broker {
    program: PathBuf,
    dir: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl Broker {
    /// A broker that lets everybody in, and saves what it keeps at every change. `None`, with a word, where there is no
    /// Mosquitto; where everything can be installed that is a mistake.
    pub fn start() -> Option<Self> {
        Self::start_with(|port, _| {
            format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\nautosave_on_changes true\n\
                 autosave_interval 1\nmax_queued_messages 0\n"
            )
        })
    }

    /// The same with a configuration for its port and its folder.
    pub fn start_with(config: impl FnOnce(u16, &Path) -> String) -> Option<Self> {
        let places = std::env::var_os("PATH").unwrap_or_default();
        let places = std::env::split_paths(&places).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
        let Some(program) = places.map(|place| place.join("mosquitto")).find(|path| path.exists()) else {
            assert!(std::env::var_os("CI").is_none(), "there is no mosquitto");
            eprintln!("skipped, there is no mosquitto here");
            return None;
        };
        let dir = tempfile::tempdir().expect("a temporary directory");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let mut text = config(port, dir.path());
        // As root it would become another user, who may not read the folder.
        text += &format!("user root\npersistence_location {}/\n", dir.path().display());
        std::fs::write(dir.path().join("conf"), text).expect("written");
        let mut broker = Self {
            program,
            dir,
            port,
            child: None,
        };
        broker.start_again();
        Some(broker)
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address())
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("reaped");
        }
    }

    /// Starts it where it was, and waits until it takes connections.
    pub fn start_again(&mut self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .expect("a log file");
        let child = Command::new(&self.program)
            .arg("-c")
            .arg(self.dir.path().join("conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("mosquitto starts");
        self.child = Some(child);
        let until = Instant::now() + SOON;
        while TcpStream::connect(self.address()).is_err() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "mosquitto does not listen: {log}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A message, as a [`Peer`] sends and gets it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    pub topic: String,
    pub payload: Vec<u8>,
    pub retain: bool,
    pub content_type: Option<String>,
    pub expiry_s: Option<u32>,
    pub response_topic: Option<String>,
    pub correlation: Option<Vec<u8>>,
    pub user: Vec<(String, String)>,
}

impl Said {
    pub fn new(topic: &str, payload: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            payload: payload.as_bytes().to_vec(),
            ..Self::default()
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.payload).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

/// Somebody who speaks MQTT 5 with a broker, written for these tests alone, so that nothing is shared with what they
/// test. Every error is a connection that is gone.
pub struct Peer {
    stream: TcpStream,
    next: u16,
    /// What came while something else was waited for.
    heard: Vec<Said>,
}

type Gone<T> = std::io::Result<T>;

impl Peer {
    pub fn connect(at: SocketAddr, id: &str) -> Gone<Self> {
        let stream = TcpStream::connect(at)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        let mut peer = Self {
            stream,
            next: 0,
            heard: Vec::new(),
        };
        let mut body = string(b"MQTT");
        body.extend([5, 2, 0, 0, 0]);
        body.extend(string(id.as_bytes()));
        peer.write(0x10, &body)?;
        let (first, body) = peer.read()?;
        assert_eq!((first, body[1]), (0x20, 0), "{body:?}");
        Ok(peer)
    }

    /// Publishes with QoS 1, and waits for the broker's acknowledgement: its code.
    pub fn publish(&mut self, said: &Said) -> Gone<u8> {
        self.next += 1;
        let mut properties = Vec::new();
        if let Some(kind) = &said.content_type {
            properties.push(0x03);
            properties.extend(string(kind.as_bytes()));
        }
        if let Some(seconds) = said.expiry_s {
            properties.push(0x02);
            properties.extend(seconds.to_be_bytes());
        }
        if let Some(topic) = &said.response_topic {
            properties.push(0x08);
            properties.extend(string(topic.as_bytes()));
        }
        if let Some(correlation) = &said.correlation {
            properties.push(0x09);
            properties.extend(string(correlation));
        }
        for (name, value) in &said.user {
            properties.push(0x26);
            properties.extend(string(name.as_bytes()));
            properties.extend(string(value.as_bytes()));
        }
        let mut body = string(said.topic.as_bytes());
        body.extend(self.next.to_be_bytes());
        body.extend(length(properties.len()));
        body.extend(properties);
        body.extend(&said.payload);
        self.write(0x32 | u8::from(said.retain), &body)?;
        loop {
            let (first, body) = self.read()?;
            match first {
                0x40 => return Ok(body.get(2).copied().unwrap_or(0)),
                _ => self.note(first, &body)?,
            }
        }
    }

    pub fn subscribe(&mut self, filter: &str) -> Gone<()> {
        self.next += 1;
        let mut body = self.next.to_be_bytes().to_vec();
        body.push(0);
        body.extend(string(filter.as_bytes()));
        // Retained messages stay marked as such when they come.
        body.push(0x09);
        self.write(0x82, &body)?;
        loop {
            let (first, body) = self.read()?;
            match first {
                0x90 => return Ok(()),
                _ => self.note(first, &body)?,
            }
        }
    }

    /// The next message of the topics that are subscribed to.
    pub fn hear(&mut self) -> Gone<Said> {
        while self.heard.is_empty() {
            let (first, body) = self.read()?;
            self.note(first, &body)?;
        }
        Ok(self.heard.remove(0))
    }

    /// The first message that `wanted` is true for.
    pub fn hear_until(&mut self, wanted: impl Fn(&Said) -> bool) -> Said {
        loop {
            let said = self.hear().expect("the broker is there, and says it");
            if wanted(&said) {
                return said;
            }
        }
    }

    fn note(&mut self, first: u8, body: &[u8]) -> Gone<()> {
        if first >> 4 != 3 {
            return Ok(());
        }
        let mut rest = body;
        let topic = String::from_utf8_lossy(counted(&mut rest)).into_owned();
        if first & 2 != 0 {
            let number = [rest[0], rest[1]];
            rest = &rest[2..];
            self.write(0x40, &number)?;
        }
        let mut said = Said {
            topic,
            retain: first & 1 != 0,
            ..Said::default()
        };
        let count = usize::from(rest[0]);
        assert!(count < 128, "so many properties are not read here");
        let (mut properties, payload) = rest[1..].split_at(count);
        while let Some((id, behind)) = properties.split_first() {
            properties = behind;
            match id {
                0x03 => said.content_type = Some(String::from_utf8_lossy(counted(&mut properties)).into_owned()),
                0x09 => said.correlation = Some(counted(&mut properties).to_vec()),
                other => panic!("property {other:#x} is not read here"),
            }
        }
        said.payload = payload.to_vec();
        self.heard.push(said);
        Ok(())
    }

    fn write(&mut self, first: u8, body: &[u8]) -> Gone<()> {
        let mut packet = vec![first];
        packet.extend(length(body.len()));
        packet.extend(body);
        self.stream.write_all(&packet)
    }

    fn read(&mut self) -> Gone<(u8, Vec<u8>)> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        let first = byte[0];
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            self.stream.read_exact(&mut byte)?;
            length |= usize::from(byte[0] & 0x7F) << shift;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        match first {
            0xE0 => Err(ErrorKind::ConnectionAborted.into()),
            _ => Ok((first, body)),
        }
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("short");
    [&length.to_be_bytes()[..], bytes].concat()
}

fn length(mut count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (count & 0x7F) as u8;
        count >>= 7;
        bytes.push(if count > 0 { low | 0x80 } else { low });
        if count == 0 {
            return bytes;
        }
    }
}

fn counted<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let count = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    let (taken, rest) = bytes[2..].split_at(count);
    *bytes = rest;
    taken
}
