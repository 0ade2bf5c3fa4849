//! Whose word counts: a receipt proves something where it comes from the recipient, and a device is sent again only
//! what was for it.

use super::*;

const GROUP: &str = "120363000000000000@g.us";

fn names(names: &[&str]) -> Vec<Recipient> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn accept(bench: &mut Bench, to: &str) -> String {
    let alert = Alert {
        text: "the text".into(),
        ..Alert::default()
    };
    let seq = bench.accept_to(&[to], alert);
    format!("M{seq}{to}")
}

#[test]
fn only_the_recipients_word_is_a_receipt() {
    let number = ["+15550100002", "100000000000002@lid"];
    let own = ["me", "+15550100001", "100000000000001@lid"];
    let stranger = ["+15550100009"];
    let group = [GROUP];
    let other_group = ["120363000000000001@g.us"];
    let cases: [(&str, &[&str], bool); 12] = [
        ("+15550100002", &number, true),
        ("100000000000002@lid", &number, true),
        ("+15550100002", &stranger, false),
        ("+15550100002", &own, false),
        ("+15550100002", &group, false),
        ("+15550100002", &[], false),
        (GROUP, &group, true),
        (GROUP, &other_group, false),
        (GROUP, &number, false),
        (GROUP, &[], false),
        ("me", &own, true),
        ("me", &stranger, false),
    ];
    for kind in [ReceiptKind::Delivered, ReceiptKind::Read] {
        for (to, from, counts) in cases {
            for acked in [false, true] {
                let mut bench = Bench::up();
                let message = accept(&mut bench, to);
                let before = match acked {
                    true => {
                        bench.ack(&message, None);
                        Step::Sent
                    }
                    false => Step::Accepted,
                };
                bench.handle(Input::Receipt {
                    session: session(),
                    message_id: MessageId(message),
                    kind,
                    from: names(from),
                });
                let proven = match kind {
                    ReceiptKind::Read => Step::Read,
                    ReceiptKind::Delivered | ReceiptKind::OwnDevice => Step::Delivered,
                };
                let expected = if counts { proven } else { before };
                assert_eq!(bench.step("A1"), expected, "{to} {from:?} {kind:?}");
            }
        }
    }
}

fn ask(bench: &mut Bench, session: SessionName, message: &str, from: &[&str]) -> Vec<(String, String, String)> {
    bench.handle(Input::AskedAgain {
        session,
        message_id: MessageId(message.into()),
        from: names(from),
        by: "device".into(),
    });
    std::mem::take(&mut bench.again)
}

#[test]
fn a_device_gets_again_what_was_for_it_and_nothing_else() {
    let mut bench = Bench::up();
    let message = accept(&mut bench, "+15550100002");
    let friend = ["+15550100002"];
    assert_eq!(
        ask(&mut bench, session(), &message, &friend),
        [],
        "it is on its way anyway"
    );
    bench.ack(&message, None);
    let again = [(message.clone(), "the text".to_owned(), "device".to_owned())];
    assert_eq!(ask(&mut bench, session(), &message, &friend), again);
    assert_eq!(
        ask(&mut bench, session(), &message, &["me", "+15550100001"]),
        again,
        "its copy"
    );
    assert_eq!(ask(&mut bench, session(), &message, &["+15550100009"]), []);
    assert_eq!(ask(&mut bench, session(), &message, &[]), []);
    assert_eq!(ask(&mut bench, session(), "unknown", &friend), []);
    assert_eq!(ask(&mut bench, "other".parse().unwrap(), &message, &friend), []);
    bench.receipt(&message, ReceiptKind::Read);
    assert_eq!(
        ask(&mut bench, session(), &message, &friend),
        again,
        "another device of theirs"
    );
    assert_eq!((bench.step("A1"), bench.sends.len()), (Step::Read, 1));

    let refused = accept(&mut bench, "+15550100002");
    bench.fail(&refused, true);
    assert_eq!(ask(&mut bench, session(), &refused, &friend), [], "a person decides");

    let to_group = accept(&mut bench, GROUP);
    bench.ack(&to_group, None);
    assert_eq!(ask(&mut bench, session(), &to_group, &[GROUP, "+15550100002"]).len(), 1);
    assert_eq!(ask(&mut bench, session(), &to_group, &["+15550100002"]), []);
}
