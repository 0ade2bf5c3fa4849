//! Tokens with the built program: made with and without a relay, used, revoked while it runs, kept over a restart and
//! in a backup.

use std::net::{IpAddr, TcpStream, UdpSocket};
use std::process::Output;

use serde_json::Value;

use crate::gate::{PATIENCE, talk};
use crate::support::{Relay, Site, finding};

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
    // It ends by the wall clock, within a few requests.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while publish(&relay, "family", &brief) != 401 {
        assert!(std::time::Instant::now() < deadline, "it does not end");
    }
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

/// An address of this box that is not loopback, by which it reaches itself; `None` in a room without a network.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[test]
fn the_built_program_answers_the_network_as_it_is_configured() {
    let Some(own) = own_address() else {
        println!("this box has loopback alone: nothing to try");
        return;
    };
    let start = |lines: &str| {
        let site = Site::with_config(&format!(
            "[[session]]\nname = \"default\"\nendpoint = \"{NOWHERE}\"\n\
             [[route]]\nname = \"family\"\nto = [\"+15550100002\"]\n\
             [gateway]\nlisten = [\"0.0.0.0:0\"]\n{lines}\n"
        ));
        let relay = site.start();
        (site, relay)
    };
    let ask = |relay: &Relay, to: IpAddr, headers: &str| {
        let stream = TcpStream::connect((to, relay.address.port())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "POST /family HTTP/1.1\r\nHost: {to}:{}\r\n{headers}",
            relay.address.port()
        );
        talk(
            stream,
            format!("{head}Content-Length: 1\r\nConnection: close\r\n\r\nx").as_bytes(),
        )
        .status
    };
    let loopback: IpAddr = "127.0.0.1".parse().unwrap();

    let (_site, relay) = start(&format!("trusted = [\"{own}\"]"));
    assert_eq!((ask(&relay, own, ""), ask(&relay, loopback, "")), (200, 200));
    assert_eq!(relay.stop(), 0);

    // A proxy from which every request comes, and no token yet.
    let (site, relay) = start(&format!("behind_proxy = true\nproxies = [\"{own}\"]"));
    assert_eq!(
        (
            ask(&relay, own, "X-Forwarded-For: 192.168.1.7\r\n"),
            ask(&relay, loopback, "")
        ),
        (401, 200)
    );
    let codes = |relay: &Relay| {
        let answer = site.run(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&answer.stdout).unwrap();
        assert!(relay.pid() > 0);
        status["health"].to_string()
    };
    assert!(codes(&relay).contains("nobody-admitted"));
    let secret = made(&site, &["nas"]);
    let headers = format!("X-Forwarded-For: 192.168.1.7\r\nX-Api-Key: {secret}\r\n");
    assert_eq!(ask(&relay, own, &headers), 200);
    assert!(!codes(&relay).contains("nobody-admitted"));
    assert_eq!(relay.stop(), 0);

    // Plain HTTP from where nobody is trusted: not even with a token. Files that are missing are told of.
    let (site, relay) = start("tls = { cert = \"none.pem\", key = \"none.key\" }");
    let secret = made(&site, &["nas"]);
    let headers = format!("X-Api-Key: {secret}\r\n");
    assert_eq!((ask(&relay, own, &headers), ask(&relay, loopback, "")), (403, 200));
    let told = site.run(&["status", "--json"]);
    assert!(String::from_utf8_lossy(&told.stdout).contains("tls-unusable"));
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_token_of_no_use_is_refused_and_trust_in_everybody_is_told() {
    let site = Site::with_config(&format!(
        "[[session]]\nname = \"default\"\nendpoint = \"{NOWHERE}\"\n\
         [[route]]\nname = \"family\"\nto = [\"+15550100002\"]\n\
         [gateway]\nlisten = [\"127.0.0.1:0\", \"0.0.0.0:0\"]\ntrusted = [\"0.0.0.0/0\"]\n"
    ));
    ends(&site, &["token", "new", "nas", "--expires", "0s"], 2);
    let relay = site.start();
    let status = relay.status();
    let told = finding(&status, "everybody-trusted");
    assert!(
        told.unwrap()["text"].as_str().unwrap().contains("0.0.0.0/0"),
        "{status:#}"
    );
}
