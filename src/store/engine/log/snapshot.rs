//! The state that a generation begins with: written, read back, and compared.

use std::io;

use super::error::{LogError, fault_in, io_error};
use super::files::{name, temporary};
use super::frame::{self, Header, Kind};
use super::replay::replay;
use super::{Disk, DiskFile, Row};

/// What a snapshot's frame holds at most, but for one record that is larger by itself.
pub(super) const SNAPSHOT_FRAME_BYTES: usize = 256 * 1024;

/// What a row takes beside its key and value: two lengths and a mark.
const ROW_BYTES_MAX: usize = 11;

/// Writes a whole generation under its temporary name, syncs it, reads it back, gives it its name, and makes the name
/// last. Returns it and where its snapshot ends.
pub(super) fn publish(
    disk: &dyn Disk,
    header: Header,
    state: &[Row<'_>],
) -> Result<(Box<dyn DiskFile>, u64), LogError> {
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
pub(super) fn bytes_of(state: &[Row<'_>]) -> u64 {
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
    let replayed = replay(&bytes).map_err(|fault| fault_in(file, fault))?;
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
