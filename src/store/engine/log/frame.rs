//! The bytes of the log: a header, then frames. `docs/store-format.md` draws them.

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Operation;

const MAGIC: [u8; 8] = *b"TAUTLOG\n";
/// The format of the file: how the header and the frames are laid out.
const FORMAT: u32 = 1;
pub(super) const HEADER_BYTES: usize = 32;

/// The version of the bodies of all kinds so far.
const BODY_VERSION: u8 = 1;
pub(super) const FRAME_HEADER_BYTES: usize = 26;
/// The largest transaction. A session's quarantine moves all its rows in one; real ones have a few megabytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a frame is. The number is on disk: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// A part of the state that the file begins with.
    Snapshot = 1,
    /// The last part; without it the file is not whole.
    SnapshotEnd = 2,
    /// One transaction.
    Transaction = 3,
    /// Nothing but the number of the last transaction that is on the device.
    Seal = 4,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Snapshot, Self::SnapshotEnd, Self::Transaction, Self::Seal]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// Bytes as one piece: a `Vec<u8>` goes through serde one byte at a time.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'a [u8]>::deserialize(deserializer).map(Bytes)
    }
}

/// The body: a sequence of (key, value or none), written and read without copying it as a whole.
struct Operations<I>(I);

impl<'a, I> Serialize for Operations<I>
where
    I: Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + ExactSizeIterator + Clone,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone().map(|(key, value)| (Bytes(key), value.map(Bytes))))
    }
}

struct Apply<F>(F);

impl<'de, F: FnMut(&'de [u8], Option<&'de [u8]>)> Visitor<'de> for Apply<F> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("operations")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut operations: A) -> Result<(), A::Error> {
        while let Some((Bytes(key), value)) = operations.next_element::<(Bytes<'de>, Option<Bytes<'de>>)>()? {
            self.0(key, value.map(|Bytes(value)| value));
        }
        Ok(())
    }
}

/// No operations.
const SEAL_BODY: [u8; 1] = [0];
pub(super) const SEAL_BYTES: usize = FRAME_HEADER_BYTES + SEAL_BODY.len();
/// A seal begins at a multiple of this: on another page than the last frame, so that what damages one may spare the
/// other.
const SEAL_ALIGN: u64 = 4096;

/// Where the seal of a log is whose last frame ends at `end`.
pub(super) fn seal_place(end: u64) -> u64 {
    end.next_multiple_of(SEAL_ALIGN)
}

/// The first bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Counts rotations; also in the file's name.
    pub(super) generation: u64,
    /// The number of the last transaction that the snapshot contains.
    pub(super) sequence: u64,
}

pub(super) fn write_header(header: Header) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[12..20].copy_from_slice(&header.generation.to_le_bytes());
    bytes[20..28].copy_from_slice(&header.sequence.to_le_bytes());
    let crc = crc32c(&[&bytes[..28]]);
    bytes[28..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Why bytes are not what a log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    Damaged(String),
    /// Whole, and not to be understood by this version.
    Newer(String),
}

fn damaged(text: impl Into<String>) -> Fault {
    Fault::Damaged(text.into())
}

pub(super) fn read_header(bytes: &[u8]) -> Result<Header, Fault> {
    let bytes = bytes
        .first_chunk::<HEADER_BYTES>()
        .ok_or_else(|| damaged("no header"))?;
    if bytes[..8] != MAGIC {
        return Err(damaged("it does not begin like a log"));
    }
    if u32_at(bytes, 28) != crc32c(&[&bytes[..28]]) {
        return Err(damaged("the checksum of its header is wrong"));
    }
    match u32_at(bytes, 8) {
        FORMAT => Ok(Header {
            generation: u64_at(bytes, 12),
            sequence: u64_at(bytes, 20),
        }),
        format => Err(Fault::Newer(format!("file format {format}"))),
    }
}

/// A frame whose checksum is right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) sequence: u64,
    /// The last transaction that was known to be on the device when this frame was written.
    pub(super) durable: u64,
    kind: u8,
    version: u8,
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame that `bytes` begin with; `None` when there is no whole one.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let head = bytes.get(..FRAME_HEADER_BYTES)?;
        let length = u32_at(head, 0) as usize;
        if length > BODY_BYTES_MAX {
            return None;
        }
        let whole = bytes.get(..FRAME_HEADER_BYTES + length)?;
        let frame = Frame {
            sequence: u64_at(head, 8),
            durable: u64_at(head, 16),
            kind: head[24],
            version: head[25],
            body: &whole[FRAME_HEADER_BYTES..],
        };
        // Zeros are no frame: their kind is none, whatever their checksum.
        let right = frame.kind != 0 && u32_at(head, 4) == crc32c(&[&whole[..4], &whole[8..]]);
        right.then_some(frame)
    }

    pub(super) fn bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.body.len()
    }

    /// Whether it is a seal of this version.
    pub(super) fn is_seal(&self) -> bool {
        self.kind() == Ok(Kind::Seal) && self.body == SEAL_BODY && self.sequence == self.durable
    }

    pub(super) fn kind(&self) -> Result<Kind, Fault> {
        match (Kind::from_byte(self.kind), self.version) {
            (Some(kind), BODY_VERSION) => Ok(kind),
            _ => Err(Fault::Newer(format!("kind {} in version {}", self.kind, self.version))),
        }
    }

    /// Gives `operation` the frame's puts and deletes, in their order.
    pub(super) fn apply(&self, operation: impl FnMut(&'a [u8], Option<&'a [u8]>)) -> Result<(), Fault> {
        let mut body = postcard::Deserializer::from_bytes(self.body);
        let read = Deserializer::deserialize_seq(&mut body, Apply(operation));
        match read.and_then(|()| body.finalize()) {
            Ok([]) => Ok(()),
            Ok(rest) => Err(damaged(format!(
                "{} bytes too many in transaction {}",
                rest.len(),
                self.sequence
            ))),
            Err(error) => Err(damaged(format!("transaction {}: {error}", self.sequence))),
        }
    }
}

/// Appends one frame to `out`. Returns false, with `out` as it was, when the body is over [`BODY_BYTES_MAX`].
pub(super) fn write<'a, I>(out: &mut Vec<u8>, kind: Kind, sequence: u64, durable: u64, operations: I) -> bool
where
    I: Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + ExactSizeIterator + Clone,
{
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
    // Writing postcard into a vector cannot fail; should it, the transaction is refused as one that does not fit.
    let Ok(written) = postcard::to_extend(&Operations(operations), std::mem::take(out)) else {
        return false;
    };
    *out = written;
    let length = out.len() - start - FRAME_HEADER_BYTES;
    if length > BODY_BYTES_MAX {
        out.truncate(start);
        return false;
    }
    let frame = &mut out[start..];
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    frame[8..16].copy_from_slice(&sequence.to_le_bytes());
    frame[16..24].copy_from_slice(&durable.to_le_bytes());
    frame[24] = kind as u8;
    frame[25] = BODY_VERSION;
    let crc = crc32c(&[&frame[..4], &frame[8..]]);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
    true
}

/// A seal: a frame that says that everything up to transaction `durable` is on the device.
pub(super) fn seal(durable: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, Kind::Seal, durable, durable, std::iter::empty());
    bytes
}

/// A transaction's operations as [`write`] takes them.
pub(super) fn of_batch(operations: &[Operation]) -> impl ExactSizeIterator<Item = (&[u8], Option<&[u8]>)> + Clone {
    operations.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))
}

/// CRC-32C (Castagnoli) of `parts`, one after the other.
pub(super) fn crc32c(parts: &[&[u8]]) -> u32 {
    parts.iter().fold(0, |crc, part| ::crc32c::crc32c_append(crc, part))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}
