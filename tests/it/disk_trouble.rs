//! The built program on disks that fill up, become read-only or fail: as real mounts, and with errors that `strace`
//! puts in the place of single system calls. Where nothing may be mounted or traced these tests say so and end; the
//! same faults on a simulated disk are in `tests/parts/store`.

mod filled;
mod injected;
mod misplaced;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::lab::{Lab, Phone};
use crate::support::{Relay, SOON, Site, finding, pair_by_qr};
use tautline::store::{Batch, Store, Tree};

const OWNER: &str = "15550100001";
const FRIEND: &str = "15550100002";

/// A file system of the test's own; unmounted with it.
struct Mount(PathBuf);

impl Mount {
    fn try_new(place: &Path, arguments: &[&str]) -> Option<Self> {
        std::fs::create_dir_all(place).unwrap();
        let mounted = Command::new("mount").args(arguments).arg(place).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(place.to_owned())),
            why => {
                eprintln!("skipped, nothing can be mounted here: {why:?}");
                None
            }
        }
    }

    fn tmpfs(place: &Path, size: &str) -> Option<Self> {
        Self::try_new(
            place,
            &["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "tautline-test"],
        )
    }

    fn image(image: &Path, place: &Path) -> Option<Self> {
        let image = image.to_str().unwrap();
        Self::try_new(place, &["-t", "ext4", "-o", "loop,errors=remount-ro", image])
    }

    /// The loop device's name.
    fn device(&self) -> String {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        let place = format!(" {} ", self.0.display());
        let line = mounts.lines().find(|line| line.contains(&place)).unwrap();
        let device = line.split(' ').next().unwrap();
        device.rsplit('/').next().unwrap().to_owned()
    }

    /// What the device has written so far, in bytes, with all that waits in the kernel.
    fn bytes_written(&self) -> u64 {
        Command::new("sync").arg("-f").arg(&self.0).status().unwrap();
        let text = std::fs::read_to_string(format!("/sys/block/{}/stat", self.device())).unwrap();
        let sectors: u64 = text.split_whitespace().nth(6).unwrap().parse().unwrap();
        sectors * 512
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // At once, so that the image can be mounted anew; a process that is just ending may still hold it for a moment.
        // Then it goes when nobody holds it any more.
        let gone = |arguments: &[&str]| {
            let done = Command::new("umount").args(arguments).arg(&self.0).output();
            done.is_ok_and(|output| output.status.success())
        };
        let deadline = Instant::now() + SOON;
        while !gone(&[]) && Instant::now() < deadline && !std::thread::panicking() {
            std::thread::park_timeout(Duration::from_millis(2));
        }
        gone(&["-l"]);
    }
}

/// A new ext4 of `mib` in a file, without room taken for what is not used yet.
fn image(place: &Path, mib: u64) -> Option<PathBuf> {
    let image = place.join("image");
    let file = std::fs::File::create(&image).unwrap();
    file.set_len(mib << 20).unwrap();
    let made = Command::new("mkfs.ext4")
        .args(["-q", "-F", "-b", "4096"])
        .arg(&image)
        .output();
    match made {
        Ok(output) if output.status.success() => Some(image),
        why => {
            eprintln!("skipped, no ext4 can be made here: {why:?}");
            None
        }
    }
}

/// Takes every byte that is left, until dropped.
struct Filler(PathBuf);

impl Filler {
    fn fill(volume: &Path) -> Self {
        let path = volume.join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        Self(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

struct Scene {
    lab: Lab,
    owner: Phone,
    friend: Phone,
    site: Site,
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::start();
        let (owner, friend) = (lab.account(OWNER, "Owner"), lab.account(FRIEND, "Friend"));
        let site = Site::new(&lab.endpoint(), &[("friend", &["+15550100002"])]);
        Self {
            lab,
            owner,
            friend,
            site,
        }
    }

    /// A relay that is paired and has delivered one alert.
    fn start(&self) -> Relay {
        let relay = self.site.start();
        pair_by_qr(&self.site, |code| self.owner.scan(code).map(drop));
        relay.wait_online();
        let first = relay.publish("friend", "first");
        relay.wait_step(&first, "delivered");
        relay
    }

    fn texts(&self) -> Vec<String> {
        self.friend.received().into_iter().map(|message| message.text).collect()
    }
}

fn refused(relay: &Relay, http: u16, reason: &str) {
    let answer = relay.http("POST", "/friend", &[], b"refused");
    assert_eq!(answer.status, http, "{answer:?}");
    assert!(answer.body.contains(reason), "{answer:?}");
}

#[test]
fn on_a_full_disk_alerts_are_refused_and_the_line_stays_up() {
    let scene = Scene::new();
    let Some(_mount) = Mount::tmpfs(&scene.site.state(), "24m") else {
        return;
    };
    let relay = scene.start();
    let logins = scene.lab.counters().logins;
    let filler = Filler::fill(&scene.site.state());
    refused(&relay, 507, "no room");
    let status = relay.status();
    assert!(finding(&status, "store-full").is_some(), "{status:#}");

    // What comes in needs keys and records written: there is the reserve for that.
    let before = status["sessions"][0]["inbound_recorded"].as_u64().unwrap();
    for number in 0..20 {
        scene.friend.send_text(OWNER, &format!("from outside {number}"));
    }
    relay.wait_status("what came in was not recorded", |status| {
        status["sessions"][0]["inbound_recorded"] == before + 20
    });
    refused(&relay, 507, "no room");
    let status = relay.status();
    assert_eq!(status["sessions"][0]["state"], "online", "{status:#}");
    assert_eq!(scene.lab.counters().logins, logins, "the line was not broken");

    // By itself, without anybody publishing something.
    drop(filler);
    relay.wait_status("it does not recover", |status| finding(status, "store-full").is_none());
    let second = relay.publish("friend", "second");
    relay.wait_step(&second, "delivered");
    assert_eq!(scene.lab.counters().logins, logins);
    assert_eq!(relay.stop(), 0);
    assert_eq!(scene.texts(), ["first", "second"]);
}

#[test]
fn a_relay_starts_on_a_full_disk_and_holds_its_line() {
    let scene = Scene::new();
    let Some(_mount) = Mount::tmpfs(&scene.site.state(), "24m") else {
        return;
    };
    assert_eq!(scene.start().stop(), 0);
    let filler = Filler::fill(&scene.site.state());
    for _ in 0..3 {
        let relay = scene.site.start();
        relay.wait_online();
        refused(&relay, 507, "no room");
        relay.kill();
    }
    let relay = scene.site.start();
    relay.wait_online();
    drop(filler);
    relay.wait_status("it does not recover", |status| finding(status, "store-full").is_none());
    let second = relay.publish("friend", "second");
    relay.wait_step(&second, "delivered");
    // It had none meanwhile.
    let index = scene.site.state().join("db/db");
    let deadline = Instant::now() + SOON;
    while !index.exists() {
        assert!(Instant::now() < deadline, "the index does not come back to the disk");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(relay.stop(), 0);
    assert_eq!(scene.texts(), ["first", "second"]);
}

#[test]
fn a_full_or_read_only_disk_can_be_backed_up() {
    let scene = Scene::new();
    let state = scene.site.state();
    let Some(_mount) = Mount::tmpfs(&state, "24m") else {
        return;
    };
    let relay = scene.start();
    let filler = Filler::fill(&state);
    let backed_up = |name: &str| {
        let file = scene.site.path().join(name);
        let output = scene.site.run(&["store", "backup", file.to_str().unwrap()]);
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("session default, 1 alerts"), "{said}");
    };
    backed_up("running-full");
    assert_eq!(relay.stop(), 0);
    backed_up("stopped-full");
    drop(filler);
    let done = Command::new("mount").args(["-o", "remount,ro"]).arg(&state).status();
    assert!(done.unwrap().success());
    backed_up("stopped-read-only");
}

#[test]
fn a_state_directory_that_is_moved_away_ends_the_relay() {
    let scene = Scene::new();
    let mut relay = scene.start();
    let (state, away) = (scene.site.state(), scene.site.path().join("away"));
    std::fs::rename(&state, &away).unwrap();
    // Another write may have met it before, and then the relay is on its way out already.
    if let Ok(answer) = relay.try_http("POST", "/friend", &[], b"refused") {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.body.contains("moved away or removed"), "{answer:?}");
    }
    assert_eq!(relay.wait_end(), 1);
    assert!(relay.read_log().contains("moved away or removed"));
    // Put back, nothing is missing.
    std::fs::rename(&away, &state).unwrap();
    let relay = scene.site.start();
    relay.wait_online();
    let second = relay.publish("friend", "second");
    relay.wait_step(&second, "delivered");
    assert_eq!(relay.stop(), 0);
    assert_eq!(scene.texts(), ["first", "second"]);
}

#[test]
fn after_an_error_of_the_file_system_alerts_are_refused_and_nothing_is_lost() {
    let scene = Scene::new();
    let Some(image) = image(scene.site.path(), 64) else {
        return;
    };
    let state = scene.site.state();
    let Some(mount) = Mount::image(&image, &state) else {
        return;
    };
    std::fs::set_permissions(&state, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let relay = scene.start();
    let logins = scene.lab.counters().logins;
    // An alert that stays in the outbox over all this.
    scene.friend.set_auto_receipts(false, false);
    let kept = relay.publish("friend", "kept");
    relay.wait_step(&kept, "sent");
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    let device = mounts
        .lines()
        .find(|line| line.contains(state.to_str().unwrap()))
        .unwrap();
    let device = device.split(' ').next().unwrap().rsplit('/').next().unwrap();
    if let Err(error) = std::fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1") {
        eprintln!("skipped, the kernel makes no errors on demand here: {error}");
        return;
    }
    refused(&relay, 503, "read-only");
    refused(&relay, 503, "read-only");
    let status = relay.status();
    assert!(finding(&status, "store-read-only").is_some(), "{status:#}");
    assert_eq!(status["sessions"][0]["state"], "online", "{status:#}");
    assert_eq!(scene.lab.counters().logins, logins, "the line was not broken");
    relay.stop();
    drop(mount);

    let _mount = Mount::image(&image, &state).expect("it was mounted before");
    let relay = scene.site.start();
    relay.wait_online();
    let second = relay.publish("friend", "second");
    relay.wait_step(&second, "sent");
    let alert = relay.http("GET", &format!("/v1/alerts/{kept}"), &[], b"");
    assert_eq!(alert.status, 200, "{alert:?}");
    scene.friend.wait_received(3, SOON);
    assert_eq!(relay.stop(), 0);
    assert_eq!(scene.texts(), ["first", "kept", "second"]);
}

#[test]
fn after_a_failed_sync_the_relay_ends_and_has_all_it_acknowledged() {
    let scene = Scene::new();
    let below = scene.site.path().join("below");
    let Some(_below) = Mount::tmpfs(&below, "16m") else {
        return;
    };
    let Some(image) = image(&below, 64) else { return };
    let state = scene.site.state();
    let Some(mount) = Mount::image(&image, &state) else {
        return;
    };
    let mut relay = scene.start();
    // The device cannot write what it never has before: what the file system gives out from now on fails at the sync.
    let filler = Filler::fill(&below);
    let mut acknowledged = vec!["first".to_owned()];
    let text = "x".repeat(40_000);
    loop {
        let body = format!("{} {text}", acknowledged.len());
        match relay.try_http("POST", "/friend", &[], body.as_bytes()) {
            Ok(answer) if answer.status == 200 => acknowledged.push(body),
            Ok(answer) => {
                assert_eq!(answer.status, 503, "{answer:?}");
                assert!(answer.body.contains("can no longer be written"), "{answer:?}");
                break;
            }
            Err(_) => break,
        }
        assert!(acknowledged.len() < 1000, "the disk does not fail");
    }
    assert_eq!(relay.wait_end(), 1, "{}", relay.read_log());
    assert!(relay.read_log().contains("can no longer be written"));
    drop(filler);
    drop(mount);

    let _mount = Mount::image(&image, &state).expect("it was mounted before");
    let relay = scene.site.start();
    relay.wait_online();
    scene.friend.wait_received(acknowledged.len(), SOON);
    let texts = scene.texts();
    assert!(
        texts.starts_with(&acknowledged),
        "{} of {}",
        texts.len(),
        acknowledged.len()
    );
    drop(relay);
}

/// Everything that the device writes, the file system's own journal included, from the publishing to the last receipt.
#[test]
fn an_alert_costs_the_device_little() {
    let scene = Scene::new();
    let Some(image) = image(scene.site.path(), 64) else {
        return;
    };
    let Some(mount) = Mount::image(&image, &scene.site.state()) else {
        return;
    };
    let relay = scene.start();
    // The first write after a start lays down zeros, and a first message makes a session: neither is an alert's cost.
    relay.wait_step(&relay.publish("friend", "another"), "delivered");
    const ALONE: u64 = 20;
    let before = mount.bytes_written();
    for number in 0..ALONE {
        let id = relay.publish("friend", &format!("alone {number}"));
        relay.wait_step(&id, "delivered");
    }
    let alone = (mount.bytes_written() - before) / ALONE;

    const BURST: u64 = 100;
    let before = mount.bytes_written();
    let ids: Vec<String> = std::thread::scope(|scope| {
        let publish = |number| relay.publish("friend", &format!("together {number}"));
        let tasks: Vec<_> = (0..BURST).map(|number| scope.spawn(move || publish(number))).collect();
        tasks.into_iter().map(|task| task.join().unwrap()).collect()
    });
    for id in &ids {
        relay.wait_step(id, "delivered");
    }
    let together = (mount.bytes_written() - before) / BURST;
    println!("device bytes an alert: {alone} alone, {together} in a burst of {BURST}");
    // Twice what they are as a rule: when the file system writes its journal is its own affair, and a burst that a busy
    // machine draws out has more moments in which something is written.
    assert!(alone < 30_000 && together < 6_000, "{alone}, {together}");
    assert_eq!(relay.stop(), 0);
}

/// sled waits for ever where it finds no room, in the middle of a read too. So a start without an index must know
/// beforehand whether the volume has room for one.
#[test]
fn a_start_on_a_volume_of_any_size_does_not_hang() {
    let place = tempfile::tempdir().unwrap();
    let full = place.path().join("full");
    let store = Store::open(&full, 1 << 20).unwrap();
    for number in 0..300_u32 {
        let mut batch = Batch::new();
        batch.put(Tree::Outbox, &number.to_be_bytes(), vec![1; 20_000]).unwrap();
        smol::block_on(store.commit(batch)).unwrap();
    }
    drop(store);
    let logs = std::fs::read_dir(&full).unwrap().map(|entry| entry.unwrap().path());
    let log = logs
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("log."))
        .max_by_key(|path| std::fs::metadata(path).unwrap().modified().unwrap())
        .unwrap();
    let log_kib = std::fs::metadata(&log).unwrap().len() / 1024;
    let mut on_disk = 0;
    for over_kib in (3 * 1024..30 * 1024).step_by(768) {
        let state = place.path().join(over_kib.to_string());
        let Some(_mount) = Mount::tmpfs(&state, &format!("{}k", log_kib + over_kib)) else {
            return;
        };
        std::fs::copy(&log, state.join(log.file_name().unwrap())).unwrap();
        let (answer, answered) = std::sync::mpsc::channel();
        let path = state.clone();
        std::thread::spawn(move || {
            let store = Store::open(&path, 1 << 20).unwrap();
            let mut batch = Batch::new();
            batch.put(Tree::Meta, b"more", vec![1; 20_000]).unwrap();
            smol::block_on(store.commit(batch)).unwrap();
            let found = store.view().scan(Tree::Outbox, &[]).filter(Result::is_ok).count();
            let on_disk = path.join("db").exists();
            drop(store);
            answer.send((found, on_disk)).unwrap();
        });
        let (found, has_index) = answered.recv_timeout(SOON).expect("it answers");
        assert_eq!(found, 300, "{over_kib} KiB");
        on_disk += usize::from(has_index);
    }
    assert!(on_disk > 0, "the largest has room for it");
}
