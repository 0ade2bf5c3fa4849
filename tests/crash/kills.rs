//! A process that writes, killed at random moments, checked against what it acknowledged. `examples/crash_store.rs`
//! runs the same for longer.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use tautline::store::log::{Limits, RealDisk};
use tautline::store::{Batch, Store, Tree};

/// Names the directory for the process that writes.
pub const DIRECTORY: &str = "TAUTLINE_TEST_STORE";

const KEYS: u8 = 6;
const LINE: &str = "acknowledged ";

fn open(directory: &Path) -> Store {
    // Rotates every few dozen transactions.
    let limits = Limits {
        rotate_bytes_min: 16 * 1024,
        ..Limits::default()
    };
    let disk = Arc::new(RealDisk::new(directory.to_owned()));
    Store::open_on(directory, 1 << 20, disk, limits).expect("the store opens")
}

/// The number of the last transaction; all keys of it must agree.
fn number(store: &Store) -> u64 {
    let value = |key: u8| {
        let value = store.view().get(Tree::Meta, &[key]).unwrap();
        value.map_or(0, |value| u64::from_be_bytes(*value.first_chunk().unwrap()))
    };
    let number = value(0);
    for key in 1..KEYS {
        assert_eq!(value(key), number, "half a transaction");
    }
    number
}

/// Writes until it is killed, and says what was acknowledged.
pub fn write(directory: &Path) {
    let store = open(directory);
    let mut next = number(&store);
    loop {
        next += 1;
        let mut batch = Batch::new();
        for key in 0..KEYS {
            let mut value = next.to_be_bytes().to_vec();
            value.resize(8 + (next as usize * 37 + usize::from(key)) % 200, 1);
            batch.put(Tree::Meta, &[key], value).unwrap();
        }
        smol::block_on(store.commit(batch)).unwrap();
        // Whole lines only, and never kept back.
        let written = std::io::stdout()
            .lock()
            .write_all(format!("\n{LINE}{next}\n").as_bytes());
        if written.is_err() {
            return;
        }
    }
}

/// Starts `writer` (which calls [`write`]) `kills` times and kills it. Returns how many transactions were acknowledged.
pub fn kill_often(kills: u32, seed: u64, writer: impl Fn() -> Command) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut acknowledged = 0;
    for round in 0..kills {
        let mut child = writer()
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, receiver) = channel();
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(number) = line.strip_prefix(LINE) {
                    let _ = sender.send(number.parse::<u64>().unwrap());
                }
            }
        });
        // Some while it opens, most while it writes.
        let deadline = Instant::now() + Duration::from_micros(random.u64(500..90_000));
        let mut last = acknowledged;
        loop {
            match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(number) => last = number,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => panic!("the writer ended by itself in round {round}"),
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        last = receiver.iter().last().unwrap_or(last);
        let found = number(&open(directory.path()));
        assert!(
            found == last || found == last + 1,
            "seed {seed}, round {round}: found {found}, acknowledged {last}"
        );
        acknowledged = found;
    }
    acknowledged
}
