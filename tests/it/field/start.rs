//! What stands around the relay when it starts: addresses that cannot be bound, an environment that nobody wrote for
//! it, a state directory and a control socket that others can reach, arguments and streams as scripts bring them.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::net::{Ipv6Addr, TcpListener, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::bench::{Bench, FRIEND};
use crate::lab::Lab;
use crate::support::{Relay, SOON, Site, tautline};

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

/// Runs the test `name` again with networks and mounts of its own, where `prepare` (a shell's lines) has been run;
/// `body` is what it does there. Where the machine does not allow that, it says so.
pub(super) fn apart(name: &str, prepare: &str, body: impl FnOnce()) {
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
    apart(
        "field::start::without_ipv6_the_other_loopback_is_served",
        prepare,
        || {
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
        },
    );
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

/// A lab build dials loopback endpoints only, past every proxy; so what a proxy's variable does to a line is a test of
/// the configuration. Here it is what must not happen: that the relay does not start, or ends.
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

/// The proxy's variable is read for an endpoint that is no loopback; such a one a lab build refuses with words of its
/// own, after the environment has been judged.
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

/// Runs `publish --to family` with these arguments and what is given on standard input; what became of it.
fn publish(site: &Site, args: &[&OsStr], input: &[u8], out: Stdio) -> Output {
    let mut child = site
        .command(&["publish", "--to", "family"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(out)
        .stderr(Stdio::piped())
        .spawn()
        .expect("publish starts");
    // It may not read it.
    let _ = child.stdin.take().expect("stdin").write_all(input);
    child.wait_with_output().expect("it ends")
}

/// The alert that a command has published, as the relay has it.
fn alert_of(relay: &Relay, output: &Output) -> Value {
    let id = text_of(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    relay.http("GET", &format!("/v1/alerts/{}", id.trim()), &[], b"").json()
}

#[test]
fn a_text_is_sent_whatever_its_bytes_and_its_first_character() {
    let site = listening_on("\"127.0.0.1:0\"");
    let relay = site.start();
    for (input, text) in [
        (&b"disk \xff full"[..], "disk ÿ full"),
        ("Grüße \u{1f525}".as_bytes(), "Grüße \u{1f525}"),
        (b"half a \xc3", "half a \u{fffd}"),
        (b"\xff", "ÿ"),
    ] {
        let output = publish(&site, &[OsStr::new("-")], input, Stdio::piped());
        assert_eq!(alert_of(&relay, &output)["text"], text);
    }
    let output = publish(&site, &[OsStr::from_bytes(b"disk \xff full")], b"", Stdio::piped());
    assert_eq!(alert_of(&relay, &output)["text"], "disk ÿ full");
    let title = OsStr::from_bytes(b"\xfcber");
    let output = publish(&site, &[OsStr::new("-t"), title, OsStr::new("x")], b"", Stdio::piped());
    assert_eq!(alert_of(&relay, &output)["title"], "über");

    for text in [
        "- disk full",
        "-5",
        "--- x",
        "---",
        "-5 °C",
        "-→ x",
        "--5",
        "--no such option",
    ] {
        let output = publish(&site, &[OsStr::new(text)], b"", Stdio::piped());
        assert_eq!(alert_of(&relay, &output)["text"], text);
        let output = publish(
            &site,
            &["-t", "- title", text, "-p", "5"].map(OsStr::new),
            b"",
            Stdio::piped(),
        );
        let alert = alert_of(&relay, &output);
        assert_eq!((&alert["text"], &alert["title"]), (&text.into(), &"- title".into()));
        assert_eq!(alert["priority"], 5);
    }
    let output = publish(
        &site,
        &["-t", "x", "--", "--to", "-x"].map(OsStr::new),
        b"",
        Stdio::piped(),
    );
    assert_eq!(alert_of(&relay, &output)["text"], "--to -x");
    // What looks like an option is one, and a wrong one is told.
    for wrong in ["--tilte", "-x", "--tilte=5"] {
        let output = publish(&site, &[OsStr::new(wrong), OsStr::new("x")], b"", Stdio::piped());
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        // Without its value.
        let name = wrong.split('=').next().unwrap_or_default();
        has(&text_of(&output.stderr), &["unexpected argument", name]);
    }
    assert_eq!(relay.stop(), 0);
}

#[test]
fn what_is_too_long_beside_the_text_is_cut_with_a_warning() {
    let site = listening_on("\"127.0.0.1:0\"");
    let relay = site.start();
    let (title, wide) = ("t".repeat(64 * 1024), "\u{1f525}".repeat(1024));
    for title in [title.as_str(), &wide] {
        let mut args = vec!["-t", title];
        args.extend(std::iter::repeat_n(["--tag", "ä-tag-of-some-length"], 64).flatten());
        args.push("text");
        let args: Vec<_> = args.into_iter().map(OsStr::new).collect();
        let output = publish(&site, &args, b"", Stdio::piped());
        let alert = alert_of(&relay, &output);
        assert_eq!(alert["text"], "text");
        assert!(
            alert["title"].as_str().is_some_and(|title| title.chars().count() > 500),
            "{alert:#}"
        );
        has(&text_of(&output.stderr), &["warning", "title"]);
    }
    let (one, two) = ("k".repeat(70_000), format!("{}x", "k".repeat(70_000)));
    let ids: Vec<_> = [&one, &two, &one]
        .iter()
        .map(|key| publish(&site, &["--key", key, "text"].map(OsStr::new), b"", Stdio::piped()))
        .map(|output| alert_of(&relay, &output)["id"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert!(ids[0] == ids[2] && ids[0] != ids[1], "{ids:?}");
    assert_eq!(relay.stop(), 0);
}

#[test]
fn what_is_done_is_not_called_failed_for_an_output_that_cannot_be_written() {
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").expect("it is there"));
    let site = listening_on("\"127.0.0.1:0\"");
    let relay = site.start();
    let text = [OsStr::new("x")];
    for args in [&text[..], &["--json", "x"].map(OsStr::new)] {
        let output = publish(&site, args, b"", full());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        has(&text_of(&output.stderr), &["accepted as", "cannot write to stdout"]);
    }
    let alerts = relay.http("GET", "/v1/alerts", &[], b"").json();
    assert_eq!(alerts.as_array().map(Vec::len), Some(2));
    let id = alerts[0]["id"].as_str().expect("an id").to_owned();
    for verb in ["retry", "drop"] {
        let output = site
            .command(&["queue", verb, &id])
            .stdout(full())
            .output()
            .expect("it starts");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        has(&text_of(&output.stderr), &["it is done", &id]);
    }
    // Nothing is done by these.
    let output = site.command(&["status"]).stdout(full()).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));

    // Streams that are closed: nothing hangs or panics, and the alert is taken.
    for (closed, code) in [(">&-", 0), ("2>&-", 0), (">&- 2>&- <&-", 0)] {
        let command = site.command(&["publish", "--to", "family", "closed"]);
        let output = Command::new("sh")
            .args(["-c", &format!("exec \"$0\" \"$@\" {closed}")])
            .arg(command.get_program())
            .args(command.get_args())
            .output()
            .expect("sh starts");
        assert_eq!(output.status.code(), Some(code), "{closed}: {output:?}");
    }
    let command = site.command(&["publish", "--to", "family", "-"]);
    let output = Command::new("sh")
        .args(["-c", "exec \"$0\" \"$@\" <&-"])
        .arg(command.get_program())
        .args(command.get_args())
        .output()
        .expect("sh starts");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    has(&text_of(&output.stderr), &["empty"]);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_control_socket_that_is_taken_away_comes_back() {
    let site = listening_on("\"127.0.0.1:0\"");
    let relay = site.start();
    let socket = site.state().join("control.sock");
    let away: [&dyn Fn(); 2] = [&|| std::fs::remove_file(&socket).expect("removed"), &|| {
        std::fs::rename(&socket, site.state().join("away")).expect("renamed")
    }];
    for take in away {
        take();
        relay.wait_status("never made again", |status| {
            health(status, "control-socket").contains("made again") && UnixStream::connect(&socket).is_ok()
        });
        assert!(site.run(&["status"]).status.success());
        let mode = std::fs::metadata(&socket).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(relay.stop(), 0);
    assert!(!socket.exists());
}

#[test]
fn a_socket_of_another_user_in_the_state_is_not_talked_to_and_is_replaced() {
    if !rustix::process::geteuid().is_root() {
        return println!("not tried: only root makes files of other users");
    }
    let site = listening_on("\"127.0.0.1:0\"");
    std::fs::create_dir(site.state()).expect("the state");
    let socket = site.state().join("control.sock");
    let _theirs = UnixListener::bind(&socket).expect("a socket");
    if chown(&socket, Some(1234), None).is_err() {
        return println!("not tried: there is no other user here");
    }
    let output = site.run(&["publish", "--to", "family", "x"]);
    assert_eq!(output.status.code(), Some(3));
    has(&text_of(&output.stderr), &["belongs to user 1234", "not trusted"]);
    let relay = site.start();
    assert!(site.run(&["status"]).status.success());
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_state_that_others_may_write_is_put_right() {
    let site = listening_on("\"127.0.0.1:0\"");
    std::fs::create_dir(site.state()).expect("the state");
    for mode in [0o777, 0o770, 0o1777] {
        std::fs::set_permissions(site.state(), Permissions::from_mode(mode)).expect("a mode");
        let relay = site.start();
        let found = std::fs::metadata(site.state()).expect("it is there").mode();
        assert_eq!(found & 0o7777, 0o700, "{mode:o}");
        has(&relay.read_log(), &["others could write into the state"]);
        assert_eq!(relay.stop(), 0);
    }
}

/// One that answers nothing, as a dead server behind a switch; and another that answers.
fn name_servers() {
    let silent = UdpSocket::bind("127.0.0.1:53").expect("port 53 of a network of its own");
    let good = UdpSocket::bind("127.0.0.2:53").expect("port 53 of a network of its own");
    std::mem::forget(silent);
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = good.recv_from(&mut question) {
            let mut answer = question[..length].to_vec();
            // The question alone, without what an EDNS option adds.
            let name_end = 12 + answer[12..].iter().position(|byte| *byte == 0).unwrap_or(0) + 1;
            answer.truncate(name_end + 4);
            let is_a = answer[name_end..name_end + 2] == [0, 1];
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
            if is_a {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            }
            let _ = good.send_to(&answer, from);
        }
    });
}

#[test]
fn a_dead_first_name_server_costs_one_attempt() {
    let prepare = "ip link set lo up\nd=$(mktemp -d)\nprintf 'nameserver 127.0.0.1\\nnameserver 127.0.0.2\\n' >$d/r\n\
                   mount --bind $d/r /etc/resolv.conf\n: >$d/h\nmount --bind $d/h /etc/hosts";
    apart(
        "field::start::a_dead_first_name_server_costs_one_attempt",
        prepare,
        || {
            name_servers();
            let lab = Lab::start();
            let endpoint = format!("ws://localhost:{}/ws/chat", lab.addr().port());
            let (_bench, relay) = Bench::with(lab, &endpoint, "wsl2", None).go_online();
            // One attempt that did not wait long enough, one to pair, and one after it; each look-up is as slow.
            assert!(relay.lines() <= 6, "{:#}\n{}", relay.status(), relay.read_log());
        },
    );
}
