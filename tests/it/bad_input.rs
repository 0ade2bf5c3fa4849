//! What people and programs do wrong, done to the built program: each is told what, where, and what to do.

use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use crate::support::{Relay, Site, tautline};

const GATEWAY: &str = "[gateway]\nlisten = [\"127.0.0.1:0\"]\n";

/// Where a line may be dialled and nobody ever answers: nothing here needs a line.
struct Nobody(TcpListener);

impl Nobody {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    fn endpoint(&self) -> String {
        format!("ws://{}/ws/chat", self.0.local_addr().expect("an address"))
    }

    /// A config that would run, before whatever else it has.
    fn config(&self, rest: &str) -> Site {
        let endpoint = self.endpoint();
        Site::with_config(&format!(
            "{rest}\n[[session]]\nname = \"default\"\nendpoint = \"{endpoint}\"\n"
        ))
    }
}

fn offline() -> (Nobody, Site, Relay) {
    let nobody = Nobody::new();
    let site = Site::new(&nobody.endpoint(), &[("friend", &["+15550100002"]), ("me", &["me"])]);
    let relay = site.start();
    (nobody, site, relay)
}

/// Runs `tautline run` on a site that must not start; code and words.
fn refused(site: &Site) -> (Option<i32>, String) {
    let output = site.run(&["run"]);
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn has(words: &str, parts: &[&str]) {
    for part in parts {
        assert!(words.contains(part), "no {part:?} in:\n{words}");
    }
}

#[test]
fn a_bad_file_is_78_with_every_fault_and_its_line() {
    let site = Site::with_config(
        r#"board = "toaster"
[[session]]
name = "default"
endpoint = "http://example.org"
[[route]]
name = "family"
session = "nobody"
to = ["12345", "x@y"]
[gateway]
listen = ["0.0.0.0:7373", "localhost"]
"#,
    );
    let (code, words) = refused(&site);
    assert_eq!(code, Some(78), "{words}");
    has(
        &words,
        &[
            "tautline.toml",
            ":1",
            "toaster",
            ":4",
            "endpoint",
            ":7",
            "nobody",
            ":8",
            "12345",
            "x@y",
            ":10",
            "0.0.0.0",
        ],
    );
    assert!(!words.contains("panicked"), "{words}");
    for command in [&["config", "check"][..], &["config", "print"], &["pair"]] {
        assert_eq!(site.run(command).status.code(), Some(78), "{command:?}");
    }
}

#[test]
fn a_relay_that_listens_nowhere_is_told_in_words() {
    let site = Site::with_config("[gateway]\nlisten = []\n");
    let output = site.run(&["config", "check"]);
    assert_eq!(output.status.code(), Some(0));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("nothing is served over HTTP"), "{words}");
}

#[test]
fn an_unknown_key_runs_with_a_warning_and_fails_the_check() {
    let site = Site::with_config(&format!("colour = \"blue\"\n{GATEWAY}"));
    assert_eq!(site.run(&["config", "check"]).status.code(), Some(78));
    let nobody = Nobody::new();
    let site = nobody.config(&format!("colour = \"blue\"\n{GATEWAY}"));
    let relay = site.start();
    has(&relay.status().to_string(), &["config-unknown-key", "colour"]);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn an_address_that_is_not_loopback_is_refused() {
    for listen in ["0.0.0.0:7373", "[::]:7373", "192.168.1.10:7373"] {
        let site = Site::with_config(&format!("[gateway]\nlisten = [\"{listen}\"]\n"));
        let (code, words) = refused(&site);
        assert_eq!(code, Some(78), "{words}");
        has(&words, &["listen", "expected 127.0.0.1", ":2"]);
    }
}

#[test]
fn a_lab_build_dials_loopback_alone() {
    for endpoint in ["wss://web.whatsapp.com/ws/chat", "wss://192.0.2.1/ws/chat"] {
        let site = Site::with_config(&format!(
            "[[session]]\nname = \"default\"\nendpoint = \"{endpoint}\"\n{GATEWAY}"
        ));
        for command in [&["run"][..], &["pair"]] {
            let output = site.run(command);
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(78), "{words}");
            has(&words, &["lab build", "loopback"]);
        }
    }
    // Plain ws:// to elsewhere is refused by every build.
    let site = Site::with_config("[[session]]\nname = \"default\"\nendpoint = \"ws://192.0.2.1/ws/chat\"\n");
    let (code, words) = refused(&site);
    assert_eq!(code, Some(78), "{words}");
    has(&words, &["endpoint", "loopback"]);
}

#[test]
fn a_second_process_is_7_and_names_the_first() {
    let (_nobody, site, relay) = offline();
    let (code, words) = refused(&site);
    assert_eq!(code, Some(7), "{words}");
    has(&words, &[&format!("process {}", relay.pid()), "--state"]);
    assert_eq!(relay.status()["pid"], relay.pid(), "the first one goes on");
    // And its control socket still is the first one's.
    assert_eq!(site.run(&["status"]).status.code(), Some(0));
    assert_eq!(relay.stop(), 0);
    let relay = site.start();
    relay.kill();
    // The lock of one that was killed is nobody's.
    assert_eq!(site.start().stop(), 0);
}

#[test]
fn a_port_in_use_is_1_and_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let nobody = Nobody::new();
    let site = nobody.config(&format!("[gateway]\nlisten = [\"{address}\"]\n"));
    let (code, words) = refused(&site);
    assert_eq!(code, Some(1), "{words}");
    has(&words, &["cannot listen on", &address.to_string(), "in use"]);
}

#[test]
fn a_state_that_cannot_be_is_1_and_named() {
    let nobody = Nobody::new();
    let site = nobody.config(GATEWAY);
    std::fs::write(site.state(), "a file").expect("written");
    let (code, words) = refused(&site);
    assert_eq!(code, Some(1), "{words}");
    has(&words, &["cannot open the state", "state"]);

    let site = nobody.config(GATEWAY);
    let inside = "/proc/nowhere/state";
    let output = tautline()
        .args([
            "--config",
            &site.config().display().to_string(),
            "--state",
            inside,
            "run",
        ])
        .output()
        .expect("it starts");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words}");
    has(&words, &["cannot open the state", inside]);
}

#[test]
fn what_is_published_wrongly_is_told() {
    let (_nobody, _site, relay) = offline();
    let answer = relay.http("POST", "/nowhere", &[], b"x");
    assert_eq!(answer.status, 404, "{answer:?}");
    has(&answer.json()["error"].to_string(), &["nowhere", "friend, me"]);
    let answer = relay.http("POST", "/friend", &[], &vec![b'x'; 2_000_000]);
    assert_eq!(answer.status, 413, "{answer:?}");
    has(&answer.json()["error"].to_string(), &["larger than 1048576 bytes"]);
    assert_eq!(relay.status()["outbox"]["accepted"], 0, "something was kept");
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_web_page_from_elsewhere_publishes_nothing() {
    let (_nobody, _site, relay) = offline();
    let attacks: [&[(&str, &str)]; 7] = [
        &[("Host", "evil.example")],
        &[("Host", "127.0.0.1.evil.example")],
        &[("Origin", "http://evil.example")],
        &[("Origin", "null")],
        &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")],
        &[
            ("Origin", "http://evil.example"),
            ("Content-Type", "text/plain"),
            ("Sec-Fetch-Site", "cross-site"),
        ],
        &[("Origin", "http://127.0.0.1:1")],
    ];
    for headers in attacks {
        for (method, target) in [
            ("POST", "/friend"),
            ("PUT", "/friend"),
            ("GET", "/friend/publish?message=x"),
            ("GET", "/v1/status"),
        ] {
            let answer = relay.http(method, target, headers, b"");
            assert!(
                matches!(answer.status, 403 | 421),
                "{headers:?} {method} {target}: {answer:?}"
            );
            assert!(
                !answer.head.to_ascii_lowercase().contains("access-control-allow-origin"),
                "{answer:?}"
            );
        }
    }
    assert_eq!(relay.status()["outbox"]["accepted"], 0, "something was kept");
    assert_eq!(relay.stop(), 0);
}

#[test]
fn the_state_and_the_control_socket_are_the_owners_alone() {
    let lab = crate::lab::Lab::start();
    let owner = lab.account("15550100001", "Owner");
    let site = Site::new(&lab.endpoint(), &[("me", &["me"])]);
    let relay = site.start();
    crate::support::pair_by_qr(&site, |code| owner.scan(code).map(drop));
    relay.wait_online();
    let alert = relay.publish("me", "x");
    relay.wait_step(&alert, "sent");
    let mut sockets = 0;
    let mut look = vec![site.state()];
    while let Some(path) = look.pop() {
        let meta = std::fs::symlink_metadata(&path).expect("metadata");
        let (mode, kind) = (meta.permissions().mode() & 0o777, meta.file_type());
        assert_eq!(meta.uid(), rustix::process::geteuid().as_raw());
        if kind.is_dir() {
            // Anybody may leave an alert in the spool, who gets as far as that.
            let expected = if path.ends_with("spool") { 0o733 } else { 0o700 };
            assert_eq!(mode, expected, "{}", path.display());
            let entries = std::fs::read_dir(&path).expect("a directory");
            look.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else {
            assert_eq!(mode, 0o600, "{}", path.display());
            sockets += usize::from(kind.is_socket());
        }
    }
    assert_eq!(sockets, 1);
    assert_eq!(relay.stop(), 0);
    assert!(
        !Path::new(&site.state().join("control.sock")).exists(),
        "the socket stays behind"
    );
}
