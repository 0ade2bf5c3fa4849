//! What stands beside an alert's text never costs the text: bytes, encodings, sizes, addresses, slow bodies.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::support::{Relay, SOON, Site};

/// A relay that nobody answers: what is accepted is looked at in its outbox.
struct Offline {
    relay: Relay,
    _site: Site,
    _nobody: TcpListener,
}

impl Offline {
    fn start() -> Self {
        let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("ws://{}/ws/chat", nobody.local_addr().expect("an address"));
        let site = Site::new(&endpoint, &[("family", &["+15550100002"])]);
        Self {
            relay: site.start(),
            _site: site,
            _nobody: nobody,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.relay.address).expect("connected");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        stream.set_write_timeout(Some(SOON)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        stream
    }

    /// A POST to `/family` with these header lines, and `Connection: close`.
    fn head(&self, lines: &str) -> String {
        let host = self.relay.address;
        format!("POST /family HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{lines}\r\n")
    }

    /// The most memory that the relay has ever held, in KiB.
    fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.relay.pid())).expect("a status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("a VmHWM");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

/// What came back on one connection.
#[derive(Debug)]
struct Said {
    /// Of every answer, in order.
    statuses: Vec<u16>,
    text: String,
}

impl Said {
    fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("read");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status = |rest: &str| rest.get(..3).and_then(|code| code.parse().ok());
        let statuses = text.split("HTTP/1.1 ").skip(1).filter_map(status).collect();
        Self { statuses, text }
    }
}

/// 8 MiB of growth for forty connections: each may hold a head of 16 KiB, and the rest is the work of serving them. Before
/// the head was collected under a limit, seventeen bytes of one connection took gigabytes.
const GROWTH_MAX_KIB: u64 = 8 * 1024;

#[test]
fn heads_that_trickle_in_cost_no_memory_and_do_not_buy_time() {
    let offline = Offline::start();
    offline.relay.status();
    let before = offline.peak_kib();
    let head = format!("POST /family HTTP/1.1\r\nHost: {}\r\nX-Pad: ", offline.relay.address);
    let mut first: Vec<TcpStream> = (0..20).map(|_| offline.connect()).collect();
    // As many on the second request of a kept connection.
    let mut kept: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = offline.connect();
            let host = offline.relay.address;
            write!(stream, "GET /v1/routes HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("written");
            let mut answer = Vec::new();
            while !answer.ends_with(b"]") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("an answer");
                answer.push(byte[0]);
            }
            stream
        })
        .collect();
    let from = Instant::now();
    for byte in head.bytes().chain(std::iter::repeat_n(b'x', 60)) {
        for stream in first.iter_mut().chain(&mut kept) {
            stream.write_all(&[byte]).expect("written");
        }
        // Each byte is to be a read of its own there.
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let grown = offline.peak_kib() - before;
    assert!(grown <= GROWTH_MAX_KIB, "{grown} KiB");
    // Meanwhile everybody else is served.
    assert_eq!(offline.relay.http("POST", "/family", &[], b"in between").status, 200);
    // The whole head has one deadline: a byte now and then does not prolong it.
    let mut drip = kept.pop().expect("one of them");
    drip.set_read_timeout(Some(Duration::from_millis(200)))
        .expect("a timeout");
    let mut answer = [0; 64];
    let read = loop {
        let _ = drip.write_all(b"x");
        match drip.read(&mut answer) {
            Ok(count) => break count,
            Err(_) => assert!(from.elapsed() < SOON, "the deadline never comes"),
        }
    };
    assert!(
        answer[..read].starts_with(b"HTTP/1.1 408"),
        "{:?}",
        String::from_utf8_lossy(&answer)
    );
    assert!(from.elapsed() < Duration::from_secs(20), "{:?}", from.elapsed());
}

#[test]
fn a_head_in_many_pieces_is_read_also_when_requests_follow_each_other() {
    let offline = Offline::start();
    let host = offline.relay.address;
    let before = offline.peak_kib();
    let one = |text: &str| {
        let length = text.len();
        format!("POST /family HTTP/1.1\r\nHost: {host}\r\nX-Title: pieces\r\nContent-Length: {length}\r\n\r\n{text}")
    };
    let chunked = format!(
        "POST /family HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\nA: b\r\n\r\n",
        "1\r\nx\r\n".repeat(9)
    );
    let last = one("four").replacen("\r\nX-Title", "\r\nConnection: close\r\nX-Title", 1);
    let all = [one("one"), one("two"), chunked, last].concat();
    for pieces in [all.len(), 31, 2, 1] {
        let mut stream = offline.connect();
        for piece in all.as_bytes().chunks(all.len().div_ceil(pieces)) {
            stream.write_all(piece).expect("written");
            if pieces > 1 {
                std::thread::park_timeout(Duration::from_millis(1));
            }
        }
        let said = Said::read(stream);
        assert_eq!(said.statuses, [200; 4], "{pieces} pieces: {said:?}");
    }
    assert_eq!(offline.relay.status()["outbox"]["accepted"], 16);
    let grown = offline.peak_kib() - before;
    assert!(grown <= GROWTH_MAX_KIB, "{grown} KiB");
}

#[test]
fn nothing_that_follows_a_head_costs_memory_either() {
    let offline = Offline::start();
    offline.relay.status();
    let before = offline.peak_kib();
    let head = offline.head("Transfer-Encoding: chunked\r\n");
    let flood = |start: &str, piece: &str, times: usize| {
        let mut stream = offline.connect();
        stream.write_all(start.as_bytes()).expect("written");
        let pieces = piece.repeat(256);
        for _ in 0..times {
            if stream.write_all(pieces.as_bytes()).is_err() {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Write);
        Said::read(stream)
    };
    // Chunks of one byte: more framing than text, and a text for all that.
    let tiny = flood(&head, "1\r\nx\r\n", 64);
    assert_eq!(tiny.statuses, [400], "it never ends: {tiny:?}");
    assert!(tiny.text.contains("did not come whole"), "{tiny:?}");
    // Trailers, extensions, empty lines and pipelined rubbish without end.
    for (start, piece) in [
        (format!("{head}0\r\n"), "A: b\r\n"),
        (format!("{head}1;"), "e=e;"),
        (String::new(), "\r\n"),
        (offline.head(""), "GET "),
    ] {
        let said = flood(&start, piece, 4096);
        assert!(said.statuses.len() == 1, "{piece:?}: {said:?}");
    }
    let grown = offline.peak_kib() - before;
    assert!(grown <= GROWTH_MAX_KIB, "{grown} KiB");
}
