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
        ("repeat = { every = \"10m\" }", ["route[0].repeat.times", "never end"]),
        ("repeat = { times = 3 }", ["route[0].repeat.every", "is missing"]),
        (
            "repeat = { every = \"0s\", times = 3 }",
            ["route[0].repeat.every", "too short or too long"],
        ),
        (
            "repeat = { every = \"1m\", times = 0 }",
            ["route[0].repeat.times", "a number from 1"],
        ),
        ("escalate = { to = \"r\" }", ["route[0].escalate.after", "is missing"]),
        ("escalate = { after = \"1m\" }", ["route[0].escalate.to", "is missing"]),
        (
            "escalate = { after = \"1m\", to = \"r\" }",
            ["route[0].escalate.to", "the route itself"],
        ),
        (
            "escalate = { after = \"1m\", to = \"s\" }",
            ["route[0].escalate.to", "no route is named \"s\""],
        ),
        (
            "escalate = { after = \"1m\", to = \"s\" }\n[[route]]\nname = \"s\"\nto = [\"me\"]\n\
             escalate = { after = \"1m\", to = \"r\" }",
            ["route[1].escalate.to", "leads back: s → r → s"],
        ),
        ("ack_from = \"me\"", ["route[0].ack_from", "is a string"]),
        ("ack_from = []", ["route[0].ack_from", "is empty"]),
        ("ack_from = [\"Anna\"]", ["route[0].ack_from[0]", "\"Anna\""]),
        (
            "ack_from = [\"me\", \"120363000000000000@g.us\"]",
            ["route[0].ack_from[1]", "does not send to"],
        ),
        ("ack_words = \"ok\"", ["route[0].ack_words", "is a string"]),
        ("ack_words = [\"ok\", \"!\"]", ["route[0].ack_words[1]", "says nothing"]),
        (
            "ack_words = [\"ok\", \"OK.\"]",
            ["route[0].ack_words[1]", "the same word again"],
        ),
        ("ack_words = [7]", ["route[0].ack_words[0]", "is an integer"]),
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
