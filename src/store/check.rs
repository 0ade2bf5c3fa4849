//! Reading all of the state without changing any of it.

use std::collections::BTreeMap;
use std::path::Path;

use super::log::{RealDisk, inspect};
use super::{Lock, StoreError, Tree, record, writer};

/// What a check found.
#[derive(Debug)]
pub struct Checked {
    /// Of the log, and its last transaction.
    pub generation: u64,
    pub sequence: u64,
    pub log_bytes: u64,
    /// Of a last write that was never acknowledged.
    pub torn_bytes: u64,
    /// How many records there are, by the name of their tree.
    pub records: BTreeMap<&'static str, usize>,
    /// What is whole by its checksum and not to be understood.
    pub faults: Vec<String>,
}

/// Reads the log in the state directory `path`, every checksum and every record's outer form. The index is not looked at:
/// opening it would change it, and every start puts it right.
///
/// # Errors
/// A relay is running on it, there is no state there, or it is damaged.
pub fn check(path: &Path) -> Result<Checked, StoreError> {
    let open = |cause: &str| StoreError::Open {
        path: path.to_owned(),
        cause: cause.into(),
    };
    if !path.is_dir() {
        return Err(open("there is no such directory"));
    }
    let _lock = Lock::acquire(path)?;
    let inspection = inspect(&RealDisk::new(path.to_owned())).map_err(|error| writer::log_error(path, error))?;
    let Some(found) = inspection else {
        return Err(open(
            "there is no log in it; a run of the relay makes one, also from an older state",
        ));
    };
    let mut checked = Checked {
        generation: found.generation,
        sequence: found.sequence,
        log_bytes: found.bytes,
        torn_bytes: found.torn_bytes,
        records: BTreeMap::new(),
        faults: Vec::new(),
    };
    for (key, value) in &found.state {
        let Some(tree) = key.first().and_then(|number| Tree::from_number(*number)) else {
            checked
                .faults
                .push(format!("a record of an unknown tree ({:?})", key.first()));
            continue;
        };
        *checked.records.entry(tree.name()).or_default() += 1;
        if let Err(error) = record::version(tree, value) {
            checked.faults.push(error.to_string());
        }
    }
    Ok(checked)
}
