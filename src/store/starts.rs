//! The last starts of the relay, by which the age of keys is told where the wall clock cannot.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Batch, Store, StoreError, Tree, View, record};
use crate::outbox::{Start, Timestamp};

/// The row under [`Tree::Meta`].
const KEY: &[u8] = b"starts";
const FORMAT: u8 = 1;

#[derive(Serialize, Deserialize)]
struct StartV1 {
    boot: String,
    /// Seconds since boot, sleep included.
    uptime_s: u64,
    /// Unix milliseconds.
    wall_ms: u64,
    /// The number that the next alert would have had.
    seq: u64,
}

/// In their order. None where they cannot be read: keys then count a little longer.
///
/// # Errors
/// The store could not be read.
pub fn read(view: &View) -> Result<Vec<Start>, StoreError> {
    let Some(bytes) = view.get(Tree::Meta, KEY)? else {
        return Ok(Vec::new());
    };
    let stored: Vec<StartV1> = record::decode(Tree::Meta, FORMAT, &bytes).unwrap_or_else(|error| {
        log::warn!("the last starts of the relay are left out: {error}");
        Vec::new()
    });
    let start = |stored: StartV1| Start {
        boot: stored.boot,
        uptime: Duration::from_secs(stored.uptime_s),
        wall: Timestamp(stored.wall_ms),
        seq: stored.seq,
    };
    Ok(stored.into_iter().map(start).collect())
}

/// Keeps `starts` in the place of those that were kept.
///
/// # Errors
/// They are not, or perhaps not, on disk.
pub async fn keep(store: &Store, starts: &[Start]) -> Result<(), StoreError> {
    let stored = |start: &Start| StartV1 {
        boot: start.boot.clone(),
        uptime_s: start.uptime.as_secs(),
        wall_ms: start.wall.0,
        seq: start.seq,
    };
    let stored: Vec<StartV1> = starts.iter().map(stored).collect();
    let mut batch = Batch::new();
    batch.put(Tree::Meta, KEY, record::encode(Tree::Meta, FORMAT, &stored)?)?;
    store.commit(batch).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands on people's disks: later versions must still read it.
    const V1: &str = "01020162a08d0680d0eab6b73307016280a30580adc6b8b733ac02";

    #[test]
    fn the_format_stays_as_it_is() {
        let start = |uptime_s, wall, seq| Start {
            boot: "b".into(),
            uptime: Duration::from_secs(uptime_s),
            wall: Timestamp(wall),
            seq,
        };
        let starts = [
            start(100_000, 1_767_225_600_000, 7),
            start(86_400, 1_767_229_200_000, 300),
        ];
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), 1 << 20).unwrap();
        assert_eq!(read(store.view()).unwrap(), []);
        smol::block_on(keep(&store, &starts)).unwrap();
        let bytes = store.view().get(Tree::Meta, KEY).unwrap().unwrap();
        assert_eq!(record::hex(&bytes), V1);
        assert_eq!(read(store.view()).unwrap(), starts);
        let mut batch = Batch::new();
        batch.put(Tree::Meta, KEY, vec![FORMAT + 1]).unwrap();
        smol::block_on(store.commit(batch)).unwrap();
        assert_eq!(read(store.view()).unwrap(), []);
    }
}
