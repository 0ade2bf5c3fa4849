//! Lines that look alive and are not, and servers that end them by their own clock.

use std::time::{Duration, Instant};

use super::proxied;
use crate::bench::{Bench, publish, side_by_side};
use crate::lab::{Direction, SessionTimer};
use crate::support::{Relay, SOON};

/// 60 s until the end of the offline queue is overdue, on every board; two acks are missed after 30 s each.
const PATIENCE: Duration = Duration::from_secs(150);

/// Waits for the end of a line that was online, and how it was called.
fn wait_end(relay: &Relay, cause: &str) {
    relay.wait_status_for(PATIENCE, "not noticed as what it is", |status| {
        let end = &status["sessions"][0]["last_end"]["cause"];
        end.as_str().is_some_and(|words| words.contains(cause))
    });
}

fn zombie() {
    let (bench, relay) = Bench::online();
    // Whoever is written to for the first time is asked about first; here only the messages shall hang.
    let first = relay.publish("all", "before");
    relay.wait_step(&first, "delivered");
    let line = bench.line();
    bench.lab.faults().zombie(true);
    // The next line shall not be one too: its login comes after the fault is over.
    bench.lab.faults().slow_handshake(Duration::from_secs(5));
    let (struck, pings) = (Instant::now(), bench.lab.counters().pings);
    let alert = relay.publish("all", "during");
    wait_end(&relay, "never acked");
    let noticed = struck.elapsed();
    println!("zombie: noticed after {noticed:.1?}: {}", relay.last_cause());
    assert!(
        bench.lab.counters().pings > pings + 1,
        "pings were answered all the time"
    );
    bench.lab.faults().calm();
    bench.wait_newer_line(line, &relay);
    relay.wait_step(&alert, "delivered");
    let group = bench
        .friend
        .received()
        .into_iter()
        .filter(|message| message.chat == bench.group);
    let texts: Vec<_> = group.map(|message| message.text).collect();
    assert_eq!(texts, ["before", "during"]);
    bench.assert_quiet();
    assert_eq!(relay.stop(), 0);
}

fn no_offline() {
    let (bench, relay) = Bench::online();
    let line = bench.line();
    bench.lab.faults().no_offline(true);
    bench.lab.faults().cut_rst();
    bench.wait_newer_line(line, &relay);
    // This line has missed it; the next one shall not.
    bench.lab.faults().calm();
    let (line, struck) = (bench.line(), Instant::now());
    let mut accepted = Vec::new();
    publish(&relay, &mut accepted, "kept");
    relay.wait_status("said to be online", |status| {
        let session = &status["sessions"][0];
        let detail = session["detail"].as_str().unwrap_or_default();
        session["state"] == "connecting" && detail.starts_with("logged in")
    });
    wait_end(&relay, "offline queue");
    println!(
        "no offline: noticed after {:.1?}: {}",
        struck.elapsed(),
        relay.last_cause()
    );
    bench.wait_newer_line(line, &relay);
    bench.assert_each_once_in_order(&accepted);
    assert_eq!(relay.stop(), 0);
}

/// Without a close frame, or with an error that nobody has a name for (what others report as 408).
fn session_timer(error: Option<u16>, words: &str) {
    let (bench, relay) = Bench::online();
    let after = Duration::from_secs(3);
    bench.lab.faults().session_timer(Some(SessionTimer { after, error }));
    bench.lab.faults().cut_fin();
    let mut accepted = Vec::new();
    let mut line = bench.line();
    for round in 0..3 {
        publish(&relay, &mut accepted, format!("alert {round}"));
        bench.wait_newer_line(line, &relay);
        line = bench.line();
    }
    wait_end(&relay, words);
    let (logins, from) = (bench.lab.counters().logins, Instant::now());
    bench.lab.faults().calm();
    bench.wait_newer_line(line, &relay);
    bench.assert_each_once_in_order(&accepted);
    println!("{words}: {logins} logins, the last pause {:.1?}", from.elapsed());
    assert!(logins <= 7, "a storm: {logins} logins");
    assert_eq!(relay.stop(), 0);
}

/// A fault with a name.
pub struct Case {
    pub name: String,
    pub run: Box<dyn Fn() + Send + Sync>,
}

fn case(name: &str, run: impl Fn() + Send + Sync + 'static) -> Case {
    Case {
        name: name.to_owned(),
        run: Box::new(run),
    }
}

/// One test, because two of them wait for a minute and the others fit beside them.
#[test]
fn what_looks_alive_and_is_not_is_noticed_directly_and_behind_proxies() {
    let direct = [
        case("zombie", zombie),
        case("no offline", no_offline),
        case("session timer", || session_timer(None, "recycled")),
        case("session timer, 408", || {
            session_timer(Some(408), "unknown: stream error 408");
        }),
    ];
    let cases: Vec<_> = direct.into_iter().chain(proxied::cases()).collect();
    side_by_side(&cases, |case| &case.name, |case| (case.run)());
}

#[test]
fn a_servers_pings_are_answered_and_cost_nothing() {
    let (bench, relay) = Bench::online();
    let (line, lines) = (bench.line(), relay.lines());
    let before = bench.lab.counters().ws_pongs;
    bench.lab.faults().ws_ping();
    bench.lab.faults().iq_ping("lab-ping");
    let answered = |lab: &crate::lab::Lab| {
        let log = lab.stanza_log();
        let mut answers = log
            .iter()
            .filter(|seen| seen.direction == Direction::FromClient && seen.node.tag == "iq");
        answers.any(|seen| {
            let is = |name: &str, value: &str| seen.node.attrs.get(name).is_some_and(|is| *is == value);
            is("id", "lab-ping") && is("type", "result")
        })
    };
    assert!(
        bench
            .lab
            .wait_until(SOON, |lab| lab.counters().ws_pongs > before && answered(lab))
    );
    let alert = relay.publish("friend", "after");
    relay.wait_step(&alert, "delivered");
    assert_eq!((bench.line(), relay.lines()), (line, lines));
    assert_eq!(relay.stop(), 0);
}

/// The same credentials in two places, as after a copied SD card: one is told and stops, for good.
#[test]
fn a_copy_of_the_same_device_takes_the_line_and_nobody_fights() {
    let (bench, first) = Bench::online();
    assert_eq!(first.stop(), 0);
    let copy = Bench::with(crate::lab::Lab::start(), &bench.lab.endpoint(), "wsl2", None).site;
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(bench.site.state())
        .arg(copy.state())
        .status();
    assert!(copied.is_ok_and(|status| status.success()), "the state is copied");
    let first = bench.site.start();
    first.wait_online();
    let second = copy.start();
    first.wait_status("not replaced", |status| status["sessions"][0]["state"] == "stopped");
    second.wait_online();
    let logins = bench.lab.counters().logins;
    let alert = second.publish("friend", "by the copy");
    second.wait_step(&alert, "delivered");
    assert_eq!((first.lines(), bench.lab.counters().logins), (1, logins), "it fought");
    assert!(
        first.status()["sessions"][0]["detail"]
            .as_str()
            .is_some_and(|words| words.contains("stop the other"))
    );
    assert_eq!((first.stop(), second.stop()), (0, 0));
}
