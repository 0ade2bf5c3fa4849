//! `tautline boards [show NAME]`.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::appliance::detect::board_in_force;
use crate::board::{
    Board, PING_EXCHANGE_BYTES, RELOGIN_ALLOWANCE, bytes_per_day, daily, detection, messages_per_day, recovery_worst,
    wakeups_per_minute,
};
use crate::config::{Env, load};
use crate::util::millis;

/// Lists the boards and marks the one in force with the reason. `root` is `/` but in tests. Returns the exit code.
///
/// # Errors
/// `out` or `err` cannot be written to.
pub fn list(
    config: Option<&Path>,
    env: &Env,
    root: &Path,
    json: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    // A wrong config is not what was asked about; say it, and show what would be detected.
    let configured = match load(config, env) {
        Ok(loaded) => loaded.plan.board,
        Err(errors) => {
            writeln!(err, "{errors}")?;
            None
        }
    };
    let (force, why) = board_in_force(configured.as_deref(), root);
    if json {
        let list: Vec<_> = Board::all()
            .iter()
            .map(|board| summary(board, board.name == force.name))
            .collect();
        writeln!(out, "{:#}", json!({"in_force": force.name, "why": why, "boards": list}))?;
        return Ok(0);
    }
    for board in Board::all() {
        let mark = if board.name == force.name { '*' } else { ' ' };
        let worst = board.detection_worst().as_secs();
        writeln!(
            out,
            "{mark} {:<16} notices in {worst:>2} s at worst  {}",
            board.name, board.title
        )?;
    }
    writeln!(out, "* in force: {why}")?;
    Ok(0)
}

/// Prints every number of a board with its why. Returns the exit code: 1 for a board that does not exist.
///
/// # Errors
/// `out` or `err` cannot be written to.
pub fn show(name: &str, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let Some(board) = Board::named(name) else {
        let names: Vec<_> = Board::all().iter().map(|board| board.name).collect();
        writeln!(err, "no board is named {name:?}; there are {}", names.join(", "))?;
        return Ok(1);
    };
    if json {
        writeln!(out, "{:#}", whole(board))?;
    } else {
        write!(out, "{}", text(board))?;
    }
    Ok(0)
}

fn summary(board: &Board, in_force: bool) -> Value {
    json!({
        "name": board.name,
        "title": board.title,
        "in_force": in_force,
        "detection_worst_ms": millis(board.detection_worst()),
    })
}

fn whole(board: &Board) -> Value {
    let schedule = board.schedule();
    let seen = detection(&schedule);
    let day = daily(&schedule);
    let numbers: Vec<_> = board
        .numbers()
        .map(|number| {
            let key = format!("{}.{}", number.field.section, number.field.key);
            json!({"key": key, "value": number.value, "why": number.why, "from": number.from})
        })
        .collect();
    json!({
        "name": board.name,
        "title": board.title,
        "numbers": numbers,
        "detection_worst_ms": millis(board.detection_worst()),
        "detection_ms": {"tcp": millis(seen.tcp), "websocket": millis(seen.websocket), "application": millis(seen.application)},
        "recovery_worst_ms": millis(recovery_worst(&schedule)),
        "messages_per_day_by_layer": {"pings": day.pings, "presences": day.presences, "probes": day.probes},
        "messages_per_day": messages_per_day(&schedule),
        "bytes_per_day": bytes_per_day(&schedule),
        "wakeups_per_minute": wakeups_per_minute(&schedule),
    })
}

fn text(board: &Board) -> String {
    let schedule = board.schedule();
    let seen = detection(&schedule);
    let day = daily(&schedule);
    let megabytes = |messages: u64| (messages * PING_EXCHANGE_BYTES) as f64 / 1e6;
    let mut text = format!("{}: {}\n", board.name, board.title);
    let mut section = "";
    for number in board.numbers() {
        if number.field.section != section {
            section = number.field.section;
            text += &format!("\n[{section}]\n");
        }
        let from = if number.from == board.name {
            String::new()
        } else {
            format!(" ({})", number.from)
        };
        text += &format!("{:<17} {:>6}  {}{from}\n", number.field.key, number.value, number.why);
    }
    text += &format!(
        "\nA silent death is noticed within {} s, and {:.1} s after it the session is logged in again\n\
         (redial pause and {} s for the login included, on a path that works at once).\n\
         By layer: tcp {} s, websocket {} s, application {} s.\n\
         Idle: about {} messages and {:.1} MB a day, {} wake-ups a minute.\n\
         By layer: application {} pings, {:.2} MB; {} presences, {:.2} MB; {} content probes, {:.2} MB;\n\
         websocket and tcp none while the application's answers come.\n",
        board.detection_worst().as_secs(),
        recovery_worst(&schedule).as_secs_f64(),
        RELOGIN_ALLOWANCE.as_secs(),
        seen.tcp.as_secs(),
        seen.websocket.as_secs(),
        seen.application.as_secs(),
        messages_per_day(&schedule),
        bytes_per_day(&schedule) as f64 / 1e6,
        wakeups_per_minute(&schedule),
        day.pings,
        megabytes(day.pings),
        day.presences,
        megabytes(day.presences),
        day.probes,
        megabytes(day.probes),
    );
    text
}
