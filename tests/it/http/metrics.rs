//! `GET /metrics`: the form, the document beside it, and who sees what. And `GET /v1/health`.

use std::collections::{BTreeMap, BTreeSet};

use tautline::access::Right;
use tautline::gateway::api::Health;

use crate::gate::{Answer, Bench};

fn document(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// Families by name, each with its kind, its help and the labels of its samples. What is not of the form is found here.
fn families(answer: &Answer) -> BTreeMap<String, (String, String, BTreeSet<String>)> {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let body = answer.body.strip_suffix("# EOF\n").expect("the end");
    let mut families = BTreeMap::new();
    let mut current = String::new();
    let mut samples = BTreeSet::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            name.clone_into(&mut current);
            let before = families.insert(current.clone(), (kind.to_owned(), String::new(), BTreeSet::new()));
            assert!(before.is_none(), "{name} is there twice");
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            let help = rest.strip_prefix(&current).unwrap().trim();
            help.clone_into(&mut families.get_mut(&current).unwrap().1);
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').unwrap();
            assert!(name == current && name.ends_with(&format!("_{unit}")), "{line}");
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap();
            assert!(samples.insert(sample.to_owned()), "{sample} is there twice");
            let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
            let (kind, _, names) = families.get_mut(&current).unwrap();
            let suffix = name
                .strip_prefix(&current)
                .unwrap_or_else(|| panic!("{name} under {current}"));
            let suffixes: &[&str] = match kind.as_str() {
                "counter" => &["_total"],
                "gauge" => &[""],
                "histogram" => &["_bucket", "_sum", "_count"],
                other => panic!("{other}"),
            };
            assert!(suffixes.contains(&suffix), "{line}");
            let labels = labels
                .strip_suffix('}')
                .unwrap()
                .split(',')
                .filter(|label| !label.is_empty());
            names.extend(
                labels
                    .map(|label| label.split('=').next().unwrap().to_owned())
                    .filter(|name| name != "le"),
            );
        }
    }
    families
}

#[test]
fn every_metric_stands_in_the_document_and_rules_and_dashboard_name_no_other() {
    let bench = Bench::new();
    bench.relay.problem("it is not linked");
    bench
        .relay
        .tallies
        .line_ended(&"default".parse().unwrap(), "path-broken");
    bench.tcp("POST", "/family", "", "text");
    let answer = bench.tcp("GET", "/metrics", "", "");
    let found = families(&answer);
    let rows: BTreeSet<String> = found
        .iter()
        .map(|(name, (kind, help, labels))| {
            let labels = labels.iter().map(|label| format!("`{label}`")).collect::<BTreeSet<_>>();
            let labels = labels.into_iter().collect::<Vec<_>>().join(", ");
            let space = if labels.is_empty() { "" } else { " " };
            format!("| `{name}` | {kind} |{space}{labels} | {help} |")
        })
        .collect();
    let text = document("metrics.md");
    let documented: BTreeSet<String> = text
        .lines()
        .filter(|line| line.starts_with("| `tautline_") || line.starts_with("| `process_"))
        .map(|line| {
            let mut cells: Vec<String> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
            let labels: BTreeSet<&str> = cells[3].split(", ").filter(|label| !label.is_empty()).collect();
            cells[3] = labels.into_iter().collect::<Vec<_>>().join(", ");
            let space = if cells[3].is_empty() { "" } else { " " };
            format!("| {} | {} |{space}{} | {} |", cells[1], cells[2], cells[3], cells[4])
        })
        .collect();
    let missing: Vec<_> = rows.symmetric_difference(&documented).collect();
    assert!(
        missing.is_empty(),
        "docs/metrics.md and the answer differ: {missing:#?}"
    );

    for file in [
        "prometheus/alerts.yml",
        "prometheus/alerts_test.yml",
        "prometheus/grafana.json",
    ] {
        let text = document(file);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named: BTreeSet<&str> = words
            .filter(|word| word.starts_with("tautline_") || word.starts_with("process_"))
            .collect();
        assert!(!named.is_empty(), "{file}");
        for name in named {
            let is_there = answer
                .body
                .lines()
                .any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
            assert!(is_there, "{file} names {name}, which is not there");
        }
    }
}

#[test]
fn what_has_happened_is_counted() {
    let bench = Bench::new();
    bench.tcp("POST", "/family", "", "text");
    bench.tcp("POST", "/nobody", "", "text").error(404);
    bench.relay.tallies.accepted(&"family".parse().unwrap());
    let text = bench.tcp("GET", "/metrics", "", "").body;
    for line in [
        "tautline_healthy 1",
        "tautline_session_online{session=\"default\"} 1",
        "tautline_session_proof_age_seconds{session=\"default\",layer=\"websocket\"} 4.2",
        "tautline_alert_events_total{route=\"family\",event=\"accepted\"} 1",
        "tautline_alert_events_total{route=\"ops\",event=\"failed\"} 0",
        "tautline_outbox_deliveries{state=\"failed\"} 5",
        "tautline_fallback_proven_timestamp_seconds{route=\"ops\",fallback=\"ntfy\"} 1700000000.123",
        "tautline_fallback_requests_total{fallback=\"ntfy\",outcome=\"failed\"} 0",
        "tautline_journal_entries_total 5",
        "tautline_http_answers_total{code=\"200\"} 1",
        "tautline_http_answers_total{code=\"404\"} 1",
        "tautline_http_publish_seconds_count 1",
        "process_resident_memory_bytes 7340032",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    // Nobody's number or words.
    assert!(!text.contains("+1555") && !text.contains("text\""), "{text}");
}

#[test]
fn a_token_for_a_route_sees_the_numbers_of_that_route() {
    let bench = Bench::closed();
    bench.relay.token("some", &[Right::Read], &["family"], false);
    bench.relay.token("all", &[Right::Read], &[], false);
    bench.relay.token("publisher", &[Right::Publish], &[], false);
    bench.tcp("GET", "/metrics", "", "").error(401);
    bench.tcp("GET", "/metrics", "X-Api-Key: publisher\r\n", "").error(403);
    let some = bench.tcp("GET", "/metrics", "X-Api-Key: some\r\n", "");
    families(&some);
    assert!(some.body.contains("route=\"family\"") && !some.body.contains("route=\"ops\""));
    assert!(!some.body.contains("process_") && !some.body.contains("tautline_http_"));
    let all = bench.tcp("GET", "/metrics", "X-Api-Key: all\r\n", "");
    assert!(all.body.contains("route=\"ops\"") && all.body.contains("process_"));
}

#[test]
fn health_is_strict_where_that_is_asked() {
    let bench = Bench::new();
    assert_eq!(bench.tcp("GET", "/v1/health?strict", "", "").status, 200);
    bench.relay.warning("a route is unproven");
    let lenient = bench.tcp("GET", "/v1/health", "", "");
    assert_eq!((lenient.status, lenient.body.as_str()), (200, "{\"healthy\":true}"));
    for target in ["/v1/health?strict", "/v1/health?strict=1"] {
        let strict = bench.tcp("GET", target, "", "");
        assert_eq!(strict.status, 503);
        let health: Health = strict.json();
        assert!(!health.healthy);
        assert_eq!(health.problems[0].text, "a route is unproven");
    }
    bench.relay.problem("it is not linked");
    let health: Health = bench.tcp("GET", "/v1/health?strict=0", "", "").json();
    assert_eq!(health.problems.len(), 1);
    bench.tcp("GET", "/v1/health?strict=maybe", "", "").error(400);
}
