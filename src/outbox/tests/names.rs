//! One recipient under several names: the account by its number, and as `me`.

use super::*;

fn accept(bench: &mut Bench, to: &[&str]) {
    bench.accept_to(to, Alert::default());
}

#[test]
fn a_receipt_of_an_own_device_is_delivery_where_the_account_itself_is_meant() {
    let own = || {
        vec![
            Recipient::Me,
            "+15550100001".parse().unwrap(),
            "100000000000001@lid".parse().unwrap(),
        ]
    };
    for (to, delivered) in [
        ("me", true),
        ("+15550100001", true),
        ("100000000000001@lid", true),
        ("+15550100002", false),
    ] {
        let mut bench = Bench::up();
        accept(&mut bench, &[to]);
        let message = format!("M1{to}");
        bench.ack(&message, None);
        bench.handle(Input::Receipt {
            session: session(),
            message_id: MessageId(message),
            kind: ReceiptKind::OwnDevice,
            from: own(),
        });
        let expected = if delivered { Step::Delivered } else { Step::Sent };
        assert_eq!(bench.step("A1"), expected, "{to}");
    }
}

#[test]
fn one_whom_an_alert_names_twice_gets_it_once_when_that_becomes_known() {
    let one_name = |name: &Recipient| match name.to_string().as_str() {
        "+15550100001" => Recipient::Me,
        _ => name.clone(),
    };
    let mut bench = Bench::new(Limits::default());
    accept(&mut bench, &["me", "+15550100001", "+15550100002"]);
    accept(&mut bench, &["+15550100001", "+15550100002"]);
    accept(&mut bench, &["+15550100001", "me"]);
    let other: SessionName = "other".parse().unwrap();
    bench.outbox.unify(bench.now, &other, one_name);
    assert_eq!(bench.outbox.count(Step::Accepted), 7);
    bench.outbox.unify(bench.now, &session(), one_name);
    bench.drain();
    let persisted: Vec<u64> = bench.persisted.iter().map(|record| record.seq).collect();
    assert_eq!(persisted, [1, 3], "what has changed is written");
    bench.handle(Input::SessionUp(session()));
    for (_, message) in bench.sends.clone() {
        bench.ack(&message, None);
    }
    for (_, message) in bench.sends.clone() {
        bench.ack(&message, None);
    }
    let mut sent: Vec<String> = bench.sends.iter().map(|(_, message)| message.clone()).collect();
    sent.sort_unstable();
    let expected = [
        "M1+15550100002",
        "M1me",
        "M2+15550100001",
        "M2+15550100002",
        "M3+15550100001",
    ];
    assert_eq!(sent, expected);
    assert_eq!(bench.outbox.pending_len(), 0);
}

#[test]
fn an_alert_that_is_still_being_written_is_not_written_again_before_the_disk_has_taken_it() {
    let one_name = |name: &Recipient| match name.to_string().as_str() {
        "+15550100001" => Recipient::Me,
        _ => name.clone(),
    };
    for taken in [true, false] {
        let mut bench = Bench::up();
        let to = ["me", "+15550100001"].map(|name| name.parse().unwrap()).to_vec();
        let request = super::bench::request(&bench.outbox, to, Alert::default());
        let seq = bench.outbox.accept(bench.now, request).unwrap()[0].new_seq().unwrap();
        bench.outbox.unify(bench.now, &session(), one_name);
        bench.drain();
        assert!(bench.persisted.is_empty(), "{:?}", bench.persisted);
        bench.handle(match taken {
            true => Input::Durable { seq },
            false => Input::NotDurable { seq },
        });
        let written: Vec<usize> = bench.persisted.iter().map(|record| record.deliveries.len()).collect();
        let sent: Vec<String> = bench.sends.iter().map(|(_, message)| message.clone()).collect();
        match taken {
            true => assert_eq!((written, sent), (vec![1], vec!["M1me".to_owned()])),
            false => assert_eq!((written, sent), (Vec::new(), Vec::new())),
        }
    }
}
