//! What durability costs, beside what the disk itself can do in the same run, and beside what we want:
//! `cargo bench --features lab --bench store`.
//!
//! `TAUTLINE_BENCH_DIR` says on which disk. Device bytes are counted for the whole device, so they are right only where
//! nothing else writes to it: a loop mount is such a place.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tautline::alert::{Alert, Recipient, SessionName};
use tautline::outbox::{
    AcceptRequest, Input, Limits, MessageId, NewAlert, Now, Outbox, Output, ReceiptKind, Timestamp,
};
use tautline::store::{Batch, Store, Tree, journal, outbox};

const MEASURED: Duration = Duration::from_secs(3);
const TURNS: u32 = 15;
const IDLE: Duration = Duration::from_secs(60);
/// After the last commit, before an idle minute begins.
const SETTLE: Duration = Duration::from_secs(10);
/// As large as an alert's record.
const VALUE_BYTES: usize = 300;
const RECORDS: u32 = 5000;
/// Each in a process of its own: a process that has done something else has another memory.
const OPEN: &str = "TAUTLINE_BENCH_OPEN";

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let real = std::env::args().any(|argument| argument == "--bench");
    let (measured, settle, idle) = match real {
        true => (MEASURED, SETTLE, IDLE),
        false => (Duration::from_millis(50), Duration::ZERO, Duration::from_millis(50)),
    };
    if let Some(state) = std::env::var_os(OPEN) {
        return open(Path::new(&state), settle, idle);
    }
    let place = std::env::var_os("TAUTLINE_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let directory = place.join(format!("tautline-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    rates(&directory, measured);
    alerts(&directory.join("alerts"));
    let state = directory.join("state-5000");
    fill(&state);
    let opened = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(real.then_some("--bench"))
        .env(OPEN, &state)
        .status();
    assert!(opened.expect("it starts").success());
    std::fs::remove_dir_all(&directory).expect("to clean up");
}

/// Prints one figure and what is wanted of it.
fn say(what: &str, figure: f64, unit: &str, goal: &str, reached: bool) {
    let verdict = if reached { "reached" } else { "MISSED" };
    println!("{what}: {figure:.2} {unit} (wanted: {goal}; {verdict})");
}

/// In turns: a disk is not as fast in one second as in the next.
fn rates(directory: &Path, measured: Duration) {
    let turn = measured / TURNS;
    let open = |name| Store::open(&directory.join(name), 1 << 20).expect("a store");
    let (of_one, of_many) = (open("one"), open("many"));
    let mut overwrites = Overwrites::new(directory);
    let (mut disk, mut one, mut many) = (Rate::default(), Rate::default(), Rate::default());
    let appends = appends(directory, measured);
    for _ in 0..TURNS {
        disk.add(directory, || overwrites.go_on(turn));
        one.add(directory, || commits(&of_one, 1, turn));
        many.add(directory, || commits(&of_many, 64, turn));
    }
    println!(
        "disk: {appends:.0} appends and {:.0} overwrites with fdatasync a second",
        disk.a_second()
    );
    for (writers, rate) in [(1, &mut one), (64, &mut many)] {
        println!(
            "{writers} writers: {:.0} commits a second, p99 {:.2} ms, {:.0} device bytes a commit",
            rate.a_second(),
            rate.p99().as_secs_f64() * 1e3,
            rate.bytes as f64 / rate.times.len() as f64
        );
    }
    let share = one.a_second() / disk.a_second();
    say("one writer", share, "of the disk's rate", ">= 0.8", share >= 0.8);
    let times = many.a_second() / one.a_second();
    say("64 writers", times, "times one", ">= 10", times >= 10.0);
}

/// What some turns came to.
#[derive(Default)]
struct Rate {
    times: Vec<Duration>,
    took: Duration,
    /// Bytes that the device has written.
    bytes: u64,
}

impl Rate {
    fn add(&mut self, directory: &Path, turn: impl FnOnce() -> Vec<Duration>) {
        // What the turn before has left to the kernel is not this one's.
        sync(directory);
        let (before, started) = (device_bytes(directory), Instant::now());
        self.times.extend(turn());
        self.took += started.elapsed();
        self.bytes += device_bytes(directory) - before;
    }

    fn a_second(&self) -> f64 {
        self.times.len() as f64 / self.took.as_secs_f64()
    }

    /// The time that 99 of 100 stayed under.
    fn p99(&mut self) -> Duration {
        self.times.sort_unstable();
        let at = self.times.len() * 99 / 100;
        self.times.get(at).copied().unwrap_or_default()
    }
}

/// The outbox's own records through all their steps, each change written by itself when alone, and as the relay gathers
/// them in a burst. The keys of the messages are not in it.
fn alerts(state: &Path) {
    let store = Store::open(state, 1 << 20).expect("a store");
    let mut way = Way::new(store.clone());
    // The first write lays down zeros.
    way.go(1);
    for (count, rounds, name, goal) in [
        (1, 30, "an alert alone, all steps", 24.0),
        (100, 5, "an alert in a burst of 100, all steps", 4.0),
    ] {
        sync(state);
        let before = device_bytes(state);
        for _ in 0..rounds {
            way.go(count);
        }
        sync(state);
        let kib = (device_bytes(state) - before) as f64 / 1024.0 / f64::from(count * rounds);
        say(name, kib, "KiB of the device", &format!("<= {goal}"), kib <= goal);
    }
}

struct Way {
    store: Store,
    outbox: Outbox,
    session: SessionName,
    next: u32,
}

impl Way {
    fn new(store: Store) -> Self {
        let session: SessionName = "default".parse().expect("a name");
        let mut outbox = Outbox::new(Limits::default(), 1, |seq, _| MessageId(format!("3EB0{seq:016X}")));
        outbox.handle(now(), Input::SessionUp(session.clone()));
        Self {
            store,
            outbox,
            session,
            next: 0,
        }
    }

    /// Takes `count` alerts, which come at the same time, from their acceptance to delivery.
    fn go(&mut self, count: u32) {
        let accepted: Vec<u64> = (0..count).map(|_| self.accept()).collect();
        let store = self.store.clone();
        let executor = smol::LocalExecutor::new();
        let write = |seq: &u64| {
            let mut new = outbox::New::default();
            let record = self.outbox.record(*seq).expect("it was accepted");
            new.add(record).expect("it fits");
            new.write(&store)
        };
        let writes: Vec<_> = accepted.iter().map(|seq| executor.spawn(write(seq))).collect();
        smol::block_on(executor.run(async {
            for write in writes {
                write.await.expect("it is accepted");
            }
        }));
        for seq in accepted {
            self.outbox.handle(now(), Input::Durable { seq });
        }
        let mut sent = self.outputs();
        // Each step in turn of as many as may be under way: what the relay gathers in its window goes into one
        // transaction.
        while !sent.is_empty() {
            let mut next = Vec::new();
            for input in [Self::written, Self::acked, Self::delivered] {
                for id in &sent {
                    let input = input(self, id);
                    self.outbox.handle(now(), input);
                }
                next.extend(self.outputs());
            }
            sent = next;
        }
    }

    /// Its number, which is also that of its message.
    fn accept(&mut self) -> u64 {
        self.next += 1;
        let request = AcceptRequest {
            route: "ops".parse().expect("a name"),
            session: self.session.clone(),
            to: vec![recipient(self.next)],
            alerts: vec![NewAlert {
                follows: None,
                id: format!("{:012}", self.next),
                alert: Alert {
                    title: "A disk fills up".into(),
                    text: "/var is 91 % full on the machine in the cellar".into(),
                    ..Alert::default()
                },
            }],
        };
        self.outbox.accept(now(), request).expect("there is room");
        u64::from(self.next)
    }

    /// Writes what has changed, and returns the messages to be sent now.
    fn outputs(&mut self) -> Vec<MessageId> {
        let mut sent = Vec::new();
        let (mut batch, mut told) = (Batch::new(), Vec::new());
        while let Some(output) = self.outbox.poll_output() {
            match output {
                Output::Send { message, .. } => sent.push(message.id),
                Output::Persist { record, happened, .. } => {
                    outbox::put(&mut batch, &record).expect("it fits");
                    told.extend(happened.into_iter().map(journal::Entry::from));
                }
                Output::Forget { seq, key, happened } => {
                    outbox::forget(&mut batch, seq);
                    if let Some(key) = key {
                        outbox::put_key(&mut batch, &key).expect("it fits");
                    }
                    told.extend(happened.into_iter().map(journal::Entry::from));
                }
                Output::ForgetKey { seq } => outbox::forget_key(&mut batch, seq),
                Output::Changed { .. }
                | Output::Due { .. }
                | Output::Suspect { .. }
                | Output::SendAgain { .. }
                | Output::HandOver(_)
                | Output::FollowUp { .. }
                | Output::Mark { .. } => {}
            }
        }
        smol::block_on(journal::commit(&self.store, batch, told)).expect("a commit");
        sent
    }

    fn written(&self, id: &MessageId) -> Input {
        Input::Written { message_id: id.clone() }
    }

    fn acked(&self, id: &MessageId) -> Input {
        Input::ServerAck {
            session: self.session.clone(),
            message_id: id.clone(),
            error: None,
        }
    }

    fn delivered(&self, id: &MessageId) -> Input {
        let number = u32::from_str_radix(&id.0[4..], 16).expect("the id of `accept`");
        Input::Receipt {
            session: self.session.clone(),
            message_id: id.clone(),
            kind: ReceiptKind::Delivered,
            from: vec![recipient(number)],
        }
    }
}

fn recipient(number: u32) -> Recipient {
    format!("+1555010{:04}", number % 100).parse().expect("a number")
}

fn now() -> Now {
    Now {
        mono: Instant::now(),
        wall: Timestamp(1_767_225_600_000),
    }
}

fn fill(state: &Path) {
    let store = Store::open(state, 1 << 20).expect("a store");
    for chunk in 0..RECORDS / 100 {
        let mut batch = Batch::new();
        for key in 0..100_u32 {
            let key = (chunk * 100 + key).to_be_bytes();
            batch.put(Tree::Meta, &key, vec![1; VALUE_BYTES]).expect("it fits");
        }
        smol::block_on(store.commit(batch)).expect("a commit");
    }
}

/// What an open store costs, in a process that has done nothing else.
fn open(state: &Path, settle: Duration, idle: Duration) {
    let (resident, anonymous) = (status("VmRSS:"), status("RssAnon:"));
    let started = Instant::now();
    let store = Store::open(state, 1 << 20).expect("a store");
    let took = started.elapsed().as_secs_f64() * 1e3;
    say("open with 5000 records", took, "ms", "<= 100", took <= 100.0);
    let added = (status("VmRSS:") - resident) as f64 / 1024.0;
    say("resident memory added", added, "MiB", "<= 5", added <= 5.0);
    let of_which = status("RssAnon:").saturating_sub(anonymous) as f64 / 1024.0;
    println!("of which anonymous: {of_which:.1} MiB");
    // One commit, so that a thread that waits for more would show.
    let mut batch = Batch::new();
    batch.put(Tree::Meta, b"x", vec![1]).expect("it fits");
    smol::block_on(store.commit(batch)).expect("a commit");
    // The log is sealed after five seconds, and sled's threads fill up the buffer that opening it began.
    std::thread::sleep(settle);
    let (switches, bytes) = (all_switches(), own_bytes());
    std::thread::sleep(idle);
    // Both before anything is printed, perhaps into a file.
    let (switches, written) = (all_switches() - switches, (own_bytes() - bytes) as f64);
    // This thread has slept once.
    let a_minute = switches.saturating_sub(1) as f64 * 60.0 / idle.as_secs_f64();
    say("idle wake-ups", a_minute, "a minute", "<= 15", a_minute <= 15.0);
    say("idle writes", written, "bytes", "0", written == 0.0);
}

fn appends(directory: &Path, measured: Duration) -> f64 {
    let mut file = File::create(directory.join("appends")).expect("a file");
    let (started, mut count) = (Instant::now(), 0);
    while started.elapsed() < measured {
        file.write_all(&[1; VALUE_BYTES]).expect("a write");
        file.sync_data().expect("a sync");
        count += 1;
    }
    f64::from(count) / started.elapsed().as_secs_f64()
}

/// What the log does to the disk, and nothing else.
struct Overwrites {
    file: File,
    at: u64,
}

impl Overwrites {
    const BYTES: u64 = 1 << 20;

    fn new(directory: &Path) -> Self {
        let mut file = File::create(directory.join("overwrites")).expect("a file");
        file.write_all(&vec![0; Self::BYTES as usize]).expect("a write");
        file.sync_all().expect("a sync");
        Self { file, at: 0 }
    }

    fn go_on(&mut self, measured: Duration) -> Vec<Duration> {
        let started = Instant::now();
        let mut times = Vec::new();
        while started.elapsed() < measured {
            let begun = Instant::now();
            self.file.write_all_at(&[1; VALUE_BYTES], self.at).expect("a write");
            self.file.sync_data().expect("a sync");
            self.at = (self.at + VALUE_BYTES as u64) % Self::BYTES;
            times.push(begun.elapsed());
        }
        times
    }
}

/// How long each commit of `writers` took.
fn commits(store: &Store, writers: u32, measured: Duration) -> Vec<Duration> {
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
    smol::block_on(executor.run(async {
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await);
        }
        all
    }))
}

/// Bytes that the device under `path` has written, for whoever asked: other programs on it count too. What `/proc`
/// counts for a process is whole folios, of which the device gets the changed blocks only.
fn device_bytes(path: &Path) -> u64 {
    let device = std::fs::metadata(path).map_or(0, |metadata| metadata.dev());
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let text = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).unwrap_or_default();
    text.split_whitespace()
        .nth(6)
        .and_then(|word| word.parse().ok())
        .map_or(0, |sectors: u64| sectors * 512)
}

/// Everything that waits in the kernel goes to the device.
fn sync(path: &Path) {
    let _ = Command::new("sync").arg("-f").arg(path).status();
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
