//! The body of a message, and what stands beside it: however it comes, it is taken whole, or its sender is told.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use tautline::gateway::api::Published;

use crate::gate::{Answer, Bench, talk};

#[test]
fn a_body_over_the_limit_is_413_however_it_comes_and_before_any_100() {
    let bench = Bench::with_limits(|limits| {
        limits.body_bytes = 100;
        limits.upload_bytes = 1000;
    });
    let head = format!("POST /family HTTP/1.1\r\nHost: {}\r\n", bench.address);
    assert_eq!(bench.tcp("POST", "/family", "", &"x".repeat(100)).status, 200);
    let error = bench.tcp("POST", "/family", "", &"x".repeat(101)).error(413);
    assert_eq!((error.code, error.field), (41301, None), "ntfy's fields alone");
    let promised = format!("{head}Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n");
    talk(bench.connect(), promised.as_bytes()).error(413);
    let chunk = format!("64\r\n{}\r\n", "x".repeat(100));
    // Of a text all is read before it is refused; what is larger than anything that is taken is refused at once.
    for (chunks, end) in [(2, "0\r\n\r\n"), (11, "")] {
        let chunks = chunk.repeat(chunks);
        let chunked = format!("{head}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{end}");
        talk(bench.connect(), chunked.as_bytes()).error(413);
    }
    assert_eq!(bench.relay.taken().len(), 1);
}

#[test]
fn what_is_wrong_beside_a_text_is_said_and_the_text_is_kept() {
    let bench = Bench::new();
    let warning = |answer: Answer| -> String {
        assert_eq!(answer.status, 200, "{answer:?}");
        let published: Published = answer.json();
        assert!(!published.needs_person);
        published.warning.unwrap_or_default()
    };
    for (target, word) in [
        ("/family?p=9", "priority"),
        ("/family?t=%4", "'%'"),
        ("/family?t=100%zz", "'%'"),
        ("/family?delay=9d&email=a@b.test", "at once; e-mail"),
    ] {
        let said = warning(bench.tcp("POST", target, "", "x"));
        assert!(
            word.split(';').all(|word| said.contains(word.trim())),
            "{target}: {said}"
        );
    }
    let head = format!(
        "POST /family?t=Gr%fc%dfe HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
        bench.address
    );
    let mut latin = format!("{head}Cookie: ").into_bytes();
    latin.extend(b"\xfc\r\nTags: \xfc\r\nContent-Length: 3\r\n\r\n\xfc\xe4\xf6");
    assert_eq!(warning(talk(bench.connect(), &latin)), "");
    let (_, alert) = bench.relay.taken().pop().unwrap();
    assert_eq!((alert.title.as_str(), alert.text.as_str()), ("Grüße", "üäö"));
    assert_eq!(alert.tags, ["ü"]);
    // What the relay says of itself comes first, and is told apart.
    bench.relay.warn("session default is not paired");
    let both: Published = bench.tcp("POST", "/family?p=9", "", "x").json();
    assert!(both.needs_person);
    let both = both.warning.unwrap();
    assert!(
        both.starts_with("session default is not paired; the priority"),
        "{both}"
    );
}

#[test]
fn a_message_that_does_not_come_whole_is_not_kept() {
    let bench = Bench::new();
    let host = format!("Host: {}\r\n", bench.address);
    for framed in [
        "Content-Length: 10\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "Transfer-Encoding: chunked\r\n\r\nx\r\n",
        "Transfer-Encoding: chunked\r\n\r\n1\r\ntwo\r\n0\r\n\r\n",
    ] {
        let mut stream = bench.connect();
        write!(stream, "POST /family HTTP/1.1\r\n{host}{framed}").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let error = Answer::read(stream).error(400);
        assert!(error.error.contains("whole"), "{error:?}");
    }
    assert!(bench.relay.taken().is_empty());
}

#[test]
fn slow_bodies_have_their_time_and_a_part_of_the_places() {
    let bench = Bench::with_limits(|limits| {
        // Half of them for slow bodies: 3. One is spare, for a place that the client before has hardly left.
        limits.connections = 6;
        limits.request = Duration::from_millis(500);
        limits.body_gap = Duration::from_secs(2);
        limits.body = Duration::from_secs(30);
    });
    let head = format!(
        "POST /family HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: 6\r\n\r\n",
        bench.address
    );
    // Longer than a request may take, with no gap that is too long.
    let mut stream = bench.connect();
    stream.write_all(head.as_bytes()).unwrap();
    for piece in ["sl", "o", "wl", "y"] {
        std::thread::park_timeout(Duration::from_millis(300));
        stream.write_all(piece.as_bytes()).unwrap();
    }
    assert_eq!(Answer::read(stream).status, 200);
    assert_eq!(bench.relay.taken().len(), 1);
    // Half of the places are for such ones; more are told to come again, and the others are served.
    let mut slow: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = bench.connect();
            stream.write_all(format!("{head}half").as_bytes()).unwrap();
            stream
        })
        .collect();
    assert_eq!(bench.tcp("POST", "/family", "", "quick").status, 200);
    let mut statuses: Vec<u16> = slow.drain(..).map(|stream| Answer::read(stream).status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [408, 408, 408, 503]);
    assert_eq!(bench.relay.taken().len(), 2);
}

#[test]
fn a_body_may_come_in_chunks_and_after_a_100() {
    let bench = Bench::new();
    let head = format!(
        "POST /family HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
        bench.address
    );
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n4\r\n two\r\n0\r\n\r\n");
    assert_eq!(talk(bench.connect(), chunked.as_bytes()).status, 200);

    let mut stream = bench.connect();
    write!(stream, "{head}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n").unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(talk(stream, b"three").status, 200);
    let texts: Vec<_> = bench.relay.taken().into_iter().map(|(_, alert)| alert.text).collect();
    assert_eq!(texts, ["one two", "three"]);
}
