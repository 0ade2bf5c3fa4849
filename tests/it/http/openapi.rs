//! The document of the API against what the gateway answers.

use std::collections::BTreeSet;

use serde_json::Value;
use tautline::access::Right;
use tautline::gateway::ENDPOINTS;
use tautline::gateway::api::*;
use tautline::outbox::Step;

use super::rights::target;
use crate::gate::{Answer, Bench};

fn document(bench: &Bench) -> Value {
    let answer = bench.tcp("GET", "/v1/openapi.json", "", "");
    assert_eq!(answer.status, 200);
    answer.json()
}

fn pointed<'v>(document: &'v Value, schema: &'v Value) -> &'v Value {
    match schema["$ref"].as_str() {
        Some(place) => document
            .pointer(place.trim_start_matches('#'))
            .unwrap_or_else(|| panic!("{place}")),
        None => schema,
    }
}

/// What `schema` says against `value`, a line each. A field that the document does not have is a fault.
fn faults(document: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let known = fields(document, schema);
    let mut found = wrong(document, schema, value, place);
    if let (Some(given), false) = (value.as_object(), known.is_empty()) {
        let new = given.keys().filter(|name| !known.contains(*name));
        found.extend(new.map(|name| format!("{place}: {name} is new")));
    }
    found
}

/// The same, where other parts of the schema may know more fields. Only the keywords that the document uses are known.
fn wrong(document: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    const WORDS: [&str; 4] = ["description", "format", "title", "default"];
    let mut found = Vec::new();
    // What stands beside a reference, as serde's tags do, counts as well.
    if schema.get("$ref").is_some() {
        found.extend(wrong(document, pointed(document, schema), value, place));
    }
    for (keyword, rule) in schema.as_object().unwrap_or_else(|| panic!("{place}: {schema}")) {
        let holds = match keyword.as_str() {
            "$ref" | "properties" => true,
            word if WORDS.contains(&word) => true,
            "type" => {
                let names: Vec<&Value> = rule.as_array().map_or_else(|| vec![rule], |all| all.iter().collect());
                names.iter().any(|name| is_a(value, name.as_str().unwrap()))
            }
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(faults(document, rule, item, &format!("{place}/{index}")));
                }
                true
            }
            "required" => {
                let names = rule.as_array().unwrap();
                let missing = names.iter().find(|name| value.get(name.as_str().unwrap()).is_none());
                found.extend(missing.map(|name| format!("{place}: {name} is missing")));
                true
            }
            "anyOf" | "oneOf" => {
                let ways = rule.as_array().unwrap();
                ways.iter().any(|way| wrong(document, way, value, place).is_empty())
            }
            "pattern" => value.is_string(),
            other => panic!("{place}: {other} is new in the document"),
        };
        if !holds {
            found.push(format!("{place}: {value} is not {keyword} {rule}"));
        }
    }
    for (name, rule) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            found.extend(faults(document, rule, value, &format!("{place}/{name}")));
        }
    }
    found
}

/// The fields that a value of this schema may have; none where it says nothing of them.
fn fields(document: &Value, schema: &Value) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect();
    if schema.get("$ref").is_some() {
        names.extend(fields(document, pointed(document, schema)));
    }
    for ways in ["anyOf", "oneOf"] {
        let ways = schema[ways].as_array().into_iter().flatten();
        names.extend(ways.flat_map(|way| fields(document, way)));
    }
    names
}

fn is_a(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other}"),
    }
}

/// Holds an answer to what the document says of it.
fn hold(document: &Value, name: &str, operation: &Value, method: &str, answer: &Answer) {
    let responses = &operation["responses"];
    let status = answer.status.to_string();
    let said = responses
        .get(&status)
        .unwrap_or_else(|| pointed(document, &responses["default"]));
    assert!(
        responses.get(&status).is_some() || answer.status >= 400,
        "{name}: {status} is not in the document"
    );
    if method == "HEAD" {
        assert!(answer.body.is_empty(), "{name}");
        return;
    }
    let media = answer.header("content-type").unwrap_or_default();
    let media = media.split(';').next().unwrap();
    let content = &said["content"][media];
    assert!(!content.is_null(), "{name}: {media} is not in the document");
    let values: Vec<(Value, &Value)> = match media {
        "application/json" => vec![(answer.json(), &content["schema"])],
        "application/x-ndjson" => {
            let lines = answer.body.lines().filter(|line| !line.is_empty());
            lines
                .map(|line| (serde_json::from_str(line).unwrap(), &content["x-line"]))
                .collect()
        }
        _ => Vec::new(),
    };
    for (value, schema) in values {
        let faults = faults(document, schema, &value, name);
        assert!(faults.is_empty(), "{faults:#?} in {value}");
    }
}

#[test]
fn every_endpoint_answers_as_the_document_says() {
    let bench = Bench::new();
    bench.relay.problem("it is not linked");
    bench.relay.line(end());
    bench.relay.pair_event(PairEvent::Qr {
        payload: "2@a,b".into(),
        valid_ms: 20_000,
    });
    bench.relay.pair_ends();
    bench.relay.back_up(b"keys".to_vec());
    let document = document(&bench);
    let mut answered = 0;
    for endpoint in ENDPOINTS {
        for method in endpoint.methods {
            let operation = &document["paths"][endpoint.path][method.to_ascii_lowercase()];
            let name = format!("{method} {}", endpoint.path);
            assert!(operation.is_object(), "{name} is not in the document");
            assert_eq!(operation["summary"], endpoint.summary, "{name}");
            assert_eq!(operation["tags"][0], endpoint.scope.name(), "{name}");
            let id = bench.relay.put("text", Step::Accepted);
            bench.relay.token("revocable", &[Right::Read], &[], false);
            let target = target(endpoint, &id);
            let body = match (*method, endpoint.path) {
                ("POST" | "PUT", "/") => r#"{"topic": "family", "message": "x", "title": "t", "tags": ["a"]}"#,
                ("POST", "/1/messages.json") => r#"{"user": "family", "message": "x"}"#,
                ("POST", "/message") => r#"{"message": "x"}"#,
                ("POST", "/v1/login") => r#"{"token": "revocable"}"#,
                ("POST", "/v1/tokens") => r#"{"name": "new", "rights": ["read"], "routes": ["family"]}"#,
                ("POST", path) if path.starts_with("/api/") => r#"{"chatId": "family", "text": "x"}"#,
                ("POST", "/v1/mail") => "Subject: x\r\n\r\ntext",
                ("POST" | "PUT", path) if !path.starts_with("/v1/alerts") => "x",
                _ => "",
            };
            let target = if endpoint.path == "/message" {
                "/message?token=family".into()
            } else {
                target
            };
            // The control socket does not log in.
            let answer = match endpoint.path {
                "/v1/login" => bench.tcp(method, &target, "", body),
                _ => bench.local(method, &target, body),
            };
            hold(&document, &name, operation, method, &answer);
            // And what is refused.
            hold(
                &document,
                &name,
                operation,
                method,
                &bench.tcp(method, &target, "Origin: http://evil.example\r\n", body),
            );
            answered += usize::from(answer.status == 200);
            let expected = if endpoint.path == "/v1/health" { 503 } else { 200 };
            // A WebSocket is not asked for, a header and what waits for its own time are missing.
            if !["/{topics}/ws", "/notify", "/{route}/{id}"].contains(&endpoint.path) {
                assert_eq!(answer.status, expected, "{name}: {answer:?}");
            }
        }
    }
    assert!(answered > 50, "{answered}");
    let known = ENDPOINTS.iter().map(|endpoint| endpoint.path).collect::<BTreeSet<_>>();
    let listed: BTreeSet<&str> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(listed, known);
}

#[test]
fn the_check_of_the_document_sees() {
    let bench = Bench::new();
    let document = document(&bench);
    let schema = serde_json::json!({ "$ref": "#/components/schemas/Health" });
    let of = |value: Value| faults(&document, &schema, &value, "");
    assert_eq!(of(serde_json::json!({ "healthy": true })), Vec::<String>::new());
    assert_eq!(of(serde_json::json!({})).len(), 1);
    assert_eq!(of(serde_json::json!({ "healthy": "yes" })).len(), 1);
    assert_eq!(of(serde_json::json!({ "healthy": true, "other": 1 })).len(), 1);
    assert!(!of(serde_json::json!({ "healthy": false, "problems": [{ "code": 1 }] })).is_empty());
}

fn end() -> HistoryEntry {
    HistoryEntry::RelayStarted(StartView {
        at: 1,
        first_at: 1,
        times: 1,
        version: "0.1.0".into(),
        before: "nothing".into(),
        before_at: None,
        words: "no run before it is known".into(),
    })
}
