//! Who is behind a name in a route, and what a chat is like: numbers that WhatsApp does not know or writes otherwise,
//! the account's own number, hidden ids, groups that nobody or only some may write to, disappearing messages.

use std::time::Instant;

use serde_json::Value;
use tautline::store::{Store, numbers};

use crate::bench::{Bench, FRIEND, OWNER};
use crate::lab::{Direction, GroupKind, Lab, Naming};
use crate::support::{Relay, SOON, Site};

/// A bench whose session has these routes beside `friend` and `all`.
fn bench(routes: impl FnOnce(&Bench) -> Vec<(&'static str, Vec<String>)>) -> Bench {
    let mut bench = Bench::unpaired();
    let mut config = std::fs::read_to_string(bench.site.config()).expect("the config");
    for (name, to) in routes(&bench) {
        config.push_str(&format!(
            "[[route]]\nname = \"{name}\"\nsession = \"default\"\nto = {to:?}\n"
        ));
    }
    bench.site = Site::with_config(&config);
    bench
}

fn delivery(relay: &Relay, alert: &str, step: &str) -> Value {
    let answer = relay.http("GET", &format!("/v1/alerts/{alert}?wait={step}&timeout=60s"), &[], b"");
    answer.json()
}

fn chats(bench: &Bench) -> Vec<Value> {
    let printed = bench.site.run(&["chats", "--json"]);
    assert_eq!(printed.status.code(), Some(0), "{printed:?}");
    let list: Value = serde_json::from_slice(&printed.stdout).expect("JSON");
    list.as_array().expect("a list").clone()
}

fn chat<'a>(chats: &'a [Value], to: &str) -> &'a Value {
    let found = chats.iter().find(|chat| chat["to"] == to);
    found.unwrap_or_else(|| panic!("{to} is not among {chats:#?}"))
}

#[test]
fn the_accounts_own_number_and_hidden_id_are_me() {
    let (bench, relay) = bench(|bench| {
        let own = format!("+{OWNER}");
        let hidden = format!("{}@lid", bench.owner.lid());
        vec![
            ("number", vec![own.clone()]),
            ("hidden", vec![hidden.clone()]),
            ("thrice", vec![own, "me".into(), hidden]),
        ]
    })
    .go_online();
    for (count, route) in ["number", "hidden", "thrice"].into_iter().enumerate() {
        let alert = relay.publish(route, route);
        let alert = relay.wait_step(&alert, "delivered");
        assert_eq!(alert["deliveries"].as_array().map(Vec::len), Some(1), "{alert:#}");
        let got = bench.owner.wait_received(count + 1, SOON);
        assert_eq!(got.len(), count + 1, "{got:?}");
        assert_eq!((got[count].text.as_str(), got[count].chat.as_str()), (route, OWNER));
    }
    let waited = bench
        .site
        .run(&["publish", "--to", "number", "--wait=delivered", "waited for"]);
    assert_eq!(waited.status.code(), Some(0), "{waited:?}");
    // A receipt of the account's own phone says nothing about a friend's.
    bench.friend.set_auto_receipts(false, false);
    let alert = relay.publish("friend", "to a friend");
    relay.wait_step(&alert, "sent");
    bench.friend.wait_received(1, SOON);
    bench.owner.wait_received(5, SOON);
    let marked = relay.publish("number", "after it");
    relay.wait_step(&marked, "delivered");
    assert_eq!(delivery(&relay, &alert, "sent")["state"], "sent");
    bench.assert_quiet();
    assert_eq!(relay.stop(), 0);
}

#[test]
fn what_was_accepted_for_me_and_the_own_number_before_pairing_is_shown_once() {
    let bench = bench(|_| vec![("twice", vec!["me".into(), format!("+{OWNER}"), format!("+{FRIEND}")])]);
    let relay = bench.site.start();
    let alert = relay.publish("twice", "early");
    bench.pair();
    relay.wait_online();
    let alert = relay.wait_step(&alert, "delivered");
    assert_eq!(alert["deliveries"].as_array().map(Vec::len), Some(2), "{alert:#}");
    assert_eq!(bench.friend.wait_received(1, SOON).len(), 1);
    let mine = || bench.owner.received().iter().filter(|got| got.chat == OWNER).count();
    assert_eq!(mine(), 1);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn groups_that_refuse_a_message_are_marked() {
    let lab = Lab::start();
    let endpoint = lab.endpoint();
    let bench = Bench::with(lab, &endpoint, "wsl2", None);
    let group = |name: &str, kind| {
        let group = bench.lab.group(name, &[&bench.friend, &bench.owner]);
        bench.lab.set_group_kind(&group, kind, false);
        group
    };
    let announce = GroupKind {
        announce: true,
        ..GroupKind::default()
    };
    let parent = GroupKind {
        parent: true,
        ..GroupKind::default()
    };
    let (closed, ours) = (group("Closed", announce), group("Ours", announce));
    bench.lab.set_admin(&ours, &bench.owner, true);
    let (community, open) = (group("Community", parent), group("Open", GroupKind::default()));
    let (bench, relay) = bench.go_online();
    let listed = chats(&bench);
    for (to, kind, writable, words) in [
        (&closed, "group", false, "only admins may write"),
        (&ours, "group", true, ""),
        (&community, "community", false, "community"),
        (&open, "group", true, ""),
        (&bench.group, "group", true, ""),
    ] {
        let chat = chat(&listed, to);
        assert_eq!(
            (&chat["kind"], &chat["writable"]),
            (&kind.into(), &writable.into()),
            "{chat:#}"
        );
        let note = chat["note"].as_str().unwrap_or_default();
        assert!(note.contains(words) && note.is_empty() == words.is_empty(), "{chat:#}");
    }
    let printed = bench.site.run(&["chats"]);
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    let line = |to: &str| {
        printed
            .lines()
            .find(|line| line.contains(to))
            .unwrap_or_default()
            .to_owned()
    };
    assert!(line(&closed).contains("only admins may write"), "{printed}");
    assert!(line(&community).contains("community"), "{printed}");
    assert!(!line(&ours).contains("admins"), "{printed}");
    assert_eq!(bench.site.run(&["config", "check"]).status.code(), Some(0));
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_chat_that_is_known_by_its_hidden_id_alone_is_listed_and_can_be_written_to() {
    let (bench, relay) = bench(|bench| {
        let stranger = bench.lab.account("15550100003", "Stranger");
        vec![
            ("hidden", vec![format!("{}@lid", bench.friend.lid())]),
            ("stranger", vec![format!("{}@lid", stranger.lid())]),
        ]
    })
    .go_online();
    bench.lab.set_naming(Naming::Lid);
    bench.friend.send_text(OWNER, "hello");
    relay.wait_status("not recorded", |status| status["sessions"][0]["inbound_recorded"] == 1);
    let hidden = format!("{}@lid", bench.friend.lid());
    let listed = chats(&bench);
    assert_eq!(chat(&listed, &format!("+{FRIEND}"))["lid"], hidden.as_str());
    assert_eq!(
        listed.iter().filter(|chat| chat["kind"] == "contact").count(),
        1,
        "{listed:#?}"
    );

    // Of somebody whose number is hidden, the hidden id is what a route can name.
    bench.lab.hide_numbers(true);
    let stranger = bench.lab.account("15550100004", "Hidden");
    stranger.send_text(OWNER, "guess who");
    relay.wait_status("not recorded", |status| status["sessions"][0]["inbound_recorded"] == 2);
    let listed = chats(&bench);
    let unknown = chat(&listed, &format!("{}@lid", stranger.lid())).clone();
    assert_eq!(unknown["kind"], "contact", "{unknown:#}");
    assert!(
        unknown["note"].as_str().is_some_and(|note| note.contains("number")),
        "{unknown:#}"
    );
    let printed = bench.site.run(&["chats"]);
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(
        printed.contains(&hidden) && printed.contains(&format!("+{FRIEND}")),
        "{printed}"
    );

    let alert = relay.publish("hidden", "by hidden id");
    relay.wait_step(&alert, "delivered");
    let alert = relay.publish("stranger", "to a stranger");
    relay.wait_step(&alert, "delivered");
    let got = bench.friend.wait_received(1, SOON);
    assert_eq!(got[0].text, "by hidden id");
    assert_eq!(relay.stop(), 0);
}

/// The alert once its one delivery has failed, and why.
fn failure(relay: &Relay, alert: &str) -> String {
    let alert = delivery(relay, alert, "sent");
    assert_eq!(alert["state"], "failed", "{alert:#}");
    alert["deliveries"][0]["note"].as_str().unwrap_or_default().to_owned()
}

fn health(status: &Value) -> Vec<String> {
    let entries = status["health"].as_array().cloned().unwrap_or_default();
    let said = entries.iter().filter(|entry| entry["code"] == "not-on-whatsapp");
    said.map(|entry| entry["text"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn a_number_that_is_not_on_whatsapp_fails_with_words_and_health_says_so_before() {
    let (bench, relay) = bench(|bench| {
        bench.lab.ack_unknown(true);
        vec![
            ("wrong", vec!["+15550100077".into()]),
            ("both", vec!["+15550100077".into(), format!("+{FRIEND}")]),
        ]
    })
    .go_online();
    let status = relay.wait_status("health is silent", |status| !health(status).is_empty());
    let [said] = <[String; 1]>::try_from(health(&status)).unwrap();
    assert!(said.contains("+…77") && said.contains("routes both, wrong"), "{said}");
    assert!(!said.contains("15550100077"), "{said}");
    assert_eq!(status["healthy"], true, "{status:#}");
    let asked = bench.lab.contacts_asked();
    assert_eq!(asked, [["15550100002", "15550100077"]], "one question for all routes");
    for text in ["one", "two", "three"] {
        let words = failure(&relay, &relay.publish("wrong", text));
        assert!(
            words.contains("not on WhatsApp") && words.contains("asked again"),
            "{words}"
        );
    }
    // The others are served, and nobody is asked about again for each alert.
    let alert = relay.publish("both", "to the one that is there");
    assert_eq!(bench.friend.wait_received(1, SOON)[0].text, "to the one that is there");
    failure(&relay, &alert);
    assert_eq!(bench.lab.contacts_asked().len(), 1);
    // A restart is a person's act: the server is asked anew.
    bench.lab.account("15550100077", "Came later");
    assert_eq!(relay.stop(), 0);
    let relay = bench.site.start();
    relay.wait_online();
    relay.wait_step(&relay.publish("wrong", "now there"), "delivered");
    assert_eq!(
        bench.lab.contacts_asked()[1..],
        [["15550100077"]],
        "the other answer was kept"
    );
    assert!(health(&relay.status()).is_empty());
    assert_eq!(relay.stop(), 0);
}

#[test]
fn the_number_that_the_server_names_is_used_and_kept() {
    // As people write them, and as the server knows them: a ninth digit too many, an old 1, a 9 that is missing.
    const FORMS: [(&str, &str, &str); 3] = [
        ("ninth", "1555987650091", "155587650091"),
        ("old", "155510100092", "15550100092"),
        ("missing", "15550100093", "155590100093"),
    ];
    let bench = bench(|bench| {
        for (_, written, named) in FORMS {
            bench.lab.also_known_as(written, named);
        }
        bench.lab.ack_unknown(true);
        // Both forms of one number in a route are one person.
        let (_, written, named) = FORMS[0];
        let mut routes: Vec<_> = FORMS
            .map(|(route, written, _)| (route, vec![format!("+{written}")]))
            .to_vec();
        routes.push(("twice", vec![format!("+{written}"), format!("+{named}")]));
        // Nobody repeats the question in the answer here: asked together, only what is named as written is clear.
        bench.lab.terse_contacts(true);
        routes
    });
    let phones = FORMS.map(|(_, _, named)| bench.lab.account(named, "Contact"));
    let (bench, relay) = bench.go_online();
    for ((route, _, named), phone) in FORMS.iter().zip(&phones) {
        let alert = relay.publish(route, route);
        let got = phone.wait_received(1, SOON);
        assert_eq!(got.len(), 1, "{route} to {named}");
        relay.wait_step(&alert, "delivered");
    }
    let alert = relay.wait_step(&relay.publish("twice", "once"), "delivered");
    assert_eq!(alert["deliveries"].as_array().map(Vec::len), Some(1), "{alert:#}");
    assert_eq!(relay.stop(), 0);
    let asked = bench.lab.contacts_asked().len();
    let relay = bench.site.start();
    relay.wait_online();
    relay.wait_step(&relay.publish("old", "after a restart"), "delivered");
    assert_eq!(bench.lab.contacts_asked().len(), asked, "the answers were kept");
    assert!(health(&relay.status()).is_empty());
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_question_without_an_answer_fails_no_alert() {
    for refused in [true, false] {
        let bench = Bench::unpaired();
        match refused {
            true => bench.lab.refuse_contacts(Some(429)),
            false => bench.lab.withhold_contacts(true),
        }
        let (bench, relay) = bench.go_online();
        for text in ["one", "two", "three"] {
            relay.wait_step(&relay.publish("friend", text), "delivered");
        }
        let texts: Vec<String> = bench.friend.received().into_iter().map(|got| got.text).collect();
        assert_eq!(texts, ["one", "two", "three"]);
        // It is asked again later, and not at each alert.
        assert_eq!(bench.lab.contacts_asked().len(), 1, "refused: {refused}");
        assert!(health(&relay.status()).is_empty());
        assert_eq!(relay.stop(), 0);
    }
}

#[test]
fn a_number_that_was_on_whatsapp_is_asked_about_twice_before_an_alert_fails() {
    let (bench, relay) = Bench::online();
    relay.wait_step(&relay.publish("friend", "there"), "delivered");
    assert_eq!(relay.stop(), 0);
    // What the server said then is too old to count.
    let store = Store::open(&bench.site.state(), 1 << 20).expect("the state");
    let session = "default".parse().expect("a name");
    let mut kept = numbers::load(store.view(), &session).expect("readable");
    assert_eq!(kept.len(), 1, "{kept:?}");
    kept[0].at_ms -= 8 * 24 * 60 * 60 * 1000;
    smol::block_on(numbers::keep(&store, &session, kept)).expect("kept");
    store.close(SOON);
    drop(store);
    bench.lab.set_registered(FRIEND, false);
    let relay = bench.site.start();
    relay.wait_online();
    let alert = relay.publish("friend", "perhaps gone");
    relay.wait_status("nothing is said", |_| {
        let alert = relay.http("GET", &format!("/v1/alerts/{alert}"), &[], b"").json();
        alert["deliveries"][0]["note"]
            .as_str()
            .is_some_and(|note| note.contains("once more"))
    });
    assert!(health(&relay.status()).is_empty(), "not said before it is sure");
    bench.lab.set_registered(FRIEND, true);
    relay.wait_step(&alert, "delivered");
    assert_eq!(bench.lab.contacts_asked().len(), 3);
    assert_eq!(relay.stop(), 0);
}

const DAY: u32 = 24 * 60 * 60;

/// Publishes until a message comes that carries `timer`: what tells the relay of it comes on its own way.
fn wait_timer(bench: &Bench, relay: &Relay, route: &str, timer: Option<u32>) {
    let until = Instant::now() + SOON;
    loop {
        let alert = relay.wait_step(&relay.publish(route, "text"), "delivered");
        let id = alert["deliveries"][0]["message_id"].as_str().expect("an id").to_owned();
        let received = bench.friend.received();
        let message = received.iter().find(|message| message.id == id).expect("delivered");
        assert_eq!(message.text, "text");
        if message.timer == timer {
            return;
        }
        assert!(Instant::now() < until, "{:?} and not {timer:?}", message.timer);
    }
}

/// The timer of the message that an alert becomes now.
fn timer_now(bench: &Bench, relay: &Relay, route: &str) -> Option<u32> {
    let alert = relay.wait_step(&relay.publish(route, "text"), "delivered");
    let id = alert["deliveries"][0]["message_id"].as_str().expect("an id").to_owned();
    let received = bench.friend.received();
    received
        .iter()
        .find(|message| message.id == id)
        .expect("delivered")
        .timer
}

fn wait_recorded(relay: &Relay, count: u64) {
    relay.wait_status("not recorded", |status| {
        status["sessions"][0]["inbound_recorded"] == count
    });
}

#[test]
fn a_chat_with_one_person_keeps_its_timer() {
    let (bench, relay) = bench(|bench| vec![("hidden", vec![format!("{}@lid", bench.friend.lid())])]).go_online();
    assert_eq!(timer_now(&bench, &relay, "friend"), None);
    bench.friend.set_timer(OWNER, DAY);
    wait_recorded(&relay, 1);
    assert_eq!(timer_now(&bench, &relay, "friend"), Some(DAY));
    assert_eq!(
        timer_now(&bench, &relay, "hidden"),
        Some(DAY),
        "the same chat by another name"
    );
    relay.kill();
    let relay = bench.site.start();
    relay.wait_online();
    assert_eq!(timer_now(&bench, &relay, "friend"), Some(DAY), "after a kill");
    // Set on the account's own phone, and the chat goes by the hidden id.
    bench.lab.set_naming(Naming::Lid);
    bench.owner.set_timer(FRIEND, 7 * DAY);
    wait_recorded(&relay, 2);
    assert_eq!(timer_now(&bench, &relay, "friend"), Some(7 * DAY));
    bench.friend.set_timer(OWNER, 0);
    wait_recorded(&relay, 3);
    assert_eq!(timer_now(&bench, &relay, "friend"), None);
    // Without the message that tells of a change, a text shows it.
    bench.friend.set_timer_quietly(OWNER, 90 * DAY);
    bench.friend.send_text(OWNER, "with a timer");
    wait_recorded(&relay, 4);
    assert_eq!(timer_now(&bench, &relay, "friend"), Some(90 * DAY));
    bench.friend.set_timer_quietly(OWNER, 0);
    bench.friend.send_text(OWNER, "without");
    wait_recorded(&relay, 5);
    assert_eq!(timer_now(&bench, &relay, "friend"), None);
    bench.assert_quiet();
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_group_keeps_its_timer() {
    let timed = |timer| GroupKind {
        timer,
        ..GroupKind::default()
    };
    let bench = bench(|bench| vec![("group", vec![bench.group.clone()])]);
    bench.lab.set_group_kind(&bench.group, timed(DAY), false);
    let (bench, relay) = bench.go_online();
    assert_eq!(timer_now(&bench, &relay, "group"), Some(DAY));
    bench.lab.set_group_kind(&bench.group, timed(7 * DAY), true);
    wait_timer(&bench, &relay, "group", Some(7 * DAY));
    bench.lab.set_group_kind(&bench.group, timed(0), true);
    wait_timer(&bench, &relay, "group", None);
    assert_eq!(relay.stop(), 0);
    // Changed while nobody listened.
    bench.lab.set_group_kind(&bench.group, timed(90 * DAY), false);
    let relay = bench.site.start();
    relay.wait_online();
    assert_eq!(timer_now(&bench, &relay, "group"), Some(90 * DAY));
    // A chat with a member is another chat.
    assert_eq!(timer_now(&bench, &relay, "friend"), None);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_number_that_is_refused_is_asked_about_again() {
    const MOVED: &str = "15550100095";
    let bench = bench(|bench| {
        bench.lab.account(MOVED, "Moved");
        vec![("moved", vec![format!("+{MOVED}")])]
    });
    let (bench, relay) = bench.go_online();
    relay.wait_step(&relay.publish("moved", "before"), "delivered");
    assert_eq!(bench.lab.contacts_asked().len(), 1);
    // From now on the server has the person under another number, and takes nothing for the old one.
    let now = bench.lab.account("155509100095", "Moved");
    bench.lab.also_known_as(MOVED, "155509100095");
    bench.lab.set_registered(MOVED, false);
    let refused = relay.publish("moved", "refused");
    if delivery(&relay, &refused, "sent")["state"] == "failed" {
        assert_eq!(bench.site.run(&["queue", "retry", &refused]).status.code(), Some(0));
    }
    relay.wait_step(&refused, "delivered");
    assert_eq!(now.wait_received(1, SOON)[0].text, "refused");
    assert_eq!(bench.lab.contacts_asked().len(), 2);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_group_whose_timer_is_not_told_gets_its_alerts_all_the_same() {
    let bench = bench(|bench| vec![("group", vec![bench.group.clone()])]);
    let kind = GroupKind {
        timer: DAY,
        ..GroupKind::default()
    };
    bench.lab.set_group_kind(&bench.group, kind, false);
    let (bench, relay) = bench.go_online();
    bench.lab.refuse_groups(1);
    assert_eq!(timer_now(&bench, &relay, "group"), None);
    // Asking again at once would not help a server that limits us. Who writes there shows the timer.
    bench.friend.set_timer_quietly(&bench.group, DAY);
    bench.friend.send_text(&bench.group, "with a timer");
    wait_recorded(&relay, 1);
    assert_eq!(timer_now(&bench, &relay, "group"), Some(DAY));
    let questions = bench.lab.stanza_log();
    let about_groups = questions.iter().filter(|seen| {
        let xmlns = seen
            .node
            .attrs()
            .optional_string("xmlns")
            .map(|value| value.into_owned());
        seen.direction == Direction::FromClient && xmlns.as_deref() == Some("w:g2")
    });
    assert_eq!(about_groups.count(), 2, "one for the timer, one for the members");
    assert_eq!(relay.stop(), 0);
}
