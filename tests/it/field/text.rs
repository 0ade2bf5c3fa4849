//! What stands beside an alert's text never costs the text: bytes, encodings, sizes, addresses, slow bodies.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

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
        let relay = site.start();
        // It serves: what a start takes is no matter of these tests.
        relay.status();
        Self {
            relay,
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

    /// Sends bytes as they are and reads all that comes until the relay closes.
    fn raw(&self, bytes: &[u8]) -> Said {
        let mut stream = self.connect();
        stream.write_all(bytes).expect("written");
        Said::read(stream)
    }

    /// A POST to `/family` with these header lines, and `Connection: close`.
    fn head(&self, lines: &str) -> String {
        let host = self.relay.address;
        format!("POST /family HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{lines}\r\n")
    }

    /// A whole POST to `/family`: header lines as bytes, and the body. The answer's JSON; it must be 200.
    fn post(&self, lines: &[u8], body: &[u8]) -> Value {
        let mut wire = self.head(&format!("Content-Length: {}\r\n", body.len())).into_bytes();
        wire.truncate(wire.len() - 2);
        wire.extend([lines, b"\r\n", body].concat());
        let said = self.raw(&wire);
        assert_eq!(said.statuses, [200], "{}: {said:?}", String::from_utf8_lossy(lines));
        said.json()
    }

    /// What of an alert goes to WhatsApp is what the outbox has.
    fn kept(&self, answer: &Value) -> Value {
        let id = answer["id"].as_str().expect("an id");
        self.relay.http("GET", &format!("/v1/alerts/{id}"), &[], b"").json()
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
    /// The status of every answer, in order.
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

    /// The last body, as JSON.
    fn json(&self) -> Value {
        let body = self.text.rsplit("\r\n\r\n").next().unwrap_or_default();
        serde_json::from_str(body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

/// What an answer warns of, besides that the session of these tests is not paired.
fn warning(answer: &Value) -> &str {
    let all = answer["warning"].as_str().unwrap_or_default();
    let (_, ours) = all.split_once("has linked it").unwrap_or(("", all));
    ours.trim_start_matches("; ")
}

/// 16 MiB of growth for forty connections: each may hold a head of 16 KiB, and the rest is the work of serving them
/// and of a relay that has just started. Before the head was collected under a limit, seventeen bytes of one
/// connection took gigabytes.
const GROWTH_MAX_KIB: u64 = 16 * 1024;

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
    // What the first alert takes, for the store and its index, is not the head's.
    assert_eq!(offline.relay.http("POST", "/family", &[], b"zero").status, 200);
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
    assert_eq!(offline.relay.status()["outbox"]["accepted"], 17);
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

#[test]
fn a_picture_costs_no_text() {
    let offline = Offline::start();
    let mut jpeg = b"\xff\xd8\xff\xe0\x00\x10JFIF".to_vec();
    jpeg.extend((0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8));
    let before = offline.peak_kib();
    // It is no picture that can be read, and goes as a file.
    for (lines, text, name) in [
        (
            "X-Filename: snapshot.jpg\r\nX-Title: Door\r\nX-Message: person\r\n",
            "person",
            "snapshot.jpg",
        ),
        (
            "Filename: snapshot.jpg\r\nTitle: Door\r\n",
            "snapshot.jpg",
            "snapshot.jpg",
        ),
        (
            "Title: Door\r\nMessage: person\r\nContent-Type: image/jpeg\r\n",
            "person",
            "",
        ),
    ] {
        let answer = offline.post(lines.as_bytes(), &jpeg);
        assert!(warning(&answer).contains("as a document"), "{answer}");
        let kept = offline.kept(&answer);
        assert_eq!(
            (kept["text"].as_str(), kept["title"].as_str()),
            (Some(text), Some("Door"))
        );
        let file = &kept["attachments"][0];
        assert_eq!(
            (file["name"].as_str().unwrap_or_default(), file["bytes"].as_u64()),
            (name, Some(jpeg.len() as u64)),
            "{kept}"
        );
    }
    let answer = offline.post(b"X-Attach: http://cam.test/1.jpg\r\n", b"person");
    assert_eq!(
        offline.kept(&answer)["text"],
        "person\n[attachment: http://cam.test/1.jpg]"
    );
    assert!(warning(&answer).contains("attachments"), "{answer}");
    let grown = offline.peak_kib() - before;
    assert!(grown <= GROWTH_MAX_KIB, "{grown} KiB");
}

#[test]
fn every_encoding_is_read() {
    let offline = Offline::start();
    let utf16 = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let with_mark = [b"\xff\xfe".to_vec(), utf16("Grüße")].concat();
    for (lines, body, text) in [
        (
            &b"Content-Type: text/plain; charset=iso-8859-1\r\n"[..],
            &b"Gr\xfc\xdfe"[..],
            "Grüße",
        ),
        (
            b"Content-Type: text/plain; charset=utf-16le\r\n",
            &utf16("Grüße"),
            "Grüße",
        ),
        (b"", &with_mark, "Grüße"),
        (b"", b"Gr\xfc\xdfe", "Grüße"),
        (
            b"",
            b"gr\xc3\xbc\xc3\x9fe, half a fire \xf0\x9f\x94",
            "grüße, half a fire \u{fffd}",
        ),
        (
            b"X-Unread: \xff\xfe\x01\r\nno header at all\r\nBad Name: x\r\n",
            b"plain",
            "plain",
        ),
        (b"X-Message: Gr\xfc\xdfe\r\n", b"", "Grüße"),
    ] {
        let answer = offline.post(lines, body);
        assert_eq!(
            offline.kept(&answer)["text"],
            text,
            "{}",
            String::from_utf8_lossy(lines)
        );
        assert_eq!(warning(&answer), "", "{answer}");
    }
    for (line, title) in [
        (&b"Title: Gr\xfc\xdfe\r\n"[..], "Grüße"),
        ("Title: Grüße\r\n".as_bytes(), "Grüße"),
        (b"Title: =?iso-8859-1?q?Gr=FC=DFe?=\r\n", "Grüße"),
        (b"Title: =?utf-8?q?one?=\r\n =?utf-8?q?two?=\r\n", "onetwo"),
        (b"Title: one\r\n\ttwo\r\n   three\r\n", "one two three"),
        ("Title: gnp.\u{202E}exe\u{2066}\u{200B}\r\n".as_bytes(), "gnp.exe"),
        (b"Title: a\x1b[31m\x07b\r\n", "a[31mb"),
    ] {
        let answer = offline.post(line, b"text");
        assert_eq!(
            offline.kept(&answer)["title"],
            title,
            "{}",
            String::from_utf8_lossy(line)
        );
    }
    // A folded header harms no other request of its connection.
    let host = offline.relay.address;
    let folded = format!("POST /family HTTP/1.1\r\nHost: {host}\r\nTitle: a\r\n b\r\nContent-Length: 1\r\n\r\nx");
    let last = offline.head("Content-Length: 1\r\n");
    assert_eq!(
        offline.raw(format!("{folded}{folded}{last}y").as_bytes()).statuses,
        [200; 3]
    );
}

#[test]
fn what_is_too_much_is_cut_or_left_out_and_said() {
    let offline = Offline::start();
    let long_title = format!("Title: {}\r\n", "t".repeat(1100));
    let many_tags = format!("Tags: {}\r\n", "a,".repeat(40));
    let long_link = format!("Click: http://x.test/{}\r\n", "x".repeat(3000));
    let long_key = format!("X-Key: {}\r\n", "k".repeat(300));
    for lines in [
        &*long_title,
        &many_tags,
        &long_link,
        &long_key,
        "Priority: loud\r\n",
        "Priority: 9\r\n",
        "Delay: soon\r\n",
        "Email: a@b.test\r\n",
        "Call: yes\r\n",
    ] {
        let answer = offline.post(lines.as_bytes(), b"the text");
        let kept = offline.kept(&answer);
        assert!(
            kept["text"].as_str().is_some_and(|text| text.starts_with("the text")),
            "{lines}: {kept}"
        );
        assert_ne!(warning(&answer), "", "{lines}: {answer}");
    }
    // The same long key is the same alert, another one is another.
    let again = offline.post(long_key.as_bytes(), b"the text");
    assert_eq!(again["duplicate"], true);
    let other = offline.post(format!("X-Key: {}x\r\n", "k".repeat(299)).as_bytes(), b"the text");
    assert_eq!(other.get("duplicate"), None);
    for size in [65_537, 70_000, 1_000_000] {
        let answer = offline.post(b"Title: T\r\n", "x".repeat(size).as_bytes());
        let kept = offline.kept(&answer);
        let text = kept["text"].as_str().expect("a text");
        assert!((60_000..=65_536).contains(&text.len()), "{}", text.len());
        assert!(text.contains("… [cut, it was"), "{}", &text[65_000..]);
        assert!(warning(&answer).contains("cut to"), "{size}");
    }
    for target in [
        "//family",
        "/family/",
        "/family/?title=x",
        "/family?t=100%zz",
        "/family?t=Gr%fc%dfe",
    ] {
        assert_eq!(offline.relay.http("POST", target, &[], b"x").status, 200, "{target}");
    }
    assert_eq!(offline.relay.http("GET", "/anything", &[], b"").status, 404);
}

#[test]
fn a_refusal_is_read_by_a_client_that_writes_all_first() {
    let offline = Offline::start();
    let before = offline.peak_kib();
    // A text; and what is too large to be taken at all, refused while the client still writes.
    for (bytes, framing) in [
        (5 << 20, "Content-Length"),
        (40 << 20, "Content-Length"),
        (5 << 20, "chunked"),
    ] {
        let mut stream = offline.connect();
        let framed = match framing {
            "chunked" => (
                format!("Transfer-Encoding: {framing}\r\n"),
                format!("{bytes:x}\r\n"),
                "\r\n0\r\n\r\n",
            ),
            _ => (format!("{framing}: {bytes}\r\n"), String::new(), ""),
        };
        let (lines, start, end) = framed;
        stream
            .write_all(format!("{}{start}", offline.head(&lines)).as_bytes())
            .expect("written");
        let piece = [b'x'; 1 << 16];
        for _ in 0..bytes / piece.len() {
            stream.write_all(&piece).expect("the relay reads on");
        }
        stream.write_all(end.as_bytes()).expect("the relay reads on");
        let said = Said::read(stream);
        assert_eq!(said.statuses, [413], "{bytes}: {said:?}");
        assert!(
            said.json()["error"]
                .as_str()
                .is_some_and(|error| error.contains("larger than"))
        );
    }
    let grown = offline.peak_kib() - before;
    assert!(grown <= GROWTH_MAX_KIB, "{grown} KiB");
    assert_eq!(offline.relay.status()["outbox"]["accepted"], 0);
}

#[test]
fn a_job_may_take_its_time() {
    let offline = Offline::start();
    let mut stream = offline.connect();
    let host = offline.relay.address;
    write!(
        stream,
        "PUT /family HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .expect("written");
    stream.write_all(b"2\r\na\n\r\n").expect("written");
    // Longer than the ten seconds that a head may take. Nothing can be waited for: the point is that nothing happens.
    stream
        .set_read_timeout(Some(Duration::from_secs(13)))
        .expect("a timeout");
    assert!(stream.read(&mut [0]).is_err(), "it was not waited for");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream.write_all(b"2\r\nb\n\r\n0\r\n\r\n").expect("written");
    let said = Said::read(stream);
    assert_eq!(said.statuses, [200], "{said:?}");
    assert_eq!(offline.kept(&said.json())["text"], "a\nb");
}

#[test]
fn a_body_without_a_length_ends_with_the_connection() {
    let offline = Offline::start();
    let host = offline.relay.address;
    let large = "x".repeat(20_000);
    for (lines, body) in [("", "disk full"), ("Connection: close\r\n", &large)] {
        let mut stream = offline.connect();
        write!(stream, "POST /family HTTP/1.0\r\nHost: {host}\r\n{lines}\r\n").expect("written");
        let (first, last) = body.split_at(4);
        stream.write_all(first.as_bytes()).expect("written");
        stream.write_all(last.as_bytes()).expect("written");
        stream.shutdown(Shutdown::Write).expect("a half");
        let said = Said::read(stream);
        assert_eq!(said.statuses, [200], "{said:?}");
        assert_eq!(offline.kept(&said.json())["text"], body);
    }
    // One that has none, and waits for its answer.
    let bodyless = format!("POST /family?message=triggered%20by%20hand HTTP/1.0\r\nHost: {host}\r\n\r\n");
    let said = offline.raw(bodyless.as_bytes());
    assert_eq!(said.statuses, [200], "{said:?}");
    assert_eq!(offline.kept(&said.json())["text"], "triggered by hand");
}

#[test]
fn a_compressed_body_is_refused_in_words_and_what_only_says_so_is_taken() {
    let offline = Offline::start();
    // What `printf 'disk full' | gzip -n` writes.
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\xc9\x2c\xce\x56\x48\x2b\xcd\xc9\x01\0\x8a\x8d\x6b\x0b\x09\0\0\0";
    for coding in ["gzip", "x-gzip", "Deflate", "identity, br"] {
        let lines = format!("Content-Encoding: {coding}\r\nContent-Length: {}\r\n", gzip.len());
        let said = offline.raw(&[offline.head(&lines).as_bytes(), gzip].concat());
        assert_eq!(said.statuses, [415], "{coding}: {said:?}");
        let error = said.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(
            error.contains("compressed") && error.contains("send it as it is"),
            "{error}"
        );
    }
    for coding in ["gzip", "utf-8", "identity", "ü"] {
        let answer = offline.post(format!("Content-Encoding: {coding}\r\n").as_bytes(), "Grüße".as_bytes());
        assert_eq!(offline.kept(&answer)["text"], "Grüße", "{coding}");
    }
}

#[test]
fn charsets_that_browsers_do_not_know_and_lists_in_two_headers_are_read() {
    let offline = Offline::start();
    let utf32: Vec<u8> = "Platte voll ü"
        .chars()
        .flat_map(|c| u32::from(c).to_le_bytes())
        .collect();
    for (charset, body) in [
        ("utf-32le", &utf32[..]),
        ("ibm850", b"Platte voll \x81"),
        ("cp437", b"Platte voll \x81"),
    ] {
        let lines = format!("Content-Type: text/plain; charset={charset}\r\n");
        let answer = offline.post(lines.as_bytes(), body);
        assert_eq!(offline.kept(&answer)["text"], "Platte voll ü", "{charset}");
    }
    let answer = offline.post(b"Tags: warning,nas\r\nX-Title: T\r\nTags: disk\r\n", b"full");
    let kept = offline.kept(&answer);
    assert_eq!(kept["tags"], serde_json::json!(["warning", "nas", "disk"]), "{kept}");
}

#[test]
fn what_is_no_request_is_told_so_in_words() {
    let offline = Offline::start();
    let host = offline.relay.address;
    for (bytes, status) in [
        (format!("GET\r\nHost: {host}\r\n\r\n"), 400),
        (format!("GET / HTTP/3.0\r\nHost: {host}\r\n\r\n"), 505),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("\u{16}\u{3}\u{1}".to_owned(), 400),
        (offline.head("Content-Length: many\r\n"), 400),
        (offline.head("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400),
        (offline.head("Transfer-Encoding: gzip\r\n"), 501),
        (offline.head("Expect: pigs\r\n"), 417),
        (offline.head(&format!("X-Pad: {}\r\n", "x".repeat(20_000))), 431),
        (offline.head("Transfer-Encoding: chunked\r\n") + "zz\r\n", 400),
    ] {
        let said = offline.raw(bytes.as_bytes());
        assert_eq!(said.statuses, [status], "{bytes:.60?}: {said:?}");
        let error = &said.json()["error"];
        assert!(
            error.as_str().is_some_and(|words| words.len() > 10),
            "{bytes:.60?}: {said:?}"
        );
    }
    assert_eq!(offline.relay.http("POST", "/family", &[], b"still here").status, 200);
}
