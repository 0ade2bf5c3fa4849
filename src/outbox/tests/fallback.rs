//! What goes to a fallback, when, and what becomes of it.

use super::*;
use crate::alert::{FallbackName, Priority};

const AFTER: Duration = Duration::from_secs(300);

fn ntfy() -> FallbackName {
    "ntfy".parse().unwrap()
}

fn rules(both: bool) -> Rules {
    let family = RouteRules {
        fallback: Some(FallbackRules {
            after: AFTER,
            to: vec![ntfy()],
            both,
        }),
        ..RouteRules::default()
    };
    Rules {
        routes: [("family".parse().unwrap(), family)].into(),
        ..Rules::default()
    }
}

/// With a fallback, and up.
fn bench(both: bool) -> Bench {
    let mut bench = Bench::new(Limits::default());
    bench.outbox.set_rules(rules(both));
    bench.handle(Input::SessionUp(session()));
    bench
}

impl Bench {
    /// The disk has what was to be written of intents.
    fn intend(&mut self) {
        for (seq, to) in std::mem::take(&mut self.intents) {
            self.handle(Input::IntentDurable { seq, to });
        }
    }

    /// The parcels that are to go out now.
    fn handed(&mut self) -> Vec<Parcel> {
        self.intend();
        std::mem::take(&mut self.parcels)
    }

    /// The next one, which there must be, and how long it took.
    #[track_caller]
    fn next_parcel(&mut self) -> (Parcel, Duration) {
        let from = self.now.mono;
        for _ in 0..1000 {
            if let Some(parcel) = self.handed().pop() {
                return (parcel, self.now.mono - from);
            }
            self.next();
        }
        panic!("nothing is handed over");
    }

    fn take(&mut self, parcel: &Parcel) {
        self.handle(Input::HandedOver {
            to: parcel.to.clone(),
            key: parcel.key.clone(),
        });
    }

    fn come_to_nothing(&mut self, parcel: &Parcel, unclear: bool, refused: bool) {
        self.handle(Input::HandoverFailed {
            to: parcel.to.clone(),
            key: parcel.key.clone(),
            failure: HandoverFailure {
                words: "it said no".into(),
                unclear,
                refused,
                pause: None,
            },
        });
    }

    fn down(&mut self) {
        self.handle(Input::SessionDown(session()));
    }

    fn come_up(&mut self) {
        self.handle(Input::SessionUp(session()));
    }
}

#[test]
fn what_is_not_sent_in_time_is_handed_over_once_the_disk_knows_and_whatsapp_does_not_get_it() {
    let mut bench = bench(false);
    bench.down();
    bench.accept(&["1", "2"]);
    bench.pass(AFTER - SECOND);
    assert!(bench.intents.is_empty(), "too early");
    bench.pass(SECOND);
    assert!(
        bench.parcels.is_empty() && bench.intents == [(1, ntfy())],
        "before the disk knows"
    );
    let intent = &bench.persisted.last().unwrap().handovers[0];
    assert_eq!((intent.state, intent.key.as_str()), (HandoverState::Begun, "A1"));
    let parcel = bench.handed().remove(0);
    assert_eq!((parcel.key.as_str(), parcel.alerts.len()), ("A1", 1));
    assert_eq!(parcel.why, "WhatsApp has been down since 00:00");
    assert_eq!(parcel.alerts[0].remark.as_deref(), Some("raised 1 Jan 00:00"));
    bench.come_up();
    assert!(bench.take_sends().is_empty(), "on both ways at once");
    bench.take(&parcel);
    let record = bench.outbox.get("A1").unwrap().clone();
    assert_eq!(record.step(), Step::Fallback);
    assert_eq!(record.deliveries[0].note, "handed to ntfy at 00:05");
    assert_eq!(record.handovers[0].state, HandoverState::Done);
    bench.pass(DAY);
    bench.down();
    bench.come_up();
    assert!(bench.take_sends().is_empty() && bench.handed().is_empty());
    assert_eq!((bench.outbox.pending_len(), bench.outbox.count(Step::Fallback)), (0, 2));
    let told: Vec<TransitionKind> = bench.happened.iter().map(|it| it.what).collect();
    assert_eq!(
        told,
        [
            TransitionKind::Handover,
            TransitionKind::Fallback,
            TransitionKind::Fallback
        ]
    );
}

#[test]
fn what_comes_while_whatsapp_has_been_down_for_long_does_not_wait_again() {
    let mut bench = bench(false);
    bench.down();
    bench.pass(AFTER + SECOND);
    bench.accept(&["1"]);
    assert_eq!(bench.next_parcel().1, Duration::ZERO);
}

#[test]
fn a_line_that_came_back_gives_an_alert_its_time() {
    let mut bench = bench(false);
    bench.down();
    bench.pass(AFTER - SECOND);
    bench.accept(&["1"]);
    bench.come_up();
    bench.take_sends();
    // It is never acked: each attempt is waited for.
    let (parcel, after) = bench.next_parcel();
    assert!(after >= AFTER, "{after:?}");
    assert!(
        parcel.why.starts_with("WhatsApp has not taken it since "),
        "{}",
        parcel.why
    );
}

#[test]
fn what_whatsapp_refuses_or_lets_expire_is_handed_over_at_once() {
    let mut bench = bench(false);
    bench.accept(&["1"]);
    for _ in 0..2 {
        bench.ack("M11", Some("403"));
        bench.pass(SECOND * 2);
    }
    assert_eq!(bench.step("A1"), Step::Failed);
    assert_eq!(bench.outbox.pending_len(), 1, "it is not over");
    let (parcel, _) = bench.next_parcel();
    assert!(parcel.why.starts_with("WhatsApp refused it: "), "{}", parcel.why);
    bench.take(&parcel);
    assert_eq!((bench.step("A1"), bench.outbox.pending_len()), (Step::Fallback, 0));
    bench.down();
    let alert = Alert {
        text: "short".into(),
        ttl: Some(SECOND * 5),
        ..Alert::default()
    };
    bench.accept_to(&["+15550101"], alert);
    let (parcel, after) = bench.next_parcel();
    assert_eq!(
        (parcel.why.as_str(), after),
        ("it was not sent within its time to live of 5s", SECOND * 5)
    );
}

#[test]
fn a_request_that_nobody_saw_frees_the_alert_and_one_without_an_answer_only_after_a_while() {
    let mut bench = bench(false);
    bench.down();
    bench.accept(&["1"]);
    let (parcel, _) = bench.next_parcel();
    bench.come_to_nothing(&parcel, false, false);
    let troubles = bench.outbox.fallback_troubles();
    assert_eq!((troubles[0].why.as_str(), troubles[0].waiting), ("it said no", 1));
    bench.come_up();
    assert_eq!(bench.take_sends(), ["M11"], "the line is there first");
    bench.ack("M11", None);
    assert_eq!(bench.outbox.pending_len(), 0);
    bench.pass(DAY);
    assert!(bench.handed().is_empty(), "it is sent");

    bench.down();
    bench.accept(&["1"]);
    let (parcel, _) = bench.next_parcel();
    bench.come_to_nothing(&parcel, true, false);
    bench.come_up();
    assert!(bench.take_sends().is_empty(), "it may be there");
    let (again, _) = bench.next_parcel();
    assert_eq!(again.key, parcel.key, "the fallback could not know it again");
    bench.come_to_nothing(&again, false, false);
    assert!(bench.take_sends().is_empty(), "the first may still be there");
    let from = bench.now.mono;
    let mut sends = Vec::new();
    while sends.is_empty() {
        bench.next();
        for parcel in bench.handed() {
            bench.come_to_nothing(&parcel, false, false);
        }
        sends = bench.take_sends();
    }
    assert_eq!(sends, ["M21"]);
    let waited = bench.now.mono - from;
    assert!(waited > SECOND * 500 && waited <= SECOND * 600, "{waited:?}");
}

#[test]
fn pauses_grow_and_what_waits_meanwhile_goes_together_the_urgent_first() {
    let mut bench = bench(false);
    bench.down();
    bench.accept(&["1"]);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let (parcel, pause) = bench.next_parcel();
        pauses.push(pause.as_secs());
        bench.come_to_nothing(&parcel, false, false);
    }
    assert!(
        pauses[1] < 8 && pauses[2] > 7 && pauses[7] > 200 && pauses[7] <= 720,
        "{pauses:?}"
    );
    for _ in 0..60 {
        bench.accept(&["1"]);
    }
    let alert = Alert {
        text: "urgent".into(),
        priority: Priority::Max,
        ..Alert::default()
    };
    bench.accept_to(&["+15550101"], alert);
    bench.pass(AFTER);
    let (first, _) = bench.next_parcel();
    assert_eq!(first.alerts[0].id, "A1", "what was begun comes first");
    bench.take(&first);
    let (second, _) = bench.next_parcel();
    assert_eq!(second.alerts.len(), 50);
    assert!(second.alerts.iter().any(|handed| handed.alert.text == "urgent"));
    bench.take(&second);
    let (third, _) = bench.next_parcel();
    assert_eq!(third.alerts.len(), 11);
    bench.take(&third);
    assert_eq!(bench.outbox.pending_len(), 0);
}

#[test]
fn what_a_fallback_does_not_take_as_it_is_does_not_hold_up_the_others() {
    let mut bench = bench(false);
    bench.down();
    bench.accept(&["1"]);
    for _ in 0..3 {
        let (parcel, _) = bench.next_parcel();
        bench.come_to_nothing(&parcel, false, true);
    }
    let given_up = &bench.outbox.get("A1").unwrap().handovers[0];
    assert_eq!(
        (given_up.state, given_up.note.as_str()),
        (HandoverState::GivenUp, "it said no")
    );
    bench.accept(&["1"]);
    assert_eq!(bench.next_parcel().0.key, "A2");
    bench.come_up();
    assert_eq!(bench.take_sends(), ["M11"], "WhatsApp still gets it");
}

#[test]
fn with_both_whatsapp_gets_it_all_the_same() {
    let mut bench = bench(true);
    bench.down();
    bench.accept(&["1"]);
    let (parcel, _) = bench.next_parcel();
    bench.come_up();
    assert_eq!(bench.take_sends(), ["M11"], "it need not wait");
    bench.take(&parcel);
    bench.ack("M11", None);
    assert_eq!(bench.step("A1"), Step::Sent);
    bench.pass(DAY);
    assert!(bench.handed().is_empty());
}

#[test]
fn a_restart_goes_on_under_the_same_key_and_whatsapp_waits_for_the_answer() {
    let mut first = bench(false);
    first.down();
    first.accept(&["1"]);
    let (parcel, _) = first.next_parcel();
    let record = first.persisted.last().unwrap().clone();
    let mut bench = bench(false);
    bench.now = first.now;
    bench.outbox.restore(bench.now, [record.clone()].into_iter());
    bench.come_up();
    assert!(bench.take_sends().is_empty());
    let (again, _) = bench.next_parcel();
    assert_eq!((&again.key, again.alerts.len()), (&parcel.key, 1));
    bench.take(&again);
    assert_eq!(bench.step("A1"), Step::Fallback);

    // The fallback is gone from the configuration: nobody could answer, and WhatsApp has it.
    let mut bench = Bench::new(Limits::default());
    bench.outbox.restore(bench.now, [record].into_iter());
    bench.come_up();
    assert_eq!(bench.take_sends(), ["M11"]);
}

#[test]
fn a_start_leaves_the_line_a_moment_to_come_up() {
    let mut first = bench(false);
    first.down();
    first.accept(&["1"]);
    let record = first.outbox.get("A1").unwrap().clone();
    let mut bench = Bench::new(Limits::default());
    bench.outbox.set_rules(rules(false));
    bench.now.wall.0 += 3_600_000;
    bench.outbox.restore(bench.now, [record].into_iter());
    let (parcel, after) = bench.next_parcel();
    assert_eq!((after, parcel.alerts.len()), (Duration::from_secs(60), 1));
}

#[test]
fn what_a_policy_holds_back_is_not_late() {
    let mut bench = bench(false);
    bench.outbox.policy = Box::<gather::Gather>::default();
    bench.down();
    // Low ones are gathered.
    let alert = Alert {
        text: "text 1".into(),
        priority: Priority::Low,
        ..Alert::default()
    };
    bench.accept_to(&["+15550101"], alert);
    assert!(bench.outbox.get("A1").unwrap().deliveries[0].message_id.is_none());
    bench.pass(AFTER + SECOND);
    assert!(bench.intents.is_empty(), "its message is not on disk");
    for (id, seq) in std::mem::take(&mut bench.made) {
        let message_id = MessageId(id);
        bench.handle(Input::MessageDurable { message_id, seq });
    }
    assert_eq!(bench.next_parcel().0.key, "A1");
}

#[test]
fn what_is_never_taken_is_given_up_after_a_day() {
    let mut bench = bench(false);
    bench.accept(&["1"]);
    for _ in 0..2 {
        bench.ack("M11", Some("403"));
        bench.pass(SECOND * 2);
    }
    let mut tries = 0;
    while bench.outbox.pending_len() > 0 {
        let (parcel, _) = bench.next_parcel();
        bench.come_to_nothing(&parcel, false, false);
        tries += 1;
        assert!(tries < 1000);
    }
    assert_eq!(bench.step("A1"), Step::Failed);
    assert_eq!(
        bench.outbox.get("A1").unwrap().handovers[0].state,
        HandoverState::GivenUp
    );
}

#[test]
fn what_was_refused_while_another_message_of_it_was_under_way_is_not_forgotten() {
    let mut bench = bench(false);
    bench.accept(&["1", "2"]);
    assert_eq!(bench.take_sends(), ["M11", "M12"]);
    for _ in 0..2 {
        bench.ack("M11", Some("403"));
        bench.pass(SECOND * 2);
    }
    assert!(bench.handed().is_empty(), "the other may still get through");
    bench.ack("M12", None);
    assert_eq!(bench.outbox.pending_len(), 1, "it is not over");
    let (parcel, _) = bench.next_parcel();
    assert_eq!(parcel.alerts[0].id, "A1");
}

#[test]
fn a_message_with_several_alerts_leaves_out_what_a_fallback_has_had() {
    let mut first = bench(false);
    first.down();
    first.accept(&["1"]);
    first.accept(&["1"]);
    let mut records = ["A1", "A2"].map(|id| first.outbox.get(id).unwrap().clone());
    for record in &mut records {
        record.deliveries[0].message_id = Some(MessageId("together".into()));
        record.alert.text = format!("text {}", record.seq);
    }
    records[0].deliveries[0].step = Step::Fallback;
    records[0].handovers = vec![Handover {
        to: ntfy(),
        state: HandoverState::Done,
        since: first.now.wall,
        key: "A1".into(),
        note: String::new(),
    }];
    let mut bench = bench(false);
    bench.outbox.restore(bench.now, records.into_iter());
    bench.come_up();
    assert_eq!(bench.take_sends(), ["together"]);
    assert_eq!(bench.texts["together"], "text 2");
    bench.ack("together", None);
    assert_eq!((bench.step("A1"), bench.step("A2")), (Step::Fallback, Step::Sent));
}

#[test]
fn a_sender_can_take_back_what_no_fallback_may_have() {
    let family: RouteName = "family".parse().unwrap();
    for unclear in [false, true] {
        let mut bench = Bench::new(Limits::default());
        bench.outbox.set_rules(rules(false));
        bench.accept_to(&["+15550101"], Alert::default());
        let (parcel, _) = bench.next_parcel();
        assert_eq!(
            bench.outbox.cancel(bench.now, &family, "A1"),
            Vec::<String>::new(),
            "under way"
        );
        bench.come_to_nothing(&parcel, unclear, false);
        let cancelled = bench.outbox.cancel(bench.now, &family, "A1");
        assert_eq!(
            cancelled.is_empty(),
            unclear,
            "an attempt without an answer may have arrived"
        );
    }
}
