use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::future::block_on;
use smol::Async;

use super::*;

/// Plays an answer back in pieces of `step` bytes and keeps what was written.
struct Script {
    answer: Vec<u8>,
    step: usize,
    written: Vec<u8>,
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, IoError>> {
        let count = self.step.min(buffer.len()).min(self.answer.len());
        buffer[..count].copy_from_slice(&self.answer[..count]);
        self.answer.drain(..count);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, IoError>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        Poll::Ready(Ok(()))
    }
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        Poll::Ready(Ok(()))
    }
}

fn request(method: &str) -> Request {
    Request {
        method: method.into(),
        authority: "localhost".into(),
        target: "/x?y=1".into(),
        headers: vec![("X-Title".into(), "a title".into())],
        body: Bytes::from_static(b"text"),
    }
}

fn answer(bytes: &str, step: usize) -> Result<Response, HttpError> {
    let script = Script {
        answer: bytes.as_bytes().to_vec(),
        step,
        written: Vec::new(),
    };
    block_on(exchange(script, &request("POST"), 64))
}

#[test]
fn each_framing_gives_the_same_body_however_the_bytes_are_cut() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world and more",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5;a=b\r\nworld\r\n0\r\nX-T: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nhello world",
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
    ] {
        for step in [1, 2, 7, 1000] {
            let response = answer(bytes, step).unwrap();
            assert_eq!(
                (response.status, response.body.as_slice()),
                (200, &b"hello world"[..]),
                "{bytes:?} by {step}"
            );
        }
    }
}

#[test]
fn what_is_not_http_or_too_large_or_cut_off_is_an_error() {
    for (bytes, wanted) in [
        ("SSH-2.0-OpenSSH\r\n", "not HTTP"),
        ("", "closed before"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "closed before"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello", "closed before"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n", "larger than 64"),
        ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", "content length"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            "two different",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "transfer encoding",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello",
            "closed before",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
            "chunk",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
            "chunk size",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
            "chunk size",
        ),
        ("HTTP/1.1 101 Switching\r\n\r\n", "101"),
    ] {
        let error = answer(bytes, 3).unwrap_err().to_string();
        assert!(error.contains(wanted), "{bytes:?}: {error}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(65));
    assert!(matches!(answer(&endless, 9), Err(HttpError::TooLarge(64))));
    let head = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(HEAD_MAX_BYTES));
    assert!(matches!(answer(&head, 4096), Err(HttpError::TooLarge(HEAD_MAX_BYTES))));
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(INTERIM_MAX + 1);
    assert!(answer(&interim, 4096).unwrap_err().to_string().contains("interim"));
}

#[test]
fn the_beginning_of_a_body_costs_no_more_than_it_is() {
    const PATIENCE: Duration = Duration::from_secs(60);
    for (body, wanted) in [
        ("Content-Length: 3\r\n\r\nyes", "yes"),
        (
            "Content-Length: 1000000000\r\n\r\nyes, and much more than anybody wants to read",
            "yes, and",
        ),
        ("Transfer-Encoding: chunked\r\n\r\n2\r\nye\r\n9\r\ns", "yes"),
        ("\r\nyes, until the end", "yes, unt"),
    ] {
        let script = Script {
            answer: format!("HTTP/1.1 200 OK\r\n{body}").into_bytes(),
            step: 5,
            written: Vec::new(),
        };
        let beginning = block_on(async {
            let mut incoming = open(script, &request("POST")).await.unwrap();
            incoming.beginning(8, PATIENCE).await
        });
        assert_eq!(String::from_utf8_lossy(&beginning), wanted, "{body}");
    }
    // One that stops in the middle.
    let (near, mut far) = Async::<UnixStream>::pair().unwrap();
    let beginning = block_on(async {
        far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nye")
            .await
            .unwrap();
        let mut incoming = open(near, &request("POST")).await.unwrap();
        incoming.beginning(8, Duration::from_millis(1)).await
    });
    assert_eq!(String::from_utf8_lossy(&beginning), "ye");
}

#[test]
fn a_head_answer_has_no_body_whatever_its_length_says() {
    let script = Script {
        answer: b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n".to_vec(),
        step: 5,
        written: Vec::new(),
    };
    let response = block_on(exchange(script, &request("HEAD"), 4)).unwrap();
    assert!(response.body.is_empty());
}

#[test]
fn lines_come_one_by_one_across_chunks_and_a_long_one_is_refused() {
    let script = |body: &str| Script {
        answer: format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}0\r\n\r\n").into_bytes(),
        step: 4,
        written: Vec::new(),
    };
    block_on(async {
        let mut incoming = open(script("4\r\none\n\r\n2\r\ntw\r\n5\r\no\r\nli\r\n"), &request("POST"))
            .await
            .unwrap();
        assert_eq!(incoming.header("transfer-encoding"), Some("chunked"));
        for wanted in [Some("one"), Some("two"), Some("li"), None] {
            let line = incoming.line(10).await.unwrap();
            assert_eq!(line.as_deref(), wanted.map(str::as_bytes));
        }
        let mut incoming = open(script("c\r\nxxxxxxxxxxxx\r\n"), &request("POST")).await.unwrap();
        assert!(matches!(incoming.line(10).await, Err(HttpError::TooLarge(10))));
    });
}

#[test]
fn a_request_is_framed_and_cannot_carry_a_header_of_its_values_making() {
    // Whether head and body go out in one write or in two.
    for body in ["text".to_owned(), "x".repeat(ONE_WRITE_BYTES_MAX)] {
        let mut request = request("POST");
        request.body = body.clone().into();
        let (near, mut far) = Async::<UnixStream>::pair().unwrap();
        let server = async {
            let (head, begun) = read_head(&mut far).await;
            let mut rest = vec![0; body.len() - begun.len()];
            far.read_exact(&mut rest).await.unwrap();
            far.write_all(OK).await.unwrap();
            head + &String::from_utf8([begun, rest].concat()).unwrap()
        };
        let (wire, answer) = block_on(future::zip(server, exchange(near, &request, 64)));
        assert_eq!(answer.unwrap().status, 200);
        let length = body.len();
        assert_eq!(
            wire,
            format!(
                "POST /x?y=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\nX-Title: a \
                 title\r\n\r\n{body}"
            )
        );
    }
    for (name, value) in [("X-A", "b\r\nX-C: d"), ("X:A", "b"), ("", "b"), ("X-A", "b\nc")] {
        let mut bad = request("POST");
        bad.headers = vec![(name.into(), value.into())];
        assert!(
            matches!(encode_head(&bad, 4), Err(HttpError::Unwritable(_))),
            "{name:?}: {value:?}"
        );
    }
    for target in ["", "/a b", "/\r\n", "/ü"] {
        let mut bad = request("GET");
        bad.target = target.into();
        assert!(
            matches!(encode_head(&bad, 4), Err(HttpError::Unwritable(_))),
            "{target:?}"
        );
    }
}

/// Reads a request to the end of its head, and hands on what came of the body with it.
async fn read_head(stream: &mut Async<UnixStream>) -> (String, Vec<u8>) {
    let mut wire = Vec::new();
    loop {
        if let Some(end) = wire.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = wire.split_off(end + 4);
            return (String::from_utf8(wire).unwrap(), body);
        }
        let mut piece = [0; 512];
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "closed in the head");
        wire.extend_from_slice(&piece[..count]);
    }
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_body_is_streamed_from_wherever_it_is() {
    let content: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
    let (near, mut far) = Async::<UnixStream>::pair().unwrap();
    let server = async {
        let (head, mut body) = read_head(&mut far).await;
        let missing = content.len() - body.len();
        let mut rest = vec![0; missing];
        far.read_exact(&mut rest).await.unwrap();
        body.append(&mut rest);
        far.write_all(OK).await.unwrap();
        (head, body)
    };
    let request = request("POST");
    let body = io::Cursor::new(content.clone());
    let sending = exchange_streaming(near, &request, body, content.len() as u64, 64);
    let ((head, body), answer) = block_on(future::zip(server, sending));
    assert!(
        head.contains("\r\nContent-Length: 300000\r\n") && body == content,
        "{head}"
    );
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
}

#[test]
fn a_refusal_before_the_whole_body_was_sent_is_heard() {
    for closes in [false, true] {
        let (near, mut far) = Async::<UnixStream>::pair().unwrap();
        let server = async {
            read_head(&mut far).await;
            far.write_all(b"HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n")
                .await
                .unwrap();
            // It may close at once, or stay and read nothing.
            (!closes).then_some(far)
        };
        let request = request("POST");
        let sending = exchange_streaming(near, &request, io::repeat(7), 64 << 20, 64);
        let (_kept, answer) = block_on(future::zip(server, sending));
        assert_eq!(answer.unwrap().status, 413, "closes: {closes}");
    }
}

#[test]
fn a_body_that_is_too_short_is_an_error_and_waits_for_no_answer() {
    let (near, _far) = Async::<UnixStream>::pair().unwrap();
    let request = request("POST");
    let error = block_on(exchange_streaming(near, &request, &b"short"[..], 6, 64)).unwrap_err();
    assert!(matches!(error, HttpError::Body(_)), "{error}");
}
