//! Messages that came in: each once, durable before WhatsApp's server is told that we have them.

use serde::{Deserialize, Serialize};

use super::journal::{self, Entry, Event};
use super::{Batch, Store, StoreError, Tree, View, join, prefix, record};
use crate::alert::SessionName;
use crate::outbox::Timestamp;

const VERSION: u8 = 1;

/// The newest are kept, per session.
pub const INBOUND_KEPT_MAX: usize = 10_000;

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

fn position_key(session: &SessionName, position: u64) -> Vec<u8> {
    let mut key = prefix(&[session.as_str().as_bytes()]);
    key.extend_from_slice(&position.to_be_bytes());
    key
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

fn position_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*key.last_chunk::<8>()?))
}

/// Whether a row of either tree can be read.
pub(super) fn check_row(tree: Tree, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
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
    let (session, ends) = (session.clone(), store.journal_ends().clone());
    store
        .update(move |view| {
            let mut batch = Batch::new();
            let mut entries = Vec::new();
            let mut next = newest_position(view, &session)?.map_or(0, |position| position + 1);
            let mut seen = std::collections::HashSet::new();
            for mut message in messages {
                let identity = identity_key(&session, &message);
                if view.get(Tree::InboundIdentity, &identity)?.is_some() || !seen.insert(identity.clone()) {
                    continue;
                }
                message.text.truncate(message.text.floor_char_boundary(TEXT_BYTES_MAX));
                let key = position_key(&session, next);
                batch.put(Tree::Inbound, &key, record::encode(Tree::Inbound, VERSION, &message)?)?;
                batch.put(Tree::InboundIdentity, &identity, next.to_be_bytes().to_vec())?;
                entries.push(Entry {
                    at: Timestamp(message.received_at),
                    event: Event::Recorded {
                        session: session.clone(),
                        position: next,
                    },
                });
                next += 1;
            }
            let added = seen.len();
            if added > 0 {
                prune(view, &session, next, &mut batch)?;
                journal::append(&ends, view, &mut batch, &entries)?;
            }
            Ok((batch, added))
        })
        .await
}

fn prune(view: &View, session: &SessionName, next: u64, batch: &mut Batch) -> Result<(), StoreError> {
    let Some(keep_from) = next.checked_sub(INBOUND_KEPT_MAX as u64) else {
        return Ok(());
    };
    for entry in view.scan(Tree::Inbound, &prefix(&[session.as_str().as_bytes()])) {
        let (key, value) = entry?;
        if position_of(&key).is_none_or(|position| position >= keep_from) {
            break;
        }
        if let Ok(message) = record::decode::<InboundRecord>(Tree::Inbound, VERSION, &value) {
            batch.delete(Tree::InboundIdentity, &identity_key(session, &message));
        }
        batch.delete(Tree::Inbound, &key);
    }
    Ok(())
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
        assert_eq!(count(store.view(), &session).unwrap(), 3);
    }
}
