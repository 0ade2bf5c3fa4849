//! Alerts by way of a broker, with the built program and Mosquitto.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::broker::{Broker, Peer, Said};
use crate::lab::Lab;
use crate::support::{Relay, SOON, Site, finding, pair_by_qr};

const OWNER: &str = "15550100001";
const FRIEND: &str = "15550100002";

/// A place whose relay is not paired: what it accepts waits. `mqtt` is what `[mqtt]` says beside the broker.
fn site(broker: &str, mqtt: &str) -> Site {
    site_on("ws://127.0.0.1:9/ws/chat", broker, mqtt)
}

fn site_on(endpoint: &str, broker: &str, mqtt: &str) -> Site {
    Site::with_config(&format!(
        r#"
board = "wsl2"
[[session]]
name = "default"
endpoint = "{endpoint}"
[[route]]
name = "family"
to = ["+{FRIEND}"]
[gateway]
listen = ["127.0.0.1:0"]
[mqtt]
broker = "{broker}"
node = "attic"
{mqtt}
"#
    ))
}

fn wait_connected(relay: &Relay) -> Value {
    relay.wait_status("never at the broker", |status| status["mqtt"]["state"] == "online")
}

/// The alerts that there are, the oldest first.
fn alerts(relay: &Relay) -> Vec<Value> {
    let answer = relay.http("GET", "/v1/alerts?limit=1000", &[], b"").json();
    let mut alerts = answer.as_array().expect("a list").clone();
    alerts.reverse();
    alerts
}

fn wait_alerts(relay: &Relay, count: usize) -> Vec<Value> {
    relay.wait_status("too few alerts", |_| alerts(relay).len() >= count);
    let alerts = alerts(relay);
    assert_eq!(alerts.len(), count, "{alerts:#?}");
    alerts
}

const TOPIC: &str = "tautline/family/publish";

#[test]
fn messages_become_alerts_with_what_stands_beside_them() {
    let Some(broker) = Broker::start() else { return };
    let site = site(&broker.url(), "");
    let mut peer = Peer::connect(broker.address(), "sender").unwrap();
    // The broker keeps this one: it is no news to who comes later.
    let old = Said {
        retain: true,
        ..Said::new(TOPIC, "old")
    };
    peer.publish(&old).unwrap();
    peer.subscribe("tautline/attic/status").unwrap();
    peer.subscribe("answers/#").unwrap();
    let relay = site.start();
    let status = wait_connected(&relay);
    assert_eq!(
        (&status["mqtt"]["version"], &status["mqtt"]["node"]),
        (&"5".into(), &"attic".into())
    );
    assert_eq!(peer.hear().unwrap().text(), "online");

    peer.publish(&Said::new(TOPIC, "a plain text")).unwrap();
    peer.publish(&Said::new(
        TOPIC,
        r#"{"message": "in JSON", "title": "Door", "priority": 4, "tags": ["bell"]}"#,
    ))
    .unwrap();
    peer.publish(&Said::new(TOPIC, r#"{"temperature": 21}"#)).unwrap();
    let asked = Said {
        expiry_s: Some(90),
        correlation: Some(b"alarm-1".to_vec()),
        response_topic: Some("answers/1".into()),
        user: vec![("Title".into(), "Cellar".into())],
        ..Said::new(TOPIC, "water")
    };
    peer.publish(&asked).unwrap();
    let answer = peer.hear_until(|said| said.topic == "answers/1");
    assert_eq!(answer.correlation.as_deref(), Some(&b"alarm-1"[..]));
    assert_eq!(answer.content_type.as_deref(), Some("application/json"));
    let answer = answer.json();
    let alerts = wait_alerts(&relay, 4);
    assert_eq!(answer["id"], alerts[3]["id"]);
    let told = |at: usize| {
        let text = |key: &str| alerts[at][key].as_str().unwrap_or_default().to_owned();
        (text("title"), text("text"), alerts[at]["priority"].as_u64())
    };
    assert_eq!(told(0), (String::new(), "a plain text".into(), Some(3)));
    assert_eq!(told(1), ("Door".into(), "in JSON".into(), Some(4)));
    assert_eq!(told(2), (String::new(), r#"{"temperature": 21}"#.into(), Some(3)));
    assert_eq!(told(3), ("Cellar".into(), "water".into(), Some(3)));

    // The same key is the same alert, and says nothing of the first one's text.
    peer.publish(&Said {
        payload: b"guessed".to_vec(),
        ..asked.clone()
    })
    .unwrap();
    let again = peer.hear_until(|said| said.topic == "answers/1").json();
    assert_eq!((&again["id"], &again["duplicate"]), (&answer["id"], &true.into()));
    assert_eq!(again["message"], "guessed");
    // The same text without a key is another alert each time.
    for _ in 0..2 {
        peer.publish(&Said::new(TOPIC, "ding dong")).unwrap();
    }
    wait_alerts(&relay, 6);
    let lost = Said {
        topic: "tautline/nobody/publish".into(),
        ..asked.clone()
    };
    peer.publish(&lost).unwrap();
    let answer = peer.hear_until(|said| said.topic == "answers/1").json();
    assert_eq!(answer["error"], "unknown route \"nobody\"");
    // An answer is no alert.
    peer.publish(&Said {
        response_topic: Some(TOPIC.into()),
        correlation: None,
        ..asked
    })
    .unwrap();
    wait_alerts(&relay, 7);

    let status = relay.status();
    let mqtt = &status["mqtt"];
    for (key, count) in [
        ("accepted", 7),
        ("duplicates", 1),
        ("rejected", 1),
        ("connections", 1),
        ("open", 0),
    ] {
        assert_eq!(mqtt[key], count, "{key}: {mqtt:#}");
    }
    assert!(finding(&status, "mqtt-offline").is_none() && finding(&status, "mqtt-refused").is_none());
    let metrics = relay.http("GET", "/metrics", &[], b"").body;
    for line in [
        "tautline_mqtt_online 1",
        "tautline_mqtt_messages_total{became=\"accepted\"} 7",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    let shown = site.run(&["status"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains(&format!("mqtt     {} online by MQTT 5", broker.url())),
        "{shown}"
    );
    assert_eq!(relay.stop(), 0);
    assert_eq!(
        peer.hear_until(|said| said.topic.ends_with("/status")).text(),
        "offline"
    );
}

#[test]
fn what_others_publish_becomes_alerts_by_rules() {
    let Some(broker) = Broker::start() else { return };
    let rules = r#"
[[mqtt.subscribe]]
topic = "frigate/reviews"
route = "family"
when = '{{ eq .after.severity "alert" }}'
key = "{{ .after.id }}"
message = "{{ .after.camera }}"
[[mqtt.subscribe]]
topic = "tele/+/LWT"
route = "family"
when = '{{ eq .payload "Offline" }}'
message = "{{ index .levels 1 }} is gone"
"#;
    let site = site(&broker.url(), rules);
    let relay = site.start();
    wait_connected(&relay);
    let mut peer = Peer::connect(broker.address(), "frigate").unwrap();
    for kind in ["new", "update", "end"] {
        let review = format!(r#"{{"type": "{kind}", "after": {{"id": "1", "camera": "yard", "severity": "alert"}}}}"#);
        peer.publish(&Said::new("frigate/reviews", &review)).unwrap();
    }
    for word in ["Online", "Offline"] {
        let will = Said {
            retain: true,
            ..Said::new("tele/pump/LWT", word)
        };
        peer.publish(&will).unwrap();
    }
    let texts = |alerts: &[Value]| -> Vec<String> {
        alerts
            .iter()
            .map(|alert| alert["text"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(texts(&wait_alerts(&relay, 2)), ["yard", "pump is gone"]);
    // What the broker has kept is no news after a restart.
    assert_eq!(relay.stop(), 0);
    let relay = site.start();
    wait_connected(&relay);
    peer.publish(&Said::new(TOPIC, "the last")).unwrap();
    assert_eq!(texts(&wait_alerts(&relay, 3))[2], "the last");
}

#[test]
fn what_comes_while_the_relay_is_away_waits_for_it_and_the_broker_says_that_it_is_away() {
    for version in ["5", "3.1.1"] {
        let Some(broker) = Broker::start() else { return };
        let site = site(&broker.url(), &format!("version = \"{version}\""));
        let relay = site.start();
        assert_eq!(wait_connected(&relay)["mqtt"]["version"], version);
        let mut peer = Peer::connect(broker.address(), "sender").unwrap();
        peer.subscribe("tautline/attic/status").unwrap();
        assert_eq!(peer.hear().unwrap().text(), "online");
        relay.kill();
        assert_eq!(peer.hear().unwrap().text(), "offline");
        for text in ["one", "two", "three"] {
            peer.publish(&Said::new(TOPIC, text)).unwrap();
        }
        let relay = site.start();
        let status = wait_connected(&relay);
        assert_eq!(status["mqtt"]["session_present"], true);
        let alerts = wait_alerts(&relay, 3);
        let texts: Vec<_> = alerts.iter().map(|alert| alert["text"].clone()).collect();
        assert_eq!(texts, ["one", "two", "three"]);
    }
}

#[test]
fn home_assistant_finds_the_box_and_what_it_sends_and_presses_works() {
    let Some(broker) = Broker::start() else { return };
    let listener = |name: &str| {
        let mut peer = Peer::connect(broker.address(), name).unwrap();
        peer.subscribe("homeassistant/#").unwrap();
        peer.subscribe("tautline/attic/#").unwrap();
        peer
    };
    let site = site(&broker.url(), "");
    let relay = site.start();
    wait_connected(&relay);
    let mut assistant = listener("assistant");
    let device = assistant.hear_until(|said| said.topic == "homeassistant/device/tautline_attic/config");
    let device = device.json();
    let state = assistant.hear_until(|said| said.topic == "tautline/attic/state").json();
    assert_eq!((&state["online"], &state["waiting"]), (&false.into(), &0.into()));
    let health = assistant
        .hear_until(|said| said.topic == "tautline/attic/health")
        .json();
    assert!(health["problems"][0]["code"].is_string() && health["problems"][0].get("text").is_none());

    // As its entities do: `notify` fills its template in, a button sends its payload.
    let notify = &device["components"]["notify_family"];
    let text = "{not JSON}, \"quoted\"";
    let template = notify["command_template"].as_str().unwrap();
    let filled = template.replace("{{ value | to_json }}", &serde_json::to_string(text).unwrap());
    let topic = |entity: &Value| entity["command_topic"].as_str().unwrap().to_owned();
    assistant.publish(&Said::new(&topic(notify), &filled)).unwrap();
    assert_eq!(wait_alerts(&relay, 1)[0]["text"], text);
    let button = &device["components"]["test_family"];
    let press = Said::new(&topic(button), button["payload_press"].as_str().unwrap());
    assistant.publish(&press).unwrap();
    wait_alerts(&relay, 2);
    assert_eq!(relay.stop(), 0);
    assistant.hear_until(|said| said.topic.ends_with("/status") && said.text() == "offline");

    // What is kept for those who come later is the same device, and no second one.
    let relay = site.start();
    wait_connected(&relay);
    let again = listener("later").hear_until(|said| said.topic.starts_with("homeassistant/"));
    assert_eq!(again.json(), device);
    assert_eq!(relay.stop(), 0);
    // Switched off, it is taken away.
    let config = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), format!("{config}discovery = false\n")).unwrap();
    let mut watcher = listener("watcher");
    let relay = site.start();
    wait_connected(&relay);
    watcher.hear_until(|said| said.topic.starts_with("homeassistant/") && said.payload.is_empty());
}

/// Publishers of QoS 1 repeat what their broker has not acknowledged, under the same key. Relay and broker are killed
/// meanwhile, and each message is at the phone, once.
#[test]
fn a_flood_over_kills_of_broker_and_relay_is_at_the_phone_each_once() {
    const COUNT: usize = 200;
    let Some(mut broker) = Broker::start() else { return };
    let lab = Lab::start();
    let (owner, friend) = (lab.account(OWNER, "Owner"), lab.account(FRIEND, "Friend"));
    let site = site_on(&lab.endpoint(), &broker.url(), "");
    let mut relay = site.start();
    pair_by_qr(&site, |code| owner.scan(code).map(drop));
    relay.wait_online();
    wait_connected(&relay);
    let at = broker.address();
    // A broker's acknowledgement is worth nothing when it is killed: who needs more asks the relay for an answer.
    let publisher = std::thread::spawn(move || {
        let mut peer: Option<Peer> = None;
        let mut number = 0;
        let until = Instant::now() + SOON;
        while number < COUNT {
            assert!(Instant::now() < until, "only {number} of {COUNT} were taken");
            let said = Said {
                correlation: Some(format!("flood-{number}").into_bytes()),
                response_topic: Some("answers/flood".into()),
                ..Said::new(TOPIC, &format!("alert {number}"))
            };
            let sent = (|| {
                if peer.is_none() {
                    let mut fresh = Peer::connect(at, "flood")?;
                    fresh.subscribe("answers/flood")?;
                    peer = Some(fresh);
                }
                let peer = peer.as_mut().expect("it is there");
                if peer.publish(&said)? >= 0x80 {
                    return Err(std::io::ErrorKind::Other.into());
                }
                // An answer to an earlier one may still come.
                while peer.hear()?.correlation != said.correlation {}
                Ok::<(), std::io::Error>(())
            })();
            match sent {
                Ok(()) => number += 1,
                Err(_) => {
                    peer = None;
                    std::thread::park_timeout(Duration::from_millis(20));
                }
            }
        }
    });
    let progress = |relay: &Relay, count: usize| {
        let accepted = |status: &Value| {
            let counts = &status["outbox"];
            ["accepted", "sent", "delivered", "read"]
                .iter()
                .filter_map(|key| counts[*key].as_u64())
                .sum::<u64>()
        };
        relay.wait_status("no progress", |status| accepted(status) >= count as u64);
    };
    progress(&relay, 20);
    broker.kill();
    broker.start_again();
    progress(&relay, 60);
    relay.kill();
    relay = site.start();
    progress(&relay, 100);
    broker.kill();
    relay.kill();
    broker.start_again();
    relay = site.start();
    progress(&relay, COUNT);
    publisher.join().expect("all were taken");
    relay.wait_status("not all are delivered", |status| status["outbox"]["accepted"] == 0);
    let until = Instant::now() + SOON;
    while friend.received().len() < COUNT {
        assert!(Instant::now() < until, "{} of {COUNT}", friend.received().len());
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for message in friend.received() {
        *seen.entry(message.text).or_default() += 1;
    }
    assert_eq!(seen.len(), COUNT);
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");
}

/// As OpenSSL reads it: in lines.
fn pem(label: &str, der: &[u8]) -> String {
    let coded = STANDARD.encode(der);
    let mut lines = Vec::new();
    let mut rest = coded.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(64));
        lines.push(line);
        rest = behind;
    }
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[test]
fn a_broker_with_a_ca_of_its_own_asks_who_this_is() {
    let key = || rcgen::KeyPair::generate().expect("a key");
    let mut of_ca = rcgen::CertificateParams::new(Vec::new()).expect("names");
    of_ca
        .distinguished_name
        .push(rcgen::DnType::CommonName, "the CA of this test");
    of_ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = key();
    let ca = of_ca.self_signed(&ca_key).expect("signed");
    let ca_pem = pem("CERTIFICATE", ca.der());
    let signed = |name: &str| {
        let key = key();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &ca, &ca_key).expect("signed");
        (
            pem("CERTIFICATE", certificate.der()),
            pem("PRIVATE KEY", &key.serialize_der()),
        )
    };
    let ((server, server_key), (client, client_key)) = (signed("localhost"), signed("attic"));
    let broker = Broker::start_with(|port, dir| {
        let at = |name: &str, text: &str| {
            std::fs::write(dir.join(name), text).expect("written");
            dir.join(name).display().to_string()
        };
        let passwords = at("passwords", "tautline:plain\n");
        let hashed = std::process::Command::new("mosquitto_passwd")
            .args(["-U", &passwords])
            .status();
        assert!(hashed.expect("mosquitto_passwd runs").success());
        format!(
            "listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\nrequire_certificate true\n\
             cafile {}\ncertfile {}\nkeyfile {}\n",
            at("ca.pem", &ca_pem),
            at("server.pem", &server),
            at("server.key", &server_key)
        )
    });
    let Some(broker) = broker else { return };
    let url = format!("mqtts://localhost:{}", broker.address().port());
    let site = site(
        &url,
        "user = \"tautline\"\npassword_file = \"password\"\nca_file = \"ca.pem\"\ncert_file = \"client.pem\"\n\
         key_file = \"client.key\"\n",
    );
    let put = |name: &str, text: &str| std::fs::write(site.path().join(name), text).expect("written");
    put("ca.pem", &ca_pem);
    put("client.pem", &client);
    put("client.key", &client_key);
    put("password", "wrong\n");
    let relay = site.start();
    let status = relay.wait_status("it is not refused", |status| status["mqtt"]["state"] == "waiting");
    let detail = status["mqtt"]["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.contains("the broker refused the connection"), "{detail}");
    assert_eq!(relay.stop(), 0);
    put("password", "plain\n");
    let relay = site.start();
    wait_connected(&relay);
    assert!(finding(&relay.status(), "mqtt-in-the-clear").is_none());
    assert_eq!(relay.stop(), 0);
    let log = site.read_log();
    assert!(!log.contains("plain"), "the password is in the log:\n{log}");
    // Another CA is not trusted.
    put("ca.pem", &client);
    let relay = site.start();
    relay.wait_status("it is trusted", |status| {
        let detail = status["mqtt"]["detail"].as_str().unwrap_or_default();
        detail.contains("certificate")
    });
}

/// What takes a connection and says no MQTT costs that connection. Alerts by HTTP go on.
#[test]
fn a_broker_that_is_none_costs_nothing_but_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let hostile = std::thread::spawn(move || {
        for garbage in [
            &b"\xff\xff\xff\xff\xff\xff"[..],
            b"\x20\x03\x00\x00\x00\x30\xff\xff\xff\xff\xff",
        ] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut connect = [0; 64];
            let _ = stream.read(&mut connect);
            stream.write_all(garbage).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let site = site(&url, "");
    let relay = site.start();
    let status = relay.wait_status("it is not left", |status| status["mqtt"]["state"] == "waiting");
    let detail = status["mqtt"]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("does not keep to MQTT"), "{detail}");
    relay.publish("family", "by HTTP");
    assert_eq!(alerts(&relay).len(), 1);
    assert_eq!(relay.stop(), 0);
    drop(hostile);
}
