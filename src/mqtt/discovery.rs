//! What Home Assistant is told so that it shows this box by itself: one device with its entities, in its device-based
//! form of discovery.

use serde_json::{Map, Value, json};

use super::topic;

/// Where Home Assistant looks for devices, unless somebody has told it otherwise.
pub const PREFIX: &str = "homeassistant";

/// Makes ntfy's JSON of a notification, so that no text is taken for anything else than a text.
const AS_JSON: &str = r#"{"message": {{ value | to_json }}}"#;

/// Where the device of this node is described. What is retained there is the device; nothing is none.
pub fn topic(prefix: &str, node: &str) -> String {
    format!("{prefix}/device/tautline_{node}/config")
}

/// The device of this node, of a program of this version, with these routes.
pub fn device(node: &str, version: &str, routes: &[&str]) -> Value {
    let id = format!("tautline_{node}");
    let mut components = Map::new();
    let mut add = |key: String, platform: &str, name: &str, rest: Value| {
        let mut component = json!({ "platform": platform, "unique_id": format!("{id}_{key}"), "name": name });
        if let (Some(component), Value::Object(rest)) = (component.as_object_mut(), rest) {
            component.extend(rest);
        }
        components.insert(key, component);
    };
    let state = |template: &str| json!({ "state_topic": topic::state(node), "value_template": template });
    let with = |mut state: Value, rest: Value| {
        if let (Some(state), Value::Object(rest)) = (state.as_object_mut(), rest) {
            state.extend(rest);
        }
        state
    };
    add(
        "online".into(),
        "binary_sensor",
        "WhatsApp",
        with(
            state("{{ 'ON' if value_json.online else 'OFF' }}"),
            json!({ "device_class": "connectivity", "entity_category": "diagnostic" }),
        ),
    );
    add(
        "problem".into(),
        "binary_sensor",
        "Problem",
        with(
            state("{{ 'OFF' if value_json.healthy else 'ON' }}"),
            json!({
                "device_class": "problem",
                "entity_category": "diagnostic",
                "json_attributes_topic": topic::health(node),
            }),
        ),
    );
    let number = |template: &str, rest: Value| {
        let diagnostic = json!({ "state_class": "measurement", "entity_category": "diagnostic" });
        with(with(state(template), diagnostic), rest)
    };
    add(
        "waiting".into(),
        "sensor",
        "Alerts waiting",
        number(
            "{{ value_json.waiting }}",
            json!({ "unit_of_measurement": "alerts", "icon": "mdi:tray-full" }),
        ),
    );
    add(
        "oldest".into(),
        "sensor",
        "Oldest alert waiting",
        number(
            "{{ value_json.oldest_waiting_s }}",
            json!({ "device_class": "duration", "unit_of_measurement": "s" }),
        ),
    );
    add(
        "delivered".into(),
        "sensor",
        "Last delivered",
        with(
            state("{{ value_json.delivered_at }}"),
            json!({ "device_class": "timestamp", "entity_category": "diagnostic" }),
        ),
    );
    for route in routes {
        add(
            format!("notify_{route}"),
            "notify",
            route,
            json!({ "command_topic": topic::publish(route), "command_template": AS_JSON, "qos": 1 }),
        );
        add(
            format!("test_{route}"),
            "button",
            &format!("Test {route}"),
            json!({
                "command_topic": topic::test(node),
                "payload_press": route,
                "entity_category": "diagnostic",
                "icon": "mdi:message-check",
                "qos": 1,
            }),
        );
    }
    json!({
        "device": {
            "identifiers": [id],
            "name": format!("Tautline {node}"),
            "manufacturer": "Tautline",
            "model": "WhatsApp relay",
            "sw_version": version,
        },
        "origin": { "name": "Tautline", "sw_version": version },
        "availability_topic": topic::status(node),
        "components": components,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_what_home_assistant_asks_for() {
        let device = device("attic", "1.0", &["family", "ops"]);
        assert_eq!(topic(PREFIX, "attic"), "homeassistant/device/tautline_attic/config");
        assert_eq!(device["availability_topic"], "tautline/attic/status");
        assert!(device["origin"]["name"].is_string() && device["device"]["identifiers"][0].is_string());
        let components = device["components"].as_object().unwrap();
        assert_eq!(components.len(), 5 + 2 * 2);
        let mut ids = std::collections::BTreeSet::new();
        for (key, component) in components {
            assert!(ids.insert(component["unique_id"].as_str().unwrap()), "{key}");
            let platform = component["platform"].as_str().unwrap();
            let topics: &[&str] = match platform {
                "binary_sensor" | "sensor" => &["state_topic"],
                "notify" | "button" => &["command_topic"],
                other => panic!("{other}"),
            };
            for name in topics {
                assert!(component[name].as_str().is_some_and(topic::is_name), "{key}: {name}");
            }
            // Home Assistant takes neither for `config`.
            assert_ne!(component["entity_category"], "config");
        }
        let notify = &components["notify_family"];
        assert_eq!(notify["command_topic"], "tautline/family/publish");
        assert_eq!(notify["qos"], 1);
        assert_eq!(components["test_ops"]["payload_press"], "ops");
    }
}
