//! ntfy's subscribe: what was, what comes, to whom, and what a subscriber costs others.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::client::IntoClientRequest;
use futures_lite::StreamExt;
use tautline::access::Right;
use tautline::gateway::Relay;
use tautline::gateway::api::{AlertView, TopicEvent};
use tautline::outbox::Step;

use crate::gate::{Bench, PATIENCE, until};
use crate::support::Site;

/// Somebody who listens, with the head of the answer read.
struct Listener {
    lines: BufReader<TcpStream>,
    head: String,
}

impl Listener {
    fn new(bench: &Bench, target: &str) -> Self {
        Self::on(
            bench.connect(),
            &format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", bench.address),
        )
    }

    fn on(mut stream: TcpStream, request: &str) -> Self {
        stream.write_all(request.as_bytes()).unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).unwrap() > 0, "{head}");
        }
        Self { lines, head }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    fn event(&mut self) -> TopicEvent {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// The next alert's text.
    fn text(&mut self) -> String {
        loop {
            let event = self.event();
            if event.event == "message" {
                return event.message;
            }
        }
    }
}

/// The texts that `target` gives at once.
fn polled(bench: &Bench, target: &str) -> Vec<String> {
    let answer = bench.tcp("GET", target, "", "");
    assert_eq!(answer.status, 200, "{answer:?}");
    let events = answer
        .body
        .lines()
        .map(|line| serde_json::from_str::<TopicEvent>(line).unwrap());
    events
        .map(|event| {
            assert_eq!(event.event, "message");
            event.message
        })
        .collect()
}

fn publish(bench: &Bench, route: &str, headers: &str, text: &str) -> String {
    let answer = bench.tcp("POST", &format!("/{route}"), headers, text);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json::<serde_json::Value>()["id"].as_str().unwrap().to_owned()
}

#[test]
fn alerts_come_as_json_lines_in_ntfys_words() {
    let bench = Bench::new();
    let mut family = Listener::new(&bench, "/family/json");
    assert!(family.head.contains("application/x-ndjson"), "{}", family.head);
    let mut both = Listener::new(&bench, "//family,ops/json/");
    let open = family.event();
    assert_eq!(
        (open.event.as_str(), open.topic.as_str(), open.id.len()),
        ("open", "family", 12)
    );
    assert_eq!(both.event().topic, "family,ops");
    publish(&bench, "ops", "", "for the others");
    let headers = "Title: NAS\r\nPriority: high\r\nTags: warning,disk\r\nClick: https://nas.example/\r\n";
    let id = publish(&bench, "family", headers, "the disk\nis full");
    let expected = format!(
        "{{\"id\":\"{id}\",\"time\":1700000000,\"event\":\"message\",\"topic\":\"family\",\"message\":\"the disk\\nis full\",\
         \"title\":\"NAS\",\"priority\":4,\"tags\":[\"warning\",\"disk\"],\"click\":\"https://nas.example/\"}}\n"
    );
    assert_eq!(family.line(), expected);
    assert_eq!([both.text(), both.text()], ["for the others", "the disk\nis full"]);
}

#[test]
fn what_there_was_is_told_as_it_is_asked_for() {
    let bench = Bench::new();
    let ids: Vec<String> = [
        ("family", "", "one"),
        ("ops", "", "two"),
        ("family", "Priority: 5\r\nTags: a,b\r\n", "three"),
    ]
    .iter()
    .map(|(route, headers, text)| publish(&bench, route, headers, text))
    .collect();
    for (target, expected) in [
        ("/family/json?poll=1", &["one", "three"][..]),
        ("/family,ops/json?poll=1", &["one", "two", "three"]),
        ("/family/json?poll=1&since=latest", &["three"]),
        ("/family/json?poll=1&since=none", &[]),
        ("/family/json?poll=1&since=10m", &[]),
        ("/family/json?poll=1&since=1700000000", &["one", "three"]),
        ("/family/json?poll=1&since=1700000001", &[]),
        (&format!("/family,ops/json?poll=1&since={}", ids[0]), &["two", "three"]),
        ("/family/json?poll=1&since=zzzzzzzzzzzz", &["one", "three"]),
        ("/family/json?poll=1&priority=max,1", &["three"]),
        ("/family/json?poll=1&tags=b", &["three"]),
        ("/family/json?poll=1&tags=b,c", &[]),
        ("/family/json?poll=1&message=one", &["one"]),
        (&format!("/family/json?poll=1&id={}", ids[2]), &["three"]),
    ] {
        assert_eq!(polled(&bench, target), expected, "{target}");
    }
    let answer = bench.tcp("GET", "/family/json?poll=1&since=yesterday", "", "");
    assert!(answer.error(400).error.contains("since"), "{answer:?}");
    let answer = bench.tcp("GET", "/family/json", "X-Poll: yes\r\nX-Since: latest\r\n", "");
    assert_eq!(answer.body.lines().count(), 1, "{answer:?}");
    // Then what comes, and nothing twice.
    let mut listener = Listener::new(&bench, "/family/json?since=all&priority=5,4,3");
    assert_eq!([listener.text(), listener.text()], ["one", "three"]);
    publish(&bench, "family", "Priority: 1\r\n", "of no weight");
    publish(&bench, "family", "", "four");
    assert_eq!(listener.text(), "four");
}

#[test]
fn events_and_bare_texts_have_their_forms() {
    let bench = Bench::new();
    let mut sse = Listener::new(&bench, "/family/sse");
    assert!(sse.head.contains("Content-Type: text/event-stream"), "{}", sse.head);
    assert_eq!(sse.line(), "event: open\n");
    assert!(sse.line().starts_with("data: {\"id\":"));
    assert_eq!(sse.line(), "\n");
    let mut raw = Listener::new(&bench, "/family/raw");
    assert_eq!(raw.line(), "\n");
    publish(&bench, "family", "", "two\nlines");
    assert_eq!(raw.line(), "two lines\n");
    let data = sse.line();
    assert!(data.starts_with("data: {") && data.contains("two\\nlines"), "{data}");
    assert_eq!(sse.line(), "\n");
}

#[test]
fn a_sign_of_life_comes_now_and_then() {
    let bench = Bench::with_limits(|limits| limits.keepalive = Duration::from_millis(20));
    let mut json = Listener::new(&bench, "/family/json");
    let events = [json.event(), json.event(), json.event()].map(|event| event.event);
    assert_eq!(events, ["open", "keepalive", "keepalive"]);
    let mut sse = Listener::new(&bench, "/family/sse");
    while sse.line() != "event: keepalive\n" {}
}

/// What a WebSocket is asked for with.
fn handshake(bench: &Bench, headers: &str) -> String {
    format!(
        "GET /family/ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n{headers}\r\n",
        bench.address
    )
}

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn a_websocket_tells_the_same() {
    let bench = Bench::with_limits(|limits| limits.keepalive = Duration::from_millis(50));
    publish(&bench, "family", "", "before");
    smol::block_on(async {
        let stream = smol::net::TcpStream::connect(bench.address).await.unwrap();
        let request = format!("ws://{}/family/ws?since=all", bench.address)
            .into_client_request()
            .unwrap();
        let (mut socket, answer) = async_tungstenite::client_async(request, stream).await.unwrap();
        assert_eq!(answer.status(), 101);
        let mut texts = Vec::new();
        let mut pings = 0;
        while texts.len() < 3 || pings < 3 {
            match socket.next().await.unwrap().unwrap() {
                Message::Text(text) => texts.push(serde_json::from_str::<TopicEvent>(&text).unwrap()),
                // It is answered by the library.
                Message::Ping(_) => pings += 1,
                other => panic!("{other:?}"),
            }
            if texts.len() == 2 && pings == 0 {
                let publishing = smol::unblock({
                    let address = bench.address;
                    move || {
                        let mut stream = TcpStream::connect(address).unwrap();
                        let request =
                            format!("POST /family HTTP/1.1\r\nHost: {address}\r\nContent-Length: 5\r\n\r\nafter");
                        stream.write_all(request.as_bytes()).unwrap();
                        stream.read_exact(&mut [0; 12]).unwrap();
                    }
                });
                publishing.await;
            }
        }
        let words: Vec<_> = texts
            .iter()
            .map(|event| (event.event.as_str(), event.message.as_str()))
            .collect();
        assert_eq!(words, [("open", ""), ("message", "before"), ("message", "after")]);
        socket.close(None).await.unwrap();
    });
    until("the end of the subscription", || {
        bench.relay.feed().tell(view("family", "is anybody there?"));
        !bench.relay.feed().is_heard()
    });
}

#[test]
fn what_is_no_handshake_is_told_what_one_is_and_no_strange_page_gets_one() {
    let bench = Bench::new();
    let version = "Sec-WebSocket-Version: 13\r\n";
    for (headers, status) in [
        (format!("{KEY}{version}"), 101),
        (format!("{KEY}{version}Origin: http://{}\r\n", bench.address), 101),
        (format!("{KEY}{version}Origin: https://evil.example\r\n"), 403),
        (format!("{KEY}{version}Sec-Fetch-Site: cross-site\r\n"), 403),
        (KEY.to_owned(), 426),
        (format!("{KEY}Sec-WebSocket-Version: 8\r\n"), 426),
        (version.to_owned(), 400),
        (format!("Sec-WebSocket-Key: c2hvcnQ=\r\n{version}"), 400),
    ] {
        let head = Listener::on(bench.connect(), &handshake(&bench, &headers)).head;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{headers}: {head}");
        if status == 101 {
            // The example of RFC 6455.
            assert!(
                head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
                "{head}"
            );
        }
    }
    assert_eq!(bench.tcp("GET", "/family/ws", "", "").status, 426);
}

fn view(route: &str, text: &str) -> AlertView {
    AlertView {
        id: "BBBBBBBB0000".into(),
        seq: 0,
        route: route.into(),
        session: "default".into(),
        accepted_at: 1_700_000_000_123,
        title: String::new(),
        text: text.into(),
        text_cut: false,
        priority: 3,
        tags: Vec::new(),
        click: None,
        not_before: None,
        attachments: Vec::new(),
        state: Step::Accepted,
        deliveries: Vec::new(),
        fallbacks: Vec::new(),
        acknowledged: None,
        repeats: 0,
        escalated_at: None,
        follows: None,
        beside: Vec::new(),
        history: Vec::new(),
    }
}

#[test]
fn who_does_not_read_is_left_and_others_hear_all() {
    let bench = Bench::with_limits(|limits| limits.answer = Duration::from_millis(500));
    let mut slow = Listener::new(&bench, "/family/json");
    let mut quick = Listener::new(&bench, "/family/json");
    quick.event();
    // More than the sockets hold between them.
    let long = "x".repeat(60_000);
    for number in 0..600 {
        bench.relay.feed().tell(view("family", &format!("{number} {long}")));
        let text = quick.text();
        assert!(text.starts_with(&format!("{number} ")), "{:.20}", text);
    }
    let mut rest = Vec::new();
    // It ends, in whatever way, and not all is there.
    let _ = slow.lines.read_to_end(&mut rest);
    assert!(rest.len() < 600 * 60_000, "{}", rest.len());
    publish(&bench, "family", "", "last");
    assert_eq!(quick.text(), "last");
}

#[test]
fn subscribers_keep_no_publisher_out() {
    let bench = Bench::with_limits(|limits| {
        limits.connections = 2;
        limits.subscribers = 3;
    });
    let mut all: Vec<Listener> = (0..3).map(|_| Listener::new(&bench, "/family/json")).collect();
    assert!(all.iter_mut().all(|listener| listener.event().event == "open"));
    let refused = bench.tcp("GET", "/family/json", "", "");
    assert!(refused.error(503).error.contains("subscribe") && refused.header("retry-after").is_some());
    for text in ["a", "b", "c"] {
        publish(&bench, "family", "", text);
    }
    assert!(all.iter_mut().all(|listener| listener.text() == "a"));
    // Whoever leaves is noticed at once, not with the next sign of life.
    all.pop();
    until("a place", || bench.tcp("HEAD", "/family/json", "", "").status == 200);
}

#[test]
fn they_hear_the_end_when_the_relay_stops() {
    let mut bench = Bench::new();
    let mut json = Listener::new(&bench, "/family/json");
    let socket = Listener::on(
        bench.connect(),
        &handshake(&bench, &format!("{KEY}Sec-WebSocket-Version: 13\r\n")),
    );
    assert!(socket.head.starts_with("HTTP/1.1 101 "));
    let began = Instant::now();
    bench.stop();
    assert!(began.elapsed() < PATIENCE);
    json.event();
    assert_eq!(json.line(), "");
}

#[test]
fn one_may_hear_what_one_may_read() {
    let bench = Bench::closed();
    bench.relay.token("tk_out", &[Right::Publish], &[], false);
    bench.relay.token("tk_in", &[Right::Read], &["family"], false);
    for form in ["json?poll=1", "sse?poll=1", "raw?poll=1", "auth"] {
        for (topics, token, status) in [
            ("family", "", 401),
            ("family", "tk_out", 403),
            ("family", "tk_in", 200),
            ("ops", "tk_in", 403),
            ("family,ops", "tk_in", 403),
            ("nobody", "tk_in", 403),
        ] {
            let header = match token {
                "" => String::new(),
                token => format!("Authorization: Bearer {token}\r\n"),
            };
            let answer = bench.tcp("GET", &format!("/{topics}/{form}"), &header, "");
            assert_eq!(answer.status, status, "{topics}/{form} with {token:?}: {answer:?}");
        }
    }
    let auth = bench.tcp("GET", "/family/auth", "X-Api-Key: tk_in\r\n", "");
    assert_eq!(auth.body, "{\"success\":true}");
    let unknown = Bench::new().tcp("GET", "/nobody/json", "", "");
    assert!(unknown.error(404).error.contains("family, ops"), "{unknown:?}");
}

#[test]
fn what_waits_for_its_time_is_told_to_whoever_asks_and_deleted_by_whoever_may_publish() {
    let bench = Bench::new();
    let answer: tautline::gateway::api::Published = bench.tcp("POST", "/family?delay=1h", "", "later").json();
    assert!(answer.time > 1_700_000_000 + 3600, "{answer:?}");
    assert_eq!(polled(&bench, "/family/json?poll=1"), Vec::<String>::new());
    for target in ["/family/json?poll=1&scheduled=1", "/family/json?poll=1&sched=yes"] {
        assert_eq!(polled(&bench, target), ["later"], "{target}");
    }
    let target = format!("/family/{}", answer.id);
    bench
        .tcp("DELETE", &target.replace("family", "nobody"), "", "")
        .error(404);
    bench.tcp("DELETE", "/v1/nothing", "", "").error(404);
    bench.tcp("GET", &target, "", "").error(405);
    let deleted: TopicEvent = bench.tcp("DELETE", &target, "", "").json();
    assert_eq!(
        (deleted.event.as_str(), deleted.id, deleted.warning),
        ("message_delete", answer.id, None)
    );
    let nothing: TopicEvent = bench.tcp("DELETE", "/family/plants", "", "").json();
    assert!(nothing.warning.is_some());
}

#[test]
fn the_built_relay_tells_of_alerts_once_they_are_on_disk() {
    let site = Site::with_config(
        "[[session]]\nname = \"default\"\nendpoint = \"ws://127.0.0.1:9/\"\n\
         [[route]]\nname = \"family\"\nto = [\"+15550100002\"]\n[gateway]\nlisten = [\"127.0.0.1:0\"]\n",
    );
    let relay = site.start();
    let first = relay.publish("family", "before");
    let address = relay.status()["listen"][0].as_str().unwrap().to_owned();
    let stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET /family/json?since=all HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut listener = Listener::on(stream, &request);
    assert_eq!(listener.event().event, "open");
    let before = listener.event();
    assert_eq!((before.id, before.message.as_str()), (first, "before"));
    let second = relay.publish("family", "after");
    let after = listener.event();
    assert_eq!((after.id, after.message.as_str()), (second, "after"));
}
