//! A copy of the state that was logged in meanwhile: its ratchets are not used again.

use tautline::store::{Batch, Store, Tree, join};

use super::*;

/// Another place with a copy of the state of `site`, on the same server.
fn copy_of(site: &Site) -> Site {
    let config = std::fs::read_to_string(site.config()).expect("read");
    let copy = Site::with_config(&config);
    copy_state(&site.state(), &copy.state());
    copy
}

/// The relay of `bench`, stopped because a relay on a copy of its state has logged in; that one;
/// and where the copy is.
fn replaced(bench: &Bench) -> (Relay, Relay, Site) {
    let copy = copy_of(&bench.site);
    let first = bench.site.start();
    first.wait_online();
    let second = copy.start();
    second.wait_online();
    first.wait_status("not stopped", |status| status["sessions"][0]["state"] == "stopped");
    (first, second, copy)
}

/// How the first relay ends once it has been replaced.
fn goes_on_readable(end: fn(Relay)) {
    let (bench, relay) = Bench::online();
    deliver(&relay, "all", "one");
    assert_eq!(relay.stop(), 0);
    let (first, second, _copy) = replaced(&bench);
    // The ratchets of the copy move on, in both directions.
    deliver(&second, "all", "two");
    bench.friend.send_text(OWNER, "hello");
    second.wait_status("the greeting", |status| status["sessions"][0]["inbound_recorded"] == 1);
    deliver(&second, "all", "three");
    deliver(&second, "friend", "four");
    assert_eq!(second.stop(), 0);
    end(first);

    let first = bench.site.start();
    first.wait_online();
    deliver(&first, "all", "five");
    deliver(&first, "friend", "six");
    for phone in [&bench.friend, &bench.owner] {
        assert!(phone.unreadable().is_empty(), "{:?}", phone.unreadable());
    }
    let friend = bench.friend.received();
    let chats = |text: &str| friend.iter().filter(|message| message.text == text).count();
    for (text, copies) in [
        ("one", 2),
        ("two", 2),
        ("three", 2),
        ("four", 1),
        ("five", 2),
        ("six", 1),
    ] {
        assert_eq!(chats(text), copies, "{text}");
    }
    // What is written to this device can be read with its new keys.
    bench.friend.send_text(OWNER, "and back");
    first.wait_status("the answer", |status| status["sessions"][0]["inbound_recorded"] == 1);

    // Nothing is made anew a second time.
    assert_eq!(first.stop(), 0);
    let first = bench.site.start();
    first.wait_online();
    deliver(&first, "friend", "seven");
    let said = bench.site.read_log().matches("made anew").count();
    assert_eq!(said, 1, "{}", bench.site.read_log());
    bench.assert_quiet();
    assert_eq!(first.stop(), 0);
}

#[test]
fn what_follows_a_copy_is_readable() {
    goes_on_readable(|relay| assert_eq!(relay.stop(), 0));
}

#[test]
fn what_follows_a_copy_is_readable_after_a_crash_too() {
    goes_on_readable(Relay::kill);
}

/// An older version stopped in the same way and noted nothing but the end of its line.
#[test]
fn what_follows_a_copy_is_readable_where_only_the_line_log_knows_of_it() {
    let (bench, relay) = Bench::online();
    deliver(&relay, "friend", "one");
    assert_eq!(relay.stop(), 0);
    let (first, second, _copy) = replaced(&bench);
    deliver(&second, "friend", "two");
    assert_eq!(second.stop(), 0);
    assert_eq!(first.stop(), 0);
    {
        let store = Store::open(&bench.site.state(), 1 << 20).expect("it opens");
        let note = join(&[b"copied", b"default"]);
        assert!(store.view().get(Tree::Meta, &note).expect("readable").is_some());
        let mut batch = Batch::new();
        batch.delete(Tree::Meta, &note);
        smol::block_on(store.commit(batch)).expect("written");
    }
    let first = bench.site.start();
    first.wait_online();
    deliver(&first, "friend", "three");
    assert!(bench.friend.unreadable().is_empty(), "{:?}", bench.friend.unreadable());
    assert_eq!(first.stop(), 0);
}

#[test]
fn a_relay_that_nobody_has_replaced_keeps_its_sessions() {
    let (bench, relay) = Bench::online();
    deliver(&relay, "friend", "one");
    assert_eq!(relay.stop(), 0);
    let relay = bench.site.start();
    relay.wait_online();
    deliver(&relay, "friend", "two");
    assert!(!bench.site.read_log().contains("made anew"));
    assert_eq!(relay.stop(), 0);
}
