//! What is said of hooks.

use std::time::Duration;

use tautline::config::{Secret, to_toml};
use tautline::hook::{EventKind, Of};

use super::{Site, has};

const HOOKS: &str = r#"
[[route]]
name = "family"
to = ["me"]

[[hook]]
url = "http://127.0.0.1:1880/whatsapp"

[[hook]]
name = "acks"
url = "https://hooks.example/x?key=secret"
events = ["acknowledged", "session", "session"]
sessions = ["default"]
routes = ["family"]
timeout = "5s"
token = "tk_given"
secret_file = "hook-secret"
"#;

#[test]
fn a_hook_has_an_address_and_may_say_what_it_wants() {
    let site = Site::with(HOOKS);
    std::fs::write(site.0.path().join("hook-secret"), "hush\n").unwrap();
    let loaded = site.load().unwrap();
    assert!(loaded.unreadable.is_empty() && loaded.warnings.is_empty());
    let hooks = &loaded.plan.hooks;
    let first = &hooks[0];
    assert_eq!(first.name.as_str(), "127-0-0-1-1880");
    assert_eq!(
        first.wanted.kinds,
        [EventKind::All(Of::Message), EventKind::All(Of::Alert)]
    );
    assert!(first.wanted.sessions.is_empty() && first.wanted.routes.is_empty() && first.secret.is_none());
    assert_eq!(first.timeout, Duration::from_secs(30));
    let second = &hooks[1];
    assert_eq!((second.name.as_str(), second.timeout), ("acks", Duration::from_secs(5)));
    let kinds: Vec<String> = second.wanted.kinds.iter().map(ToString::to_string).collect();
    assert_eq!(kinds, ["acknowledged", "session"]);
    assert_eq!((second.wanted.sessions.len(), second.wanted.routes.len()), (1, 1));
    let secret = Secret::File(site.0.path().join("hook-secret"));
    assert_eq!(second.secret, Some(secret));
    // What is printed means the same, and tells no secret.
    let printed = to_toml(&loaded.provenance);
    assert!(!format!("{:?}{printed}", loaded.plan).contains("tk_given"), "{printed}");
    let again = Site::with(printed.replace("***", "tk_given")).load().unwrap().plan;
    assert_eq!(again.hooks, loaded.plan.hooks);
}

#[test]
fn what_is_wrong_with_a_hook_is_told_with_line_and_key() {
    let faults = |text: &str| Site::with(format!("[[hook]]\n{text}\n")).faults();
    has(
        &faults("events = [\"alert\"]"),
        &["1:1: hook[0].url: is missing; expected a URL"],
    );
    has(
        &faults("url = \"127.0.0.1:1880\""),
        &["2:7: hook[0].url: has no scheme; expected https://"],
    );
    has(
        &faults("url = \"http://8.8.8.8/x\""),
        &["hook[0].url: would go unencrypted"],
    );
    let good = "url = \"http://127.0.0.1/x\"\n";
    for (more, expected) in [
        (
            "events = [\"acked\"]",
            "3:11: hook[0].events[0]: \"acked\" is no event; expected alert",
        ),
        ("events = []", "3:10: hook[0].events: is empty; expected at least one"),
        ("events = \"alert\"", "hook[0].events: is a string; expected a list"),
        (
            "sessions = [\"other\"]",
            "hook[0].sessions[0]: no session is named \"other\"; expected default",
        ),
        (
            "routes = [\"family\"]",
            "hook[0].routes[0]: no route is named \"family\"; expected me",
        ),
        (
            "timeout = \"1h\"",
            "hook[0].timeout: is too long; expected a second to five minutes",
        ),
        ("name = \"a b\"", "hook[0].name: a hook's name has 1 to 32 letters"),
        ("secret = \"\"", "hook[0].secret: is empty"),
        (
            "[[hook]]\nurl = \"http://127.0.0.1/y\"",
            "3:1: hook[1].name: is missing, and \"127-0-0-1\", which its address makes",
        ),
    ] {
        has(&faults(&format!("{good}{more}")), &[expected]);
    }
    has(&Site::with("hook = 1").faults(), &["hook: is an integer", "[[hook]]"]);
    let many = format!("[[hook]]\n{good}").repeat(17);
    has(
        &Site::with(many).faults(),
        &["hook: has 17 sections; expected at most 16"],
    );
    let loaded = Site::with(format!("[[hook]]\n{good}secret_file = \"nowhere\"\nevent = []\n"))
        .load()
        .unwrap();
    has(
        &[loaded.unreadable[0].to_string()],
        &["hook[0].secret_file: ", "nowhere"],
    );
    has(
        &[loaded.warnings[0].to_string()],
        &["hook[0].event: unknown key; did you mean \"events\"?"],
    );
}
