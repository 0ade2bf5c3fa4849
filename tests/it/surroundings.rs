//! What surrounds a running relay: readers of its words that have gone, signals meant for others, limits of the shell,
//! and strange things where its control socket belongs. None of it stops alerts.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Relay, SOON, Site, finding};
use rustix::process::{Pid, Signal, kill_process};

/// A relay without a line, which keeps alerts all the same.
fn offline() -> Site {
    Site::new("ws://127.0.0.1:1/ws/chat", &[("friend", &["+15550100002"])])
}

fn signal(relay: &Relay, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(relay.pid()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let site = offline();
    let (reader, writer) = std::io::pipe().unwrap();
    // Everything that the relay and its libraries do is a line.
    let relay = site.start_to(&["run", "-vv"], writer.into());
    for number in 0..400 {
        relay.publish("friend", &format!("alert {number}"));
    }
    assert!(relay.status()["outbox"]["accepted"].as_u64() >= Some(400));
    assert!(site.run(&["status"]).status.success());
    assert_eq!(relay.stop(), 0);
    drop(reader);
}

#[test]
fn signals_that_are_not_for_it_do_not_end_the_relay() {
    let site = offline();
    let relay = site.start();
    for other in [Signal::USR1, Signal::USR2, Signal::ALARM, Signal::XFSZ] {
        signal(&relay, other);
    }
    relay.publish("friend", "goes on");
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_terminal_that_goes_away_ends_the_relay_with_a_goodbye() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    if ignored.trim().ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f']) {
        return println!("not tried: these tests were started with nohup");
    }
    let site = offline();
    let mut relay = site.start();
    signal(&relay, Signal::HUP);
    assert_eq!(relay.wait_end(), 0);
    let relay = site.start();
    assert!(!relay.read_log().contains("without a goodbye"), "{}", relay.read_log());
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_strange_thing_in_the_place_of_the_control_socket_is_a_finding() {
    for is_directory in [true, false] {
        let site = offline();
        let place = site.state().join("control.sock");
        std::fs::create_dir(site.state()).unwrap();
        match is_directory {
            true => std::fs::create_dir(&place).unwrap(),
            false => std::fs::write(&place, "mine").unwrap(),
        }
        let relay = site.start();
        relay.publish("friend", "goes on");
        let status = relay.status();
        assert!(finding(&status, "control-socket").is_some(), "{status:#}");
        // By another way.
        assert_eq!(
            site.run(&["publish", "--to", "friend", "by command"]).status.code(),
            Some(0)
        );
        assert_eq!(relay.stop(), 0);
        assert!(place.exists());
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_a_full_disk() {
    let site = offline();
    let mut command = Command::new("sh");
    let inner = site.command(&["run"]);
    command
        .args(["-c", "ulimit -f 600; exec \"$@\"", "sh"])
        .arg(inner.get_program());
    command
        .args(inner.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let log = std::fs::File::create(site.log()).unwrap();
    let mut child = command.stderr(log).spawn().unwrap();
    let until = Instant::now() + SOON;
    let refused = |site: &Site| site.run(&["publish", "--to", "friend", "refused"]);
    loop {
        assert!(Instant::now() < until, "{}", site.read_log());
        assert_eq!(
            child.try_wait().unwrap().and_then(|it| it.signal()),
            None,
            "{}",
            site.read_log()
        );
        let output = refused(&site);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.code() != Some(3) {
            assert!(words.contains("no room"), "{words}\n{}", site.read_log());
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let ended = child.wait().unwrap();
    assert_eq!(ended.signal(), None, "{}", site.read_log());
}
