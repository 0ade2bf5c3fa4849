//! Answers from phones: what they acknowledge, whose count, and that it is durable before WhatsApp's server is told.

use serde_json::Value;

use crate::bench::{Bench, OWNER};
use crate::lab::{Lab, Naming, Phone, ReactionSeen};
use crate::support::{Relay, SOON};

/// An hour apart, so that nothing is repeated while a test looks.
const REPEAT: &str = "repeat = { every = \"1h\", times = 3 }";

fn with_rules(rules: &str) -> Bench {
    let bench = Bench::unpaired();
    let config = std::fs::read_to_string(bench.site.config()).unwrap();
    let config = ["friend", "all"].iter().fold(config, |config, route| {
        let name = format!("name = \"{route}\"\n");
        config.replacen(&name, &format!("{name}{rules}\n"), 1)
    });
    std::fs::write(bench.site.config(), config).unwrap();
    bench
}

fn show(relay: &Relay, id: &str) -> Value {
    relay.http("GET", &format!("/v1/alerts/{id}"), &[], b"").json()
}

/// Publishes what has to be acknowledged, and waits until `phone` has it: the alert's id, and the message's.
fn raise(relay: &Relay, route: &str, phone: &Phone, text: &str) -> (String, String) {
    let answer = relay.http("POST", &format!("/{route}"), &[("Priority", "5")], text.as_bytes());
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    relay.wait_step(&id, "delivered");
    let shown = format!("‼️ {text}");
    let message = phone.received().into_iter().rfind(|message| message.text == shown);
    (id, message.unwrap().id)
}

fn wait_acknowledged(relay: &Relay, id: &str) -> Value {
    relay.wait_status("its acknowledgement", |_| show(relay, id)["acknowledged"].is_object());
    show(relay, id)["acknowledged"].clone()
}

/// Waits until the relay has recorded so many messages, and so has done with what they mean.
fn wait_recorded(relay: &Relay, count: u64) {
    relay.wait_status("the messages", |status| {
        status["sessions"][0]["inbound_recorded"] == count
    });
}

#[test]
fn a_reaction_a_reply_and_a_word_acknowledge() {
    let (bench, relay) = with_rules(REPEAT).go_online();
    let (first, message) = raise(&relay, "friend", &bench.friend, "fire");
    // Taken back before it was given, and on a message of nobody.
    bench.friend.react(&message, "");
    bench.friend.react_in("15550100001", "3EB0000000000000000000", "👍");
    wait_recorded(&relay, 2);
    assert!(show(&relay, &first)["acknowledged"].is_null());
    let reaction = bench.friend.react(&message, "👍");
    let acknowledged = wait_acknowledged(&relay, &first);
    assert_eq!(
        (&acknowledged["by"], &acknowledged["how"], &acknowledged["message_id"]),
        (&"+15550100002".into(), &"reaction".into(), &reaction.into())
    );
    let words = bench.site.run(&["queue", "show", &first]);
    let words = String::from_utf8(words.stdout).unwrap();
    assert!(words.contains(", by +15550100002, with a reaction"), "{words}");

    // With two of them a word is not clear, and a quote is.
    let (second, quoted) = raise(&relay, "friend", &bench.friend, "smoke");
    let (third, _) = raise(&relay, "friend", &bench.friend, "water");
    bench.friend.send_text("15550100001", "ok");
    wait_recorded(&relay, 4);
    assert!(show(&relay, &second)["acknowledged"].is_null() && show(&relay, &third)["acknowledged"].is_null());
    bench.friend.reply(&quoted, "who has left the oven on?");
    assert_eq!(wait_acknowledged(&relay, &second)["how"], "reply");
    bench.friend.send_text("15550100001", "Okay!");
    assert_eq!(wait_acknowledged(&relay, &third)["how"], "text");
    let history = show(&relay, &third)["history"].clone();
    let told = history
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["what"] == "acknowledged");
    assert_eq!(told.count(), 1, "{history}");
}

#[test]
fn an_answer_by_a_hidden_id_is_that_of_the_number() {
    let (bench, relay) = with_rules(REPEAT).go_online();
    let (id, message) = raise(&relay, "friend", &bench.friend, "fire");
    bench.lab.set_naming(Naming::Lid);
    bench.friend.react(&message, "👍");
    assert_eq!(wait_acknowledged(&relay, &id)["by"], "+15550100002");
}

#[test]
fn who_is_not_in_ack_from_changes_nothing() {
    let (bench, relay) = with_rules(&format!("{REPEAT}\nack_from = [\"me\"]\nack_words = [\"seen\"]")).go_online();
    let (id, message) = raise(&relay, "friend", &bench.friend, "fire");
    bench.friend.react(&message, "👍");
    bench.friend.send_text("15550100001", "seen");
    wait_recorded(&relay, 2);
    relay.wait_status("its place in the journal", |_| {
        let history = show(&relay, &id)["history"].clone();
        let what = |it: &Value| it["what"] == "unheeded";
        history.as_array().unwrap().iter().filter(|it| what(it)).count() == 2
    });
    assert!(show(&relay, &id)["acknowledged"].is_null());
    // The owner, on the phone, in the friend's chat.
    bench.owner.send_text("15550100002", "Seen.");
    assert_eq!(wait_acknowledged(&relay, &id)["by"], "me");
}

#[test]
fn the_others_are_told_by_a_reaction_and_once() {
    let (bench, relay) = with_rules(REPEAT).go_online();
    let (id, _) = raise(&relay, "all", &bench.friend, "fire");
    let copy = |phone: &Phone, chat: &str| {
        let mut received = phone.received().into_iter();
        received.rfind(|it| it.chat == chat && it.text == "‼️ fire").unwrap().id
    };
    let direct = copy(&bench.friend, OWNER);
    bench.friend.react_in(OWNER, &direct, "👍");
    assert_eq!(wait_acknowledged(&relay, &id)["by"], "+15550100002");
    let ours = |phone: &Phone| -> Vec<ReactionSeen> {
        let reactions = phone.reactions().into_iter();
        reactions.filter(|it| it.emoji == "✅" && it.from == OWNER).collect()
    };
    let told = |_: &Lab| ours(&bench.owner).len() == 2 && ours(&bench.friend).len() == 1;
    assert!(bench.lab.wait_until(SOON, told), "{:?}", bench.owner.reactions());
    let in_group = &ours(&bench.friend)[0];
    assert_eq!(in_group.to, copy(&bench.friend, &bench.group));
    assert!(in_group.chat == bench.group && in_group.on_own);
    for chat in [OWNER, &bench.group] {
        let to = copy(&bench.owner, chat);
        assert!(
            ours(&bench.owner).iter().any(|it| it.chat == chat && it.to == to),
            "{chat}"
        );
    }
    // The last ack is still on its way when the phone has the reaction.
    relay.wait_status("what it knows of that", |_| {
        let deliveries = show(&relay, &id)["deliveries"].clone();
        [0, 1, 2].map(|index| deliveries[index]["told"] == true) == [false, true, true]
    });

    // A restart tells nobody again.
    assert_eq!(relay.stop(), 0);
    let relay = bench.site.start();
    relay.wait_online();
    let (id, message) = raise(&relay, "friend", &bench.friend, "smoke");
    bench.friend.react(&message, "👍");
    wait_acknowledged(&relay, &id);
    assert_eq!((ours(&bench.owner).len(), ours(&bench.friend).len()), (2, 1));
    bench.assert_quiet();
}

#[test]
fn the_account_answers_in_its_own_chat_and_any_member_in_a_group() {
    let (bench, relay) = with_rules(REPEAT).go_online();
    for (phone, chat, by) in [
        (&bench.owner, OWNER, "me"),
        (&bench.friend, &bench.group, "+15550100002"),
    ] {
        let text = format!("fire for {by}");
        let (id, _) = raise(&relay, "all", &bench.friend, &text);
        let shown = format!("‼️ {text}");
        let copy = phone
            .received()
            .into_iter()
            .rfind(|it| it.chat == chat && it.text == shown);
        phone.react_in(chat, &copy.unwrap().id, "👍");
        assert_eq!(wait_acknowledged(&relay, &id)["by"], by);
    }
}

#[test]
fn an_answer_survives_a_kill_and_counts_once() {
    let (bench, mut relay) = with_rules(REPEAT).go_online();
    for round in 0..3 {
        let (id, message) = raise(&relay, "friend", &bench.friend, &format!("fire {round}"));
        // That it was sent is told before it is on disk, and a word is about nothing of which the disk does not know
        // that.
        relay.wait_status("its place in the journal", |_| {
            let history = show(&relay, &id)["history"].as_array().cloned().unwrap_or_default();
            history.iter().any(|it| it["what"] == "sent")
        });
        // The kill comes before the answer has, while it is written, or after that.
        match round {
            0 => bench.friend.react(&message, "👍"),
            1 => bench.friend.send_text("15550100001", "ok"),
            _ => {
                let sent = bench.friend.reply(&message, "I am on my way");
                wait_acknowledged(&relay, &id);
                sent
            }
        };
        relay.kill();
        relay = bench.site.start();
        relay.wait_online();
        wait_acknowledged(&relay, &id);
        wait_recorded(&relay, round + 1);
        let told = |relay: &Relay| {
            let history = show(relay, &id)["history"].as_array().cloned().unwrap_or_default();
            history.iter().filter(|it| it["what"] == "acknowledged").count()
        };
        relay.wait_status("its place in the journal", |_| told(&relay) > 0);
        assert_eq!(told(&relay), 1);
        assert!(show(&relay, &id)["repeats"].is_null());
    }
    assert!(bench.lab.wait_until(SOON, |lab| lab.pending("15550100001") == 0));
}
