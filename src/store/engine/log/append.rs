//! Appending to the log: staging, committing, sealing, and going on in the next generation.

use std::io;
use std::sync::Arc;

use super::disk::is_read_only;
use super::error::{fault_in, io_error};
use super::files::{drop_before, name, temporary};
use super::frame::{self, Header, Kind};
use super::replay::{Replayed, replay};
use super::room::{Room, is_full};
use super::snapshot::{SNAPSHOT_FRAME_BYTES, bytes_of, publish};
use super::{
    Claim, CommitError, Disk, DiskFile, Gauge, Identity, Limits, LogError, Operation, Row, StageError, State, rows,
};

/// The log, open for appending.
pub struct Log {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) limits: Limits,
    pub(super) file: Box<dyn DiskFile>,
    /// The identity of `file`, to see whether its name still leads to it.
    pub(super) identity: Option<Identity>,
    pub(super) generation: u64,
    /// The number of the last transaction that is on the device.
    pub(super) sequence: u64,
    /// Where the next frame goes, and how far zeros have been laid down.
    pub(super) end: u64,
    pub(super) allocated: u64,
    /// Where the transactions begin.
    pub(super) snapshot_end: u64,
    /// What the transactions since the snapshot have deleted, in bytes of rows, as far as it was looked up: the next
    /// snapshot is so much smaller at least.
    pub(super) deleted: u64,
    pub(super) staged_deleted: u64,
    /// What the generation before takes on the volume. It goes where its room is needed.
    pub(super) before_bytes: u64,
    /// sled writes to the same volume.
    pub(super) index_beside: bool,
    pub(super) rotate_at: u64,
    /// Not before the file is so long, or so much more is free: there was no room.
    pub(super) rotate_again_at: u64,
    /// What must be free for another try, as far as the volume tells.
    pub(super) rotate_again_room: u64,
    /// Where a seal lies in the zeros, and whether it, or the snapshot, vouches for everything that is on the device.
    pub(super) seal_at: Option<u64>,
    pub(super) sealed: bool,
    pub(super) staged: Vec<u8>,
    pub(super) staged_count: u64,
    /// What the volume said about room, for the transactions of one commit.
    pub(super) room: Option<Room>,
    /// Something new is staged.
    pub(super) staged_new: bool,
    pub(super) gauge: Arc<Gauge>,
    pub(super) broken: Option<String>,
}

impl Log {
    /// Starts generation 1 with `state` as its snapshot.
    ///
    /// # Errors
    /// It cannot be written. The next start begins anew.
    pub fn create(disk: Arc<dyn Disk>, limits: Limits, state: &State) -> Result<Self, LogError> {
        let header = Header {
            generation: 1,
            sequence: 0,
        };
        let (file, end) = publish(&*disk, header, &rows(state))?;
        let log = Self::at(disk, limits, file, header, end);
        log.tell_gauge();
        Ok(log)
    }

    pub(super) fn at(
        disk: Arc<dyn Disk>,
        limits: Limits,
        file: Box<dyn DiskFile>,
        header: Header,
        snapshot_end: u64,
    ) -> Self {
        Self {
            disk,
            limits,
            identity: file.identity(),
            file,
            generation: header.generation,
            sequence: header.sequence,
            end: snapshot_end,
            allocated: snapshot_end,
            snapshot_end,
            deleted: 0,
            staged_deleted: 0,
            before_bytes: 0,
            index_beside: true,
            rotate_at: snapshot_end + limits.rotate_bytes_min.max(snapshot_end),
            rotate_again_at: 0,
            rotate_again_room: 0,
            seal_at: None,
            sealed: true,
            staged: Vec::new(),
            staged_count: 0,
            room: None,
            staged_new: false,
            gauge: Arc::default(),
            broken: None,
        }
    }

    /// Shows other threads whether there is room for something new.
    pub fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.gauge)
    }

    /// Whether sled writes to the same volume. While it does not, the room that was for it is there for what was
    /// accepted.
    pub fn set_index_beside(&mut self, beside: bool) {
        self.index_beside = beside;
    }

    /// The number of the last transaction that is on the device.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Counts rotations, from 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What the file holds, without the zeros that are laid down. Bytes.
    pub fn bytes(&self) -> u64 {
        self.end
    }

    /// Bytes that wait for [`commit`](Self::commit).
    pub fn staged_bytes(&self) -> usize {
        self.staged.len()
    }

    /// Why the next start would not read what is written here, if so: somebody has removed, replaced or cut the file.
    /// Worth asking before each commit: the writes and the sync succeed all the same.
    pub fn misplaced(&self) -> Option<String> {
        let file = name(self.generation);
        let what = match self.disk.look_up(&file) {
            Ok(Some(found)) if Some(found.identity) != self.identity => "was replaced by another file".to_owned(),
            Ok(Some(found)) if found.len < self.allocated => "was cut short by somebody else".to_owned(),
            Ok(_) => return None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => "was moved away or removed".to_owned(),
            Err(error) => format!("cannot be found: {error}"),
        };
        Some(format!("{file} in the state directory {what}"))
    }

    /// Prepares one transaction for the next commit, and makes room for it.
    ///
    /// # Errors
    /// It is not staged. After [`CommitError::Broken`] the log must not be used.
    pub fn stage(&mut self, operations: &[Operation], claim: Claim) -> Result<(), StageError> {
        let before = self.staged.len();
        let fits = frame::write(
            &mut self.staged,
            Kind::Transaction,
            self.sequence + self.staged_count + 1,
            self.sequence,
            frame::of_batch(operations),
        );
        if !fits {
            return Err(StageError::TooLarge);
        }
        if let Err(refused) = self.make_room(claim) {
            self.staged.truncate(before);
            // Whoever is refused may make room.
            self.room = None;
            if let CommitError::Broken(cause) = &refused {
                self.broken = Some(cause.clone());
            }
            return Err(StageError::Refused(refused));
        }
        self.staged_count += 1;
        self.staged_new |= claim == Claim::New;
        Ok(())
    }

    /// What was staged last deletes rows of so many bytes.
    pub fn note_deleted(&mut self, bytes: u64) {
        self.staged_deleted += bytes;
    }

    /// Makes everything staged durable, or nothing of it.
    ///
    /// # Errors
    /// [`CommitError::Full`] and [`CommitError::ReadOnly`] leave the log as it was. After [`CommitError::Broken`] it
    /// must not be used.
    pub fn commit(&mut self) -> Result<(), CommitError> {
        let mut staged = std::mem::take(&mut self.staged);
        let count = std::mem::take(&mut self.staged_count);
        let new = std::mem::take(&mut self.staged_new);
        let deleted = std::mem::take(&mut self.staged_deleted);
        self.room = None;
        if let Some(cause) = &self.broken {
            return Err(CommitError::Broken(cause.clone()));
        }
        if staged.is_empty() {
            return Ok(());
        }
        let end = self.end + staged.len() as u64;
        if let Some(seal_at) = self.seal_at.filter(|at| *at < end) {
            // What would be left of it would look like a torn write.
            let rest = (seal_at + frame::SEAL_BYTES as u64).saturating_sub(end);
            staged.resize(staged.len() + rest as usize, 0);
        }
        if let Err(error) = self.file.write_at(self.end, &staged) {
            return Err(self.undo(&error, self.end));
        }
        self.file
            .sync_data()
            .map_err(|error| CommitError::Broken(format!("sync: {error}")))?;
        self.end = end;
        self.sequence += count;
        self.seal_at = self.seal_at.filter(|at| *at >= end);
        self.sealed = false;
        self.deleted += deleted;
        self.gauge.written(new);
        self.tell_gauge();
        // Kept for the next one, but not the memory of a rare large group.
        if staged.capacity() <= SNAPSHOT_FRAME_BYTES {
            self.staged = staged;
            self.staged.clear();
        }
        Ok(())
    }

    /// Whether damage to the last group of transactions would still be taken for a write that the power cut.
    pub fn wants_seal(&self) -> bool {
        !self.sealed && self.broken.is_none()
    }

    /// Writes a seal, which vouches for the last group as the next one would. It is worth its page of the device when
    /// nothing more comes for a while. It is not synced: what it says is true already, and without it nothing is lost
    /// but that.
    pub fn seal(&mut self) {
        let at = frame::seal_place(self.end);
        self.sealed = true;
        // After a torn end, and on a full volume, there are no zeros for it before the next transaction. A file that
        // was cut must not grow again.
        if at + frame::SEAL_BYTES as u64 > self.allocated || self.misplaced().is_some() {
            return;
        }
        self.seal_at = Some(at);
        if let Err(error) = self.file.write_at(at, &frame::seal(self.sequence)) {
            log::debug!("the log could not be sealed: {error}");
        }
    }

    /// Whether the file is past its bound. Worth asking after each commit.
    pub fn wants_rotation(&self) -> bool {
        if self.rotation_rests() {
            return false;
        }
        let given_back_max = self.given_back_max();
        let little = self.limits.reserve_bytes;
        self.end > self.rotate_at
            || given_back_max >= little && !self.index_beside && self.is_short_of_room()
            || given_back_max >= little.max(self.snapshot_end / 2) && !self.has_room_for_new()
    }

    /// Writes the next generation and goes on with it. The state for it is read from this generation's file: what is
    /// copied is what the device has, never what the index believes.
    ///
    /// # Errors
    /// [`CommitError::Full`] and [`CommitError::ReadOnly`]: this generation goes on. After [`CommitError::Broken`] the
    /// log must not be used.
    pub fn rotate(&mut self) -> Result<(), CommitError> {
        let rotated = self.try_to_rotate();
        if let Err(CommitError::Full(_) | CommitError::ReadOnly(_)) = &rotated {
            // It costs a reading of the whole file: only after some more has been written, or others have made room.
            self.rotate_again_at = self.end + self.limits.extent_bytes;
            self.rotate_again_room = match Room::of(&*self.disk) {
                Room::Bytes(free) => free.saturating_add(self.limits.extent_bytes),
                Room::Unknown | Room::ReadOnly => u64::MAX,
            };
        }
        rotated
    }

    /// Whether the last try has found no room, and nothing has changed since.
    pub(super) fn rotation_rests(&self) -> bool {
        let has_more_room = || match Room::of(&*self.disk) {
            Room::Bytes(free) => free >= self.rotate_again_room,
            Room::Unknown | Room::ReadOnly => false,
        };
        self.end < self.rotate_again_at && !has_more_room()
    }

    fn try_to_rotate(&mut self) -> Result<(), CommitError> {
        let broken = |error: LogError| CommitError::Broken(format!("rotation: {error}"));
        let bytes = self.read().map_err(broken)?;
        let replayed = self.read_back(&bytes).map_err(broken)?;
        // The snapshot is no larger than what it is made of, and as a rule smaller.
        if !self.has_room(self.headroom() + self.end) {
            let needed = self.headroom() + bytes_of(&replayed.state);
            let room = Room::of(&*self.disk);
            // Not for nothing: where even its room is too little, the generation before stays.
            room.holds(needed.saturating_sub(self.before_bytes))?;
            if room.holds(needed).is_err() && self.drop_before() {
                Room::of(&*self.disk).holds(needed)?;
            }
        }
        let header = Header {
            generation: self.generation + 1,
            sequence: self.sequence,
        };
        self.go_on(header, &replayed.state)?;
        // At once, so that nobody else takes the room for it.
        let goal = self.goal(self.end);
        let room = self.demand_or_drop_before(self.headroom() + goal - self.end);
        let laid_down = room.and_then(|()| self.lay_down_zeros(goal));
        self.room = None;
        match laid_down {
            Err(CommitError::Broken(cause)) => Err(CommitError::Broken(cause)),
            Ok(()) | Err(CommitError::Full(_) | CommitError::ReadOnly(_)) => Ok(()),
        }
    }

    /// Gives `then` the state as this generation's file has it.
    ///
    /// # Errors
    /// It cannot be read, or does not say what was written.
    pub fn look<T>(&self, then: impl FnOnce(&[Row<'_>]) -> T) -> Result<T, LogError> {
        let bytes = self.read()?;
        Ok(then(&self.read_back(&bytes)?.state))
    }

    fn read(&self) -> Result<Vec<u8>, LogError> {
        let file = name(self.generation);
        self.disk.read(&file).map_err(|cause| io_error(&file, cause))
    }

    fn read_back<'a>(&self, bytes: &'a [u8]) -> Result<Replayed<'a>, LogError> {
        let file = name(self.generation);
        let replayed = replay(bytes).map_err(|fault| fault_in(&file, fault))?;
        if (replayed.sequence, replayed.end) == (self.sequence, self.end) {
            return Ok(replayed);
        }
        let cause = format!("it reads back to {} and should to {}", replayed.sequence, self.sequence);
        Err(LogError::Damaged { file, cause })
    }

    /// Puts `state` in the place of everything there is, as one transaction of any size: the next generation begins
    /// with it. After a crash it is one or the other.
    ///
    /// # Errors
    /// [`CommitError::Full`] and [`CommitError::ReadOnly`]: nothing has changed. After [`CommitError::Broken`] the log
    /// must not be used.
    pub fn replace(&mut self, state: &State) -> Result<(), CommitError> {
        let header = Header {
            generation: self.generation + 1,
            sequence: self.sequence + 1,
        };
        self.go_on(header, &rows(state))
    }

    fn go_on(&mut self, header: Header, state: &[Row<'_>]) -> Result<(), CommitError> {
        let (file, end) = match publish(&*self.disk, header, state) {
            Ok(published) => published,
            Err(LogError::Io { cause, .. }) if is_full(&cause) => {
                // It failed before the rename: only room for the temporary file can be wanting.
                let _ = self.disk.remove(&temporary(header.generation));
                return Err(CommitError::Full(cause.to_string()));
            }
            // Before the rename too; the next attempt or the next start removes what there is of it.
            Err(LogError::Io { cause, .. }) if is_read_only(&cause) => {
                return Err(CommitError::ReadOnly(cause.to_string()));
            }
            Err(error) => return Err(CommitError::Broken(format!("the next generation: {error}"))),
        };
        drop_before(&*self.disk, self.generation);
        *self = Self {
            before_bytes: self.allocated,
            index_beside: self.index_beside,
            gauge: self.gauge(),
            ..Self::at(Arc::clone(&self.disk), self.limits, file, header, end)
        };
        self.tell_gauge();
        Ok(())
    }
}
