//! Where the log goes: stderr; under systemd with the journal's own levels and without times of our own.

use std::io::Write;

use env_logger::{Builder, Target};
use log::{Level, LevelFilter};

use super::output::harmless;

/// Our own words from INFO on. The protocol library stays silent: its lines name people by their numbers, call a routine
/// disconnect an error, and announce reconnects that it does not make. What matters of it is said by the session.
const DEFAULT: &str = "off,tautline=info";
/// The other commands say in their own words what goes on.
const COMMAND: &str = "off,tautline=warn";
/// For looking into a fault, with a warning in the manual that numbers may show.
const VERBOSE: &str = "warn,tautline=debug,whatsapp_rust=info";

/// `$TAUTLINE_LOG`, else `$RUST_LOG`, else the default, which each `-v` raises.
pub(super) fn start(verbose: u8, relay: bool) {
    let filters = ["TAUTLINE_LOG", "RUST_LOG"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    let mut builder = Builder::new();
    match (&filters, verbose) {
        (Some(filters), 0) => builder.parse_filters(filters),
        (_, 0) => builder.parse_filters(if relay { DEFAULT } else { COMMAND }),
        (_, 1) => builder.parse_filters(VERBOSE),
        (_, _) => builder
            .filter_level(LevelFilter::Trace)
            .parse_filters("trace,sled=info,polling=info,async_io=info"),
    };
    builder.target(Target::Stderr);
    if to_journal() {
        builder.format(|out, record| {
            let level = syslog_level(record.level());
            // A line without a level of its own would be filed as INFO.
            for line in harmless(&record.args().to_string()).lines() {
                writeln!(out, "<{level}>{}: {line}", record.target())?;
            }
            Ok(())
        });
    } else {
        builder.format(|out, record| {
            let (time, level, target) = (out.timestamp_millis(), record.level(), record.target());
            // A second line stands apart from what begins a new entry.
            let words = harmless(&record.args().to_string()).replace('\n', "\n    ");
            let style = out.default_level_style(level);
            writeln!(out, "[{time} {style}{level:<5}{style:#} {target}] {words}")
        });
    }
    // Only a logger that is there already makes it fail, and then there is one.
    let _ = builder.try_init();
}

/// sd-daemon(3): the digit in angle brackets at the start of a line.
fn syslog_level(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Whether stderr itself is the journal. The variable alone is not enough: a shell started from a unit inherits it.
pub(super) fn to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    rustix::fs::fstat(std::io::stderr()).is_ok_and(|file| stream == format!("{}:{}", file.st_dev, file.st_ino))
}
