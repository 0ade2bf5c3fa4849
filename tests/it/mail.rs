//! `tautline sendmail` as cron and others call it, with a relay and without one.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Relay, Site};

/// Nothing listens there: what is published waits.
pub fn site(mail: &str) -> Site {
    Site::with_config(&format!(
        "[[session]]\nname = \"default\"\nendpoint = \"ws://127.0.0.1:9/\"\n\
         [[route]]\nname = \"family\"\nto = [\"+15550100002\"]\n\
         [[route]]\nname = \"ops\"\nto = [\"+15550100003\"]\n\
         [gateway]\nlisten = [\"127.0.0.1:0\"]\n{mail}"
    ))
}

fn fed(mut command: Command, mail: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(mail).unwrap();
    child.wait_with_output().unwrap()
}

/// Gives `mail` to `tautline sendmail` with these flags; returns the exit code and what it said.
pub fn sendmail(site: &Site, flags: &str, mail: &[u8]) -> (i32, String) {
    let words: Vec<&str> = std::iter::once("sendmail").chain(flags.split_whitespace()).collect();
    let output = fed(site.command(&words), mail);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), said)
}

/// Route, title and text of every alert, the oldest first.
fn alerts(relay: &Relay) -> Vec<(String, String, String)> {
    let alerts = relay.http("GET", "/v1/alerts?limit=100", &[], b"").json();
    let word = |alert: &Value, key: &str| alert[key].as_str().unwrap().to_owned();
    let mut found: Vec<_> = alerts.as_array().unwrap().clone();
    found.sort_by_key(|alert| alert["seq"].as_u64());
    let all = found.iter();
    all.map(|alert| (word(alert, "route"), word(alert, "title"), word(alert, "text")))
        .collect()
}

fn spool(site: &Site) -> Vec<PathBuf> {
    let files = std::fs::read_dir(site.state().join("spool")).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    paths.filter(|path| !path.ends_with("aside")).collect()
}

#[test]
fn mails_go_where_their_recipients_lead() {
    let site = site("[mail]\nroutes = { \"root\" = \"ops\", \"root@nas\" = \"family\" }\n");
    let relay = site.start();
    for (flags, mail, route) in [
        (
            "-FCronDaemon -i -B8BITMIME -oem root",
            "Subject: a\n\ntext",
            Some("ops"),
        ),
        ("-i root@nas", "Subject: b\n\ntext", Some("family")),
        ("-t -oi", "To: Root <root@other>\nSubject: c\n\ntext", Some("ops")),
        (
            "-oi -f root@localhost -t",
            "To: <family@tautline>\nSubject: d\n\ntext",
            Some("family"),
        ),
        ("-B 8BITMIME -f root -- OPS", "Subject: e\n\ntext\n.\n", Some("ops")),
        ("-i nobody@x", "Subject: f\n\ntext", None),
        ("-t", "Subject: g\n\ntext", None),
    ] {
        let before = alerts(&relay).len();
        let (code, said) = sendmail(&site, flags, mail.as_bytes());
        assert_eq!(code, if route.is_some() { 0 } else { 67 }, "{flags}: {said}");
        let new = alerts(&relay).split_off(before);
        let routes: Vec<&str> = new.iter().map(|(route, _, _)| route.as_str()).collect();
        assert_eq!(routes, route.into_iter().collect::<Vec<_>>(), "{flags}");
        assert_eq!(
            said.contains("no route") || said.contains("several routes"),
            route.is_none(),
            "{said}"
        );
    }
    // Each route once, however many names lead there.
    let (code, _) = sendmail(&site, "root family root@nas ops", b"Subject: h\n\ntext");
    let last = alerts(&relay).split_off(5);
    assert_eq!((code, last.len()), (0, 2), "{last:?}");
    assert!(spool(&site).is_empty());
    // A dot on a line of its own is a text.
    assert_eq!(alerts(&relay)[4].2, "text\n.");
}

#[test]
fn a_mail_that_nobody_takes_is_kept_and_taken_later() {
    let site = site("[mail]\nroute = \"ops\"\n");
    assert_eq!(sendmail(&site, "root", b"Subject: x\n\nlost").0, 75);
    assert_eq!(site.start().stop(), 0);
    let link = site.path().join("sendmail");
    symlink(crate::support::program(), &link).unwrap();
    // As /usr/sbin/sendmail there is no place for --state.
    let mut linked = crate::support::tautline();
    let environment: Vec<_> = linked
        .get_envs()
        .map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)))
        .collect();
    let mut called = Command::new(&link);
    for (name, value) in environment {
        match value {
            Some(value) => called.env(name, value),
            None => called.env_remove(name),
        };
    }
    linked = called;
    linked.env("STATE_DIRECTORY", site.state());
    linked.args(["-i", "-FCronDaemon", "root"]);
    if std::path::Path::new("/var/spool/tautline").exists() {
        eprintln!("not tested by its name: this host has a spool");
    } else {
        let output = fed(
            linked,
            "From: root\nSubject: Cron größer\n\nthe backup failed".as_bytes(),
        );
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(
            output.stderr.is_empty() && output.stdout.is_empty(),
            "cron mails what is said: {output:?}"
        );
    }
    let kept = spool(&site).len();
    // A sender that no head of a file could hold is cut.
    let flags = format!("-f {} -i family", "x".repeat(100_000));
    assert_eq!(sendmail(&site, &flags, b"Subject: for the family\n\ntext").0, 0);
    assert_eq!(spool(&site).len(), kept + 1);
    let relay = site.start();
    relay.wait_status("the spool is not emptied", |_| spool(&site).is_empty());
    let mut all = alerts(&relay);
    let family = all.pop().unwrap();
    assert_eq!(family, ("family".into(), "for the family".into(), "text".into()));
    assert_eq!(all.len(), kept);
    for cron in all {
        assert_eq!(cron, ("ops".into(), "Cron größer".into(), "the backup failed".into()));
    }
}

#[test]
fn a_large_mail_takes_little_and_its_text_arrives() {
    let site = site("[mail]\nroute = \"ops\"\n");
    let relay = site.start();
    let picture = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0\r\n"
        .repeat(30 * 1024 * 1024 / 76);
    let mail = format!(
        "Subject: Motion\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: video/mp4; name=\"yard.mp4\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{picture}--b\r\nContent-Type: text/plain\r\n\r\nSomebody is in the yard\r\n--b--\r\n"
    );
    let (code, said) = sendmail(&site, "-t", mail.as_bytes());
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("warning: yard.mp4"), "{said}");
    let text = &alerts(&relay)[0].2;
    assert!(
        text.starts_with("Somebody is in the yard\n[left out: yard.mp4, 23"),
        "{text}"
    );
}

#[test]
fn answers_and_bounces_are_dropped_and_said_and_what_programs_write_arrives() {
    let site = site("[mail]\nroute = \"ops\"\n");
    let relay = site.start();
    for (flags, mail, word) in [
        (
            "root",
            "Auto-Submitted: auto-replied\nSubject: away\n\nI am away",
            "the answer of a program",
        ),
        (
            "-f <> root",
            "From: MAILER-DAEMON@nas\nSubject: failed\n\nx",
            "a bounce",
        ),
    ] {
        let (code, said) = sendmail(&site, flags, mail.as_bytes());
        assert!(
            code == 0 && said.contains(word) && said.contains("dropped"),
            "{code} {said}"
        );
    }
    assert!(alerts(&relay).is_empty());
    for (flags, mail) in [
        ("-t", "Auto-Submitted: auto-generated\nTo: root\nSubject: mdadm\n\nx"),
        ("-f <> root", "From: ups@nas\nSubject: power\n\nx"),
    ] {
        assert_eq!(sendmail(&site, flags, mail.as_bytes()), (0, String::new()), "{flags}");
    }
    assert_eq!(alerts(&relay).len(), 2);
}

#[test]
fn what_is_no_mail_to_send_has_the_exit_codes_of_sendmail() {
    let site = site("");
    for (flags, code) in [
        ("-bp", 0),
        ("-bi", 0),
        ("-q", 0),
        ("--help", 0),
        ("-bs", 69),
        ("-f", 64),
    ] {
        assert_eq!(sendmail(&site, flags, b"").0, code, "{flags}");
    }
}
