//! Kills a writing process again and again and checks the store after each: `cargo run --features lab --example
//! crash_store [-- KILLS [SEED]]`. The test command does some tens of these; the default here is 1000.

#[path = "../tests/crash/kills.rs"]
mod kills;

use std::path::Path;
use std::process::Command;

fn main() {
    if let Some(directory) = std::env::var_os(kills::DIRECTORY) {
        return kills::write(Path::new(&directory));
    }
    let mut numbers = std::env::args()
        .skip(1)
        .map(|text| text.parse::<u64>().expect("a number"));
    let (count, seed) = (numbers.next().unwrap_or(1000), numbers.next().unwrap_or(1));
    let program = std::env::current_exe().expect("this program has a path");
    let acknowledged = kills::kill_often(count as u32, seed, || Command::new(&program));
    println!("{count} kills, {acknowledged} transactions, none lost, none half there, seed {seed}");
}
