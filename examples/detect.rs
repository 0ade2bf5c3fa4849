//! How long a silent death takes to be noticed and mended, in real time and over real sockets.
//!
//! `cargo run --features lab --example detect -- --board generic --rounds 20 --minutes 11`
//!
//! The relay is the built program; WhatsApp is the lab server. Before each death the line is up for longer than the
//! board asks of a useful one, so that the pause after it is the first; every other death strikes right after the
//! answer to a ping, which is the worst moment, the others at one that chance chooses. What needs network namespaces is
//! left out with a word where they are not allowed. Everything runs side by side; it is mostly waiting.

#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../tests/support/bench.rs"]
mod bench;
#[path = "../tests/lab/mod.rs"]
mod lab;
#[path = "../tests/support/middlebox.rs"]
mod middlebox;
#[path = "../tests/support/netns.rs"]
mod netns;
#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bench::Bench;
use lab::{Direction, Lab, Seen};
use middlebox::{Kind, Middlebox, Piece};
use netns::NatPath;
use support::Relay;
use tautline::board::{Board, recovery_worst};

/// Relays that share the rounds of one kind of death.
const LANES: u64 = 5;
/// From the server's answer to a ping until it has surely arrived.
const ARRIVAL: Duration = Duration::from_millis(50);
/// A NAT that forgets nothing while this runs.
const LONG: Duration = Duration::from_secs(24 * 3600);
/// How long a pulled cable stays out, at least; by then the pauses are at their longest.
const OUTAGE: Duration = Duration::from_secs(120);
const LINK_LANES: u64 = 4;
/// After the first login of a new device it uploads its keys, which no later login does.
const SETTLING: Duration = Duration::from_secs(30);
/// From a frame in the middle to the same stanza in the server's log.
const SAME_FRAME: Duration = Duration::from_millis(250);
/// A probe and its answer: Ethernet 14, IP 20, TCP 32 bytes each.
const PROBE_BYTES: u64 = 2 * 66;
const DAY_S: f64 = 86_400.0;

struct Options {
    board: &'static Board,
    rounds: u64,
    minutes: u64,
}

fn options() -> Option<Options> {
    let mut options = Options {
        board: Board::generic(),
        rounds: 20,
        minutes: 11,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next()?;
        match name.as_str() {
            "--board" => options.board = Board::named(&value)?,
            "--rounds" => options.rounds = value.parse().ok()?,
            "--minutes" => options.minutes = value.parse().ok().filter(|minutes| *minutes > 0)?,
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("usage: detect [--board NAME] [--rounds N] [--minutes N]");
        return ExitCode::from(2);
    };
    if let Err(error) = support::build_program() {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let (board, rounds) = (options.board, options.rounds);
    println!(
        "board {}: computed {:.1} s to notice, {:.1} s to be logged in again",
        board.name,
        board.detection_worst().as_secs_f64(),
        recovery_worst(&board.schedule()).as_secs_f64()
    );
    std::thread::scope(|scope| {
        let vanish = scope.spawn(move || shared_out(rounds, LANES, |rounds| vanish(board, rounds)));
        let stall = scope.spawn(move || shared_out(rounds, LANES, |rounds| stall(board, rounds)));
        let link = scope.spawn(move || shared_out(rounds.div_ceil(4), LINK_LANES, |rounds| link(board, rounds)));
        let quiet = scope.spawn(|| quiet(&options));
        let bytes = scope.spawn(|| bytes(&options));
        print_deaths("the host vanishes, nothing is acked", vanish.join());
        print_deaths("a middlebox acks, nothing passes", stall.join());
        print_link(link.join());
        print_lines(quiet.join());
        print_lines(bytes.join());
    });
    ExitCode::SUCCESS
}

type Outcome<T> = Result<Vec<T>, String>;

/// Runs `rounds` in so many lanes side by side.
fn shared_out<T: Send>(rounds: u64, lanes: u64, lane: impl Fn(u64) -> Outcome<T> + Sync) -> Outcome<T> {
    std::thread::scope(|scope| {
        let share = |number| rounds / lanes + u64::from(number < rounds % lanes);
        let lane = &lane;
        let running: Vec<_> = (0..lanes)
            .map(share)
            .filter(|rounds| *rounds > 0)
            .map(|rounds| scope.spawn(move || lane(rounds)))
            .collect();
        let joined: Vec<_> = running.into_iter().map(|thread| thread.join()).collect();
        let mut all = Vec::new();
        for outcome in joined {
            all.extend(outcome.map_err(|_| "a round failed".to_owned())??);
        }
        Ok(all)
    })
}

/// One death, and the times from it.
struct Death {
    after_pong: bool,
    noticed: Duration,
    up: Duration,
}

fn vanish(board: &Board, rounds: u64) -> Outcome<Death> {
    let path = NatPath::lay(LONG)?;
    Ok(path.near.inside(|| {
        let (bench, relay) = path.online(board.name);
        deaths(board, rounds, &bench, &relay, || path.forget())
    }))
}

fn stall(board: &Board, rounds: u64) -> Outcome<Death> {
    let lab = Lab::start();
    let middlebox = Middlebox::start(Kind::Plain, lab.addr());
    let endpoint = format!("ws://{}/ws/chat", middlebox.addr());
    let (bench, relay) = Bench::with(lab, &endpoint, board.name, None).go_online();
    Ok(deaths(board, rounds, &bench, &relay, || middlebox.stall()))
}

fn deaths(board: &Board, rounds: u64, bench: &Bench, relay: &Relay, strike: impl Fn()) -> Vec<Death> {
    let schedule = board.schedule();
    let mut all = Vec::new();
    for round in 0..rounds {
        sleep(schedule.redial.useful + Duration::from_secs(2));
        let after_pong = round % 2 == 1;
        if after_pong {
            let pings = bench.lab.counters().pings;
            bench
                .lab
                .wait_until(schedule.application.ping_max * 2, |lab| lab.counters().pings > pings);
            sleep(ARRIVAL);
        } else {
            sleep(schedule.application.ping_max.mul_f64(fastrand::f64()));
        }
        // A line that was useful is dialled again at once: to look at the state could miss that it was down.
        let end_of = |status: &serde_json::Value| status["sessions"][0]["last_end"]["at"].clone();
        let (line, before, struck) = (bench.line(), end_of(&relay.status()), Instant::now());
        strike();
        relay.wait_status("not noticed", |status| end_of(status) != before);
        let noticed = struck.elapsed();
        bench.wait_newer_line(line, relay);
        relay.wait_online();
        all.push(Death {
            after_pong,
            noticed,
            up: struck.elapsed(),
        });
    }
    all
}

/// The cable is out for a while and then back in: how long until the session is up.
fn link(board: &Board, rounds: u64) -> Outcome<Duration> {
    let path = NatPath::lay(LONG)?;
    Ok(path.near.inside(|| {
        let (bench, relay) = path.online(board.name);
        let mut all = Vec::new();
        for _ in 0..rounds {
            let line = bench.line();
            path.link(false);
            sleep(OUTAGE + board.schedule().redial.max.mul_f64(fastrand::f64()));
            path.link(true);
            let back = Instant::now();
            let up = bench
                .lab
                .wait_until(board.schedule().redial.max * 2, |_| bench.line() > line);
            assert!(up, "not up again: {}", relay.read_log());
            relay.wait_online();
            all.push(back.elapsed());
        }
        all
    }))
}

/// Nobody sends anything, behind a NAT that forgets after what the board says of them.
fn quiet(options: &Options) -> Outcome<String> {
    let nat = Duration::from_secs(options.board.values.path_nat_s);
    let path = NatPath::lay(nat)?;
    Ok(path.near.inside(|| {
        let (bench, relay) = path.online(options.board.name);
        sleep(SETTLING);
        let (lines, line) = (relay.lines(), bench.line());
        let (from, before, probes) = (Instant::now(), path.wire_bytes(), path.keepalive_probes());
        sleep(Duration::from_secs(60 * options.minutes));
        let (after, probes) = (path.wire_bytes(), path.keepalive_probes() - probes);
        let per_day = DAY_S / from.elapsed().as_secs_f64() / 1000.0;
        let (out, came) = (after.0 - before.0, after.1 - before.1);
        let reconnects = relay.lines() - lines;
        let same = if bench.line() == line {
            "the same line"
        } else {
            "ANOTHER LINE"
        };
        vec![
            format!(
                "quiet for {} min behind a NAT of {} s: {reconnects} reconnects, {same}",
                options.minutes,
                nat.as_secs()
            ),
            format!(
                "  on the wire with Ethernet, IP and TCP headers, without TLS: {out} + {came} bytes, {:.0} KB a day",
                (out + came) as f64 * per_day
            ),
            format!(
                "  in them {probes} keepalive probes of the kernel with their answers: {:.0} KB a day",
                (probes * PROBE_BYTES) as f64 * per_day
            ),
        ]
    }))
}

/// What each layer sends and is answered, seen by a forwarder in the middle: WebSocket frames, without TLS and TCP.
fn bytes(options: &Options) -> Outcome<String> {
    let lab = Lab::start();
    let middlebox = Middlebox::start(Kind::Plain, lab.addr());
    let endpoint = format!("ws://{}/ws/chat", middlebox.addr());
    let from = Instant::now();
    let (bench, _relay) = Bench::with(lab, &endpoint, options.board.name, None).go_online();
    sleep(SETTLING);
    let quiet = Instant::now();
    sleep(Duration::from_secs(60 * options.minutes));
    let log = bench.lab.stanza_log();
    let pieces = middlebox.pieces_since(from);
    let (login, quiet): (Vec<_>, Vec<_>) = pieces.into_iter().partition(|piece| piece.at < quiet);
    let logins: u64 = login.iter().map(|piece| piece.bytes).sum();
    let mut lines = vec![format!(
        "payload a day, extrapolated from {} min (WebSocket frames both ways, without TLS, TCP and IP):",
        options.minutes
    )];
    for (layer, exchanges, bytes) in by_layer(&quiet, &log) {
        let per_day = DAY_S / (60 * options.minutes) as f64;
        lines.push(format!(
            "  {layer}: {exchanges} × {:.0} bytes, {:.0} KB a day",
            bytes as f64 / exchanges as f64,
            bytes as f64 * per_day / 1000.0
        ));
    }
    lines.push(format!(
        "  pairing, two logins and the first upload of keys: {logins} bytes"
    ));
    Ok(lines)
}

/// Gives each piece to the layer whose stanza it carried; an answer belongs to what was asked last.
fn by_layer(pieces: &[Piece], log: &[Seen]) -> Vec<(&'static str, u64, u64)> {
    let mut totals: Vec<(&'static str, u64, u64)> = Vec::new();
    let mut asked = log
        .iter()
        .filter(|seen| seen.direction == Direction::FromClient)
        .peekable();
    let mut layer = "other";
    for piece in pieces {
        if piece.up {
            while asked.next_if(|seen| seen.at < piece.at).is_some() {}
            let stanza = asked.next_if(|seen| seen.at < piece.at + SAME_FRAME);
            layer = stanza.map_or("WebSocket ping", layer_of);
        }
        let place = totals.iter().position(|(name, ..)| *name == layer).unwrap_or_else(|| {
            totals.push((layer, 0, 0));
            totals.len() - 1
        });
        totals[place].1 += u64::from(piece.up);
        totals[place].2 += piece.bytes;
    }
    totals
}

fn layer_of(seen: &Seen) -> &'static str {
    let namespace = seen.node.attrs.get("xmlns").map(ToString::to_string);
    match (seen.node.tag.as_ref(), namespace.as_deref()) {
        ("iq", Some("w:p")) => "application ping",
        ("iq", Some("abt")) => "content probe",
        ("presence", _) => "presence",
        _ => "after the login",
    }
}

fn print_deaths(what: &str, outcome: std::thread::Result<Outcome<Death>>) {
    let deaths = match outcome {
        Ok(Ok(deaths)) => deaths,
        Ok(Err(why)) => return println!("{what}: left out: {why}"),
        Err(_) => return println!("{what}: failed"),
    };
    if deaths.is_empty() {
        return;
    }
    println!("{what}, {} rounds:", deaths.len());
    for (when, wanted) in [("at any moment", false), ("right after a pong", true)] {
        let some: Vec<_> = deaths.iter().filter(|death| death.after_pong == wanted).collect();
        let noticed = spread(some.iter().map(|death| death.noticed));
        let up = spread(some.iter().map(|death| death.up));
        println!("  {when} ({}): noticed {noticed}; up again {up}", some.len());
    }
}

fn print_link(outcome: std::thread::Result<Outcome<Duration>>) {
    let what = "the cable is back in after 2 to 3 min";
    match outcome {
        Ok(Ok(times)) if times.is_empty() => {}
        Ok(Ok(times)) => println!("{what}, {} rounds: up again {}", times.len(), spread(times.into_iter())),
        Ok(Err(why)) => println!("{what}: left out: {why}"),
        Err(_) => println!("{what}: failed"),
    }
}

fn print_lines(outcome: std::thread::Result<Outcome<String>>) {
    match outcome {
        Ok(Ok(lines)) => lines.iter().for_each(|line| println!("{line}")),
        Ok(Err(why)) => println!("left out: {why}"),
        Err(_) => println!("failed"),
    }
}

fn spread(times: impl Iterator<Item = Duration>) -> String {
    let mut times: Vec<_> = times.map(|time| time.as_secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    match (times.first(), times.get(times.len() / 2), times.last()) {
        (Some(min), Some(median), Some(max)) => format!("{min:.1} / {median:.1} / {max:.1} s"),
        _ => "never".to_owned(),
    }
}
