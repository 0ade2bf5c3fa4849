//! What becomes of a delivery that the server refuses, and when it is tried again.

use std::time::Duration;

use super::super::*;
use super::{Bench, SECOND, recipient, session};
use crate::alert::Recipient;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

fn note(bench: &Bench, id: &str) -> String {
    bench.outbox.get(id).unwrap().deliveries[0].note.clone()
}

fn held(bench: &Bench) -> Vec<Hold> {
    bench.outbox.held_recipients().map(|(_, _, hold)| hold).collect()
}

/// Until the next deadline, which is then over.
fn pause(bench: &mut Bench) -> Duration {
    let before = bench.now.mono;
    bench.next();
    bench.now.mono - before
}

fn is_about(pause: Duration, nominal: Duration) -> bool {
    pause >= nominal * 4 / 5 && pause <= nominal * 6 / 5
}

fn asked(code: u16) -> SendFailure {
    SendFailure::Refused { code, backoff: None }
}

fn heard(bench: &mut Bench, who: &str) {
    let from = vec![Recipient::Lid("100000000000009".into()), recipient(who)];
    bench.handle(Input::Heard {
        session: session(),
        from,
    });
}

#[test]
fn what_looks_final_is_final_after_one_more_try_with_everything_asked_anew() {
    for code in [
        "400", "401", "403", "404", "405", "406", "410", "413", "420", "421", "479", "487", "488", "489", "490", "491",
        "493", "550", "551",
    ] {
        let mut bench = Bench::up();
        bench.accept(&["1"]);
        bench.accept(&["1"]);
        bench.take_sends();
        bench.ack("M11", Some(code));
        assert_eq!(bench.step("A1"), Step::Accepted, "{code}");
        assert!(note(&bench, "A1").contains(code), "{code}");
        assert!(pause(&mut bench) < SECOND * 2, "{code}");
        assert_eq!(
            (bench.take_sends(), bench.fresh.len()),
            (vec!["M11".to_owned()], 1),
            "{code}"
        );
        bench.ack("M11", Some(code));
        assert_eq!(bench.step("A1"), Step::Failed, "{code}");
        let words = note(&bench, "A1");
        assert!(
            words.ends_with(&format!("(code {code})")) && words.len() > 40,
            "{words}"
        );
        assert_eq!(bench.take_sends(), ["M21"], "one that failed does not block the next");
        assert_eq!(bench.fresh.len(), 1, "of the next nothing is known to be out of date");
        bench.ack("M21", None);
    }
}

#[test]
fn one_that_the_fresh_try_carries_through_is_sent_and_its_note_is_gone() {
    for code in ["400", "421", "479", "420", "403"] {
        let mut bench = Bench::up();
        bench.accept(&["1"]);
        bench.ack("M11", Some(code));
        bench.next();
        bench.ack("M11", None);
        assert_eq!(
            (bench.step("A1"), note(&bench, "A1").as_str()),
            (Step::Sent, ""),
            "{code}"
        );
        assert_eq!(bench.take_sends(), ["M11", "M11"], "{code}");
    }
}

#[test]
fn trouble_on_the_way_does_not_use_up_the_fresh_try() {
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    bench.ack("M11", Some("403"));
    bench.next();
    bench.fail("M11", false);
    bench.next();
    bench.fail_with("M11", asked(429));
    bench.next();
    bench.handle(Input::SessionDown(session()));
    bench.ack("M11", Some("403"));
    assert_eq!(
        bench.step("A1"),
        Step::Accepted,
        "an answer to nothing that is under way"
    );
    bench.handle(Input::SessionUp(session()));
    assert_eq!((bench.take_sends().len(), bench.fresh.len()), (5, 4));
    bench.ack("M11", Some("503"));
    bench.next();
    bench.ack("M11", Some("403"));
    assert_eq!((bench.step("A1"), bench.fresh.len()), (Step::Failed, 5));
}

#[test]
fn a_question_that_is_refused_is_asked_once_more_and_then_the_alert_has_failed() {
    for code in [401, 403, 404, 406, 410, 420] {
        let mut bench = Bench::up();
        bench.accept(&["1"]);
        bench.fail_with("M11", asked(code));
        bench.next();
        assert_eq!((bench.step("A1"), bench.fresh.len()), (Step::Accepted, 1));
        bench.fail_with("M11", asked(code));
        assert_eq!(bench.step("A1"), Step::Failed);
        assert!(note(&bench, "A1").contains(&format!("question before sending was answered with code {code}")));
    }
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    bench.fail("M11", true);
    assert_eq!(
        bench.step("A1"),
        Step::Failed,
        "what was never a request is no better asked anew"
    );
}

#[test]
fn a_person_who_has_mended_it_may_have_it_sent_again() {
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    bench.refuse("M11", "403");
    bench.outbox.retry(bench.now, "A1").unwrap();
    bench.drain();
    assert_eq!((bench.step("A1"), bench.take_sends().len()), (Step::Accepted, 3));
    bench.refuse("M11", "403");
    assert_eq!(
        (bench.step("A1"), bench.fresh.len()),
        (Step::Failed, 2),
        "with a fresh try of its own"
    );
}

#[test]
fn trouble_of_the_server_is_tried_for_ever_and_an_unknown_code_once_with_everything_asked_anew() {
    for (code, fresh) in [
        ("500", 0),
        ("503", 0),
        ("552", 0),
        ("nonsense", 1),
        ("402", 1),
        ("599", 1),
        ("", 1),
    ] {
        let mut bench = Bench::up();
        bench.accept(&["1"]);
        for _ in 0..20 {
            bench.ack("M11", Some(code));
            assert!(pause(&mut bench) <= MINUTE * 6 / 5);
        }
        assert_eq!(
            (bench.step("A1"), bench.take_sends().len()),
            (Step::Accepted, 21),
            "{code}"
        );
        assert_eq!(bench.fresh.len(), fresh, "{code}");
        bench.ack("M11", None);
        assert_eq!(bench.step("A1"), Step::Sent);
    }
}

#[test]
fn pauses_for_a_rate_limit_grow_to_a_quarter_of_an_hour_over_new_lines_and_others_go_on() {
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    let mut questions_in_three_minutes = 0;
    let began = bench.now.mono;
    for seconds in [10, 20, 40, 80, 160, 320, 640, 900, 900, 900] {
        if bench.now.mono - began < MINUTE * 3 {
            questions_in_three_minutes += 1;
        }
        bench.fail_with("M11", asked(429));
        assert_eq!(held(&bench), [Hold::RateLimited]);
        bench.handle(Input::SessionDown(session()));
        bench.handle(Input::SessionUp(session()));
        bench.take_sends();
        let pause = pause(&mut bench);
        assert!(is_about(pause, SECOND * seconds), "{seconds}: {pause:?}");
        assert_eq!(bench.take_sends(), ["M11"]);
    }
    assert!(questions_in_three_minutes <= 6);
    assert!(note(&bench, "A1").contains("WhatsApp is limiting this account"));
    bench.accept(&["2"]);
    assert_eq!(bench.take_sends(), ["M22"]);
    bench.ack("M22", None);
    assert_eq!(held(&bench), [Hold::RateLimited], "another's answer is not this one's");
    bench.ack("M11", None);
    assert_eq!(held(&bench), []);
    // It is over: the next one begins anew.
    bench.accept(&["1"]);
    bench.fail_with("M31", asked(429));
    assert!(is_about(pause(&mut bench), SECOND * 10));
}

#[test]
fn a_pause_that_the_server_names_is_kept_within_bounds() {
    for (seconds, nominal) in [(5, 10), (100, 100), (100_000, 3600)] {
        let mut bench = Bench::up();
        bench.accept(&["1"]);
        let backoff = Some(SECOND * seconds);
        bench.fail_with("M11", SendFailure::Refused { code: 429, backoff });
        let pause = pause(&mut bench);
        assert!(is_about(pause, SECOND * nominal) && (pause >= SECOND * 5), "{pause:?}");
    }
}

#[test]
fn a_pause_that_the_server_names_is_kept_whatever_its_answer_was() {
    // One that ends an alert when it comes again, one that passes, one that nobody knows, and a hold.
    for code in [404, 503, 599, 429] {
        let mut bench = Bench::up();
        bench.accept(&["1"]);
        bench.take_sends();
        let backoff = Some(SECOND * 100);
        bench.fail_with("M11", SendFailure::Refused { code, backoff });
        // A new line is no leave to ask sooner.
        bench.handle(Input::SessionDown(session()));
        bench.handle(Input::SessionUp(session()));
        assert_eq!(bench.take_sends(), Vec::<String>::new(), "{code}");
        let pause = pause(&mut bench);
        assert!(pause >= SECOND * 99 && pause <= SECOND * 120, "{code}: {pause:?}");
    }
}

#[test]
fn a_message_that_is_refused_as_too_much_waits_a_minute_first() {
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    for minutes in [1, 2, 4, 8, 15, 15] {
        bench.ack("M11", Some("429"));
        let pause = pause(&mut bench);
        assert!(is_about(pause, MINUTE * minutes), "{minutes}: {pause:?}");
    }
}

#[test]
fn who_must_write_first_is_tried_at_intervals_that_grow_to_hours_and_at_once_when_they_wrote() {
    for (code, hold, words) in [
        ("463", Hold::NotWritten, "they must write to you first"),
        ("475", Hold::NewChatsCapped, "begin no more new chats"),
    ] {
        let mut bench = Bench::up();
        for to in [&["1"][..], &["1"], &["2"]] {
            bench.accept(to);
        }
        assert_eq!(bench.take_sends(), ["M11", "M32"]);
        bench.ack("M32", None);
        for minutes in [1, 2, 4, 8, 16, 32, 64, 128, 240, 240] {
            bench.ack("M11", Some(code));
            assert_eq!(held(&bench), [hold]);
            bench.handle(Input::SessionDown(session()));
            bench.handle(Input::SessionUp(session()));
            let pause = pause(&mut bench);
            assert!(is_about(pause, MINUTE * minutes), "{code} {minutes}: {pause:?}");
            assert_eq!(bench.take_sends(), ["M11"]);
        }
        bench.ack("M11", Some(code));
        assert!(note(&bench, "A1").contains(words), "{}", note(&bench, "A1"));
        heard(&mut bench, "3");
        assert_eq!(bench.take_sends(), [""; 0], "somebody else wrote");
        heard(&mut bench, "1");
        assert_eq!(bench.take_sends(), ["M11"]);
        bench.ack("M11", None);
        assert_eq!((bench.take_sends(), held(&bench)), (vec!["M21".to_owned()], vec![]));
        bench.ack("M21", None);
    }
}

#[test]
fn what_opens_the_chat_may_come_a_little_after_their_message() {
    let mut bench = Bench::up();
    bench.accept(&["1"]);
    for _ in 0..5 {
        bench.ack("M11", Some("463"));
        bench.next();
    }
    // While an attempt is under way: its refusal is older than their word.
    heard(&mut bench, "1");
    for seconds in [1, 2, 4, 8] {
        bench.ack("M11", Some("463"));
        assert!(is_about(pause(&mut bench), SECOND * seconds));
    }
    // It did not help. That is no reason to ask for ever.
    bench.pass(MINUTE * 3);
    bench.next();
    bench.ack("M11", Some("463"));
    assert!(is_about(pause(&mut bench), MINUTE));
}

#[test]
fn a_word_of_theirs_ends_no_pause_of_another_kind() {
    for refuse in [Some("429"), Some("503"), None] {
        let mut bench = Bench::up();
        bench.accept(&["1"]);
        bench.take_sends();
        match refuse {
            Some(code) => bench.ack("M11", Some(code)),
            None => bench.fail("M11", false),
        }
        heard(&mut bench, "1");
        assert_eq!(bench.take_sends(), [""; 0], "{refuse:?}");
    }
}

#[test]
fn what_is_dropped_by_hand_does_not_let_the_next_one_ask_at_once() {
    for failure in ["429", "463"] {
        let mut bench = Bench::up();
        for _ in 0..3 {
            bench.accept(&["1"]);
        }
        bench.take_sends();
        for _ in 0..6 {
            bench.ack("M11", Some(failure));
            bench.next();
        }
        bench.ack("M11", Some(failure));
        bench.take_sends();
        for id in ["A1", "A2"] {
            bench.outbox.drop_alert(bench.now, id).unwrap();
            bench.drain();
            assert_eq!(bench.take_sends(), [""; 0], "{failure}");
        }
        assert!(pause(&mut bench) > MINUTE * 10, "{failure}");
        assert_eq!(bench.take_sends(), ["M31"]);
        // By hand it is: now.
        bench.ack("M31", Some(failure));
        bench.outbox.retry(bench.now, "A3").unwrap();
        bench.drain();
        assert_eq!(bench.take_sends(), ["M31"]);
    }
}

#[test]
fn a_hundred_recipients_who_must_write_first_hold_nobody_up() {
    let mut bench = Bench::new(Limits {
        in_flight_max: 2,
        ..Limits::default()
    });
    bench.handle(Input::SessionUp(session()));
    for number in 10..110 {
        bench.accept(&[&number.to_string()]);
    }
    let mut refused = 0;
    while let Some(message) = bench.take_sends().pop() {
        bench.ack(&message, Some("463"));
        refused += 1;
        if refused > 300 {
            break;
        }
    }
    bench.accept(&["1"]);
    for _ in 0..300 {
        if bench.take_sends().contains(&"M1011".to_owned()) {
            break;
        }
        bench.next();
    }
    assert!(bench.now.mono.elapsed() < HOUR);
    bench.ack("M1011", None);
    assert_eq!(bench.step("A101"), Step::Sent);
}
