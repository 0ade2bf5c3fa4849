//! Hooks, with the built program: what a program at an address is told, in order, signed, and over a kill.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::bench::Bench;
use crate::listener::{Asked, Listener, Reply};
use crate::support::{Relay, SOON};

const SECRET: &str = "hush";

fn write_config(bench: &Bench, hooks: &str) {
    let config = std::fs::read_to_string(bench.site.config()).expect("a configuration");
    std::fs::write(bench.site.config(), config + hooks).expect("written");
    std::fs::write(bench.site.path().join("hook-secret"), SECRET).expect("written");
}

/// Each request's JSON, once for each id: what a receiver has that looks at ids.
fn told(listener: &Listener) -> Vec<Value> {
    let mut told: Vec<Value> = Vec::new();
    for asked in listener.all() {
        let json = asked.json();
        assert_eq!(asked.header("idempotency-key"), json["id"].as_str());
        assert_eq!(asked.header("x-tautline-event"), json["event"].as_str());
        if told.iter().all(|before| before["id"] != json["id"]) {
            told.push(json);
        }
    }
    told
}

fn wait_for(listener: &Listener, relay: &Relay, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut seen = 0;
    loop {
        // Before the look, so that what comes meanwhile is not waited for.
        seen = listener.count().max(seen);
        if let Some(found) = told(listener).into_iter().find(&is) {
            return found;
        }
        assert!(
            listener.came_within(seen, SOON),
            "{what} never came: {:?}\n{}",
            listener.all(),
            relay.read_log()
        );
    }
}

fn is_of<'a>(id: &'a str, event: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |it| it["alert"] == *id && it["event"] == *event
}

fn signature(body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key of any length");
    mac.update(body.as_bytes());
    let bytes = mac.finalize().into_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

#[test]
fn what_happens_is_told_once_for_each_id_in_order_and_over_a_kill() {
    let listener = Listener::start();
    let bench = Bench::unpaired();
    let hook = format!(
        "\n[[hook]]\nurl = \"{}\"\nsecret_file = \"hook-secret\"\n",
        listener.url("/first?k=secret")
    );
    write_config(&bench, &hook);
    let (bench, relay) = bench.go_online();
    let first = relay.publish("friend", "first");
    wait_for(&listener, &relay, "a step", is_of(&first, "delivered"));
    bench.friend.send_text("15550100001", "who is there?");
    let message = wait_for(&listener, &relay, "a message", |it| it["kind"] == "message");
    assert_eq!(message["message"]["text"], "who is there?");
    assert_eq!(message["message"]["from"], "+15550100002");
    assert_eq!(message["message"]["in"], "+15550100002");
    let accepted = told(&listener)
        .into_iter()
        .find(is_of(&first, "accepted"))
        .expect("the first step");
    assert_eq!(
        (&accepted["kind"], &accepted["alert_now"]["text"]),
        (&"alert".into(), &"first".into())
    );
    for asked in listener.all() {
        assert_eq!(
            (asked.method.as_str(), asked.target.as_str()),
            ("POST", "/first?k=secret")
        );
        assert_eq!(
            asked.header("x-tautline-signature"),
            Some(signature(&asked.body).as_str())
        );
    }

    // It is killed while a request is under way, and nobody knows what has become of it.
    listener.reply(Reply::Silence);
    let seen = listener.count();
    let second = relay.publish("friend", "second");
    let under_way = listener.wait(seen, SOON).json();
    relay.wait_step(&second, "delivered");
    assert!(
        !listener.came_within(seen + 1, std::time::Duration::from_millis(300)),
        "one at a time"
    );
    relay.kill();
    let second_hook = format!("\n[[hook]]\nname = \"second\"\nurl = \"{}\"\n", listener.url("/second"));
    write_config(&bench, &second_hook);
    listener.answer(204, "");
    let relay = bench.site.start();
    let last = wait_for(&listener, &relay, "the last step", is_of(&second, "delivered"));
    let of_first = |asked: &Asked| asked.target.starts_with("/first");
    let again: Vec<Asked> = listener.all().into_iter().skip(seen + 1).filter(of_first).collect();
    assert_eq!(
        again[0].json()["id"],
        under_way["id"],
        "the same comes first, under the same id"
    );
    let told: Vec<Value> = told(&listener)
        .into_iter()
        .filter(|it| it["hook"] == last["hook"])
        .collect();
    let numbers: Vec<u64> = told.iter().map(|it| it["number"].as_u64().expect("a number")).collect();
    assert!(numbers.is_sorted() && numbers.len() > 6, "{numbers:?}");
    for id in [&first, &second] {
        for event in ["accepted", "sent", "delivered"] {
            assert_eq!(
                told.iter().filter(|it| is_of(id, event)(it)).count(),
                1,
                "{event} of {id}"
            );
        }
    }
    // A hook that is new begins at the present.
    relay.wait_online();
    let third = relay.publish("friend", "third");
    wait_for(&listener, &relay, "a step for the new hook", |it| {
        it["hook"] == "second" && it["alert"] == third
    });
    let to_second = listener.all().into_iter().filter(|asked| asked.target == "/second");
    assert!(to_second.map(|asked| asked.json()).all(|it| it["alert"] == third));
    let log = relay.read_log();
    assert!(!log.contains("k=secret"), "its path may be a secret: {log}");
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_hook_that_does_what_it_should_not_costs_nothing_else() {
    let (odd, good) = (Listener::start(), Listener::start());
    let bench = Bench::unpaired();
    let hooks = format!(
        "\n[[hook]]\nname = \"odd\"\nurl = \"{}\"\nevents = [\"accepted\"]\ntimeout = \"1s\"\n\
         \n[[hook]]\nname = \"good\"\nurl = \"{}\"\nevents = [\"accepted\"]\n",
        odd.url("/"),
        good.url("/")
    );
    write_config(&bench, &hooks);
    // A gigabyte of answer is an answer.
    odd.reply(Reply::Endless);
    let (_bench, relay) = bench.go_online();
    let state = |status: &Value, name: &str| {
        let hooks = status["hooks"].as_array().expect("hooks").clone();
        hooks.into_iter().find(|hook| hook["name"] == name).expect("the hook")
    };
    relay.publish("friend", "one");
    relay.wait_status("the gigabyte is no answer", |status| state(status, "odd")["taken"] == 1);
    // It hangs, and then leads elsewhere.
    odd.reply(Reply::Silence);
    let second = relay.publish("friend", "two");
    relay.wait_step(&second, "delivered");
    wait_for(&good, &relay, "the other hook's event", is_of(&second, "accepted"));
    let failing = relay.wait_status("it is not failing", |status| state(status, "odd")["state"] == "failing");
    assert_eq!(state(&failing, "good")["state"], "well");
    odd.answer(302, "");
    let failing = relay.wait_status("it follows", |status| {
        state(status, "odd")["error"]
            .as_str()
            .is_some_and(|error| error.contains("redirects are not followed"))
    });
    assert!(state(&failing, "odd")["next_in_ms"].is_u64() && state(&failing, "odd")["origin"].is_string());
    let words = String::from_utf8(_bench.site.run(&["status"]).stdout).expect("text");
    assert!(
        words.contains("hook     odd (http://127.0.0.1:") && words.contains(") failing, 1 told"),
        "{words}"
    );
    let metrics = relay.http("GET", "/metrics", &[], b"");
    assert!(
        metrics.body.contains("tautline_hook_failing{hook=\"odd\"} 1"),
        "{metrics:?}"
    );
    // It wants nothing more: that is heeded.
    odd.answer(410, "gone");
    relay.wait_status("it is still asked", |status| state(status, "odd")["state"] == "over");
    let asked = odd.count();
    let third = relay.publish("friend", "three");
    wait_for(&good, &relay, "the other hook's event", is_of(&third, "accepted"));
    assert_eq!(odd.count(), asked);
    assert_eq!(relay.stop(), 0);
}
