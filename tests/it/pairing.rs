//! Every way to link an account, and what comes after it: kills, logouts, linking again.

use std::io::{BufRead, BufReader, Lines, Read};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use crate::bench::{Bench, OWNER};
use crate::support::{Relay, SOON, Site};

/// A running `tautline pair …`.
struct Pairing {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Pairing {
    fn start(site: &Site, args: &[&str]) -> Self {
        let mut child = site
            .command(&[&["pair"], args].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("pair starts");
        let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        Self { child, lines }
    }

    /// The next line on stdout.
    fn line(&mut self) -> String {
        self.lines.next().expect("another line").expect("a line")
    }

    /// Exit code, the rest of stdout, stderr.
    fn end(mut self) -> (Option<i32>, Vec<String>, String) {
        let rest = self.lines.by_ref().map_while(Result::ok).collect();
        let mut words = String::new();
        let _ = self.child.stderr.take().expect("stderr").read_to_string(&mut words);
        (self.child.wait().expect("it ends").code(), rest, words)
    }
}

fn state(relay: &Relay, wanted: &str) -> serde_json::Value {
    relay.wait_status(wanted, |status| status["sessions"][0]["state"] == wanted)
}

/// Online and delivering.
fn works(bench: &Bench, relay: &Relay) {
    relay.wait_online();
    let alert = relay.publish("friend", "it works");
    relay.wait_step(&alert, "delivered");
    bench.assert_quiet();
}

#[test]
fn by_a_code_with_a_relay() {
    let bench = Bench::unpaired();
    let relay = bench.site.start();
    let mut pairing = Pairing::start(&bench.site, &["--code", &format!("+{OWNER}")]);
    let code = pairing.line();
    assert_eq!(code.len(), "ABCD-EFGH".len(), "{code}");
    bench.owner.enter_code(&code).expect("the phone takes the code");
    let (exit, rest, words) = pairing.end();
    assert_eq!((exit, rest), (Some(0), Vec::new()), "{words}");
    assert!(
        words.contains("Link with phone number instead") && words.contains("paired: +"),
        "{words}"
    );
    assert!(!words.contains(OWNER), "the number is in {words}");
    works(&bench, &relay);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn by_a_code_without_a_relay() {
    let bench = Bench::unpaired();
    let mut pairing = Pairing::start(&bench.site, &["--code", &format!("+{OWNER}")]);
    let code = pairing.line();
    bench.owner.enter_code(&code).expect("the phone takes the code");
    let (exit, rest, words) = pairing.end();
    assert_eq!((exit, rest), (Some(0), Vec::new()), "{words}");
    works(&bench, &bench.site.start());
}

#[test]
fn by_qr_without_a_relay_and_twice_is_refused() {
    let bench = Bench::unpaired();
    bench.pair();
    let alone = bench.site.run(&["pair", "--raw"]);
    let relay = bench.site.start();
    works(&bench, &relay);
    let asked = bench.site.run(&["pair", "--raw"]);
    for output in [alone, asked] {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{words}");
        assert!(words.contains("is paired already"), "{words}");
    }
    let nobody = bench.site.run(&["pair", "--session", "nobody"]);
    assert_eq!(nobody.status.code(), Some(4), "{nobody:?}");
    assert_eq!(relay.stop(), 0);
    let nobody = bench.site.run(&["pair", "--session", "nobody"]);
    assert_eq!(nobody.status.code(), Some(4), "{nobody:?}");
}

#[test]
fn who_leaves_while_pairing_can_come_back() {
    let bench = Bench::unpaired();
    let relay = bench.site.start();
    for _ in 0..3 {
        let mut pairing = Pairing::start(&bench.site, &["--raw"]);
        assert!(pairing.line().contains(','));
        pairing.child.kill().expect("killed");
        pairing.end();
    }
    // Two at once see the same code, and both are told.
    let mut first = Pairing::start(&bench.site, &["--raw"]);
    let mut second = Pairing::start(&bench.site, &["--json"]);
    let payload = first.line();
    let event: serde_json::Value = serde_json::from_str(&second.line()).expect("JSON");
    assert!(event.to_string().contains(&payload), "{event}");
    bench.owner.scan(&payload).expect("scanned");
    assert_eq!(first.end().0, Some(0));
    assert_eq!(second.end().0, Some(0));
    works(&bench, &relay);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_kill_after_linking_and_before_the_first_login_is_survived() {
    let bench = Bench::unpaired();
    let relay = bench.site.start();
    let payload = Pairing::start(&bench.site, &["--raw"]).line();
    // The line that shows the code is up; the one after it will hang.
    bench.lab.faults().mute_handshake(true);
    bench.owner.scan(&payload).expect("scanned");
    relay.wait_status("not linked", |status| !status["sessions"][0]["account"].is_null());
    relay.kill();
    bench.lab.faults().calm();
    let relay = bench.site.start();
    works(&bench, &relay);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_kill_at_any_moment_of_linking_leaves_it_linked_or_not() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut linked = 0;
    for _ in 0..10 {
        let bench = Bench::unpaired();
        let relay = bench.site.start();
        let payload = Pairing::start(&bench.site, &["--raw"]).line();
        let life = Duration::from_micros(random.u64(0..30_000));
        std::thread::scope(|scope| {
            // A companion that dies half-way leaves the phone waiting for it, and that is not looked at here.
            let (owner, payload) = (bench.owner.clone(), payload.clone());
            std::thread::spawn(move || owner.scan(&payload));
            scope.spawn(move || {
                std::thread::park_timeout(life);
                relay.kill();
            });
        });
        let relay = bench.site.start();
        let status = relay.wait_status("neither", |status| {
            ["online", "pairing", "stopped"].contains(&status["sessions"][0]["state"].as_str().unwrap_or_default())
        });
        match status["sessions"][0]["state"].as_str() {
            Some("online") => linked += 1,
            // The phone had not got as far, and says so: its own account of it counts.
            Some("stopped") => assert!(status.to_string().contains("link it again"), "seed {seed}: {status:#}"),
            _ => {}
        }
        if status["sessions"][0]["state"] != "online" {
            bench.pair();
        }
        works(&bench, &relay);
        assert_eq!(relay.stop(), 0, "seed {seed}");
    }
    println!("{linked} of 10 were linked");
}

#[test]
fn a_logout_on_the_phone_is_noticed_said_and_mended_by_pairing_again() {
    let (bench, relay) = Bench::online();
    bench.owner.logout_companion();
    let status = state(&relay, "stopped");
    assert_eq!(status["health"][0]["code"], "session-stopped", "{status:#}");
    let kept = relay.http("POST", "/friend", &[], b"kept").json();
    assert!(
        kept["warning"].as_str().unwrap_or_default().contains("tautline pair"),
        "{kept:#}"
    );
    let words = bench.site.run(&["status"]);
    let words = String::from_utf8_lossy(&words.stdout).into_owned();
    assert!(words.contains("tautline pair"), "{words}");
    bench.pair();
    relay.wait_step(kept["id"].as_str().unwrap(), "delivered");
    works(&bench, &relay);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_logout_while_the_relay_was_down_is_noticed_at_the_next_login() {
    let (bench, relay) = Bench::online();
    assert_eq!(relay.stop(), 0);
    bench.owner.logout_companion();
    let relay = bench.site.start();
    let status = state(&relay, "stopped");
    assert!(status.to_string().contains("link it again"), "{status:#}");
    assert_eq!(relay.stop(), 0);
    // A restart does not try the dead credentials again.
    let relay = bench.site.start();
    state(&relay, "pairing");
    bench.pair();
    works(&bench, &relay);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn another_account_may_follow_and_nothing_of_the_first_shows() {
    let (bench, relay) = Bench::online();
    bench.owner.set_name("A name of the first");
    relay.wait_status("the name did not come", |_| bench.lab.pending(OWNER) == 0);
    bench.owner.logout_companion();
    state(&relay, "stopped");
    let seen = bench.lab.stanza_log().len();
    let other = bench.lab.account("15550100003", "Other");
    crate::support::pair_by_qr(&bench.site, |code| other.scan(code).map(drop));
    works(&bench, &relay);
    assert_eq!(bench.friend.received()[0].from, "15550100003");
    let log = bench.lab.stanza_log();
    let told = log[seen.min(log.len())..].iter().any(|seen| {
        seen.direction == crate::lab::Direction::FromClient
            && format!("{:?}", seen.node).contains("A name of the first")
    });
    assert!(!told, "the first account's name was announced for the second");
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_new_name_does_not_make_us_available() {
    let (bench, relay) = Bench::online();
    for name in ["Anna", "Berta", "Anna"] {
        bench.owner.set_name(name);
        assert!(
            bench.lab.wait_until(SOON, |lab| lab.pending(OWNER) == 0),
            "{name} was not taken in"
        );
        let alert = relay.publish("friend", name);
        relay.wait_step(&alert, "delivered");
    }
    let line = bench.line();
    bench.lab.faults().cut_rst();
    bench.wait_newer_line(line, &relay);
    works(&bench, &relay);
    assert_eq!(relay.stop(), 0);
    let relay = bench.site.start();
    works(&bench, &relay);
    let count = bench.lab.presences().len();
    assert!(count >= 3, "only {count} presences in all");
    assert_eq!(relay.stop(), 0);
}
