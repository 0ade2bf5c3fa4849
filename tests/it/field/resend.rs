//! What a phone asks for again it gets, readable, hours and clock steps later; what others say proves nothing; a server
//! that withholds the end of its queue, and a copy of the state that was in use, hold nothing up for good.

use std::path::Path;

use serde_json::Value;

use crate::bench::{Bench, OWNER};
use crate::support::{Relay, SOON, Site, finding};

fn deliver(relay: &Relay, route: &str, text: &str) {
    let id = relay.publish(route, text);
    relay.wait_step(&id, "delivered");
}

mod asked;
mod copies;
mod receipts;
mod undrained;

/// Copies what lies in a state directory, as whoever moves a box does.
fn copy_state(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("read") {
        let entry = entry.expect("read");
        let target = to.join(entry.file_name());
        let kind = entry.file_type().expect("known");
        if kind.is_dir() {
            copy_state(&entry.path(), &target);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}
