//! How large a log gets, and what it leaves of its volume.

/// How large the file gets. Others than the default are for tests.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A file is rotated when the transactions in it take more than this, and more than its snapshot. Bytes.
    pub rotate_bytes_min: u64,
    /// The file grows by so many zeros at a time. Overwriting them changes no metadata, so that a commit costs the
    /// device its pages and no journal entry.
    pub extent_bytes: u64,
    /// With less than this left on the volume, nothing new is taken, and while the index is on it the file does not
    /// grow. The rest is for sled, which writes its buffers (512 KiB each) whenever they are full and never recovers
    /// from not being able to, and for cutting back.
    pub headroom_bytes: u64,
    /// How much of the zeros is kept for [`Claim::Reserve`](super::Claim::Reserve): on a volume that others have filled
    /// to the last byte, the line still has room for its ratchets and acks. Where room is short, a rotation is worth
    /// its while from this on.
    pub reserve_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rotate_bytes_min: 4 * 1024 * 1024,
            extent_bytes: 256 * 1024,
            headroom_bytes: 4 * 1024 * 1024,
            reserve_bytes: 1024 * 1024,
        }
    }
}
