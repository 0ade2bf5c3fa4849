//! Where a relay's words for stderr go: into a bounded queue, which a thread of its own writes. stderr may be a pipe
//! that nobody reads, or a terminal that was stopped with Ctrl-S; a write to it then never returns, and must not hold
//! the executor.
//!
//! > As long as somebody reads, every line comes out, in its order: whoever adds a line to a full queue waits for room
//! > as he would for the pipe. Once the reader has stood still for [`PATIENCE`], lines are dropped and counted instead,
//! > until half of the queue has been read.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::util::lock;

/// What may wait, in bytes: four pipes full. About 2000 lines.
const BYTES_MAX: usize = 256 * 1024;

/// How long a line waits for room before the reader passes for gone. One that is only slow reads something meanwhile.
const PATIENCE: Duration = Duration::from_millis(100);

/// Between two tries of a stream that somebody else has made non-blocking.
const AGAIN: Duration = Duration::from_millis(20);

/// Clones share the queue and its thread.
#[derive(Clone)]
pub(super) struct Outlet {
    shared: Arc<Shared>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    /// A line was added, or one was written.
    changed: Condvar,
    /// The line that says how many were lost.
    lost_words: fn(u64) -> String,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    /// The size of the lines and of the one that is being written.
    bytes: usize,
    /// The thread is in a write.
    writing: bool,
    /// Nobody reads.
    stalled: bool,
    /// Since the last line that was taken.
    lost: u64,
}

impl Outlet {
    /// Starts the thread that writes into `sink`.
    ///
    /// # Errors
    /// There can be no thread.
    pub(super) fn start(sink: impl Write + Send + 'static, lost_words: fn(u64) -> String) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            lost_words,
        });
        let served = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("words".into())
            .stack_size(128 * 1024)
            .spawn(move || served.serve(sink))?;
        Ok(Self { shared })
    }

    /// Hands over whole lines. Takes [`PATIENCE`] at the most.
    pub(super) fn add(&self, lines: &[u8]) {
        let shared = &*self.shared;
        let mut waiting = lock(&shared.waiting);
        let fits = |waiting: &Waiting| waiting.bytes == 0 || waiting.bytes + lines.len() <= BYTES_MAX;
        if !waiting.stalled && !fits(&waiting) {
            let waited = shared
                .changed
                .wait_timeout_while(waiting, PATIENCE, |waiting| !fits(waiting));
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
            waiting.stalled = !fits(&waiting);
        }
        if waiting.stalled {
            waiting.lost += 1;
            return;
        }
        waiting.tell_of_the_lost(shared.lost_words);
        waiting.add(lines.to_vec());
        shared.changed.notify_all();
    }

    /// Waits until everything is written, for `limit` at the most. Returns whether it is.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let shared = &*self.shared;
        let mut waiting = lock(&shared.waiting);
        waiting.tell_of_the_lost(shared.lost_words);
        shared.changed.notify_all();
        let under_way = |waiting: &mut Waiting| waiting.writing || !waiting.lines.is_empty();
        let waited = shared.changed.wait_timeout_while(waiting, limit, under_way);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Waiting {
    fn add(&mut self, lines: Vec<u8>) {
        self.bytes += lines.len();
        self.lines.push_back(lines);
    }

    /// Where they would stand.
    fn tell_of_the_lost(&mut self, words: fn(u64) -> String) {
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            self.add(words(lost).into_bytes());
        }
    }
}

impl Shared {
    fn serve(&self, mut sink: impl Write) {
        loop {
            let waiting = self
                .changed
                .wait_while(lock(&self.waiting), |waiting| waiting.lines.is_empty());
            let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
            let Some(lines) = waiting.lines.pop_front() else {
                continue;
            };
            waiting.writing = true;
            drop(waiting);
            // If nobody can read it, nobody misses it.
            let _ = write_all(&mut sink, &lines);
            let mut waiting = lock(&self.waiting);
            waiting.writing = false;
            waiting.bytes -= lines.len();
            waiting.stalled &= waiting.bytes > BYTES_MAX / 2;
            drop(waiting);
            self.changed.notify_all();
        }
    }
}

fn write_all(sink: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match sink.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(AGAIN),
            Err(error) => return Err(error),
        }
    }
    sink.flush()
}

/// For env_logger, which writes each record whole.
impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn words(lost: u64) -> String {
        format!("{lost} lost\n")
    }

    fn line(number: usize) -> String {
        format!("{number:0>99}\n")
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn whoever_is_slow_reads_every_line_in_its_order() {
        let (mut reader, writer) = io::pipe().unwrap();
        let outlet = Outlet::start(writer, words).unwrap();
        // A reader that reads goes on at once, however little it reads.
        let reading = std::thread::spawn(move || {
            let mut read = Vec::new();
            let mut piece = [0; 1000];
            while read.len() < 20_000 * 100 {
                let bytes = reader.read(&mut piece).unwrap();
                read.extend_from_slice(&piece[..bytes]);
            }
            String::from_utf8(read).unwrap()
        });
        for number in 0..20_000 {
            outlet.add(line(number).as_bytes());
        }
        assert!(outlet.flush(LONG));
        let read = reading.join().unwrap();
        assert_eq!(read, (0..20_000).map(line).collect::<String>());
    }

    #[test]
    fn without_a_reader_nobody_waits_and_what_was_lost_is_counted_in_its_place() {
        let (mut reader, writer) = io::pipe().unwrap();
        let outlet = Outlet::start(writer, words).unwrap();
        let added = 20_000;
        for number in 0..added {
            outlet.add(line(number).as_bytes());
        }
        assert!(!outlet.flush(Duration::ZERO));
        let (said, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(bytes @ 1..) = reader.read(&mut piece) {
                let _ = said.send(piece[..bytes].to_vec());
            }
        });
        assert!(outlet.flush(LONG));
        outlet.add(b"after\n");
        assert!(outlet.flush(LONG));
        let mut read = Vec::new();
        while !read.ends_with(b"after\n") {
            read.extend(heard.recv_timeout(LONG).unwrap());
        }
        let read = String::from_utf8(read).unwrap();
        let kept = read.lines().count() - 2;
        let whole: String = (0..kept).map(line).collect();
        assert_eq!(read, format!("{whole}{} lost\nafter\n", added - kept));
        assert!(kept > 600, "{kept}");
    }
}
