//! As many connections as there may be.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::gate::{Answer, Bench, until};
use tautline::gateway::Limits;

/// A connection on which a request is under way.
fn busy(bench: &Bench) -> TcpStream {
    let mut stream = bench.connect();
    let host = bench.address;
    write!(
        stream,
        "POST /family HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    stream
        .read_exact(&mut [0; "HTTP/1.1 100 Continue\r\n\r\n".len()])
        .unwrap();
    stream
}

/// A connection that was used and is kept, as soon as there is a place for it.
fn idle(bench: &Bench) -> TcpStream {
    let request = format!("HEAD /v1/health HTTP/1.1\r\nHost: {}\r\n\r\n", bench.address);
    loop {
        let mut stream = bench.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            read.push(byte[0]);
        }
        if read.starts_with(b"HTTP/1.1 200") {
            return stream;
        }
    }
}

#[test]
fn the_65th_connection_is_told_to_come_later_and_the_control_socket_stays_open() {
    let bench = Bench::new();
    let mut held: Vec<_> = (0..Limits::default().connections).map(|_| busy(&bench)).collect();
    let refused = Answer::read(bench.connect());
    assert!(refused.error(503).error.contains("connections"));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(bench.local("GET", "/v1/status", "").status, 200);
    held.pop();
    until("a free place", || bench.tcp("GET", "/v1/health", "", "").status == 200);
}

#[test]
fn the_longest_idle_connection_gives_way_to_a_new_one() {
    let bench = Bench::with_limits(|limits| (limits.connections, limits.control_connections) = (3, 3));
    let working = busy(&bench);
    let (mut kept, mut silent) = (idle(&bench), bench.connect());
    let _new = idle(&bench);
    assert_eq!(kept.read(&mut [0]).unwrap(), 0, "it was idle for longest");
    let _newer = idle(&bench);
    assert_eq!(silent.read(&mut [0]).unwrap(), 0, "then it was that");
    // Whoever works is left alone.
    write!(&working, "ok").unwrap();
    assert_eq!(Answer::read(working).status, 200);
}

#[test]
fn commands_that_stay_connected_do_not_keep_others_out() {
    use std::os::unix::net::UnixStream;
    let bench = Bench::new();
    let _silent: Vec<_> = (0..40).map(|_| UnixStream::connect(&bench.control).unwrap()).collect();
    until("a place", || bench.local("GET", "/v1/status", "").status == 200);
}
