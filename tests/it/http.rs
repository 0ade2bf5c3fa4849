//! The HTTP API over real sockets: every address, bad input, and what web pages may not do.

mod dialects;
mod events;
mod files;
mod full;
mod journal;
mod login;
mod messages;
mod metrics;
mod network;
mod openapi;
mod probes;
mod readers;
mod rights;
mod subscribe;
mod tokens;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use crate::gate::{Answer, Bench, FakeRelay, talk, until};
use tautline::gateway::api::*;
use tautline::gateway::{Gateway, Limits, Refusal};
use tautline::outbox::Step;

const LOOPBACK: &str = "127.0.0.1:0";

#[test]
fn an_alert_in_ntfys_plain_form_is_answered_with_exactly_200_and_ntfys_fields() {
    let bench = Bench::new();
    let headers = "X-Title: Disk\r\nPriority: 5\r\nTags: warning, skull\r\nX-Click: http://nas/\r\n";
    let answer = bench.tcp("POST", "/family", headers, "is full ü");
    assert_eq!(answer.status, 200, "{answer:?}");
    let published: Published = answer.json();
    assert_eq!(
        (
            published.id.as_str(),
            published.event.as_str(),
            published.topic.as_str(),
            published.time
        ),
        ("AAAAAAAA0000", "message", "family", 1_700_000_000)
    );
    assert_eq!(
        (published.message.as_str(), published.title.as_str(), published.priority),
        ("is full ü", "Disk", 5)
    );
    assert_eq!(
        (published.tags, published.click.as_deref()),
        (vec!["warning".into(), "skull".into()], Some("http://nas/"))
    );
    assert_eq!(
        (published.state, published.warning, published.duplicate),
        (Step::Accepted, None, false)
    );

    assert_eq!(bench.tcp("PUT", "/ops?t=A+%26+B&prio=1", "", "by put").status, 200);
    let taken = bench.relay.taken();
    assert_eq!((taken[1].0.as_str(), taken[1].1.title.as_str()), ("ops", "A & B"));
}

#[test]
fn the_same_key_is_the_same_alert_and_a_warning_is_passed_on() {
    let bench = Bench::new();
    let first: Published = bench.local("POST", "/family?key=k1", "one").json();
    bench.relay.warn("session default is not paired");
    let second: Published = bench.local("POST", "/family?key=k1", "one").json();
    assert_eq!((first.id, first.duplicate), (second.id, false));
    assert!(second.duplicate);
    assert_eq!(second.warning.as_deref(), Some("session default is not paired"));
}

#[test]
fn a_connection_serves_request_after_request_also_when_they_come_at_once() {
    let bench = Bench::new();
    let one = format!(
        "POST /family HTTP/1.1\r\nHost: {}\r\nContent-Length: 1\r\n\r\n",
        bench.address
    );
    let last = format!(
        "GET /v1/health HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        bench.address
    );
    let answer = talk(bench.connect(), format!("{one}a{one}b{last}").as_bytes());
    assert_eq!(answer.body.matches("HTTP/1.1 200 OK").count(), 2, "{answer:?}");
    assert!(answer.body.ends_with("{\"healthy\":true}"));
    assert_eq!(bench.relay.taken().len(), 2);
}

#[test]
fn unknown_addresses_and_methods_are_told_what_there_is() {
    let bench = Bench::new();
    assert_eq!(bench.local("POST", "/nobody", "x").error(404).routes, ["family", "ops"]);
    let error = bench.tcp("POST", "/nobody", "", "x").error(404);
    assert!(error.error.contains("family, ops"), "{error:?}");
    for target in [
        "/v1",
        "/v1/nothing",
        "/a/b/c",
        "/web/..",
        "/v1/alerts/AAAAAAAA9999",
        "/favicon.ico/x",
        "/anything",
        "/nobody/publish",
    ] {
        bench.tcp("GET", target, "", "").error(404);
    }
    // A base address may end with a slash.
    for target in ["//family", "/family/", "/family/?title=x", "//family//?title=x"] {
        assert_eq!(bench.tcp("POST", target, "", "x").status, 200, "{target}");
    }
    assert_eq!(bench.tcp("GET", "/family/publish/?m=x", "", "").status, 200);
    assert_eq!(bench.tcp("GET", "//", "", "").status, 200);
    for (method, target, allow) in [
        ("GET", "/family", "POST, PUT"),
        ("DELETE", "/family", "POST, PUT"),
        ("OPTIONS", "/family", "POST, PUT"),
        ("HEAD", "/family/publish", "GET"),
        ("DELETE", "/", "GET, HEAD, POST, PUT"),
        ("POST", "/v1/status", "GET, HEAD"),
        ("PUT", "/v1/alerts/AAAAAAAA0000", "GET, HEAD, DELETE"),
        ("GET", "/v1/sessions/default/pair", "POST"),
    ] {
        let answer = bench.tcp(method, target, "", "");
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some(allow)),
            "{method} {target}"
        );
    }
}

#[test]
fn a_relay_that_will_not_is_told_from_a_request_that_is_wrong() {
    let bench = Bench::new();
    for (refusal, status, code) in [
        (Refusal::Full("the outbox is full".into()), 503, 50300),
        (Refusal::Unavailable("no line".into()), 503, 50300),
        (Refusal::Storage("the disk is full".into()), 507, 50701),
        (Refusal::StorageFailed("the disk is read-only".into()), 503, 50300),
        (Refusal::Conflict("no".into()), 409, 40900),
    ] {
        bench.relay.refuse(Some(refusal));
        let answer = bench.tcp("POST", "/family", "", "x");
        assert_eq!(answer.error(status).code, code);
        assert_eq!(answer.header("retry-after").is_some(), status == 503);
    }
}

#[test]
fn a_web_page_from_elsewhere_can_do_nothing() {
    let bench = Bench::new();
    let port = bench.address.port();
    for host in [
        "evil.example",
        "192.168.1.2",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
    ] {
        let request = format!("POST /family HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 1\r\n\r\nx");
        talk(bench.connect(), request.as_bytes()).error(421);
    }
    talk(
        bench.connect(),
        b"POST /family HTTP/1.1\r\nHost: localhost:1\r\nContent-Length: 1\r\n\r\nx",
    )
    .error(421);
    talk(bench.connect(), b"POST /family HTTP/1.0\r\nContent-Length: 1\r\n\r\nx").error(421);
    for headers in [
        "Origin: http://evil.example\r\n".to_owned(),
        "Origin: null\r\n".into(),
        "Origin: http://localhost:3000\r\n".into(),
        format!("Origin: https://127.0.0.1:{port}\r\n"),
        format!("Origin: http://127.0.0.1:{port}\r\nOrigin: http://evil.example\r\n"),
        "Sec-Fetch-Site: cross-site\r\n".into(),
        "Sec-Fetch-Site: none\r\nSec-Fetch-Site: none\r\n".into(),
    ] {
        for (method, target) in [("POST", "/family"), ("GET", "/v1/status"), ("GET", "/")] {
            let answer = bench.tcp(method, target, &headers, if method == "POST" { "x" } else { "" });
            answer.error(403);
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    }
    assert!(bench.relay.taken().is_empty());
    // Our own page may.
    let own = format!("Origin: http://127.0.0.1:{port}\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(bench.tcp("POST", "/family", &own, "x").status, 200);
}

#[test]
fn publishing_by_get_is_for_scripts_and_never_for_pages() {
    let bench = Bench::new();
    for verb in ["publish", "send", "trigger"] {
        assert_eq!(
            bench
                .tcp("GET", &format!("/family/{verb}?message=a%0Ab"), "", "")
                .status,
            200
        );
    }
    assert_eq!(bench.relay.taken()[0].1.text, "a\nb");
    assert_eq!(
        bench
            .tcp("GET", "/family/publish?m=typed", "Sec-Fetch-Site: none\r\n", "")
            .status,
        200
    );
    for headers in [
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Sec-Fetch-Site: none\r\nSec-Purpose: prefetch\r\n",
        "User-Agent: Mozilla/5.0 (an old browser)\r\n",
    ] {
        bench.tcp("GET", "/family/publish?m=x", headers, "").error(403);
    }
    bench.tcp("GET", "/nobody/publish?m=x", "", "").error(404);
    assert_eq!(bench.relay.taken().len(), 4);
}

#[test]
fn what_needs_the_socket_file_is_refused_on_tcp() {
    let bench = Bench::new();
    let id = bench.relay.put("waits", Step::Accepted);
    for (method, target) in [
        ("POST", format!("/v1/alerts/{id}/retry")),
        ("DELETE", format!("/v1/alerts/{id}")),
        ("GET", "/v1/chats".into()),
        ("POST", "/v1/sessions/default/pair".into()),
    ] {
        assert!(
            bench
                .tcp(method, &target, "", "")
                .error(403)
                .error
                .contains("control socket")
        );
    }
    assert_eq!(bench.relay.alerts_state(&id), Step::Accepted);
    assert!(bench.relay.pairings().is_empty());

    assert_eq!(bench.local("POST", &format!("/v1/alerts/{id}/retry"), "").status, 200);
    let dropped: AlertView = bench.local("DELETE", &format!("/v1/alerts/{id}"), "").json();
    assert_eq!(dropped.state, Step::Failed);
    bench.local("DELETE", &format!("/v1/alerts/{id}"), "").error(409);
    bench.local("DELETE", "/v1/alerts/AAAAAAAA9999", "").error(404);
    let forgotten = bench
        .local("GET", &format!("/v1/alerts/{}", crate::gate::FORGOTTEN), "")
        .error(410);
    assert!(forgotten.error.contains("is forgotten"), "{forgotten:?}");
    let chats: Vec<Chat> = bench.local("GET", "/v1/chats?session=default", "").json();
    assert_eq!(chats.len(), 1);
    bench.local("GET", "/v1/chats?session=other", "").error(404);
}

#[test]
fn alerts_are_listed_shown_and_waited_for() {
    let bench = Bench::new();
    let first = bench.relay.put("one", Step::Delivered);
    let second = bench.relay.put("two", Step::Accepted);
    let ids = |target: &str| -> Vec<String> {
        let alerts: Vec<AlertView> = bench.tcp("GET", target, "", "").json();
        alerts.into_iter().map(|alert| alert.id).collect()
    };
    assert_eq!(ids("/v1/alerts"), [second.clone(), first.clone()]);
    assert_eq!(ids("/v1/alerts?limit=1"), [second.as_str()]);
    assert_eq!(ids("/v1/alerts?pending=1"), [second.as_str()]);
    assert_eq!(ids("/v1/alerts?pending=0"), [second.clone(), first.clone()]);
    for query in ["limit=0", "limit=1001", "limit=x", "pending=maybe"] {
        bench.tcp("GET", &format!("/v1/alerts?{query}"), "", "").error(400);
    }
    // Reached already, and not reached in time.
    let there: AlertView = bench
        .tcp("GET", &format!("/v1/alerts/{first}?wait=sent"), "", "")
        .json();
    assert_eq!(there.state, Step::Delivered);
    let late: AlertView = bench
        .tcp("GET", &format!("/v1/alerts/{second}?wait=sent&timeout=1ms"), "", "")
        .json();
    assert_eq!(late.state, Step::Accepted);
    for query in ["wait=soon", "wait=sent&timeout=never"] {
        bench
            .tcp("GET", &format!("/v1/alerts/{second}?{query}"), "", "")
            .error(400);
    }
    bench
        .tcp("GET", "/v1/alerts/AAAAAAAA9999?wait=sent&timeout=1ms", "", "")
        .error(404);

    let target = format!("/v1/alerts/{second}?wait=delivered&timeout=60s");
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| bench.tcp("GET", &target, "", "").json::<AlertView>());
        until("the wait", || bench.relay.waiting() == 1);
        bench.relay.advance(&second, Step::Delivered, "");
        assert_eq!(waiter.join().unwrap().state, Step::Delivered);
    });
}

#[test]
fn who_leaves_while_waiting_gives_the_place_back() {
    // One of the two may wait.
    let bench = Bench::with_limits(|limits| limits.connections = 2);
    let id = bench.relay.put("one", Step::Accepted);
    let wait = || {
        let mut stream = bench.connect();
        let target = format!("/v1/alerts/{id}?wait=sent&timeout=600s");
        write!(stream, "GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", bench.address).unwrap();
        until("the wait", || bench.relay.waiting() == 1);
        // Else the wait would end by itself, whoever leaves.
        assert_eq!(bench.relay.last_wait(), Duration::from_secs(600));
        stream
    };
    let mut stream = wait();
    // Sending on and on while waiting costs the sender only.
    stream.set_nonblocking(true).unwrap();
    while stream.write(&[b'x'; 65536]).is_ok() {}
    drop(stream);
    until("the end of the wait", || bench.relay.waiting() == 0);
    until("the place", || bench.tcp("GET", "/v1/health", "", "").status == 200);
    // With the next one waiting, the other place must be free as well.
    let _waits = wait();
    until("both places", || bench.tcp("GET", "/v1/health", "", "").status == 200);
}

#[test]
fn health_is_what_monitors_expect() {
    let bench = Bench::new();
    let answer = bench.tcp("GET", "/v1/health", "", "");
    assert_eq!((answer.status, answer.body.as_str()), (200, "{\"healthy\":true}"));
    bench.relay.problem("session default is not paired");
    let answer = bench.tcp("GET", "/v1/health", "", "");
    assert_eq!(answer.status, 503);
    let body: serde_json::Value = answer.json();
    assert_eq!(body["healthy"], false);
    assert_eq!(body["problems"][0]["code"], "session-unpaired");
}

#[test]
fn head_is_get_without_the_body() {
    let bench = Bench::new();
    for target in [
        "/",
        "/v1/status",
        "/v1/health",
        "/v1/alerts",
        "/v1/routes",
        "/web/page.css",
    ] {
        let (get, head) = (bench.tcp("GET", target, "", ""), bench.tcp("HEAD", target, "", ""));
        assert_eq!(
            (get.status, head.status, head.body.as_str()),
            (200, 200, ""),
            "{target}"
        );
        assert_eq!(get.header("content-type"), head.header("content-type"));
        assert!(head.header("content-length").is_some_and(|length| length != "0"));
        assert_eq!(get.header("x-content-type-options"), Some("nosniff"));
    }
    let status: Status = bench.tcp("GET", "/v1/status", "", "").json();
    assert_eq!(status.sessions[0].state, SessionState::Online);
    let routes: Vec<String> = bench.tcp("GET", "/v1/routes", "", "").json();
    assert_eq!(routes, ["family", "ops"]);
}

#[test]
fn a_route_is_described_and_tested() {
    let bench = Bench::new();
    let route: RouteView = bench.tcp("GET", "/v1/routes/family", "", "").json();
    assert_eq!((route.name.as_str(), route.proven_at), ("family", None));
    assert_eq!(bench.tcp("GET", "/v1/routes/nobody", "", "").status, 404);
    // A test sends to people: it is for those who administer.
    assert_eq!(bench.tcp("POST", "/v1/routes/family/test", "", "").status, 403);
    let tested: RouteTested = bench.local("POST", "/v1/routes/family/test?timeout=5s", "").json();
    assert!(!tested.proven && tested.fallbacks[0].note == "it said no", "{tested:?}");
    let wrong = bench.local("POST", "/v1/routes/family/test?timeout=soon", "");
    assert_eq!(wrong.status, 400);
}

#[test]
fn the_page_shows_everything_and_runs_nothing_that_a_sender_wrote() {
    let bench = Bench::new();
    bench.relay.put("<script>alert(1)</script> & more", Step::Delivered);
    bench.relay.problem("clock <b>wrong</b>");
    let page = bench.tcp("GET", "/", "", "");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    for shown in [
        "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more",
        "clock &lt;b&gt;wrong&lt;/b&gt;",
        "logged in &lt;b&gt;",
        "not healthy",
        "online",
        "websocket",
        "5 failed",
        "<noscript>",
    ] {
        assert!(page.body.contains(shown), "{shown}\n{}", page.body);
    }
    // The one address that it names is that of SVG itself, in its icon.
    let (before, icon) = page.body.split_once("<link rel=\"icon\"").unwrap();
    let (_, after) = icon.split_once('>').unwrap();
    for never in ["<script>", "http://www.", "<svg"] {
        assert!(
            !before.contains(never) && !after.contains(never),
            "{never}\n{}",
            page.body
        );
    }
    for asset in ["page.js", "page.css", "tautline.js"] {
        assert!(page.body.contains(&format!("/web/{asset}")));
        assert_eq!(bench.tcp("GET", &format!("/web/{asset}"), "", "").status, 200);
    }
}

#[test]
fn pairing_is_a_stream_of_lines_as_they_come() {
    let bench = Bench::new();
    let mut stream = UnixStream::connect(&bench.control).unwrap();
    stream.set_read_timeout(Some(crate::gate::PATIENCE)).unwrap();
    write!(
        stream,
        "POST /v1/sessions/default/pair?phone=15550100 HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    .unwrap();
    let mut seen = String::new();
    let mut read_until = |wanted: &str| {
        while !seen.contains(wanted) {
            let mut bytes = [0; 512];
            let count = stream.read(&mut bytes).unwrap();
            assert!(count > 0, "ended before {wanted:?}: {seen}");
            seen.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
    };
    read_until("\r\n\r\n");
    bench.relay.pair_event(PairEvent::Code {
        code: "ABCD-EFGH".into(),
        valid_ms: 1000,
    });
    read_until("{\"event\":\"code\",\"code\":\"ABCD-EFGH\",\"valid_ms\":1000}\n");
    bench.relay.pair_event(PairEvent::Paired {
        account: "+…00".into()
    });
    read_until("{\"event\":\"paired\",\"account\":\"+…00\"}\n");
    bench.relay.pair_ends();
    stream.read_to_string(&mut seen).unwrap();
    assert_eq!(bench.relay.pairings(), [Some("15550100".into())]);
    bench.local("POST", "/v1/sessions/other/pair", "").error(404);
    for phone in ["123", "%2B15550100", "0155501000x"] {
        bench
            .local("POST", &format!("/v1/sessions/default/pair?phone={phone}"), "")
            .error(400);
    }
}

#[test]
fn pairing_ends_when_the_terminal_is_closed() {
    let bench = Bench::new();
    let mut stream = UnixStream::connect(&bench.control).unwrap();
    write!(stream, "POST /v1/sessions/default/pair HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 15]).unwrap();
    assert_eq!(bench.relay.pair_listeners(), 1);
    drop(stream);
    until("the end of the stream", || bench.relay.pair_listeners() == 0);
}

#[test]
fn rubbish_is_answered_or_cut_off_and_harms_nobody() {
    let bench = Bench::new();
    let host = format!("Host: {}\r\n", bench.address);
    let many = format!("GET / HTTP/1.1\r\n{host}{}\r\n", "A: b\r\n".repeat(5000));
    let long = format!("GET /{} HTTP/1.1\r\n{host}\r\n", "x".repeat(40_000));
    talk(bench.connect(), many.as_bytes()).error(431);
    talk(bench.connect(), long.as_bytes()).error(431);
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"POST /family HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /family HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /family HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"",
        b"\r\n\r\n\r\n",
    ] {
        let mut stream = bench.connect();
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let answer = Answer::read(stream);
        if answer.status != 0 {
            assert!(matches!(answer.status, 400..=505), "{bytes:?}: {answer:?}");
            // Whatever it was, it is told so in words.
            assert!(answer.error(answer.status).error.len() > 10, "{answer:?}");
        }
    }
    // Bytes without sense, always the same ones.
    let mut seed = 1_u64;
    for _ in 0..50 {
        let mut bytes = Vec::new();
        for _ in 0..200 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            bytes.push((seed >> 33) as u8);
        }
        let mut stream = bench.connect();
        stream.write_all(&bytes).unwrap();
        let _ = stream.shutdown(Shutdown::Write);
        let mut scrap = Vec::new();
        let _ = stream.read_to_end(&mut scrap);
    }
    assert!(bench.relay.taken().is_empty());
    assert_eq!(bench.tcp("POST", "/family", "", "still here").status, 200);
}

#[test]
fn slow_and_silent_clients_are_cut_off() {
    let bench = Bench::with_limits(|limits| {
        limits.request = Duration::from_millis(50);
        limits.idle = Duration::from_millis(50);
        limits.body_gap = Duration::from_millis(100);
    });
    let host = format!("Host: {}\r\n", bench.address);
    // Nothing at all, half a head, half a body.
    Answer::read(bench.connect()).error(408);
    talk(bench.connect(), format!("GET / HTTP/1.1\r\n{host}").as_bytes()).error(408);
    talk(
        bench.connect(),
        format!("POST /family HTTP/1.1\r\n{host}Content-Length: 9\r\n\r\nhalf").as_bytes(),
    )
    .error(408);
    // A kept connection is closed without a word.
    let kept = talk(
        bench.connect(),
        format!("GET /v1/health HTTP/1.1\r\n{host}\r\n").as_bytes(),
    );
    assert_eq!((kept.status, kept.body.as_str()), (200, "{\"healthy\":true}"));
    // A byte now and then does not buy time.
    let mut drip = bench.connect();
    let mut sent = 0;
    while drip.write_all(b"x").is_ok() {
        sent += 1;
        drip.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        if drip.read(&mut [0; 512]).is_ok() {
            break;
        }
    }
    assert!(sent < 100, "{sent}");
    assert!(bench.relay.taken().is_empty());
}

#[test]
fn only_loopback_is_listened_on() {
    let state = tempfile::tempdir().unwrap();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let error = Gateway::bind(&[address.parse().unwrap()], &state.path().join("c"))
            .err()
            .unwrap();
        assert!(error.to_string().contains("not loopback"), "{error}");
    }
    let bench = Bench::new();
    let error = Gateway::bind(&[bench.address], &state.path().join("c")).err().unwrap();
    assert!(error.to_string().contains(&bench.address.to_string()), "{error}");
}

#[test]
fn the_control_socket_is_the_owners_alone_and_goes_with_the_relay() {
    let mut bench = Bench::new();
    let mode = std::fs::metadata(&bench.control).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Somebody answers: it is not taken away.
    let error = Gateway::bind(&[], &bench.control).err().unwrap();
    assert!(error.to_string().contains("another relay"), "{error}");
    assert_eq!(bench.local("GET", "/v1/health", "").status, 200);
    bench.stop();
    assert!(!bench.control.exists());
    let left: Vec<_> = std::fs::read_dir(bench.state.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_socket_file_left_by_a_crash_is_replaced_and_other_files_are_not() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("control.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let gateway = Gateway::bind(&[LOOPBACK.parse().unwrap()], &path).unwrap();
    assert!(UnixStream::connect(&path).is_ok());
    // Another one has taken the name meanwhile: it stays.
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(gateway);
    assert!(std::fs::symlink_metadata(&path).unwrap().file_type().is_socket());

    let file = state.path().join("notes");
    std::fs::write(&file, "mine").unwrap();
    let error = Gateway::bind(&[], &file).err().unwrap();
    assert!(error.to_string().contains("no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    let error = Gateway::bind(&[], &state.path().join("none/control.sock"))
        .err()
        .unwrap();
    assert!(error.to_string().contains("none/control.sock"), "{error}");
}

#[test]
fn stopping_lets_what_is_under_way_end_and_cuts_the_rest() {
    let mut bench = Bench::with(
        FakeRelay::new(&["family"]),
        Limits {
            grace: Duration::from_millis(50),
            ..Limits::default()
        },
    );
    let id = bench.relay.put("one", Step::Accepted);
    let host = format!("Host: {}\r\n", bench.address);
    let mut idle = bench.connect();
    write!(idle, "GET /v1/health HTTP/1.1\r\n{host}\r\n").unwrap();
    idle.read_exact(&mut [0; 15]).unwrap();
    let mut waiting = bench.connect();
    write!(
        waiting,
        "GET /v1/alerts/{id}?wait=sent&timeout=600s HTTP/1.1\r\n{host}\r\n"
    )
    .unwrap();
    until("the wait", || bench.relay.waiting() == 1);
    bench.stop();
    for mut stream in [idle, waiting] {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    assert_eq!(bench.relay.waiting(), 0);
}
