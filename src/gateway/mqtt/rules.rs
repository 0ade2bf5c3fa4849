//! What messages on others' topics become, by the sections `[[mqtt.subscribe]]`.

use serde_json::{Value, json};

use super::fields::own_fields;
use crate::config::{SubscribeForm, SubscribePlan};
use crate::dialect::{DIALECTS, Fields, Parsed, Rejection, Request, json as any_json, ntfy, template};
use crate::mqtt::Publish;
use crate::util::wall_ms;

/// The alerts that a rule makes of a message; `None` where its condition does not hold.
pub(super) fn apply(rule: &SubscribePlan, publish: &Publish) -> Option<Result<Parsed, Rejection>> {
    let data = data(publish);
    let mut fault = None;
    match rule.when.as_deref().map(|when| template::render(when, &data)) {
        Some(Ok(said)) if said.trim() != "true" => return None,
        Some(Err(why)) => fault = Some(format!("the condition of {} was left aside: {why}", rule.filter)),
        Some(Ok(_)) | None => {}
    }
    let key = rule.key.as_deref().map(|key| template::render(key, &data));
    let key = key.and_then(|key| match key {
        Ok(key) => Some(key),
        Err(why) => {
            fault = Some(format!("the key of {} was left aside: {why}", rule.filter));
            None
        }
    });
    let mut parsed = match &rule.form {
        SubscribeForm::Dialect(name) => by_dialect(name, rule, publish, key),
        SubscribeForm::Template(fields) => by_template(fields, rule, publish, &data, key),
    };
    if let (Ok(parsed), Some(fault)) = (&mut parsed, fault) {
        parsed.warnings.push(fault);
    }
    Some(parsed)
}

/// What templates are filled from: a JSON object as it is, anything else as `payload`; and the topic, with its levels.
fn data(publish: &Publish) -> Value {
    let payload = serde_json::from_slice(&publish.payload)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&publish.payload).trim()));
    let mut data = match payload {
        Value::Object(fields) => fields,
        other => [("payload".to_owned(), other)].into_iter().collect(),
    };
    let levels: Vec<&str> = publish.topic.split('/').collect();
    for (name, value) in [("topic", json!(publish.topic)), ("levels", json!(levels))] {
        data.entry(name).or_insert(value);
    }
    Value::Object(data)
}

fn by_dialect(name: &str, rule: &SubscribePlan, publish: &Publish, key: Option<String>) -> Result<Parsed, Rejection> {
    let known = DIALECTS.iter().find(|dialect| dialect.name == name);
    let parse = known.map_or(any_json::parse as fn(&Request<'_>) -> _, |dialect| dialect.parse);
    let request = Request {
        route: Some(rule.route.as_str()),
        headers: own_fields(publish, key),
        content_type: publish.properties.content_type.as_deref(),
        body: &publish.payload,
        body_bytes: publish.payload_bytes,
        text_bytes_max: u64::MAX,
        now_ms: wall_ms(),
        ..Request::default()
    };
    parse(&request)
}

fn by_template(
    fields: &[(&'static str, String)],
    rule: &SubscribePlan,
    publish: &Publish,
    data: &Value,
    key: Option<String>,
) -> Result<Parsed, Rejection> {
    let body = data.to_string();
    let given = fields.iter().map(|(name, text)| (*name, text.clone()));
    let headers: Fields<'_> = own_fields(publish, key).behind(given.chain([("x-template", "yes".to_owned())]));
    let request = Request {
        route: Some(rule.route.as_str()),
        headers,
        body: body.as_bytes(),
        body_bytes: body.len() as u64,
        text_bytes_max: u64::MAX,
        now_ms: wall_ms(),
        ..Request::default()
    };
    ntfy::parse(&request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::{Properties, topic};

    fn rule(filter: &str, when: &str, key: &str, form: SubscribeForm) -> SubscribePlan {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        SubscribePlan {
            filter: filter.into(),
            route: "family".parse().unwrap(),
            when: some(when),
            key: some(key),
            form,
        }
    }

    fn by_message(text: &str) -> SubscribeForm {
        SubscribeForm::Template(vec![("x-message", text.into())])
    }

    /// The text and the key of what a rule makes; `None` where it makes nothing.
    fn told(rule: &SubscribePlan, at: &str, payload: &str) -> Option<(String, Option<String>)> {
        assert!(topic::matches(&rule.filter, at), "{} is not for {at}", rule.filter);
        let publish = Publish {
            topic: at.into(),
            packet: Some(1),
            repeated: false,
            retained: false,
            payload: payload.as_bytes().to_vec(),
            payload_bytes: payload.len() as u64,
            properties: Properties::default(),
        };
        let parsed = apply(rule, &publish)?.unwrap();
        assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
        let alert = &parsed.alerts[0];
        Some((alert.text.clone(), alert.key.clone()))
    }

    #[test]
    fn a_review_of_frigates_is_one_alert_from_its_first_word_to_its_last() {
        let rule = rule(
            "frigate/reviews",
            "{{ eq .after.severity \"alert\" }}",
            "{{ .after.id }}",
            by_message("{{ .after.camera }}: {{ join \", \" .after.data.objects }}"),
        );
        for kind in ["new", "update", "end"] {
            let payload = format!(
                r#"{{"type":"{kind}","before":{{}},"after":{{"id":"1718.2-k","camera":"front_yard","severity":"alert","thumb_path":"/x","data":{{"objects":["car","person"],"zones":["driveway"]}}}}}}"#
            );
            let expected = ("front_yard: car, person".to_owned(), Some("1718.2-k".to_owned()));
            assert_eq!(told(&rule, "frigate/reviews", &payload), Some(expected));
        }
        let detection =
            r#"{"type":"new","after":{"id":"2","camera":"x","severity":"detection","data":{"objects":[]}}}"#;
        assert_eq!(told(&rule, "frigate/reviews", detection), None);
    }

    #[test]
    fn devices_that_go_and_water_that_comes_are_told() {
        let gone = rule(
            "zigbee2mqtt/+/availability",
            "{{ eq .state \"offline\" }}",
            "",
            by_message("{{ index .levels 1 }} is offline"),
        );
        let at = "zigbee2mqtt/freezer/availability";
        assert_eq!(
            told(&gone, at, r#"{"state":"offline"}"#).unwrap().0,
            "freezer is offline"
        );
        assert_eq!(told(&gone, at, r#"{"state":"online"}"#), None);
        let leak = rule(
            "zigbee2mqtt/+",
            "{{ .water_leak }}",
            "",
            by_message("water at {{ index .levels 1 }}"),
        );
        assert_eq!(
            told(&leak, "zigbee2mqtt/cellar", r#"{"battery":90,"water_leak":true}"#)
                .unwrap()
                .0,
            "water at cellar"
        );
        for dry in [r#"{"water_leak":false}"#, r#"{"battery":90}"#, "text"] {
            assert_eq!(told(&leak, "zigbee2mqtt/cellar", dry), None, "{dry}");
        }
        let tasmota = rule(
            "tele/+/LWT",
            "{{ eq .payload \"Offline\" }}",
            "",
            by_message("{{ index .levels 1 }} is gone"),
        );
        assert_eq!(told(&tasmota, "tele/pump/LWT", "Offline").unwrap().0, "pump is gone");
        assert_eq!(told(&tasmota, "tele/pump/LWT", "Online"), None);
    }

    #[test]
    fn a_dialect_reads_what_its_sender_says_and_a_bad_condition_loses_nothing() {
        let plain = rule("alerts/me", "", "", SubscribeForm::Dialect("json".into()));
        assert_eq!(told(&plain, "alerts/me", "Disk full").unwrap().0, "Disk full");
        let broken = rule("a", "{{ nonsense", "", SubscribeForm::Dialect("json".into()));
        let publish = Publish {
            topic: "a".into(),
            packet: None,
            repeated: false,
            retained: false,
            payload: b"x".to_vec(),
            payload_bytes: 1,
            properties: Properties::default(),
        };
        let parsed = apply(&broken, &publish).unwrap().unwrap();
        assert_eq!((parsed.alerts[0].text.as_str(), parsed.warnings.len()), ("x", 1));
    }
}
