//! Small volumes that alerts fill while they wait. They all go out when the line is back, in the run that took them or
//! in one after it was killed, and nothing else has to make room.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Mount, Scene, image};
use crate::support::SOON;
use tautline::store::{Batch, Store, StoreError, Tree};

/// How long nothing may move while alerts go out: the longest pause of a retry, on a busy machine.
const STUCK_AFTER: Duration = Duration::from_secs(90);

/// What the volume is.
#[derive(Debug, Clone, Copy)]
enum Volume {
    Tmpfs,
    /// In a file, with a journal and blocks kept for root, as on a card.
    Ext4,
}

/// Fills a volume of `mib` with alerts of `bytes` each, kills the relay if wanted, and lets them go out. Returns how
/// many it took.
fn fill_and_empty(volume: Volume, mib: usize, bytes: usize, killed: bool) -> Option<usize> {
    let scene = Scene::new();
    let state = scene.site.state();
    let _mount = match volume {
        Volume::Tmpfs => Mount::tmpfs(&state, &format!("{mib}m"))?,
        Volume::Ext4 => Mount::image(&image(scene.site.path(), mib as u64)?, &state)?,
    };
    let mut relay = scene.start();
    scene.lab.faults().refuse_tcp(true);
    scene.lab.faults().cut_rst();
    relay.wait_status("the line stays", |status| status["sessions"][0]["state"] != "online");
    let text = |number: usize| format!("{number:05} {}", "x".repeat(bytes - 6));
    let mut accepted = 0;
    let full = loop {
        let answer = relay.http("POST", "/friend", &[], text(accepted).as_bytes());
        match answer.status {
            200 => accepted += 1,
            // By room, or by the bounds of the outbox.
            507 => break true,
            503 => break false,
            _ => panic!("{answer:?}"),
        }
    };
    if killed {
        relay.kill();
        relay = scene.site.start();
    }
    scene.lab.faults().calm();
    let waiting = |status: &serde_json::Value| {
        let count = |step: &str| status["outbox"][step].as_u64().unwrap();
        count("accepted") + count("sent")
    };
    let began = Instant::now();
    let (mut left, mut moved) = (u64::MAX, Instant::now());
    while left > 0 {
        let status = relay.status();
        let now = waiting(&status);
        if now < left {
            (left, moved) = (now, Instant::now());
        }
        let stuck = moved.elapsed() > STUCK_AFTER;
        assert!(
            !stuck,
            "{left} of {accepted} are stuck: {status:#}\n{}",
            relay.read_log()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = began.elapsed();
    // It takes new ones again, though those that went out are still remembered.
    let tried = Instant::now();
    while full && relay.http("POST", "/friend", &[], b"after").status == 507 {
        assert!(tried.elapsed() < SOON, "it stays full: {}", relay.status());
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(relay.stop(), 0);
    // On a slow machine some are late, and say in a line of its own when they were raised.
    let last_line = |text: String| text.rsplit('\n').next().unwrap_or_default().to_owned();
    let mut found: Vec<String> = scene.texts().into_iter().map(last_line).collect();
    found.retain(|text| text != "first" && text != "after");
    found.sort();
    let wanted: Vec<String> = (0..accepted).map(text).collect();
    assert!(found == wanted, "{} of {accepted} on the phone", found.len());
    println!(
        "{volume:?} of {mib} MB, alerts of {bytes} B, killed {killed}, full {full}: {accepted} delivered in {took:?}"
    );
    Some(accepted)
}

#[test]
fn a_small_disk_that_waiting_alerts_have_filled_is_emptied_again() {
    for killed in [false, true] {
        let Some(accepted) = fill_and_empty(Volume::Tmpfs, 24, 20_000, killed) else {
            return;
        };
        assert!(accepted > 100, "{accepted}");
    }
}

#[test]
fn a_small_card_that_waiting_alerts_have_filled_is_emptied_again_after_a_kill() {
    if let Some(accepted) = fill_and_empty(Volume::Ext4, 32, 20_000, true) {
        assert!(accepted > 100, "{accepted}");
    }
}

/// A store on a volume of `mib`, filled with records of `bytes` as alerts fill it, and then used as the delivery of
/// each uses it: its record is written twice more, its recipient's ratchet is, and the journal grows. Nothing of that
/// is ever refused, and afterwards there is room again. Returns how many records it took.
fn drain_of_a_store(mib: usize, bytes: usize, killed: bool) -> Option<u32> {
    let place = tempfile::tempdir().unwrap();
    let mount = Mount::tmpfs(&place.path().join("state"), &format!("{mib}m"))?;
    let mut store = Store::open(&mount.0, 8 << 20).unwrap();
    let outbox = |batch: &mut Batch, number: u32| {
        let value = (0..bytes).map(|at| (at as u32 ^ number) as u8).collect();
        batch.put(Tree::Outbox, &number.to_be_bytes(), value).unwrap();
    };
    let journal = |batch: &mut Batch, number: u32| {
        batch.put(Tree::Journal, &number.to_be_bytes(), vec![1; 50]).unwrap();
        batch.delete(Tree::Journal, &number.wrapping_sub(10_000).to_be_bytes());
    };
    let mut accepted = 0;
    // As the outbox: no more than these may wait.
    while accepted < 10_000 {
        let mut batch = Batch::new();
        outbox(&mut batch, accepted);
        journal(&mut batch, accepted);
        match smol::block_on(store.update_new(move |_| Ok((batch, ())))) {
            Ok(()) => accepted += 1,
            Err(StoreError::Full(_)) => {
                assert!(
                    matches!(store.short_of_room(), Some(StoreError::Full(_))),
                    "health disagrees"
                );
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    if killed {
        // A killed process leaves the log as it is at this moment; an index that it was about to write is good for
        // nothing.
        let left = place.path().join("left");
        std::fs::create_dir(&left).unwrap();
        copy_logs(&mount.0, &left);
        drop(store);
        std::fs::remove_dir_all(mount.0.join("db")).or_else(absent).unwrap();
        logs(&mount.0).for_each(|log| std::fs::remove_file(log).unwrap());
        copy_logs(&left, &mount.0);
        store = Store::open(&mount.0, 8 << 20).unwrap();
    }
    for number in 0..accepted {
        let mut sent = Batch::new();
        sent.put(Tree::Session, &[number as u8 % 10], vec![number as u8; 3000])
            .unwrap();
        outbox(&mut sent, number);
        journal(&mut sent, 20_000 + 2 * number);
        let mut delivered = Batch::new();
        outbox(&mut delivered, number);
        journal(&mut delivered, 20_001 + 2 * number);
        for batch in [sent, delivered] {
            if let Err(error) = smol::block_on(store.commit(batch)) {
                panic!("{mib} MB, {bytes} B, killed {killed}: {number} of {accepted} went out: {error}");
            }
        }
    }
    let mut forgotten = Batch::new();
    for number in 0..accepted {
        forgotten.delete(Tree::Outbox, &number.to_be_bytes());
    }
    smol::block_on(store.commit(forgotten)).unwrap();
    // By the rotation that follows, perhaps.
    let deadline = Instant::now() + SOON;
    while let Some(short) = store.short_of_room() {
        assert!(Instant::now() < deadline, "{mib} MB, {bytes} B: {short}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
    assert_eq!(store.view().scan(Tree::Outbox, b"").count(), 0);
    Some(accepted)
}

fn logs(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let is_log = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("log.");
    entries.into_iter().filter(is_log)
}

fn copy_logs(from: &Path, to: &Path) {
    for log in logs(from) {
        // Not a copy by the kernel, which may leave holes where zeros are laid down for the log.
        std::fs::write(to.join(log.file_name().unwrap()), std::fs::read(&log).unwrap()).unwrap();
    }
}

fn absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

#[test]
fn what_a_small_volume_has_taken_can_always_be_finished() {
    // With more than 10 000 small ones the bound of the outbox would come first.
    for (mib, bytes) in [(24, 1000), (24, 20_000), (32, 1000), (48, 2000), (64, 20_000)] {
        // With a kill each takes a minute more, in which sled's threads sleep: so only when asked for.
        let kills = std::env::var_os("TAUTLINE_FILL").map_or(&[false][..], |_| &[false, true]);
        for &killed in kills {
            let began = Instant::now();
            let Some(accepted) = drain_of_a_store(mib, bytes, killed) else {
                return;
            };
            println!(
                "{mib} MB, records of {bytes} B, killed {killed}: {accepted} in {:?}",
                began.elapsed()
            );
            let share = accepted as usize * bytes * 20 / (mib << 20);
            assert!(share >= 2, "{mib} MB took {accepted} of {bytes} B");
        }
    }
}

/// One case; all sizes: `TAUTLINE_FILL=24,32,48,64 cargo test --features lab --test it filled:: -- --nocapture` takes
/// half an hour.
#[test]
fn volumes_and_alerts_of_any_size_empty_again() {
    let Ok(sizes) = std::env::var("TAUTLINE_FILL") else {
        fill_and_empty(Volume::Tmpfs, 24, 2000, true);
        return;
    };
    let alerts = std::env::var("TAUTLINE_FILL_BYTES").unwrap_or("200,1000,20000".into());
    for mib in sizes.split(',').filter(|size| !size.is_empty()) {
        for bytes in alerts.split(',') {
            for (volume, killed) in [Volume::Tmpfs, Volume::Ext4]
                .into_iter()
                .flat_map(|volume| [(volume, false), (volume, true)])
            {
                fill_and_empty(volume, mib.parse().unwrap(), bytes.parse().unwrap(), killed);
            }
        }
    }
}
