//! Ends with `kill -9` at random moments. A program of its own: a process that is being started holds the locks of all
//! the stores that are open here for a moment.

mod kills;

use std::path::Path;
use std::process::Command;

/// The process that is killed is this program, told to run this test alone.
#[test]
fn writer() {
    if let Some(directory) = std::env::var_os(kills::DIRECTORY) {
        kills::write(Path::new(&directory));
    }
}

#[test]
fn kills_at_random_moments_lose_nothing() {
    let acknowledged = kills::kill_often(40, 1, || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["writer", "--exact", "--nocapture"]);
        command
    });
    assert!(acknowledged > 0);
}
