//! Messages that came in: each once, durable before WhatsApp's server is told that we have them.

mod kept;

use serde::{Deserialize, Serialize};

use super::journal::{self, Entry, Event};
use super::{Batch, Store, StoreError, Tree, View, join, prefix, record};
use crate::alert::SessionName;
use crate::outbox::{CLOCK_UNSET_BEFORE, Timestamp};
pub(super) use kept::Hint;
use kept::{Kept, position_key, position_of};

const VERSION: u8 = 1;

/// The newest are kept, per session.
pub const INBOUND_KEPT_MAX: usize = 10_000;

/// Their records in bytes, per session: 10 000 of 400. Beside them stands what keeps each from coming twice, at most
/// some 150 bytes a message.
pub const INBOUND_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Messages that one transaction deletes at the most. The smallest record has 50 bytes, so that even the largest
/// message makes room for itself in two.
const PRUNED_MAX: usize = 1024;

/// A message longer than this is cut: the record is for a person to read, the phone has the whole.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// One message from somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundRecord {
    /// Who and where, as JIDs; with `id` they say which message this is.
    pub chat: String,
    pub sender: String,
    pub id: String,
    /// Unix milliseconds, by the server's clock.
    pub sent_at: u64,
    /// Unix milliseconds, by ours.
    pub received_at: u64,
    pub text: String,
}

fn identity_key(session: &SessionName, message: &InboundRecord) -> Vec<u8> {
    join(&[
        session.as_str().as_bytes(),
        message.chat.as_bytes(),
        message.sender.as_bytes(),
        message.id.as_bytes(),
    ])
}

fn newest_position(view: &View, session: &SessionName) -> Result<Option<u64>, StoreError> {
    let last = view
        .scan(Tree::Inbound, &prefix(&[session.as_str().as_bytes()]))
        .next_back()
        .transpose()?;
    Ok(last.and_then(|(key, _)| position_of(&key)))
}

/// Whether a row of either tree can be read.
pub(crate) fn check_row(tree: Tree, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let fault = |cause: &str| StoreError::Record {
        tree: tree.name(),
        cause: cause.into(),
    };
    if tree == Tree::InboundIdentity {
        return match value.len() {
            8 => Ok(()),
            _ => Err(fault("its place is not a number")),
        };
    }
    record::decode::<InboundRecord>(tree, VERSION, value)?;
    position_of(key)
        .map(drop)
        .ok_or_else(|| fault("it stands at no place in the order"))
}

/// Whether this message was recorded before.
///
/// # Errors
/// The store could not be read.
pub fn is_recorded(view: &View, session: &SessionName, message: &InboundRecord) -> Result<bool, StoreError> {
    let row = view.get(Tree::InboundIdentity, &identity_key(session, message))?;
    Ok(row.is_some())
}

/// Records those of `messages` that are new, in their order, as one transaction, and says how many were new. Whoever
/// calls it again with the same messages, after a crash or a redelivery, changes nothing.
///
/// # Errors
/// The store could not be read or written; then none of them is recorded.
pub async fn record_new(
    store: &Store,
    session: &SessionName,
    messages: Vec<InboundRecord>,
) -> Result<usize, StoreError> {
    let (session, ends, hint) = (
        session.clone(),
        store.journal_ends().clone(),
        store.inbound_kept().clone(),
    );
    store
        .update(move |view| {
            let mut batch = Batch::new();
            let mut entries = Vec::new();
            let mut newest = 0;
            let mut kept = hint.find(view, &session)?;
            let mut seen = std::collections::HashSet::new();
            for mut message in messages {
                let identity = identity_key(&session, &message);
                if view.get(Tree::InboundIdentity, &identity)?.is_some() || !seen.insert(identity.clone()) {
                    continue;
                }
                message.text.truncate(message.text.floor_char_boundary(TEXT_BYTES_MAX));
                let key = position_key(&session, kept.next);
                let value = record::encode(Tree::Inbound, VERSION, &message)?;
                kept.bytes += value.len();
                newest = newest.max(message.received_at);
                batch.put(Tree::Inbound, &key, value)?;
                batch.put(Tree::InboundIdentity, &identity, kept.next.to_be_bytes().to_vec())?;
                entries.push(Entry {
                    at: Timestamp(message.received_at),
                    event: Event::Recorded {
                        session: session.clone(),
                        position: kept.next,
                    },
                });
                kept.next += 1;
            }
            let added = seen.len();
            if added > 0 {
                prune(view, &session, &mut kept, newest, &mut batch)?;
                hint.set(&session, kept);
                journal::append(&ends, view, &mut batch, &entries)?;
            }
            Ok((batch, added))
        })
        .await
}

/// Deletes the oldest while there are too many, too much, or they are too old, but nothing that this transaction adds.
fn prune(
    view: &View,
    session: &SessionName,
    kept: &mut Kept,
    newest: u64,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    for _ in 0..PRUNED_MAX {
        let key = position_key(session, kept.first);
        let Some(value) = view.get(Tree::Inbound, &key)? else {
            return Ok(());
        };
        let message = record::decode::<InboundRecord>(Tree::Inbound, VERSION, &value);
        let surplus = kept.next - kept.first > INBOUND_KEPT_MAX as u64 || kept.bytes > INBOUND_BYTES_MAX;
        if !surplus && !message.as_ref().is_ok_and(|message| is_old(message, newest)) {
            return Ok(());
        }
        if let Ok(message) = message {
            batch.delete(Tree::InboundIdentity, &identity_key(session, &message));
        }
        batch.delete(Tree::Inbound, &key);
        kept.bytes = kept.bytes.saturating_sub(value.len());
        kept.first += 1;
    }
    Ok(())
}

/// As old as what the journal forgets, by our clock, where that was set.
fn is_old(message: &InboundRecord, now: u64) -> bool {
    message.received_at >= CLOCK_UNSET_BEFORE.0 && now.saturating_sub(message.received_at) > journal::AGE_MS_MAX
}

/// The message at `position` among those of `session`; `None` where it is kept no longer.
///
/// # Errors
/// The store could not be read, or the record is damaged.
pub fn at(view: &View, session: &SessionName, position: u64) -> Result<Option<InboundRecord>, StoreError> {
    let row = view.get(Tree::Inbound, &position_key(session, position))?;
    row.map(|value| record::decode(Tree::Inbound, VERSION, &value))
        .transpose()
}

/// The newest `limit` messages of `session`, newest first.
///
/// # Errors
/// The store could not be read.
pub fn newest(view: &View, session: &SessionName, limit: usize) -> Result<Vec<InboundRecord>, StoreError> {
    view.scan(Tree::Inbound, &prefix(&[session.as_str().as_bytes()]))
        .rev()
        .take(limit)
        .map(|entry| record::decode(Tree::Inbound, VERSION, &entry?.1))
        .collect()
}

/// How many were ever recorded for `session`.
///
/// # Errors
/// The store could not be read.
pub fn count(view: &View, session: &SessionName) -> Result<u64, StoreError> {
    Ok(newest_position(view, session)?.map_or(0, |position| position + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str) -> InboundRecord {
        InboundRecord {
            chat: "15550100002@s.whatsapp.net".into(),
            sender: "15550100002@s.whatsapp.net".into(),
            id: id.into(),
            sent_at: 1,
            received_at: 2,
            text: format!("text of {id}"),
        }
    }

    #[test]
    fn each_message_once_also_after_a_redelivery_and_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let session: SessionName = "default".parse().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let record = |ids: &[&str]| {
            let messages = ids.iter().map(|id| message(id)).collect();
            smol::block_on(record_new(&store, &session, messages)).unwrap()
        };
        assert_eq!(record(&["a", "b", "a"]), 2);
        assert_eq!(record(&["b", "c"]), 1);
        let other = SessionName::try_from("default2".to_owned()).unwrap();
        assert_eq!(count(store.view(), &other).unwrap(), 0);
        drop(store);
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let ids: Vec<_> = newest(store.view(), &session, 10)
            .unwrap()
            .into_iter()
            .map(|m| m.id)
            .collect();
        assert_eq!(ids, ["c", "b", "a"]);
        let at = |position| at(store.view(), &session, position).unwrap().map(|it| it.id);
        assert_eq!(
            (at(0).as_deref(), at(2).as_deref(), at(3)),
            (Some("a"), Some("c"), None)
        );
        assert_eq!(count(store.view(), &session).unwrap(), 3);
    }

    /// Records `count` messages of `bytes` each in one transaction.
    fn add(store: &Store, from: usize, count: usize, bytes: usize, received_at: u64) {
        let session: SessionName = "default".parse().unwrap();
        let messages = (from..from + count).map(|number| InboundRecord {
            text: "x".repeat(bytes),
            received_at,
            ..message(&number.to_string())
        });
        let added = record_new(store, &session, messages.collect());
        assert_eq!(smol::block_on(added).unwrap(), count);
    }

    fn rows(store: &Store, tree: Tree) -> (usize, usize) {
        let rows = store.view().scan(tree, b"").map(Result::unwrap);
        rows.fold((0, 0), |(rows, bytes), (_, value)| (rows + 1, bytes + value.len()))
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path(), 1 << 20).unwrap();
        let mut added = 0;
        for round in 0..26 {
            add(&store, added, 500, 10, 1);
            added += 500;
            if round == 23 {
                drop(store);
                store = Store::open(dir.path(), 1 << 20).unwrap();
            }
        }
        assert_eq!(rows(&store, Tree::Inbound).0, INBOUND_KEPT_MAX);
        // The largest there are, after the smallest.
        for _ in 0..100 {
            add(&store, added, 1, TEXT_BYTES_MAX, 1);
            added += 1;
            let bytes = rows(&store, Tree::Inbound).1;
            assert!(bytes <= INBOUND_BYTES_MAX + TEXT_BYTES_MAX, "{bytes}");
        }
        let (kept, bytes) = rows(&store, Tree::Inbound);
        assert!(kept < 70 && bytes <= INBOUND_BYTES_MAX, "{kept} of {bytes} bytes");
        assert_eq!(rows(&store, Tree::InboundIdentity).0, kept);
        let session = "default".parse().unwrap();
        assert_eq!(count(store.view(), &session).unwrap(), added as u64);
    }

    #[test]
    fn a_month_is_kept() {
        const NOW: u64 = 1_767_225_600_000;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        add(&store, 0, 3, 10, NOW);
        add(&store, 3, 1, 10, 5);
        assert_eq!(rows(&store, Tree::Inbound).0, 4, "the clock has lost its time");
        add(&store, 4, 1, 10, NOW + journal::AGE_MS_MAX);
        assert_eq!(rows(&store, Tree::Inbound).0, 5);
        add(&store, 5, 1, 10, NOW + journal::AGE_MS_MAX + 1);
        assert_eq!(rows(&store, Tree::Inbound).0, 3);
    }
}
