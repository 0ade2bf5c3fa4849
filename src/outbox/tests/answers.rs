//! Answers in the chats, and which alerts they acknowledge.

use super::*;
use crate::alert::Priority;

const MINUTE: Duration = Duration::from_secs(60);
const GROUP: &str = "120363000000000000@g.us";

fn watched(acks: AckRules) -> RouteRules {
    RouteRules {
        mark_late: None,
        repeat: Some(Repeat {
            every: MINUTE * 10,
            times: 2,
            from: Priority::High,
        }),
        acks,
        ..RouteRules::default()
    }
}

fn bench(acks: AckRules) -> Bench {
    let mut bench = Bench::new(Limits::default());
    bench.outbox.set_rules(Rules {
        routes: BTreeMap::from([("family".parse().unwrap(), watched(acks))]),
        ..Rules::default()
    });
    bench.handle(Input::SessionUp(session()));
    bench
}

fn only(names: &[&str]) -> AckRules {
    AckRules {
        from: Some(names.iter().map(|name| name.parse().unwrap()).collect()),
        ..AckRules::default()
    }
}

fn fire() -> Alert {
    Alert {
        text: "fire".into(),
        priority: Priority::Max,
        ..Alert::default()
    }
}

fn names(of: &[&str]) -> Vec<Recipient> {
    of.iter().map(|name| name.parse().unwrap()).collect()
}

fn message(id: &str) -> MessageId {
    MessageId(id.into())
}

/// An answer in the chat `chat` of somebody with all the names of `from`.
fn answer(chat: &str, from: &[&str], id: &str, said: Said) -> super::super::Answer {
    super::super::Answer {
        session: session(),
        chat: names(&[chat]),
        from: names(from),
        id: id.into(),
        said,
    }
}

fn word(text: &str) -> Said {
    Said::Text(text.into())
}

impl Bench {
    fn answered(&mut self, answer: &super::super::Answer) -> Answered {
        let answered = self.outbox.answer(self.now, answer);
        self.drain();
        answered
    }

    fn acked(&self, id: &str) -> Option<(String, AnswerKind)> {
        let ack = self.outbox.get(id)?.attention.acked.clone()?;
        Some((ack.by, ack.answer?.how))
    }
}

#[test]
fn a_reaction_a_reply_and_a_word_acknowledge_the_one_alert_that_waits() {
    let said = [
        (Said::Reaction(message("M11")), AnswerKind::Reaction),
        (Said::Reply(message("M11")), AnswerKind::Reply),
        (word(" OK!\n"), AnswerKind::Text),
        (word("👍\u{1f3fd}"), AnswerKind::Text),
    ];
    for (said, how) in said {
        let mut bench = bench(AckRules::default());
        bench.accept_to(&["+15550101"], fire());
        bench.ack("M11", None);
        let given = answer("+15550101", &["+15550101", "100000000000002@lid"], "X", said);
        assert_eq!(bench.answered(&given), Answered::Acknowledged);
        assert_eq!(bench.acked("A1"), Some(("+15550101".into(), how)));
        let told = bench
            .happened
            .iter()
            .filter(|it| it.what == TransitionKind::Acknowledged);
        assert_eq!(told.count(), 1);
        // It is not said again.
        bench.pass(MINUTE * 60);
        assert!(bench.follow_ups.is_empty());
        // The same once more, and another: the first counts.
        assert_eq!(bench.answered(&given), Answered::Acknowledged);
        let later = answer("+15550101", &["me"], "Y", Said::Reaction(message("M11")));
        assert_eq!(bench.answered(&later), Answered::Nothing);
        assert_eq!(bench.acked("A1"), Some(("+15550101".into(), how)));
        let told = bench
            .happened
            .iter()
            .filter(|it| it.what == TransitionKind::Acknowledged);
        assert_eq!(told.count(), 1);
    }
}

#[test]
fn a_word_is_clear_only_where_one_alert_waits_in_its_chat() {
    let mut bench = bench(AckRules::default());
    let ok = |id: &str| answer("+15550101", &["+15550101"], id, word("ok"));
    assert_eq!(bench.answered(&ok("X0")), Answered::Nothing);
    bench.accept_to(&["+15550101"], fire());
    bench.accept_to(&["+15550102"], fire());
    // What is not urgent enough waits for nobody.
    bench.accept_to(&["+15550101"], Alert::default());
    for id in ["M11", "M31", "M22"] {
        bench.ack(id, None);
    }
    assert_eq!(
        bench.answered(&answer("+15550101", &["+15550101"], "X1", word("oksana"))),
        Answered::Nothing
    );
    assert_eq!(bench.answered(&ok("X2")), Answered::Acknowledged);
    assert_eq!((bench.acked("A1").is_some(), bench.acked("A2")), (true, None));
    bench.accept_to(&["+15550101"], fire());
    bench.ack("M41", None);
    bench.accept_to(&["+15550101"], fire());
    // The same message once more, perhaps after a crash: it has been about the first.
    assert_eq!(bench.answered(&ok("X2")), Answered::Acknowledged);
    assert_eq!(bench.acked("A4"), None);
    // The last is under way: it may be there.
    assert_eq!(bench.answered(&ok("X3")), Answered::Ambiguous(2));
    assert_eq!((bench.acked("A4"), bench.acked("A5")), (None, None));
    assert_eq!(
        bench.answered(&answer("+15550101", &["+15550101"], "X4", Said::Reply(message("M51")))),
        Answered::Acknowledged
    );
    assert_eq!(bench.answered(&ok("X5")), Answered::Acknowledged);
    assert!(bench.acked("A4").is_some() && bench.acked("A5").is_some());
}

#[test]
fn what_was_not_shown_yet_makes_no_word_ambiguous() {
    let mut bench = bench(AckRules::default());
    bench.accept_to(&["+15550101"], fire());
    bench.ack("M11", None);
    bench.handle(Input::SessionDown(session()));
    bench.accept_to(&["+15550101"], fire());
    assert_eq!(
        bench.answered(&answer("+15550101", &["+15550101"], "X", word("okay."))),
        Answered::Acknowledged
    );
    assert!(bench.acked("A1").is_some() && bench.acked("A2").is_none());
}

#[test]
fn whoever_may_not_is_told_of_once_however_often_the_answer_comes() {
    let mut bench = bench(only(&["me"]));
    bench.accept_to(&["+15550101"], fire());
    bench.ack("M11", None);
    let react = |id: &str| answer("+15550101", &["+15550101"], id, Said::Reaction(message("M11")));
    for id in ["X1", "X1", "X1", "X2"] {
        assert_eq!(bench.answered(&react(id)), Answered::Unheeded);
    }
    let told = bench.happened.iter().filter(|it| it.what == TransitionKind::Unheeded);
    assert_eq!(told.count(), 2);
}

#[test]
fn an_answer_whose_id_would_not_fit_into_a_record_changes_nothing() {
    let mut bench = bench(AckRules::default());
    bench.accept_to(&["+15550101"], fire());
    bench.ack("M11", None);
    let react = |id: &str| answer("+15550101", &["+15550101"], id, Said::Reaction(message("M11")));
    assert_eq!(bench.answered(&react(&"X".repeat(129))), Answered::Nothing);
    assert_eq!(bench.answered(&react(&"X".repeat(128))), Answered::Acknowledged);
}

#[test]
fn a_word_is_not_about_what_the_server_has_not_taken() {
    let ok = |id: &str| answer("+15550101", &["+15550101"], id, word("ok"));
    let mut bench = bench(AckRules::default());
    bench.accept_to(&["+15550101"], fire());
    assert_eq!(bench.take_sends(), ["M11"]);
    // It is on a line that may be dead, and the word has perhaps lain at the server.
    assert_eq!(bench.answered(&ok("X1")), Answered::Nothing);
    bench.handle(Input::SessionDown(session()));
    assert_eq!(bench.answered(&ok("X2")), Answered::Nothing);
    bench.handle(Input::SessionUp(session()));
    bench.ack("M11", None);
    assert_eq!(bench.answered(&ok("X3")), Answered::Acknowledged);
}

#[test]
fn after_a_restart_a_word_is_not_about_what_was_perhaps_never_shown() {
    let mut before = bench(AckRules::default());
    before.handle(Input::SessionDown(session()));
    before.accept_to(&["+15550101"], fire());
    before.accept_to(&["+15550101"], fire());
    let disk: Vec<AlertRecord> = ["A1", "A2"].map(|id| before.outbox.get(id).unwrap().clone()).into();
    let ok = |id: &str| answer("+15550101", &["+15550101"], id, word("ok"));
    let mut after = bench(AckRules::default());
    after.handle(Input::SessionDown(session()));
    after.outbox.restore(after.now, disk[..1].iter().cloned());
    assert_eq!(after.answered(&ok("X1")), Answered::Nothing);
    after.handle(Input::SessionUp(session()));
    after.ack("M11", None);
    assert_eq!(after.answered(&ok("X2")), Answered::Acknowledged);
    // But it makes one about another unclear.
    let mut after = bench(AckRules::default());
    after.outbox.restore(after.now, disk.iter().cloned());
    after.handle(Input::SessionUp(session()));
    assert_eq!(after.answered(&ok("X3")), Answered::Ambiguous(2));
}

#[test]
fn it_counts_before_the_servers_ack_and_only_where_the_message_went() {
    let mut bench = bench(AckRules::default());
    bench.accept_to(&["+15550101", "+15550102"], fire());
    let react = |chat: &str, from: &str, to: &str| answer(chat, &[from], "X", Said::Reaction(message(to)));
    for (chat, from, to) in [
        ("+15550101", "+15550101", "M99"),
        ("+15550101", "+15550101", "M12"),
        ("+15550103", "+15550103", "M11"),
        (GROUP, "+15550101", "M11"),
    ] {
        assert_eq!(
            bench.answered(&react(chat, from, to)),
            Answered::Nothing,
            "{chat} {from} {to}"
        );
    }
    let mut other = react("+15550101", "+15550101", "M11");
    other.session = "second".parse().unwrap();
    assert_eq!(bench.answered(&other), Answered::Nothing);
    assert_eq!(bench.acked("A1"), None);
    assert_eq!(
        bench.answered(&react("+15550101", "+15550101", "M11")),
        Answered::Acknowledged
    );
    assert_eq!(bench.acked("A1"), Some(("+15550101".into(), AnswerKind::Reaction)));
}

#[test]
fn only_who_may_acknowledges_and_the_journal_tells_of_the_others() {
    // Who may, where the alert went, who answers, and whether that counts.
    let cases: [(AckRules, &str, &[&str], bool); 9] = [
        // The account itself writes in the chat of somebody else.
        (AckRules::default(), "+15550101", &["me", "+15550109"], false),
        (only(&["me"]), "+15550101", &["me", "+15550109"], true),
        (only(&["me"]), "+15550101", &["+15550101"], false),
        (
            only(&["100000000000002@lid"]),
            "+15550101",
            &["+15550101", "100000000000002@lid"],
            true,
        ),
        (AckRules::default(), GROUP, &["+15550107"], true),
        (
            only(&["+15550108"]),
            GROUP,
            &["+15550107", "100000000000007@lid"],
            false,
        ),
        (only(&["+15550108"]), GROUP, &["100000000000008@lid", "+15550108"], true),
        (only(&[GROUP]), GROUP, &["100000000000007@lid"], true),
        (only(&["+15550108"]), GROUP, &[], false),
    ];
    for (acks, to, from, counts) in cases {
        for said in [Said::Reaction(message("M")), word("ok")] {
            let mut bench = bench(acks.clone());
            bench.accept_to(&[to], fire());
            let id = bench.take_sends().remove(0);
            bench.ack(&id, None);
            let said = match said {
                Said::Text(text) => Said::Text(text),
                _ => Said::Reaction(message(&id)),
            };
            let answered = bench.answered(&answer(to, from, "X", said));
            let unheeded = bench
                .happened
                .iter()
                .filter(|it| it.what == TransitionKind::Unheeded)
                .count();
            let expected = if counts {
                Answered::Acknowledged
            } else {
                Answered::Unheeded
            };
            assert_eq!(
                (answered, unheeded),
                (expected, usize::from(!counts)),
                "{acks:?} {to} {from:?}"
            );
            assert_eq!(bench.acked("A1").is_some(), counts);
        }
    }
}

#[test]
fn a_message_with_several_alerts_is_about_all_of_them_and_a_reminder_about_its_alert() {
    let mut bench = bench(AckRules::default());
    bench.outbox.policy = Box::<gather::Gather>::default();
    let low = Alert {
        priority: Priority::Low,
        ..fire()
    };
    let mut rules = watched(AckRules::default());
    rules.repeat.as_mut().unwrap().from = Priority::Low;
    bench.outbox.rules.routes.insert("family".parse().unwrap(), rules);
    bench.accept_to(&["+15550101"], low.clone());
    bench.accept_to(&["+15550101"], low);
    while bench.sends.is_empty() {
        for (id, seq) in std::mem::take(&mut bench.made) {
            bench.handle(Input::MessageDurable {
                message_id: message(&id),
                seq,
            });
        }
        if bench.sends.is_empty() {
            bench.pass(MINUTE);
        }
    }
    let id = bench.take_sends().remove(0);
    bench.ack(&id, None);
    let given = answer("+15550101", &["+15550101"], "X", Said::Reaction(message(&id)));
    assert_eq!(bench.answered(&given), Answered::Acknowledged);
    assert!(bench.acked("A1").is_some() && bench.acked("A2").is_some());
}
