//! When each route, and each of its fallbacks, was last seen to work.

use serde::{Deserialize, Serialize};

use super::{Batch, Store, StoreError, Tree, View, join, record};
use crate::alert::RouteName;

const VERSION: u8 = 1;

/// First part of the keys in tree `meta`; the route's name follows.
const KIND: &[u8] = b"proven";

/// What is known of a route. Unix milliseconds each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proven {
    /// Since when the route is known here.
    pub since_at: u64,
    /// An alert or a test was delivered by WhatsApp to all recipients. `None`: never.
    pub delivered_at: Option<u64>,
    /// When each of its fallbacks has last taken something, by their names. One that never did is not there.
    pub fallbacks: Vec<(String, u64)>,
}

impl Proven {
    /// When this fallback has last taken something.
    pub fn taken_at(&self, fallback: &str) -> Option<u64> {
        let found = self.fallbacks.iter().find(|(name, _)| name == fallback);
        found.map(|(_, at)| *at)
    }

    /// Takes over what `other` knows beside this, or later.
    pub fn merge(&mut self, other: &Self) {
        if self.since_at == 0 {
            self.since_at = other.since_at;
        }
        self.delivered_at = self.delivered_at.max(other.delivered_at);
        for (name, at) in &other.fallbacks {
            let at = self.taken_at(name).map_or(*at, |known| known.max(*at));
            self.fallbacks.retain(|(known, _)| known != name);
            self.fallbacks.push((name.clone(), at));
        }
    }
}

/// What is written.
#[derive(Serialize, Deserialize)]
struct ProvenV1 {
    since_at: u64,
    delivered_at: Option<u64>,
    fallbacks: Vec<(String, u64)>,
}

/// What is known of a route; `None` where nothing is, or nothing that can be read.
///
/// # Errors
/// The store could not be read at all.
pub fn read(view: &View, route: &RouteName) -> Result<Option<Proven>, StoreError> {
    let row = view.get(Tree::Meta, &join(&[KIND, route.as_str().as_bytes()]))?;
    let row = row.and_then(|value| record::decode::<ProvenV1>(Tree::Meta, VERSION, &value).ok());
    let known = row.map(|row| {
        let ProvenV1 {
            since_at,
            delivered_at,
            fallbacks,
        } = row;
        Proven {
            since_at,
            delivered_at,
            fallbacks,
        }
    });
    Ok(known)
}

/// Adds what is known of routes to what is on disk, and returns once it is there.
///
/// # Errors
/// It is not, or perhaps not, on disk.
pub async fn note(store: &Store, all: Vec<(RouteName, Proven)>) -> Result<(), StoreError> {
    let decide = move |view: &View| {
        let mut batch = Batch::new();
        for (route, proven) in &all {
            let mut known = read(view, route)?.unwrap_or_default();
            known.merge(proven);
            let Proven {
                since_at,
                delivered_at,
                fallbacks,
            } = known;
            let row = ProvenV1 {
                since_at,
                delivered_at,
                fallbacks,
            };
            let key = join(&[KIND, route.as_str().as_bytes()]);
            batch.put(Tree::Meta, &key, record::encode(Tree::Meta, VERSION, &row)?)?;
        }
        Ok((batch, ()))
    };
    store.update(decide).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_added_to_what_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let route: RouteName = "family".parse().unwrap();
        assert_eq!(read(store.view(), &route).unwrap(), None);
        let note = |since_at, delivered_at, fallbacks: &[(&str, u64)]| {
            let fallbacks = fallbacks.iter().map(|(name, at)| ((*name).to_owned(), *at)).collect();
            let proven = Proven {
                since_at,
                delivered_at,
                fallbacks,
            };
            smol::block_on(super::note(&store, vec![(route.clone(), proven)])).unwrap();
            read(store.view(), &route).unwrap().unwrap()
        };
        note(1, Some(2), &[("ntfy", 2), ("mail", 2)]);
        let known = note(9, None, &[("ntfy", 3)]);
        assert_eq!((known.since_at, known.delivered_at), (1, Some(2)));
        assert_eq!((known.taken_at("mail"), known.taken_at("ntfy")), (Some(2), Some(3)));
        assert_eq!(known.taken_at("hook"), None);
        // The row of version 1, as it was first written.
        let row = view_row(&store, &route);
        assert_eq!(
            row,
            [
                1, 1, 1, 2, 2, 4, b'm', b'a', b'i', b'l', 2, 4, b'n', b't', b'f', b'y', 3
            ]
        );
    }

    fn view_row(store: &Store, route: &RouteName) -> Vec<u8> {
        let key = join(&[KIND, route.as_str().as_bytes()]);
        store.view().get(Tree::Meta, &key).unwrap().unwrap().to_vec()
    }
}
