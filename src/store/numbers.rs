//! Under which number the server knows those that routes name. It may be another one: Brazil's ninth digit, the old
//! forms of Mexico and Argentina.

use serde::{Deserialize, Serialize};

use super::{Batch, Store, StoreError, Tree, View, join, prefix, record, split};
use crate::alert::SessionName;

const VERSION: u8 = 1;

/// First part of the keys in tree `meta`; the session's name and the number as written follow.
const KIND: &[u8] = b"number";

/// Kept per session: far more than routes name. The oldest answers go first.
const NUMBERS_MAX: usize = 1000;

/// What is written.
#[derive(Serialize, Deserialize)]
struct NumberV1 {
    named: String,
    at_ms: u64,
}

/// The server's last answer about a number that is on WhatsApp. Numbers are digits, without `+`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberRecord {
    /// As a route writes it.
    pub written: String,
    /// As the server names it.
    pub named: String,
    /// When it said so, Unix milliseconds.
    pub at_ms: u64,
}

/// All answers of `session`. One that cannot be read is left out: the server is asked again.
///
/// # Errors
/// The store could not be read at all.
pub fn load(view: &View, session: &SessionName) -> Result<Vec<NumberRecord>, StoreError> {
    let mut found = Vec::new();
    for row in view.scan(Tree::Meta, &prefix(&[KIND, session.as_str().as_bytes()])) {
        let (key, value) = row?;
        let written = split(&key).pop().and_then(|part| String::from_utf8(part).ok());
        let number = record::decode::<NumberV1>(Tree::Meta, VERSION, &value);
        if let (Some(written), Ok(NumberV1 { named, at_ms })) = (written, number) {
            found.push(NumberRecord { written, named, at_ms });
        }
    }
    Ok(found)
}

/// Keeps answers, whatever stood there. They may be lost in a crash: then they are asked for again.
///
/// # Errors
/// The store is poisoned, or closed.
pub async fn keep(store: &Store, session: &SessionName, answers: Vec<NumberRecord>) -> Result<(), StoreError> {
    let session = session.clone();
    let decide = move |view: &View| {
        let key = |written: &str| join(&[KIND, session.as_str().as_bytes(), written.as_bytes()]);
        let mut batch = Batch::new();
        let mut kept = load(view, &session)?;
        kept.retain(|old| answers.iter().all(|new| new.written != old.written));
        let surplus = (kept.len() + answers.len()).saturating_sub(NUMBERS_MAX);
        kept.sort_by_key(|record| record.at_ms);
        for old in kept.iter().take(surplus) {
            batch.delete(Tree::Meta, &key(&old.written));
        }
        for NumberRecord { written, named, at_ms } in answers {
            let value = record::encode(Tree::Meta, VERSION, &NumberV1 { named, at_ms })?;
            batch.put(Tree::Meta, &key(&written), value)?;
        }
        Ok(batch)
    };
    store.update_later("what the server names a number", decide).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(written: &str, named: &str, at_ms: u64) -> NumberRecord {
        NumberRecord {
            written: written.into(),
            named: named.into(),
            at_ms,
        }
    }

    #[test]
    fn answers_stay_bounded_and_apart_by_session() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let (session, other): (SessionName, SessionName) = ("default".parse().unwrap(), "default2".parse().unwrap());
        let put = |session: &SessionName, answers| {
            smol::block_on(keep(&store, session, answers)).unwrap();
            // The next transaction that is waited for takes what may lag along.
            smol::block_on(store.commit(Batch::new())).unwrap();
            let mut barrier = Batch::new();
            barrier.put(Tree::Meta, b"barrier", vec![1]).unwrap();
            smol::block_on(store.commit(barrier)).unwrap();
        };
        put(
            &session,
            vec![
                record("1555987654321", "155587654321", 5),
                record("15550100002", "15550100002", 6),
            ],
        );
        put(&other, vec![record("15550100003", "15550100003", 7)]);
        put(&session, vec![record("15550100002", "15550100009", 8)]);
        let expected = [
            record("15550100002", "15550100009", 8),
            record("1555987654321", "155587654321", 5),
        ];
        assert_eq!(load(store.view(), &session).unwrap(), expected);
        let many = (0..NUMBERS_MAX as u64).map(|number| record(&(20_000_000 + number).to_string(), "1", 10 + number));
        put(&session, many.collect());
        let kept = load(store.view(), &session).unwrap();
        assert_eq!(kept.len(), NUMBERS_MAX);
        assert!(kept.iter().all(|record| record.at_ms >= 10), "the oldest have gone");
        assert_eq!(load(store.view(), &other).unwrap().len(), 1);
    }

    #[test]
    fn the_first_version_is_read() {
        let bytes = record::from_hex("010c313535353837363534333231b960");
        let NumberV1 { named, at_ms } = record::decode(Tree::Meta, VERSION, &bytes).unwrap();
        assert_eq!((named.as_str(), at_ms), ("155587654321", 12345));
        let written = record::encode(Tree::Meta, VERSION, &NumberV1 { named, at_ms }).unwrap();
        assert_eq!(record::hex(&written), "010c313535353837363534333231b960");
    }
}
