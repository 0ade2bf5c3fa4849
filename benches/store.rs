//! What durability costs, beside what the disk itself can do in the same run: `cargo bench --features lab --bench store`.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tautline::store::{Batch, Store, Tree};

const MEASURED: Duration = Duration::from_secs(3);
/// As large as an alert's record.
const VALUE_BYTES: usize = 300;

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let measured = if std::env::args().any(|argument| argument == "--bench") {
        MEASURED
    } else {
        Duration::from_millis(50)
    };
    let place = std::env::var_os("TAUTLINE_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let directory = place.join(format!("tautline-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    bench(&directory, measured);
    std::fs::remove_dir_all(&directory).expect("to clean up");
}

fn bench(directory: &Path, measured: Duration) {
    let resident = status("VmRSS:");
    println!("disk: {:.0} appends with fdatasync/s", appends(directory, measured));
    println!(
        "disk: {:.0} overwrites with fdatasync/s",
        overwrites(directory, measured)
    );
    let state = directory.join("state");
    let store = Store::open(&state, 1 << 20).expect("a store");
    for writers in [1, 64] {
        let before = device_bytes(directory);
        let (commits, seconds, worst) = commits(&store, writers, measured);
        let bytes = (device_bytes(directory) - before) as f64 / commits as f64;
        println!(
            "{writers} writers: {:.0} commits/s, p99 {:.2} ms, {bytes:.0} device bytes a commit",
            commits as f64 / seconds,
            worst.as_secs_f64() * 1e3
        );
    }
    drop(store);
    let state = directory.join("state-5000");
    let store = Store::open(&state, 1 << 20).expect("a store");
    for chunk in 0..50 {
        let mut batch = Batch::new();
        for key in 0..100_u32 {
            let key = (chunk * 100 + key).to_be_bytes();
            batch.put(Tree::Meta, &key, vec![1; VALUE_BYTES]).expect("it fits");
        }
        smol::block_on(store.commit(batch)).expect("a commit");
    }
    drop(store);
    let started = Instant::now();
    let store = Store::open(&state, 1 << 20).expect("a store");
    println!(
        "open with 5000 records: {:.1} ms",
        started.elapsed().as_secs_f64() * 1e3
    );
    println!("resident: {} KiB, {resident} KiB before all", status("VmRSS:"));
    let (switches, bytes) = (all_switches(), own_bytes());
    std::thread::sleep(measured * 4);
    let minutes = measured.as_secs_f64() * 4.0 / 60.0;
    println!(
        "idle: {:.0} wake-ups a minute, {} bytes written",
        (all_switches() - switches) as f64 / minutes,
        own_bytes() - bytes
    );
    drop(store);
}

fn appends(directory: &Path, measured: Duration) -> f64 {
    let mut file = File::create(directory.join("appends")).expect("a file");
    rate(measured, || {
        file.write_all(&[1; VALUE_BYTES]).expect("a write");
        file.sync_data().expect("a sync");
    })
}

fn overwrites(directory: &Path, measured: Duration) -> f64 {
    let mut file = File::create(directory.join("overwrites")).expect("a file");
    file.write_all(&vec![0; 1 << 20]).expect("a write");
    file.sync_all().expect("a sync");
    let mut at = 0;
    rate(measured, || {
        file.seek(SeekFrom::Start(at)).expect("a seek");
        file.write_all(&[1; VALUE_BYTES]).expect("a write");
        file.sync_data().expect("a sync");
        at = (at + VALUE_BYTES as u64) % (1 << 20);
    })
}

fn rate(measured: Duration, mut once: impl FnMut()) -> f64 {
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < measured {
        once();
        count += 1;
    }
    f64::from(count) / started.elapsed().as_secs_f64()
}

/// How many commits `writers` made, in how many seconds, and the time that 99 of 100 stayed under.
fn commits(store: &Store, writers: u32, measured: Duration) -> (usize, f64, Duration) {
    let executor = smol::LocalExecutor::new();
    let started = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            executor.spawn(async move {
                let mut times = Vec::new();
                while started.elapsed() < measured {
                    let key = (writer * 1000 + times.len() as u32 % 100).to_be_bytes();
                    let mut batch = Batch::new();
                    batch.put(Tree::Meta, &key, vec![1; VALUE_BYTES]).expect("it fits");
                    let begun = Instant::now();
                    store.commit(batch).await.expect("a commit");
                    times.push(begun.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times: Vec<Duration> = smol::block_on(executor.run(async {
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await);
        }
        all
    }));
    times.sort_unstable();
    let worst = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
    (times.len(), started.elapsed().as_secs_f64(), worst)
}

/// Bytes that the device under `path` has written, for whoever asked: other programs on it count too. What `/proc` counts
/// for a process is whole folios, of which the device gets the changed blocks only.
fn device_bytes(path: &Path) -> u64 {
    let device = std::fs::metadata(path).map_or(0, |metadata| metadata.dev());
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let text = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).unwrap_or_default();
    text.split_whitespace()
        .nth(6)
        .and_then(|word| word.parse().ok())
        .map_or(0, |sectors: u64| sectors * 512)
}

/// What this process alone has written, in whole folios: right for telling whether it wrote at all.
fn own_bytes() -> u64 {
    number_after("/proc/self/io", "\nwrite_bytes:")
}

fn status(field: &str) -> u64 {
    number_after("/proc/self/status", field)
}

fn all_switches() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc").flatten();
    let files = tasks.map(|task| task.path().join("status").display().to_string());
    files
        .map(|file| number_after(&file, "\nvoluntary_ctxt_switches:"))
        .sum()
}

fn number_after(file: &str, field: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let rest = text.split(field).nth(1).unwrap_or_default();
    rest.split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}
