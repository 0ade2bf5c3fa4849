//! The second path by mail, with the built program and a mail server.

use std::time::Instant;

use serde_json::Value;

use crate::mailbox::{Mailbox, Security};
use crate::support::{Relay, SOON, Site};

/// Nobody listens there: WhatsApp does not work, and no session is paired.
fn site(mailbox: &Mailbox, to: &str) -> Site {
    let site = Site::with_config(&format!(
        r#"
[[session]]
name = "default"
endpoint = "ws://127.0.0.1:9/ws/chat"
[[route]]
name = "friend"
to = ["+15550100002"]
fallback = {{ after = "1s", to = ["mail"] }}
[[fallback]]
name = "mail"
kind = "smtp"
url = "{}"
ca_file = "ca.pem"
user = "box"
password_file = "password"
from = "box@example.com"
to = {to}
[gateway]
listen = ["127.0.0.1:0"]
"#,
        mailbox.url()
    ));
    std::fs::write(site.path().join("ca.pem"), &mailbox.pem).expect("written");
    std::fs::write(site.path().join("password"), "hush hush\n").expect("written");
    site
}

fn wait_fallback(relay: &Relay, id: &str) -> Value {
    let until = Instant::now() + SOON;
    loop {
        let alert = relay
            .http("GET", &format!("/v1/alerts/{id}?wait=sent&timeout=1s"), &[], b"")
            .json();
        if alert["state"] == "fallback" {
            return alert;
        }
        assert!(
            Instant::now() < until,
            "not handed over: {alert:#}\n{}",
            relay.read_log()
        );
    }
}

fn by(security: Security) {
    let mailbox = Mailbox::start(security);
    let site = site(
        &mailbox,
        r#"["me@example.com", "nobody@example.com", "you@example.com"]"#,
    );
    let relay = site.start();
    let answer = relay.http(
        "POST",
        "/friend",
        &[("Title", "Größe"), ("Priority", "5")],
        b"disk full",
    );
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    let mail = mailbox.wait(0, SOON);
    assert_eq!(mail.encrypted, security != Security::None);
    assert_eq!(mail.login, Some(("box".to_owned(), "hush hush".to_owned())));
    assert_eq!(mail.from, "<box@example.com>");
    // One address that is refused costs the others nothing.
    assert_eq!(mail.to, ["<me@example.com>", "<you@example.com>"]);
    for line in [
        "Subject: =?UTF-8?B?R3LDtsOfZQ==?=\n",
        "X-Priority: 1\n",
        "\n\ndisk full\n",
    ] {
        assert!(mail.data.contains(line), "{line:?} is not in\n{}", mail.data);
    }
    assert!(
        mail.data.contains(&format!("Message-ID: <{id}.mail@example.com>\n")),
        "{}",
        mail.data
    );
    wait_fallback(&relay, &id);
    let log = relay.read_log();
    assert!(
        !log.contains("hush") && log.contains("550 to RCPT TO:<nobody@example.com>"),
        "{log}"
    );
    assert_eq!(relay.stop(), 0);
    assert_eq!(mailbox.all().len(), 1);
}

#[test]
fn a_mail_goes_out_with_tls_at_once() {
    by(Security::AtOnce);
}

#[test]
fn a_mail_goes_out_by_starttls() {
    by(Security::StartTls);
}

#[test]
fn a_mail_goes_to_a_server_on_this_host_without_tls() {
    by(Security::None);
}

#[test]
fn a_mail_that_is_put_off_or_lost_its_answer_comes_again_under_the_same_id() {
    let mailbox = Mailbox::start(Security::AtOnce);
    let site = site(&mailbox, r#"["me@example.com"]"#);
    mailbox.answer(Some("451 come again later"));
    let relay = site.start();
    let id = relay.publish("friend", "disk full");
    mailbox.wait(0, SOON);
    relay.wait_status("nothing is said of it", |status| {
        status["health"]
            .to_string()
            .contains("answered 451 to the mail: come again later")
    });
    mailbox.hang_up(true);
    mailbox.wait(1, SOON);
    relay.wait_status("it does not say that it is unclear", |status| {
        status["health"].to_string().contains("hung up, after the mail")
    });
    mailbox.hang_up(false);
    mailbox.answer(None);
    mailbox.wait(2, SOON);
    wait_fallback(&relay, &id);
    let message_id = |data: &str| {
        data.lines()
            .find(|line| line.starts_with("Message-ID"))
            .map(str::to_owned)
    };
    let ids: Vec<_> = mailbox.all().iter().map(|mail| message_id(&mail.data)).collect();
    assert!(ids.iter().all(|other| *other == ids[0]), "{ids:?}");
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_login_that_is_refused_is_said_without_the_password() {
    let mailbox = Mailbox::start(Security::AtOnce);
    mailbox.login_alone();
    mailbox.suspicious(true);
    let site = site(&mailbox, r#"["me@example.com"]"#);
    let relay = site.start();
    let id = relay.publish("friend", "disk full");
    relay.wait_status("nothing is said of it", |status| {
        let text = status["health"].to_string();
        text.contains("answered 535 to the password: 5.7.8 not accepted; are user and password right?")
    });
    assert!(mailbox.all().is_empty());
    mailbox.suspicious(false);
    let mail = mailbox.wait(0, SOON);
    assert_eq!(mail.login, Some(("box".to_owned(), "hush hush".to_owned())));
    wait_fallback(&relay, &id);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_server_that_nobody_vouches_for_gets_neither_password_nor_mail() {
    let (mailbox, other) = (Mailbox::start(Security::AtOnce), Mailbox::start(Security::AtOnce));
    let site = site(&mailbox, r#"["me@example.com"]"#);
    std::fs::write(site.path().join("ca.pem"), &other.pem).expect("written");
    let relay = site.start();
    relay.publish("friend", "disk full");
    relay.wait_status("nothing is said of it", |status| {
        let text = status["health"].to_string();
        text.contains("fallback-failing") && text.contains("certificate")
    });
    assert!(mailbox.all().is_empty());
    assert_eq!(relay.stop(), 0);
}
