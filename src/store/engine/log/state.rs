//! Records as the log takes and gives them.

use std::collections::BTreeMap;

/// All records, by tree number and key.
pub type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// A [`State`] that lies elsewhere: in the bytes of a file as a rule. In the order of the keys, each of them once.
/// Copied row by row, or in a map, it would leave the heap in pieces that malloc keeps for good; the file's bytes are
/// one piece and this is another, and both go back to the system.
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

pub(super) fn owned(rows: &[Row<'_>]) -> State {
    rows.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

/// A put, or a delete.
pub type Operation = (Vec<u8>, Option<Vec<u8>>);
