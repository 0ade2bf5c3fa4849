//! What a route does between an alert and its messages.

use super::{Site, has};

#[test]
fn a_policy_that_cannot_hold_is_a_fault_with_its_key() {
    let route = "[[route]]\nname = \"r\"\nto = [\"me\"]\n";
    for (text, parts) in [
        ("group = true", ["route[0].group", "is a boolean"]),
        ("group = { by = \"a\" }", ["route[0].group.by", "is a string"]),
        ("group = { by = [\"\"] }", ["route[0].group.by[0]", "is empty"]),
        ("group = { interval = \"0s\" }", ["route[0].group.interval", "is zero"]),
        (
            "group = { interval = \"0s\", max = 5 }",
            ["route[0].group.interval", "nothing is ever grouped"],
        ),
        (
            "group = { wait = \"900y\" }",
            ["route[0].group.wait", "too short or too long"],
        ),
        ("group = { max = 0 }", ["route[0].group.max", "a number from 1 to 100"]),
        ("quiet = { to = \"06:00\" }", ["route[0].quiet.from", "is missing"]),
        (
            "quiet = { from = \"06:00\", to = \"06:00\" }",
            ["route[0].quiet.to", "is the same as from"],
        ),
        (
            "quiet = { from = \"6\", to = \"06:00\" }",
            ["route[0].quiet.from", "is no time of day"],
        ),
        (
            "quiet = { from = \"24:00\", to = \"06:00\" }",
            ["route[0].quiet.from", "is no time of day"],
        ),
        (
            "quiet = { from = \"23:00\", to = \"06:00\", below = \"min\" }",
            ["route[0].quiet.below", "nothing is less urgent"],
        ),
        (
            "quiet = { from = \"23:00\", to = \"06:00\", then = \"wait\" }",
            ["route[0].quiet.then", "expected \"digest\" or \"drop\""],
        ),
        ("pace = { burst = 1 }", ["route[0].pace.per_minute", "is missing"]),
        (
            "pace = { per_minute = 0 }",
            ["route[0].pace.per_minute", "a number from 1"],
        ),
        (
            "pace = { per_minute = \"1\" }",
            ["route[0].pace.per_minute", "is a string"],
        ),
    ] {
        has(&Site::with(format!("{route}{text}\n")).faults(), &parts);
    }
}
