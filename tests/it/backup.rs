//! Backups with the built program: made while it runs, restored elsewhere, and what must not come back does not.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Instant;

use crate::lab::{Direction, Lab};
use crate::support::{Relay, SOON, Site, pair_by_qr};
use serde_json::Value;
use tautline::store::log::Exporter;
use tautline::store::{Store, Tree};
use wacore_binary::{Node, NodeContent};
use wacore_libsignal::protocol::{PreKeySignalMessage, SenderKeyMessage, SignalMessage};

const OWNER: &str = "15550100001";
const FRIEND: &str = "15550100002";

fn words(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[track_caller]
fn ends(site: &Site, args: &[&str], code: i32, parts: &[&str]) -> String {
    let output = site.run(args);
    let words = words(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {words}");
    for part in parts {
        assert!(words.contains(part), "{args:?}: no {part:?} in: {words}");
    }
    words
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// Moves the state away, as whoever restores a backup does.
fn move_state_away(site: &Site) -> PathBuf {
    let away = site.path().join("state.old");
    std::fs::rename(site.state(), &away).expect("renamed");
    away
}

#[test]
fn a_session_goes_on_from_a_backup_and_no_key_is_used_twice() {
    let lab = Lab::start();
    let owner = lab.account(OWNER, "Owner");
    let friend = lab.account(FRIEND, "Friend");
    let group = lab.group("Alerts", &[&owner, &friend]);
    let site = Site::new(&lab.endpoint(), &[("friend", &["+15550100002"]), ("all", &[&group])]);
    let relay = site.start();
    pair_by_qr(&site, |code| owner.scan(code).map(drop));
    relay.wait_online();
    let deliver = |relay: &Relay, route: &str, text: &str| {
        let id = relay.publish(route, text);
        relay.wait_step(&id, "delivered");
    };
    deliver(&relay, "friend", "one");
    friend.send_text(OWNER, "hello");
    relay.wait_status("the greeting", |status| status["sessions"][0]["inbound_recorded"] == 1);
    deliver(&relay, "friend", "two");
    deliver(&relay, "all", "three");

    let file = site.path().join("tautline.backup");
    ends(
        &site,
        &["store", "backup", text(&file)],
        0,
        &["session default", "3 alerts (0 waiting)", "secret"],
    );
    let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    ends(
        &site,
        &["store", "backup", text(&file)],
        4,
        &["is there already", "--force"],
    );
    ends(&site, &["store", "backup", "--force", text(&file)], 0, &[]);
    ends(
        &site,
        &["store", "check"],
        0,
        &["while process", "the relay is using it"],
    );

    // The ratchets move on.
    deliver(&relay, "friend", "four");
    deliver(&relay, "all", "five");
    // Asked for twice, the second time with a prekey of which the backup knows nothing. Long, so that what is garbled
    // is the ciphertext: what cannot even be parsed is refused and not asked for.
    friend.garble_next(2);
    friend.send_text(OWNER, &"and more ".repeat(40));
    relay.wait_status("the second", |status| status["sessions"][0]["inbound_recorded"] == 2);
    deliver(&relay, "friend", "six");
    ends(&site, &["store", "restore", text(&file)], 7, &["in use by process"]);
    assert_eq!(relay.stop(), 0);
    ends(
        &site,
        &["store", "restore", text(&file)],
        4,
        &["session default, which is linked", "move the state"],
    );

    move_state_away(&site);
    // Encrypted for the session that the restored state does not have.
    friend.send_text(OWNER, "for the old session");
    ends(
        &site,
        &["store", "restore", text(&file)],
        0,
        &["session default", "never run again"],
    );
    ends(&site, &["store", "check"], 0, &["sound", "index: absent"]);
    assert_only_what_goes_along(&site.state());

    let relay = site.start();
    relay.wait_online();
    deliver(&relay, "friend", "seven");
    deliver(&relay, "all", "eight");
    // One was in the backup; the one between went to the state that is gone; the last was asked for again.
    relay.wait_status("the message for the old session", |status| {
        status["sessions"][0]["inbound_recorded"] == 2
    });
    let texts: Vec<String> = friend.received().into_iter().map(|message| message.text).collect();
    assert_eq!(texts, ["one", "two", "three", "four", "five", "six", "seven", "eight"]);
    assert!(friend.unreadable().is_empty() && owner.unreadable().is_empty());
    assert_eq!(relay.stop(), 0);
    let log = lab.stanza_log();
    let sent: Vec<&Node> = log
        .iter()
        .filter(|seen| seen.direction == Direction::FromClient)
        .map(|seen| &seen.node)
        .collect();
    assert!(
        sent.iter()
            .any(|node| attr(node, "type") == "retry" && node.tag == "receipt")
    );
    assert_each_message_key_once(&sent);
    assert_each_prekey_number_once(&sent);
}

fn attr(node: &Node, name: &str) -> String {
    node.attrs
        .get(name)
        .map(|value| value.as_str().into_owned())
        .unwrap_or_default()
}

fn bytes(node: &Node) -> &[u8] {
    match &node.content {
        Some(NodeContent::Bytes(bytes)) => bytes,
        _ => &[],
    }
}

/// Every element called `tag` in `node`, at any depth.
fn all<'a>(node: &'a Node, tag: &str, found: &mut Vec<&'a Node>) {
    if node.tag == tag {
        found.push(node);
    }
    for child in node.children().unwrap_or_default() {
        all(child, tag, found);
    }
}

/// What a message key comes from, the ratchet's public key or the sender key's id, and its place in the chain: never
/// the same twice.
fn assert_each_message_key_once(sent: &[&Node]) {
    let mut seen = HashSet::new();
    let mut count = [0, 0, 0];
    for message in sent.iter().filter(|node| node.tag == "message") {
        let mut encs = Vec::new();
        all(message, "enc", &mut encs);
        for enc in encs {
            let of_pair =
                |message: &SignalMessage| (message.sender_ratchet_key().serialize().to_vec(), message.counter());
            let key = match attr(enc, "type").as_str() {
                "msg" => {
                    count[0] += 1;
                    of_pair(&SignalMessage::try_from(bytes(enc)).expect("a message"))
                }
                "pkmsg" => {
                    count[1] += 1;
                    of_pair(
                        PreKeySignalMessage::try_from(bytes(enc))
                            .expect("a first message")
                            .message(),
                    )
                }
                "skmsg" => {
                    count[2] += 1;
                    let message = SenderKeyMessage::try_from(bytes(enc)).expect("a group message");
                    (message.chain_id().to_be_bytes().to_vec(), message.iteration())
                }
                other => panic!("an unknown kind of message: {other}"),
            };
            assert!(seen.insert(key), "a message key was used twice");
        }
    }
    assert!(count.iter().all(|count| *count >= 2), "{count:?}");
}

/// Both in uploads and in the keys that go with a request to send again.
fn assert_each_prekey_number_once(sent: &[&Node]) {
    let is_upload = |node: &Node| attr(node, "xmlns") == "encrypt" && attr(node, "type") == "set";
    let (mut seen, mut uploads, mut retries) = (HashMap::new(), 0, 0);
    for node in sent {
        let retry = node.tag == "receipt" && attr(node, "type") == "retry";
        if !retry && !is_upload(node) {
            continue;
        }
        let mut keys = Vec::new();
        all(node, "key", &mut keys);
        let counted = if retry { &mut retries } else { &mut uploads };
        *counted += usize::from(!keys.is_empty());
        for key in keys {
            let part = |name| key.get_optional_child(name).map(bytes).expect("both parts").to_vec();
            let earlier = seen.insert(part("id"), part("value"));
            assert!(
                earlier.is_none_or(|earlier| earlier == part("value")),
                "prekey {:?} stood for two keys",
                part("id")
            );
        }
    }
    assert_eq!(uploads, 2, "one upload after pairing, one after the restoration");
    assert!(retries >= 2, "{retries} requests to send again had a key with them");
}

fn assert_only_what_goes_along(state: &Path) {
    let store = Store::open(state, 1 << 20).expect("it opens");
    let rows = |tree| store.view().scan(tree, b"").count();
    for tree in [Tree::Device, Tree::SyncKey, Tree::Outbox, Tree::Inbound] {
        assert!(rows(tree) > 0, "{tree:?}");
    }
    for tree in [
        Tree::Session,
        Tree::PreKey,
        Tree::SenderKey,
        Tree::SenderKeyDevice,
        Tree::BaseKey,
        Tree::SentMessage,
        Tree::PendingInbound,
        Tree::MessageSecret,
        Tree::DeviceList,
        Tree::GroupMetadata,
        Tree::Quarantine,
    ] {
        assert_eq!(rows(tree), 0, "{tree:?}");
    }
    drop(store);
    // So that the check that follows sees what was restored, and nothing else does.
    std::fs::remove_dir_all(state.join("db")).expect("removed");
}

/// A relay that nobody answers: alerts wait.
fn offline() -> (TcpListener, Site, Relay) {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("ws://{}/ws/chat", nobody.local_addr().expect("an address"));
    let site = Site::new(&endpoint, &[("friend", &["+15550100002"])]);
    let relay = site.start();
    (nobody, site, relay)
}

/// What the journal tells of alert `id`: numbers and words. Its numbers have no gap.
fn told(relay: &Relay, id: &str) -> Vec<(u64, String)> {
    let answer = relay.http("GET", "/v1/events?limit=1000", &[], b"");
    let events: Vec<Value> = answer
        .body
        .lines()
        .map(|line| serde_json::from_str(line).expect("an event"))
        .collect();
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event["number"], index + 1, "{events:#?}");
    }
    let number = |event: &Value| event["number"].as_u64().expect("a number");
    let word = |event: &Value| event["event"].as_str().expect("a word").to_owned();
    let of = events.iter().filter(|event| event["alert"] == id);
    of.map(|event| (number(event), word(event))).collect()
}

fn alert(relay: &Relay, id: &str) -> Value {
    relay.http("GET", &format!("/v1/alerts/{id}"), &[], b"").json()
}

#[test]
fn what_waited_is_held_and_a_retry_sends_it_under_its_old_id() {
    let (_nobody, site, relay) = offline();
    let waiting = relay.publish("friend", "did this go out?");
    let before = alert(&relay, &waiting);
    let file = site.path().join("b");
    ends(
        &site,
        &["store", "backup", text(&file)],
        0,
        &["no linked session", "1 alerts (1 waiting)"],
    );
    assert_eq!(relay.stop(), 0);
    move_state_away(&site);

    // A relay that was started before anybody thought of the backup has promised something too.
    let relay = site.start();
    let younger = relay.publish("friend", "younger");
    let given_up = relay.publish("friend", "given up");
    ends(&site, &["queue", "drop", &given_up], 0, &["dropped"]);
    assert_eq!(relay.stop(), 0);
    ends(
        &site,
        &["store", "restore", text(&file)],
        0,
        &["1 alert(s) that waited are held"],
    );
    let relay = site.start();
    let held = alert(&relay, &waiting);
    assert_eq!(held["state"], "failed", "{held:#}");
    let note = held["deliveries"][0]["note"].as_str().expect("a note");
    assert!(note.contains("held since the state was restored"), "{note}");
    assert_eq!(alert(&relay, &younger)["state"], "accepted");
    assert!(alert(&relay, &younger)["seq"].as_u64() > held["seq"].as_u64());
    let words = |id: &str| told(&relay, id).into_iter().map(|(_, word)| word).collect::<Vec<_>>();
    assert_eq!(words(&waiting), ["accepted", "failed"]);
    assert_eq!(words(&younger), ["accepted"]);
    assert_eq!(words(&given_up), ["accepted", "dropped"]);
    // The backup's own first, then what the state had, then what the restoration did.
    let first = |id: &str| told(&relay, id)[0].0;
    assert!(first(&waiting) < first(&younger) && first(&given_up) < told(&relay, &waiting)[1].0);
    ends(&site, &["queue", "retry", &waiting], 0, &["waiting"]);
    let again = alert(&relay, &waiting);
    assert_eq!(again["state"], "accepted");
    assert_eq!(
        again["deliveries"][0]["message_id"],
        before["deliveries"][0]["message_id"]
    );
    assert_eq!(relay.stop(), 0);

    std::fs::remove_dir_all(site.state()).expect("removed");
    ends(
        &site,
        &["store", "restore", "--send-pending", text(&file)],
        0,
        &["1 waiting"],
    );
    let relay = site.start();
    assert_eq!(alert(&relay, &waiting)["state"], "accepted");
    assert_eq!(relay.stop(), 0);
}

#[test]
fn an_alert_that_the_state_still_has_is_not_there_twice() {
    for more in [&[][..], &["--send-pending"]] {
        let (_nobody, site, relay) = offline();
        let [waits, given_up] = ["one", "two"].map(|text| relay.publish("friend", text));
        let file = site.path().join("b");
        ends(&site, &["store", "backup", text(&file)], 0, &["2 alerts (2 waiting)"]);
        ends(&site, &["queue", "drop", &given_up], 0, &[]);
        let younger = relay.publish("friend", "three");
        assert_eq!(relay.stop(), 0);
        let said = ends(&site, &[&["store", "restore", text(&file)], more].concat(), 0, &[]);
        assert!(!said.contains("are held"), "{said}");
        let relay = site.start();
        let listed = relay.http("GET", "/v1/alerts", &[], b"").json();
        let states: Vec<_> = listed.as_array().expect("a list").iter().rev().collect();
        let states: Vec<_> = states.iter().map(|alert| (&alert["id"], &alert["state"])).collect();
        let wanted: [(Value, Value); 3] = [
            (waits.as_str().into(), "accepted".into()),
            (given_up.as_str().into(), "dropped".into()),
            (younger.as_str().into(), "accepted".into()),
        ];
        assert_eq!(states, wanted.each_ref().map(|(id, state)| (id, state)), "{more:?}");
        let words = |id: &str| told(&relay, id).into_iter().map(|(_, word)| word).collect::<Vec<_>>();
        assert_eq!(words(&waits), ["accepted"]);
        assert_eq!(words(&given_up), ["accepted", "dropped"]);
        assert_eq!(words(&younger), ["accepted"]);
        assert_eq!(relay.stop(), 0);
    }
}

#[test]
fn without_a_relay_the_state_is_read_and_pipes_work() {
    let (_nobody, site, relay) = offline();
    relay.publish("friend", "x");
    let answer = relay.http("GET", "/v1/backup", &[], b"");
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(relay.stop(), 0);

    let output = site.run(&["store", "backup", "-"]);
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    assert!(output.stdout.starts_with(b"TAUTBAK\n"));
    let full = std::fs::File::create("/dev/full").expect("opened");
    let refused = site
        .command(&["store", "backup", "-"])
        .stdout(full)
        .output()
        .expect("it runs");
    let said = words(&refused);
    assert!(
        said.contains("the backup cannot be written") && !said.contains("reachable"),
        "{said}"
    );
    assert_eq!(refused.status.code(), Some(1));

    let file = site.path().join("b");
    let json = ends(
        &site,
        &["--json", "store", "backup", text(&file)],
        0,
        &["\"pending\":1"],
    );
    assert!(json.starts_with('{'), "{json}");
    move_state_away(&site);
    ends(
        &site,
        &["store", "backup", "elsewhere"],
        1,
        &["no such directory", "not reachable"],
    );
    let mut child = site
        .command(&["store", "restore", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(&output.stdout).expect("written");
    drop(stdin);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    ends(&site, &["store", "check"], 0, &["1  outbox"]);
}

#[test]
fn megabytes_come_out_of_a_running_relay_and_go_in_again() {
    let (_nobody, site, relay) = offline();
    let text_of = |number: usize| format!("{number} {}", "long ".repeat(10_000));
    let ids: Vec<String> = (0..40)
        .map(|number| relay.publish("friend", &text_of(number)))
        .collect();
    let file = site.path().join("b");
    ends(&site, &["store", "backup", text(&file)], 0, &["40 alerts (40 waiting)"]);
    assert!(std::fs::metadata(&file).expect("it is there").len() > 2_000_000);
    assert_eq!(relay.stop(), 0);
    move_state_away(&site);
    ends(&site, &["store", "restore", text(&file)], 0, &["40 alerts"]);
    let relay = site.start();
    assert_eq!(alert(&relay, &ids[39])["text"], text_of(39).trim_end());
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_file_that_is_not_whole_changes_nothing() {
    let (_nobody, site, relay) = offline();
    relay.publish("friend", "x");
    assert_eq!(relay.stop(), 0);
    let file = site.path().join("b");
    ends(&site, &["store", "backup", text(&file)], 0, &[]);
    let whole = std::fs::read(&file).expect("read");
    let log = std::fs::read(site.state().join("log.1")).expect("read");
    let state = log_files(&site.state());
    let mut flipped = whole.clone();
    flipped[100] ^= 4;
    // What a later version would write: a collection that this one does not know, and a record in a later form.
    let of_tree = |tree: u8, value: &[u8]| {
        let mut exporter = Exporter::begin(Vec::new(), 1).expect("a vector takes all");
        exporter
            .record(vec![tree, 1], value.to_vec())
            .expect("a vector takes all");
        exporter.end().expect("a vector takes all").0
    };
    for (bytes, parts) in [
        (whole[..whole.len() - 1].to_vec(), &["damaged", "cut off"][..]),
        (whole[..40].to_vec(), &["damaged", "cut off"]),
        (flipped, &["damaged", "checksum"]),
        (Vec::new(), &["empty"]),
        (log, &["no backup"]),
        (b"creds.json".to_vec(), &["no backup made by Tautline"]),
        (of_tree(200, b"\x01"), &["tree 200", "later"]),
        (of_tree(Tree::Outbox as u8, b"\x63abc"), &["outbox", "format 99"]),
    ] {
        std::fs::write(&file, bytes).expect("written");
        ends(&site, &["store", "restore", text(&file)], 1, parts);
        assert_eq!(log_files(&site.state()), state, "{parts:?}");
    }
    ends(
        &site,
        &["store", "restore", "/nowhere/b"],
        1,
        &["/nowhere/b cannot be read"],
    );
    ends(&site, &["store", "backup", "/nowhere/b"], 1, &["cannot be made"]);
    ends(
        &site,
        &["store", "backup", "--force", "/dev/null"],
        4,
        &["no plain file"],
    );

    // Whatever the file says: what never goes along is never taken in.
    let mut exporter = Exporter::begin(Vec::new(), 1).expect("a vector takes all");
    let key = [
        &[Tree::Session as u8][..],
        &tautline::store::join(&[b"default", b"a@lid.0"]),
    ]
    .concat();
    exporter.record(key, vec![1, 3, 1, 2, 3]).expect("a vector takes all");
    std::fs::write(&file, exporter.end().expect("a vector takes all").0).expect("written");
    move_state_away(&site);
    ends(&site, &["store", "restore", text(&file)], 0, &["no linked session"]);
    let store = Store::open(&site.state(), 1 << 20).expect("it opens");
    assert_eq!(store.view().scan(Tree::Session, b"").count(), 0);
}

#[test]
fn an_interrupted_backup_leaves_no_file() {
    let (_nobody, site, relay) = offline();
    assert_eq!(relay.stop(), 0);
    // A relay that stops half way.
    let control = UnixListener::bind(site.state().join("control.sock")).expect("bound");
    let half = std::thread::spawn(move || {
        loop {
            let (mut stream, _) = control.accept().expect("a connection");
            let mut request = [0; 1000];
            if stream.read(&mut request).expect("a request") > 0 {
                let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
                stream.write_all(&[&head[..], b"TAUTBAK\n"].concat()).expect("written");
                return stream;
            }
        }
    });
    let place = site.path().join("backups");
    std::fs::create_dir(&place).expect("made");
    let mut child = site
        .command(&["store", "backup", text(&place.join("b"))])
        .spawn()
        .expect("it starts");
    let stream = half.join().expect("it answers");
    // The 8 bytes are in its file.
    let descriptors = format!("/proc/{}/fd", child.id());
    let written = || {
        let entries = std::fs::read_dir(&descriptors).into_iter().flatten().flatten();
        let mut sizes = entries
            .filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(&place)))
            .flat_map(|entry| std::fs::metadata(entry.path()));
        sizes.any(|file| file.len() == 8)
    };
    let deadline = Instant::now() + SOON;
    while !written() {
        assert!(Instant::now() < deadline, "nothing is written");
        std::thread::park_timeout(std::time::Duration::from_millis(2));
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    let left = std::fs::read_dir(&place).expect("read").count();
    assert_eq!(left, 0);
    drop(stream);
}

fn log_files(state: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(state).expect("read").flatten();
    let mut files: Vec<_> = entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .filter(|(name, _)| name.starts_with("log."))
        .map(|(name, path)| (name, std::fs::read(path).expect("read")))
        .collect();
    files.sort();
    files
}
