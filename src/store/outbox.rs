//! The outbox on disk: one record an alert, by its place in the order of acceptance.

use serde::{Deserialize, Serialize};

use super::{Batch, Store, StoreError, Tree, View, record};
use crate::outbox::AlertRecord;

const VERSION: u8 = 1;

/// What is written. Separate from [`AlertRecord`] in name only today: when that grows a field, this keeps the old form.
#[derive(Serialize, Deserialize)]
struct OutboxRecordV1(AlertRecord);

/// Adds the write of `alert` to `batch`.
///
/// # Errors
/// The record is too large for the store.
pub fn put(batch: &mut Batch, alert: &AlertRecord) -> Result<(), StoreError> {
    let key = alert.seq.to_be_bytes();
    batch.put(
        Tree::Outbox,
        &key,
        record::encode(Tree::Outbox, VERSION, &OutboxRecordV1(alert.clone()))?,
    )
}

/// Adds the removal of the alert numbered `seq` to `batch`.
pub fn forget(batch: &mut Batch, seq: u64) {
    batch.delete(Tree::Outbox, &seq.to_be_bytes());
}

/// Writes a newly accepted alert.
///
/// # Errors
/// It is not, or perhaps not, on disk: it must not be acknowledged.
pub async fn accept(store: &Store, alert: &AlertRecord) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    put(&mut batch, alert)?;
    store.commit(batch).await
}

/// All alerts, in the order of acceptance, and the ones that could not be read.
///
/// # Errors
/// The store could not be read at all.
pub fn load(view: &View) -> Result<(Vec<AlertRecord>, Vec<StoreError>), StoreError> {
    let mut alerts = Vec::new();
    let mut damaged = Vec::new();
    for entry in view.scan(Tree::Outbox, b"") {
        match record::decode::<OutboxRecordV1>(Tree::Outbox, VERSION, &entry?.1) {
            Ok(OutboxRecordV1(alert)) => alerts.push(alert),
            Err(error) => damaged.push(error),
        }
    }
    Ok((alerts, damaged))
}
