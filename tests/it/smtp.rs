//! Mails by SMTP over real sockets: against a relay that the test holds in its hand, and into the built program.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use futures_rustls::TlsConnector;
use futures_rustls::pki_types::{CertificateDer, ServerName};
use futures_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring, version::TLS13};
use tautline::access::Right;
use tautline::alert::Alert;
use tautline::config::{Access, Loopback};
use tautline::gateway::{Certificate, Refusal, SmtpLimits};

use crate::gate::{Bench, FakeRelay, PATIENCE, until, write_certificate};
use crate::support::Site;

/// Somebody who speaks SMTP, and has heard the greeting.
struct Client {
    stream: TcpStream,
    answers: BufReader<TcpStream>,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        let mut client = Self::silent(address);
        assert_eq!(client.hear(), "220 tautline ESMTP");
        client
    }

    fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let answers = BufReader::new(stream.try_clone().unwrap());
        Self { stream, answers }
    }

    /// The next answer, its lines joined. Empty when the connection has ended.
    fn hear(&mut self) -> String {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            self.answers.read_line(&mut line).unwrap();
            let more = line.as_bytes().get(3) == Some(&b'-');
            lines.push(line.trim_end().to_owned());
            if !more {
                return lines.join("|");
            }
        }
    }

    fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    fn say(&mut self, line: &str) -> String {
        self.write(&format!("{line}\r\n"));
        self.hear()
    }

    /// Says a line and expects this code.
    fn expect(&mut self, code: &str, line: &str) -> String {
        let answer = self.say(line);
        assert!(answer.starts_with(code), "{line}: {answer}");
        answer
    }

    /// A whole mail; returns what is said at its end.
    fn mail(&mut self, to: &[&str], text: &str) -> String {
        self.expect("250", "MAIL FROM:<root@nas>");
        for to in to {
            self.expect("250", &format!("RCPT TO:<{to}>"));
        }
        self.expect("354", "DATA");
        self.say(&format!("{text}\r\n."))
    }

    /// Whether nothing more comes.
    fn has_ended(&mut self) -> bool {
        let mut rest = Vec::new();
        self.answers.read_to_end(&mut rest).is_ok() && rest.is_empty()
    }
}

fn bench() -> Bench {
    Bench::new()
}

fn with_limits(change: impl FnOnce(&mut SmtpLimits)) -> Bench {
    let mut limits = SmtpLimits::default();
    change(&mut limits);
    Bench::with_mails(FakeRelay::new(&["family", "ops"]), Access::default(), None, limits)
}

fn texts(taken: &[(String, Alert)]) -> Vec<(&str, &str, &str)> {
    let all = taken.iter();
    all.map(|(route, alert)| (route.as_str(), alert.title.as_str(), alert.text.as_str()))
        .collect()
}

#[test]
fn a_mail_becomes_an_alert_on_each_route_of_its_recipients() {
    let bench = bench();
    let mut client = Client::new(bench.mails);
    let offers = client.expect("250", "EHLO nas");
    for offer in [
        "PIPELINING",
        "SIZE ",
        "8BITMIME",
        "SMTPUTF8",
        "AUTH PLAIN LOGIN",
        "ENHANCEDSTATUSCODES",
    ] {
        assert!(offers.contains(offer), "{offers}");
    }
    assert!(!offers.contains("STARTTLS"), "there is no certificate: {offers}");
    assert!(
        client
            .mail(&["family@tautline", "ops"], "Subject: smartd\r\n\r\nthe disk fails")
            .starts_with("250")
    );
    let taken = bench.relay.taken();
    assert_eq!(
        texts(&taken),
        [
            ("family", "smartd", "the disk fails"),
            ("ops", "smartd", "the disk fails")
        ]
    );
}

#[test]
fn a_session_may_be_sent_ahead_and_have_several_mails() {
    let bench = bench();
    let mut client = Client::new(bench.mails);
    client.write(
        "EHLO nas\r\nMAIL FROM:<root@nas> BODY=8BITMIME SIZE=60\r\nRCPT TO:<family@tautline>\r\nRCPT TO:<nobody@x>\r\n\
         RCPT TO:<ops>\r\nRCPT TO:<Family+disk@nas>\r\nDATA\r\nSubject: Gr\u{f6}\u{df}er\r\n\r\nthe disk is full\r\n\
         ..and a dot\r\n.\r\nMAIL FROM:<j\u{f6}rg@nas> SMTPUTF8\r\nRCPT TO:<ops>\r\nDATA\r\nno header at all\r\n.\r\nQUIT\r\n",
    );
    let codes: Vec<String> = (0..13).map(|_| client.hear()[..3].to_owned()).collect();
    assert_eq!(codes.join(" "), "250 250 250 550 250 250 354 250 250 250 354 250 221");
    assert!(client.has_ended());
    let taken = bench.relay.taken();
    assert_eq!(
        texts(&taken),
        [
            ("family", "Gr\u{f6}\u{df}er", "the disk is full\n.and a dot"),
            ("ops", "Gr\u{f6}\u{df}er", "the disk is full\n.and a dot"),
            ("ops", "", "no header at all"),
        ]
    );
}

#[test]
fn it_is_taken_when_the_relay_has_it_and_else_its_sender_is_told() {
    let bench = bench();
    let mut client = Client::new(bench.mails);
    client.expect("250", "EHLO nas");
    for (refusal, code) in [
        (Refusal::Full("the outbox is full".into()), "452 4.3.1"),
        (Refusal::Storage("no space".into()), "452 4.3.1"),
        (Refusal::StorageFailed("read-only".into()), "451 4.3.0"),
        (Refusal::Unavailable("stopping".into()), "451 4.3.0"),
        (Refusal::UnknownRoute("family".into()), "550 5.1.1"),
    ] {
        bench.relay.refuse(Some(refusal));
        let answer = client.mail(&["family"], "Subject: x\r\n\r\ny");
        assert!(answer.starts_with(code), "{answer}");
    }
    assert!(bench.relay.taken().is_empty());
    bench.relay.refuse(None);
    bench.relay.warn("nothing goes out until a person acts");
    let answer = client.mail(&["family", "ops"], "Subject: x\r\n\r\ny");
    assert_eq!(
        answer,
        "250 2.0.0 accepted as AAAAAAAA0000, AAAAAAAA0001; nothing goes out until a person acts"
    );
}

#[test]
fn no_mail_hides_another_in_itself() {
    let bench = bench();
    let mut client = Client::new(bench.mails);
    client.expect("250", "EHLO nas");
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r.\r"] {
        bench.relay.forget_taken();
        let text = format!(
            "Subject: one\r\n\r\ntext{end}MAIL FROM:<evil@x>\r\nRCPT TO:<ops>\r\nDATA\r\nSubject: two\r\n\r\nevil"
        );
        assert!(client.mail(&["family"], &text).starts_with("250"), "{end:?}");
        let taken = bench.relay.taken();
        assert_eq!(taken.len(), 1, "{end:?}");
        assert!(taken[0].0 == "family" && taken[0].1.text.contains("evil"), "{end:?}");
    }
}

#[test]
fn a_device_that_knows_no_carriage_return_is_understood() {
    let bench = bench();
    let mut client = Client::new(bench.mails);
    client
        .write("HELO cam1\nMAIL FROM:<cam1@local>\nRCPT TO:<family>\nDATA\nSubject: Motion\n\nin the yard\n.\nQUIT\n");
    let codes: Vec<String> = (0..6).map(|_| client.hear()[..3].to_owned()).collect();
    assert_eq!(codes.join(" "), "250 250 250 354 250 221");
    assert_eq!(texts(&bench.relay.taken()), [("family", "Motion", "in the yard")]);
}

#[test]
fn answers_and_bounces_are_dropped_and_said() {
    let bench = bench();
    let mut client = Client::new(bench.mails);
    client.expect("250", "EHLO nas");
    let answer = client.mail(&["family"], "Auto-Submitted: auto-replied\r\nSubject: away\r\n\r\nx");
    assert!(answer.starts_with("250") && answer.contains("dropped"), "{answer}");
    client.expect("250", "MAIL FROM:<>");
    client.expect("250", "RCPT TO:<family>");
    client.expect("354", "DATA");
    let answer = client.say("From: MAILER-DAEMON@nas\r\nSubject: failed\r\n\r\nx\r\n.");
    assert!(answer.starts_with("250") && answer.contains("a bounce"), "{answer}");
    assert!(bench.relay.taken().is_empty());
}

#[test]
fn what_is_too_large_is_refused_and_the_connection_goes_on() {
    let bench = with_limits(|limits| {
        limits.mail_bytes = 100_000;
        limits.recipients = 2;
    });
    let mut client = Client::new(bench.mails);
    assert!(client.expect("250", "EHLO nas").contains("SIZE 100000"));
    client.expect("552", "MAIL FROM:<a> SIZE=100001");
    let long = "x".repeat(70) + "\r\n";
    assert!(
        client.mail(&["ops"], &long.repeat(2000)).starts_with("552"),
        "more than was said"
    );
    client.expect("500", &format!("NOOP {}", "x".repeat(20_000)));
    client.expect("250", "MAIL FROM:<a>");
    for code in ["250", "250", "452"] {
        client.expect(code, "RCPT TO:<ops>");
    }
    client.expect("354", "DATA");
    assert!(client.say("Subject: x\r\n\r\ny\r\n.").starts_with("250"));
    assert_eq!(bench.relay.taken().len(), 1);
    // What is far too large is not read to its end.
    client.expect("250", "MAIL FROM:<a>");
    client.expect("250", "RCPT TO:<ops>");
    client.expect("354", "DATA");
    let _ = client.stream.write_all(long.repeat(7000).as_bytes());
    assert!(client.hear().starts_with("552"));
}

#[test]
fn who_says_nothing_is_told_and_makes_room_for_others() {
    let bench = with_limits(|limits| limits.command = Duration::from_millis(50));
    let mut client = Client::new(bench.mails);
    assert!(client.hear().starts_with("421 4.4.2") && client.has_ended());

    let bench = with_limits(|limits| limits.connections = 2);
    let mut first = Client::new(bench.mails);
    first.expect("250", "EHLO nas");
    first.expect("250", "MAIL FROM:<root@nas>");
    let mut idle = Client::new(bench.mails);
    // Whoever is in the middle of a mail stays.
    let mut third = Client::silent(bench.mails);
    until("a place", || {
        let heard = third.hear();
        if !heard.starts_with("220") {
            third = Client::silent(bench.mails);
        }
        heard.starts_with("220")
    });
    assert!(idle.hear().starts_with("421 4.3.2") && idle.has_ended());
    first.expect("250", "RCPT TO:<family>");

    let bench = with_limits(|limits| limits.data_gap = Duration::from_millis(50));
    let mut client = Client::new(bench.mails);
    client.expect("250", "MAIL FROM:<root@nas>");
    client.expect("250", "RCPT TO:<family>");
    client.expect("354", "DATA");
    client.write("Subject: x\r\n\r\nthe rest never comes\r\n");
    assert!(client.hear().starts_with("421 4.4.2") && client.has_ended());
    assert!(bench.relay.taken().is_empty());
}

#[test]
fn a_web_page_that_speaks_to_the_port_gets_nowhere() {
    let bench = bench();
    let mut client = Client::new(bench.mails);
    client.write(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 200\r\n\r\nEHLO x\r\nMAIL FROM:<a>\r\nRCPT TO:<family>\r\nDATA\r\n\
         Subject: x\r\n\r\nevil\r\n.\r\n",
    );
    assert!(client.hear().starts_with("421"));
    assert!(bench.relay.taken().is_empty());
}

#[test]
fn whoever_is_there_when_the_relay_stops_is_told() {
    let mut bench = bench();
    let mut client = Client::new(bench.mails);
    client.expect("250", "EHLO nas");
    bench.stop();
    assert!(client.hear().starts_with("421 4.3.2") && client.has_ended());
}

/// A certificate for 127.0.0.1, and itself.
fn certificate(directory: &std::path::Path) -> (Arc<Certificate>, CertificateDer<'static>) {
    let (files, itself) = write_certificate(directory);
    (Arc::new(Certificate::open(files)), itself)
}

/// One whose users do not trust each other.
fn closed(certificate: Option<Arc<Certificate>>) -> Bench {
    closed_with(certificate, |_| {})
}

fn closed_with(certificate: Option<Arc<Certificate>>, change: impl FnOnce(&mut SmtpLimits)) -> Bench {
    let access = Access {
        loopback: Loopback::Token,
        tls: certificate.is_some(),
        ..Access::default()
    };
    let mut limits = SmtpLimits {
        wrong_token: Duration::ZERO,
        ..SmtpLimits::default()
    };
    change(&mut limits);
    let bench = Bench::with_mails(FakeRelay::new(&["family", "ops"]), access, certificate, limits);
    bench.relay.token("tk_nas", &[Right::Publish], &["family"], false);
    bench.relay.token("tk_read", &[Right::Read], &["family"], false);
    bench.relay.token("tk_old", &[Right::Publish], &["family"], true);
    bench
}

#[test]
fn a_token_opens_its_routes_and_others_do_not() {
    use base64::Engine;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let bench = closed(None);
    for (secret, auth, mail) in [
        ("", "", "530"),
        ("tk_none", "535", "530"),
        ("tk_old", "535", "530"),
        ("tk_read", "235", "530"),
        ("tk_nas", "235", "250"),
    ] {
        let mut client = Client::new(bench.mails);
        client.expect("250", "EHLO nas");
        if !secret.is_empty() {
            client.expect(auth, &format!("AUTH PLAIN {}", encode(&format!("\0nas\0{secret}"))));
        }
        client.expect(mail, "MAIL FROM:<root@nas>");
    }
    let mut client = Client::new(bench.mails);
    client.expect("250", "EHLO nas");
    client.expect("334 VXNlcm5hbWU6", "AUTH LOGIN");
    client.expect("334 UGFzc3dvcmQ6", &encode("anything"));
    client.expect("235", &encode("tk_nas"));
    client.expect("250", "MAIL FROM:<root@nas>");
    client.expect("550 5.7.1", "RCPT TO:<ops>");
    client.expect("250", "RCPT TO:<family>");
    client.expect("354", "DATA");
    assert!(client.say("Subject: x\r\n\r\ny\r\n.").starts_with("250"));
    assert_eq!(texts(&bench.relay.taken()), [("family", "x", "y")]);
    let trouble = bench.refused.trouble().unwrap();
    assert!(
        trouble.contains("AUTH by SMTP") && !trouble.contains("tk_none"),
        "{trouble}"
    );
}

/// What is answered to these lines behind TLS.
fn by_tls(stream: TcpStream, root: CertificateDer<'static>, lines: &str) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    stream.set_nonblocking(true).unwrap();
    let stream = smol::net::TcpStream::try_from(stream).unwrap();
    smol::block_on(async {
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap();
        stream.write_all(lines.as_bytes()).await.unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        heard
    })
}

#[test]
fn starttls_begins_anew_and_takes_nothing_that_was_sent_ahead() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, root) = certificate(directory.path());
    let bench = closed(Some(certificate));
    let mut client = Client::new(bench.mails);
    assert!(client.expect("250", "EHLO nas").contains("STARTTLS"));
    client.write("STARTTLS\r\nEHLO evil\r\n");
    assert!(client.hear().starts_with("421") && client.has_ended());

    let mut client = Client::new(bench.mails);
    client.expect("250", "EHLO nas");
    client.expect("235", "AUTH PLAIN AG5hcwB0a19uYXM=");
    client.expect("220", "STARTTLS");
    let lines = "EHLO nas\r\nMAIL FROM:<root@nas>\r\nAUTH PLAIN AG5hcwB0a19uYXM=\r\nMAIL FROM:<root@nas>\r\n\
                 RCPT TO:<family>\r\nDATA\r\nSubject: secret\r\n\r\ny\r\n.\r\nQUIT\r\n";
    let heard = by_tls(client.stream.try_clone().unwrap(), root, lines);
    assert!(!heard.contains("STARTTLS"), "{heard}");
    let codes: Vec<&str> = heard
        .lines()
        .filter(|line| line.as_bytes()[3] == b' ')
        .map(|line| &line[..3])
        .collect();
    // The token that was said in the clear counts no more.
    assert_eq!(
        codes,
        ["250", "530", "235", "250", "250", "354", "250", "221"],
        "{heard}"
    );
    assert_eq!(texts(&bench.relay.taken()), [("family", "secret", "y")]);
}

#[test]
fn where_tls_begins_at_once_it_is_there_before_the_greeting() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, root) = certificate(directory.path());
    let bench = closed_with(Some(certificate), |limits| limits.tls_port = 0);
    let lines = "EHLO nas\r\nAUTH PLAIN AG5hcwB0a19uYXM=\r\nMAIL FROM:<root@nas>\r\nRCPT TO:<family>\r\nDATA\r\n\
                 Subject: secret\r\n\r\ny\r\n.\r\nQUIT\r\n";
    let heard = by_tls(TcpStream::connect(bench.mails).unwrap(), root, lines);
    assert!(heard.starts_with("220 ") && !heard.contains("STARTTLS"), "{heard}");
    assert_eq!(texts(&bench.relay.taken()), [("family", "secret", "y")]);
    // Whoever speaks in the clear there hears nothing in the clear.
    let mut plain = TcpStream::connect(bench.mails).unwrap();
    plain.write_all(b"EHLO nas\r\n").unwrap();
    let mut heard = Vec::new();
    let _ = plain.read_to_end(&mut heard);
    assert!(!heard.starts_with(b"2"), "{heard:?}");
}

#[test]
fn a_mail_that_was_taken_is_there_after_the_relay_was_killed() {
    let site = Site::with_config(
        "[[session]]\nname = \"default\"\nendpoint = \"ws://127.0.0.1:9/\"\n\
         [[route]]\nname = \"family\"\nto = [\"+15550100002\"]\n\
         [gateway]\nlisten = [\"127.0.0.1:0\"]\n[smtp]\nlisten = [\"127.0.0.1:0\"]\n",
    );
    let relay = site.start();
    let address = relay.status()["smtp"][0].as_str().unwrap().parse().unwrap();
    let mut client = Client::new(address);
    client.expect("250", "EHLO nas");
    let answer = client.mail(&["root@nas"], "Subject: smartd\r\n\r\nthe disk fails");
    assert!(answer.starts_with("250"), "{answer}");
    relay.kill();
    let relay = site.start();
    let alerts = relay.http("GET", "/v1/alerts", &[], b"").json();
    assert_eq!(alerts[0]["text"], "the disk fails", "{alerts}");
}
