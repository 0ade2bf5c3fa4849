//! The files of mails, by each way on which mails come: which of them go with the alert, and that none costs its text.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use tautline::alert::{Alert, MediaKind};

use crate::gate::{Bench, PATIENCE, talk};
use crate::mail::{sendmail, site};

const MAILS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/mails");

/// What a camera sees at night, or a logo.
fn picture(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
    let count = u32::from(width) * u32::from(height) * 3;
    let noise: Vec<u8> = (0..count)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    encoder
        .encode(&noise, width, height, jpeg_encoder::ColorType::Rgb)
        .unwrap();
    bytes
}

fn lines_of(bytes: &[u8]) -> String {
    let letters = BASE64.encode(bytes);
    let lines = letters
        .as_bytes()
        .chunks(76)
        .map(|line| String::from_utf8_lossy(line).into_owned());
    lines.collect::<Vec<_>>().join("\r\n")
}

/// A mail as its sender has written it, with pictures where the file has words for them.
fn mail(name: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(format!("{MAILS}/{name}.eml")).unwrap();
    let seen = lines_of(&picture(200, 150));
    let text = text
        .replace("@JPEG@", &seen)
        .replace("@LOGO@", &lines_of(&picture(24, 24)));
    text.replace("@HALF@", &seen[..seen.len() / 2 + 1]).into_bytes()
}

struct Expected {
    name: &'static str,
    title: &'static str,
    text: &'static str,
    files: &'static [(&'static str, MediaKind)],
}

const EXPECTED: &[Expected] = &[
    Expected {
        name: "mdadm",
        title: "DegradedArray event on /dev/md0:nas",
        text: "This is an automatically generated mail message.\n\nA DegradedArray event has been detected on md device \
               /dev/md0.\n\nFaithfully yours, etc.",
        files: &[],
    },
    Expected {
        name: "camera-mixed",
        title: "Motion Detected On Channel A1",
        text: "EVENT TYPE:  Motion Detected\nEVENT TIME:  2026-11-28,02:14:06\nCAMERA NAME: Tür",
        files: &[
            ("A1_20261128021406.jpg", MediaKind::Image),
            ("A1_20261128021407.jpg", MediaKind::Image),
        ],
    },
    Expected {
        name: "camera-related",
        title: "Person at the front door",
        text: "Somebody is at the door.",
        files: &[("snapshot.jpg", MediaKind::Image)],
    },
    Expected {
        name: "proxmox",
        title: "vzdump backup status (pve.lan): backup failed",
        text: "VMID  Name  Status\n101   nas   failed: no space left on device",
        files: &[("vzdump-101.log", MediaKind::Document)],
    },
    Expected {
        name: "forwarded",
        title: "Fwd: Rechnung für November",
        text: "see below\n\nand call me",
        files: &[
            ("the mail.eml", MediaKind::Document),
            ("Rechnung für November.pdf", MediaKind::Document),
        ],
    },
    Expected {
        name: "newsletter",
        title: "News",
        text: "The filter has to be changed.",
        files: &[],
    },
];

impl Expected {
    #[track_caller]
    fn check(&self, alert: &Alert, way: &str) {
        let name = self.name;
        assert_eq!(
            (alert.title.as_str(), alert.text.as_str()),
            (self.title, self.text),
            "{name} {way}"
        );
        let files = alert.attachments.iter().map(|file| (file.name.as_str(), file.kind));
        assert_eq!(files.collect::<Vec<_>>(), self.files, "{name} {way}");
    }
}

/// Hands the mail over by SMTP, and returns what is said to it.
fn by_smtp(bench: &Bench, mail: &[u8]) -> String {
    let mut stream = TcpStream::connect(bench.mails).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut hear = || {
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        line
    };
    hear();
    for line in ["HELO cam", "MAIL FROM:<cam@nas>", "RCPT TO:<family@nas>", "DATA"] {
        stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let answer = hear();
        assert!(answer.starts_with(['2', '3']), "{line}: {answer}");
    }
    for line in mail.split_inclusive(|byte| *byte == b'\n') {
        let dots = if line.starts_with(b".") { &b"."[..] } else { b"" };
        stream.write_all(&[dots, line].concat()).unwrap();
    }
    let end = if mail.ends_with(b"\n") { ".\r\n" } else { "\r\n.\r\n" };
    stream.write_all(end.as_bytes()).unwrap();
    hear()
}

fn by_http(bench: &Bench, target: &str, mail: &[u8]) -> String {
    let mut stream = std::os::unix::net::UnixStream::connect(&bench.control).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.flush().unwrap();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        mail.len()
    );
    let answer = talk(stream, &[head.as_bytes(), mail].concat());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

fn only(bench: &Bench) -> Alert {
    let taken = bench.relay.taken();
    assert_eq!(taken.len(), 1);
    taken.into_iter().next().unwrap().1
}

fn content(bench: &Bench, alert: &Alert, index: usize) -> Vec<u8> {
    let hash = alert.attachments[index].hash.to_string();
    std::fs::read(bench.state.path().join("blobs").join(hash)).unwrap()
}

#[test]
fn what_a_mail_carries_goes_with_its_alert_and_what_belongs_to_its_text_does_not() {
    for expected in EXPECTED {
        let mail = mail(expected.name);
        let bench = Bench::with_files();
        let said = by_smtp(&bench, &mail);
        assert!(
            said.starts_with("250 ") && !said.contains("left out"),
            "{}: {said}",
            expected.name
        );
        expected.check(&only(&bench), "by SMTP");
        for target in ["/v1/mail?to=family", "/v1/hooks/mail/family"] {
            let bench = Bench::with_files();
            let said = by_http(&bench, target, &mail);
            assert!(!said.contains("warning"), "{}: {said}", expected.name);
            expected.check(&only(&bench), target);
        }
    }
}

#[test]
fn a_file_arrives_byte_for_byte_and_one_that_is_broken_off_costs_itself() {
    let bench = Bench::with_files();
    by_smtp(&bench, &mail("camera-mixed"));
    assert!(content(&bench, &only(&bench), 1) == picture(200, 150));
    let bench = Bench::with_files();
    by_smtp(&bench, &mail("proxmox"));
    let log =
        "101: 2026-11-28 02:00:01 INFO: Starting Backup of VM 101 (qemu)\n101: 2026-11-28 02:00:09 ERROR: 100% full\n";
    assert_eq!(String::from_utf8_lossy(&content(&bench, &only(&bench), 0)), log);
    // What there is of it is no picture any more.
    let bench = Bench::with_files();
    let said = by_smtp(&bench, &mail("broken-off"));
    let alert = only(&bench);
    assert!(said.starts_with("250 "), "{said}");
    assert_eq!(
        (alert.text.as_str(), alert.attachments.len()),
        ("Somebody is in the yard", 1)
    );
    let (whole, half) = (picture(200, 150), content(&bench, &alert, 0));
    if alert.attachments[0].kind == MediaKind::Document {
        assert!(
            whole.starts_with(&half) && half.len() > whole.len() / 3,
            "{}",
            half.len()
        );
    }
}

/// What cannot be kept is said in the text, as everywhere.
#[test]
fn more_files_than_an_alert_may_have_and_none_where_none_are_kept() {
    let part =
        |number: usize| format!("--b\r\nContent-Type: application/zip; name=\"{number}.zip\"\r\n\r\nPK{number}\r\n");
    let parts: String = (0..25).map(part).collect();
    let mail = format!(
        "Subject: many\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n{parts}--b\r\n\r\nmore text\r\n--b--\r\n"
    );
    let bench = Bench::with_files();
    let said = by_smtp(&bench, mail.as_bytes());
    let alert = only(&bench);
    assert!(
        said.contains("15 more files was left out: an alert has at most 10 attachments"),
        "{said}"
    );
    assert_eq!(
        (alert.attachments.len(), alert.text.as_str()),
        (10, "text\n\nmore text\n[left out: 15 more files]")
    );
    let bench = Bench::new();
    by_smtp(&bench, mail.as_bytes());
    let alert = only(&bench);
    assert!(
        alert.attachments.is_empty() && alert.text.starts_with("text\n\nmore text\n[left out: 0.zip, 5 bytes]"),
        "{alert:?}"
    );
}

/// With the built program, which has read all of the mail before it asks.
#[test]
fn sendmail_hands_over_what_is_attached_and_a_long_film_costs_itself() {
    let site = site("[mail]\nroute = \"ops\"\n[attachments]\nmax = \"2MB\"\n");
    let relay = site.start();
    let (code, said) = sendmail(&site, "-t", &mail("camera-mixed"));
    assert_eq!((code, said.as_str()), (0, ""));
    let film = |bytes: usize| {
        let film: Vec<u8> = b"\0\0\0\x20ftypisom"
            .iter()
            .copied()
            .chain((0..bytes).map(|at| (at >> 3) as u8))
            .collect();
        format!(
            "Subject: Motion\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: video/mp4; name=yard.mp4\n\
             Content-Transfer-Encoding: base64\n\n{}\n--b\n\nSomebody is in the yard\n--b--\n",
            lines_of(&film)
        )
    };
    for bytes in [1_500_000, 2_500_000] {
        let (code, said) = sendmail(&site, "-t", film(bytes).as_bytes());
        let is_kept = bytes < 2_000_000;
        assert_eq!(
            (
                code,
                said.contains("yard.mp4 (2.5 MB) was left out: it is larger than 2")
            ),
            (0, !is_kept),
            "{said}"
        );
    }
    let alerts = relay.http("GET", "/v1/alerts?limit=100", &[], b"").json();
    let mut alerts: Vec<Value> = alerts.as_array().unwrap().clone();
    alerts.sort_by_key(|alert| alert["seq"].as_u64());
    let files = |alert: &Value| {
        let files = alert["attachments"].as_array().cloned().unwrap_or_default();
        let words = files
            .iter()
            .map(|file| format!("{} {}", file["name"].as_str().unwrap(), file["kind"].as_str().unwrap()));
        words.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(
        files(&alerts[0]),
        "A1_20261128021406.jpg image, A1_20261128021407.jpg image"
    );
    assert_eq!(files(&alerts[1]), "yard.mp4 video");
    assert_eq!(alerts[1]["text"], "Somebody is in the yard");
    assert_eq!(
        (files(&alerts[2]).as_str(), &alerts[2]["text"]),
        ("", &"Somebody is in the yard\n[left out: yard.mp4, 2.5 MB]".into())
    );
    assert_eq!(relay.stop(), 0);
    // Without a relay the text is kept, and says what is missing.
    let (code, _) = sendmail(&site, "-t", &mail("camera-mixed"));
    assert_eq!(code, 0);
    let relay = site.start();
    relay.wait_status("the spooled mail", |_| {
        let alerts = relay.http("GET", "/v1/alerts?limit=100", &[], b"").json();
        alerts.to_string().contains("[left out: A1_20261128021406.jpg")
    });
}
