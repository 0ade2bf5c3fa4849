//! What is wrong with the spools, kept for health.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use crate::util::lock;

/// Troubles that are told one by one.
const TOLD_MAX: usize = 5;

/// What is wrong with the spools, for health.
#[derive(Debug, Default)]
pub struct Spooling(Mutex<Troubles>);

#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// Why a spool is not taken from.
    pub(super) closed: BTreeMap<PathBuf, String>,
    /// Alerts that wait in their files, with the reason.
    pub(super) held: BTreeMap<PathBuf, String>,
    /// How many files wait in each spool beyond those.
    pub(super) beyond: BTreeMap<PathBuf, usize>,
    /// How many files lie aside in each spool.
    pub(super) aside: BTreeMap<PathBuf, usize>,
}

impl Troubles {
    /// The folder there is another now: what was wrong with its files is over.
    pub(super) fn forget(&mut self, path: &Path) {
        self.held.retain(|file, _| file.parent() != Some(path));
        self.beyond.remove(path);
        self.aside.remove(path);
    }
}

impl Spooling {
    pub(super) fn troubles(&self) -> MutexGuard<'_, Troubles> {
        lock(&self.0)
    }

    /// Alerts that cannot be taken, and spools that cannot be read: a line each.
    #[must_use]
    pub fn held(&self) -> Vec<String> {
        let troubles = self.troubles();
        let closed = troubles
            .closed
            .iter()
            .map(|(path, why)| format!("the spool {} is not taken from: {why}", path.display()));
        let held = troubles
            .held
            .iter()
            .map(|(path, why)| format!("{} waits: {why}", path.display()));
        let more = troubles.held.len().saturating_sub(TOLD_MAX) + troubles.beyond.values().sum::<usize>();
        let more = (more > 0).then(|| format!("and {more} more files wait in the spool"));
        closed.chain(held.take(TOLD_MAX)).chain(more).collect()
    }

    /// Files that were no alerts: a line for each spool that has some.
    #[must_use]
    pub fn aside(&self) -> Vec<String> {
        let troubles = self.troubles();
        let some = troubles.aside.iter().filter(|(_, count)| **count > 0);
        let line = |(path, count): (&PathBuf, &usize)| {
            format!(
                "{count} file(s) in {} were no alerts and were moved there",
                path.join("aside").display()
            )
        };
        some.map(line).collect()
    }
}
