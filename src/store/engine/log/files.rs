//! The log's files in a directory, by name: generations, those of them that are damaged, and leftovers.

use super::Disk;
use super::error::{LogError, io_error};

pub(super) fn name(generation: u64) -> String {
    format!("log.{generation}")
}

pub(super) fn temporary(generation: u64) -> String {
    format!("log.{generation}.tmp")
}

/// What the log's files in a directory are, by name.
#[derive(Default)]
pub(super) struct Found {
    pub(super) generations: Vec<u64>,
    /// Set aside by an earlier start.
    pub(super) damaged: Vec<u64>,
    /// Files of a rotation that did not get as far as its name.
    pub(super) temporary: Vec<String>,
}

pub(super) fn find(disk: &dyn Disk) -> Result<Found, LogError> {
    let mut found = Found::default();
    for file in disk.list().map_err(|cause| io_error("the state directory", cause))? {
        let Some(rest) = file.strip_prefix("log.") else {
            continue;
        };
        match rest.split_once('.') {
            None => found.generations.extend(rest.parse::<u64>()),
            Some((number, "damaged")) => found.damaged.extend(number.parse::<u64>()),
            Some((_, "tmp")) => found.temporary.push(file),
            Some(_) => {}
        }
    }
    found.generations.sort_unstable();
    Ok(found)
}

/// Refuses to go on with a generation older than one that was set aside.
pub(super) fn newest(found: &Found) -> Result<Option<u64>, LogError> {
    let newest = found.generations.last().copied();
    match found.damaged.iter().max() {
        Some(damaged) if newest.is_none_or(|newest| newest <= *damaged) => Err(LogError::Damaged {
            file: aside(*damaged),
            cause: "an earlier start set it aside, and what is older must not be used".into(),
        }),
        _ => Ok(newest),
    }
}

pub(super) fn aside(generation: u64) -> String {
    format!("log.{generation}.damaged")
}

/// Removes the generations before `oldest_kept`, and returns how many. One that cannot be removed costs room and
/// nothing else.
pub(super) fn drop_before(disk: &dyn Disk, oldest_kept: u64) -> usize {
    let Ok(found) = find(disk) else { return 0 };
    let old = found.generations.into_iter().filter(|number| *number < oldest_kept);
    old.filter(|generation| match disk.remove(&name(*generation)) {
        Ok(()) => true,
        Err(error) => {
            log::info!("{} cannot be removed: {error}", name(*generation));
            false
        }
    })
    .count()
}
