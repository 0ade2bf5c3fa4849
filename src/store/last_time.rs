//! The last time of day that was known to be right, so that a board without a battery knows when its clock is not set.

use serde::{Deserialize, Serialize};

use super::{Batch, Store, StoreError, Tree, record};

const KEY: &[u8] = b"last-time";
const FORMAT: u8 = 1;

#[derive(Serialize, Deserialize)]
struct LastTimeV1 {
    /// Unix milliseconds.
    wall_ms: i64,
}

/// Unix milliseconds, if any were kept.
///
/// # Errors
/// The record cannot be read.
pub fn read(store: &Store) -> Result<Option<i64>, StoreError> {
    let Some(bytes) = store.view().get(Tree::Meta, KEY)? else {
        return Ok(None);
    };
    record::decode(Tree::Meta, FORMAT, &bytes).map(|LastTimeV1 { wall_ms }| Some(wall_ms))
}

/// Keeps `wall_ms`, whatever stood there.
///
/// # Errors
/// It is not, or perhaps not, on disk.
pub async fn keep(store: &Store, wall_ms: i64) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    let value = record::encode(Tree::Meta, FORMAT, &LastTimeV1 { wall_ms })?;
    batch.put(Tree::Meta, KEY, value)?;
    store.commit(batch).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_is_kept_also_when_it_is_earlier() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        assert_eq!(read(&store).unwrap(), None);
        for wall_ms in [1, i64::MAX, -1] {
            smol::block_on(keep(&store, wall_ms)).unwrap();
            assert_eq!(read(&store).unwrap(), Some(wall_ms));
        }
    }
}
