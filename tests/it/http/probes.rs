//! What clients ask before they send.

use serde_json::{Value, json};
use tautline::access::Right;
use tautline::gateway::api::PushoverMessage;

use crate::gate::Bench;

fn asked(bench: &Bench, target: &str, extra: &str) -> Value {
    let answer = bench.tcp("GET", target, extra, "");
    assert_eq!(answer.status, 200, "{target}: {answer:?}");
    answer.json()
}

#[test]
fn a_client_finds_the_server_that_it_knows() {
    let bench = Bench::new();
    let version = asked(&bench, "/version", "");
    assert!(
        ["version", "commit", "buildDate"]
            .iter()
            .all(|key| version[key].is_string())
    );
    assert_eq!(
        asked(&bench, "/health", ""),
        json!({"health": "green", "database": "green"})
    );
    assert_eq!(asked(&bench, "/v1/config", "")["app_root"], "/");
    for _ in 0..2 {
        bench.tcp("POST", "/family", "", "x");
    }
    // The first here has number 0.
    assert_eq!(asked(&bench, "/v1/stats", "")["messages"], 1);
    let sessions = json!([{"name": "default", "status": "WORKING", "me": null}]);
    assert_eq!(asked(&bench, "/api/sessions", ""), sessions);
    assert_eq!(asked(&bench, "/api/sessions/default", ""), sessions[0]);
    bench.tcp("GET", "/api/sessions/other", "", "").error(404);
    assert_eq!(bench.relay.taken().len(), 2, "who asks sends nothing");
}

#[test]
fn an_account_is_that_of_the_token() {
    let bench = Bench::new();
    bench.relay.token("nas", &[Right::Publish], &["family"], false);
    for (extra, expected) in [
        ("", ("*", "anonymous")),
        ("Authorization: Bearer nas\r\n", ("nas", "user")),
    ] {
        let account = asked(&bench, "/v1/account", extra);
        let found = (account["username"].as_str().unwrap(), account["role"].as_str().unwrap());
        assert_eq!(found, expected);
        assert!(account["stats"]["messages_remaining"].as_u64() > Some(0), "{account}");
    }
}

/// Home Assistant's integration takes an error with another field for a fault of its own.
#[test]
fn errors_at_ntfys_addresses_have_its_fields_and_codes() {
    let bench = Bench::new();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for (target, code) in [
        ("/v1/version", 40401),
        ("/nobody/auth", 40401),
        ("/family/json?since=x", 40000),
    ] {
        let error: Value = bench.tcp("GET", target, "", "").json();
        assert_eq!(keys(&error), ["code", "error", "http", "link"], "{target}");
        assert_eq!(error["code"], code, "{target}");
    }
    let closed = Bench::closed();
    assert_eq!(closed.tcp("GET", "/family/auth", "", "").error(401).code, 40101);
}

#[test]
fn pushovers_clients_name_the_route_by_token_or_user() {
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let bench = Bench::new();
    for body in [
        "token=family&user=uQiRzpo4DXghDmr9QzzfQu27cmVRsG&message=disk+full",
        "token=azGDORePK8gMaC0QOYAMyEEuzJnyUi&user=family&message=disk+full",
    ] {
        let answer: PushoverMessage = bench.tcp("POST", "/1/messages.json", form, body).json();
        assert_eq!(
            (answer.status, answer.request),
            (1, answer.published.id.clone()),
            "{body}"
        );
        assert_eq!(answer.published.message, "disk full");
    }
    let user: Value = bench
        .tcp("POST", "/1/users/validate.json", form, "token=x&user=y")
        .json();
    assert_eq!((&user["status"], &user["devices"][0]), (&json!(1), &json!("family")));
    bench
        .tcp("POST", "/1/messages.json", form, "token=nobody&message=x")
        .error(404);
    // Where one is needed, the token in the body is enough.
    let closed = Bench::closed();
    closed.relay.token("tk_nas", &[Right::Publish], &["ops"], false);
    assert_eq!(
        closed
            .tcp("POST", "/1/messages.json", form, "token=tk_nas&message=x")
            .status,
        200
    );
    assert_eq!(closed.relay.taken()[0].0, "ops");
    closed
        .tcp("POST", "/1/messages.json", form, "token=wrong&message=x")
        .error(401);
}

#[test]
fn apprise_names_the_route_in_a_header() {
    let bench = Bench::new();
    let body = r#"{"title": "NAS", "body": "disk full", "type": "failure"}"#;
    let answer = bench.tcp("POST", "/notify", "X-Apprise-Config-ID: ops\r\n", body);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(bench.relay.taken()[0].0, "ops");
    assert!(
        bench
            .tcp("POST", "/notify/", "", body)
            .error(400)
            .error
            .contains("/notify/ROUTE")
    );
}
