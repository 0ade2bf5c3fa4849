//! What a person was told of health, and is still to be told, by what it is about. It must last, so that an end is told
//! also after a restart, and nothing twice.

use serde::{Deserialize, Serialize};

use super::{Batch, Store, StoreError, Tree, View, join, prefix, record};

const VERSION: u8 = 1;

/// First part of the keys in tree `meta`; what it is about follows.
const KIND: &[u8] = b"news";

/// One piece of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewsRecord {
    /// What it is about: a session's name after `session/`, or a code after `code/`.
    pub about: String,
    /// The stable name of the code.
    pub code: String,
    /// It is over.
    pub ended: bool,
    /// Unix milliseconds.
    pub since_at: u64,
    /// Names the requests that tell of it.
    pub key: String,
    pub title: String,
    pub text: String,
    /// The fallbacks that have it.
    pub told: Vec<String>,
}

/// What is written.
#[derive(Serialize, Deserialize)]
struct NewsV1 {
    about: String,
    code: String,
    ended: bool,
    since_at: u64,
    key: String,
    title: String,
    text: String,
    told: Vec<String>,
}

/// All of it. What cannot be read is left out.
///
/// # Errors
/// The store could not be read at all.
pub fn load(view: &View) -> Result<Vec<NewsRecord>, StoreError> {
    let mut found = Vec::new();
    for row in view.scan(Tree::Meta, &prefix(&[KIND])) {
        let (_, value) = row?;
        if let Ok(news) = record::decode::<NewsV1>(Tree::Meta, VERSION, &value) {
            let NewsV1 {
                about,
                code,
                ended,
                since_at,
                key,
                title,
                text,
                told,
            } = news;
            found.push(NewsRecord {
                about,
                code,
                ended,
                since_at,
                key,
                title,
                text,
                told,
            });
        }
    }
    Ok(found)
}

/// Keeps it, whatever stood there of the same, and returns once it is on disk.
///
/// # Errors
/// It is not, or perhaps not, on disk.
pub async fn keep(store: &Store, news: &NewsRecord) -> Result<(), StoreError> {
    let NewsRecord {
        about,
        code,
        ended,
        since_at,
        key,
        title,
        text,
        told,
    } = news.clone();
    let mut batch = Batch::new();
    let row = join(&[KIND, about.as_bytes()]);
    let news = NewsV1 {
        about,
        code,
        ended,
        since_at,
        key,
        title,
        text,
        told,
    };
    batch.put(Tree::Meta, &row, record::encode(Tree::Meta, VERSION, &news)?)?;
    store.commit(batch).await
}

/// Everybody has it.
///
/// # Errors
/// It is not, or perhaps not, gone from the disk.
pub async fn forget(store: &Store, about: &str) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    batch.delete(Tree::Meta, &join(&[KIND, about.as_bytes()]));
    store.commit(batch).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_last_by_what_they_are_about() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let mut news = NewsRecord {
            about: "session/default".into(),
            code: "session-offline".into(),
            ended: false,
            since_at: 7,
            key: "AAAAAAAAAAAA".into(),
            title: "nas".into(),
            text: "offline".into(),
            told: vec!["ntfy".into()],
        };
        smol::block_on(keep(&store, &news)).unwrap();
        assert_eq!(load(store.view()).unwrap(), [news.clone()]);
        news.ended = true;
        let other = NewsRecord {
            about: "code/store-full".into(),
            ..news.clone()
        };
        smol::block_on(keep(&store, &news)).unwrap();
        smol::block_on(keep(&store, &other)).unwrap();
        assert_eq!(load(store.view()).unwrap(), [other.clone(), news]);
        smol::block_on(forget(&store, "session/default")).unwrap();
        assert_eq!(load(store.view()).unwrap(), [other]);
    }
}
