//! What systemd is told by the built program: a socket of ours in the place of systemd's.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Relay, SOON, Site, finding};

/// `WatchdogSec` here. The relay asks itself every third of it.
const LIMIT: Duration = Duration::from_millis(1500);

/// systemd's end of the socket.
struct Systemd {
    _dir: tempfile::TempDir,
    socket: UnixDatagram,
    path: String,
}

impl Systemd {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("notify").to_str().expect("UTF-8").to_owned();
        let socket = UnixDatagram::bind(&path).expect("a socket");
        Self {
            _dir: dir,
            socket,
            path,
        }
    }

    fn start(&self, site: &Site) -> Relay {
        let limit = LIMIT.as_micros().to_string();
        site.start_with(&[("NOTIFY_SOCKET", &self.path), ("WATCHDOG_USEC", &limit)])
    }

    /// The next message that holds `word`, within `patience`.
    fn wait(&self, word: &str, patience: Duration) -> Option<String> {
        let until = Instant::now() + patience;
        let mut buffer = [0; 4096];
        loop {
            let left = until
                .checked_duration_since(Instant::now())
                .filter(|left| !left.is_zero())?;
            self.socket.set_read_timeout(Some(left)).expect("a timeout");
            let Ok(length) = self.socket.recv(&mut buffer) else {
                continue;
            };
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.contains(word) {
                return Some(message);
            }
        }
    }

    #[track_caller]
    fn hears(&self, word: &str) -> String {
        self.wait(word, SOON).unwrap_or_else(|| panic!("{word} never came"))
    }

    /// Reads off what has come already.
    fn drain(&self) {
        while self.wait("", Duration::from_millis(1)).is_some() {}
    }
}

/// Nobody listens on the discard port of loopback: the internet is down.
fn site_without_a_server() -> Site {
    Site::new("ws://127.0.0.1:9/ws/chat", &[("family", &["+15550100002"])])
}

#[test]
fn the_watchdog_is_fed_while_the_internet_is_down_and_systemd_hears_the_rest() {
    let systemd = Systemd::new();
    let site = site_without_a_server();
    let relay = systemd.start(&site);
    systemd.hears("READY=1");
    systemd.hears("STATUS=default ");
    for _ in 0..5 {
        systemd.hears("WATCHDOG=1");
    }
    let status = relay.status();
    let health = status["health"].as_array().expect("health");
    assert!(
        health.iter().all(|entry| entry["code"] != "watchdog-withheld"),
        "{health:?}"
    );
    assert_eq!(relay.stop(), 0);
    assert!(systemd.hears("STOPPING=1").contains("STATUS=saying goodbye"));
}

#[test]
fn a_process_that_stands_still_is_not_fed_for() {
    let systemd = Systemd::new();
    let site = site_without_a_server();
    let relay = systemd.start(&site);
    systemd.hears("WATCHDOG=1");
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &relay.pid().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    };
    signal("-STOP");
    systemd.drain();
    assert_eq!(systemd.wait("WATCHDOG=1", LIMIT * 2), None, "fed by nobody");
    signal("-CONT");
    systemd.hears("WATCHDOG=1");
    assert_eq!(relay.stop(), 0);
}

/// A state that a restart cannot cure ends with a code that the unit does not restart.
#[test]
fn a_damaged_state_ends_with_4_and_stays_so() {
    let site = site_without_a_server();
    assert_eq!(site.start().stop(), 0);
    let log = site.state().join("log.1");
    let mut bytes = std::fs::read(&log).expect("a log");
    // In the header, behind the magic and the format.
    bytes[15] ^= 1;
    std::fs::write(&log, bytes).expect("written");
    for _ in 0..2 {
        let output = site.run(&["run"]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{words}");
        assert!(
            words.contains("the state is damaged") && words.contains("pair again"),
            "{words}"
        );
    }
}

/// Nor one that a later version has written, after a step back.
#[test]
fn a_later_versions_state_ends_with_4_and_is_left_as_it_is() {
    let site = site_without_a_server();
    assert_eq!(site.start().stop(), 0);
    let log = site.state().join("log.1");
    let mut bytes = std::fs::read(&log).expect("a log");
    // The format, and the checksum of such a header of generation 1.
    bytes[8] = 2;
    bytes[28..32].copy_from_slice(&[227, 23, 186, 245]);
    std::fs::write(&log, &bytes).expect("written");
    let output = site.run(&["run"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{words}");
    assert!(words.contains("a later version of Tautline"), "{words}");
    assert_eq!(std::fs::read(&log).expect("a log"), bytes);
}

/// A file system of its own, on a file, that can be frozen. Dropped, it is gone.
struct Volume {
    dir: tempfile::TempDir,
}

impl Volume {
    /// `None` where mounts are not allowed.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (image, point) = (dir.path().join("image"), dir.path().join("state"));
        std::fs::create_dir(&point).expect("a mount point");
        let file = std::fs::File::create(&image).expect("an image");
        file.set_len(64 << 20).expect("room");
        let volume = Self { dir };
        let made = runs(Command::new("mkfs.ext4").arg("-q").arg(&image))
            && runs(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&point));
        made.then_some(volume)
    }

    fn point(&self) -> std::path::PathBuf {
        self.dir.path().join("state")
    }

    /// `None` where that is not allowed.
    fn freeze(&self) -> Option<Frozen> {
        let point = self.point();
        runs(Command::new("fsfreeze").arg("-f").arg(&point)).then_some(Frozen { point })
    }
}

/// Whoever waits for the disk, the end of a killed relay included, waits until this is dropped.
struct Frozen {
    point: std::path::PathBuf,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        runs(Command::new("fsfreeze").arg("-u").arg(&self.point));
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        runs(Command::new("umount").arg("-l").arg(self.point()));
    }
}

fn runs(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// A disk that hangs for real: the write of an alert waits in the kernel for as long as the file system is frozen.
#[test]
fn a_disk_that_hangs_withholds_the_feed_until_it_moves() {
    let Some(volume) = Volume::mount() else {
        eprintln!("not tested: no loop mount is allowed here");
        return;
    };
    let systemd = Systemd::new();
    let site = site_without_a_server();
    std::os::unix::fs::symlink(volume.point(), site.state()).expect("the state is on the volume");
    let relay = systemd.start(&site);
    systemd.hears("WATCHDOG=1");
    let Some(frozen) = volume.freeze() else {
        eprintln!("not tested: the file system cannot be frozen here");
        return;
    };
    std::thread::scope(|scope| {
        // A failure in here must end the freeze before it waits for the publisher.
        let frozen = frozen;
        let publishing = scope.spawn(|| relay.publish("family", "kept"));
        let withheld = |status: &serde_json::Value| finding(status, "watchdog-withheld").is_some();
        let status = relay.wait_status("never withheld", withheld);
        assert_eq!(status["healthy"], false);
        systemd.drain();
        let fed = systemd.wait("WATCHDOG=1", LIMIT * 2);
        drop(frozen);
        assert_eq!(fed, None, "fed while the disk hangs");
        systemd.hears("WATCHDOG=1");
        relay.wait_status("still withheld", |status| !withheld(status));
        publishing.join().expect("the alert is accepted after all");
    });
    assert!(
        site.read_log().contains("the store has made no progress for"),
        "{}",
        site.read_log()
    );
    assert_eq!(relay.stop(), 0);
}
