//! What stands around the relay when it starts: addresses that cannot be bound, an environment that nobody wrote for it, a
//! state directory and a control socket that others can reach, arguments and streams as scripts bring them.

use std::fs::File;
use std::net::{Ipv6Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::bench::FRIEND;
use crate::support::{SOON, Site, tautline};

/// Where nobody listens: the session's line is no part of these tests.
const NOWHERE: &str = "ws://127.0.0.1:1/ws/chat";

/// A site with one route and these listen addresses.
fn listening_on(listen: &str) -> Site {
    Site::with_config(&format!(
        "[[session]]\nname = \"default\"\nendpoint = \"{NOWHERE}\"\n[[route]]\nname = \"family\"\nto = [\"+{FRIEND}\"]\n\
         [gateway]\nlisten = [{listen}]\n"
    ))
}

/// The text of the health entries with `code`, one below the other.
fn health(status: &Value, code: &str) -> String {
    let entries = status["health"].as_array().into_iter().flatten();
    let texts = entries.filter(|entry| entry["code"] == code);
    let texts: Vec<_> = texts.map(|entry| entry["text"].as_str().unwrap_or_default()).collect();
    texts.join("\n")
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs the test `name` again with networks and mounts of its own, where `prepare` (a shell's lines) has been run; `body`
/// is what it does there. Where the machine does not allow that, it says so.
fn apart(name: &str, prepare: &str, body: impl FnOnce()) {
    const INSIDE: &str = "TAUTLINE_TEST_APART";
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let ways: [&[&str]; 2] = [
        &["--mount", "--net"],
        &["--user", "--map-root-user", "--mount", "--net"],
    ];
    let works = |way: &&&[&str]| {
        let tried = Command::new("unshare")
            .args(**way)
            .args(["sh", "-ec", prepare])
            .output();
        tried.is_ok_and(|output| output.status.success())
    };
    let Some(way) = ways.iter().find(works) else {
        return println!("{name}: not tried: namespaces are not allowed here");
    };
    let status = Command::new("unshare")
        .args(*way)
        .args(["sh", "-ec", &format!("{prepare}\nexec \"$@\""), "sh"])
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .status();
    assert!(status.expect("unshare runs").success(), "{name} failed inside");
}

#[test]
fn without_ipv6_the_other_loopback_is_served() {
    // The second sysctl is for kernels that bring the loopback's address back.
    let prepare = "ip link set lo up\nfor n in all lo; do echo 1 >/proc/sys/net/ipv6/conf/$n/disable_ipv6; done";
    apart("start::without_ipv6_the_other_loopback_is_served", prepare, || {
        let site = listening_on("\"127.0.0.1:0\", \"[::1]:7373\"");
        let relay = site.start();
        let status = relay.status();
        assert_eq!(status["listen"].as_array().map(Vec::len), Some(1), "{status:#}");
        has(&health(&status, "listen-partial"), &["[::1]:7373"]);
        assert_eq!(relay.stop(), 0);

        // The same without a word in the file: both are the default.
        let site = Site::with_config(&format!("[[session]]\nname = \"default\"\nendpoint = \"{NOWHERE}\"\n"));
        let relay = site.start();
        let status = relay.status();
        assert_eq!(status["listen"][0], "127.0.0.1:7373");
        has(&health(&status, "listen-partial"), &["[::1]:7373"]);
        assert_eq!(relay.stop(), 0);

        let output = listening_on("\"[::1]:7373\"").run(&["run"]);
        assert_eq!(output.status.code(), Some(1));
        has(&text_of(&output.stderr), &["cannot listen on [::1]:7373"]);
    });
}

#[test]
fn a_port_that_is_taken_is_told_and_served_when_it_is_free() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let busy = taken.local_addr().expect("it is bound");
    let site = listening_on(&format!("\"127.0.0.1:0\", \"{busy}\""));
    let mut relay = site.start();
    has(
        &health(&relay.status(), "listen-partial"),
        &[&busy.to_string(), "in use"],
    );
    assert_eq!(relay.status()["healthy"].as_bool(), relay.status()["healthy"].as_bool());
    drop(taken);
    let status = relay.wait_status("never served", |status| health(status, "listen-partial").is_empty());
    assert_eq!(status["listen"][1], busy.to_string());
    relay.address = busy;
    assert_eq!(relay.status()["listen"][1], busy.to_string());
    assert_eq!(relay.stop(), 0);

    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let busy = taken.local_addr().expect("it is bound");
    let output = listening_on(&format!("\"{busy}\"")).run(&["run"]);
    assert_eq!(output.status.code(), Some(1));
    has(&text_of(&output.stderr), &["cannot listen on", &busy.to_string()]);
}

#[test]
fn an_address_is_judged_alike_by_the_check_and_the_run() {
    for listen in ["[::ffff:127.0.0.1]:0", "127.0.0.2:0", "[::1%1]:0"] {
        let site = listening_on(&format!("\"{listen}\""));
        assert_eq!(site.run(&["config", "check"]).status.code(), Some(0), "{listen}");
        if listen.starts_with("[::1") && UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
            continue;
        }
        assert_eq!(site.start().stop(), 0, "{listen}");
    }
    for listen in [
        "[::ffff:0.0.0.0]:1",
        "[::ffff:192.0.2.1]:1",
        "0.0.0.0:1",
        "[::]:1",
        "localhost:1",
    ] {
        let site = listening_on(&format!("\"{listen}\""));
        for command in [&["config", "check"][..], &["run"]] {
            assert_eq!(site.run(command).status.code(), Some(78), "{listen} {command:?}");
        }
    }
}

/// A lab build dials loopback endpoints only, past every proxy; so what a proxy's variable does to a line is a test of the
/// configuration. Here it is what must not happen: that the relay does not start, or ends.
#[test]
fn an_environment_that_nobody_wrote_for_it_does_not_keep_it_dark() {
    let site = listening_on("\"127.0.0.1:0\"");
    for (name, value) in [
        ("all_proxy", "socks://127.0.0.1:1"),
        ("HTTPS_PROXY", "https://proxy:1"),
        ("https_proxy", "caf\u{e9}:x"),
        ("no_proxy", "[[["),
        ("RUST_LOG", "no such=level,=,[{"),
        ("TAUTLINE_LOG", "%%%"),
        ("RUST_BACKTRACE", "full"),
        ("TZ", "Mars/Olympus"),
        ("LANG", "xx_YY.UTF-99"),
        ("LC_ALL", "garbage"),
        ("RUNTIME_DIRECTORY", "relative/odd"),
        ("RUNTIME_DIRECTORY", "/nonexistent/odd"),
        ("RUNTIME_DIRECTORY", "/proc"),
        ("XDG_RUNTIME_DIR", "/nonexistent"),
        ("HOME", ""),
        ("HOME", "/nonexistent"),
        ("NOTIFY_SOCKET", "garbage"),
        ("WATCHDOG_USEC", "garbage"),
        ("WATCHDOG_USEC", "0"),
        ("JOURNAL_STREAM", "x:y"),
        ("LISTEN_FDS", "9"),
        ("TMPDIR", "/nonexistent"),
        ("TERM", "\u{1b}[2J"),
    ] {
        let relay = site.start_with(&[(name, value)]);
        assert_eq!(relay.status()["pid"], relay.pid(), "{name}={value}");
        // The commands find it in their own environment.
        let output = site.run(&["status"]);
        assert!(output.status.success(), "{name}={value}: {}", text_of(&output.stderr));
        assert_eq!(relay.stop(), 0, "{name}={value}");
    }
    let output = site
        .command(&["--json", "config", "check"])
        .env("https_proxy", "https://u:secret@proxy")
        .output();
    let output = output.expect("it starts");
    assert!(output.status.success() && !text_of(&output.stdout).contains("secret"));
}

/// The proxy's variable is read for an endpoint that is no loopback; such a one a lab build refuses with words of its own,
/// after the environment has been judged.
#[test]
fn a_proxy_of_the_environment_that_cannot_be_used_is_a_warning_of_the_check() {
    let site = Site::with_config("board = \"generic\"\n");
    let output = site
        .command(&["config", "check"])
        .env("https_proxy", "https://me:secret@proxy:3128")
        .output()
        .expect("it starts");
    let words = text_of(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words}");
    has(
        &words,
        &["warning: $https_proxy", "TLS to the proxy", "without a proxy"],
    );
    assert!(!words.contains("secret"));
}

#[test]
fn no_home_at_all_is_the_home_that_the_list_of_users_names() {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let us = rustix::process::geteuid().as_raw().to_string();
    let listed = users.lines().any(|line| line.split(':').nth(2) == Some(&us));
    let mut command = tautline();
    for name in ["HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"] {
        command.env_remove(name);
    }
    // It looks for the relay there, and finds none or one; what it must not say is that there is no place.
    let output = command.arg("status").output().expect("it starts");
    assert!(
        !listed || output.status.code() != Some(2),
        "{}",
        text_of(&output.stderr)
    );
}

#[test]
fn what_is_no_file_is_refused_as_a_configuration_and_never_waited_for() {
    let site = listening_on("\"127.0.0.1:0\"");
    let pipe = site.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
    let huge = site.path().join("huge");
    File::create(&huge)
        .and_then(|file| file.set_len(1 << 40))
        .expect("a file with a hole");
    for (path, words) in [
        (pipe.as_path(), "is a pipe"),
        (site.path(), "is a directory"),
        (Path::new("/dev/zero"), "is a device"),
        (Path::new("/dev/tty"), "expected a readable file"),
        (&huge, "is larger than"),
        (&site.path().join("missing"), "there is no such file"),
    ] {
        for command in [&["config", "check"][..], &["config", "print"], &["run"]] {
            let began = Instant::now();
            let output = tautline()
                .arg("--config")
                .arg(path)
                .args(command)
                .stdin(Stdio::null())
                .output()
                .expect("it starts");
            assert_eq!(output.status.code(), Some(78), "{path:?} {command:?}");
            has(&text_of(&output.stderr), &[words]);
            assert!(began.elapsed() < SOON);
        }
    }
}
