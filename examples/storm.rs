//! A storm: thousands of alerts in a minute, of many kinds, with one that is urgent among them and the line cut twice.
//!
//! `cargo run --features lab --example storm -- --alerts 10000 --kinds 200 --seconds 60`
//!
//! The relay is the built program on the board `generic`, with the rules of the example in `docs/routes.md`; WhatsApp
//! and the phone are the lab server, in this process. The line is cut after a third of the time, for five seconds, and
//! after two thirds of it, for ten. In the middle of the second cut comes the alert of priority `max`. It ends with 1
//! if that is later at the phone than five seconds after the line is up again, if there are more than 60 messages, or
//! if anything is lost or comes twice.

#[path = "../tests/lab/mod.rs"]
mod lab;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lab::{Lab, Phone};
use support::{Relay, Site, pair_by_qr};

const OWNER: &str = "15550100001";
const FRIEND: &str = "15550100002";

/// Senders at once, each on one connection.
const SENDERS: usize = 8;
const CUTS: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(10)];
const URGENT: &str = "the cellar is under water";

/// What has to hold.
const URGENT_WITHIN: Duration = Duration::from_secs(5);
const MESSAGES_MAX: usize = 60;

/// The groups' interval is five minutes, and what is left over goes out after it.
const PATIENCE: Duration = Duration::from_secs(900);

struct Options {
    alerts: usize,
    kinds: usize,
    seconds: u64,
}

fn options() -> Option<Options> {
    let mut options = Options {
        alerts: 10_000,
        kinds: 200,
        seconds: 60,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value: usize = arguments.next()?.parse().ok().filter(|value| *value > 0)?;
        match name.as_str() {
            "--alerts" => options.alerts = value,
            "--kinds" => options.kinds = value,
            "--seconds" => options.seconds = value as u64,
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("usage: storm [--alerts N] [--kinds N] [--seconds N]");
        return ExitCode::from(2);
    };
    match support::build_program().and_then(|()| storm(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn storm(options: &Options) -> Result<(), String> {
    let lab = Lab::start();
    let owner = lab.account(OWNER, "Owner");
    let friend = lab.account(FRIEND, "Friend");
    let site = Site::with_config(&format!(
        r#"
board = "generic"
[[session]]
name = "default"
endpoint = "{}"
[[route]]
name = "friend"
to = ["+{FRIEND}"]
group = {{ by = ["alertname"], wait = "0s", interval = "5m", max = 20 }}
pace = {{ per_minute = 20, burst = 10 }}
[gateway]
listen = ["127.0.0.1:0"]
"#,
        lab.endpoint()
    ));
    let relay = site.start();
    pair_by_qr(&site, |code| owner.scan(code).map(drop));
    relay.wait_online();
    let began = Instant::now();
    let address = relay.address;
    let (urgent, accepted) = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| scope.spawn(move || send(began, address, options, sender)))
            .collect();
        let urgent = cut_twice(&lab, &relay, &friend, began, options);
        let mut accepted = Duration::ZERO;
        for sender in senders {
            let sent = sender.join().map_err(|_| "a sender panicked".to_owned())?;
            let ended = sent.map_err(|error| format!("an alert was not accepted: {error}"))?;
            accepted = accepted.max(ended);
        }
        Ok::<_, String>((urgent, accepted))
    })?;
    println!(
        "{} alerts of {} kinds accepted in {:.0} s",
        options.alerts,
        options.kinds,
        accepted.as_secs_f64()
    );
    println!(
        "the urgent one was at the phone {:.2} s after the line was up, {:.1} s after it was accepted",
        urgent.after_line.as_secs_f64(),
        urgent.after_answer.as_secs_f64()
    );
    relay.wait_status_for(PATIENCE, "not all was sent", |status| {
        status["outbox"]["accepted"] == 0 && status["outbox"]["sent"] == 0
    });
    let outbox = relay.status()["outbox"].clone();
    let lost: u64 = ["failed", "expired", "dropped"]
        .iter()
        .filter_map(|state| outbox[*state].as_u64())
        .sum();
    let received = friend.received();
    let told: usize = received.iter().map(|message| alerts_in(&message.text)).sum();
    println!(
        "all delivered after {:.0} s in {} messages, whose heads count {told} alerts",
        began.elapsed().as_secs_f64(),
        received.len()
    );
    let wrong = [
        (urgent.after_line > URGENT_WITHIN, "the urgent one came late"),
        (received.len() > MESSAGES_MAX, "there are too many messages"),
        (lost > 0, "some were not delivered"),
        (told != options.alerts, "the messages do not tell of each once"),
        (friend.received_wire() != received.len(), "a message came twice"),
    ];
    let wrong: Vec<&str> = wrong
        .iter()
        .filter(|(is_so, _)| *is_so)
        .map(|(_, words)| *words)
        .collect();
    match (wrong.is_empty(), relay.stop()) {
        (true, 0) => Ok(()),
        (true, code) => Err(format!("the relay ended with {code}")),
        (false, _) => Err(wrong.join("; ")),
    }
}

/// How many alerts a message tells of: `*34 alerts: DiskFull*` of as many, any other of one.
fn alerts_in(text: &str) -> usize {
    let head = text.lines().next().unwrap_or_default();
    let number = head.split_once(" alerts").and_then(|(before, _)| {
        let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    });
    number.unwrap_or(1)
}

/// When the urgent alert was at the phone.
struct Urgent {
    after_answer: Duration,
    after_line: Duration,
}

fn cut_twice(lab: &Lab, relay: &Relay, friend: &Phone, began: Instant, options: &Options) -> Urgent {
    let third = Duration::from_secs(options.seconds) / 3;
    let cut = |at: Duration, lasts: Duration, meanwhile: &mut dyn FnMut()| {
        std::thread::sleep((began + at).saturating_duration_since(Instant::now()));
        lab.faults().refuse_tcp(true);
        lab.faults().cut_rst();
        std::thread::sleep(lasts / 2);
        meanwhile();
        std::thread::sleep(lasts / 2);
        lab.faults().calm();
        relay.wait_online();
        Instant::now()
    };
    cut(third, CUTS[0], &mut || {});
    let mut answered = Instant::now();
    let up = cut(third * 2, CUTS[1], &mut || {
        let answer = relay.http("POST", "/friend", &[("Priority", "5")], URGENT.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        answered = Instant::now();
    });
    while !friend.received().iter().any(|message| message.text.contains(URGENT)) {
        assert!(up.elapsed() < PATIENCE, "the urgent one never came");
        std::thread::sleep(Duration::from_millis(5));
    }
    Urgent {
        after_answer: answered.elapsed(),
        after_line: up.elapsed(),
    }
}

/// One sender's share, evenly over the time. One alert of all is not here: it is the urgent one.
/// When it was through is returned.
fn send(began: Instant, address: SocketAddr, options: &Options, sender: usize) -> std::io::Result<Duration> {
    let mut stream = BufReader::new(TcpStream::connect(address)?);
    for number in (sender..options.alerts - 1).step_by(SENDERS) {
        let at = Duration::from_secs(options.seconds).mul_f64(number as f64 / options.alerts as f64);
        std::thread::sleep((began + at).saturating_duration_since(Instant::now()));
        let kind = number % options.kinds;
        let body = format!(
            r#"{{"title": "Kind {kind}", "message": "service {number} is down", "labels": {{"alertname": "Kind{kind}"}}}}"#
        );
        post(&mut stream, address, &body)?;
    }
    Ok(began.elapsed())
}

fn post(stream: &mut BufReader<TcpStream>, address: SocketAddr, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let request = format!(
        "POST /v1/hooks/json/friend HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.get_mut().write_all(request.as_bytes())?;
    let (mut status, mut length) = (String::new(), 0);
    stream.read_line(&mut status)?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        match line.trim_end().to_ascii_lowercase().split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().map_err(std::io::Error::other)?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    match status.contains(" 200 ") {
        true => Ok(()),
        false => Err(std::io::Error::other(format!(
            "{} {}",
            status.trim_end(),
            String::from_utf8_lossy(&body)
        ))),
    }
}
