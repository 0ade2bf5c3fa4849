//! What `ARCHITECTURE.md` names is there, and what the doctor checks is written down.

use tautline::doctor::CHECKS;

use super::{files, root};

/// The sources that `text` names in backticks, by their path or the end of it.
fn sources_named(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter(|name| name.ends_with(".rs") && !name.contains([' ', '*']))
        .collect()
}

#[test]
fn the_sources_that_the_architecture_names_are_there() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let names: Vec<String> = files().into_iter().map(|(name, _)| format!("/{name}")).collect();
    let is_there = |named: &&str| names.iter().any(|name| name.ends_with(&format!("/{named}")));
    let named = sources_named(&text);
    assert!(named.len() > 100, "{named:?}");
    let missing: Vec<_> = named.into_iter().filter(|named| !is_there(named)).collect();
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md names what is not there: {missing:#?}"
    );
    assert!(is_there(&"line/cause.rs") && !is_there(&"ine/cause.rs"));
    assert_eq!(sources_named("`a/b.rs` and `c`, `d.rs`; `e f.rs`"), ["a/b.rs", "d.rs"]);
}

#[test]
fn the_documented_checks_are_those_of_the_doctor() {
    let document = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let table = document.split("| check | asks |\n|---|---|\n").nth(1);
    let table = table.expect("a table of checks").split("\n\n").next().unwrap();
    let row = |check: &tautline::doctor::Check| format!("| `{}` | {} |", check.name, check.question);
    let rows: Vec<String> = CHECKS.iter().map(row).collect();
    assert_eq!(table, rows.join("\n"), "docs/operations.md is to have these rows");
}
