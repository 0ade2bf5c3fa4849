//! The commands as scripts see them: the binary against a gateway, exit codes, stdout and stderr.

mod publish;
mod waiting;

use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};

use crate::gate::{Bench, FakeRelay, until};
use tautline::gateway::api::*;
use tautline::gateway::{Limits, Refusal};
use tautline::outbox::Step;

fn tautline(state: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tautline"));
    // Nothing of the box that the test runs on.
    command.env_clear().env("HOME", state).arg("--state").arg(state);
    command.stdin(Stdio::null());
    command
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let ran = Self {
            code: output.status.code().expect("ended by a signal"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        ran
    }
}

fn run(bench: &Bench, args: &[&str]) -> Ran {
    tautline(bench.state.path()).args(args).output().unwrap().into()
}

#[track_caller]
fn ends(bench: &Bench, args: &[&str], code: i32, word: &str) -> Ran {
    let ran = run(bench, args);
    assert_eq!(ran.code, code, "{args:?}: {}{}", ran.out, ran.err);
    assert!(ran.err.contains(word), "{args:?}: {word:?} not in {}", ran.err);
    ran
}

#[test]
fn publish_prints_the_id_and_hands_everything_over() {
    let bench = Bench::new();
    let args = [
        "publish",
        "--to",
        "ops",
        "-t",
        "Disk ü\n&",
        "-p",
        "high",
        "--tag",
        "warning",
        "--tag",
        "skull",
        "is",
        "full",
    ];
    let ran = ends(&bench, &args, 0, "");
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("AAAAAAAA0000\n", ""));
    let (route, alert) = bench.relay.taken().remove(0);
    assert_eq!(
        (route.as_str(), alert.text.as_str(), alert.title.as_str()),
        ("ops", "is full", "Disk ü &")
    );
    assert_eq!(
        (u8::from(alert.priority), alert.tags),
        (4, vec!["warning".to_owned(), "skull".into()])
    );

    let json = ends(&bench, &["--json", "publish", "--to", "ops", "x"], 0, "").out;
    let published: Published = serde_json::from_str(&json).unwrap();
    assert_eq!(published.id, "AAAAAAAA0001");
    let again = ends(&bench, &["publish", "--to", "ops", "--key", "k", "x"], 0, "").out;
    assert_eq!(
        again,
        ends(&bench, &["publish", "--to", "ops", "--key", "k", "x"], 0, "").out
    );
    assert_eq!(bench.relay.taken().len(), 3);
    bench.relay.warn("session default is not paired");
    ends(
        &bench,
        &["publish", "--to", "ops", "x"],
        0,
        "warning: session default is not paired",
    );
}

#[test]
fn publish_reads_standard_input() {
    let bench = Bench::new();
    let feed = |bytes: &[u8]| -> Ran {
        let mut child = tautline(bench.state.path())
            .args(["publish", "--to", "ops", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may refuse before it has read everything.
        let _ = child.stdin.take().unwrap().write_all(bytes);
        child.wait_with_output().unwrap().into()
    };
    assert_eq!(feed(b"two\nlines\n\n").code, 0);
    assert_eq!(bench.relay.taken()[0].1.text, "two\nlines");
    assert_eq!(feed(b" \n").code, 2);
    // What is too long is cut, and it is said; only what no text is long enough for is refused.
    let cut = feed(&vec![b'x'; 65 * 1024]);
    assert_eq!(cut.code, 0);
    assert!(cut.err.contains("was cut to"), "{}", cut.err);
    let refused = feed(&vec![b'x'; 1024 * 1024 + 1]);
    assert_eq!(refused.code, 4);
    assert!(refused.err.contains("larger"), "{}", refused.err);
    let before = bench.relay.taken().len();
    assert_eq!(before, 2);
    assert_eq!(feed(b"disk \xff full").code, 0);
    assert_eq!(feed("half a ü".as_bytes().split_last().unwrap().1).code, 0);
    let texts: Vec<_> = bench
        .relay
        .taken()
        .into_iter()
        .skip(before)
        .map(|(_, alert)| alert.text)
        .collect();
    assert_eq!(texts, ["disk ÿ full", "half a \u{fffd}"]);
}

#[test]
fn without_to_the_only_route_is_meant() {
    let several = Bench::new();
    ends(&several, &["publish", "x"], 2, "family, ops");
    let one = Bench::with(FakeRelay::new(&["family"]), Limits::default());
    ends(&one, &["publish", "x"], 0, "");
    assert_eq!(one.relay.taken()[0].0, "family");
    let none = Bench::with(FakeRelay::new(&[]), Limits::default());
    ends(&none, &["publish", "x"], 2, "no route");
}

#[test]
fn a_wrong_command_line_is_2_and_sends_nothing() {
    let bench = Bench::new();
    for (args, word) in [
        (&["publish"][..], "TEXT"),
        (&["publish", "--to", "ops", ""], "empty"),
        (&["publish", "--to", "../v1/status", "x"], "route name"),
        (&["publish", "--to", "ops", "--wait=soon", "x"], "soon"),
        (&["publish", "--to", "ops", "--timeout", "long", "x"], "long"),
        (&["queue", "show", "../chats"], "no alert's id"),
        (&["queue", "list", "--limit", "0"], "0"),
        (&["pair", "--code", "0155"], "country code"),
        (&["pair", "--code", "+15550100", "--raw"], "--raw"),
        (&["pair", "--session", "a/b"], "session name"),
        (&["frobnicate"], "frobnicate"),
        (&["completions", "tcsh"], "tcsh"),
    ] {
        ends(&bench, args, 2, word);
    }
    assert!(bench.relay.taken().is_empty());
    assert!(bench.relay.pairings().is_empty());
}

#[test]
fn no_relay_is_3_and_says_where_it_was_looked_for() {
    let nobody = tempfile::tempdir().unwrap();
    // `pair` is not among them: without a relay it pairs by itself.
    for args in [&["publish", "x"][..], &["status"], &["queue"], &["chats"]] {
        let ran: Ran = tautline(nobody.path()).args(args).output().unwrap().into();
        assert_eq!(ran.code, 3, "{args:?}");
        let socket = nobody.path().join("control.sock");
        assert!(
            ran.err.contains(&format!("{} (not there)", socket.display())),
            "{}",
            ran.err
        );
        assert!(ran.err.contains("tautline run"));
        assert_eq!(ran.out, "");
    }
}

#[test]
fn a_relay_is_found_in_the_runtime_directory() {
    let bench = Bench::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = tautline(elsewhere.path());
    let ran: Ran = command
        .env("RUNTIME_DIRECTORY", bench.state.path())
        .arg("status")
        .output()
        .unwrap()
        .into();
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn a_refusal_is_4_with_the_relays_words() {
    let bench = Bench::new();
    ends(
        &bench,
        &["publish", "--to", "nobody", "x"],
        4,
        "the routes are family, ops",
    );
    bench.relay.refuse(Some(Refusal::Full("the outbox is full".into())));
    ends(&bench, &["publish", "--to", "ops", "x"], 4, "the outbox is full");
    ends(&bench, &["queue", "show", "AAAAAAAA9999"], 4, "AAAAAAAA9999");
    ends(&bench, &["chats", "--session", "other"], 4, "other");
}

#[test]
fn wait_ends_as_the_delivery_does() {
    let bench = Bench::new();
    let publish = |extra: &[&str]| {
        let mut args = vec!["publish", "--to", "ops", "x"];
        args.extend(extra);
        let mut command = tautline(bench.state.path());
        command
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    for (extra, step, note, code, word) in [
        (&["--wait"][..], Step::Sent, "", 0, ""),
        (&["--wait=delivered"], Step::Read, "", 0, ""),
        (&["--wait=read"], Step::Failed, "not on WhatsApp", 1, "not on WhatsApp"),
    ] {
        let child = publish(extra);
        until("the wait", || bench.relay.waiting() == 1);
        let id = format!("AAAAAAAA{:04}", bench.relay.taken().len() - 1);
        bench.relay.advance(&id, step, note);
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert_eq!((ran.code, ran.out), (code, format!("{id}\n")), "{extra:?} {}", ran.err);
        assert!(ran.err.contains(word), "{}", ran.err);
    }
    let ran = ends(
        &bench,
        &["publish", "--to", "ops", "--wait", "--timeout", "20ms", "x"],
        6,
        "not sent within 20ms",
    );
    assert_eq!(ran.out, "AAAAAAAA0003\n");
    // An earlier step than the one asked for is not enough.
    let child = publish(&["--wait=delivered", "--timeout", "300ms"]);
    until("the wait", || bench.relay.waiting() == 1);
    bench.relay.advance("AAAAAAAA0004", Step::Sent, "");
    assert_eq!(Ran::from(child.wait_with_output().unwrap()).code, 6);
    bench.relay.warn("session default is not paired");
    let ran = ends(
        &bench,
        &["publish", "--to", "ops", "--wait", "--timeout", "1h", "x"],
        5,
        "not paired",
    );
    assert_eq!(ran.out, "AAAAAAAA0005\n");
}

#[test]
fn status_shows_what_the_relay_does_and_json_is_the_api() {
    let bench = Bench::new();
    bench.relay.problem("session default is not paired");
    let ran = ends(&bench, &["status"], 0, "");
    for shown in [
        "not healthy",
        "session default  online  +…00",
        "websocket    proof of life 4s ago",
        "next         websocket ping in 8s",
        "1 waiting, 2 sent, 3 delivered, 4 read, 5 failed",
        "error: session default is not paired [session-unpaired]",
    ] {
        assert!(ran.out.contains(shown), "{shown}\n{}", ran.out);
    }
    assert!(!ran.out.contains('\u{1b}'), "{:?}", ran.out);
    let status: Status = serde_json::from_str(&ends(&bench, &["status", "--json"], 0, "").out).unwrap();
    assert_eq!(status.pid, 4711);
}

/// One entry of each kind, the first with everything in it.
fn history() -> [HistoryEntry; 2] {
    let ended = serde_json::json!({
        "kind": "line-ended", "session": "default", "at": 1_700_000_060_000_u64, "first_at": 1_700_000_000_000_u64,
        "times": 3, "cause": "pong-timeout", "words": "a ping went unanswered", "origin": "us",
        "verdict": "redial now", "detail": "words \u{1b}[31m of <b>another</b>", "guess": "a NAT forgets the flow",
        "logged_in": true, "held_ms": 60_400, "hold_until_at": 1_700_000_120_000_u64,
        "proof_ages_ms": {"tcp": 20_000, "websocket": null, "application": 21_000, "content": 300},
        "unanswered_ms": {"tcp": null, "websocket": null, "application": 8_000, "content": null},
        "lag_max_ms": 1200, "stalls": 2, "slept_ms": 61_000, "clock_steps": 2, "clock_stepped_ms": -7000,
        "acks_owed": 1, "ack_owed_oldest_ms": 99, "bytes_in": 4096, "bytes_out": 512, "failures": 4,
        "cadence": "3 lines in a row ended after about 60 s: a NAT forgets the flow",
    });
    let started = serde_json::json!({
        "kind": "relay-started", "at": 1_700_000_200_000_u64, "first_at": 1_700_000_200_000_u64, "times": 1,
        "version": "0.1.0", "before": "vanished-with-host", "before_at": null,
        "words": "the relay started (version 0.1.0); the last run ended without a goodbye, and the host with it",
    });
    [ended, started].map(|entry| serde_json::from_value(entry).unwrap())
}

#[test]
fn the_history_is_told_in_plain_words_within_100_columns() {
    let bench = Bench::new();
    let ran = ends(&bench, &["status", "--history"], 0, "no line has ended yet");
    assert_eq!(ran.out, "");
    for entry in history() {
        bench.relay.line(entry);
    }
    let ran = ends(&bench, &["status", "--history"], 0, "");
    let told = "\
TIME (UTC)           SESSION  WHAT
2023-11-14 22:14:20  default  held 1m: a ping went unanswered [us]; redial now; 3 times since
                              2023-11-14 22:13:20
                                probably: a NAT forgets the flow
                                in its own words: words [31m of <b>another</b>
                                no other try before 2023-11-14 22:15:20
                                last proof of life: tcp 20s, websocket none, application 21s,
                                content 300ms
                                unanswered: application 8s
                                the host slept 1m 1s, this program was late 2 times, by 1s at most,
                                the clock stepped 2 times, 7s back in all, owed acks: 1, 4096 bytes
                                in, 512 out
2023-11-14 22:16:40           the relay started (version 0.1.0); the last run ended without a
                              goodbye, and the host with it
";
    assert_eq!(ran.out, told);
    assert!(ran.out.lines().all(|line| line.chars().count() <= 100));
    let ran = ends(&bench, &["status", "--history", "--limit", "1", "--json"], 0, "");
    let entries: Vec<HistoryEntry> = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(entries, history()[1..]);
    ends(&bench, &["status", "--history", "--session", "default"], 0, "");
    ends(
        &bench,
        &["status", "--history", "--session", "other"],
        4,
        "no session is named \"other\"",
    );
    for wrong in [
        &["status", "--limit", "3"][..],
        &["status", "--session", "default"],
        &["status", "--history", "--watch"],
        &["status", "--history", "--limit", "0"],
        &["status", "--history", "--session", "a b"],
    ] {
        ends(&bench, wrong, 2, "");
    }
}

#[test]
fn the_history_over_http_is_the_same_and_bad_questions_are_told_so() {
    let bench = Bench::new();
    for entry in history() {
        bench.relay.line(entry);
    }
    let entries: Vec<HistoryEntry> = bench.tcp("GET", "/v1/lines?session=default&limit=2", "", "").json();
    assert_eq!(entries, history());
    assert_eq!(bench.tcp("HEAD", "/v1/lines", "", "").status, 200);
    assert!(
        bench
            .tcp("GET", "/v1/lines?limit=0", "", "")
            .error(400)
            .error
            .contains("1 to 1000")
    );
    assert!(
        bench
            .tcp("GET", "/v1/lines?limit=1001", "", "")
            .error(400)
            .error
            .contains("1001")
    );
    assert!(
        bench
            .tcp("GET", "/v1/lines?session=nobody", "", "")
            .error(404)
            .error
            .contains("nobody")
    );
    bench.tcp("GET", "/v1/lines?session=%00", "", "").error(404);
    bench.tcp("POST", "/v1/lines", "", "").error(405);
    let page = bench.tcp("GET", "/", "", "").body;
    assert!(
        page.contains("held 1m: a ping went unanswered [us]; redial now; 3 times since"),
        "{page}"
    );
    assert!(
        page.contains("of &lt;b&gt;another&lt;/b&gt;") && !page.contains("<b>another"),
        "{page}"
    );
    assert!(page.contains("without a goodbye, and the host with it"), "{page}");
}

#[test]
fn the_queue_is_listed_shown_and_handled() {
    let bench = Bench::new();
    ends(&bench, &["queue"], 0, "no alerts");
    let sent = bench.relay.put("one\n\u{1b}[31mred", Step::Sent);
    let waits = bench.relay.put("two", Step::Accepted);
    let listed = ends(&bench, &["queue"], 0, "").out;
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("ID") && lines[1].starts_with(&waits) && lines[2].starts_with(&sent));
    assert!(lines[2].ends_with("one  [31mred"), "{listed:?}");
    let at = lines[0].find("STATE").unwrap();
    assert!(lines[1][at..].starts_with("waiting") && lines[2][at..].starts_with("sent"));
    let pending: Vec<AlertView> =
        serde_json::from_str(&ends(&bench, &["queue", "list", "--pending", "--json"], 0, "").out).unwrap();
    assert_eq!(pending.len(), 1);
    let shown = ends(&bench, &["queue", "show", &sent], 0, "").out;
    assert!(shown.contains("3EB0AA") && !shown.contains('\u{1b}'), "{shown:?}");
    assert!(
        shown.contains("2023-11-14 22:13:20.123  sent again by hand  +15550100"),
        "{shown}"
    );
    ends(&bench, &["queue", "drop", &sent], 4, "sent already");
    assert_eq!(
        ends(&bench, &["queue", "drop", &waits], 0, "").out,
        format!("{waits} failed\n")
    );
    assert_eq!(
        ends(&bench, &["queue", "retry", &sent], 0, "").out,
        format!("{sent} sent\n")
    );
}

#[test]
fn chats_are_listed() {
    let bench = Bench::new();
    let out = ends(&bench, &["chats"], 0, "").out;
    assert!(out.contains("120363000000000001@g.us  group  default  Family"), "{out}");
    assert!(!out.contains('\u{1b}'));
    let chats: Vec<Chat> = serde_json::from_str(&ends(&bench, &["chats", "--json"], 0, "").out).unwrap();
    assert_eq!(chats[0].kind, "group");
}

#[test]
fn pairing_by_raw_lines_by_picture_and_by_code() {
    let qr = |payload: &str| PairEvent::Qr {
        payload: payload.into(),
        valid_ms: 20_000,
    };
    let paired = || PairEvent::Paired {
        account: "+…00".into()
    };
    let raw = Bench::new();
    for event in [qr("2@one"), qr("2@two"), paired()] {
        raw.relay.pair_event(event);
    }
    assert_eq!(
        ends(&raw, &["pair", "--raw"], 0, "unofficial client").out,
        "2@one\n2@two\n"
    );

    let failed = Bench::new();
    failed.relay.pair_event(PairEvent::Failed {
        reason: "nobody scanned".into(),
    });
    ends(&failed, &["pair", "--raw"], 1, "nobody scanned");
    let ended = Bench::new();
    ended.relay.pair_ends();
    ends(&ended, &["pair"], 1, "without a result");

    let picture = Bench::new();
    for event in [qr("2@one"), paired()] {
        picture.relay.pair_event(event);
    }
    let shown = ends(&picture, &["pair"], 0, "Linked devices").out;
    assert!(
        shown.lines().count() > 10 && shown.contains('▀') && !shown.contains('\u{1b}'),
        "{shown}"
    );

    let code = Bench::new();
    let event = PairEvent::Code {
        code: "ABCD-EFGH".into(),
        valid_ms: 160_000,
    };
    for event in [event, paired()] {
        code.relay.pair_event(event);
    }
    assert_eq!(
        ends(&code, &["pair", "--code", "+1 555 0100"], 0, "2m 40s").out,
        "ABCD-EFGH\n"
    );
    assert_eq!(code.relay.pairings(), [Some("15550100".to_owned())]);
    ends(&code, &["pair", "--session", "other"], 4, "other");
}

#[test]
fn a_list_that_is_not_all_says_so() {
    let bench = Bench::new();
    for _ in 0..50 {
        bench.relay.put("x", Step::Accepted);
    }
    assert_eq!(ends(&bench, &["queue"], 0, "").err, "");
    bench.relay.put("x", Step::Sent);
    let more = |args: &[&str], rows: usize, words: &str| {
        let ran = ends(&bench, args, 0, words);
        assert_eq!(
            (ran.out.lines().count(), ran.err.is_empty()),
            (rows + 1, words.is_empty()),
            "{}",
            ran.err
        );
    };
    more(&["queue"], 50, "older ones: `tautline queue list --limit 1000`");
    more(&["queue", "list", "--pending"], 50, "");
    more(
        &["queue", "list", "--pending", "--limit", "49"],
        49,
        "list --pending --limit 1000`",
    );
    more(&["queue", "list", "--limit", "51"], 51, "");
    let ran = ends(&bench, &["queue", "--json"], 0, "");
    let listed: Vec<AlertView> = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((listed.len(), ran.err.as_str()), (50, ""));
    for _ in 51..999 {
        bench.relay.put("x", Step::Sent);
    }
    more(&["queue", "list", "--limit", "1000"], 999, "");
    more(&["queue", "list", "--limit", "999"], 999, "");
    bench.relay.put("x", Step::Sent);
    more(&["queue", "list", "--limit", "999"], 999, "there are older ones");
    more(&["queue", "list", "--limit", "1000"], 1000, "at most 1000");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let bench = Bench::new();
    for _ in 0..500 {
        bench.relay.put(&"x".repeat(200), Step::Sent);
    }
    for args in [
        &["queue", "list", "--limit", "500", "--json"][..],
        &["completions", "bash"],
        &["man"],
        &["status"],
    ] {
        let mut child = tautline(bench.state.path())
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Closed before anything is written, or in the middle of it.
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn completions_and_the_manual_know_every_command() {
    let nobody = tempfile::tempdir().unwrap();
    let commands = [
        "run",
        "pair",
        "publish",
        "status",
        "queue",
        "chats",
        "boards",
        "config",
        "completions",
        "man",
    ];
    for args in [
        &["completions", "bash"][..],
        &["completions", "zsh"],
        &["completions", "fish"],
        &["man"],
        &["--help"],
    ] {
        let ran: Ran = tautline(nobody.path()).args(args).output().unwrap().into();
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
        for command in commands {
            assert!(ran.out.contains(command), "{args:?} {command}");
        }
    }
}
