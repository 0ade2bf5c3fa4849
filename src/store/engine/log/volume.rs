//! What the log needs of its volume: one sum for what is written, for the index, and for health.

use std::io;

use super::disk::is_read_only;
use super::files::drop_before;
use super::room::{NEW_BYTES_MAX, Room, is_full};
use super::{BODY_BYTES_MAX, Claim, CommitError, Log};

/// What sled may write for what it is given. It writes whole pages again for a part of them: with alerts of 20 KB, a
/// volume with 4 MiB left was filled up by it once. How much it takes at the most is not measured; this is on the safe
/// side.
const INDEX_TIMES: u64 = 8;

/// What sled may write for a new index, in times of what the log holds: 15 MB for 300 records of 20 KB.
const NEW_INDEX_TIMES: u64 = 3;

/// A rotation is worth its while from this on when new alerts are refused and nobody writes.
const LITTLE_AT_REST_BYTES: u64 = 64 * 1024;

/// What stays free where no index needs its headroom: to cut back a write that failed, and for the directory.
const CUT_BACK_BYTES: u64 = 64 * 1024;

/// Laid down piece by piece: a megabyte on the heap would stay there.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

impl Log {
    /// Lays down zeros as far as what is staged needs them, and the reserve beyond. The sync of the commit covers them.
    pub(super) fn make_room(&mut self, claim: Claim) -> Result<(), CommitError> {
        let bytes = self.staged.len() as u64;
        let needed = self.end + bytes;
        // A rotation that found no room must not let the file grow without bound.
        if needed > self.rotate_at.saturating_mul(2) + BODY_BYTES_MAX as u64 {
            self.rotate_again_at = 0;
            return Err(CommitError::Full(
                "the log is at its bound and there is no room to rotate it".into(),
            ));
        }
        let wanted = match claim {
            Claim::New => {
                // Once where it is written, and once in the snapshot after it.
                let all = self.for_new() + 2 * bytes;
                self.demand(all.saturating_sub(self.before_bytes))?;
                self.demand_or_drop_before(self.limits.headroom_bytes + bytes)?;
                needed + self.limits.reserve_bytes
            }
            // What has been laid down is ours, however full the volume.
            Claim::Reserve if needed <= self.allocated => return self.demand(0),
            Claim::Reserve => {
                let grown = self.goal(needed) - self.allocated;
                if self.demand_or_drop_before(self.headroom() + grown).is_err() {
                    // Without a reserve, as long as there is room for this alone.
                    self.demand(self.headroom() + bytes)?;
                    return self.lay_down_zeros(needed);
                }
                needed
            }
        };
        if wanted <= self.allocated {
            return Ok(());
        }
        self.lay_down_zeros(self.goal(needed))
    }

    /// How far zeros are laid down for what ends at `needed`: the reserve beyond it, in whole extents.
    pub(super) fn goal(&self, needed: u64) -> u64 {
        (needed + self.limits.reserve_bytes).div_ceil(self.limits.extent_bytes) * self.limits.extent_bytes
    }

    pub(super) fn lay_down_zeros(&mut self, goal: u64) -> Result<(), CommitError> {
        // Behind the end of a file that was cut they would hide that it was.
        if let Some(cause) = self.misplaced() {
            return Err(CommitError::Broken(cause));
        }
        let mut at = self.allocated;
        while at < goal {
            let part = &ZEROS[..ZEROS.len().min((goal - at) as usize)];
            if let Err(error) = self.file.write_at(at, part) {
                return Err(self.undo(&error, self.allocated));
            }
            at += part.len() as u64;
        }
        self.allocated = goal;
        self.gauge.written(true);
        Ok(())
    }

    /// What must stay free whatever is written.
    pub(super) fn headroom(&self) -> u64 {
        match self.index_beside {
            true => self.limits.headroom_bytes,
            false => self.limits.headroom_bytes.min(CUT_BACK_BYTES),
        }
    }

    /// The next snapshot is no larger: what it is made of, without what is deleted again.
    fn snapshot_bytes_max(&self) -> u64 {
        self.end.saturating_sub(self.deleted)
    }

    /// How much must be free for something new to be taken, where the generation before counts as free: the next
    /// snapshot, twice the reserve, and the headroom. The reserve is for the steps of all that was accepted, and counts
    /// twice because the snapshot after those steps is made of them too. So a volume that alerts have filled has room
    /// for them to go out.
    fn for_new(&self) -> u64 {
        self.limits.headroom_bytes + self.snapshot_bytes_max() + 2 * self.limits.reserve_bytes
    }

    pub(super) fn tell_gauge(&self) {
        self.gauge.set(self.for_new().saturating_sub(self.before_bytes));
    }

    /// # Errors
    /// There is less than `bytes` left. The volume is asked again before that is said.
    fn demand(&mut self, bytes: u64) -> Result<(), CommitError> {
        if let Some(room) = self.room
            && room.holds(bytes).is_ok()
        {
            return Ok(());
        }
        self.room.insert(Room::of(&*self.disk)).holds(bytes)
    }

    /// What follows from something that was accepted is worth more than a generation that nothing uses.
    pub(super) fn demand_or_drop_before(&mut self, bytes: u64) -> Result<(), CommitError> {
        match self.demand(bytes) {
            Err(CommitError::Full(_)) if self.drop_before() => self.demand(bytes),
            answer => answer,
        }
    }

    /// Returns whether there was one.
    pub(super) fn drop_before(&mut self) -> bool {
        let dropped = drop_before(&*self.disk, self.generation) > 0;
        self.before_bytes = 0;
        self.room = None;
        self.tell_gauge();
        dropped
    }

    /// Whether the index may be given `bytes` more, of which it makes several times as much. It never recovers from not
    /// being able to write, and must leave the log its room.
    pub fn has_room_for_index(&self, bytes: u64) -> bool {
        self.has_room_beside_log(INDEX_TIMES * bytes)
    }

    /// Whether a new index may be written beside the one there is.
    pub fn has_room_for_new_index(&self) -> bool {
        self.has_room_beside_log(NEW_INDEX_TIMES * self.end)
    }

    /// Whether something new would be taken, whatever its size: as the gauge shows it.
    pub fn has_room_for_new(&self) -> bool {
        self.has_room_beside_log(NEW_BYTES_MAX)
    }

    fn has_room_beside_log(&self, bytes: u64) -> bool {
        let all = self.for_new() + bytes;
        self.has_room((self.limits.headroom_bytes + bytes).max(all.saturating_sub(self.before_bytes)))
    }

    /// What the next rotation gives back at the most.
    pub(super) fn given_back_max(&self) -> u64 {
        self.end - self.snapshot_end + self.deleted
    }

    /// Whether the file is worth writing anew while there is nothing else to do: for want of room something new is
    /// refused.
    pub fn wants_rotation_at_rest(&self) -> bool {
        !self.rotation_rests() && self.given_back_max() >= LITTLE_AT_REST_BYTES && !self.has_room_for_new()
    }

    /// Whether what was accepted may soon find no room for the rotation that it will need.
    pub(super) fn is_short_of_room(&self) -> bool {
        let needed = self.headroom() + self.snapshot_bytes_max() + self.limits.reserve_bytes;
        !self.has_room(needed.saturating_sub(self.before_bytes))
    }

    /// Whether the volume has `bytes` left, as far as it tells.
    pub fn has_room(&self, bytes: u64) -> bool {
        Room::of(&*self.disk).holds(bytes).is_ok()
    }

    /// After a failed write at or past `from`: cuts the file back to before it, if it was only for want of room.
    pub(super) fn undo(&mut self, error: &io::Error, from: u64) -> CommitError {
        let refused = self.cut_back(error, from);
        self.gauge.refused(&refused);
        refused
    }

    fn cut_back(&mut self, error: &io::Error, from: u64) -> CommitError {
        if is_read_only(error) {
            // Nothing was written but zeros perhaps, and nothing that was synced is touched.
            return CommitError::ReadOnly(error.to_string());
        }
        if !is_full(error) {
            return CommitError::Broken(format!("write: {error}"));
        }
        // Synced, so that what was refused cannot be there after a power cut.
        match self.file.set_len(from).and_then(|()| self.file.sync_all()) {
            Ok(()) => {
                self.allocated = from;
                if self.seal_at.is_some_and(|at| at >= from) {
                    (self.seal_at, self.sealed) = (None, false);
                }
                CommitError::Full(error.to_string())
            }
            Err(again) => CommitError::Broken(format!("write: {error}; cutting back: {again}")),
        }
    }
}
