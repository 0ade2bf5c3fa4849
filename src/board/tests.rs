use std::collections::BTreeMap;
use std::time::Duration;

use super::read::{Sheet, read};
use super::*;

/// The files as they are, to be spoilt.
fn files() -> BTreeMap<String, String> {
    let file = |board: &Board| {
        let path = format!("{}/boards/{}.toml", env!("CARGO_MANIFEST_DIR"), board.name);
        (board.name.to_owned(), std::fs::read_to_string(path).unwrap())
    };
    Board::all().iter().map(file).collect()
}

fn read_from(files: &BTreeMap<String, String>, name: &str) -> Result<Sheet, Vec<String>> {
    read(name, &|name| {
        files.get(name).cloned().ok_or_else(|| "is missing".into())
    })
}

/// What the build says after `from` became `to` in the file of `name`.
fn spoilt(name: &str, from: &str, to: &str) -> Vec<String> {
    let mut files = files();
    let text = files.get_mut(name).unwrap();
    assert!(text.contains(from), "boards/{name}.toml no longer has {from:?}");
    *text = text.replacen(from, to, 1);
    read_from(&files, name).unwrap_err()
}

#[test]
fn what_is_compiled_in_is_what_the_files_say() {
    let files = files();
    for board in Board::all() {
        let sheet = read_from(&files, board.name).unwrap();
        assert_eq!((board.title, board.values), (sheet.title.as_str(), sheet.values));
        assert!(board.numbers().count() == FIELDS.len() && faults(&board.values).is_empty());
    }
    let names: Vec<_> = Board::all().iter().map(|board| board.name).collect();
    let expected = [
        "generic",
        "rpi-3",
        "rpi-4",
        "rpi-5",
        "rpi-zero-2w",
        "wsl2",
        "x86-64-mini-pc",
    ];
    assert_eq!(names, expected);
    assert_eq!(Board::generic().name, "generic");
}

#[test]
fn every_board_keeps_what_is_promised() {
    for board in Board::all() {
        let schedule = board.schedule();
        let limit = if board.name == "wsl2" { 15 } else { 25 };
        assert!(
            recovery_worst(&schedule) <= Duration::from_secs(limit),
            "{}",
            board.name
        );
        assert!(wakeups_per_minute(&schedule) <= 30, "{}", board.name);
        assert!(messages_per_hour(&schedule) <= board.values.path_messages_per_hour);
    }
}

#[test]
fn the_arithmetic() {
    let generic = Board::generic().schedule();
    let seconds = Duration::from_secs;
    assert_eq!(
        detection(&generic),
        Detection {
            // Probes at 10, 13 and 16 s; the timer of 19 s is the first after the user timeout of 18.
            tcp: seconds(19),
            websocket: seconds(18),
            application: seconds(20),
        }
    );
    assert_eq!(recovery_worst(&generic), seconds(24));
    // 3600/8 pings, 12 presences, 6 probes.
    assert_eq!(messages_per_hour(&generic), 468);
    assert_eq!(messages_per_day(&generic), 8640 + 288 + 144);
    assert_eq!(wakeups_per_minute(&generic), 17);
}

#[test]
fn a_spoilt_board_names_its_file_and_key() {
    for (name, from, to, key) in [
        (
            "generic",
            "nat_s = { value = 60",
            "nat_s = { value = 24",
            "application.ping_max_s",
        ),
        (
            "generic",
            "idle_s = { value = 10",
            "idle_s = { value = 60",
            "tcp.idle_s",
        ),
        (
            "generic",
            "ping_min_s = { value = 8",
            "ping_min_s = { value = 12",
            "application.ping_min_s",
        ),
        (
            "generic",
            "pong_s = { value = 8",
            "pong_s = { value = 12",
            "application.pong_s",
        ),
        (
            "generic",
            "ping_s = { value = 12",
            "ping_s = { value = 11",
            "websocket.ping_s",
        ),
        (
            "generic",
            "pong_s = { value = 6",
            "pong_s = { value = 9",
            "websocket.pong_s",
        ),
        (
            "generic",
            "user_timeout_s = { value = 18",
            "user_timeout_s = { value = 8",
            "tcp.user_timeout_s",
        ),
        (
            "generic",
            "user_timeout_s = { value = 18",
            "user_timeout_s = { value = 30",
            "tcp.user_timeout_s",
        ),
        ("generic", "count = { value = 3", "count = { value = 6", "tcp.count"),
        (
            "generic",
            "write_s = { value = 10",
            "write_s = { value = 21",
            "steps.write_s",
        ),
        (
            "generic",
            "pong_s = { value = 8",
            "pong_s = { value = 10",
            "path.recovery_s",
        ),
        (
            "generic",
            "recovery_s = { value = 25",
            "recovery_s = { value = 26",
            "path.recovery_s",
        ),
        (
            "generic",
            "hour = { value = 480",
            "hour = { value = 400",
            "path.messages_per_hour",
        ),
        (
            "wsl2",
            "recovery_s = { value = 15",
            "recovery_s = { value = 14",
            "path.recovery_s",
        ),
        (
            "wsl2",
            "ping_min_s = { value = 5",
            "ping_min_s = { value = 1",
            "application.ping_min_s",
        ),
        ("generic", "max_s = { value = 60", "max_s = { value = 1", "redial.max_s"),
        (
            "generic",
            "per_hour = { value = 150",
            "per_hour = { value = 100",
            "redial.per_hour",
        ),
        (
            "generic",
            "presence_s = { value = 300",
            "presence_s = { value = 3",
            "application.presence_s",
        ),
        ("generic", "count = { value = 3", "count = { value = -3", "tcp.count"),
        ("generic", "count = { value = 3", "count = { value = 3.0", "tcp.count"),
        ("generic", "count = { value = 3", "counts = { value = 3", "tcp.counts"),
        ("generic", "count = { value = 3", "# { value = 3", "tcp.count"),
        (
            "generic",
            "why = \"what is promised",
            "why = \"\" } # ",
            "path.recovery_s",
        ),
        ("generic", "[tcp]", "[tpc]", "tpc"),
        ("rpi-4", "base = \"generic\"", "base = \"rpi-3\"", "base"),
        ("rpi-4", "title = ", "titel = ", "title"),
    ] {
        let faults = spoilt(name, from, to);
        let wanted = format!("boards/{name}.toml: {key}: ");
        assert!(
            faults.iter().any(|fault| fault.starts_with(&wanted)),
            "{to}: {faults:?}"
        );
    }
    assert!(spoilt("generic", "title = ", "title ")[0].starts_with("boards/generic.toml: "));
}
