//! Several alerts in one request: all of them are taken, or none.

use super::*;

/// A request of alerts with these keys, named by their place.
fn request(keys: &[Option<&str>]) -> AcceptRequest {
    let alert = |(place, key): (usize, &Option<&str>)| NewAlert {
        follows: None,
        id: format!("R{place}"),
        alert: Alert {
            text: "x".repeat(100),
            key: key.map(str::to_owned),
            ..Alert::default()
        },
    };
    AcceptRequest {
        route: "family".parse().unwrap(),
        session: session(),
        to: vec![recipient("1"), recipient("2")],
        alerts: keys.iter().enumerate().map(alert).collect(),
    }
}

fn accept(bench: &mut Bench, keys: &[Option<&str>]) -> Result<Vec<Accepted>, OutboxFull> {
    bench.outbox.accept(bench.now, request(keys))
}

#[test]
fn each_alert_has_its_answer_and_they_go_out_in_their_order() {
    let mut bench = Bench::up();
    let known = bench.accept(&["1"]);
    assert_eq!(bench.take_sends(), ["M11"]);
    bench.ack("M11", None);
    let accepted = accept(&mut bench, &[None, Some("k"), None]).unwrap();
    assert_eq!(accepted, [2, 3, 4].map(|seq| Accepted::New { seq }));
    // Each is there when it is durable, and none before.
    assert_eq!(bench.outbox.list(false, 9).len(), 1);
    for seq in 2..=4 {
        bench.handle(Input::Durable { seq });
    }
    assert_eq!(bench.take_sends(), ["M21", "M22"]);
    for (done, next) in [("M21", "M31"), ("M31", "M41")] {
        bench.ack(done, None);
        assert_eq!(bench.take_sends(), [next]);
    }
    let again = accept(&mut bench, &[Some("k"), None]).unwrap();
    let first = Accepted::Duplicate { seq: 3, durable: true };
    assert_eq!(again, [first, Accepted::New { seq: 5 }]);
    assert_eq!((known, accept(&mut bench, &[]).unwrap()), (1, vec![]));
}

#[test]
fn the_same_key_twice_in_one_request_is_one_alert() {
    let mut bench = Bench::up();
    let accepted = accept(&mut bench, &[Some("k"), Some("k"), Some("l")]).unwrap();
    let first = Accepted::Duplicate { seq: 1, durable: false };
    assert_eq!(accepted, [Accepted::New { seq: 1 }, first, Accepted::New { seq: 2 }]);
    assert_eq!(bench.outbox.pending_len(), 2);
}

#[test]
fn a_request_that_does_not_fit_leaves_nothing_behind() {
    for limits in [
        Limits {
            pending_max: 4,
            ..Limits::default()
        },
        Limits {
            pending_bytes_max: 4500,
            ..Limits::default()
        },
    ] {
        let mut bench = Bench::new(limits);
        for seq in 1..=2 {
            bench.accept(&["1", "2"]);
            assert_eq!(bench.outbox.pending_len(), seq);
        }
        assert!(bench.outbox.full().is_none());
        let refused = accept(&mut bench, &[Some("k"), None, None]).unwrap_err();
        assert_eq!((refused.pending, bench.outbox.pending_len()), (2, 2));
        assert_eq!(bench.outbox.count(Step::Accepted), 4);
        assert!(bench.outbox.record(3).is_none());
        // Its key is free, its numbers are not used again, and what fits is taken.
        let accepted = accept(&mut bench, &[Some("k"), Some("k")]).unwrap();
        assert!(
            matches!(accepted[..], [Accepted::New { seq: 5 | 6 }, Accepted::Duplicate { .. }]),
            "{accepted:?}"
        );
        assert!(accept(&mut bench, &[None, None]).is_err());
        assert!(
            accept(&mut bench, &[Some("k"), Some("k")]).is_ok(),
            "duplicates take no room"
        );
        bench.handle(Input::SessionUp(session()));
        assert_eq!(bench.take_sends(), ["M11", "M12"]);
    }
}
