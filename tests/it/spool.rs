//! The spool: alerts that are left as files while no relay answers, and what a relay makes of whatever lies there.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Relay, Site, tautline};

/// A user who has nothing to do with the relay.
const NOBODY: u32 = 65534;

/// Nothing listens there: what is published waits.
fn site() -> Site {
    Site::new(
        "ws://127.0.0.1:9/",
        &[("family", &["+15550100002"]), ("ops", &["+15550100003"])],
    )
}

fn spool(site: &Site) -> PathBuf {
    site.state().join("spool")
}

/// What lies in a folder, without what was set aside.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| !path.ends_with("aside")).collect()
}

fn texts(relay: &Relay) -> Vec<String> {
    let alerts = relay.http("GET", "/v1/alerts?limit=100", &[], b"").json();
    let alerts = alerts.as_array().unwrap().iter();
    let mut texts: Vec<String> = alerts
        .map(|alert| {
            format!(
                "{}: {}",
                alert["route"].as_str().unwrap(),
                alert["text"].as_str().unwrap()
            )
        })
        .collect();
    texts.sort();
    texts
}

/// Waits until the spool is empty: then all that lay there is accepted, or set aside.
fn wait_empty(site: &Site, relay: &Relay) {
    relay.wait_status("the spool is not emptied", |_| files(&spool(site)).is_empty());
}

fn codes(status: &Value) -> Vec<String> {
    let health = status["health"].as_array().unwrap().iter();
    health.map(|entry| entry["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_was_published_while_no_relay_ran_is_taken_once_when_one_does() {
    let site = site();
    // Where no relay has ever been, a file would wait for ever.
    let none = site.run(&["publish", "--spool", "--to", "family", "lost"]);
    assert_eq!(none.status.code(), Some(3), "{none:?}");
    assert_eq!(site.start().stop(), 0);
    assert_eq!(std::fs::metadata(spool(&site)).unwrap().mode() & 0o7777, 0o1733);

    let kept = site.run(&[
        "publish",
        "--json",
        "--spool",
        "--to",
        "family",
        "-t",
        "NAS",
        "-p",
        "high",
        "disk full",
    ]);
    assert_eq!(kept.status.code(), Some(0), "{kept:?}");
    let said: Value = serde_json::from_slice(&kept.stdout).unwrap();
    let file = PathBuf::from(said["spooled"].as_str().unwrap());
    assert_eq!(files(&spool(&site)), std::slice::from_ref(&file));
    let copy = std::fs::read(&file).unwrap();
    // Without --spool nothing is kept, and with a wrong route neither.
    assert_eq!(site.run(&["publish", "--to", "family", "x"]).status.code(), Some(3));
    assert_eq!(
        site.run(&["publish", "--spool", "--to", "a b", "x"]).status.code(),
        Some(2)
    );
    let waited = site.run(&["publish", "--spool", "--wait", "--to", "ops", "second"]);
    assert_eq!(waited.status.code(), Some(6), "{waited:?}");
    assert_eq!(files(&spool(&site)).len(), 2);

    let relay = site.start();
    wait_empty(&site, &relay);
    assert_eq!(texts(&relay), ["family: disk full", "ops: second"]);
    let alert = &relay.http("GET", "/v1/alerts?limit=100", &[], b"").json()[1];
    assert_eq!((&alert["title"], &alert["priority"]), (&"NAS".into(), &4.into()));
    relay.kill();

    // As after a power cut that has brought the file back, or a crash before it was removed.
    std::fs::write(&file, &copy).unwrap();
    let relay = site.start();
    wait_empty(&site, &relay);
    assert_eq!(texts(&relay), ["family: disk full", "ops: second"]);
    // And while it runs, whoever asks.
    std::fs::write(&file, &copy).unwrap();
    std::fs::rename(&file, file.with_extension("x")).unwrap();
    std::fs::rename(file.with_extension("x"), &file).unwrap();
    wait_empty(&site, &relay);
    assert_eq!(texts(&relay).len(), 2);
    // With a relay that answers nothing is spooled, and the key is no other alert's.
    let direct = site.run(&["publish", "--spool", "--to", "ops", "third"]);
    assert_eq!(direct.status.code(), Some(0), "{direct:?}");
    assert_eq!(texts(&relay).len(), 3);
    assert!(codes(&relay.status()).iter().all(|code| !code.starts_with("spool")));
}

#[test]
fn an_alert_without_its_route_is_held_until_there_is_one() {
    let site = site();
    assert_eq!(site.start().stop(), 0);
    for args in [
        &["publish", "--spool", "which route?"][..],
        &["publish", "--spool", "--to", "later", "for later"],
    ] {
        assert_eq!(site.run(args).status.code(), Some(0), "{args:?}");
    }
    let relay = site.start();
    let status = relay.wait_status("nothing is held", |status| {
        codes(status).iter().filter(|code| *code == "spool-held").count() == 2
    });
    assert!(
        texts(&relay).is_empty() && files(&spool(&site)).len() == 2,
        "{status:#}"
    );
    relay.kill();
    let config = std::fs::read_to_string(site.config()).unwrap();
    let only = config.split("\n[[route]]").next().unwrap();
    let only = format!(
        "{only}\n[[route]]\nname = \"later\"\nto = [\"+15550100002\"]\n[gateway]\nlisten = [\"127.0.0.1:0\"]\n"
    );
    std::fs::write(site.config(), only).unwrap();
    let relay = site.start();
    wait_empty(&site, &relay);
    assert_eq!(texts(&relay), ["later: for later", "later: which route?"]);
}

#[test]
fn a_held_file_that_a_person_removes_is_told_of_no_more() {
    let site = site();
    let relay = site.start();
    let name = tautline::spool::Name::draw().unwrap();
    let entry = tautline::spool::Entry {
        to: vec!["nobody".into()],
        body: b"x".to_vec(),
        ..tautline::spool::Entry::new("ntfy", 0)
    };
    tautline::spool::put(&spool(&site), &name, &entry.encode()).unwrap();
    let is_held = |status: &Value| codes(status).iter().any(|code| code == "spool-held");
    relay.wait_status("it is not told of", is_held);
    std::fs::remove_file(spool(&site).join(name.as_str())).unwrap();
    relay.wait_status("it is told of for ever", |status| !is_held(status));
}

#[test]
fn whatever_else_lies_in_the_spool_is_set_aside_and_told() {
    let site = site();
    assert_eq!(site.start().stop(), 0);
    let name = |digit: &str| spool(&site).join(digit.repeat(32));
    let secret = site.path().join("secret");
    std::fs::write(
        &secret,
        "{\"tautline\":1,\"dialect\":\"ntfy\",\"to\":[\"ops\"]}\nsecret",
    )
    .unwrap();
    symlink(&secret, name("1")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(name("2")).status().unwrap();
    assert!(made.success());
    std::fs::File::create(name("3")).unwrap().set_len(1 << 40).unwrap();
    std::fs::write(name("4"), "disk full").unwrap();
    std::fs::write(spool(&site).join("letter"), "disk full").unwrap();
    assert_eq!(
        site.run(&["publish", "--spool", "--to", "ops", "the alert"])
            .status
            .code(),
        Some(0)
    );
    let relay = site.start();
    wait_empty(&site, &relay);
    assert_eq!(texts(&relay), ["ops: the alert"]);
    relay.wait_status("it is not told", |status| {
        codes(status).contains(&"spool-aside".to_owned())
    });
    assert_eq!(std::fs::read_dir(spool(&site).join("aside")).unwrap().count(), 5);
}

#[test]
fn names_that_are_no_text_hold_up_nothing() {
    let site = site();
    assert_eq!(site.start().stop(), 0);
    // More than one look takes, before the alert in every order.
    for number in 0..600 {
        let name = [&b"\xff"[..], format!("{number:03}").as_bytes()].concat();
        std::fs::write(spool(&site).join(OsStr::from_bytes(&name)), "x").unwrap();
        std::fs::write(spool(&site).join(format!("!{number}")), "x").unwrap();
    }
    let kept = site.run(&["publish", "--spool", "--to", "ops", "the alert"]);
    assert_eq!(kept.status.code(), Some(0), "{kept:?}");
    let relay = site.start();
    wait_empty(&site, &relay);
    assert_eq!(texts(&relay), ["ops: the alert"]);
    assert_eq!(std::fs::read_dir(spool(&site).join("aside")).unwrap().count(), 64);
}

/// A route that was renamed, on a box whose jobs went on for long.
#[test]
fn no_spooled_alert_is_removed_however_many_are_held() {
    let site = site();
    assert_eq!(site.start().stop(), 0);
    for number in 0..1150 {
        let alert = "{\"tautline\":1,\"dialect\":\"ntfy\",\"to\":[\"later\"]}\ntext";
        std::fs::write(spool(&site).join(format!("{number:032}")), alert).unwrap();
    }
    let relay = site.start();
    relay.wait_status("not all is told", |status| {
        let health = status["health"].as_array().unwrap().iter();
        let mut texts = health.map(|entry| entry["text"].as_str().unwrap());
        texts.any(|text| text.contains("1145 more files wait"))
    });
    assert_eq!(files(&spool(&site)).len(), 1150);
    assert_eq!(std::fs::read_dir(spool(&site).join("aside")).unwrap().count(), 0);
    // And what comes behind them is taken.
    let name = spool(&site).join("f".repeat(32));
    let alert = "{\"tautline\":1,\"dialect\":\"ntfy\",\"to\":[\"ops\"]}\nthe alert";
    std::fs::write(name.with_extension("x"), alert).unwrap();
    std::fs::rename(name.with_extension("x"), &name).unwrap();
    relay.wait_status("it is not taken", |_| !name.exists());
    assert_eq!(texts(&relay), ["ops: the alert"]);
    assert_eq!(files(&spool(&site)).len(), 1150);
}

#[test]
fn a_spool_that_is_removed_is_made_again_and_taken_from() {
    let site = site();
    let relay = site.start();
    let before = std::fs::metadata(spool(&site)).unwrap().ino();
    // The folder `aside` is made when it is opened.
    relay.wait_status("it is not opened", |_| spool(&site).join("aside").exists());
    // Held, so that no other folder gets its number.
    let _held = std::fs::File::open(spool(&site)).unwrap();
    std::fs::remove_dir_all(spool(&site)).unwrap();
    relay.wait_status("it is not made again", |_| {
        std::fs::metadata(spool(&site)).is_ok_and(|there| there.ino() != before)
    });
    let alert = "{\"tautline\":1,\"dialect\":\"ntfy\",\"to\":[\"ops\"]}\nthe alert";
    std::fs::write(site.state().join("new"), alert).unwrap();
    std::fs::rename(site.state().join("new"), spool(&site).join("e".repeat(32))).unwrap();
    relay.wait_status("it is not taken", |_| texts(&relay) == ["ops: the alert"]);
}

#[test]
fn whatever_stands_beside_the_text_is_cut_so_that_the_relay_takes_it() {
    let site = site();
    assert_eq!(site.start().stop(), 0);
    let long = "9".repeat(90_000);
    for (flag, text) in [
        ("--ttl", "a"),
        ("--title", "b"),
        ("--key", "c"),
        ("--tag", "d"),
        ("--priority", "e"),
    ] {
        let kept = site.run(&["publish", "--spool", "--to", "ops", flag, &long, text]);
        assert_eq!(kept.status.code(), Some(0), "{flag} {kept:?}");
    }
    let relay = site.start();
    wait_empty(&site, &relay);
    assert_eq!(texts(&relay), ["ops: a", "ops: b", "ops: c", "ops: d", "ops: e"]);
    assert_eq!(std::fs::read_dir(spool(&site).join("aside")).unwrap().count(), 0);
}

#[test]
fn the_time_in_the_spool_counts_for_the_time_to_live_of_the_route() {
    let site = site();
    let config = std::fs::read_to_string(site.config()).unwrap();
    let config = config.replace("name = \"ops\"", "name = \"ops\"\nttl = \"30m\"");
    std::fs::write(site.config(), config).unwrap();
    let relay = site.start();
    let at = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    let at = at.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let alert = format!("{{\"tautline\":1,\"dialect\":\"ntfy\",\"to\":[\"ops\"],\"at\":{at}}}\ntext");
    std::fs::write(site.state().join("new"), alert).unwrap();
    std::fs::rename(site.state().join("new"), spool(&site).join("e".repeat(32))).unwrap();
    relay.wait_status("it does not expire", |_| {
        relay.http("GET", "/v1/alerts?limit=100", &[], b"").json()[0]["state"] == "expired"
    });
}

/// Cron runs jobs as any user, and none of them may open the control socket or the state.
#[test]
fn another_user_may_leave_an_alert_and_see_nothing() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: only root can become another user");
        return;
    }
    let site = site();
    // As the state of the unit, but with a spool that others can reach.
    std::fs::set_permissions(site.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let relay = site.start();
    std::fs::set_permissions(site.state(), PermissionsExt::from_mode(0o711)).unwrap();
    let program = site.path().join("tautline");
    std::fs::copy(crate::support::program(), &program).unwrap();
    let as_nobody = |words: &[&str]| {
        let mut command = std::process::Command::new(&program);
        let envs = tautline();
        command.envs(envs.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.arg("--state").arg(site.state()).args(words);
        command.uid(NOBODY).gid(NOBODY).output().unwrap()
    };
    let kept = as_nobody(&["publish", "--spool", "--to", "ops", "from a job"]);
    assert_eq!(kept.status.code(), Some(0), "{kept:?}");
    let said = String::from_utf8_lossy(&kept.stderr).into_owned();
    assert!(said.contains("no permission") && said.contains("is kept as"), "{said}");
    wait_empty(&site, &relay);
    assert_eq!(texts(&relay), ["ops: from a job"]);
    // Nobody else can list it.
    let listed = std::process::Command::new("ls")
        .arg(spool(&site))
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    assert!(!listed.status.success());
}
