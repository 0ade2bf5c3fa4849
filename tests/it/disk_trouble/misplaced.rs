//! Files of the state that somebody removes, replaces or cuts under a running relay, and files put among them. What was
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
    // All at once: removed file by file, `lock` is what a write in between misses.
    ends_after(
        &|state| fs::rename(state, state.with_extension("aside")).unwrap(),
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

#[test]
fn no_backup_is_written_among_the_files_of_a_state() {
    let site = offline();
    let relay = site.start();
    relay.publish("friend", "accepted");
    let link = site.path().join("link");
    std::os::unix::fs::symlink(site.state(), &link).unwrap();
    let elsewhere = Site::new("ws://127.0.0.1:1/ws/chat", &[]);
    assert_eq!(elsewhere.start().stop(), 0);
    let names = ["log.1", "log.2", "lock", "backup", "db/backup"];
    let targets = [site.state(), link, elsewhere.state()];
    for target in targets.iter().flat_map(|state| names.map(|name| state.join(name))) {
        for force in [&["--force"][..], &[]] {
            let output = site.run(&[&["store", "backup", target.to_str().unwrap()], force].concat());
            let words = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(4), "{}: {words}", target.display());
            assert!(words.contains("where only the relay writes"), "{words}");
        }
    }
    assert!(!site.state().join("log.2").exists());
    relay.publish("friend", "accepted too");
    assert_eq!(relay.stop(), 0);
    let relay = site.start();
    relay.wait_status("an alert is gone", |status| status["outbox"]["accepted"] == 2);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn root_does_not_run_on_the_state_of_another_user() {
    if !rustix::process::geteuid().is_root() {
        return println!("not tried: only root makes files of other users");
    }
    let site = offline();
    assert_eq!(site.start().stop(), 0);
    for name in ["", "log.1", "lock"] {
        if std::os::unix::fs::chown(site.state().join(name), Some(65_534), None).is_err() {
            return println!("not tried: there is no other user here");
        }
    }
    let names = || {
        let files = fs::read_dir(site.state()).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    for command in ["run", "pair"] {
        let output = site.run(&[command]);
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{command}: {words}");
        assert!(
            words.contains("belongs to user 65534") && words.contains("sudo -u '#65534'"),
            "{words}"
        );
    }
    assert_eq!(names(), before, "it was written to");
    // As in a container: the directory is the host's user's, and what is in it is root's.
    std::os::unix::fs::chown(site.state().join("log.1"), Some(0), None).unwrap();
    assert_eq!(site.start().stop(), 0);
}
