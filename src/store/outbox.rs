//! The outbox on disk: one record an alert, by its place in the order of acceptance.

use serde::{Deserialize, Serialize};

use super::{Batch, Store, StoreError, Tree, View, journal, record};
use crate::outbox::{AlertRecord, Happened, Happening};

const VERSION: u8 = 1;

/// What is written. Separate from [`AlertRecord`] in name only today: when that grows a field, this keeps the old form.
#[derive(Serialize, Deserialize)]
struct OutboxRecordV1(AlertRecord);

/// Adds the write of `alert` to `batch`.
///
/// # Errors
/// The record is too large for the store.
pub fn put(batch: &mut Batch, alert: &AlertRecord) -> Result<(), StoreError> {
    batch.put(Tree::Outbox, &alert.seq.to_be_bytes(), encode(alert)?)
}

/// The value that stands under an alert's number.
pub(super) fn encode(alert: &AlertRecord) -> Result<Vec<u8>, StoreError> {
    record::encode(Tree::Outbox, VERSION, &OutboxRecordV1(alert.clone()))
}

/// The alert of a row, if key and value belong together.
pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<AlertRecord, StoreError> {
    let OutboxRecordV1(alert) = record::decode(Tree::Outbox, VERSION, value)?;
    if key == alert.seq.to_be_bytes() {
        return Ok(alert);
    }
    Err(StoreError::Record {
        tree: Tree::Outbox.name(),
        cause: format!("alert {} stands under another number", alert.seq),
    })
}

/// Adds the removal of the alert numbered `seq` to `batch`.
pub fn forget(batch: &mut Batch, seq: u64) {
    batch.delete(Tree::Outbox, &seq.to_be_bytes());
}

/// Writes a newly accepted alert, and that it was accepted; but not into the last room there is: that is for the line, and
/// for what becomes of the alerts before it.
///
/// # Errors
/// It is not, or perhaps not, on disk: it must not be acknowledged.
pub async fn accept(store: &Store, alert: &AlertRecord) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    put(&mut batch, alert)?;
    let accepted = Happened::to_all(alert, alert.accepted_at, Happening::Accepted);
    journal::commit_new(store, batch, vec![accepted.into()]).await
}

/// What [`load`] found.
#[derive(Debug, Default)]
pub struct Loaded {
    /// In the order of acceptance.
    pub alerts: Vec<AlertRecord>,
    /// Records that could not be read. They stay where they are: a later version may have written them.
    pub damaged: Vec<StoreError>,
    /// The highest number in use, damaged records included: no new alert may take the place of one.
    pub seq_max: u64,
}

/// All alerts.
///
/// # Errors
/// The store could not be read at all.
pub fn load(view: &View) -> Result<Loaded, StoreError> {
    let mut loaded = Loaded::default();
    for entry in view.scan(Tree::Outbox, b"") {
        let (key, value) = entry?;
        if let Some(seq) = key.first_chunk::<8>() {
            loaded.seq_max = loaded.seq_max.max(u64::from_be_bytes(*seq));
        }
        match record::decode::<OutboxRecordV1>(Tree::Outbox, VERSION, &value) {
            Ok(OutboxRecordV1(alert)) => loaded.alerts.push(alert),
            Err(error) => loaded.damaged.push(error),
        }
    }
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_keeps_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let mut batch = Batch::new();
        batch.put(Tree::Outbox, &7u64.to_be_bytes(), vec![99, 1, 2, 3]).unwrap();
        smol::block_on(store.commit(batch)).unwrap();
        let loaded = load(store.view()).unwrap();
        assert_eq!((loaded.alerts.len(), loaded.damaged.len(), loaded.seq_max), (0, 1, 7));
    }
}
