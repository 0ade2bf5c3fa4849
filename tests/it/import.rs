//! Taking over a login of Baileys. The folder in `fixtures/baileys` was made by Baileys itself on a lab server, and
//! `lab.json` beside it is what that server and its phones knew (`tests/baileys/run DIR` makes both).

use std::fs;
use std::path::{Path, PathBuf};

use crate::lab::{Direction, Lab, Phone};
use crate::support::{SOON, Site};
use serde_json::Value;
use tautline::credentials::import::{Imported, folder};
use tautline::store::{Store, Tree};

const OWNER: &str = "15550100001";

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/baileys")
}

/// A copy of the login, to be damaged.
fn copied() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture().join("auth")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// The lab as it was when Baileys stopped: Owner's phone, Friend's, their group.
fn lab_as_it_was() -> (Lab, Phone, Phone, String) {
    let lab = Lab::start();
    let saved: Value = serde_json::from_str(&fs::read_to_string(fixture().join("lab.json")).unwrap()).unwrap();
    let [owner, friend] = <[Phone; 2]>::try_from(lab.restore(&saved)).unwrap_or_else(|_| panic!("two accounts"));
    let group = lab.group("Owner and Friend", &[&owner, &friend]);
    (lab, owner, friend, group)
}

fn site(endpoint: &str, group: &str) -> Site {
    Site::new(endpoint, &[("friend", &["+15550100002"]), ("all", &[group])])
}

/// A site that never dials.
fn offline_site() -> Site {
    site("ws://127.0.0.1:9/ws/chat", "120363000000000001@g.us")
}

/// Runs the import; exit code, stdout, stderr.
fn import(site: &Site, folder: &Path, more: &[&str]) -> (i32, String, String) {
    let folder = folder.to_str().unwrap();
    let output = site.run(&[&["store", "import-baileys", folder], more].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// The import is refused with `code` and `words`, and there is no state afterwards that was not there before.
fn refused(folder: &Path, words: &str) {
    let site = offline_site();
    let (code, out, err) = import(&site, folder, &[]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains(words), "{words}: {err}");
    assert_eq!(
        err.trim_end().lines().count(),
        err.matches("tautline: ").count(),
        "{err}"
    );
    assert!(!site.state().exists(), "{words}: the state was touched");
}

#[test]
fn a_login_of_baileys_goes_on_without_pairing_and_in_its_old_sessions() {
    let (lab, owner, friend, group) = lab_as_it_was();
    let site = site(&lab.endpoint(), &group);
    let (code, out, err) = import(&site, &fixture().join("auth"), &["--json"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("must never run on that folder again"), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["account"], format!("+{OWNER}"));
    assert_eq!(report["left_out"], serde_json::json!([]), "{report:#}");

    // Encrypted for the sessions and the sender key that Baileys had, before anybody could make new ones.
    friend.send_text(OWNER, "for the old session");
    friend.send_text(&group, "for the old sender key");
    let relay = site.start();
    relay.wait_online();
    relay.wait_status("not both were read", |status| {
        status["sessions"][0]["inbound_recorded"].as_u64() >= Some(2)
    });
    let to_us: Vec<String> = messages(&lab, Direction::ToClient).concat();
    assert_eq!(to_us, ["msg", "skmsg"]);
    assert_eq!(owner.companions(), [1], "nobody was paired");

    let alert = relay.publish("friend", "an alert");
    assert_eq!(friend.wait_received(1, SOON)[0].text, "an alert");
    relay.wait_step(&alert, "delivered");
    let alert = relay.publish("all", "for everybody");
    assert_eq!(friend.wait_received(2, SOON)[1].text, "for everybody");
    relay.wait_step(&alert, "delivered");
    // Ours went on in the sessions that there are, too: the only one that begins is with Owner's own phone, which had
    // never answered Baileys either.
    assert_eq!((owner.unreadable(), friend.unreadable()), (vec![], vec![]));
    let mut from_us: Vec<String> = messages(&lab, Direction::FromClient).concat();
    from_us.sort();
    assert_eq!(from_us, ["msg", "pkmsg", "skmsg"]);
    let stanzas = lab.stanza_log();
    let retries = stanzas
        .iter()
        .filter(|seen| seen.node.get_optional_child("retry").is_some());
    assert_eq!(retries.count(), 0);
    assert_eq!(relay.stop(), 0);
}

/// The kinds of `<enc>` in each message.
fn messages(lab: &Lab, direction: Direction) -> Vec<Vec<String>> {
    let log = lab.stanza_log();
    let messages = log
        .iter()
        .filter(|seen| seen.direction == direction && seen.node.tag == "message");
    messages.map(|seen| crate::lab::encs_of(&seen.node)).collect()
}

#[test]
fn new_pre_keys_take_no_number_that_baileys_gave() {
    let (lab, owner, _, group) = lab_as_it_was();
    let before = lab.pre_key_ids(OWNER, 1);
    // The numbers of those that were left out of the fixture are given too.
    let creds: Value = serde_json::from_str(&fs::read_to_string(fixture().join("auth/creds.json")).unwrap()).unwrap();
    let next = u32::try_from(creds["nextPreKeyId"].as_u64().unwrap()).unwrap();
    let site = site(&lab.endpoint(), &group);
    // Written before the last of the keys, and of the newest key of all only a torn file is left.
    let folder = copied();
    let older = fs::read_to_string(folder.path().join("creds.json")).unwrap();
    let older = older.replace(&format!("PreKeyId\":{next}"), "PreKeyId\":300");
    assert!(!older.contains(&next.to_string()));
    fs::write(folder.path().join("creds.json"), older).unwrap();
    let torn = next + 200_000;
    fs::write(folder.path().join(format!("pre-key-{torn}.json")), b"{\"private\":").unwrap();
    assert_eq!(import(&site, folder.path(), &[]).0, 0);
    let relay = site.start();
    relay.wait_online();
    lab.ask_for_pre_keys(&owner, 1);
    assert!(
        lab.wait_until(SOON, |lab| lab.pre_key_ids(OWNER, 1).len() > before.len()),
        "no new pre-keys came: {:?}\n{}",
        lab.pre_key_ids(OWNER, 1),
        relay.read_log()
    );
    let new: Vec<u32> = lab.pre_key_ids(OWNER, 1).split_off(before.len());
    assert!(new.iter().all(|id| *id > torn + 800), "{torn}: {new:?}");
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_folder_without_a_whole_login_is_refused_and_the_state_not_touched() {
    let nowhere = tempfile::tempdir().unwrap();
    refused(&nowhere.path().join("none"), "cannot read");
    refused(nowhere.path(), "is empty: nobody is logged in there");
    refused(&fixture().join("lab.json"), "is not a folder");
    refused(&fixture(), "there is no creds.json");
    refused(&fixture(), "there is one in");

    let creds = |change: &dyn Fn(&mut Value)| {
        let folder = copied();
        let path = folder.path().join("creds.json");
        let mut creds: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        change(&mut creds);
        fs::write(path, creds.to_string()).unwrap();
        folder
    };
    let raw = |bytes: &[u8]| {
        let folder = copied();
        fs::write(folder.path().join("creds.json"), bytes).unwrap();
        folder
    };
    let whole = fs::read(fixture().join("auth/creds.json")).unwrap();
    refused(raw(b"").path(), "it is empty (0 bytes)");
    refused(raw(&whole[..whole.len() / 2]).path(), "it ends in the middle");
    refused(raw(&[0; 4096]).path(), "it is not JSON");
    refused(raw(b"[]").path(), "a list where an object should be");

    let never = |creds: &mut Value| {
        creds.as_object_mut().unwrap().remove("account");
        creds.as_object_mut().unwrap().remove("me");
    };
    refused(creds(&never).path(), "never finished");
    let key = |field: &'static str, half: &'static str, data: &'static str| {
        move |creds: &mut Value| creds[field][half]["data"] = data.into()
    };
    let zeros = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    refused(
        creds(&key("noiseKey", "private", "AAAA")).path(),
        "damaged: noiseKey.private: 3 bytes where 32 should be. Pair",
    );
    refused(
        creds(&key("noiseKey", "public", zeros)).path(),
        "does not belong to its private half",
    );
    refused(
        creds(&key("signedIdentityKey", "private", zeros)).path(),
        "signedIdentityKey",
    );
    let swapped = |creds: &mut Value| creds["signedIdentityKey"] = creds["noiseKey"].clone();
    refused(creds(&swapped).path(), "not signed by signedIdentityKey");
    refused(
        creds(&|creds| creds["advSecretKey"] = "AAAA".into()).path(),
        "advSecretKey: 3 bytes where 32 should be",
    );
    refused(
        creds(&|creds| creds["me"]["id"] = "15550100001@s.whatsapp.net".into()).path(),
        "me.id",
    );
    refused(
        creds(&|creds| creds["account"]["deviceSignature"] = "AAAA".into()).path(),
        "account.deviceSignature: 3 bytes where 64 should be",
    );
    // The path of the field, at any depth, and none of its content.
    let at = |path: &'static str, value: Value| {
        creds(&move |creds: &mut Value| *creds.pointer_mut(path).unwrap() = value.clone())
    };
    for (path, value, words) in [
        (
            "/signedPreKey/keyPair/private/data",
            "AAAA".into(),
            "signedPreKey.keyPair.private: 3 bytes where 32 should be",
        ),
        (
            "/signedPreKey/keyPair/public/data",
            "AA==".into(),
            "signedPreKey.keyPair.public: 1 byte where 32 or 33 should be",
        ),
        (
            "/signedPreKey/signature",
            Value::Null,
            "signedPreKey.signature: null where bytes should be (line 1, ",
        ),
        (
            "/signedPreKey/keyId",
            0.into(),
            "signedPreKey.keyId: it is out of range",
        ),
        (
            "/signedPreKey/keyPair",
            serde_json::json!({}),
            "signedPreKey.keyPair.public: it is missing",
        ),
        (
            "/registrationId",
            "NEVER".into(),
            "registrationId: text where a whole number should be",
        ),
        (
            "/noiseKey/private/data",
            "NEVER!".into(),
            "noiseKey.private.data: it is not base64",
        ),
        ("/account/details", "".into(), "account.details: it is empty"),
        ("/me/id", 7.into(), "me.id: a number where text should be"),
    ] {
        let folder = at(path, value);
        refused(folder.path(), words);
        let (_, _, err) = import(&offline_site(), folder.path(), &[]);
        assert!(!err.contains("NEVER"), "{err}");
    }
}

#[test]
fn a_broken_key_of_a_chat_is_left_out_and_named() {
    let folder = copied();
    let first = |prefix: &str| {
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(prefix) && !name.starts_with("sender-key-memory"))
            .collect();
        names.sort();
        names.swap_remove(0)
    };
    let damaged = [first("pre-key-"), first("session-"), first("sender-key-")];
    for (name, bytes) in damaged.iter().zip([&b""[..], b"{\"_sessions\":", b"\"AAAA\""]) {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    fs::write(folder.path().join("session-.json"), b"{}").unwrap();
    fs::write(folder.path().join("notes.txt"), b"mine").unwrap();
    fs::create_dir(folder.path().join("pre-key-900000.json")).unwrap();

    let before = folder::read(&fixture().join("auth")).unwrap().counts();
    let site = offline_site();
    let (code, out, err) = import(&site, folder.path(), &["--json"]);
    assert_eq!(code, 0, "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let named: Vec<&str> = report["left_out"]
        .as_array()
        .unwrap()
        .iter()
        .map(|left| left["file"].as_str().unwrap())
        .collect();
    for name in damaged
        .iter()
        .map(String::as_str)
        .chain(["session-.json", "pre-key-900000.json"])
    {
        assert!(named.contains(&name), "{name}: {named:?}");
        assert!(err.contains(&format!("left out: {name}: ")), "{err}");
    }
    assert!(!named.contains(&"notes.txt"), "{named:?}");
    assert_eq!(report["taken"]["pre_keys"], before.pre_keys - 1);
    assert_eq!(report["taken"]["sessions"], before.sessions - 1);
    assert_eq!(report["taken"]["sender_keys"], before.sender_keys - 1);
}

#[test]
fn what_is_left_out_is_told_with_the_field() {
    let sync_version = "app-state-sync-version-regular.json".to_owned();
    let whole = |name: &str| match fs::read_to_string(fixture().join("auth").join(name)) {
        Ok(text) => serde_json::from_str(&text).unwrap(),
        Err(_) => serde_json::json!({"version": 3, "hash": "", "indexValueMap": {}}),
    };
    let names: Vec<String> = fs::read_dir(fixture().join("auth"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let first = |prefix: &str| -> String {
        let mut names: Vec<_> = names.iter().filter(|name| name.starts_with(prefix)).collect();
        names.sort();
        names[0].clone()
    };
    let session = |name: &str| {
        whole(name)["_sessions"]
            .as_object()
            .unwrap()
            .keys()
            .next()
            .unwrap()
            .clone()
    };
    let (pre_key, of_peer) = (first("pre-key-"), first("session-"));
    let sync_key = first("app-state-sync-key-");
    let ratchet = format!("/_sessions/{}", session(&of_peer).replace('~', "~0").replace('/', "~1"));
    for (file, path, value, words) in [
        (
            &pre_key,
            "/private/data".to_owned(),
            "AAAA".into(),
            "private: 3 bytes where 32 should be",
        ),
        (
            &pre_key,
            "/public".to_owned(),
            7.into(),
            "public: a number where bytes should be",
        ),
        (&of_peer, "/version".to_owned(), "v9".into(), "version: it is not v1"),
        (
            &of_peer,
            format!("{ratchet}/currentRatchet/rootKey"),
            "AAAA".into(),
            "_sessions.#1.currentRatchet.rootKey: 3 bytes where 32 should be",
        ),
        (
            &of_peer,
            format!("{ratchet}/indexInfo/baseKey"),
            "AAAA".into(),
            "_sessions.#1.indexInfo.baseKey: 3 bytes where 33 should be",
        ),
        (
            &of_peer,
            format!("{ratchet}/indexInfo/baseKeyType"),
            9.into(),
            "_sessions.#1.indexInfo.baseKeyType: it is not a value that is known",
        ),
        (
            &of_peer,
            format!("{ratchet}/_chains"),
            serde_json::json!({"BQ==": {"chainKey": {"counter": 0, "key": "AAAA"}, "chainType": 1}}),
            "_sessions.#1._chains.#1.chainKey.key: 3 bytes where 32 should be",
        ),
        (
            &sync_key,
            "/keyData".to_owned(),
            "AAAA".into(),
            "keyData: 3 bytes where 32 should be",
        ),
        (
            &sync_version,
            "/hash".to_owned(),
            "AAAA".into(),
            "hash: 3 bytes where 128 should be",
        ),
        (
            &sync_version,
            "/version".to_owned(),
            "x".into(),
            "version: it is not a whole number",
        ),
    ] {
        let folder = copied();
        let mut changed = whole(file);
        *changed
            .pointer_mut(&path)
            .unwrap_or_else(|| panic!("{file} has no {path}")) = value;
        fs::write(folder.path().join(file), changed.to_string()).unwrap();
        let imported = folder::read(folder.path()).unwrap();
        let [left] = imported.left_out() else {
            panic!("{path}: {:?}", imported.left_out())
        };
        assert!(
            left.file == *file && left.reason.starts_with(words),
            "{words}: {}",
            left.reason
        );
    }
}

#[test]
fn a_session_that_is_linked_or_in_use_or_unknown_is_left_as_it_is() {
    let site = offline_site();
    let auth = fixture().join("auth");
    let (code, _, err) = import(&site, &auth, &["--session", "other"]);
    assert_eq!((code, site.state().exists()), (4, false), "{err}");
    assert!(err.contains("no session other"), "{err}");

    assert_eq!(import(&site, &auth, &[]).0, 0);
    let (code, _, err) = import(&site, &auth, &[]);
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("linked already"), "{err}");

    let store = Store::open(&site.state(), 1 << 20).unwrap();
    let rows = store.view().scan(Tree::PreKey, b"").count();
    assert_eq!(rows, folder::read(&auth).unwrap().counts().pre_keys);
    let (code, _, err) = import(&site, &auth, &[]);
    assert_eq!(code, 7, "{err}");
    assert!(err.contains(&std::process::id().to_string()), "{err}");
}

#[test]
fn links_and_thousands_of_files_are_fine() {
    let folder = copied();
    let elsewhere = tempfile::tempdir().unwrap();
    let creds = folder.path().join("creds.json");
    fs::rename(&creds, elsewhere.path().join("real.json")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("real.json"), &creds).unwrap();
    std::os::unix::fs::symlink("/nonexistent", folder.path().join("pre-key-900001.json")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("pre-key-900002.json")).unwrap();
    for number in 0..5000 {
        let mapping = folder.path().join(format!("lid-mapping-155502{number:05}.json"));
        fs::write(mapping, format!("\"1000001{number:05}\"")).unwrap();
    }
    let link = elsewhere.path().join("link");
    std::os::unix::fs::symlink(folder.path(), &link).unwrap();
    let site = offline_site();
    let (code, out, err) = import(&site, &link, &["--json"]);
    assert_eq!(code, 0, "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert!(report["taken"]["hidden_ids"].as_u64() >= Some(5000), "{report:#}");
    assert_eq!(report["left_out"].as_array().unwrap().len(), 2, "{report:#}");
    let store = Store::open(&site.state(), 1 << 20).unwrap();
    assert!(store.view().scan(Tree::LidMapping, b"").count() >= 5000);
}

#[test]
fn the_state_of_another_user_is_refused() {
    let site = offline_site();
    let root = rustix::process::geteuid().is_root();
    if root {
        fs::create_dir(site.state()).unwrap();
        std::os::unix::fs::chown(site.state(), Some(65_534), None).unwrap();
    } else {
        std::os::unix::fs::symlink("/", site.state()).unwrap();
    }
    let login = fixture().join("auth");
    let backup = site.path().join("none.backup");
    for command in [
        ["store", "import-baileys", login.to_str().unwrap()],
        ["store", "restore", backup.to_str().unwrap()],
    ] {
        let output = site.run(&command);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{command:?}: {err}");
        assert!(err.contains("belongs to user") && err.contains("sudo -u '#"), "{err}");
    }
    if root {
        assert_eq!(fs::read_dir(site.state()).unwrap().count(), 0, "it was written to");
    }
}

#[test]
fn what_was_read_is_not_printed() {
    let imported: Imported = folder::read(&fixture().join("auth")).unwrap();
    let shown = format!("{imported:?}");
    assert!(shown.starts_with("Imported(") && shown.len() < 300, "{shown}");
    assert!(!shown.contains(OWNER), "{shown}");
}
