//! The files for systemd are what systemd takes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{files, root, text_of};

/// Runs `systemd-analyze`. `None` where there is none; in CI there has to be.
fn systemd_analyze(arguments: &[&str], unit: &Path) -> Option<Output> {
    match Command::new("systemd-analyze").args(arguments).arg(unit).output() {
        Ok(output) => Some(output),
        Err(error) => {
            assert!(
                std::env::var_os("CI").is_none(),
                "systemd-analyze must be installed in CI: {error}"
            );
            eprintln!("not verified: systemd-analyze does not run here: {error}");
            None
        }
    }
}

/// The units, copied, with a program that exists for sure.
fn units() -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for (name, path) in files() {
        if name.starts_with("systemd/") && (name.ends_with(".service") || name.ends_with(".timer")) {
            let text = std::fs::read_to_string(&path).unwrap();
            let program = std::env::current_exe().unwrap();
            let text = text.replace("/usr/bin/tautline", program.to_str().unwrap());
            let copy = folder.path().join(path.file_name().unwrap());
            std::fs::write(&copy, text).unwrap();
            units.push(copy);
        }
    }
    assert!(units.iter().any(|unit| unit.ends_with("tautline.service")));
    (folder, units)
}

#[test]
fn the_units_are_verified() {
    let (folder, units) = units();
    for unit in &units {
        // It returns 0 for unknown keys and only says so: a word is a failure.
        let Some(output) = systemd_analyze(&["verify"], unit) else {
            return;
        };
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{unit:?}: {}",
            text_of(&output)
        );
        let rated = systemd_analyze(&["security", "--offline=true", "--threshold=30"], unit);
        assert!(
            rated.as_ref().is_none_or(|output| output.status.success()),
            "{unit:?}: {rated:?}"
        );
    }
    let spoilt = folder.path().join("spoilt.service");
    let text = std::fs::read_to_string(&units[0]).unwrap();
    std::fs::write(&spoilt, text.replace("[Service]\n", "[Service]\nWatchdogSecs=1\n")).unwrap();
    if let Some(output) = systemd_analyze(&["verify"], &spoilt) {
        assert!(!output.stderr.is_empty(), "an unknown key went unnoticed");
    }
}

#[test]
fn the_unit_keeps_its_contract() {
    let unit = std::fs::read_to_string(root().join("systemd/tautline.service")).unwrap();
    for line in [
        "Type=notify",
        "NotifyAccess=main",
        "Restart=always",
        "RestartPreventExitStatus=4 78",
        "OnFailure=tautline-failed@%n.service",
        "WatchdogSignal=SIGABRT",
        "StartLimitIntervalSec=0",
        "StateDirectory=tautline",
        "StateDirectoryMode=0700",
        "RuntimeDirectory=tautline",
        "ConfigurationDirectory=tautline",
        "UMask=0077",
        "MemoryHigh=384M",
        "MemoryMax=512M",
    ] {
        assert!(unit.lines().any(|have| have == line), "{line}");
    }
    // Progress is asked for three times in it, and twice a minute is what that may wake the box.
    let watchdog = value_of(&unit, "WatchdogSec=");
    assert!((90..=180).contains(&watchdog), "{watchdog}");
}

/// The number behind `key` at the start of a line.
fn value_of(text: &str, key: &str) -> u32 {
    let mut values = text.lines().filter_map(|line| line.strip_prefix(key));
    let value = values.next().unwrap_or_else(|| panic!("no {key}"));
    assert_eq!(values.next(), None, "{key} twice");
    value.parse().unwrap_or_else(|_| panic!("{key}{value} is no number"))
}

#[test]
fn the_files_beside_the_units_are_well_formed() {
    let read = |name: &str| std::fs::read_to_string(root().join("systemd").join(name)).unwrap();
    // A Raspberry Pi's watchdog refuses more, and less than the relay needs to start helps nobody.
    let hardware = read("hardware-watchdog.conf");
    assert!(hardware.contains("\n[Manager]\n"));
    assert!((5..=15).contains(&value_of(&hardware, "RuntimeWatchdogSec=")));

    let folder = tempfile::tempdir().unwrap();
    let run = |program: &str, arguments: &[&str]| match Command::new(program).args(arguments).output() {
        Ok(output) => assert!(output.status.success(), "{program}: {}", text_of(&output)),
        Err(error) => {
            assert!(
                std::env::var_os("CI").is_none(),
                "{program} must be installed in CI: {error}"
            );
            eprintln!("not verified: {program} does not run here: {error}");
        }
    };
    std::fs::create_dir(folder.path().join("etc")).unwrap();
    let there = format!("--root={}", folder.path().display());
    let file = |name: &str| root().join("systemd").join(name).to_str().unwrap().to_owned();
    // Both say on stderr and by their status what they do not understand. Users come first: the other names them.
    run("systemd-sysusers", &[&there, &file("tautline.sysusers")]);
    let rights = Command::new("id").arg("-u").output().unwrap();
    if text_of(&rights).trim() == "0" {
        run("systemd-tmpfiles", &["--create", &there, &file("tautline.tmpfiles")]);
        let state = folder.path().join("var/lib/tautline");
        assert!(state.is_dir() || Command::new("systemd-tmpfiles").output().is_err());
        let spool = std::fs::metadata(folder.path().join("var/spool/tautline"));
        assert!(
            spool.is_ok_and(|spool| spool.mode() & 0o7777 == 0o3733)
                || Command::new("systemd-tmpfiles").output().is_err()
        );
    }
}
