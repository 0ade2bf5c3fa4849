//! Reading all of the state without changing any of it.
//!
//! While a relay runs on the state, the log is read as it stands: it only ever grows, and what was written whole can be
//! judged. The index is not looked at then, because opening it would change it under its owner.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::log::{Inspection, LogError, RealDisk, State, inspect, inspect_before};
use super::{
    Lock, LockError, StoreError, Tree, credentials, history, inbound, index, journal, outbox, record, tokens, writer,
};

/// A log that grows while it is read can look damaged: a frame is read before it is written, a later one after it.
const LOOKS_MAX: u32 = 5;

/// What a check found.
#[derive(Debug)]
pub struct Checked {
    /// Of the log, and its last transaction.
    pub generation: u64,
    pub sequence: u64,
    pub log_bytes: u64,
    /// Of a last write that was never acknowledged.
    pub torn_bytes: u64,
    /// Transaction at which the generation before ends; nothing uses it. `None` when there is none, or a damaged one.
    pub before: Option<u64>,
    /// How many records there are, by the name of their tree; a large one counts with its pieces.
    pub records: BTreeMap<&'static str, usize>,
    pub index: Index,
    /// The process that has the state, if one does.
    pub held_by: Option<LockError>,
    /// What is not as it should be, a line each: what, where, and what to do.
    pub faults: Vec<String>,
}

/// What the index is like beside the log. Every start puts it right, and nothing of this is a fault, but for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Index {
    /// There is none yet.
    Absent,
    AsTheLog,
    /// So many rows differ, as after a kill.
    Behind(usize),
    /// It has seen this transaction, which the log does not have: that has lost something, and no start goes on with it.
    Ahead(u64),
    /// It will be made again.
    Unreadable(String),
    NotLookedAt(String),
}

/// Reads the log in the state directory `path`, the generation before it, every record by its type, and compares the index
/// (a copy of it: see `index.rs`) with the log.
///
/// # Errors
/// There is no state there, it cannot be read at all, a later version wrote it, or the log itself is damaged.
pub fn check(path: &Path) -> Result<Checked, StoreError> {
    let disk = RealDisk::new(path.to_owned());
    look_for_a_state(path)?;
    let (lock, held_by, unlocked) = match Lock::acquire(path) {
        Ok(lock) => (Some(lock), None, String::new()),
        Err(StoreError::Locked(holder)) => (None, Some(holder), "the relay is using it".into()),
        // A card in another machine, mounted read-only: to be read all the same.
        Err(error) => (None, None, format!("the lock cannot be taken: {error}")),
    };
    let found = patiently(lock.is_none(), || inspect(&disk)).map_err(|error| writer::log_error(path, error))?;
    let Some(found) = found else {
        return Err(without_log(path, lock.is_some()));
    };
    let mut faults = Vec::new();
    let (before, fault) = match patiently(lock.is_none(), || inspect_before(&disk, found.generation)) {
        Ok(before) => (before.map(|before| before.sequence), None),
        Err(error) => (None, Some(error)),
    };
    faults.extend(fault.map(|error| {
        format!(
            "the generation before, which nothing uses: {error}; nothing is lost, but the disk is failing: see dmesg"
        )
    }));
    let mut records = BTreeMap::new();
    faults.extend(unreadable(&found.state, &mut records));
    let index = match lock {
        Some(_) => compare(path, &found, &mut faults),
        None => Index::NotLookedAt(unlocked),
    };
    Ok(Checked {
        generation: found.generation,
        sequence: found.sequence,
        log_bytes: found.bytes,
        torn_bytes: found.torn_bytes,
        before,
        records,
        index,
        held_by,
        faults,
    })
}

/// Nothing may be written into a directory that is no state, not even the lock.
pub(super) fn look_for_a_state(path: &Path) -> Result<(), StoreError> {
    let open = |cause: String| StoreError::Open {
        path: path.to_owned(),
        cause,
    };
    let about = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => open("there is no such directory".into()),
        io::ErrorKind::NotADirectory => open("it is not a directory".into()),
        io::ErrorKind::PermissionDenied => open("no permission, try sudo or the relay's own user".into()),
        _ => open(error.to_string()),
    };
    let entries = std::fs::read_dir(path).map_err(about)?;
    for entry in entries {
        let name = entry.map_err(|error| open(error.to_string()))?.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("log.") || name == "db" {
            return Ok(());
        }
    }
    Err(open("there is no state in it".into()))
}

/// Looks again when the log grows or turns over under our eyes.
fn patiently<T>(shared: bool, mut look: impl FnMut() -> Result<T, LogError>) -> Result<T, LogError> {
    let mut looks = 1;
    loop {
        match look() {
            Err(LogError::Damaged { .. } | LogError::Io { .. }) if shared && looks < LOOKS_MAX => looks += 1,
            done => return done,
        }
    }
}

/// Reads every record as its type, and counts them by tree. A line for each that is not to be read; none of them tells a
/// number, an id or a key.
pub(super) fn unreadable(state: &State, records: &mut BTreeMap<&'static str, usize>) -> Vec<String> {
    let mut faults = Vec::new();
    for (raw, value) in state {
        let (number, key) = raw
            .split_first()
            .map_or((0xFF, &[][..]), |(number, key)| (*number, key));
        let Some(tree) = Tree::from_number(number) else {
            faults.push(format!(
                "a record of tree {number}, which this version does not know: a later one wrote it, so use that"
            ));
            continue;
        };
        let count = records.entry(tree.name()).or_default();
        *count += 1;
        if let Err(error) = read(state, tree, key, value) {
            faults.push(format!("{error} (number {count} of its kind); {}", advice(tree)));
        }
    }
    faults
}

fn read(state: &State, tree: Tree, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    match tree {
        Tree::Meta => record::version(tree, value).map(drop),
        Tree::Outbox => outbox::decode(key, value).map(drop),
        Tree::AlertKey => outbox::decode_key(key, value).map(drop),
        Tree::Inbound | Tree::InboundIdentity => inbound::check_row(tree, key, value),
        Tree::Journal => journal::check_row(key, value),
        Tree::LineEnd => history::decode(value).map(drop),
        Tree::Token => tokens::decode(key, value).map(drop),
        Tree::Device
        | Tree::Identity
        | Tree::Session
        | Tree::PreKey
        | Tree::SignedPreKey
        | Tree::SenderKey
        | Tree::SyncKey
        | Tree::SyncVersion
        | Tree::MutationMac
        | Tree::SenderKeyDevice
        | Tree::LidMapping
        | Tree::PnMapping
        | Tree::BaseKey
        | Tree::DeviceList
        | Tree::GroupMetadata
        | Tree::TcToken
        | Tree::SentMessage
        | Tree::PendingInbound
        | Tree::MessageSecret
        | Tree::Quarantine => {
            let row = |key: &[u8]| state.get(&super::batch::raw_key(tree, key)).cloned();
            credentials::check_row(tree, key, value, row)
        }
    }
}

fn advice(tree: Tree) -> &'static str {
    match tree {
        Tree::Device => "its session does not start: restore a backup, or move the state away and pair again",
        Tree::Token => "it gives no right: revoke it and make another",
        Tree::Outbox => "this alert is not sent, the others are; `dmesg` tells of a failing disk",
        _ => "the relay goes on without it; `dmesg` tells of a failing disk",
    }
}

/// What a state without a log is. An index that has seen a transaction had one.
fn without_log(path: &Path, locked: bool) -> StoreError {
    let seen = (locked && path.join("db").exists())
        .then(|| IndexCopy::of(path).ok())
        .flatten()
        .and_then(|copy| index::read_all(&copy.0).ok())
        .and_then(|(_, seen)| seen);
    match seen {
        Some(seen) => writer::index_error(path, index::IndexError::Ahead { seen }, None),
        None => StoreError::Open {
            path: path.to_owned(),
            cause: "there is no log in it; a run of the relay makes one, also from an older state".into(),
        },
    }
}

fn compare(path: &Path, found: &Inspection, faults: &mut Vec<String>) -> Index {
    if !path.join("db").exists() {
        return Index::Absent;
    }
    if path.join("db.opening").exists() {
        return Index::Unreadable(index::INTERRUPTED.into());
    }
    let copy = match IndexCopy::of(path) {
        Ok(copy) => copy,
        Err(error) => return Index::NotLookedAt(format!("a copy of it cannot be made: {error}")),
    };
    let (rows, seen) = match index::read_all(&copy.0) {
        Ok(read) => read,
        Err(cause) => return Index::Unreadable(cause),
    };
    if let Some(seen) = seen.filter(|seen| *seen > found.sequence) {
        let ahead = index::IndexError::Ahead { seen };
        faults.push(writer::index_error(path, ahead, Some(found.sequence)).to_string());
        return Index::Ahead(seen);
    }
    let missing = found.state.iter().filter(|(key, value)| rows.get(*key) != Some(*value));
    let surplus = rows.keys().filter(|key| !found.state.contains_key(*key));
    match missing.count() + surplus.count() {
        0 => Index::AsTheLog,
        differ => Index::Behind(differ),
    }
}

/// For whoever writes into the state of a log that ends with `sequence`: the index may show that the log has lost something,
/// and the next start would stop at it. An index that cannot be read is no hindrance: a start makes it again.
///
/// # Errors
/// [`StoreError::Damaged`]: acknowledged changes are gone. [`StoreError::Open`]: there is no copy of the index to look at.
pub(super) fn refuse_a_lost_end(path: &Path, sequence: u64) -> Result<(), StoreError> {
    if !path.join("db").exists() || path.join("db.opening").exists() {
        return Ok(());
    }
    let copy = IndexCopy::of(path).map_err(|error| StoreError::Open {
        path: path.to_owned(),
        cause: format!("its index cannot be copied, to be looked at: {error}"),
    })?;
    match index::read_all(&copy.0) {
        Ok((_, Some(seen))) if seen > sequence => {
            let ahead = index::IndexError::Ahead { seen };
            Err(writer::index_error(path, ahead, Some(sequence)))
        }
        _ => Ok(()),
    }
}

/// A copy of the index beside it, where nobody but the owner can read; removed on drop. Opening sled writes, so the
/// original is left alone.
struct IndexCopy(PathBuf);

impl IndexCopy {
    fn of(path: &Path) -> std::io::Result<Self> {
        let copy = Self(path.join(index::CHECKED_COPY));
        copy.remove();
        std::fs::create_dir(&copy.0)?;
        private(&copy.0)?;
        index::copy_tree(&path.join("db"), &copy.0.join("db"))?;
        Ok(copy)
    }

    fn remove(&self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            log::warn!("{} stays behind: {error}", self.0.display());
        }
    }
}

impl Drop for IndexCopy {
    fn drop(&mut self) {
        self.remove();
    }
}

fn private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}
