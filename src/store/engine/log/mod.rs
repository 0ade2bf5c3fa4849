//! The log: the truth about the state. sled beside it is an index that can be thrown away.
//!
//! A file begins with the whole state (a snapshot) and goes on with one frame a transaction. A transaction counts once
//! `fdatasync` has returned after it; transactions that came together share one. When the file has grown past its bound,
//! the next generation is written beside it, synced, read back and compared, and renamed, and the one before is kept.
//!
//! > Nothing is acknowledged before it is synced. A failed sync is never tried again: the kernel may have dropped the
//! > pages, and a second one would say yes.
//!
//! Deliberately absent: falling back to the older generation. It holds older ratchets, and using those again would use
//! keys twice; a damaged log is set aside and said, and a person decides.

mod disk;
mod export;
mod frame;
#[doc(hidden)]
pub mod fuzz;
mod recover;
mod replay;
mod room;

use disk::is_read_only;
pub use disk::{Disk, DiskFile, Found, Identity, RealDisk};
pub use export::{ExportFault, Exporter, import};
pub use frame::BODY_BYTES_MAX;
pub use recover::{Inspection, inspect, inspect_before};
pub use room::Gauge;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use frame::{Header, Kind};
use room::{Room, is_full};

/// All records, by tree number and key.
pub type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// A [`State`] that lies elsewhere: in the bytes of a file as a rule. In the order of the keys, each of them once. Copied row by
/// row, or in a map, it would leave the heap in pieces that malloc keeps for good; the file's bytes are one piece and this is
/// another, and both go back to the system.
pub type Rows<'a> = Vec<Row<'a>>;

/// Key and value.
pub type Row<'a> = (&'a [u8], &'a [u8]);

/// `state` where it lies.
pub fn rows(state: &State) -> Rows<'_> {
    state
        .iter()
        .map(|(key, value)| (key.as_slice(), value.as_slice()))
        .collect()
}

fn owned(rows: &[Row<'_>]) -> State {
    rows.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

/// A put, or a delete.
pub type Operation = (Vec<u8>, Option<Vec<u8>>);

/// What a snapshot's frame holds at most, but for one record that is larger by itself.
const SNAPSHOT_FRAME_BYTES: usize = 256 * 1024;

/// What a row takes beside its key and value: two lengths and a mark.
const ROW_BYTES_MAX: usize = 11;

/// What [`apart`] asks for at least. glibc takes a block over its mmap threshold from the system and gives it back; but with each
/// such block that is let go of, the threshold rises to its size, up to 32 MiB (512 KiB with 32 bits). After one rotation, the
/// next would be laid between the small pieces of the heap and leave holes there. A block over the highest threshold
/// neither moves it nor is laid there.
const APART_BYTES: usize = if cfg!(target_pointer_width = "64") {
    33 << 20
} else {
    1 << 20
};

/// A vector for `len` or more that is a mapping of its own. Of what it does not use nothing is resident.
fn apart<T>(len: usize) -> Vec<T> {
    let mut vector = Vec::new();
    let most = len.max(APART_BYTES / size_of::<T>());
    // Where memory may not be promised that is not there, malloc decides.
    if vector.try_reserve_exact(most).is_err() {
        vector.reserve_exact(len);
    }
    vector
}

/// How large the file gets. Others than the default are for tests.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A file is rotated when the transactions in it take more than this, and more than its snapshot. Bytes.
    pub rotate_bytes_min: u64,
    /// The file grows by so many zeros at a time. Overwriting them changes no metadata, so that a commit costs the device
    /// its pages and no journal entry.
    pub extent_bytes: u64,
    /// With less than this left on the volume, nothing new is taken, and while the index is on it the file does not
    /// grow. The rest is for sled, which writes its buffers (512 KiB each) whenever they are full and never recovers
    /// from not being able to, and for cutting back.
    pub headroom_bytes: u64,
    /// So much of the zeros is kept for [`Claim::Reserve`]: on a volume that others have filled to the last byte, the line
    /// still has room for its ratchets and acks. Where room is short, a rotation is worth its while from this on.
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

/// What a transaction may take of the room that is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Something new that can still be refused: it must leave the reserve as it is.
    New,
    /// What follows from something that was accepted, or keeps the line up.
    Reserve,
}

/// Why there is no log to go on with.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{file}: {cause}")]
    Io { file: String, cause: io::Error },
    /// Acknowledged transactions are lost. The file is set aside under another name, and stays there.
    #[error("{file} is damaged: {cause}")]
    Damaged { file: String, cause: String },
    #[error("{file} was written by a later version of Tautline ({cause})")]
    Newer { file: String, cause: String },
}

/// What became of a commit that failed.
#[derive(Debug, Clone)]
pub enum CommitError {
    /// There is no room. Nothing of it is on the disk, and the log goes on.
    Full(String),
    /// Nothing can be written. Nothing of it is on the disk, and the log goes on when something can.
    ReadOnly(String),
    /// Nobody knows what is on the disk. The log must not be used any more.
    Broken(String),
}

/// Why a transaction was not staged. Those staged before it are not touched.
#[derive(Debug)]
pub enum StageError {
    /// It is over [`BODY_BYTES_MAX`].
    TooLarge,
    /// As at a commit.
    Refused(CommitError),
}

/// The log, open for appending.
pub struct Log {
    disk: Arc<dyn Disk>,
    limits: Limits,
    file: Box<dyn DiskFile>,
    /// Of `file`, to see whether its name still leads to it.
    identity: Option<Identity>,
    generation: u64,
    /// Of the last transaction that is on the device.
    sequence: u64,
    /// Where the next frame goes, and how far zeros have been laid down.
    end: u64,
    allocated: u64,
    /// Where the transactions begin.
    snapshot_end: u64,
    /// What the transactions since the snapshot have deleted, in bytes of rows, as far as it was looked up: the next
    /// snapshot is so much smaller at least.
    deleted: u64,
    staged_deleted: u64,
    /// What the generation before takes on the volume. It goes where its room is needed.
    before_bytes: u64,
    /// sled writes to the same volume.
    index_beside: bool,
    rotate_at: u64,
    /// Not before: there was no room.
    rotate_again_at: u64,
    /// Where a seal lies in the zeros, and whether it, or the snapshot, vouches for everything that is on the device.
    seal_at: Option<u64>,
    sealed: bool,
    staged: Vec<u8>,
    staged_count: u64,
    /// What the volume said about room, for the transactions of one commit.
    room: Option<Room>,
    /// Something new is staged.
    staged_new: bool,
    gauge: Arc<Gauge>,
    broken: Option<String>,
}

impl Log {
    /// Opens the newest generation, cutting off what the power cut; `None` when there is none.
    ///
    /// # Errors
    /// It cannot be read, is damaged (and then set aside), or is of a later version.
    pub fn open(disk: Arc<dyn Disk>, limits: Limits) -> Result<Option<(Self, State)>, LogError> {
        Self::open_with(disk, limits, |_, rows| owned(rows))
    }

    /// [`open`](Self::open) without a copy of the state: `then` looks at it where it lies. Returns what `then` does.
    ///
    /// # Errors
    /// As there.
    pub fn open_with<T>(
        disk: Arc<dyn Disk>,
        limits: Limits,
        then: impl FnOnce(&Self, &[Row<'_>]) -> T,
    ) -> Result<Option<(Self, T)>, LogError> {
        recover::open(disk, limits, then)
    }

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

    fn at(disk: Arc<dyn Disk>, limits: Limits, file: Box<dyn DiskFile>, header: Header, snapshot_end: u64) -> Self {
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

    /// Of the last transaction that is on the device.
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
    /// [`CommitError::Full`] and [`CommitError::ReadOnly`] leave the log as it was. After [`CommitError::Broken`] it must
    /// not be used.
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
    /// nothing more comes for a while. It is not synced: what it says is true already, and without it nothing is lost but
    /// that.
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
        if self.end < self.rotate_again_at {
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
    /// [`CommitError::Full`] and [`CommitError::ReadOnly`]: this generation goes on. After [`CommitError::Broken`] the log
    /// must not be used.
    pub fn rotate(&mut self) -> Result<(), CommitError> {
        let rotated = self.try_to_rotate();
        if let Err(CommitError::Full(_) | CommitError::ReadOnly(_)) = &rotated {
            // It costs a reading of the whole file: only after some more has been written.
            self.rotate_again_at = self.end + self.limits.extent_bytes;
        }
        rotated
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

    fn read_back<'a>(&self, bytes: &'a [u8]) -> Result<replay::Replayed<'a>, LogError> {
        let file = name(self.generation);
        let replayed = replay::replay(bytes).map_err(|fault| fault_in(&file, fault))?;
        if (replayed.sequence, replayed.end) == (self.sequence, self.end) {
            return Ok(replayed);
        }
        let cause = format!("it reads back to {} and should to {}", replayed.sequence, self.sequence);
        Err(LogError::Damaged { file, cause })
    }

    /// Puts `state` in the place of everything there is, as one transaction of any size: the next generation begins with
    /// it. After a crash it is one or the other.
    ///
    /// # Errors
    /// [`CommitError::Full`] and [`CommitError::ReadOnly`]: nothing has changed. After [`CommitError::Broken`] the log must not be used.
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
        recover::drop_before(&*self.disk, self.generation);
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

/// Writes a whole generation under its temporary name, syncs it, reads it back, gives it its name, and makes the name
/// last. Returns it and where its snapshot ends.
fn publish(disk: &dyn Disk, header: Header, state: &[Row<'_>]) -> Result<(Box<dyn DiskFile>, u64), LogError> {
    let (temporary, name) = (temporary(header.generation), name(header.generation));
    let fault = |cause| io_error(&temporary, cause);
    let mut file = disk.create(&temporary).map_err(fault)?;
    let end = write_snapshot(&mut *file, header, state).map_err(fault)?;
    file.sync_all().map_err(fault)?;
    verify(disk, &temporary, header, state)?;
    // From here on nothing is for want of room, whatever the disk says: the old generation must not go on.
    let fault = |cause: io::Error| io_error(&name, io::Error::other(cause.to_string()));
    disk.rename(&temporary, &name).map_err(fault)?;
    disk.sync_directory().map_err(fault)?;
    Ok((file, end))
}

fn write_snapshot(file: &mut dyn DiskFile, header: Header, state: &[Row<'_>]) -> io::Result<u64> {
    let mut out = frame::write_header(header).to_vec();
    let mut offset = 0;
    let mut part = Vec::new();
    let mut part_bytes = 0;
    for (key, value) in state {
        let bytes = key.len() + value.len();
        if part_bytes + bytes > SNAPSHOT_FRAME_BYTES && !part.is_empty() {
            write_part(&mut out, Kind::Snapshot, header.sequence, &part)?;
            file.write_at(offset, &out)?;
            offset += out.len() as u64;
            out.clear();
            part.clear();
            part_bytes = 0;
        }
        part.push((*key, Some(*value)));
        part_bytes += bytes;
    }
    write_part(&mut out, Kind::SnapshotEnd, header.sequence, &part)?;
    file.write_at(offset, &out)?;
    Ok(offset + out.len() as u64)
}

/// What a snapshot of `state` takes, and a little more.
fn bytes_of(state: &[Row<'_>]) -> u64 {
    let row = |(key, value): &Row<'_>| key.len() + value.len() + ROW_BYTES_MAX;
    let rows: usize = state.iter().map(row).sum();
    (rows + rows / 1024 + SNAPSHOT_FRAME_BYTES) as u64
}

fn write_part(out: &mut Vec<u8>, kind: Kind, sequence: u64, part: &[(&[u8], Option<&[u8]>)]) -> io::Result<()> {
    if frame::write(out, kind, sequence, sequence, part.iter().copied()) {
        Ok(())
    } else {
        Err(io::Error::other("a record is larger than a frame"))
    }
}

/// Reads `file` back and compares it with what it should say.
fn verify(disk: &dyn Disk, file: &str, header: Header, state: &[Row<'_>]) -> Result<(), LogError> {
    let bytes = disk.read(file).map_err(|cause| io_error(file, cause))?;
    let replayed = replay::replay(&bytes).map_err(|fault| fault_in(file, fault))?;
    let same = replayed.generation == header.generation
        && replayed.sequence == header.sequence
        && replayed.torn == 0
        && replayed.state == *state;
    if same {
        return Ok(());
    }
    Err(LogError::Damaged {
        file: file.into(),
        cause: "it does not read back as it was written".into(),
    })
}

fn name(generation: u64) -> String {
    format!("log.{generation}")
}

fn temporary(generation: u64) -> String {
    format!("log.{generation}.tmp")
}

fn io_error(file: &str, cause: io::Error) -> LogError {
    LogError::Io {
        file: file.into(),
        cause,
    }
}

fn fault_in(file: &str, fault: frame::Fault) -> LogError {
    let file = file.into();
    match fault {
        frame::Fault::Damaged(cause) => LogError::Damaged { file, cause },
        frame::Fault::Newer(cause) => LogError::Newer { file, cause },
    }
}
