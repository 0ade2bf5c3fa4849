//! Logged out: set aside, never loaded, never brought back.

use bytes::Bytes;
use tautline::store::{Tree, join};
use wacore::store::traits::*;

use super::{Place, device, kept, of};

#[test]
fn everything_moves_and_nothing_loads() {
    let place = Place::new();
    {
        let store = place.open();
        let credentials = of(&store, "default");
        smol::block_on(async {
            credentials.import(&device()).await.unwrap();
            super::random::fill(&credentials).await;
            let before = count(&store);
            assert!(Tree::credentials().all(|tree| before[tree as usize] > 0), "{before:?}");
            credentials
                .quarantine("logged out by the phone", 1_700_000_000_000)
                .await
                .unwrap();
            let rows = before.iter().sum::<usize>();
            let after = count(&store);
            assert_eq!(after.iter().sum::<usize>(), 0, "{after:?}");
            let found = credentials.quarantines().unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!((found[0].rows as usize, found[0].at_ms), (rows, 1_700_000_000_000));
            assert_eq!(found[0].reason, "logged out by the phone");
            assert_eq!(store.view().scan(Tree::Quarantine, b"").count(), rows + 1);
        });
    }
    let credentials = place.credentials();
    assert_eq!(credentials.paired().unwrap(), None);
    assert!(!smol::block_on(credentials.exists()).unwrap());
}

/// Rows of each credential tree.
fn count(store: &tautline::store::Store) -> [usize; 20] {
    let mut counts = [0; 20];
    for tree in Tree::credentials() {
        counts[tree as usize] = store.view().scan(tree, b"").count();
    }
    counts
}

#[test]
fn a_client_that_is_still_ending_brings_nothing_back() {
    let place = Place::new();
    let credentials = place.credentials();
    smol::block_on(async {
        credentials.import(&device()).await.unwrap();
        let old = credentials.load().await.unwrap().unwrap();
        credentials.quarantine("logged out", 1).await.unwrap();
        assert!(credentials.save(&old).await.is_err());
        credentials.put_session("a", b"of the old device").await.unwrap();
        credentials.store_prekey(1, b"of the old device", true).await.unwrap();
        credentials.create().await.unwrap();
        assert_eq!(
            credentials.get_session("a").await.unwrap(),
            None,
            "a ratchet of another identity"
        );
        assert_eq!(credentials.get_max_prekey_id().await.unwrap(), 0);
        assert!(
            credentials.save(&old).await.is_err(),
            "the old device replaced the new one"
        );
        assert_eq!(credentials.paired().unwrap(), None);
    });
}

#[test]
fn the_newest_three_are_kept_whatever_the_clock_does() {
    let place = Place::new();
    let store = place.open();
    let credentials = of(&store, "default");
    smol::block_on(async {
        for (round, now_ms) in [500, 500, 100, 700, 0].into_iter().enumerate() {
            credentials.create().await.unwrap();
            credentials.quarantine(&round.to_string(), now_ms).await.unwrap();
        }
    });
    let reasons: Vec<_> = credentials
        .quarantines()
        .unwrap()
        .into_iter()
        .map(|q| (q.reason, q.at_ms))
        .collect();
    assert_eq!(reasons, [("2".into(), 100), ("3".into(), 700), ("4".into(), 0)]);
    assert_eq!(
        store.view().scan(Tree::Quarantine, b"").count(),
        6,
        "rows of a dropped quarantine stayed"
    );
}

#[test]
fn nothing_to_set_aside_pushes_nothing_out() {
    let place = Place::new();
    let credentials = place.credentials();
    smol::block_on(credentials.quarantine("nothing there", 1)).unwrap();
    assert!(credentials.quarantines().unwrap().is_empty());
}

#[test]
fn the_numbers_and_the_places_of_moved_rows_are_as_documented() {
    let place = Place::new();
    let store = place.open();
    let credentials = of(&store, "default");
    smol::block_on(async {
        credentials.create().await.unwrap();
        let row = store.view().get(Tree::Device, &join(&[b"default"])).unwrap().unwrap();
        credentials.quarantine("x", 7).await.unwrap();
        let key = join(&[
            b"default",
            &7u64.to_be_bytes(),
            &[Tree::Device as u8],
            &join(&[b"default"]),
        ]);
        assert_eq!(store.view().get(Tree::Quarantine, &key).unwrap().unwrap(), row);
    });
}

#[test]
fn a_linked_session_is_never_reset() {
    let place = Place::new();
    let credentials = place.credentials();
    smol::block_on(async {
        credentials.import(&device()).await.unwrap();
        assert!(!credentials.reset_unpaired().await.unwrap());
        assert_eq!(kept(&credentials.load().await.unwrap().unwrap()), kept(&device()));
        credentials.quarantine("logged out", 1).await.unwrap();
        credentials.create().await.unwrap();
        let keys = [(1, Bytes::from_static(b"k"))];
        credentials.store_prekeys_batch(&keys, false).await.unwrap();
        assert!(credentials.reset_unpaired().await.unwrap());
        assert!(!credentials.exists().await.unwrap());
        assert_eq!(credentials.get_max_prekey_id().await.unwrap(), 0);
        assert_eq!(credentials.quarantines().unwrap().len(), 1);
    });
}

#[test]
fn importing_the_same_identity_keeps_its_keys_another_does_not() {
    let place = Place::new();
    let credentials = place.credentials();
    smol::block_on(async {
        credentials.import(&device()).await.unwrap();
        credentials.put_session("a", b"s").await.unwrap();
        credentials.import(&device()).await.unwrap();
        assert!(credentials.has_session("a").await.unwrap());
        let mut other = device();
        other.identity_key = super::key_pair(99);
        credentials.import(&other).await.unwrap();
        assert!(!credentials.has_session("a").await.unwrap());
    });
}
