//! Reading all of the state without changing any of it.
//!
//! While a relay runs on the state, the log is read as it stands: it only ever grows, and what was written whole can be
//! judged. The index is not looked at then, because opening it would change it under its owner.

use std::collections::BTreeMap;
use std::path::Path;

use crate::alert::{Attachment, BlobHash};
use crate::blobs;
use crate::credentials;
use crate::outbox::Step;
use crate::store::engine::Lock;
use crate::store::engine::closed::{self, ClosedIndex};
use crate::store::log::{RealDisk, State, inspect, inspect_before};
use crate::store::{LockError, Loss, StoreError, Tree, history, inbound, journal, outbox, record, tokens, uploads};

/// What a check found.
#[derive(Debug)]
pub struct Checked {
    /// The log's generation, and its last transaction.
    pub generation: u64,
    pub sequence: u64,
    pub log_bytes: u64,
    /// What is left of a last write that was never acknowledged.
    pub torn_bytes: u64,
    /// Transaction at which the generation before ends; nothing uses it. `None` when there is none, or a damaged one.
    pub before: Option<u64>,
    /// How many records there are, by the name of their tree; a large one counts with its pieces.
    pub records: BTreeMap<&'static str, usize>,
    pub index: ClosedIndex,
    /// The process that has the state, if one does.
    pub held_by: Option<LockError>,
    /// What is not as it should be, a line each: what, where, and what to do.
    pub faults: Vec<String>,
}

/// Reads the log in the state directory `path`, the generation before it, every record by its type, and compares the
/// index (a copy of it) with the log.
///
/// # Errors
/// There is no state there, it cannot be read at all, a later version wrote it, or the log itself is damaged.
pub fn check(path: &Path) -> Result<Checked, StoreError> {
    let disk = RealDisk::new(path.to_owned());
    closed::look_for_a_state(path)?;
    let (lock, held_by, unlocked) = match Lock::acquire(path) {
        Ok(lock) => (Some(lock), None, String::new()),
        Err(StoreError::Locked(holder)) => (None, Some(holder), "the relay is using it".into()),
        // A card in another machine, mounted read-only: to be read all the same.
        Err(error) => (None, None, format!("the lock cannot be taken: {error}")),
    };
    let found = closed::patiently(lock.is_none(), || inspect(&disk)).map_err(|error| closed::log_error(path, error))?;
    let Some(found) = found else {
        return Err(closed::without_log(path, lock.is_some()));
    };
    let mut faults = Vec::new();
    let (before, fault) = match closed::patiently(lock.is_none(), || inspect_before(&disk, found.generation)) {
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
    faults.extend(missing_files(path, &found.state));
    let index = match lock {
        Some(_) => closed::compare_index(path, &found),
        None => ClosedIndex::NotLookedAt(unlocked),
    };
    if let ClosedIndex::Ahead(seen) = index {
        faults.push(closed::lost_end(path, found.sequence, seen).to_string());
    }
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

/// Reads every record as its type, and counts them by tree. A line for each that is not to be read; none of them tells
/// a number, an id or a key.
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

/// Looks at the files of alerts that wait: one that is through may have given its own up.
fn missing_files(path: &Path, state: &State) -> Vec<String> {
    let mut wanted = BTreeMap::new();
    for (raw, value) in state {
        let Some((number, key)) = raw.split_first() else {
            continue;
        };
        if Tree::from_number(*number) != Some(Tree::Outbox) {
            continue;
        }
        // One that cannot be read has been told already.
        let Ok(record) = outbox::decode(key, value) else {
            continue;
        };
        if record.deliveries.iter().any(|delivery| delivery.step == Step::Accepted) {
            let files = record.alert.attachments.iter().flat_map(Attachment::blobs);
            wanted.extend(files.map(|hash| (hash, record.id.clone())));
        }
    }
    let fault = |(hash, id): (BlobHash, String)| {
        let cause = match blobs::check(path, hash) {
            Ok(()) => return None,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "is missing".to_owned(),
            Err(error) => error.to_string(),
        };
        Some(format!(
            "a file of alert {id}, {}: {cause}; the alert goes out without it",
            blobs::path(path, hash).display()
        ))
    };
    wanted.into_iter().filter_map(fault).collect()
}

fn read(state: &State, tree: Tree, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    match tree {
        Tree::Meta => record::version(tree, value).map(drop),
        Tree::Outbox => outbox::decode(key, value).map(drop),
        Tree::AlertKey => outbox::decode_key(key, value).map(drop),
        Tree::Token => tokens::decode(key, value).map(drop),
        Tree::Upload => uploads::decode(value).map(drop),
        Tree::Inbound | Tree::InboundIdentity => inbound::check_row(tree, key, value),
        Tree::Journal => journal::check_row(key, value),
        Tree::LineEnd => history::decode(value).map(drop),
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
            let row = |key: &[u8]| state.get(&tree.raw_key(key)).cloned();
            credentials::check_row(tree, key, value, row)
        }
    }
}

fn advice(tree: Tree) -> &'static str {
    match tree.info().loss {
        Loss::Session => "its session does not start: restore a backup, or move the state away and pair again",
        Loss::Alert => "this alert is not sent, the others are; `dmesg` tells of a failing disk",
        Loss::Token => "it gives no right: revoke it and make another",
        Loss::Little => "the relay goes on without it; `dmesg` tells of a failing disk",
    }
}
