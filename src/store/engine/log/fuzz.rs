//! The log's reader over bytes that may be anything. See `state::fuzzing`.

use super::frame::crc32c;
use super::frame::{FRAME_HEADER_BYTES, HEADER_BYTES};
use super::replay::replay;

/// Reads `data` as a log's file, and once more with its checksums put right: no fuzzer guesses those, and damage behind
/// a right checksum has to be met too.
///
/// # Panics
/// The reader panics, reads past the end, or reads the good part of a file differently from the whole.
pub fn log(data: &[u8]) {
    check(data);
    let mut whole = data.to_vec();
    right_checksums(&mut whole);
    check(&whole);
}

fn check(bytes: &[u8]) {
    let Ok(found) = replay(bytes) else { return };
    let end = found.end as usize;
    assert!(found.snapshot_end <= found.end && end <= bytes.len(), "{found:?}");
    assert!(found.torn as usize <= bytes.len() - end, "{found:?}");
    // What recovery cuts off changes nothing of what was read.
    let again = replay(&bytes[..end]).expect("a first part of whole frames");
    assert_eq!(again.torn, 0);
    assert_eq!((again.sequence, &again.state), (found.sequence, &found.state));
}

/// Puts the checksum of the header and of every frame right, as far as the lengths lead. A backup has its checksums in
/// the same places.
pub(crate) fn right_checksums(bytes: &mut [u8]) {
    if bytes.len() < HEADER_BYTES {
        return;
    }
    let crc = crc32c(&[&bytes[..28]]);
    bytes[28..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    let mut at = HEADER_BYTES;
    while let Some(head) = bytes.get(at..at + FRAME_HEADER_BYTES) {
        let length = head.first_chunk().map_or(0, |length| u32::from_le_bytes(*length)) as usize;
        let Some(frame) = bytes.get_mut(at..at.saturating_add(FRAME_HEADER_BYTES + length)) else {
            return;
        };
        let crc = crc32c(&[&frame[..4], &frame[8..]]);
        frame[4..8].copy_from_slice(&crc.to_le_bytes());
        at += FRAME_HEADER_BYTES + length;
    }
}
