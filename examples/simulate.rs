//! Many years of one line's life:
//! `cargo run --release --features lab --example simulate -- --seeds 1000 --days 365 --first 0`. With `--routes 10000`
//! so many histories of routes with rules instead.
//!
//! Prints the seed and the commit of the first violated property, and how to run it again.

#[path = "../tests/parts/line/sim/mod.rs"]
mod sim;

#[path = "../tests/parts/outbox/sim/mod.rs"]
mod routes;

use std::process::{Command, ExitCode};
use std::time::Instant;

use tautline::board::PING_EXCHANGE_BYTES;

fn main() -> ExitCode {
    let mut options = [("--seeds", 100), ("--days", 365), ("--first", 0), ("--routes", 0)];
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse().ok());
        match (options.iter_mut().find(|(known, _)| *known == name), value) {
            (Some((_, option)), Some(value)) => *option = value,
            _ => {
                eprintln!("usage: simulate [--seeds N] [--days N] [--first SEED] [--routes N]");
                return ExitCode::from(2);
            }
        }
    }
    let [(_, seeds), (_, days), (_, first), (_, histories)] = options;
    let started = Instant::now();
    if histories > 0 {
        return of_routes(first, histories, started);
    }
    let mut total = sim::Summary::default();
    for seed in first..first + seeds {
        match sim::run(seed, days) {
            Ok(summary) => total.add(&summary),
            Err(what) => {
                println!("violated at commit {}: {what}", commit());
                println!(
                    "again: cargo run --release --features lab --example simulate -- --first {seed} --seeds 1 --days {days}"
                );
                return ExitCode::FAILURE;
            }
        }
    }
    let years = total.days as f64 / 365.0;
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    println!(
        "{years:.1} years, {:.1} years a minute, at commit {}",
        years / minutes,
        commit()
    );
    println!("while a line was up, over all boards:\n{}", a_day_by_layer(&total));
    println!("{total:#?}");
    ExitCode::SUCCESS
}

fn of_routes(first: u64, histories: u64, started: Instant) -> ExitCode {
    // What a history violates it says by a panic, which is caught and told below.
    std::panic::set_hook(Box::new(|_| {}));
    for seed in first..first + histories {
        if let Err(what) = routes::run(seed) {
            println!("violated at commit {}, seed {seed}: {what}", commit());
            println!("again: cargo run --release --features lab --example simulate -- --first {seed} --routes 1");
            return ExitCode::FAILURE;
        }
    }
    println!(
        "{histories} histories in {:.0} s, at commit {}",
        started.elapsed().as_secs_f64(),
        commit()
    );
    ExitCode::SUCCESS
}

/// What each layer sent in a day with a line, on average over all boards and all faults: how many, and the bytes of the
/// exchanges, estimated.
fn a_day_by_layer(total: &sim::Summary) -> String {
    let days = total.online_ms as f64 / 86_400_000.0;
    let layers = [
        ("application pings", total.application_pings),
        ("presences", total.presences),
        ("content probes", total.probes),
        ("WebSocket pings", total.websocket_pings),
    ];
    let line = |(what, count): (&str, u64)| {
        let a_day = count as f64 / days;
        let kilobytes = a_day * PING_EXCHANGE_BYTES as f64 / 1000.0;
        format!("  {what:<18} {a_day:>7.0} a day, {kilobytes:>6.0} KB\n")
    };
    layers.map(line).concat()
}

fn commit() -> String {
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
