//! The table of endpoints and the document that shows it say the same.

use tautline::gateway::{ENDPOINTS, Scope};

use super::root;

#[test]
fn the_documented_addresses_are_those_of_the_table() {
    let document = std::fs::read_to_string(root().join("docs/api.md")).unwrap();
    let table = document
        .split("| methods | path | right | does |\n|---|---|---|---|\n")
        .nth(1);
    let table = table.expect("a table of addresses").split("\n\n").next().unwrap();
    let rows: Vec<String> = ENDPOINTS
        .iter()
        .map(|endpoint| {
            let methods = endpoint.methods.join(", ");
            let (path, right, summary) = (endpoint.path, endpoint.scope.name(), endpoint.summary);
            format!("| {methods} | `{path}` | {right} | {summary} |")
        })
        .collect();
    assert_eq!(table.trim_end(), rows.join("\n"), "docs/api.md is to have these rows");
}

#[test]
fn every_right_is_taken_by_an_endpoint() {
    for scope in Scope::ALL {
        assert!(
            ENDPOINTS.iter().any(|endpoint| endpoint.scope == scope),
            "{}",
            scope.name()
        );
    }
}
