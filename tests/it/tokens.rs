//! Tokens with the built program: made with and without a relay, used, revoked while it runs, kept over a restart and in a
//! backup.

use std::process::Output;

use serde_json::Value;

use crate::support::{Relay, Site};

/// Nobody listens there: a session that never comes up.
const NOWHERE: &str = "ws://127.0.0.1:1/ws/chat";

fn site() -> Site {
    Site::with_config(&format!(
        "[[session]]\nname = \"default\"\nendpoint = \"{NOWHERE}\"\n\
         [[route]]\nname = \"family\"\nto = [\"+15550100002\"]\n\
         [[route]]\nname = \"ops\"\nto = [\"+15550100003\"]\n\
         [gateway]\nlisten = [\"127.0.0.1:0\"]\nloopback = \"token\"\n"
    ))
}

#[track_caller]
fn ends(site: &Site, args: &[&str], code: i32) -> Output {
    let output = site.run(args);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {words}");
    output
}

/// The secret, as a script reads it.
#[track_caller]
fn made(site: &Site, args: &[&str]) -> String {
    let output = ends(site, &[&["token", "new"], args].concat(), 0);
    let secret = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    assert!(secret.starts_with("tk_") && secret.len() == 32, "{secret}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains(&secret));
    secret
}

#[track_caller]
fn list(site: &Site) -> Value {
    let output = ends(site, &["token", "list", "--json"], 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn publish(relay: &Relay, route: &str, secret: &str) -> u16 {
    let bearer = format!("Bearer {secret}");
    let headers: &[(&str, &str)] = if secret.is_empty() {
        &[]
    } else {
        &[("Authorization", &bearer)]
    };
    relay.http("POST", &format!("/{route}"), headers, b"x").status
}

#[test]
fn a_token_lives_from_its_making_to_its_revocation_over_restarts_and_in_a_backup() {
    let site = site();
    assert_eq!(list(&site), serde_json::json!([]));
    let before = made(&site, &["nas", "--route", "family"]);
    ends(&site, &["token", "new", "nas"], 4);
    ends(&site, &["token", "new", "x", "--route", "nobody"], 4);
    ends(&site, &["token", "new", "x y"], 2);
    ends(&site, &["token", "revoke", "nobody"], 4);

    let relay = site.start();
    assert_eq!(publish(&relay, "family", ""), 401);
    assert_eq!(publish(&relay, "family", &before), 200);
    assert_eq!(publish(&relay, "ops", &before), 403);
    // With the relay, which takes it at once.
    let reader = made(&site, &["page", "--read", "--expires", "90d"]);
    assert_eq!(publish(&relay, "family", &reader), 403);
    let read = relay.http("GET", &format!("/v1/status?token={reader}"), &[], b"");
    assert_eq!((read.status, read.json()["access"]["tokens"].clone()), (200, 2.into()));
    let brief = made(&site, &["brief", "--expires", "1ms"]);
    std::thread::sleep(std::time::Duration::from_millis(2));
    assert_eq!(publish(&relay, "family", &brief), 401);
    let codes: Vec<_> = read_codes(&relay, &reader);
    assert!(codes.contains(&"token-refused".to_owned()), "{codes:?}");
    ends(&site, &["token", "new", "nas"], 4);
    ends(&site, &["token", "new", "x", "--route", "nobody"], 4);
    ends(&site, &["token", "revoke", "nobody"], 4);
    let listed = list(&site);
    let names: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|token| token["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["brief", "nas", "page"]);
    assert_eq!(listed[0]["expired"], true);
    assert_eq!(
        (&listed[1]["rights"][0], &listed[1]["routes"][0]),
        (&"publish".into(), &"family".into())
    );
    assert!(
        listed[1]["used_at"].is_u64() && listed[0]["used_at"].is_null(),
        "{listed}"
    );
    let file = site.path().join("backup");
    ends(&site, &["store", "backup", file.to_str().unwrap()], 0);

    ends(&site, &["token", "revoke", "nas"], 0);
    assert_eq!(publish(&relay, "family", &before), 401);
    assert_eq!(relay.stop(), 0);
    let log = site.read_log();
    assert!(log.contains("refused: POST /family"), "{log}");
    for secret in [&before, &reader, &brief] {
        assert!(!log.contains(secret.as_str()), "a token is in the log");
    }
    let checked = ends(&site, &["store", "check"], 0);
    assert!(String::from_utf8_lossy(&checked.stdout).contains("2  token\n"));
    // Without a relay again: what it kept.
    ends(&site, &["token", "revoke", "brief"], 0);
    let relay = site.start();
    assert_eq!(publish(&relay, "family", &before), 401);
    let read = relay.http("GET", &format!("/v1/health?token={reader}"), &[], b"");
    assert_eq!(read.status, 503, "not paired, and told to who may read");
    assert_eq!(relay.stop(), 0);

    std::fs::rename(site.state(), site.path().join("old")).unwrap();
    let fresh = made(&site, &["nas"]);
    ends(&site, &["store", "restore", file.to_str().unwrap()], 0);
    let relay = site.start();
    assert_eq!(
        publish(&relay, "family", &before),
        401,
        "the newer one of that name stays"
    );
    assert_eq!(publish(&relay, "ops", &fresh), 200);
    let read = relay.http("GET", &format!("/v1/routes?token={reader}"), &[], b"");
    assert_eq!(read.status, 200, "{read:?}");
    assert_eq!(relay.stop(), 0);
}

fn read_codes(relay: &Relay, secret: &str) -> Vec<String> {
    let status = relay
        .http("GET", &format!("/v1/status?token={secret}"), &[], b"")
        .json();
    let health = status["health"].as_array().cloned().unwrap_or_default();
    health
        .iter()
        .map(|entry| entry["code"].as_str().unwrap().to_owned())
        .collect()
}
