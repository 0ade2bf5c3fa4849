//! What the API shows of the journal.

use tautline::gateway::Refusal;
use tautline::gateway::api::EventView;
use tautline::outbox::Step;

use crate::gate::Bench;

#[test]
fn one_alert_has_its_history_and_a_list_has_none() {
    let bench = Bench::new();
    let id = bench.relay.put("one", Step::Accepted);
    let alert: serde_json::Value = bench.tcp("GET", &format!("/v1/alerts/{id}"), "", "").json();
    let expected = serde_json::json!([
        {"number": 1, "at": 1_700_000_000_123_u64, "what": "accepted"},
        {"number": 2, "at": 1_700_000_000_123_u64, "what": "retried", "delivery": 0},
    ]);
    assert_eq!(alert["history"], expected);
    let listed: serde_json::Value = bench.tcp("GET", "/v1/alerts", "", "").json();
    assert_eq!(listed[0].get("history"), None);
}

#[test]
fn the_journal_comes_as_json_lines_and_ends() {
    let bench = Bench::new();
    let numbers = |query: &str| -> Vec<u64> {
        let answer = bench.tcp("GET", &format!("/v1/events{query}"), "", "");
        assert_eq!(answer.status, 200);
        let lines = answer
            .body
            .lines()
            .map(|line| serde_json::from_str::<EventView>(line).unwrap());
        lines.map(|event| event.number).collect()
    };
    assert_eq!(numbers(""), [1, 2, 3, 4, 5]);
    assert_eq!(numbers("?since=3"), [4, 5]);
    assert_eq!(numbers("?since=1&limit=2"), [2, 3]);
    assert!(numbers("?since=99").is_empty());
    for query in ["since=x", "since=-1", "limit=0", "limit=1001"] {
        bench.tcp("GET", &format!("/v1/events?{query}"), "", "").error(400);
    }
    bench.tcp("POST", "/v1/events", "", "").error(405);
    bench.relay.refuse(Some(Refusal::Storage("cannot be read".into())));
    bench.tcp("GET", "/v1/events", "", "").error(507);
}
