//! Keeping an alert as a file where no relay answers.

use std::path::{Path, PathBuf};

use super::{Exit, Failure, Global, paths};
use crate::spool::{Entry, FILE_BYTES_MAX, Name, make, put};

/// Keeps the alert in the first spool that takes it, under `name`. Returns the file; it is on disk.
///
/// # Errors
/// [`Exit::Unreachable`], naming what was tried; [`Exit::Refused`] for what no relay would take from there.
pub(super) fn keep(global: &Global, name: &Name, entry: &Entry) -> Result<PathBuf, Failure> {
    let bytes = entry.encode();
    if bytes.len() as u64 > FILE_BYTES_MAX || Entry::decode(&bytes).is_err() {
        let text = "the alert is too large to be kept for later; nothing was sent";
        return Err(Failure::new(Exit::Refused, text));
    }
    let mut tried = Vec::new();
    for place in paths::spool_candidates(global)? {
        match keep_in(&place, name, &bytes) {
            Ok(()) => return Ok(place.join(name.as_str())),
            Err(why) => tried.push(format!("{} ({why})", place.display())),
        }
    }
    let text = format!("the alert cannot be kept for later either: tried {}", tried.join(", "));
    Err(Failure::new(Exit::Unreachable, text))
}

fn keep_in(place: &Path, name: &Name, bytes: &[u8]) -> Result<(), String> {
    // Where a relay has its state, its spool may be missing still: it makes one at its next start.
    if place.parent().is_some_and(paths::is_state) {
        make(place).map_err(|error| error.to_string())?;
    }
    paths::check_spool(place)?;
    put(place, name, bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "not there".into(),
        std::io::ErrorKind::PermissionDenied => "no permission".into(),
        _ => error.to_string(),
    })
}
