//! The journal as a stream: by WebSocket, server-sent events and JSON lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::protocol::CloseFrame;
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt, future};
use serde_json::{Value, json};
use tautline::access::Right;
use tautline::gateway::Relay;

use crate::gate::{Bench, PATIENCE, until};
use crate::support::Site;

/// A client of ours, by the library that everybody has.
struct Client(WebSocketStream<smol::net::TcpStream>);

impl Client {
    async fn open(address: SocketAddr, query: &str, protocol: Option<&str>, headers: &[(&'static str, &str)]) -> Self {
        let stream = smol::net::TcpStream::connect(address).await.unwrap();
        let mut request = format!("ws://{address}/v1/events{query}")
            .into_client_request()
            .unwrap();
        let given = headers.iter().copied();
        for (name, value) in given.chain(protocol.map(|protocol| ("sec-websocket-protocol", protocol))) {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let (socket, answer) = async_tungstenite::client_async(request, stream).await.unwrap();
        let spoken = answer.headers().get("sec-websocket-protocol");
        assert_eq!(spoken.map(|value| value.to_str().unwrap()), protocol);
        Self(socket)
    }

    async fn plain(bench: &Bench, query: &str) -> Self {
        Self::open(bench.address, query, None, &[]).await
    }

    /// One that says `hello`, with the answer read.
    async fn of_protocol(bench: &Bench, hello: Value) -> Self {
        let mut client = Self::open(bench.address, "", Some("tautline.v1"), &[]).await;
        client.say(hello).await;
        assert_eq!(client.word().await["event"], "hello");
        client
    }

    async fn say(&mut self, value: Value) {
        self.0.send(Message::text(value.to_string())).await.unwrap();
    }

    /// The next text, or how it ended.
    async fn heard(&mut self) -> Result<Value, CloseFrame> {
        let next = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                    Some(Ok(Message::Close(Some(frame)))) => return Err(frame),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("{other:?}"),
                }
            }
        };
        let late = async {
            smol::Timer::after(PATIENCE).await;
            panic!("nothing comes");
        };
        future::or(next, late).await
    }

    /// The next that is no keepalive.
    async fn word(&mut self) -> Value {
        loop {
            let value = self.heard().await.unwrap();
            if value["event"] != "keepalive" {
                return value;
            }
        }
    }

    /// Numbers of the next entries.
    async fn numbers(&mut self, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.push(self.word().await["number"].as_u64().unwrap());
        }
        numbers
    }

    /// Code and reason of its end.
    async fn end(&mut self) -> (u16, String) {
        loop {
            if let Err(frame) = self.heard().await {
                return (frame.code.into(), frame.reason.to_string());
            }
        }
    }
}

/// A stream of lines, with the head of the answer read.
struct Lines(BufReader<TcpStream>);

impl Lines {
    fn new(bench: &Bench, target: &str, headers: &str) -> Self {
        let mut stream = bench.connect();
        let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", bench.address);
        stream.write_all(request.as_bytes()).unwrap();
        let mut lines = Self(BufReader::new(stream));
        assert_eq!(lines.line(), "HTTP/1.1 200 OK\r\n");
        while lines.line() != "\r\n" {}
        lines
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// The next line as JSON; of server-sent events the data.
    fn json(&mut self) -> Value {
        let line = self.line();
        let text = line.strip_prefix("data: ").unwrap_or(&line);
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

#[test]
fn a_websocket_tells_what_was_and_then_what_comes() {
    let bench = Bench::new();
    smol::block_on(async {
        let mut client = Client::plain(&bench, "?since=3").await;
        let hello = client.word().await;
        assert_eq!(
            (
                &hello["event"],
                &hello["since"],
                &hello["oldest"],
                &hello["newest"],
                &hello["ping_ms"]
            ),
            (&json!("hello"), &json!(3), &json!(1), &json!(5), &json!(20_000))
        );
        assert_eq!(client.numbers(2).await, [4, 5]);
        bench.relay.happen("sent", Some("family"));
        let sent = client.word().await;
        assert_eq!(
            (&sent["number"], &sent["event"], &sent["route"]),
            (&json!(6), &json!("sent"), &json!("family"))
        );
        // Without `since` what comes from now on.
        let mut late = Client::plain(&bench, "").await;
        late.word().await;
        bench.relay.happen("read", Some("family"));
        assert_eq!((late.numbers(1).await, client.numbers(1).await), (vec![7], vec![7]));
        drop((client, late));
    });
    until("nobody to be there", || {
        bench.relay.happen("online", None);
        !bench.relay.is_watched()
    });
}

#[test]
fn a_client_of_the_protocol_says_hello_and_sets_the_pace() {
    let bench = Bench::new();
    smol::block_on(async {
        let mut client = Client::of_protocol(&bench, json!({ "since": 0, "window": 2 })).await;
        assert_eq!(client.numbers(2).await, [1, 2]);
        client.say(json!({ "ack": 1 })).await;
        assert_eq!(client.numbers(1).await, [3]);
        // Live ones wait behind the older ones.
        bench.relay.happen("sent", Some("ops"));
        client.say(json!({ "ack": 3 })).await;
        assert_eq!(client.numbers(2).await, [4, 5]);
        client.say(json!({ "ack": 5 })).await;
        assert_eq!(client.numbers(1).await, [6]);
    });
}

#[test]
fn filters_take_what_they_name() {
    let bench = Bench::new();
    for (what, route) in [
        ("sent", Some("ops")),
        ("read", Some("family")),
        ("online", None),
        ("sent", Some("family")),
    ] {
        bench.relay.happen(what, route);
    }
    smol::block_on(async {
        for (query, expected) in [
            ("&kind=alert", &[6, 7, 9][..]),
            ("&kind=sent,online", &[6, 8, 9]),
            ("&route=family", &[7, 9]),
            ("&route=family&kind=sent", &[9]),
            ("&session=default&alert=AAAAAAAA0000", &[6, 7, 9]),
            ("&kind=session", &[1, 2, 3, 4, 5, 8]),
        ] {
            let mut client = Client::plain(&bench, &format!("?since=0{query}")).await;
            client.word().await;
            assert_eq!(client.numbers(expected.len()).await, expected, "{query}");
        }
        let hello = json!({ "since": 0, "kind": ["alert"], "route": ["ops"] });
        assert_eq!(Client::of_protocol(&bench, hello).await.numbers(1).await, [6]);
    });
    let listed = bench.tcp("GET", "/v1/events?kind=read,online", "", "");
    assert_eq!(listed.body.lines().count(), 2);
    for query in ["since=x", "kind=all", "window=0", "window=x", "follow=yes"] {
        bench.tcp("GET", &format!("/v1/events?{query}"), "", "").error(400);
    }
    bench.tcp("GET", "/v1/events?route=nobody", "", "").error(404);
}

#[test]
fn what_the_journal_has_let_go_of_is_told_as_a_gap() {
    let bench = Bench::new();
    smol::block_on(async {
        bench.relay.trim(3);
        let mut client = Client::plain(&bench, "?since=1").await;
        client.word().await;
        assert_eq!(client.word().await, json!({ "event": "gap", "from": 2, "to": 3 }));
        assert_eq!(client.numbers(2).await, [4, 5]);
        // A client that is behind while the journal goes on.
        let mut slow = Client::of_protocol(&bench, json!({ "since": 3, "window": 1 })).await;
        assert_eq!(slow.numbers(1).await, [4]);
        for _ in 0..3 {
            bench.relay.happen("sent", Some("family"));
        }
        bench.relay.trim(7);
        slow.say(json!({ "ack": 4 })).await;
        assert_eq!(slow.word().await, json!({ "event": "gap", "from": 5, "to": 7 }));
        assert_eq!(slow.numbers(1).await, [8]);
        // A number that this journal never gave.
        let mut stranger = Client::plain(&bench, "?since=99").await;
        stranger.word().await;
        assert_eq!(stranger.word().await, json!({ "event": "reset", "newest": 8 }));
        assert_eq!(stranger.numbers(1).await, [8]);
    });
}

#[test]
fn server_sent_events_go_on_where_the_browser_was() {
    let mut bench = Bench::with_limits(|limits| limits.ping = Duration::from_millis(50));
    let mut sse = Lines::new(
        &bench,
        "/v1/events?since=1",
        "Accept: text/event-stream\r\nLast-Event-ID: 4\r\n",
    );
    assert_eq!(sse.line(), "id: 4\n");
    assert_eq!((sse.json()["event"].clone(), sse.line()), (json!("hello"), "\n".into()));
    assert_eq!(sse.line(), "id: 5\n");
    assert_eq!((sse.json()["number"].clone(), sse.line()), (json!(5), "\n".into()));
    assert_eq!([sse.line(), sse.line(), sse.line()], [": keepalive\n", "id: 5\n", "\n"]);
    bench.relay.happen("sent", Some("family"));
    while sse.line() != "id: 6\n" {}
    assert_eq!(sse.json()["event"], "sent");
    bench.stop();
    let mut rest = String::new();
    sse.0.read_to_string(&mut rest).unwrap();
    let end = "id: 6\ndata: {\"event\":\"end\",\"code\":1001,\"reason\":\"the relay stops: come again in 2 s, resume from 6\",\"resume\":6}\n\n";
    assert!(rest.ends_with(end), "{rest}");
}

#[test]
fn lines_follow_the_journal() {
    let bench = Bench::with_limits(|limits| limits.ping = Duration::from_millis(50));
    let mut lines = Lines::new(&bench, "/v1/events?follow=1&since=4&kind=alert", "");
    assert_eq!(lines.json()["event"], "hello");
    bench.relay.happen("sent", Some("family"));
    let mut next = || loop {
        let value = lines.json();
        match value["event"].as_str() {
            // What is not wanted is passed, and need not be asked for again.
            Some("keepalive") => assert!(value["upto"].as_u64().unwrap() >= 5),
            _ => return value,
        }
    };
    assert_eq!(next()["number"], 6);
    bench.relay.trim(5);
    bench.relay.happen("online", None);
    bench.relay.happen("read", Some("family"));
    assert_eq!(next()["number"], 8);
}

#[test]
fn every_close_says_what_to_do() {
    let mut bench = Bench::with_limits(|limits| {
        limits.ping = Duration::from_millis(50);
        limits.stalled = Duration::from_millis(120);
        limits.request = Duration::from_millis(400);
    });
    smol::block_on(async {
        // A full window that nobody acknowledges.
        let mut slow = Client::of_protocol(&bench, json!({ "since": 0, "window": 3 })).await;
        assert_eq!(slow.end().await, (4002, "too slow: resume from 0".into()));
        let mut silent = Client::open(bench.address, "", Some("tautline.v1"), &[]).await;
        assert_eq!(silent.end().await.0, 4003);
        for (message, code, reason) in [
            (Message::text("{\"sins\":1}"), 4000, "unknown field"),
            (Message::text("{\"kind\":[\"all\"]}"), 4000, "kind is"),
            (Message::text("{\"route\":[\"nobody\"]}"), 4000, "unknown route"),
            (Message::text("x".repeat(5000)), 1009, "longer than"),
            (Message::binary(vec![1]), 1003, "text"),
        ] {
            let mut client = Client::open(bench.address, "", Some("tautline.v1"), &[]).await;
            client.0.send(message).await.unwrap();
            let (given, said) = client.end().await;
            assert!(given == code && said.contains(reason), "{given} {said}");
        }
        let mut mumbles = Client::of_protocol(&bench, json!({})).await;
        mumbles.say(json!({ "nack": 1 })).await;
        assert_eq!(mumbles.end().await.0, 4000);
        let mut last = Client::plain(&bench, "?since=5").await;
        last.word().await;
        bench.stop();
        assert_eq!(
            last.end().await,
            (1001, "the relay stops: come again in 2 s, resume from 5".into())
        );
    });
}

#[test]
fn one_too_many_is_told_so_by_a_close() {
    let bench = Bench::with_limits(|limits| limits.subscribers = 1);
    smol::block_on(async {
        let mut first = Client::plain(&bench, "").await;
        first.word().await;
        let mut busy = Client::plain(&bench, "").await;
        assert_eq!(busy.end().await.0, 1013);
        bench.relay.happen("sent", Some("family"));
        assert_eq!(first.numbers(1).await, [6]);
    });
}

#[test]
fn who_answers_no_ping_is_left_after_two() {
    let bench = Bench::with_limits(|limits| limits.ping = Duration::from_millis(50));
    let mut stream = bench.connect();
    let request = format!(
        "GET /v1/events HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        bench.address
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let count = |wanted: &[u8]| all.windows(wanted.len()).filter(|bytes| *bytes == wanted).count();
    assert_eq!(count(&[0x89, 0]), 2, "pings");
    let reason = b"no pong for two pings: resume from 5";
    let close: Vec<u8> = [&[0x88, 2 + reason.len() as u8][..], &4001_u16.to_be_bytes(), reason].concat();
    assert!(all.ends_with(&close), "{}", String::from_utf8_lossy(&all));
}

#[test]
fn a_token_sees_its_routes_and_as_long_as_it_is_good() {
    let bench = Bench::closed_with(|limits| limits.ping = Duration::from_millis(50));
    bench.relay.token("tk_in", &[Right::Read], &["family"], false);
    bench.relay.token("tk_out", &[Right::Publish], &[], false);
    for route in ["ops", "family"] {
        bench.relay.happen("sent", Some(route));
    }
    let target = "/v1/events";
    assert_eq!(bench.tcp("GET", target, "", "").status, 401);
    assert_eq!(bench.tcp("GET", target, "X-Api-Key: tk_out\r\n", "").status, 403);
    assert_eq!(
        bench
            .tcp("GET", &format!("{target}?route=ops"), "X-Api-Key: tk_in\r\n", "")
            .status,
        403
    );
    smol::block_on(async {
        let with = [("x-api-key", "tk_in")];
        let mut client = Client::open(bench.address, "?since=5", None, &with).await;
        client.word().await;
        assert_eq!(client.numbers(1).await, [7]);
        let mut other = Client::open(bench.address, "", Some("tautline.v1"), &with).await;
        other.say(json!({ "route": ["ops"] })).await;
        assert_eq!(other.end().await.0, 4000);
        bench.relay.revoke_token("tk_in").await.unwrap();
        assert_eq!(client.end().await.0, 1008);
    });
}

/// Hands bytes on between a client and the gateway, and ends a connection on which nothing passed for `idle`, as NATs
/// and load balancers do.
async fn idle_killer(gateway: SocketAddr, idle: Duration) -> SocketAddr {
    let listener = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    smol::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let server = smol::net::TcpStream::connect(gateway).await.unwrap();
        let (mut up, mut down) = ([0; 1024], [0; 1024]);
        loop {
            let (mut from_client, mut from_server) = (client.clone(), server.clone());
            let said = async { Some((from_client.read(&mut up).await.ok()?, true)) };
            let answered = async { Some((from_server.read(&mut down).await.ok()?, false)) };
            let quiet = async {
                smol::Timer::after(idle).await;
                None
            };
            let (mut client, mut server) = (client.clone(), server.clone());
            match future::or(future::or(said, answered), quiet).await {
                Some((count @ 1.., true)) => server.write_all(&up[..count]).await.unwrap(),
                Some((count @ 1.., false)) => client.write_all(&down[..count]).await.unwrap(),
                Some((0, _)) | None => return,
            }
        }
    })
    .detach();
    address
}

#[test]
fn a_path_that_forgets_quiet_connections_keeps_this_one() {
    let idle = Duration::from_secs(2);
    for (ping, is_kept) in [(Duration::from_millis(100), true), (Duration::from_secs(3600), false)] {
        let bench = Bench::with_limits(|limits| limits.ping = ping);
        smol::block_on(async {
            let path = idle_killer(bench.address, idle).await;
            let mut client = Client::open(path, "", None, &[("host", &bench.address.to_string())]).await;
            assert_eq!(client.heard().await.unwrap()["event"], "hello");
            // More than twice as long as such a path remembers, and not an event.
            let mut beats = 0;
            let ended = loop {
                match client.0.next().await {
                    Some(Ok(Message::Text(text))) => {
                        assert!(text.contains("keepalive"), "{text}");
                        beats += 1;
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break true,
                }
                if beats == 50 {
                    break false;
                }
            };
            assert_eq!(ended, !is_kept, "with a ping every {ping:?}, after {beats}");
        });
    }
}

#[test]
fn one_that_stops_reading_changes_nothing_for_others() {
    let bench = Bench::with_limits(|limits| limits.answer = Duration::from_millis(300));
    smol::block_on(async {
        let mut slow = Client::plain(&bench, "?since=5").await;
        let mut quick = Client::plain(&bench, "?since=5").await;
        quick.word().await;
        // More than sockets hold between them.
        for _ in 0..60_000 {
            bench.relay.happen("sent", Some("family"));
        }
        assert_eq!(quick.numbers(60_000).await, (6..60_006).collect::<Vec<_>>());
        // What it has read is whole and in order, until it ends; then it goes on behind that.
        let (mut last, mut ended) = (5, false);
        while !ended {
            match slow.0.next().await {
                Some(Ok(Message::Text(text))) => {
                    let value: Value = serde_json::from_str(&text).unwrap();
                    if let Some(number) = value["number"].as_u64() {
                        assert_eq!(number, last + 1);
                        last = number;
                    }
                }
                Some(Ok(_)) if last < 60_005 => {}
                _ => ended = true,
            }
            ended |= last == 60_005;
        }
        let mut again = Client::plain(&bench, &format!("?since={last}")).await;
        again.word().await;
        bench.relay.happen("read", Some("family"));
        assert_eq!(again.numbers(1).await, [last + 1]);
    });
}

#[test]
fn the_built_relay_numbers_for_all_time() {
    let site = Site::with_config(
        "[[session]]\nname = \"default\"\nendpoint = \"ws://127.0.0.1:9/\"\n\
         [[route]]\nname = \"family\"\nto = [\"+15550100002\"]\n[gateway]\nlisten = [\"127.0.0.1:0\"]\n",
    );
    let relay = site.start();
    let address = |relay: &crate::support::Relay| -> SocketAddr {
        relay.status()["listen"][0].as_str().unwrap().parse().unwrap()
    };
    let mut told = smol::block_on(async {
        let mut client = Client::open(address(&relay), "?since=0&kind=alert", None, &[]).await;
        client.word().await;
        let first = relay.publish("family", "one");
        let accepted = client.word().await;
        assert_eq!(
            (&accepted["event"], &accepted["alert"]),
            (&json!("accepted"), &json!(first))
        );
        accepted["number"].as_u64().unwrap()
    });
    drop(relay);
    let relay = site.start();
    let second = relay.publish("family", "two");
    smol::block_on(async {
        let mut client = Client::open(address(&relay), &format!("?since={told}&kind=alert"), None, &[]).await;
        client.word().await;
        let accepted = client.word().await;
        assert_eq!(
            (&accepted["event"], &accepted["alert"]),
            (&json!("accepted"), &json!(second))
        );
        assert!(accepted["number"].as_u64().unwrap() > told);
        told = accepted["number"].as_u64().unwrap();
        let all: Vec<u64> = {
            let mut client = Client::open(address(&relay), "?since=0", None, &[]).await;
            client.word().await;
            client.numbers(usize::try_from(told).unwrap()).await
        };
        assert_eq!(all, (1..=told).collect::<Vec<_>>(), "without a gap over a restart");
    });
}
