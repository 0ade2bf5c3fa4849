//! Reads, checks and compiles in `boards/*.toml`. An invalid board fails the build with its file and key.

use std::fmt::Write as _;
use std::path::Path;

// The very files that the program is made of, so that the build and the program cannot disagree.
#[allow(dead_code, reason = "shared with the program; the build uses a part of it")]
#[path = "src/board/fields.rs"]
mod fields;
#[allow(dead_code, reason = "shared with the program; the build uses a part of it")]
#[path = "src/board/read.rs"]
mod read;
#[allow(dead_code, reason = "shared with the program; the build uses a part of it")]
#[path = "src/board/rules.rs"]
mod rules;
#[allow(dead_code, reason = "shared with the program; the build uses a part of it")]
#[path = "src/line/schedule.rs"]
mod schedule;

fn main() {
    tell_build_date();
    for watched in ["boards", "src/board", "src/line/schedule.rs", "build.rs"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    match compile(Path::new("boards")) {
        Ok(code) => {
            let out = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
            std::fs::write(Path::new(&out).join("boards.rs"), code).expect("OUT_DIR can be written");
        }
        Err(faults) => {
            for fault in faults {
                println!("cargo::error={fault}");
            }
        }
    }
}

/// Midnight (UTC) before the release of Rust 1.95, which this version needs: nothing can have built it earlier. A fixed
/// date, so that a build can be repeated; to be moved with `rust-version`.
const BUILT_EARLIEST: u64 = 1_776_297_600; // 2026-04-16

/// The program takes a clock before this for one that is not set: `SOURCE_DATE_EPOCH`, as packagers set it, else
/// [`BUILT_EARLIEST`].
fn tell_build_date() {
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.trim().parse(),
        Err(_) => Ok(BUILT_EARLIEST),
    };
    match seconds {
        Ok(seconds) => println!("cargo::rustc-env=TAUTLINE_BUILT={}", seconds.max(BUILT_EARLIEST)),
        Err(error) => println!("cargo::error=SOURCE_DATE_EPOCH is no count of seconds: {error}"),
    }
}

fn compile(directory: &Path) -> Result<String, Vec<String>> {
    let text_of = |name: &str| {
        std::fs::read_to_string(directory.join(name).with_extension("toml")).map_err(|error| error.to_string())
    };
    let entries = std::fs::read_dir(directory).map_err(|error| vec![format!("boards: {error}")])?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_suffix(".toml")?.to_owned()))
        .collect();
    // `generic` first: it is the default and the base of the others.
    names.sort_by_key(|name| (name != "generic", name.clone()));
    let mut faults = Vec::new();
    let mut code = "&[\n".to_owned();
    for name in &names {
        match read::read(name, &text_of) {
            Ok(sheet) => {
                let _ = writeln!(
                    code,
                    "Board {{ name: {name:?}, title: {:?}, values: Values::from_list({:?}), whys: &{:?} }},",
                    sheet.title,
                    sheet.values.list(),
                    sheet.whys,
                );
            }
            Err(more) => faults.extend(more),
        }
    }
    code.push_str("]\n");
    if names.first().is_none_or(|first| first != "generic") {
        faults.push("boards/generic.toml: is missing; it is the default".into());
    }
    if faults.is_empty() { Ok(code) } else { Err(faults) }
}
