//! What goes wrong with the relay is told to a fallback, and when it is over.

use crate::bench::Bench;
use crate::listener::{Asked, Listener};
use crate::support::Relay;
use std::time::Duration;

/// Half a minute until it is told, a minute until its end is, and the looks between.
const PATIENCE: Duration = Duration::from_secs(180);

fn wait_news(listener: &Listener, relay: &Relay, index: usize) -> Asked {
    assert!(
        listener.came_within(index, PATIENCE),
        "news {index} never came: {:?}\n{}",
        listener.all(),
        relay.read_log()
    );
    listener.all()[index].clone()
}

#[test]
fn a_session_that_is_not_paired_is_told_once_over_restarts_and_so_is_its_end() {
    let listener = Listener::start();
    let bench = Bench::unpaired();
    let more = format!(
        "\n[[fallback]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\n[health]\nfallback = [\"hook\"]\n",
        listener.url("/")
    );
    let config = std::fs::read_to_string(bench.site.config()).expect("a configuration");
    std::fs::write(bench.site.config(), config + &more).expect("written");
    let relay = bench.site.start();
    let began = wait_news(&listener, &relay, 0).json();
    assert_eq!(
        (&began["state"], &began["code"]),
        (&"began".into(), &"session-unpaired".into())
    );
    assert_eq!(began["session"], "default");
    let text = began["text"].as_str().expect("a text");
    assert!(text.contains("run `tautline pair`"), "{text}");
    let held = relay.publish("friend", "held");
    relay.kill();
    let relay = bench.site.start();
    bench.pair();
    relay.wait_online();
    relay.wait_step(&held, "delivered");
    let ended = wait_news(&listener, &relay, 1).json();
    assert_eq!(
        (&ended["state"], &ended["session"]),
        (&"ended".into(), &"default".into()),
        "{:?}",
        listener.all()
    );
    let text = ended["text"].as_str().expect("a text");
    assert!(
        text.contains("session default is back after ") && text.contains("1 alert held, delivered"),
        "{text}"
    );
    assert_ne!(began["key"], ended["key"]);
    assert_eq!(relay.stop(), 0);
    assert_eq!(listener.count(), 2);
}
