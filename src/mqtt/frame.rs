//! From bytes as they come to packets, each with its body.

use super::wire::Malformed;

/// How much of a packet is kept, in bytes. More than any text of an alert; of a message that is longer, the start is.
pub(super) const BODY_BYTES_MAX: usize = 256 * 1024;

/// What is shorter than this is moved to the front of the buffer at once.
const MOVED_BYTES_MAX: usize = 4096;

/// The kind of a packet that may be cut.
pub(super) const PUBLISH: u8 = 3;

/// One packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Kind and flags.
    pub first: u8,
    pub body: Vec<u8>,
    /// How long the body was on the wire, in bytes.
    pub body_bytes: usize,
}

/// Bytes that are no whole packet yet.
#[derive(Debug, Default)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    /// Where in `buffer` the next packet begins.
    begin: usize,
    /// How many of the next bytes belong to a packet that is through already.
    skip: usize,
}

impl Frames {
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        if self.skip > 0 && self.begin == self.buffer.len() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next packet, if all of it has come.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Malformed> {
        let skipped = self.skip.min(self.buffer.len() - self.begin);
        self.skip -= skipped;
        self.begin += skipped;
        let bytes = &self.buffer[self.begin..];
        let Some((head_bytes, body_bytes)) = head(bytes)? else {
            self.settle();
            return Ok(None);
        };
        let first = bytes[0];
        let kept = body_bytes.min(BODY_BYTES_MAX);
        if kept < body_bytes && first >> 4 != PUBLISH {
            return Err(Malformed("a packet is larger than any of its kind"));
        }
        let Some(body) = bytes.get(head_bytes..head_bytes + kept) else {
            self.settle();
            return Ok(None);
        };
        let body = body.to_vec();
        self.begin += head_bytes + kept;
        self.skip = body_bytes - kept;
        Ok(Some(Frame {
            first,
            body,
            body_bytes,
        }))
    }

    /// Gives back the room of what is through.
    fn settle(&mut self) {
        let left = self.buffer.len() - self.begin;
        if self.begin > 0 && (left <= MOVED_BYTES_MAX || self.begin > left) {
            self.buffer.drain(..self.begin);
            self.begin = 0;
            self.buffer.shrink_to(left.max(MOVED_BYTES_MAX));
        }
    }
}

/// The length of a packet's head and of its body, in bytes; `None` before all of the head has come.
fn head(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut length = 0;
    for at in 1..=4 {
        let Some(byte) = bytes.get(at) else {
            return Ok(None);
        };
        length |= usize::from(byte & 0x7F) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            return Ok(Some((at + 1, length)));
        }
    }
    Err(Malformed("a length has more than four bytes"))
}

#[cfg(test)]
mod tests {
    use super::super::wire::Writer;
    use super::*;

    fn packet(first: u8, length: usize) -> Vec<u8> {
        Writer(vec![7; length]).packet(first)
    }

    #[test]
    fn packets_come_whole_however_they_are_cut() {
        let lengths = [0, 1, 127, 128, 16_383, 16_384, 70_000];
        let stream: Vec<u8> = lengths.iter().flat_map(|length| packet(0x30, *length)).collect();
        for step in [1, 3, 1000, stream.len()] {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for piece in stream.chunks(step) {
                frames.push(piece);
                while let Some(frame) = frames.next().unwrap() {
                    assert_eq!(frame.body.len(), frame.body_bytes);
                    found.push(frame.body_bytes);
                }
            }
            assert_eq!(found, lengths, "{step}");
            assert!(frames.buffer.capacity() <= 2 * MOVED_BYTES_MAX, "{step}");
        }
    }

    #[test]
    fn of_a_message_beyond_all_bounds_the_start_is_kept_and_the_next_one_follows() {
        let long = 3 * BODY_BYTES_MAX + 5;
        let mut frames = Frames::default();
        let mut found = Vec::new();
        let mut most = 0;
        let stream = [packet(0x30, long), packet(0xD0, 0)].concat();
        for piece in stream.chunks(10_000) {
            frames.push(piece);
            while let Some(frame) = frames.next().unwrap() {
                found.push((frame.first, frame.body.len(), frame.body_bytes));
            }
            most = most.max(frames.buffer.len());
        }
        assert_eq!(found, [(0x30, BODY_BYTES_MAX, long), (0xD0, 0, 0)]);
        assert!(most < BODY_BYTES_MAX + 20_000, "{most}");
    }

    #[test]
    fn what_is_no_packet_is_told() {
        let mut frames = Frames::default();
        frames.push(&[0x30, 0x80, 0x80, 0x80, 0x80, 0x01]);
        assert!(frames.next().is_err());
        let mut frames = Frames::default();
        frames.push(&packet(0x20, BODY_BYTES_MAX + 1));
        assert!(frames.next().is_err());
    }
}
