//! A file's bytes → the state they stand for, or why not.

use std::ops::Range;

use super::Rows;
use super::frame::{self, FRAME_HEADER_BYTES, Fault, Frame, HEADER_BYTES, Kind, read_header};
use super::mapping::apart;

/// What a file says.
#[derive(Debug)]
pub(super) struct Replayed<'a> {
    pub(super) generation: u64,
    /// In the file's own bytes.
    pub(super) state: Rows<'a>,
    /// The number of the last transaction.
    pub(super) sequence: u64,
    /// Transactions after the snapshot.
    pub(super) transactions: u64,
    /// Where the snapshot ends and where the last whole frame ends, in bytes.
    pub(super) snapshot_end: u64,
    pub(super) end: u64,
    /// Bytes after `end` that are the rest of a write that the power cut: to be cut off. 0 when zeros, a seal or
    /// nothing follow.
    pub(super) torn: u64,
    /// The transaction up to which a seal after `end` says that all is on the device.
    pub(super) sealed: Option<u64>,
}

/// Reads a whole file.
///
/// A bad frame ends the log when the power can have gone while it was written: that is, when no whole frame after it
/// says that it had been synced. A group of transactions is written at once and its pages reach the device in any
/// order, so that a whole frame may follow a torn one; only the `durable` number of a later frame tells damage from
/// that.
///
/// Damage to the very last group looks like a torn one until a seal or another group has been written after it. The
/// index knows better where it has seen the transaction (`index.rs`).
pub(super) fn replay(bytes: &[u8]) -> Result<Replayed<'_>, Fault> {
    let header = read_header(bytes)?;
    let mut replayed = Replayed {
        generation: header.generation,
        state: Rows::new(),
        sequence: header.sequence,
        transactions: 0,
        snapshot_end: 0,
        end: HEADER_BYTES as u64,
        torn: 0,
        sealed: None,
    };
    let mut changes = apart(0);
    let mut at = HEADER_BYTES;
    while let Some(frame) = Frame::read(&bytes[at..]).filter(|frame| !frame.is_seal()) {
        take(&mut replayed, &mut changes, &frame)?;
        at += frame.bytes();
        replayed.end = at as u64;
    }
    replayed.state = last_of_each(changes);
    if replayed.snapshot_end == 0 {
        return Err(Fault::Damaged(format!(
            "the state it begins with breaks off at byte {at}"
        )));
    }
    let seal = seal_after(bytes, at).filter(|(_, seal)| seal.durable <= replayed.sequence);
    let last = match &seal {
        Some((place, seal)) => {
            last_written(bytes, place + seal.bytes()..bytes.len()).or(last_written(bytes, at..*place))
        }
        None => last_written(bytes, at..bytes.len()),
    };
    let Some(last) = last else {
        replayed.sealed = seal.map(|(_, seal)| seal.durable);
        return Ok(replayed);
    };
    if let Some(later) = proves_damage(bytes, at, replayed.sequence) {
        return Err(Fault::Damaged(format!(
            "transaction {} at byte {at} is not readable, and what was written after it says that it was synced: {later}",
            replayed.sequence + 1
        )));
    }
    replayed.torn = (last + 1 - at) as u64;
    Ok(replayed)
}

/// A put, or a delete.
type Change<'a> = (&'a [u8], Option<&'a [u8]>);

/// What `changes`, one after the other in one piece of memory, come to.
fn last_of_each(mut changes: Vec<Change<'_>>) -> Rows<'_> {
    // Where a key lies in the file says which came last; a stable sort would need the memory once more.
    changes.sort_unstable_by_key(|(key, _)| (*key, key.as_ptr()));
    let of_one_key = changes.chunk_by(|(one, _), (other, _)| one == other);
    let mut rows = apart(0);
    rows.extend(of_one_key.filter_map(|changes| {
        let (key, value) = changes.last()?;
        Some((*key, (*value)?))
    }));
    rows
}

fn take<'a>(replayed: &mut Replayed<'a>, changes: &mut Vec<Change<'a>>, frame: &Frame<'a>) -> Result<(), Fault> {
    let inside = replayed.snapshot_end == 0;
    let (kind, expected) = match (frame.kind()?, inside) {
        (kind @ (Kind::Snapshot | Kind::SnapshotEnd), true) => (kind, replayed.sequence),
        (Kind::Transaction, false) => (Kind::Transaction, replayed.sequence + 1),
        (kind, _) => {
            return Err(Fault::Damaged(format!(
                "{kind:?} out of place at byte {}",
                replayed.end
            )));
        }
    };
    if frame.sequence != expected {
        return Err(Fault::Damaged(format!(
            "transaction {} stands where {expected} should",
            frame.sequence
        )));
    }
    frame.apply(|key, value| changes.push((key, value)))?;
    match kind {
        Kind::Snapshot | Kind::Seal => {}
        Kind::SnapshotEnd => replayed.snapshot_end = replayed.end + frame.bytes() as u64,
        Kind::Transaction => {
            replayed.sequence = frame.sequence;
            replayed.transactions += 1;
        }
    }
    Ok(())
}

/// The seal of a log whose last frame ends at `end`, and where it stands.
fn seal_after(bytes: &[u8], end: usize) -> Option<(usize, Frame<'_>)> {
    let place = usize::try_from(frame::seal_place(end as u64)).ok()?;
    let seal = Frame::read(bytes.get(place..)?).filter(Frame::is_seal)?;
    Some((place, seal))
}

/// Where the last byte in `range` is that is not zero.
fn last_written(bytes: &[u8], range: Range<usize>) -> Option<usize> {
    let start = range.start;
    let last = bytes[range].iter().rposition(|byte| *byte != 0);
    last.map(|last| start + last)
}

/// A whole frame after `from`, a transaction at whatever byte or a seal in a seal's place, that was written when more
/// than `good` was durable: in words.
fn proves_damage(bytes: &[u8], from: usize, good: u64) -> Option<String> {
    (from..bytes.len().saturating_sub(FRAME_HEADER_BYTES)).find_map(|at| {
        let head = &bytes[at..];
        // Cheap first: the checksum is counted for what looks like a frame only.
        let kinds = [Kind::Transaction as u8, Kind::Seal as u8];
        let plausible = kinds.contains(&head[24]) && head[16..24] != [0; 8];
        if !plausible {
            return None;
        }
        let frame = Frame::read(head).filter(|frame| frame.durable > good)?;
        if frame.is_seal() && frame::seal_place(at as u64) == at as u64 {
            return Some(format!("the seal of transaction {}", frame.durable));
        }
        (frame.sequence > frame.durable).then(|| format!("transaction {}", frame.sequence))
    })
}
