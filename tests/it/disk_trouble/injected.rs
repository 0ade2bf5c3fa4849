//! Errors at the system calls of a relay that runs, on its log alone: sled's files and everything else stay as they
//! are.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::{Scene, finding, refused};
use crate::support::{Relay, SOON};

/// `strace` at work in a relay. Dropped, it lets go of it.
struct Injected(Child);

impl Injected {
    /// From now on every `call` of `relay` on the file `path` does nothing and says `error`. `None` where nothing can
    /// be traced.
    fn try_new(relay: &Relay, path: &Path, call: &str, error: &str) -> Option<Self> {
        let pid = relay.pid().to_string();
        let strace = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-p", &pid, "-P"])
            .arg(path)
            .args(["-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={call}:error={error}")])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut strace = match strace {
            Ok(strace) => Self(strace),
            Err(error) => {
                // Where everything can be installed, a missing tool is a mistake.
                assert!(
                    std::env::var_os("CI").is_none(),
                    "strace must be installed in CI: {error}"
                );
                eprintln!("skipped, strace does not run here: {error}");
                return None;
            }
        };
        let until = Instant::now() + SOON;
        while !strace.has_all_threads(relay.pid()) {
            if strace.0.try_wait().expect("waited for").is_some() {
                let mut words = String::new();
                let stderr = strace.0.stderr.as_mut().expect("stderr");
                let _ = std::io::Read::read_to_string(stderr, &mut words);
                eprintln!("skipped, nothing can be traced here: {words}");
                return None;
            }
            assert!(Instant::now() < until, "strace does not attach");
            std::thread::park_timeout(std::time::Duration::from_millis(2));
        }
        Some(strace)
    }

    fn has_all_threads(&self, pid: u32) -> bool {
        let tracer = format!("TracerPid:\t{}\n", self.0.id());
        let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
            return false;
        };
        threads.flatten().all(|thread| {
            let status = std::fs::read_to_string(thread.path().join("status"));
            status.is_ok_and(|status| status.contains(&tracer))
        })
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        // Not killed at once: a call that it holds would come back as one that does not exist.
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let until = Instant::now() + SOON;
        while Instant::now() < until {
            match self.0.try_wait() {
                Ok(None) => std::thread::park_timeout(std::time::Duration::from_millis(2)),
                _ => return,
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How often `text` has arrived.
fn times(scene: &Scene, text: &str) -> usize {
    scene.texts().iter().filter(|arrived| *arrived == text).count()
}

#[test]
fn read_only_for_a_while_refuses_alerts_and_passes_in_place() {
    let scene = Scene::new();
    let relay = scene.start();
    let logins = scene.lab.counters().logins;
    let log = scene.site.state().join("log.1");
    let Some(injected) = Injected::try_new(&relay, &log, "pwrite64", "EROFS") else {
        return;
    };
    refused(&relay, 503, "read-only");
    refused(&relay, 503, "read-only");
    let status = relay.status();
    assert!(finding(&status, "store-read-only").is_some(), "{status:#}");
    assert_eq!(status["sessions"][0]["state"], "online", "{status:#}");
    assert_eq!(scene.lab.counters().logins, logins, "the line was not broken");
    drop(injected);

    let second = relay.publish("friend", "second");
    relay.wait_step(&second, "delivered");
    let status = relay.status();
    assert!(finding(&status, "store-read-only").is_none(), "{status:#}");
    assert_eq!(scene.lab.counters().logins, logins);
    assert_eq!(relay.stop(), 0);

    // Nothing that was refused is in what it left.
    let relay = scene.site.start();
    relay.wait_online();
    let third = relay.publish("friend", "third");
    relay.wait_step(&third, "delivered");
    assert_eq!(relay.stop(), 0);
    assert_eq!(scene.texts(), ["first", "second", "third"]);
}

/// All `call`s on the log fail with EIO, while an acknowledged alert waits for a line.
fn ends_and_loses_nothing(call: &str) {
    let scene = Scene::new();
    let mut relay = scene.start();
    scene.lab.faults().refuse_tcp(true);
    scene.lab.faults().cut_rst();
    relay.wait_status("the line stands", |status| status["sessions"][0]["state"] != "online");
    for text in ["waiting", "another"] {
        relay.publish("friend", text);
    }
    let log = scene.site.state().join("log.1");
    let Some(injected) = Injected::try_new(&relay, &log, call, "EIO") else {
        return;
    };
    let answer = relay.try_http("POST", "/friend", &[], b"refused");
    // A write of the relay's own may have met the error first; then it may be gone already.
    if let Ok(answer) = answer {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.body.contains("can no longer be written"), "{answer:?}");
    }
    assert_eq!(relay.wait_end(), 1, "{}", relay.read_log());
    assert!(relay.read_log().contains("can no longer be written"));
    drop(injected);

    scene.lab.faults().calm();
    let relay = scene.site.start();
    relay.wait_online();
    let last = relay.publish("friend", "last");
    relay.wait_step(&last, "delivered");
    scene.friend.wait_received(4, SOON);
    for text in ["first", "waiting", "another", "last"] {
        assert_eq!(times(&scene, text), 1, "{text}: {:?}", scene.texts());
    }
    // A sync that failed says nothing of what the disk has: it may come. Of a write that did nothing there is nothing.
    let refused = times(&scene, "refused");
    assert!(refused <= usize::from(call == "fdatasync"), "{:?}", scene.texts());
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_sync_that_fails_ends_the_relay_and_what_it_acknowledged_arrives_once() {
    ends_and_loses_nothing("fdatasync");
}

#[test]
fn a_write_that_fails_ends_the_relay_and_what_it_acknowledged_arrives_once() {
    ends_and_loses_nothing("pwrite64");
}
