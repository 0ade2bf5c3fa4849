//! The heartbeat: an address that is fetched while alerts would go out, and not when they would not.

use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::listener::Listener;
use crate::support::{Relay, SOON, finding};

/// Longer than the line of this board takes to be known as dead: an answer that is too old, in the worst phase, and
/// some.
const SILENCE: Duration = Duration::from_secs(60);

fn begin(listener: &Listener) -> (Bench, Relay) {
    let bench = Bench::unpaired();
    let heartbeat = format!(
        "\n[heartbeat]\nurl = \"{}\"\ninterval = \"1s\"\n",
        listener.url("/ping/secret")
    );
    let config = std::fs::read_to_string(bench.site.config()).expect("a configuration");
    std::fs::write(bench.site.config(), config + &heartbeat).expect("written");
    let relay = bench.site.start();
    relay.wait_status("it withholds nothing", |_| {
        relay
            .read_log()
            .contains("heartbeat: withheld: session default is not paired")
    });
    assert_eq!(listener.count(), 0, "fetched without a session");
    bench.pair();
    relay.wait_online();
    (bench, relay)
}

#[test]
fn it_is_fetched_only_while_the_line_answers() {
    let listener = Listener::start();
    let (bench, relay) = begin(&listener);
    let first = listener.wait(0, SOON);
    assert_eq!((first.method.as_str(), first.target.as_str()), ("GET", "/ping/secret"));
    listener.wait(1, SOON);
    // The line stays open and says nothing more: not even its end comes to help.
    let line = bench.line();
    bench.lab.faults().black_hole(true);
    bench.lab.faults().refuse_tcp(true);
    listener.wait_quiet(Duration::from_secs(5), SILENCE);
    assert!(
        relay.read_log().contains("heartbeat: withheld: "),
        "{}",
        relay.read_log()
    );
    bench.lab.faults().calm();
    bench.wait_newer_line(line, &relay);
    let seen = listener.count();
    listener.wait(seen, SOON);
    let log = relay.read_log();
    assert!(!log.contains("ping/secret"), "its path is a secret: {log}");
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_fetch_that_fails_is_said_and_tried_again() {
    let listener = Listener::start();
    listener.answer(503, "no");
    let (_bench, relay) = begin(&listener);
    let failing = |status: &serde_json::Value| {
        let text = finding(status, "heartbeat-failing").and_then(|entry| entry["text"].as_str());
        text.is_some_and(|text| text.contains("answered 503"))
    };
    relay.wait_status("nothing is said of it", failing);
    listener.answer(302, "");
    relay.wait_status("a redirect passes for an answer", |status| {
        status["health"].to_string().contains("answered 302")
    });
    // Nobody is there.
    listener.close();
    relay.wait_status("nothing is said of a dead server", |status| {
        status["health"].to_string().contains("could not reach")
    });
    listener.reopen();
    listener.answer(200, "OK");
    relay.wait_status("it does not recover", |status| {
        !failing(status) && !status["health"].to_string().contains("heartbeat")
    });
    assert_eq!(relay.stop(), 0);
}

/// For the whole time that nothing may come.
trait Quiet {
    fn wait_quiet(&self, quiet: Duration, patience: Duration);
}

impl Quiet for Listener {
    #[track_caller]
    fn wait_quiet(&self, quiet: Duration, patience: Duration) {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if !self.came_within(self.count(), quiet) {
                return;
            }
        }
        panic!("it is fetched all the time");
    }
}
