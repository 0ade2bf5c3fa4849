//! What a route does with its alerts beside sending them, through the built program.

use serde_json::Value;

use crate::bench::{self, Bench, publish};
use crate::support::{Relay, SOON, finding};

fn with_rules(rules: &str) -> Bench {
    let bench = Bench::unpaired();
    let config = std::fs::read_to_string(bench.site.config()).unwrap();
    let config = config.replacen("name = \"friend\"\n", &format!("name = \"friend\"\n{rules}\n"), 1);
    std::fs::write(bench.site.config(), config).unwrap();
    bench
}

/// The alert when it is sent or given up.
fn ended(relay: &Relay, id: &str) -> Value {
    let target = format!("/v1/alerts/{id}?wait=sent&timeout=60s");
    relay.http("GET", &target, &[], b"").json()
}

#[test]
fn what_is_not_sent_in_time_expires_and_never_goes_out() {
    let bench = with_rules("ttl = \"1h\"");
    let relay = bench.site.start();
    let run = |args: &[&str]| bench.site.run(args);
    // Nothing is paired: whoever waits is told so, and the alert is kept.
    let args = ["--json", "publish", "--to", "friend", "--ttl", "1s", "too late"];
    let accepted = run(&args);
    assert!(accepted.status.success(), "{accepted:?}");
    let accepted: Value = serde_json::from_slice(&accepted.stdout).unwrap();
    let id = accepted["id"].as_str().unwrap();
    let shown = ended(&relay, id);
    assert_eq!(shown["state"], "expired");
    let delivery = &shown["deliveries"][0];
    assert_eq!(delivery["note"], "not sent within its time to live of 1s");
    // The journal is written with the next round of changes.
    relay.wait_status("its place in the journal", |_| {
        let shown = relay.http("GET", &format!("/v1/alerts/{id}"), &[], b"").json();
        let history = shown["history"].clone();
        history
            .as_array()
            .and_then(|all| all.last())
            .is_some_and(|last| last["what"] == "expired")
    });
    let status = relay.wait_status("its finding", |status| finding(status, "alerts-failed").is_some());
    assert_eq!(status["outbox"]["expired"], 1);
    let shown = run(&["queue", "show", id]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("state     expired"), "{shown}");

    // What a sender asks for in a way that nobody understands costs it nothing.
    let odd = relay.http("POST", "/friend", &[("X-TTL", "soon")], b"in time");
    assert_eq!(odd.status, 200);
    assert!(odd.json()["warning"].as_str().unwrap().contains("\"soon\""));
    relay.kill();

    // It stays expired over a restart, and the other goes out alone.
    let relay = bench.site.start();
    assert_eq!(ended(&relay, id)["state"], "expired");
    bench.pair();
    relay.wait_online();
    bench.assert_each_once_in_order(&["in time".to_owned()]);
    // A person may want it all the same.
    assert!(run(&["queue", "retry", id]).status.success());
    relay.wait_step(id, "delivered");
}

#[test]
fn what_arrives_late_says_when_it_was_raised() {
    let bench = with_rules("mark_late = \"1s\"");
    let relay = bench.site.start();
    let id = relay.publish("friend", "the disk is full");
    std::thread::park_timeout(std::time::Duration::from_millis(1100));
    bench.pair();
    relay.wait_online();
    relay.wait_step(&id, "delivered");
    let received = bench.friend.wait_received(1, SOON);
    let (mark, text) = received[0].text.split_once('\n').unwrap();
    assert!(
        mark.starts_with("_raised ") && text == "the disk is full",
        "{received:?}"
    );
    let mut accepted = vec![received[0].text.clone()];
    publish(&relay, &mut accepted, "and now in time");
    bench.assert_each_once_in_order(&accepted);
}

#[test]
fn in_a_backlog_the_urgent_goes_first() {
    let bench = Bench::unpaired();
    let relay = bench.site.start();
    for (priority, text) in [("3", "first"), ("3", "second"), ("5", "urgent"), ("1", "whenever")] {
        let answer = relay.http("POST", "/friend", &[("Priority", priority)], text.as_bytes());
        assert_eq!(answer.status, 200);
    }
    bench.pair();
    relay.wait_online();
    let wanted = ["‼️ urgent", "first", "second", "whenever"];
    bench.assert_each_once_in_order(&wanted.map(str::to_owned));
}

/// The texts that the friend's phone shows once everything has gone out.
fn shown(bench: &Bench, relay: &Relay) -> Vec<String> {
    relay.wait_status("an empty queue", |status| status["outbox"]["accepted"] == 0);
    let received = bench.friend.wait_received(1, SOON);
    received.into_iter().map(|message| message.text).collect()
}

#[test]
fn a_storm_is_few_messages_and_the_urgent_goes_first() {
    let bench = with_rules("group = { by = [\"title\"], interval = \"1m\", max = 3 }");
    let relay = bench.site.start();
    let mut last = String::new();
    for number in 0..300 {
        let title = format!("kind {}", number % 20);
        let priority = if number == 217 { "5" } else { "3" };
        let headers = [("Title", title.as_str()), ("Priority", priority)];
        let answer = relay.http("POST", "/friend", &headers, format!("text {}", number / 100).as_bytes());
        assert_eq!(answer.status, 200);
        last = answer.json()["id"].as_str().unwrap().to_owned();
    }
    let status = relay.wait_status("what is held", |status| status["held_back"] != Value::Null);
    assert_eq!(status["held_back"][0]["route"], "friend");
    let show = |relay: &Relay| relay.http("GET", &format!("/v1/alerts/{last}"), &[], b"").json();
    assert_eq!(show(&relay)["beside"].as_array().unwrap().len(), 15);
    let words = bench.site.run(&["queue", "show", &last]);
    let words = String::from_utf8(words.stdout).unwrap();
    assert!(
        words.contains("IN ONE MESSAGE") && words.contains("waits for its turn"),
        "{words}"
    );
    // It is on disk, and is told to the policy again.
    relay.kill();
    let relay = bench.site.start();
    bench.pair();
    relay.wait_online();
    relay.wait_step(&last, "sent");
    let texts = shown(&bench, &relay);
    assert_eq!(texts[0], "‼️ *kind 17*\ntext 2");
    assert!(
        texts[1].starts_with("*299 alerts*\n- 5 × kind 0: text 0\n"),
        "{texts:?}"
    );
    assert!(texts[1].ends_with("\n- and 284 more"), "{texts:?}");
    assert_eq!(texts.len(), 2);
    assert_eq!(show(&relay)["beside"].as_array().unwrap().len(), 299);
}

#[test]
fn quiet_hours_hold_what_is_not_urgent_and_say_until_when() {
    // All of the day but for a minute that is twelve hours away.
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let end = now.checked_add(jiff::Span::new().hours(12)).unwrap();
    let start = end.checked_add(jiff::Span::new().minutes(1)).unwrap();
    let (start, end) = (start.strftime("%H:%M"), end.strftime("%H:%M"));
    let bench = with_rules(&format!("quiet = {{ from = \"{start}\", to = \"{end}\" }}"));
    let config = std::fs::read_to_string(bench.site.config()).unwrap();
    std::fs::write(bench.site.config(), format!("timezone = \"UTC\"\n{config}")).unwrap();
    let (bench, relay) = bench.go_online();
    let held = relay.publish("friend", "good night");
    let urgent = relay.http("POST", "/friend", &[("Priority", "4")], b"fire");
    relay.wait_step(urgent.json()["id"].as_str().unwrap(), "delivered");
    let shown = relay.http("GET", &format!("/v1/alerts/{held}"), &[], b"").json();
    assert_eq!(shown["state"], "accepted");
    let held_back = &shown["deliveries"][0]["held_back"];
    assert_eq!(held_back["why"], "quiet hours");
    let until = held_back["until_at"].as_u64().unwrap();
    let expected = now.timestamp().as_millisecond() as u64 + 12 * 3_600_000;
    assert!(until.abs_diff(expected) <= 60_000, "{until} {expected}");
    let words = bench.site.run(&["status"]);
    let words = String::from_utf8(words.stdout).unwrap();
    assert!(
        words.contains("1 held on friend: quiet hours, for another 11h"),
        "{words}"
    );
    // A person may want it all the same, and nothing is lost when the rule is gone.
    relay.kill();
    let config = std::fs::read_to_string(bench.site.config()).unwrap();
    let rule = config.lines().find(|line| line.starts_with("quiet")).unwrap();
    std::fs::write(bench.site.config(), config.replace(rule, "")).unwrap();
    let relay = bench.site.start();
    relay.wait_step(&held, "delivered");
    bench.assert_each_once_in_order(&["❗ fire".to_owned(), "good night".to_owned()]);
}

#[test]
fn an_urgent_alert_is_repeated_and_escalated_until_it_is_acknowledged() {
    let bench = with_rules(
        "repeat = { every = \"1s\", times = 2 }\nescalate = { after = \"2s\", to = \"all\", from = \"max\" }",
    );
    let (bench, relay) = bench.go_online();
    let answer = relay.http("POST", "/friend", &[("Priority", "5")], b"fire");
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let show = |id: &str| relay.http("GET", &format!("/v1/alerts/{id}"), &[], b"").json();
    let done = |status: &Value| status["outbox"]["accepted"] == 0 && show(&id)["escalated_at"].is_number();
    relay.wait_status("its escalation", |status| done(status) && show(&id)["repeats"] == 2);
    let texts = |bench: &Bench, count| -> Vec<String> {
        let received = bench.friend.wait_received(count, SOON);
        received.into_iter().map(|message| message.text).collect()
    };
    let mut all = texts(&bench, 5);
    assert_eq!(all.remove(0), "‼️ fire");
    all.sort();
    // The other route names the friend and a group that they are in.
    let expected = [
        "‼️ _escalated: nobody has acknowledged it on friend_\nfire",
        "‼️ _escalated: nobody has acknowledged it on friend_\nfire",
        "‼️ _reminder 1 of 2_\nfire",
        "‼️ _reminder 2 of 2_\nfire",
    ];
    assert_eq!(all, expected);

    // Somebody sees to the next one before it is said again, and that outlives a kill.
    relay.kill();
    let config = std::fs::read_to_string(bench.site.config()).unwrap();
    let slow = config
        .replace("every = \"1s\"", "every = \"1h\"")
        .replace("after = \"2s\"", "after = \"1h\"");
    std::fs::write(bench.site.config(), slow).unwrap();
    let relay = bench.site.start();
    let answer = relay.http("POST", "/friend", &[("Priority", "5")], b"smoke");
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let acked = bench.site.run(&["queue", "ack", &id]);
    assert!(acked.status.success(), "{acked:?}");
    relay.kill();
    let relay = bench.site.start();
    relay.wait_step(&id, "delivered");
    let shown = relay.http("GET", &format!("/v1/alerts/{id}"), &[], b"").json();
    assert_eq!(shown["acknowledged"]["by"], "somebody on this box");
    assert!(shown["repeats"].is_null(), "{shown}");
    let words = bench.site.run(&["queue", "show", &id]);
    let words = String::from_utf8(words.stdout).unwrap();
    assert!(words.contains("seen to "), "{words}");
    let unknown = bench.site.run(&["queue", "ack", "nosuchalert0"]);
    assert_eq!(unknown.status.code(), Some(4));
}

#[test]
fn what_is_over_before_anybody_was_told_is_not_sent() {
    let bench = Bench::unpaired();
    let relay = bench.site.start();
    let say = |text: &str, status: &str| {
        let body = format!("{{\"message\":\"{text}\",\"status\":\"{status}\",\"sequence\":\"disk\"}}");
        let headers = [("Content-Type", "application/json")];
        let answer = relay.http("POST", "/v1/hooks/json/friend", &headers, body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["id"].as_str().unwrap().to_owned()
    };
    let first = say("full", "firing");
    let second = say("fuller", "firing");
    let end = say("free again", "resolved");
    let last = say("full again", "firing");
    for id in [&first, &second, &end] {
        assert_eq!(ended(&relay, id)["state"], "superseded");
    }
    bench.pair();
    relay.wait_online();
    relay.wait_step(&last, "delivered");
    bench.assert_each_once_in_order(&["full again".to_owned()]);

    // What ends it quotes that, also in a chat whose messages disappear.
    bench.friend.set_timer(bench::OWNER, 86_400);
    relay.wait_status("the timer", |status| status["sessions"][0]["inbound_recorded"] == 1);
    let end = say("free again", "resolved");
    relay.wait_step(&end, "delivered");
    let received = bench.friend.wait_received(2, SOON);
    let began = (received[0].id.clone(), "full again".to_owned());
    assert_eq!(received[1].quoted, Some(began));
    assert!(received[1].text.ends_with("free again"), "{:?}", received[1]);
    assert_eq!(received[1].timer, Some(86_400));
}
