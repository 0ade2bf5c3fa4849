//! Files of the state that somebody removes, replaces or cuts under a running relay. What was
//! acknowledged before is lost then; nothing more may be acknowledged.

use std::fs::{self, OpenOptions};
use std::path::Path;

use crate::support::Site;

/// A relay without a line, which keeps alerts all the same.
fn offline() -> Site {
    Site::new("ws://127.0.0.1:1/ws/chat", &[("friend", &["+15550100002"])])
}

/// Does `harm` to the state of a relay that has accepted something, and expects that the next alert is refused with
/// `words` and that the relay ends by itself as failed.
fn ends_after(harm: &dyn Fn(&Path), words: &str) {
    let site = offline();
    let mut relay = site.start();
    relay.publish("friend", "accepted");
    harm(&site.state());
    // Another write may have met it before, and then the relay is on its way out already.
    if let Ok(answer) = relay.try_http("POST", "/friend", &[], b"refused") {
        assert_eq!(answer.status, 503, "{words}: {answer:?}");
        assert!(answer.body.contains(words), "{answer:?}");
    }
    assert_eq!(relay.wait_end(), 1, "{words}");
    assert!(relay.read_log().contains(words), "{words}\n{}", relay.read_log());
}

#[test]
fn a_file_of_the_state_that_is_gone_ends_the_relay_before_it_acknowledges_more() {
    let log = |state: &Path| state.join("log.1");
    ends_after(
        &|state| fs::remove_file(log(state)).unwrap(),
        "log.1 in the state directory was moved away",
    );
    ends_after(
        &|state| fs::rename(log(state), state.join("aside")).unwrap(),
        "log.1 in the state directory was moved away",
    );
    ends_after(
        &|state| {
            fs::copy(log(state), state.join("copy")).unwrap();
            fs::rename(state.join("copy"), log(state)).unwrap();
        },
        "log.1 in the state directory was replaced",
    );
    ends_after(
        &|state| drop(OpenOptions::new().write(true).truncate(true).open(log(state)).unwrap()),
        "log.1 in the state directory was cut short",
    );
    ends_after(
        &|state| fs::remove_file(state.join("lock")).unwrap(),
        "`lock` in the state directory was removed",
    );
    ends_after(
        &|state| fs::remove_dir_all(state).unwrap(),
        "the state directory was moved away or removed",
    );
}

/// Nobody has asked since: what is looked for at the end, or found by the last write, must not pass for a clean end.
#[test]
fn a_relay_that_is_stopped_after_its_state_has_gone_does_not_end_well() {
    for harm in ["log.1", "lock"] {
        let site = offline();
        let relay = site.start();
        relay.publish("friend", "accepted");
        fs::remove_file(site.state().join(harm)).unwrap();
        assert_eq!(relay.stop(), 1, "{harm}");
    }
}
