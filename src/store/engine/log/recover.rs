//! What is found at a start: leftovers, a torn end, damage.

use std::sync::Arc;

use super::error::{fault_in, io_error};
use super::files::{aside, drop_before, find, name, newest};
use super::frame::{self, Fault, Header};
use super::replay::{Replayed, replay};
use super::snapshot::bytes_of;
use super::state::owned;
use super::{Disk, Limits, Log, LogError, Row, State};

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
    /// As for [`open`](Self::open).
    pub fn open_with<T>(
        disk: Arc<dyn Disk>,
        limits: Limits,
        then: impl FnOnce(&Self, &[Row<'_>]) -> T,
    ) -> Result<Option<(Self, T)>, LogError> {
        open(disk, limits, then)
    }
}

/// Gives `then` the log and what it says, while its bytes are in memory.
fn open<T>(
    disk: Arc<dyn Disk>,
    limits: Limits,
    then: impl FnOnce(&Log, &[Row<'_>]) -> T,
) -> Result<Option<(Log, T)>, LogError> {
    let found = find(&*disk)?;
    let newest = newest(&found)?;
    for leftover in &found.temporary {
        disk.remove(leftover).map_err(|cause| io_error(leftover, cause))?;
    }
    let Some(generation) = newest else {
        return Ok(None);
    };
    let file_name = name(generation);
    let fault = |cause| io_error(&file_name, cause);
    let bytes = disk.read(&file_name).map_err(fault)?;
    let replayed = read(&bytes, generation).map_err(|fault| set_aside(&*disk, generation, fault))?;
    let len = bytes.len() as u64;
    let mut file = disk.open(&file_name).map_err(fault)?;
    if replayed.torn > 0 {
        log::info!(
            "the last write was cut off by the end of the last run; {} bytes of it go",
            replayed.torn
        );
    }
    // Nothing of what was torn may come back. Zeros alone stay: they cost the device nothing more, and on a full volume
    // they are all the room there is.
    let allocated = if replayed.torn > 0 { replayed.end } else { len };
    if len > allocated {
        file.set_len(allocated).map_err(fault)?;
    }
    // A killed process leaves in the kernel what it wrote and did not sync; a name may not be on the device either.
    // What is read must last before anybody acts on it.
    file.sync_all().map_err(fault)?;
    disk.sync_directory().map_err(fault)?;
    let before = generation.saturating_sub(1);
    drop_before(&*disk, before);
    let before_bytes = match found.generations.contains(&before) {
        true => disk.bytes(&name(before)).unwrap_or(0),
        false => 0,
    };
    let header = Header {
        generation,
        sequence: replayed.sequence,
    };
    let mut log = Log::at(disk, limits, file, header, replayed.snapshot_end);
    log.end = replayed.end;
    log.allocated = allocated;
    log.before_bytes = before_bytes;
    let since_snapshot = replayed.end - replayed.snapshot_end;
    log.deleted = replayed
        .end
        .saturating_sub(bytes_of(&replayed.state))
        .saturating_sub(since_snapshot);
    log.tell_gauge();
    log.seal_at = replayed.sealed.map(|_| frame::seal_place(replayed.end));
    log.sealed = replayed.transactions == 0 || replayed.sealed == Some(replayed.sequence);
    let value = then(&log, &replayed.state);
    Ok(Some((log, value)))
}

fn read(bytes: &[u8], generation: u64) -> Result<Replayed<'_>, Fault> {
    let replayed = replay(bytes)?;
    if replayed.generation == generation {
        return Ok(replayed);
    }
    Err(Fault::Damaged(format!(
        "it is generation {} by its header",
        replayed.generation
    )))
}

/// Moves a damaged file out of the way of any later write. What a later version wrote stays where it is.
fn set_aside(disk: &dyn Disk, generation: u64, fault: Fault) -> LogError {
    let error = fault_in(&name(generation), fault);
    let LogError::Damaged { cause, .. } = &error else {
        return error;
    };
    let moved = disk
        .rename(&name(generation), &aside(generation))
        .and_then(|()| disk.sync_directory());
    match moved {
        Ok(()) => LogError::Damaged {
            file: aside(generation),
            cause: cause.clone(),
        },
        // It is refused under its own name then, now and at the next start.
        Err(_) => error,
    }
}

/// What a look at the log found. Nothing is changed by looking.
#[derive(Debug)]
pub struct Inspection {
    pub generation: u64,
    /// The number of the last transaction.
    pub sequence: u64,
    /// Transactions since the snapshot that the file begins with.
    pub transactions: u64,
    /// The size of the snapshot, and of all that the file holds.
    pub snapshot_bytes: u64,
    pub bytes: u64,
    /// What a power cut left of a write that was never acknowledged.
    pub torn_bytes: u64,
    pub state: State,
}

/// Reads the newest generation and changes nothing; `None` when there is none.
///
/// # Errors
/// As for [`Log::open`], but a damaged file stays where it is.
pub fn inspect(disk: &dyn Disk) -> Result<Option<Inspection>, LogError> {
    match newest(&find(disk)?)? {
        Some(generation) => look_at(disk, generation).map(Some),
        None => Ok(None),
    }
}

/// The same for the generation that is kept from before `generation`. No start ever uses it; that it can be read says
/// something about the medium.
///
/// # Errors
/// As for [`inspect`].
pub fn inspect_before(disk: &dyn Disk, generation: u64) -> Result<Option<Inspection>, LogError> {
    let earlier = find(disk)?.generations.into_iter().rfind(|number| *number < generation);
    earlier.map(|earlier| look_at(disk, earlier)).transpose()
}

fn look_at(disk: &dyn Disk, generation: u64) -> Result<Inspection, LogError> {
    let file = name(generation);
    let bytes = disk.read(&file).map_err(|cause| io_error(&file, cause))?;
    let replayed = read(&bytes, generation).map_err(|fault| fault_in(&file, fault))?;
    Ok(Inspection {
        generation,
        sequence: replayed.sequence,
        transactions: replayed.transactions,
        snapshot_bytes: replayed.snapshot_end,
        bytes: replayed.end,
        torn_bytes: replayed.torn,
        state: owned(&replayed.state),
    })
}
