//! The whole story without a phone, in under a minute: a relay is started, paired by QR and given alerts; its line is
//! cut, an alert waits, the line comes back and the alert arrives.
//!
//! `cargo run --features lab --example rehearsal`
//!
//! Everything is real but the server: the relay is the program that you would install, with its state in a temporary
//! directory; WhatsApp and the phones are the lab server of the tests, on the loopback.

#[path = "../tests/lab/mod.rs"]
mod lab;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use lab::{Lab, Phone};
use serde_json::Value;

/// For each step. All of them together take some seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the server stays away.
const OUTAGE: Duration = Duration::from_secs(3);

const FRIEND: &str = "15550100002";

fn main() -> ExitCode {
    let started = Instant::now();
    match rehearse() {
        Ok(delivered) => {
            println!("\nRehearsed in {:.1} s: {delivered}", started.elapsed().as_secs_f32());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("\nThe rehearsal failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn rehearse() -> Result<String, String> {
    let lab = Lab::start();
    let owner = lab.account("15550100001", "Owner");
    let friend = lab.account(FRIEND, "Friend");
    let dir = tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
    let stage = Stage::set(dir.path(), &lab)?;

    println!("1. The relay starts, with nothing but a configuration.");
    let _relay = stage.start()?;
    let early = stage.publish("The relay is not linked to any phone yet.")?;
    println!("   An alert is accepted already, and kept: {early}");

    println!("2. `tautline pair` shows a QR code; the owner's phone scans it.");
    stage.pair(&owner)?;
    let first = arrived(&friend, 1)?;
    println!(
        "   Linked. The alert that waited is on the friend's phone: {:?}",
        first.text
    );

    println!("3. `tautline publish --wait=delivered` hands over another one.");
    stage.publish_and_wait("The disk of the NAS is 91 % full.")?;
    println!("   Delivered: {:?}", arrived(&friend, 2)?.text);

    println!("4. The server vanishes: the line is reset, new connections are refused.");
    lab.faults().refuse_tcp(true);
    lab.faults().cut_rst();
    stage.publish("The freezer is at -4 °C.")?;
    let away = Instant::now() + OUTAGE;
    lab.wait_until(OUTAGE, |_| Instant::now() >= away);
    println!(
        "   {} s later the relay is still there: {}",
        OUTAGE.as_secs(),
        stage.standing()?
    );

    println!("5. The server is back.");
    let back = Instant::now();
    lab.faults().calm();
    let last = arrived(&friend, 3)?;
    println!(
        "   {:.1} s later the alert that waited has arrived: {:?}",
        back.elapsed().as_secs_f32(),
        last.text
    );

    let twice = friend.received().len() != 3;
    if twice {
        return Err(format!("the friend's phone shows {} messages", friend.received().len()));
    }
    Ok("3 of 3 alerts are on the friend's phone, each once and in order, over one cut of the line.".to_owned())
}

fn arrived(phone: &Phone, count: usize) -> Result<lab::Received, String> {
    let received = phone.wait_received(count, PATIENCE);
    received
        .get(count - 1)
        .cloned()
        .ok_or_else(|| format!("alert {count} has not arrived within {PATIENCE:?}"))
}

/// Where the relay runs, and its program.
struct Stage {
    program: PathBuf,
    config: PathBuf,
    state: PathBuf,
}

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Stage {
    fn set(dir: &Path, lab: &Lab) -> Result<Self, String> {
        support::build_program()?;
        let config = dir.join("tautline.toml");
        let text = format!(
            "[[session]]\nname = \"default\"\nendpoint = \"{}\"\n\n[[route]]\nname = \"family\"\nto = [\"+{FRIEND}\"]\n\n\
             [gateway]\nlisten = [\"127.0.0.1:0\"]\n",
            lab.endpoint()
        );
        std::fs::write(&config, text).map_err(|error| format!("{}: {error}", config.display()))?;
        Ok(Self {
            program: support::program(),
            config,
            state: dir.join("state"),
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--config")
            .arg(&self.config)
            .arg("--state")
            .arg(&self.state)
            .args(arguments);
        command
            .env_remove("RUNTIME_DIRECTORY")
            .env("TAUTLINE_LOG", "off")
            .stdin(Stdio::null());
        command
    }

    fn start(&self) -> Result<Running, String> {
        let mut child = self
            .command(&["run"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", self.program.display()))?;
        let stdout = child.stdout.take().ok_or("the relay has no stdout")?;
        let running = Running(child);
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let address = lines
            .find(|line| line.starts_with("Tautline is at"))
            .ok_or("the relay ended at once")?;
        println!("   {address}");
        // Its QR codes are for people; somebody has to take them off the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(running)
    }

    fn pair(&self, owner: &Phone) -> Result<(), String> {
        let mut child = self
            .command(&["pair", "--raw"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let stdout = child.stdout.take().ok_or("pair has no stdout")?;
        let mut pairing = Running(child);
        let mut codes = BufReader::new(stdout).lines().map_while(Result::ok);
        let code = codes.next().ok_or("no QR code was shown")?;
        owner.scan(&code)?;
        codes.for_each(drop);
        let status = pairing.0.wait().map_err(|error| error.to_string())?;
        status
            .success()
            .then_some(())
            .ok_or_else(|| format!("pair ended with {status}"))
    }

    fn output(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.command(arguments).output().map_err(|error| error.to_string())?;
        let words = String::from_utf8_lossy(&output.stderr);
        let failed = || format!("tautline {}: {} {}", arguments.join(" "), output.status, words.trim());
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
            .ok_or_else(failed)
    }

    fn publish(&self, text: &str) -> Result<String, String> {
        self.output(&["publish", "--to", "family", text])
    }

    fn publish_and_wait(&self, text: &str) -> Result<String, String> {
        self.output(&["publish", "--to", "family", "--wait=delivered", text])
    }

    fn standing(&self) -> Result<String, String> {
        let status: Value = serde_json::from_str(&self.output(&["status", "--json"])?).map_err(|e| e.to_string())?;
        let (detail, waiting) = (&status["sessions"][0]["detail"], &status["outbox"]["accepted"]);
        Ok(format!("{}; {waiting} alert waits", detail.as_str().unwrap_or("?")))
    }
}
