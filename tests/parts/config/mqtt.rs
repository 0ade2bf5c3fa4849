//! The broker that alerts come from.

use std::time::Duration;

use tautline::config::SubscribeForm;
use tautline::mqtt::Version;

use super::{Site, has};

#[test]
fn a_broker_alone_is_enough() {
    let loaded = Site::with("[mqtt]\nbroker = \"mqtt://nas.lan\"").load().unwrap();
    let mqtt = loaded.plan.mqtt.unwrap();
    assert_eq!(mqtt.broker.to_string(), "mqtt://nas.lan:1883");
    assert_eq!((mqtt.qos, mqtt.version, mqtt.node), (1, None, None));
    assert_eq!(mqtt.discovery.as_deref(), Some("homeassistant"));
    assert_eq!(
        (mqtt.keep_alive, mqtt.session_expiry),
        (Duration::from_secs(30), Duration::from_secs(86_400))
    );
}

#[test]
fn all_of_it_can_be_said() {
    let site = Site::with(
        "[mqtt]\nbroker = \"mqtts://nas.lan\"\nuser = \"me\"\npassword = \"secret word\"\nca_file = \"ca.pem\"\n\
         cert_file = \"c.pem\"\nkey_file = \"k.pem\"\nclient_id = \"x\"\nnode = \"attic\"\nqos = 0\nversion = \"3.1.1\"\n\
         keepalive = \"10s\"\nsession_expiry = \"2h\"\ndiscovery = false\n",
    );
    let loaded = site.load().unwrap();
    // Files that are not there may come: the client tells of them.
    assert_eq!(loaded.unreadable.len(), 3);
    let mqtt = loaded.plan.mqtt.unwrap();
    assert!(!format!("{mqtt:?}").contains("secret word"));
    assert_eq!((mqtt.qos, mqtt.version), (0, Some(Version::V3)));
    let identity = mqtt.identity.unwrap();
    assert!(identity.cert.ends_with("c.pem") && identity.key.ends_with("k.pem"));
    assert_eq!((mqtt.node.unwrap().as_str(), mqtt.discovery), ("attic", None));
}

#[test]
fn others_topics_lead_to_routes() {
    let site = Site::with(
        "[[route]]\nname = \"ops\"\nto = [\"me\"]\n[mqtt]\nbroker = \"mqtt://nas\"\n[[mqtt.subscribe]]\ntopic = \"a/+\"\n\
         route = \"ops\"\n[[mqtt.subscribe]]\ntopic = \"b\"\nroute = \"ops\"\nwhen = \"{{ .x }}\"\nmessage = \"{{ .y }}\"\n\
         sequence = \"{{ .z }}\"\n",
    );
    let loaded = site.load().unwrap();
    let rules = &loaded.plan.mqtt.as_ref().unwrap().subscribe;
    assert_eq!(rules[0].form, SubscribeForm::Dialect("json".into()));
    let fields = [("x-message", "{{ .y }}"), ("x-sequence-id", "{{ .z }}")];
    let fields = fields.map(|(name, text)| (name, text.to_owned())).to_vec();
    assert_eq!(rules[1].form, SubscribeForm::Template(fields));
    // What is printed reads back as the same.
    let again = Site::with(tautline::config::to_toml(&loaded.provenance))
        .load()
        .unwrap();
    assert_eq!(again.plan.mqtt, loaded.plan.mqtt);
    for (text, expected) in [
        (
            "route = \"me\"",
            &["mqtt.subscribe[0].topic: is missing, or no topic"][..],
        ),
        ("topic = \"a/#/b\"\nroute = \"me\"", &["mqtt.subscribe[0].topic: "]),
        ("topic = \"a\"", &["mqtt.subscribe[0].route: is missing"]),
        (
            "topic = \"a\"\nroute = \"x\"",
            &["mqtt.subscribe[0].route: no route is named"],
        ),
        (
            "topic = \"a\"\nroute = \"me\"\ndialect = \"json\"\ntitle = \"t\"",
            &["mqtt.subscribe[0].dialect: stands beside templates"],
        ),
        ("topic = 1\nroute = \"me\"", &["mqtt.subscribe[0].topic: is an integer"]),
    ] {
        let site = Site::with(format!("[mqtt]\nbroker = \"mqtt://nas\"\n[[mqtt.subscribe]]\n{text}\n"));
        has(&site.faults(), expected);
    }
}

#[test]
fn what_cannot_be_meant_is_told_with_what_can() {
    for (text, expected) in [
        ("", &["mqtt.broker: is missing", "mqtts://"][..]),
        ("broker = \"nas.lan\"", &["mqtt.broker: has no scheme", "mqtts://"]),
        (
            "broker = \"mqtt://me:pw@nas\"",
            &["mqtt.broker: has a user in it", "password_file"],
        ),
        ("qos = 2", &["mqtt.qos: is 2; expected 1"]),
        ("qos = \"1\"", &["mqtt.qos: is a string; expected 0 or 1"]),
        ("version = \"4\"", &["mqtt.version: \"4\" is no version"]),
        ("node = \"a/b\"", &["mqtt.node: a node's name has"]),
        ("client_id = \"\"", &["mqtt.client_id: expected 1 to 128 bytes"]),
        ("keepalive = \"1s\"", &["mqtt.keepalive: "]),
        ("discovery = \"a/#\"", &["mqtt.discovery: is no topic"]),
        ("discovery = 1", &["mqtt.discovery: is an integer"]),
        ("password = \"x\"", &["mqtt.user: is missing"]),
        (
            "cert_file = \"c\"",
            &["mqtt.key_file: is missing; expected it beside cert_file"],
        ),
        ("key_file = \"c\"", &["mqtt.cert_file: is missing"]),
        (
            "brokr = 1\nqos = 2",
            &["mqtt.brokr: unknown key; did you mean \"broker"],
        ),
    ] {
        let broker = match text.contains("broker =") || text.is_empty() {
            true => "",
            false => "broker = \"mqtt://nas\"\n",
        };
        has(&Site::with(format!("[mqtt]\n{broker}{text}\n")).faults(), expected);
    }
    has(
        &Site::with("mqtt = 1").faults(),
        &["1:8: mqtt: is an integer", "[mqtt]"],
    );
}
