//! What the relay takes of memory: idle, with alerts waiting, after they went out, and over several floods.
//!
//! `cargo run --release --features lab --example footprint -- --alerts 10000 --floods 3`
//!
//! The relay is the built program on the board `generic`; WhatsApp and the phones are the lab server, in this process.
//! What is printed is what the kernel says of the relay's process: all that is resident, and of it the part that is the
//! heap (anonymous memory) and the part that is the program's own file, which the kernel can drop; then the most that
//! was resident since the line before. MB are 10^6 bytes.

#[path = "../tests/lab/mod.rs"]
mod lab;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lab::Lab;
use support::{Relay, Site, pair_by_qr};

const OWNER: &str = "15550100001";
const FRIEND: &str = "15550100002";

/// Senders at once, each on one connection.
const SENDERS: usize = 8;
/// A small alert: as long as what a monitor says of one disk.
const SMALL: &str =
    "nas: /srv is 91 % full (412 GB of 452 GB), was 90 % an hour ago; the largest folder is backups/2026-11";
/// The length of a large text, in bytes.
const LARGE_BYTES: usize = 32 * 1024;
/// After the start: keys are uploaded, and the server's first questions are answered.
const SETTLING: Duration = Duration::from_secs(30);
/// For a flood to be delivered.
const PATIENCE: Duration = Duration::from_secs(1800);

struct Options {
    alerts: usize,
    floods: usize,
    large: usize,
    pause: Duration,
}

fn options() -> Option<Options> {
    let mut options = Options {
        alerts: 10_000,
        floods: 3,
        large: 1000,
        pause: Duration::from_secs(60),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value: usize = arguments.next()?.parse().ok()?;
        match name.as_str() {
            "--alerts" => options.alerts = value,
            "--floods" => options.floods = value,
            "--large" => options.large = value,
            "--pause" => options.pause = Duration::from_secs(value as u64),
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("usage: footprint [--alerts N] [--floods N] [--large N] [--pause SECONDS]");
        return ExitCode::from(2);
    };
    match support::build_program().and_then(|()| measure(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<(), String> {
    let lab = Lab::start();
    let owner = lab.account(OWNER, "Owner");
    let _friend = lab.account(FRIEND, "Friend");
    let site = Site::with_config(&format!(
        "board = \"generic\"\n[[session]]\nname = \"default\"\nendpoint = \"{}\"\n\n[[route]]\nname = \"friend\"\n\
         session = \"default\"\nto = [\"+{FRIEND}\"]\n\n[gateway]\nlisten = [\"127.0.0.1:0\"]\n",
        lab.endpoint()
    ));
    let relay = site.start();
    pair_by_qr(&site, |code| owner.scan(code).map(drop));
    relay.wait_online();
    relay.stop();
    // What pairing took is not what a relay takes that has been started by its box.
    let relay = site.start();
    relay.wait_online();
    let table = Table::new(&relay)?;
    std::thread::sleep(SETTLING);
    table.row("idle, connected")?;
    for flood in 1..=options.floods {
        lab.faults().refuse_tcp(true);
        lab.faults().cut_rst();
        publish_all(&relay, options.alerts, SMALL)?;
        table.row(&format!("flood {flood}: {} small alerts wait", waiting(&relay)))?;
        deliver(&lab, &relay);
        table.row(&format!("flood {flood}: delivered"))?;
        std::thread::sleep(options.pause);
        table.row(&format!("flood {flood}: {} s later", options.pause.as_secs()))?;
    }
    if options.large > 0 {
        lab.faults().refuse_tcp(true);
        lab.faults().cut_rst();
        publish_all(&relay, options.large, &"x".repeat(LARGE_BYTES))?;
        table.row(&format!(
            "{} alerts of {} KiB wait",
            waiting(&relay),
            LARGE_BYTES / 1024
        ))?;
        deliver(&lab, &relay);
        table.row("delivered")?;
        std::thread::sleep(options.pause);
        table.row(&format!("{} s later", options.pause.as_secs()))?;
    }
    // One after the other, each gone before the next: as a box lives through months.
    let one_by_one = options.alerts / 2;
    for _ in 0..one_by_one {
        let id = relay.publish("friend", SMALL);
        relay.wait_step(&id, "sent");
    }
    table.row(&format!("{one_by_one} alerts one after the other"))?;
    std::thread::sleep(options.pause);
    table.row(&format!("{} s later", options.pause.as_secs()))?;
    match relay.stop() {
        0 => Ok(()),
        code => Err(format!("the relay ended with {code}")),
    }
}

fn waiting(relay: &Relay) -> u64 {
    relay.status()["outbox"]["accepted"].as_u64().unwrap_or(0)
}

/// Lets the line up and waits until nothing waits any more.
fn deliver(lab: &Lab, relay: &Relay) {
    lab.faults().calm();
    relay.wait_status_for(PATIENCE, "not all was sent", |status| status["outbox"]["accepted"] == 0);
}

/// Publishes `count` alerts over a few connections that are kept.
fn publish_all(relay: &Relay, count: usize, text: &str) -> Result<(), String> {
    let address = relay.address;
    std::thread::scope(|scope| {
        let share = |sender| count / SENDERS + usize::from(sender < count % SENDERS);
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| scope.spawn(move || publish(address, share(sender), text)))
            .collect();
        for sender in senders {
            sender
                .join()
                .map_err(|_| "a sender panicked".to_owned())?
                .map_err(|error| format!("an alert was not accepted: {error}"))?;
        }
        Ok(())
    })
}

fn publish(address: SocketAddr, count: usize, text: &str) -> std::io::Result<()> {
    if count == 0 {
        return Ok(());
    }
    let mut stream = BufReader::new(TcpStream::connect(address)?);
    let request = format!(
        "POST /friend HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    );
    for _ in 0..count {
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
        if !status.contains(" 200 ") {
            let words = String::from_utf8_lossy(&body);
            return Err(std::io::Error::other(format!("{} {words}", status.trim_end())));
        }
    }
    Ok(())
}

/// One line a measurement.
struct Table<'a> {
    relay: &'a Relay,
    started: Instant,
}

impl<'a> Table<'a> {
    fn new(relay: &'a Relay) -> Result<Self, String> {
        println!("   s | RSS MB  heap  file | most since | what");
        let table = Self {
            relay,
            started: Instant::now(),
        };
        table.forget_most()?;
        Ok(table)
    }

    fn row(&self, what: &str) -> Result<(), String> {
        let mb = |name| self.relay.memory(name) as f64 / 1e6;
        println!(
            "{:4} | {:6.1} {:5.1} {:5.1} | {:10.1} | {what}",
            self.started.elapsed().as_secs(),
            mb("VmRSS"),
            mb("RssAnon"),
            mb("RssFile"),
            mb("VmHWM"),
        );
        self.forget_most()
    }

    /// The kernel counts the most that was resident from here on.
    fn forget_most(&self) -> Result<(), String> {
        let path = format!("/proc/{}/clear_refs", self.relay.pid());
        std::fs::write(&path, "5").map_err(|error| format!("{path}: {error}"))
    }
}
