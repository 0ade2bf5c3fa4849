//! The box: configuration, board, clock, randomness, and the disk with the state.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use super::seen::{Seen, Site};
use crate::appliance::board_in_force;
use crate::net::offload;
use crate::outbox::CLOCK_UNSET_BEFORE;
use crate::store::{FileSystem, file_system_under};
use crate::util::wall_ms;

/// systemd's own clients and chrony's helpers make one of these once the clock has been set by a server.
const CLOCK_SET: [&str; 2] = ["/run/systemd/timesync/synchronized", "/run/chrony/chrony.sock"];

/// What is left for the log's next generation and some days of alerts. Bytes.
const ROOM_WANTED: u64 = 64 * 1024 * 1024;

/// Every alert waits for one sync before its sender gets the answer; many senders give up after 5 s.
const SYNC_SLOW: Duration = Duration::from_millis(500);
const SYNC_TOO_SLOW: Duration = Duration::from_secs(3);
const SYNCS: u32 = 5;
/// As large as a block of a disk.
const SYNC_BYTES: usize = 4096;

pub(super) fn config(site: &Site) -> Vec<Seen> {
    let loaded = match &site.config {
        Ok(loaded) => loaded,
        Err(errors) if errors.0.is_empty() => {
            return vec![Seen::fault("it cannot be read", "run `tautline config check`")];
        }
        Err(errors) => {
            let next = "mend the file; `tautline config check` says whether it is right";
            return errors
                .0
                .iter()
                .map(|fault| Seen::fault(fault.to_string(), next))
                .collect();
        }
    };
    let file = match &loaded.file {
        Some(path) => path.display().to_string(),
        None => "no file, the defaults hold".to_owned(),
    };
    let warnings = loaded
        .warnings
        .iter()
        .chain(&loaded.unreadable)
        .chain(&loaded.environment);
    let mut seen = vec![Seen::good(file)];
    seen.extend(warnings.map(|fault| Seen::warning(fault.to_string(), "mend it, or take it out")));
    seen
}

pub(super) fn board(site: &Site) -> Vec<Seen> {
    let Ok(loaded) = &site.config else {
        return vec![Seen::skipped("the configuration is not valid")];
    };
    let (board, why) = board_in_force(loaded.plan.board.as_deref(), Path::new("/"));
    vec![Seen::good(format!("{} ({why})", board.name))]
}

pub(super) fn clock() -> Vec<Seen> {
    let set = CLOCK_SET.iter().any(|path| Path::new(path).exists());
    vec![judge_clock(wall_ms(), set)]
}

fn judge_clock(now_ms: u64, set: bool) -> Seen {
    let now = humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + Duration::from_millis(now_ms));
    if now_ms < CLOCK_UNSET_BEFORE.0 {
        let next = "set the clock, or let a time server do it (`timedatectl set-ntp true`): TLS does not work before";
        return Seen::fault(format!("{now}: it is not set"), next);
    }
    match set {
        true => Seen::good(format!("{now}, set by a time server")),
        false => Seen::warning(
            format!("{now}; no sign of a time server"),
            "look whether that is right, and run a time client (`timedatectl set-ntp true`, or chrony)",
        ),
    }
}

pub(super) async fn entropy() -> Vec<Seen> {
    let drawn = offload(|| getrandom::fill(&mut [0; 16]).map_err(|error| error.to_string())).await;
    vec![match drawn {
        Some(Ok(())) => Seen::good("it does"),
        Some(Err(error)) => Seen::fault(error, "keys cannot be made; look at the kernel's log"),
        None => Seen::skipped("no thread to look with"),
    }]
}

/// The state directory, where it is known and there.
fn place(site: &Site) -> Result<&Path, Seen> {
    let path = site.state.as_ref().map_err(|why| {
        let text = format!("the state's place is not known: {why}");
        Seen::fault(text, "name it with `--state`")
    })?;
    let here = path.display();
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(path),
        Ok(_) => Err(Seen::fault(
            format!("{here} is no directory"),
            "name another with `--state`",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Seen::skipped(format!(
            "{here}: there is no state yet; the first run makes it"
        ))),
        Err(error) => Err(Seen::skipped(format!("{here}: {error}; look as its owner"))),
    }
}

pub(super) fn state(site: &Site) -> Vec<Seen> {
    let path = match place(site) {
        Ok(path) => path,
        Err(seen) => return vec![seen],
    };
    let here = path.display();
    let mut seen = Vec::new();
    match file_system_under(path) {
        Ok(found) => seen.push(judge_file_system(path, &found)),
        Err(error) => seen.push(Seen::fault(format!("{here}: {error}"), "look at the disk")),
    }
    match std::fs::metadata(path) {
        Ok(found) if found.mode() & 0o077 != 0 => seen.push(Seen::warning(
            format!("{here} has mode {:o}", found.mode() & 0o7777),
            format!("keys and messages are in it: `chmod 700 {here}`"),
        )),
        Ok(_) => {}
        Err(error) => seen.push(Seen::fault(format!("{here}: {error}"), "look at the disk")),
    }
    seen
}

fn judge_file_system(path: &Path, found: &FileSystem) -> Seen {
    let text = format!("{} on {}", path.display(), found.name);
    match found.is_volatile {
        true => Seen::warning(
            text,
            "what is kept there is gone after a reboot or with the container: then the device must be paired again. \
             Put the state on a disk",
        ),
        false => Seen::good(text),
    }
}

pub(super) fn room(site: &Site) -> Vec<Seen> {
    let path = match place(site) {
        Ok(path) => path,
        Err(seen) => return vec![seen],
    };
    vec![match rustix::fs::statvfs(path) {
        Ok(volume) if volume.f_blocks > 0 => judge_room(volume.f_bavail.saturating_mul(volume.f_frsize)),
        Ok(_) => Seen::skipped("the file system does not say"),
        Err(error) => Seen::fault(format!("{}: {error}", path.display()), "look at the disk"),
    }]
}

fn judge_room(free: u64) -> Seen {
    let text = format!("{} MB free", free / 1_000_000);
    match free {
        0 => Seen::fault(text, "make room: no alert is accepted before"),
        free if free < ROOM_WANTED => Seen::warning(text, "make room before it is full"),
        _ => Seen::good(text),
    }
}

pub(super) async fn sync(site: &Site) -> Vec<Seen> {
    let path = match place(site) {
        Ok(path) => path.to_owned(),
        Err(seen) => return vec![seen],
    };
    let Some(took) = offload(move || slowest_sync(&path)).await else {
        return vec![Seen::skipped("no thread to look with")];
    };
    vec![match took {
        Ok(took) => judge_sync(took),
        Err(error) => Seen::skipped(format!("not measured: {error}")),
    }]
}

/// The longest of some small writes with their syncs, to a file that has no name afterwards.
fn slowest_sync(directory: &Path) -> io::Result<Duration> {
    let path = directory.join(format!(".doctor.{}", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    let mut slowest = Duration::ZERO;
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&[0; SYNC_BYTES])?;
        file.sync_data()?;
        slowest = slowest.max(began.elapsed());
    }
    Ok(slowest)
}

fn judge_sync(took: Duration) -> Seen {
    let text = format!("{:.1} ms, the slowest of {SYNCS}", took.as_secs_f64() * 1e3);
    let next = "every alert waits for one: look at the disk (a worn card, a full one, another program that writes)";
    match took {
        took if took >= SYNC_TOO_SLOW => Seen::fault(text, next),
        took if took >= SYNC_SLOW => Seen::warning(text, next),
        _ => Seen::good(text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::seen::Verdict;
    use super::*;

    #[test]
    fn a_clock_is_judged_by_what_it_shows_and_by_who_set_it() {
        let judged = |now_ms, set| judge_clock(now_ms, set).verdict;
        assert_eq!(judged(0, true), Verdict::Fault);
        assert_eq!(judged(CLOCK_UNSET_BEFORE.0 - 1, false), Verdict::Fault);
        assert_eq!(judged(CLOCK_UNSET_BEFORE.0, false), Verdict::Warning);
        assert_eq!(judged(CLOCK_UNSET_BEFORE.0, true), Verdict::Good);
    }

    #[test]
    fn a_full_disk_is_a_fault_and_a_small_rest_a_warning() {
        assert_eq!(judge_room(0).verdict, Verdict::Fault);
        assert_eq!(judge_room(ROOM_WANTED - 1).verdict, Verdict::Warning);
        assert_eq!(judge_room(ROOM_WANTED).verdict, Verdict::Good);
    }

    #[test]
    fn a_slow_sync_is_named_before_senders_give_up() {
        assert_eq!(judge_sync(SYNC_SLOW / 2).verdict, Verdict::Good);
        assert_eq!(judge_sync(SYNC_SLOW).verdict, Verdict::Warning);
        assert_eq!(judge_sync(SYNC_TOO_SLOW).verdict, Verdict::Fault);
    }

    #[test]
    fn a_measured_sync_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        slowest_sync(directory.path()).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(slowest_sync(&directory.path().join("absent")).is_err());
    }

    #[test]
    fn a_state_that_a_reboot_takes_is_told() {
        let judged = |is_volatile| {
            let found = FileSystem {
                name: "tmpfs".into(),
                is_volatile,
            };
            judge_file_system(Path::new("/run/x"), &found).verdict
        };
        assert_eq!(judged(true), Verdict::Warning);
        assert_eq!(judged(false), Verdict::Good);
    }
}
