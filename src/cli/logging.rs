//! Where the log goes: stderr; under systemd with the journal's own levels and without times of our own.

mod brake;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{IsTerminal, Write, stderr};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use env_logger::{Builder, Target, WriteStyle};
use log::{Level, LevelFilter};

use super::outlet::Outlet;
use super::terminal::{allows_colours, harmless};
use brake::Brake;

/// Our own words from INFO on. The protocol library stays silent: its lines name people by their numbers, call a
/// routine disconnect an error, and announce reconnects that it does not make. What matters of it is said by the
/// session.
const DEFAULT: &str = "off,tautline=info";
/// The other commands say in their own words what goes on.
const COMMAND: &str = "off,tautline=warn";
/// For looking into a fault, with a warning in the manual that numbers may show.
const VERBOSE: &str = "warn,tautline=debug,whatsapp_rust=info";

/// How long the end of the process waits for a reader of the last words.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The relay's way to stderr. The other commands write there themselves, and wait for whoever reads.
static OUTLET: OnceLock<Outlet> = OnceLock::new();

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
    if relay && let Some(outlet) = open_outlet() {
        builder.target(Target::Pipe(Box::new(outlet)));
        // A pipe has no colours by itself.
        if stderr().is_terminal() && allows_colours() {
            builder.write_style(WriteStyle::Always);
        }
    }
    let brake = Brake::default();
    let journal = to_journal();
    builder.format(move |out, record| {
        let Some(left_out) = brake.admit(record, Instant::now()) else {
            return Ok(());
        };
        let mut words = harmless(&record.args().to_string());
        if left_out > 0 {
            words.push_str(&format!(" ({left_out} more like it were left out)"));
        }
        if journal {
            let level = syslog_level(record.level());
            // A line without a level of its own would be filed as INFO.
            for line in words.lines() {
                writeln!(out, "<{level}>{}: {line}", record.target())?;
            }
            return Ok(());
        }
        let (time, level, target) = (out.timestamp_millis(), record.level(), record.target());
        // A second line stands apart from what begins a new entry.
        let words = words.replace('\n', "\n    ");
        let style = out.default_level_style(level);
        writeln!(out, "[{time} {style}{level:<5}{style:#} {target}] {words}")
    });
    // Only a logger that is there already makes it fail, and then there is one.
    let _ = builder.try_init();
}

/// Puts a queue before stderr, for panics too. `None` where there can be no thread for it.
fn open_outlet() -> Option<Outlet> {
    let outlet = Outlet::start(stderr(), lost_words).ok()?;
    let outlet = OUTLET.get_or_init(|| outlet).clone();
    let for_panics = outlet.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let backtrace = Backtrace::capture();
        let mut text = format!("thread '{}' {panic}\n", thread.name().unwrap_or("<unnamed>"));
        if backtrace.status() == BacktraceStatus::Captured {
            text.push_str(&format!("stack backtrace:\n{backtrace}"));
        }
        for_panics.add(text.as_bytes());
        // It may be the end of the process.
        for_panics.flush(LAST_WORDS);
    }));
    Some(outlet)
}

/// Writes a line for people to stderr, after what the log has said before.
pub(super) fn write_line(line: &str) {
    let line = format!("{line}\n");
    match OUTLET.get() {
        Some(outlet) => outlet.add(line.as_bytes()),
        // If nobody can read it, nobody misses it.
        None => drop(stderr().lock().write_all(line.as_bytes())),
    }
}

/// Before the process ends: lets the last words out, as far as somebody reads them.
pub(super) fn finish() {
    if let Some(outlet) = OUTLET.get() {
        outlet.flush(LAST_WORDS);
    }
}

fn lost_words(lost: u64) -> String {
    let level = if to_journal() { "<4>" } else { "" };
    format!("{level}tautline: {lost} lines were lost here, because nobody read them\n")
}

/// The digit in angle brackets at the start of a line, as `sd-daemon(3)` has it.
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
