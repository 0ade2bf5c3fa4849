//! Tokens: what is kept of them, and never their secrets.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Batch, Store, StoreError, Tree, View, record};
use crate::access::{Grant, Rights, Routes, TOKENS_MAX, Token};

const VERSION: u8 = 1;

/// Format 1 of a token, frozen. The key of its row is its name.
#[derive(Serialize, Deserialize)]
pub(crate) struct TokenV1 {
    /// SHA-256 of the secret.
    digest: [u8; 32],
    /// Publish 1, read 2, admin 4.
    rights: u8,
    /// Absent: all.
    routes: Option<Vec<String>>,
    /// Unix milliseconds, as the two below.
    created_ms: u64,
    expires_ms: Option<u64>,
    used_ms: Option<u64>,
}

/// All tokens, and a line for each that cannot be read: it gives no right to anybody.
///
/// # Errors
/// The store could not be read at all.
pub fn load(view: &View) -> Result<(Vec<Token>, Vec<String>), StoreError> {
    let (mut tokens, mut damaged) = (Vec::new(), Vec::new());
    for row in view.scan(Tree::Token, b"") {
        let (key, value) = row?;
        match decode(&key, &value) {
            Ok(token) => tokens.push(token),
            Err(error) => damaged.push(format!("token {}: {error}", String::from_utf8_lossy(&key))),
        }
    }
    Ok((tokens, damaged))
}

/// What came of [`add`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is on disk.
    Done,
    /// There is one of this name, which stays as it is.
    Taken,
    /// There are [`TOKENS_MAX`].
    TooMany,
}

/// Keeps a new token, if its name is free.
///
/// # Errors
/// It is not, or perhaps not, on disk.
pub async fn add(store: &Store, token: Token) -> Result<Added, StoreError> {
    let decide = move |view: &View| {
        let mut batch = Batch::new();
        let key = token.grant.name.as_str().as_bytes();
        if view.get(Tree::Token, key)?.is_some() {
            return Ok((batch, Added::Taken));
        }
        if view.scan(Tree::Token, b"").count() >= TOKENS_MAX {
            return Ok((batch, Added::TooMany));
        }
        batch.put(Tree::Token, key, encode(&token)?)?;
        Ok((batch, Added::Done))
    };
    store.update(decide).await
}

/// Takes a token away, also one that cannot be read. Returns whether there was one of this name.
///
/// # Errors
/// It may still be there.
pub async fn remove(store: &Store, name: &str) -> Result<bool, StoreError> {
    let key = name.as_bytes().to_vec();
    let decide = move |view: &View| {
        let mut batch = Batch::new();
        let there = view.get(Tree::Token, &key)?.is_some();
        if there {
            batch.delete(Tree::Token, &key);
        }
        Ok((batch, there))
    };
    store.update(decide).await
}

/// Notes when a token was last used, if it is still the same. A crash may lose it.
///
/// # Errors
/// The store is poisoned, or closed.
pub async fn note_use(store: &Store, token: Token) -> Result<(), StoreError> {
    let decide = move |view: &View| {
        let mut batch = Batch::new();
        let key = token.grant.name.as_str().as_bytes();
        let there = view.get(Tree::Token, key)?;
        let same = there.is_some_and(|value| decode(key, &value).is_ok_and(|kept| kept.digest == token.digest));
        if same {
            batch.put(Tree::Token, key, encode(&token)?)?;
        }
        Ok(batch)
    };
    store.update_later("the last use of a token", decide).await
}

fn encode(token: &Token) -> Result<Vec<u8>, StoreError> {
    let kept = TokenV1 {
        digest: *token.digest.bytes(),
        rights: token.grant.rights.bits(),
        routes: match &token.grant.routes {
            Routes::All => None,
            Routes::Only(routes) => Some(routes.iter().map(ToString::to_string).collect()),
        },
        created_ms: token.created_ms,
        expires_ms: token.expires_ms,
        used_ms: token.used_ms,
    };
    record::encode(Tree::Token, VERSION, &kept)
}

/// One row.
///
/// # Errors
/// It is damaged, or of a later version.
pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Token, StoreError> {
    let unreadable = |cause: String| StoreError::Record {
        tree: Tree::Token.name(),
        cause,
    };
    let name = std::str::from_utf8(key).map_err(|error| unreadable(error.to_string()))?;
    let name = name
        .parse()
        .map_err(|error: crate::alert::NameError| unreadable(error.0))?;
    let kept: TokenV1 = record::decode(Tree::Token, VERSION, value)?;
    // A name that can be no route's any more is left out; a list that is empty then is no list of all.
    let routes = kept.routes.map_or(Routes::All, |routes| {
        Routes::Only(routes.iter().filter_map(|route| route.parse().ok()).collect())
    });
    Ok(Token {
        grant: Arc::new(Grant {
            name,
            rights: Rights::from_bits(kept.rights),
            routes,
        }),
        digest: kept.digest.into(),
        created_ms: kept.created_ms,
        expires_ms: kept.expires_ms,
        used_ms: kept.used_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Digest, Right};

    /// What stands on people's disks: later versions must still read it.
    const VERSION_1: &str = include_str!("../../tests/fixtures/store-v1/tokens.txt");

    fn token(name: &str, rights: &[Right], routes: Routes) -> Token {
        Token {
            grant: Arc::new(Grant {
                name: name.parse().unwrap(),
                rights: rights.iter().copied().collect(),
                routes,
            }),
            digest: Digest::of("tk_abcdefghijklmnopqrstuvwxyz012"),
            created_ms: 1_767_225_600_000,
            expires_ms: None,
            used_ms: None,
        }
    }

    fn some() -> [Token; 3] {
        let only = |names: &[&str]| Routes::Only(names.iter().map(|name| name.parse().unwrap()).collect());
        let admin = Token {
            expires_ms: Some(1_775_001_600_000),
            ..token("laptop", &[Right::Admin], Routes::All)
        };
        let used = Token {
            used_ms: Some(1_767_229_200_000),
            ..token("nas", &[Right::Publish], only(&["family", "ops"]))
        };
        [admin, used, token("none", &[Right::Read], only(&[]))]
    }

    #[test]
    fn the_first_version_is_read_and_written() {
        let rows = some().map(|token| {
            let row = record::hex(&encode(&token).unwrap());
            format!("{} {row}\n", token.grant.name)
        });
        assert_eq!(rows.concat(), VERSION_1);
        for (line, token) in VERSION_1.lines().zip(some()) {
            let (name, row) = line.split_once(' ').unwrap();
            assert_eq!(decode(name.as_bytes(), &record::from_hex(row)).unwrap(), token);
        }
    }

    #[test]
    fn a_name_is_taken_once_and_what_cannot_be_read_gives_no_right() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let [admin, nas, _] = some();
        smol::block_on(async {
            assert_eq!(add(&store, admin.clone()).await.unwrap(), Added::Done);
            assert_eq!(add(&store, admin.clone()).await.unwrap(), Added::Taken);
            assert_eq!(add(&store, nas.clone()).await.unwrap(), Added::Done);
            assert!(remove(&store, "laptop").await.unwrap());
            assert!(!remove(&store, "laptop").await.unwrap());
            // A use that is told after the token was revoked does not bring it back, nor does that of an older one.
            note_use(&store, admin.clone()).await.unwrap();
            let other = Token {
                digest: Digest::of("other"),
                ..nas.clone()
            };
            note_use(&store, other).await.unwrap();
            let mut batch = Batch::new();
            batch.put(Tree::Token, b"odd", vec![VERSION, 1]).unwrap();
            store.commit(batch).await.unwrap();
        });
        let (tokens, damaged) = load(store.view()).unwrap();
        assert_eq!(tokens, [nas]);
        assert!(damaged.len() == 1 && damaged[0].contains("token odd"), "{damaged:?}");
        assert!(smol::block_on(remove(&store, "odd")).unwrap());
    }

    #[test]
    fn there_is_an_end_to_them() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        for number in 0..=TOKENS_MAX {
            let new = token(&format!("t{number}"), &[Right::Publish], Routes::All);
            let expected = if number < TOKENS_MAX {
                Added::Done
            } else {
                Added::TooMany
            };
            assert_eq!(smol::block_on(add(&store, new)).unwrap(), expected);
        }
    }
}
