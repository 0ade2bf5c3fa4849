//! Captured requests, byte for byte over a socket, as their senders make them.

use std::os::unix::net::UnixStream;

use tautline::dialect::DIALECTS;
use tautline::gateway::api::{GotifyMessage, Mailed, Published};

use crate::captured;
use crate::gate::{Bench, PATIENCE, talk};

#[test]
fn what_senders_put_on_the_wire_arrives() {
    for dialect in DIALECTS {
        for captured in captured::requests(dialect.name) {
            let name = format!("{}/{}", dialect.name, captured.name);
            let bench = Bench::new();
            // The control socket takes any Host; what a web page may do is tested elsewhere.
            let stream = UnixStream::connect(&bench.control).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let head_end = captured.wire.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            let (line, rest) = captured.wire.split_at(head_end);
            let answer = talk(stream, &[line, b"Connection: close\r\n", rest].concat());
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
            // Gotify's senders get an answer of their own; both have a warning.
            let warning = match dialect.name {
                "gotify" => answer.json::<GotifyMessage>().warning,
                // It was dropped.
                _ if captured.alerts.is_empty() => answer.json::<Mailed>().warning,
                _ => answer.json::<Published>().warning,
            };
            assert_eq!(warning.unwrap_or_default(), captured.warnings.join("; "), "{name}");
            let taken: Vec<_> = bench.relay.taken().into_iter().map(|(_, alert)| alert).collect();
            assert_eq!(taken, captured.alerts, "{name}");
        }
    }
}

#[test]
fn what_names_no_route_is_told_what_to_do() {
    let bench = Bench::new();
    for (target, extra, body, status, word) in [
        ("/", "", "disk full", 400, "topic"),
        ("/", "", r#"{"topic": "nobody"}"#, 404, "nobody"),
        ("/message", "", r#"{"message": "x"}"#, 401, "token"),
        (
            "/message",
            "X-Gotify-Key: nobody\r\n",
            r#"{"message": "x"}"#,
            404,
            "nobody",
        ),
        ("/notify/nobody", "", "x", 404, "nobody"),
        ("/v1/hooks/slack/nobody", "", "x", 404, "nobody"),
    ] {
        let refused = bench.tcp("POST", target, extra, body).error(status);
        assert!(refused.error.contains(word), "{target}: {refused:?}");
    }
    assert!(bench.relay.taken().is_empty());
}

#[test]
fn a_dialect_that_nobody_knows_costs_no_text() {
    let bench = Bench::new();
    let answer = bench.tcp(
        "POST",
        "/v1/hooks/new%20thing/family",
        "",
        r#"{"message": "disk full"}"#,
    );
    let published: Published = answer.json();
    assert_eq!(published.message, "disk full");
    assert!(published.warning.is_some_and(|warning| warning.contains("no dialect")));
}

#[test]
fn gotify_senders_get_a_number_and_their_token_in_three_places_is_the_route() {
    let bench = Bench::new();
    let body = r#"{"message": "disk full", "priority": 8}"#;
    for (target, extra) in [
        ("/message?token=family", ""),
        ("/message", "X-Gotify-Key: family\r\n"),
        ("/message", "Authorization: Bearer family\r\n"),
        ("/v1/hooks/gotify/family/message?token=AbCdEfGhIjKlMnO", ""),
    ] {
        let message: GotifyMessage = bench.tcp("POST", target, extra, body).json();
        assert_eq!(
            (message.message.as_str(), message.priority),
            ("disk full", 8),
            "{target}"
        );
        assert!(message.id > 0 && message.id < 1 << 53);
    }
    assert!(bench.relay.taken().iter().all(|(route, _)| route == "family"));
}
