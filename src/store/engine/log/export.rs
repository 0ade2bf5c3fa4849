//! Records as one file of their own, for a backup: the log's frames behind another header. `docs/store-format.md` draws
//! it.
//!
//! It is written from front to back, so that it can go into a pipe, and read whole: a file that ends before its last
//! frame, lacks one, or goes on after it, is refused.

use std::io::{self, Write};

use super::State;
use super::frame::crc32c;
use super::frame::{self, FRAME_HEADER_BYTES, Fault, Frame, Kind};
use super::snapshot::SNAPSHOT_FRAME_BYTES;

const MAGIC: [u8; 8] = *b"TAUTBAK\n";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 32;
/// What the log's own files begin with; somebody may hand us one.
const LOG_MAGIC: [u8; 8] = *b"TAUTLOG\n";

/// Why bytes are no whole export.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportFault {
    /// It never was one.
    #[error("{0}")]
    Other(String),
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error("a later version of Tautline wrote it ({0}); use that one or a later one")]
    Newer(String),
}

/// Writes an export, record by record.
pub struct Exporter<W> {
    out: W,
    frames: u64,
    part: Vec<(Vec<u8>, Vec<u8>)>,
    part_bytes: usize,
    bytes: u64,
}

impl<W: Write> Exporter<W> {
    /// `made_at_ms`: Unix milliseconds, by the wall clock.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn begin(mut out: W, made_at_ms: u64) -> io::Result<Self> {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        header[12..20].copy_from_slice(&made_at_ms.to_le_bytes());
        let crc = crc32c(&[&header[..28]]);
        header[28..].copy_from_slice(&crc.to_le_bytes());
        out.write_all(&header)?;
        Ok(Self {
            out,
            frames: 0,
            part: Vec::new(),
            part_bytes: 0,
            bytes: HEADER_BYTES as u64,
        })
    }

    /// # Errors
    /// `out` cannot be written.
    pub fn record(&mut self, key: Vec<u8>, value: Vec<u8>) -> io::Result<()> {
        let bytes = key.len() + value.len();
        if self.part_bytes + bytes > SNAPSHOT_FRAME_BYTES && !self.part.is_empty() {
            self.write_part(Kind::Snapshot)?;
        }
        self.part_bytes += bytes;
        self.part.push((key, value));
        Ok(())
    }

    /// Writes the end, without which it is not whole. Returns what it was written to, and how many bytes there are.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn end(mut self) -> io::Result<(W, u64)> {
        self.write_part(Kind::SnapshotEnd)?;
        self.out.flush()?;
        Ok((self.out, self.bytes))
    }

    fn write_part(&mut self, kind: Kind) -> io::Result<()> {
        self.frames += 1;
        let part = std::mem::take(&mut self.part);
        self.part_bytes = 0;
        let rows = part.iter().map(|(key, value)| (key.as_slice(), Some(value.as_slice())));
        let mut bytes = Vec::new();
        if !frame::write(&mut bytes, kind, self.frames, 0, rows) {
            return Err(io::Error::other("a record is larger than a frame"));
        }
        self.bytes += bytes.len() as u64;
        self.out.write_all(&bytes)
    }
}

/// Reads an export: when it was made (Unix milliseconds), and its records.
///
/// # Errors
/// It is none, is not whole, or is of a later version.
pub fn import(bytes: &[u8]) -> Result<(u64, State), ExportFault> {
    let made_at_ms = read_header(bytes)?;
    let mut state = State::new();
    let mut at = HEADER_BYTES;
    let mut frames = 0;
    loop {
        let rest = &bytes[at..];
        let Some(frame) = Frame::read(rest) else {
            return Err(ExportFault::Damaged(what_is_wrong(rest, at, bytes.len())));
        };
        frames += 1;
        let kind = frame.kind().map_err(of_fault)?;
        if frame.sequence != frames {
            let text = format!(
                "part {frames} is missing at byte {at}, where part {} stands",
                frame.sequence
            );
            return Err(ExportFault::Damaged(text));
        }
        frame
            .apply(|key, value| {
                match value {
                    Some(value) => state.insert(key.to_vec(), value.to_vec()),
                    None => state.remove(key),
                };
            })
            .map_err(of_fault)?;
        at += frame.bytes();
        match kind {
            Kind::Snapshot => {}
            Kind::SnapshotEnd if at == bytes.len() => return Ok((made_at_ms, state)),
            Kind::SnapshotEnd => {
                let text = format!("{} bytes follow its end at byte {at}", bytes.len() - at);
                return Err(ExportFault::Damaged(text));
            }
            Kind::Transaction | Kind::Seal => {
                return Err(ExportFault::Damaged(format!(
                    "a frame of a log stands before byte {at}"
                )));
            }
        }
    }
}

fn read_header(bytes: &[u8]) -> Result<u64, ExportFault> {
    if bytes.starts_with(&LOG_MAGIC) {
        let text = "it is a log out of a state directory and no backup";
        return Err(ExportFault::Other(text.into()));
    }
    if bytes.is_empty() {
        return Err(ExportFault::Other("it is empty".into()));
    }
    if !MAGIC.starts_with(&bytes[..bytes.len().min(MAGIC.len())]) {
        return Err(ExportFault::Other("it is no backup made by Tautline".into()));
    }
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Err(ExportFault::Damaged(format!("it breaks off at byte {}", bytes.len())));
    };
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if number(28) != crc32c(&[&header[..28]]) {
        return Err(ExportFault::Damaged("the checksum of its header is wrong".into()));
    }
    if number(8) != FORMAT {
        return Err(ExportFault::Newer(format!("file format {}", number(8))));
    }
    Ok(u64::from(number(12)) | u64::from(number(16)) << 32)
}

/// Says whether the file is too short or has other bytes than were written.
fn what_is_wrong(rest: &[u8], at: usize, length: usize) -> String {
    let body = rest.first_chunk().map(|bytes| u32::from_le_bytes(*bytes) as usize);
    let whole = body.is_some_and(|body| body <= frame::BODY_BYTES_MAX && rest.len() >= FRAME_HEADER_BYTES + body);
    if whole {
        format!("the part at byte {at} has a wrong checksum")
    } else {
        format!("the part at byte {at} is cut off; the file ends at byte {length}")
    }
}

fn of_fault(fault: Fault) -> ExportFault {
    match fault {
        Fault::Damaged(cause) => ExportFault::Damaged(cause),
        Fault::Newer(cause) => ExportFault::Newer(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(records: usize) -> (Vec<u8>, State) {
        let mut exporter = Exporter::begin(Vec::new(), 1_795_207_971_000).unwrap();
        let mut state = State::new();
        for number in 0..records {
            let (key, value) = (format!("key {number:05}").into_bytes(), vec![number as u8; 300]);
            state.insert(key.clone(), value.clone());
            exporter.record(key, value).unwrap();
        }
        let (bytes, count) = exporter.end().unwrap();
        assert_eq!(bytes.len() as u64, count);
        (bytes, state)
    }

    #[test]
    fn what_goes_in_comes_out() {
        for records in [0, 1, 3000] {
            let (bytes, state) = export(records);
            assert_eq!(import(&bytes), Ok((1_795_207_971_000, state)), "{records}");
        }
    }

    #[test]
    fn no_cut_and_no_flipped_bit_goes_through() {
        let (bytes, _) = export(4);
        for length in 0..bytes.len() {
            assert!(import(&bytes[..length]).is_err(), "cut at {length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(import(&bytes).is_err(), "bit {bit}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(matches!(import(&longer), Err(ExportFault::Damaged(_))));
    }

    #[test]
    fn a_part_that_is_missing_is_missed() {
        let (bytes, _) = export(3000);
        let first = Frame::read(&bytes[HEADER_BYTES..]).unwrap().bytes();
        let mut without = bytes[..HEADER_BYTES].to_vec();
        without.extend_from_slice(&bytes[HEADER_BYTES + first..]);
        let Err(ExportFault::Damaged(cause)) = import(&without) else {
            panic!("taken")
        };
        assert!(cause.contains("part 1 is missing"), "{cause}");
    }

    #[test]
    fn others_files_are_told_apart() {
        for (bytes, word) in [
            (&b""[..], "empty"),
            (b"{\"creds\": 1}", "no backup"),
            (b"TAUTLOG\n\x01\0\0\0", "log out of a state"),
            (b"TAUT", "breaks off"),
        ] {
            let error = import(bytes).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        let (mut bytes, _) = export(1);
        bytes[8] = 2;
        let crc = crc32c(&[&bytes[..28]]);
        bytes[28..32].copy_from_slice(&crc.to_le_bytes());
        assert!(matches!(import(&bytes), Err(ExportFault::Newer(_))));
    }
}
