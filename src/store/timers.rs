//! After how long messages disappear, by chat: the server does not tell that of a chat with one person, so what was
//! learned from its messages must last.

use serde::{Deserialize, Serialize};

use super::{Batch, Store, StoreError, Tree, View, join, prefix, record, split};
use crate::alert::SessionName;

const VERSION: u8 = 1;

/// First part of the keys in tree `meta`; the session's name and the chat's address follow.
const KIND: &[u8] = b"timer";

/// Kept per session. Those that were set longest ago go first.
pub const TIMERS_MAX: usize = 2000;

/// What is written.
#[derive(Serialize, Deserialize)]
struct TimerV1 {
    seconds: u32,
    told_at_s: i64,
    set_at_s: Option<i64>,
}

/// The timer of one chat, as the message or notification said that told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer {
    /// 0: messages stay.
    pub seconds: u32,
    /// When that was said, Unix seconds by the server's clock. What was said later counts.
    pub told_at_s: i64,
    /// When somebody set it, Unix seconds by their clock, if that was said too.
    pub set_at_s: Option<i64>,
}

/// All timers of `session` by the addresses of their chats. One that cannot be read is left out.
///
/// # Errors
/// The store could not be read at all.
pub fn load(view: &View, session: &SessionName) -> Result<Vec<(String, Timer)>, StoreError> {
    let mut found = Vec::new();
    for row in view.scan(Tree::Meta, &prefix(&[KIND, session.as_str().as_bytes()])) {
        let (key, value) = row?;
        let chat = split(&key).pop().and_then(|part| String::from_utf8(part).ok());
        let timer = record::decode::<TimerV1>(Tree::Meta, VERSION, &value);
        if let (Some(chat), Ok(timer)) = (chat, timer) {
            let TimerV1 {
                seconds,
                told_at_s,
                set_at_s,
            } = timer;
            let timer = Timer {
                seconds,
                told_at_s,
                set_at_s,
            };
            found.push((chat, timer));
        }
    }
    Ok(found)
}

/// Keeps the timers of some chats, whatever stood there, and returns once they are on disk.
///
/// # Errors
/// They are not, or perhaps not, on disk.
pub async fn keep(store: &Store, session: &SessionName, timers: Vec<(String, Timer)>) -> Result<(), StoreError> {
    let session = session.clone();
    let decide = move |view: &View| {
        let key = |chat: &str| join(&[KIND, session.as_str().as_bytes(), chat.as_bytes()]);
        let mut batch = Batch::new();
        let mut kept = load(view, &session)?;
        kept.retain(|(old, _)| timers.iter().all(|(new, _)| new != old));
        let surplus = (kept.len() + timers.len()).saturating_sub(TIMERS_MAX);
        kept.sort_by_key(|(_, timer)| timer.told_at_s);
        for (chat, _) in kept.iter().take(surplus) {
            batch.delete(Tree::Meta, &key(chat));
        }
        for (chat, timer) in timers {
            let Timer {
                seconds,
                told_at_s,
                set_at_s,
            } = timer;
            let timer = TimerV1 {
                seconds,
                told_at_s,
                set_at_s,
            };
            batch.put(Tree::Meta, &key(&chat), record::encode(Tree::Meta, VERSION, &timer)?)?;
        }
        Ok((batch, ()))
    };
    store.update(decide).await
}

/// Forgets all timers of `session`: the next account has chats of its own.
///
/// # Errors
/// They are not, or perhaps not, gone from the disk.
pub async fn forget(store: &Store, session: &SessionName) -> Result<(), StoreError> {
    let all = prefix(&[KIND, session.as_str().as_bytes()]);
    let decide = move |view: &View| {
        let mut batch = Batch::new();
        for row in view.scan(Tree::Meta, &all) {
            batch.delete(Tree::Meta, &row?.0);
        }
        Ok((batch, ()))
    };
    store.update(decide).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(seconds: u32, told_at_s: i64) -> Timer {
        Timer {
            seconds,
            told_at_s,
            set_at_s: None,
        }
    }

    #[test]
    fn timers_stay_bounded_last_and_can_be_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let (session, other): (SessionName, SessionName) = ("default".parse().unwrap(), "default2".parse().unwrap());
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let put = |session: &SessionName, timers| smol::block_on(keep(&store, session, timers)).unwrap();
        put(
            &session,
            vec![("a@lid".into(), timer(86_400, 5)), ("b@lid".into(), timer(1, 6))],
        );
        put(&other, vec![("a@lid".into(), timer(7, 1))]);
        put(&session, vec![("b@lid".into(), timer(0, 8))]);
        let expected = [
            ("a@lid".to_owned(), timer(86_400, 5)),
            ("b@lid".to_owned(), timer(0, 8)),
        ];
        assert_eq!(load(store.view(), &session).unwrap(), expected);
        let many = (0..TIMERS_MAX as i64).map(|chat| (format!("{chat}@g.us"), timer(1, 10 + chat)));
        put(&session, many.collect());
        drop(store);
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let kept = load(store.view(), &session).unwrap();
        assert_eq!(kept.len(), TIMERS_MAX);
        assert!(
            kept.iter().all(|(_, timer)| timer.told_at_s >= 10),
            "the oldest have gone"
        );
        smol::block_on(forget(&store, &session)).unwrap();
        assert_eq!(load(store.view(), &session).unwrap(), []);
        assert_eq!(load(store.view(), &other).unwrap().len(), 1);
    }

    #[test]
    fn the_first_version_is_read() {
        const V1: &str = "0180f52480e4ad950d01fee3ad950d";
        let written = TimerV1 {
            seconds: 604_800,
            told_at_s: 1_767_225_600,
            set_at_s: Some(1_767_225_599),
        };
        let bytes = record::encode(Tree::Meta, VERSION, &written).unwrap();
        assert_eq!(record::hex(&bytes), V1);
        let read: TimerV1 = record::decode(Tree::Meta, VERSION, &record::from_hex(V1)).unwrap();
        assert_eq!(
            (read.seconds, read.told_at_s, read.set_at_s),
            (604_800, 1_767_225_600, Some(1_767_225_599))
        );
    }
}
