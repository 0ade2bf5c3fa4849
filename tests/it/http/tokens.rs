//! Tokens at every endpoint, from the table of endpoints itself, and in every place where senders put them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::time::{Duration, Instant};

use tautline::access::Right;
use tautline::config::{Access, Loopback};
use tautline::gateway::api::*;
use tautline::gateway::{ENDPOINTS, Endpoint, Limits, Scope};
use tautline::outbox::Step;

use super::rights::target;
use crate::gate::{Answer, Bench, FakeRelay};

/// The right that is enough for an endpoint, and one that is not.
fn rights(scope: Scope) -> (Right, Right) {
    match scope {
        // Each right is enough: see below.
        Scope::Any => (Right::Publish, Right::Read),
        Scope::Publish => (Right::Publish, Right::Read),
        Scope::Read | Scope::Nothing => (Right::Read, Right::Publish),
        // Not even the highest is enough on the control socket's own.
        Scope::Admin | Scope::Control => (Right::Admin, Right::Read),
    }
}

/// A request that names the route `family`, where an endpoint has a place for one.
fn asked(bench: &Bench, endpoint: &Endpoint, method: &str, token: &str) -> Answer {
    let id = bench.relay.put("a text for family", Step::Accepted);
    let mut extra = match token {
        "" => String::new(),
        token => format!("Authorization: Bearer {token}\r\n"),
    };
    let body = match (method, endpoint.path) {
        ("POST" | "PUT", "/") => r#"{"topic": "family", "message": "x"}"#,
        ("POST", "/message") => {
            // The head may name a route beside the token.
            extra.push_str("X-Gotify-Key: family\r\n");
            r#"{"message": "x"}"#
        }
        ("POST", "/notify") => {
            extra.push_str("X-Apprise-Config-ID: family\r\n");
            "x"
        }
        ("POST", "/1/messages.json") => r#"{"user": "family", "message": "x"}"#,
        ("POST", path) if path.starts_with("/api/") => r#"{"chatId": "family", "text": "x"}"#,
        ("POST" | "PUT", _) => "x",
        _ => "",
    };
    bench.tcp(method, &target(endpoint, &id), &extra, body)
}

#[test]
fn every_endpoint_asks_for_a_token_that_is_good_for_it() {
    let bench = Bench::closed();
    bench.relay.pair_ends();
    bench.relay.token("revoked", &Right::ALL, &[], false);
    bench.relay.token("expired", &Right::ALL, &[], true);
    assert_eq!(bench.local("DELETE", "/v1/tokens/revoked", "").status, 200);
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.scope != Scope::Nothing) {
        let (enough, too_little) = rights(endpoint.scope);
        bench.relay.token("good", &[enough], &[], false);
        bench.relay.token("family-alone", &[enough], &["family"], false);
        bench.relay.token("wrong-right", &[too_little], &[], false);
        bench.relay.token("wrong-route", &[enough], &["ops"], false);
        for method in endpoint.methods {
            let name = format!("{method} {}", endpoint.path);
            for token in ["", "nobodys", "expired", "revoked"] {
                let answer = asked(&bench, endpoint, method, token);
                assert_eq!(answer.status, 401, "{name} with {token:?}: {answer:?}");
                assert!(answer.head.contains("WWW-Authenticate: Basic realm="), "{answer:?}");
                assert!(token.is_empty() || !answer.body.contains("nobodys"), "{answer:?}");
            }
            let with_another = asked(&bench, endpoint, method, "wrong-right").status;
            assert_eq!(
                with_another == 403,
                endpoint.scope != Scope::Any,
                "{name}: {with_another}"
            );
            let elsewhere = asked(&bench, endpoint, method, "wrong-route");
            let whole_relay = matches!(endpoint.scope, Scope::Admin | Scope::Control);
            let about_family = ["{route}", "{topics}", "{id}"]
                .iter()
                .any(|open| endpoint.path.contains(open));
            if endpoint.scope == Scope::Publish || whole_relay || about_family {
                assert_eq!(elsewhere.status, 403, "{name}: {elsewhere:?}");
            } else {
                assert!(elsewhere.status < 300, "{name}: {elsewhere:?}");
                assert!(!elsewhere.body.contains("a text for family"), "{name}: {elsewhere:?}");
            }
            assert_eq!(bench.relay.taken(), [], "{name}");
            assert_eq!(bench.relay.pairings().len(), 0, "{name}");
            let good = asked(&bench, endpoint, method, "good");
            if endpoint.scope == Scope::Control {
                assert_eq!(good.status, 403, "{name}: {good:?}");
            } else {
                assert!(![401, 403, 404, 405].contains(&good.status), "{name}: {good:?}");
            }
            if endpoint.scope == Scope::Publish {
                assert_eq!(asked(&bench, endpoint, method, "family-alone").status, 200, "{name}");
                let published = if *method == "DELETE" { 0 } else { 2 };
                assert_eq!(bench.relay.taken().len(), published, "{name}");
            }
            bench.relay.forget_taken();
            if endpoint.path.ends_with("/pair") {
                return_to_no_pairings(&bench);
            }
        }
    }
}

/// The one that a good token has begun.
fn return_to_no_pairings(bench: &Bench) {
    assert_eq!(bench.relay.forget_pairings(), 1);
}

#[test]
fn a_token_in_a_body_is_no_text() {
    let bench = Bench::closed();
    bench.relay.token("tk_nas", &[Right::Publish], &[], false);
    let body = r#"{"state": "down", "token": "tk_nas"}"#;
    assert_eq!(
        bench.tcp("POST", "/v1/hooks/json/family?token=tk_nas", "", body).status,
        200
    );
    let (_, alert) = bench.relay.taken().pop().unwrap();
    assert_eq!(alert.text, "state: down");
}

/// Keys can be guessed: `backup-2026-11-27`.
#[test]
fn who_may_only_publish_reads_no_text_by_the_key_of_another() {
    let bench = Bench::closed();
    bench.relay.token("all", &Right::ALL, &[], false);
    bench.relay.token("out", &[Right::Publish], &[], false);
    let headers = |token: &str| format!("Authorization: Bearer {token}\r\nKey: k\r\nTags: t\r\nPriority: 5\r\n");
    let first = bench.tcp("POST", "/family", &headers("all"), "a secret");
    assert_eq!(first.status, 200, "{first:?}");
    let guesses = [
        "/family",
        "/v1/hooks/json/family?key=k",
        "/v1/hooks/gotify/family",
        "/v1/mail?to=family&key=k",
    ];
    for target in guesses {
        let guessed = bench.tcp("POST", target, &headers("out"), "guess");
        assert_eq!(guessed.status, 200, "{target}: {guessed:?}");
        assert!(!guessed.body.contains("secret"), "{target}: {guessed:?}");
    }
    let guessed: Published = bench
        .tcp("POST", "/family", "Authorization: Bearer out\r\nKey: k\r\n", "guess")
        .json();
    assert!(
        guessed.duplicate && guessed.tags.is_empty() && guessed.priority == 3,
        "{guessed:?}"
    );
    assert_eq!(guessed.message, "guess");
    let read: Published = bench.tcp("POST", "/family", &headers("all"), "again").json();
    assert!(read.duplicate && read.message == "a secret", "{read:?}");
}

#[test]
fn a_token_is_taken_wherever_a_sender_puts_it() {
    let bench = Bench::closed();
    bench.relay.token("tk_nas", &[Right::Publish], &["family"], false);
    let bearer = "Authorization: Bearer tk_nas\r\n".to_owned();
    let basic = |text: &str| format!("Authorization: Basic {}\r\n", STANDARD.encode(text));
    let auth = |text: &str| format!("/family?auth={}", URL_SAFE_NO_PAD.encode(text));
    for (target, headers) in [
        ("/family".to_owned(), bearer.clone()),
        ("/family".into(), basic("tk_nas:")),
        ("/family".into(), basic(":tk_nas")),
        ("/family".into(), basic("phil:tk_nas")),
        ("/family".into(), "X-Gotify-Key: tk_nas\r\n".into()),
        ("/family".into(), "X-Api-Key: tk_nas\r\n".into()),
        ("/family?token=tk_nas".into(), String::new()),
        (auth("Bearer tk_nas"), String::new()),
        (auth(&format!("Basic {}", STANDARD.encode(":tk_nas"))), String::new()),
        // Gotify's application token says the route too.
        ("/message".into(), "X-Gotify-Key: tk_nas\r\n".into()),
        ("/message".into(), bearer.clone()),
        ("/message?token=tk_nas".into(), String::new()),
    ] {
        let answer = bench.tcp("POST", &target, &headers, "message=x");
        assert_eq!(answer.status, 200, "{target} {headers}: {answer:?}");
        assert!(!answer.body.contains("tk_nas"), "{answer:?}");
    }
    let get = bench.tcp("GET", "/family/publish?message=x&token=tk_nas", "", "");
    assert_eq!(get.status, 200, "{get:?}");
    // Pushover's stands in the body.
    for (kind, body) in [
        ("application/x-www-form-urlencoded", "token=tk_nas&user=u&message=x"),
        (
            "application/json",
            r#"{"token": "tk_nas", "user": "u", "message": "x"}"#,
        ),
    ] {
        let headers = format!("Content-Type: {kind}\r\n");
        let target = "/v1/hooks/pushover/family";
        assert_eq!(bench.tcp("POST", target, &headers, body).status, 200, "{body}");
        let wrong = body.replace("tk_nas", "tk_odd");
        assert_eq!(bench.tcp("POST", target, &headers, &wrong).status, 401, "{wrong}");
        // No other sender's body is looked at for one.
        assert_eq!(bench.tcp("POST", "/v1/hooks/json/family", &headers, body).status, 401);
    }
    assert_eq!(bench.relay.taken().len(), 15);
}

#[test]
fn a_gotify_token_for_several_routes_says_what_to_do() {
    let bench = Bench::closed();
    bench.relay.token("tk_all", &[Right::Publish], &[], false);
    let error = bench
        .tcp("POST", "/message", "X-Gotify-Key: tk_all\r\n", "{}")
        .error(400);
    assert!(error.error.contains("/v1/hooks/gotify/"), "{error:?}");
}

#[test]
fn what_a_token_may_not_see_is_in_no_list() {
    let bench = Bench::closed();
    bench.relay.token("ops-reader", &[Right::Read], &["ops"], false);
    for number in 0..3 {
        bench.relay.put(&format!("family {number}"), Step::Accepted);
    }
    let headers = "Authorization: Bearer ops-reader\r\n";
    let alerts: Vec<AlertView> = bench.tcp("GET", "/v1/alerts?limit=1", headers, "").json();
    assert_eq!(alerts, []);
    let routes: Vec<String> = bench.tcp("GET", "/v1/routes", headers, "").json();
    assert_eq!(routes, ["ops"]);
    let page = bench.tcp("GET", "/", headers, "");
    assert!(page.status == 200 && !page.body.contains("family 0"), "{page:?}");
    // What concerns no route is for whoever may read.
    let events = bench.tcp("GET", "/v1/events?limit=2", headers, "");
    assert_eq!(events.body.lines().count(), 2, "{events:?}");
}

#[test]
fn who_gets_in_without_a_token_is_said() {
    let access = |loopback: &str, trusted: &[&str]| AccessStatus {
        loopback: loopback.into(),
        tokens: 1,
        trusted: trusted.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(access("token", &[]).words(), "nobody gets in without a token");
    assert_eq!(
        access("token", &["10.0.0.0/8"]).words(),
        "anybody on 10.0.0.0/8 may publish without one"
    );
    let page = Bench::new().tcp("GET", "/", "", "").body;
    assert!(
        page.contains("any program on this box may publish and read without a token"),
        "{page}"
    );
}

#[test]
fn a_token_adds_to_what_loopback_may_and_an_unknown_one_takes_nothing_away() {
    let bench = Bench::new();
    bench.relay.token("boss", &[Right::Admin], &[], false);
    bench.relay.token("old", &[Right::Admin], &[], true);
    for token in ["nobodys", "old", "boss"] {
        let headers = format!("Authorization: Bearer {token}\r\n");
        assert_eq!(bench.tcp("POST", "/family", &headers, "x").status, 200, "{token}");
        let admin = bench.tcp("GET", "/v1/chats", &headers, "").status;
        assert_eq!(admin, if token == "boss" { 200 } else { 403 }, "{token}");
        assert_eq!(bench.tcp("GET", "/v1/backup", &headers, "").status, 403, "{token}");
    }
}

#[test]
fn a_page_from_elsewhere_uses_no_token_that_a_browser_keeps() {
    let bench = Bench::closed();
    bench.relay.token("tk_nas", &[Right::Admin], &[], false);
    let browser = format!(
        "Authorization: Basic {}\r\nUser-Agent: Mozilla/5.0\r\n",
        STANDARD.encode("me:tk_nas")
    );
    let target = "/family/publish?message=x";
    for site in ["", "Sec-Fetch-Site: cross-site\r\n", "Sec-Fetch-Site: same-site\r\n"] {
        let answer = bench.tcp("GET", target, &format!("{browser}{site}"), "");
        assert_eq!(answer.status, 403, "{site}: {answer:?}");
    }
    let foreign = format!("{browser}Origin: http://evil.example\r\n");
    assert_eq!(bench.tcp("POST", "/family", &foreign, "x").status, 403);
    assert_eq!(bench.relay.taken(), []);
    // Somebody who has typed the address, token and all.
    let typed = format!("{target}&token=tk_nas");
    let answer = bench.tcp("GET", &typed, "User-Agent: Mozilla/5.0\r\n", "");
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_wrong_token_waits_for_its_answer_and_the_good_ones_do_not() {
    let limits = Limits {
        wrong_token: Duration::from_millis(300),
        ..Limits::default()
    };
    let access = Access {
        loopback: Loopback::Token,
        ..Access::default()
    };
    let bench = Bench::with_access(FakeRelay::new(&["family"]), limits, access);
    let start = Instant::now();
    assert_eq!(bench.tcp("POST", "/family?token=tk_odd", "", "x").status, 401);
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_token_is_made_listed_and_revoked_on_the_control_socket() {
    let bench = Bench::closed();
    let body = r#"{"name": "nas", "rights": ["publish"], "routes": ["family"], "expires_in_ms": 86400000}"#;
    let issued: IssuedToken = bench.local("POST", "/v1/tokens", body).json();
    assert!(
        issued.token.starts_with("tk_") && issued.token.len() == 32,
        "{issued:?}"
    );
    let publish = || {
        bench
            .tcp("POST", &format!("/family?token={}", issued.token), "", "x")
            .status
    };
    assert_eq!(publish(), 200);
    let listed = bench.local("GET", "/v1/tokens", "");
    assert!(!listed.body.contains(&issued.token));
    assert_eq!(listed.json::<Vec<TokenView>>(), std::slice::from_ref(&issued.kept));
    bench.local("POST", "/v1/tokens", body).error(409);
    for (body, status) in [
        ("x", 400),
        (r#"{"name": "a b", "rights": ["publish"]}"#, 400),
        (r#"{"name": "a", "rights": []}"#, 400),
        (r#"{"name": "a", "rights": ["root"]}"#, 400),
        (r#"{"name": "a", "rights": ["read"], "for": "x"}"#, 400),
        (r#"{"name": "a", "rights": ["read"], "routes": ["nobody"]}"#, 404),
    ] {
        bench.local("POST", "/v1/tokens", body).error(status);
    }
    assert_eq!(bench.local("DELETE", "/v1/tokens/nas", "").status, 200);
    assert_eq!(publish(), 401);
    bench.local("DELETE", "/v1/tokens/nas", "").error(404);
}

#[test]
fn a_token_for_one_route_is_told_no_names_of_others() {
    let bench = Bench::closed();
    bench.relay.problem("route ops: 3 alert(s) failed");
    bench.relay.token("one", &[Right::Read], &["family"], false);
    bench.relay.token("all", &[Right::Read], &[], false);
    for target in ["/v1/status", "/v1/health", "/"] {
        let read = |token: &str| {
            bench
                .tcp("GET", target, &format!("Authorization: Bearer {token}\r\n"), "")
                .body
        };
        let (one, all) = (read("one"), read("all"));
        assert!(all.contains("route ops"), "{target}: {all}");
        assert!(
            !one.contains("route ops") && one.contains("a session is not linked"),
            "{target}: {one}"
        );
    }
}

#[test]
fn a_token_of_no_use_is_not_made() {
    let bench = Bench::new();
    for (body, field) in [
        (r#"{"name": "a", "rights": ["publish"], "routes": []}"#, "routes"),
        (
            r#"{"name": "a", "rights": ["publish"], "expires_in_ms": 0}"#,
            "expires_in_ms",
        ),
        (r#"{"name": "a", "rights": []}"#, "rights"),
    ] {
        let refused = bench.local("POST", "/v1/tokens", body).error(400);
        assert_eq!(refused.field.as_deref(), Some(field), "{body}");
    }
}
