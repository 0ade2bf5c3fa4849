//! The second path, with the built program: what happens to alerts while WhatsApp does not take them.

use std::time::Instant;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::lab::{Lab, Phone};
use crate::listener::{Asked, Listener, Reply};
use crate::support::{Relay, SOON, Site, pair_by_qr};

const OWNER: &str = "15550100001";
const FRIEND: &str = "15550100002";
const TOKEN: &str = "tk_verysecret";

struct Place {
    lab: Lab,
    friend: Phone,
    site: Site,
    listener: Listener,
}

impl Place {
    /// A paired relay with a fallback of this kind; `route` is what the route says beside `after` and `to`.
    fn online(kind: &str, route: &str) -> (Self, Relay) {
        let lab = Lab::start();
        let (owner, friend) = (lab.account(OWNER, "Owner"), lab.account(FRIEND, "Friend"));
        let listener = Listener::start();
        let site = Site::with_config(&format!(
            r#"
board = "wsl2"
[[session]]
name = "default"
endpoint = "{}"
[[route]]
name = "friend"
to = ["+{FRIEND}"]
fallback = {{ after = "2s", to = ["second"]{route} }}
[[fallback]]
name = "second"
url = "{}"
token_file = "token"
{kind}
[gateway]
listen = ["127.0.0.1:0"]
"#,
            lab.endpoint(),
            listener.url("/alerts")
        ));
        std::fs::write(site.path().join("token"), format!("{TOKEN}\n")).expect("written");
        let relay = site.start();
        pair_by_qr(&site, |code| owner.scan(code).map(drop));
        relay.wait_online();
        let place = Self {
            lab,
            friend,
            site,
            listener,
        };
        (place, relay)
    }

    /// The line is gone, and there is no other.
    fn go_down(&self, relay: &Relay) {
        self.lab.faults().refuse_tcp(true);
        self.lab.faults().cut_rst();
        relay.wait_status("it is still online", |status| {
            status["sessions"][0]["state"] != "online"
        });
    }

    fn come_up(&self, relay: &Relay) {
        self.lab.faults().calm();
        relay.wait_online();
    }

    fn texts(&self) -> Vec<String> {
        self.friend.received().into_iter().map(|message| message.text).collect()
    }

    /// Something published now arrives by WhatsApp; so all that could have come before it has.
    fn deliver(&self, relay: &Relay, text: &str) {
        let id = relay.publish("friend", text);
        relay.wait_step(&id, "delivered");
    }
}

/// Waits until the alert is in this state.
fn wait_state(relay: &Relay, id: &str, state: &str) -> Value {
    let until = Instant::now() + SOON;
    loop {
        let alert = relay
            .http("GET", &format!("/v1/alerts/{id}?wait=sent&timeout=1s"), &[], b"")
            .json();
        if alert["state"] == state {
            return alert;
        }
        assert!(Instant::now() < until, "not {state}: {alert:#}\n{}", relay.read_log());
    }
}

fn signature(body: &str, secret: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(body.as_bytes());
    let hex: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256={hex}")
}

fn key(asked: &Asked) -> String {
    asked.header("idempotency-key").expect("a key").to_owned()
}

#[test]
fn while_whatsapp_is_down_alerts_go_to_ntfy_and_not_by_whatsapp_afterwards() {
    let (place, relay) = Place::online("kind = \"ntfy\"", "");
    place.deliver(&relay, "before");
    place.go_down(&relay);
    let headers = [
        ("Title", "NAS"),
        ("Priority", "5"),
        ("Tags", "warning"),
        ("Click", "https://nas.example/"),
    ];
    let id = relay.http("POST", "/friend", &headers, b"disk full").json()["id"].clone();
    let id = id.as_str().expect("an id");
    let asked = place.listener.wait(0, SOON);
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/alerts"));
    assert!(
        asked
            .body
            .starts_with("disk full\n\n(by second, because WhatsApp has been down since "),
        "{asked:?}"
    );
    for (name, value) in [
        ("title", "NAS"),
        ("priority", "5"),
        ("tags", "warning"),
        ("click", "https://nas.example/"),
        ("authorization", &format!("Bearer {TOKEN}")),
        ("x-sequence-id", id),
    ] {
        assert_eq!(asked.header(name), Some(value), "{name}");
    }
    let alert = wait_state(&relay, id, "fallback");
    assert_eq!(alert["fallbacks"][0]["state"], "done", "{alert:#}");
    let note = alert["deliveries"][0]["note"].as_str().expect("a note");
    assert!(note.starts_with("handed to second at "), "{note}");
    place.come_up(&relay);
    place.deliver(&relay, "after");
    assert_eq!(place.texts(), ["before", "after"]);
    // A restart changes nothing of that.
    assert_eq!(relay.stop(), 0);
    let relay = place.site.start();
    relay.wait_online();
    place.deliver(&relay, "last");
    assert_eq!(place.texts(), ["before", "after", "last"]);
    assert_eq!(place.listener.count(), 1, "{:?}", place.listener.all());
    assert_eq!(relay.status()["outbox"]["fallback"], 1);
    let shown = place.site.run(&["queue", "show", id]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    for words in ["state     fallback", "handed over", "handed to a fallback"] {
        assert!(shown.contains(words), "{words:?} is not in\n{shown}");
    }
    assert!(!relay.read_log().contains(TOKEN), "a secret is in the log");
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_kill_between_request_and_answer_repeats_it_under_the_same_key_and_whatsapp_does_not_get_it() {
    let (place, relay) = Place::online("kind = \"ntfy\"", "");
    place.go_down(&relay);
    place.listener.reply(Reply::Silence);
    let id = relay.publish("friend", "in between");
    let first = place.listener.wait(0, SOON);
    relay.kill();
    place.listener.answer(200, "OK");
    place.lab.faults().calm();
    // Now WhatsApp works, and would be there first.
    let relay = place.site.start();
    let second = place.listener.wait(1, SOON);
    assert_eq!(key(&first), key(&second));
    wait_state(&relay, &id, "fallback");
    relay.wait_online();
    place.deliver(&relay, "after");
    assert_eq!(place.texts(), ["after"]);
    assert_eq!(place.listener.count(), 2);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_fallback_that_fails_is_a_finding_and_whatsapp_gets_the_alert_when_it_is_back() {
    let (place, relay) = Place::online("kind = \"ntfy\"", "");
    place.go_down(&relay);
    place.listener.answer(403, "{\"error\":\"forbidden\"}");
    let id = relay.publish("friend", "kept");
    place.listener.wait(0, SOON);
    relay.wait_status("nothing is said of it", |status| {
        let health = status["health"].as_array().expect("health");
        let is_it = |entry: &Value| {
            let text = entry["text"].as_str().unwrap_or_default();
            entry["code"] == "fallback-failing" && text.contains("answered 403") && text.contains("1 alert(s) wait")
        };
        health.iter().any(is_it)
    });
    place.come_up(&relay);
    relay.wait_step(&id, "delivered");
    assert_eq!(place.texts(), ["kept"]);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_webhook_is_signed_and_with_both_whatsapp_gets_the_alert_too() {
    let (place, relay) = Place::online("kind = \"webhook\"\nsecret = \"hush\"", ", both = true");
    place.go_down(&relay);
    let id = relay.publish("friend", "twice");
    let asked = place.listener.wait(0, SOON);
    assert_eq!(
        asked.header("x-tautline-signature"),
        Some(signature(&asked.body, "hush").as_str())
    );
    let body = asked.json();
    assert_eq!(body["alerts"][0]["id"], id.as_str());
    assert_eq!(
        (&body["fallback"], &body["route"]),
        (&"second".into(), &"friend".into())
    );
    let reason = body["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("WhatsApp has been down since "), "{reason}");
    place.come_up(&relay);
    relay.wait_step(&id, "delivered");
    place.deliver(&relay, "after");
    assert_eq!(place.texts(), ["twice", "after"]);
    assert_eq!(place.listener.count(), 1);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_secret_that_is_not_there_fails_the_check_and_not_the_start() {
    let site = Site::with_config(
        r#"
[[session]]
name = "default"
endpoint = "ws://127.0.0.1:9/ws/chat"
[[route]]
name = "friend"
to = ["+15550100002"]
fallback = { to = ["second"] }
[[fallback]]
name = "second"
kind = "ntfy"
url = "http://127.0.0.1:9/alerts"
token_file = "nowhere"
[gateway]
listen = ["127.0.0.1:0"]
"#,
    );
    let checked = site.run(&["config", "check"]);
    let words = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(78), "{words}");
    assert!(words.contains(":13:14: fallback[0].token_file: "), "{words}");
    let relay = site.start();
    let status = relay.status();
    assert!(status["health"].to_string().contains("fallback-failing"), "{status:#}");
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_route_is_proven_on_both_paths_and_that_is_remembered() {
    let (place, relay) = Place::online("kind = \"ntfy\"", "");
    let run = |args: &[&str]| {
        let output = place.site.run(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    assert!(run(&["routes"]).1.contains("friend (session default): never proven"));
    // What arrives proves its way, and no other.
    let id = relay.publish("friend", "disk full");
    relay.wait_step(&id, "delivered");
    let (_, out, _) = run(&["routes"]);
    assert!(
        out.contains("friend (session default): proven ") && out.contains("fallback second: never proven"),
        "{out}"
    );
    let (code, out, err) = run(&["routes", "test", "friend"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(
        out.contains("WhatsApp: delivered") && out.contains("fallback second: taken"),
        "{out}"
    );
    let asked = place.listener.wait(0, SOON);
    assert!(asked.body.contains("This is a test of route friend on "), "{asked:?}");
    assert!(
        place.texts()[1].contains("This is a test of route friend on "),
        "{:?}",
        place.texts()
    );
    assert_eq!(relay.stop(), 0);
    let relay = place.site.start();
    let (_, out, _) = run(&["routes"]);
    let words = "what WhatsApp has not taken within 2s goes to second, once";
    assert!(
        out.contains("friend (session default): proven ") && out.contains(words),
        "{out}"
    );
    assert!(out.contains("fallback second: proven "), "{out}");
    relay.wait_online();
    place.listener.answer(401, "who are you?");
    let (code, out, err) = run(&["routes", "test", "friend"]);
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(
        err.contains("fallback second: ") && err.contains("answered 401"),
        "{err}"
    );
    place.go_down(&relay);
    let (code, _, err) = run(&["routes", "test", "friend", "--timeout", "2s"]);
    assert_eq!(code, Some(6), "{err}");
    assert_eq!(run(&["routes", "test", "nobody"]).0, Some(4));
    assert_eq!(relay.stop(), 0);
}
