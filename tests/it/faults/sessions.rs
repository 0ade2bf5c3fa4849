//! Two accounts in one process.

use crate::lab::Lab;
use crate::support::{SOON, Site, pair_session_by_qr};

#[test]
fn one_account_that_is_logged_out_does_not_touch_the_other() {
    let lab = Lab::start();
    let first = lab.account("15550100001", "First");
    let second = lab.account("15550100003", "Second");
    let friend = lab.account("15550100002", "Friend");
    let endpoint = lab.endpoint();
    let site = Site::with_config(&format!(
        r#"
[[session]]
name = "one"
endpoint = "{endpoint}"
[[session]]
name = "two"
endpoint = "{endpoint}"
[[route]]
name = "by-one"
session = "one"
to = ["+15550100002"]
[[route]]
name = "by-two"
session = "two"
to = ["+15550100002"]
[gateway]
listen = ["127.0.0.1:0"]
"#
    ));
    let relay = site.start();
    pair_session_by_qr(&site, "one", |code| first.scan(code).map(drop));
    pair_session_by_qr(&site, "two", |code| second.scan(code).map(drop));
    relay.wait_status("not both online", |status| {
        status["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .all(|session| session["state"] == "online")
    });
    let by_one = relay.publish("by-one", "from one");
    let by_two = relay.publish("by-two", "from two");
    relay.wait_step(&by_one, "delivered");
    relay.wait_step(&by_two, "delivered");
    let senders: Vec<_> = friend.received().into_iter().map(|m| (m.text, m.from)).collect();
    assert!(
        senders.contains(&("from one".into(), "15550100001".into())),
        "{senders:?}"
    );
    assert!(
        senders.contains(&("from two".into(), "15550100003".into())),
        "{senders:?}"
    );

    first.logout_companion();
    relay.wait_status("one is not stopped", |status| {
        status["sessions"][0]["state"] == "stopped"
    });
    let kept = relay.http("POST", "/by-one", &[], b"kept").json();
    assert!(kept["warning"].as_str().is_some(), "{kept:#}");
    for number in 0..5 {
        let alert = relay.publish("by-two", &format!("still {number}"));
        relay.wait_step(&alert, "delivered");
    }
    assert_eq!(relay.status()["sessions"][1]["state"], "online");
    assert_eq!(
        relay.status()["sessions"][1]["lines"],
        2,
        "pairing's line and the one after it"
    );

    // Linked anew, what was kept goes out.
    pair_session_by_qr(&site, "one", |code| first.scan(code).map(drop));
    relay.wait_step(kept["id"].as_str().unwrap(), "delivered");
    assert_eq!(friend.wait_received(8, SOON).len(), 8);
    assert!(lab.presences().iter().all(|presence| presence == "unavailable"));
    assert_eq!(relay.stop(), 0);
}
