//! What is said of the second path: the heartbeat and the fallbacks.

use std::time::Duration;

use tautline::config::{Env, FallbackKind, Secret, load, to_toml};

use super::{Site, has};

#[test]
fn a_heartbeat_has_an_address_of_the_web() {
    let heartbeat = |text: &str| {
        Site::with(format!("[heartbeat]\n{text}\n"))
            .load()
            .unwrap()
            .plan
            .heartbeat
    };
    let plan = heartbeat("url = \"http://192.168.1.5:3001/api/push/x\"").unwrap();
    assert_eq!(plan.url.to_string(), "http://192.168.1.5:3001/api/push/x");
    assert_eq!(plan.interval, Duration::from_secs(60));
    let faults = |text: &str| Site::with(format!("[heartbeat]\n{text}\n")).faults();
    has(&faults("interval = \"1m\""), &["1:1: heartbeat.url: is missing"]);
    has(
        &faults("url = \"hc-ping.com/x\""),
        &["2:7: heartbeat.url: has no scheme; expected https://"],
    );
    has(
        &faults("url = \"http://8.8.8.8/x\""),
        &["heartbeat.url: would go unencrypted"],
    );
    has(
        &faults("url = \"https://x/\"\ninterval = \"0s\""),
        &["3:12: heartbeat.interval: \"0s\" is too short"],
    );
    let odd = Site::with("[heartbeat]\nurl = \"https://x/\"\nintervall = \"1m\"\n")
        .load()
        .unwrap();
    assert!(
        odd.warnings[0]
            .to_string()
            .contains("heartbeat.intervall: unknown key; did you mean \"interval\"?")
    );
    has(
        &Site::with("heartbeat = 1").faults(),
        &["heartbeat: is an integer", "[heartbeat]"],
    );
}

const FALLBACK: &str = r#"
[[route]]
name = "family"
to = ["me"]
fallback = { after = "10m", to = ["ntfy", "hook"], both = true }

[[fallback]]
name = "ntfy"
kind = "ntfy"
url = "https://ntfy.example/alerts"
token_file = "ntfy-token"

[[fallback]]
name = "hook"
kind = "webhook"
url = "http://192.168.1.5:1880/alerts"
token = "tk_given"
secret_file = "secrets/hook"
"#;

fn token_of(kind: &FallbackKind) -> Option<Secret> {
    match kind {
        FallbackKind::Ntfy(target) | FallbackKind::Webhook { target, .. } => target.token.clone(),
        FallbackKind::Smtp(_) => None,
    }
}

/// With its secrets beside it.
fn site() -> Site {
    let site = Site::with(FALLBACK);
    let folder = site.0.path();
    std::fs::create_dir(folder.join("secrets")).unwrap();
    std::fs::write(folder.join("ntfy-token"), "tk_file\n").unwrap();
    std::fs::write(folder.join("secrets/hook"), "hush").unwrap();
    site
}

#[test]
fn a_route_has_fallbacks_with_secrets_in_files() {
    let site = site();
    let loaded = site.load().unwrap();
    assert!(loaded.unreadable.is_empty() && loaded.warnings.is_empty());
    let plan = &loaded.plan;
    let fallback = plan.routes[0].fallback.as_ref().unwrap();
    let to: Vec<_> = fallback.to.iter().map(|name| name.as_str()).collect();
    assert_eq!((to, fallback.both), (vec!["ntfy", "hook"], true));
    assert_eq!(fallback.after, Duration::from_secs(600));
    let token = Secret::File(site.0.path().join("ntfy-token"));
    assert_eq!(token_of(&plan.fallbacks[0].kind), Some(token));
    let secret = Secret::File(site.0.path().join("secrets/hook"));
    let FallbackKind::Webhook { secret: found, .. } = &plan.fallbacks[1].kind else {
        panic!("{:?}", plan.fallbacks);
    };
    assert_eq!(*found, Some(secret));
    // What stands in the file is shown to nobody.
    let printed = to_toml(&loaded.provenance);
    assert!(!format!("{plan:?}{printed}").contains("tk_given"), "{printed}");
    let again = Site::with(&printed).load().unwrap().plan;
    assert_eq!((&again.routes, again.fallbacks.len()), (&plan.routes, 2));
}

#[test]
fn a_bare_name_is_one_of_systemds_credentials_first() {
    let site = site();
    let credentials = tempfile::tempdir().unwrap();
    std::fs::write(credentials.path().join("ntfy-token"), "tk_credential").unwrap();
    let env = Env::of([("CREDENTIALS_DIRECTORY", credentials.path())]);
    let plan = load(Some(&site.file()), &env).unwrap().plan;
    let token = Secret::File(credentials.path().join("ntfy-token"));
    assert_eq!(token_of(&plan.fallbacks[0].kind), Some(token));
    let FallbackKind::Webhook { secret, .. } = &plan.fallbacks[1].kind else {
        panic!("{:?}", plan.fallbacks);
    };
    assert_eq!(*secret, Some(Secret::File(site.0.path().join("secrets/hook"))));
}

#[test]
fn a_secret_that_cannot_be_read_is_told_with_its_line_and_costs_no_start() {
    let site = site();
    std::fs::remove_file(site.0.path().join("ntfy-token")).unwrap();
    std::fs::write(site.0.path().join("secrets/hook"), " \n").unwrap();
    let loaded = site.load().unwrap();
    let told: Vec<String> = loaded.unreadable.iter().map(ToString::to_string).collect();
    has(
        &told,
        &[
            ":11:14: fallback[0].token_file: ",
            "ntfy-token",
            "No such file",
            "credential",
        ],
    );
    has(&told, &[":18:15: fallback[1].secret_file: ", "is empty"]);
    assert_eq!(loaded.plan.fallbacks.len(), 2);
}

#[test]
fn faults_of_fallbacks() {
    let faults = |from: &str, to: &str| Site::with(FALLBACK.replacen(from, to, 1)).faults();
    has(
        &faults("\"10m\"", "\"0s\""),
        &["5:22: route[0].fallback.after: \"0s\" is too short"],
    );
    has(&faults("\"10m\"", "0"), &["route[0].fallback.after: is an integer"]);
    let unknown = faults("[\"ntfy\", \"hook\"]", "[\"nfty\"]");
    has(
        &unknown,
        &["route[0].fallback.to[0]: no fallback is named \"nfty\"; expected hook, ntfy"],
    );
    has(
        &faults("\"hook\"]", "\"ntfy\"]"),
        &["route[0].fallback.to[1]: is the same fallback again"],
    );
    has(
        &faults("[\"ntfy\", \"hook\"]", "[]"),
        &["route[0].fallback.to: is empty"],
    );
    has(
        &faults(", to = [\"ntfy\", \"hook\"]", ""),
        &["route[0].fallback.to: is missing"],
    );
    has(
        &faults("both = true", "both = 1"),
        &["route[0].fallback.both: is an integer"],
    );
    has(
        &faults("name = \"hook\"", "name = \"ntfy\""),
        &["fallback[1].name: \"ntfy\" is named twice"],
    );
    has(
        &faults("kind = \"ntfy\"", "kind = \"pigeon\""),
        &["fallback[0].kind: \"pigeon\" is no kind"],
    );
    has(&faults("kind = \"ntfy\"\n", ""), &["7:1: fallback[0].kind: is missing"]);
    has(
        &faults("url = \"https://ntfy.example/alerts\"\n", ""),
        &["fallback[0].url: is missing"],
    );
    has(
        &faults("https://ntfy.example", "ntfy.example"),
        &["10:7: fallback[0].url: has no scheme"],
    );
    has(
        &faults("192.168.1.5", "8.8.8.8"),
        &["fallback[1].url: would go unencrypted"],
    );
    let both = faults("token_file = ", "token = \"tk_x\"\ntoken_file = ");
    has(&both, &["12:14: fallback[0].token_file: stands beside token"]);
    assert!(!both.join("").contains("tk_x"), "{both:?}");
    has(
        &faults("token_file = ", "secret = \"x\"\ntoken_file = "),
        &["fallback[0].secret: means nothing for kind \"ntfy\""],
    );
    has(&faults("\"tk_given\"", "\"\""), &["fallback[1].token: is empty"]);
}

const MAIL: &str = r#"
[[fallback]]
name = "mail"
kind = "smtp"
url = "smtps://mail.example"
user = "box"
password = "hush"
from = "box@example.com"
to = ["me@example.com", "you@example.com"]
"#;

#[test]
fn mails_go_to_a_server_with_tls() {
    let target = |url: &str| {
        let site = Site::with(MAIL.replace("smtps://mail.example", url));
        let loaded = site.load().unwrap();
        assert!(!format!("{:?}{}", loaded.plan, to_toml(&loaded.provenance)).contains("hush"));
        match loaded.plan.fallbacks[0].kind.clone() {
            FallbackKind::Smtp(target) => target,
            other => panic!("{other:?}"),
        }
    };
    for (url, written) in [
        ("smtps://mail.example", "smtps://mail.example:465"),
        ("smtp://Mail.Example/", "smtp://mail.example:587"),
        ("smtp://127.0.0.1:25", "smtp://127.0.0.1:25"),
        ("smtps://[::1]:443", "smtps://[::1]:443"),
    ] {
        assert_eq!(target(url).server.to_string(), written);
    }
    let target = target("smtps://mail.example");
    assert_eq!(target.login, Some(("box".to_owned(), Secret::Given("hush".to_owned()))));
    assert_eq!(target.to, ["me@example.com", "you@example.com"]);
}

#[test]
fn faults_of_mails() {
    let faults = |from: &str, to: &str| Site::with(MAIL.replacen(from, to, 1)).faults();
    has(
        &faults("smtps://", "https://"),
        &["5:7: fallback[0].url: has another scheme; expected smtps://"],
    );
    has(
        &faults("mail.example\"", "me:hush@mail.example\""),
        &["fallback[0].url: has a user in it"],
    );
    has(
        &faults("mail.example\"", "mail.example/x\""),
        &["fallback[0].url: has a host that is neither a name nor an address"],
    );
    has(
        &faults("password = \"hush\"\n", ""),
        &["2:1: fallback[0]: has one of user and password_file"],
    );
    has(
        &faults("user = \"box\"\n", ""),
        &["fallback[0]: has one of user and password_file"],
    );
    has(
        &faults("from = \"box@example.com\"\n", ""),
        &["fallback[0].from: is missing"],
    );
    has(
        &faults("you@example.com", "you"),
        &["9:25: fallback[0].to[1]: \"you\" is no address of mail"],
    );
    has(&faults("you@example.com", "a b@x>\\r\\nRCPT"), &["fallback[0].to[1]"]);
    has(
        &faults("[\"me@example.com\", \"you@example.com\"]", "[]"),
        &["fallback[0].to: is empty"],
    );
    has(
        &faults("user = ", "token = \"x\"\nuser = "),
        &["fallback[0].token: means nothing for kind \"smtp\""],
    );
}

#[test]
fn health_is_told_to_fallbacks_that_there_are() {
    let with = |text: &str| Site::with(format!("{MAIL}{text}"));
    let plan = with("[health]\nfallback = [\"mail\"]\n").load().unwrap().plan;
    assert_eq!(plan.health_fallbacks[0].as_str(), "mail");
    let faults = with("[health]\nfallback = [\"nobody\"]\n").faults();
    has(
        &faults,
        &["11:13: health.fallback[0]: no fallback is named \"nobody\"; expected mail"],
    );
    has(
        &with("[health]\nfallback = \"mail\"\n").faults(),
        &["health.fallback: is a string"],
    );
}
