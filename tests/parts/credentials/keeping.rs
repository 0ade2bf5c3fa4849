//! What the disk adds: it is there after reopening, whole or not at all, and each session sees its own.

use std::sync::Arc;

use bytes::Bytes;
use tautline::store::{Batch, Tree, join};
use wacore::store::error::StoreError;
use wacore::store::traits::*;

use super::{Place, device, kept, mapping, of};

#[test]
fn a_device_comes_back_field_by_field() {
    let place = Place::new();
    smol::block_on(place.credentials().import(&device())).unwrap();
    let credentials = place.credentials();
    let loaded = smol::block_on(credentials.load()).unwrap().unwrap();
    assert_eq!(kept(&loaded), kept(&device()));
    let account = credentials.paired().unwrap().unwrap();
    assert_eq!(Some(account.pn), device().pn);
    assert_eq!(account.lid, device().lid);
    assert_eq!(account.push_name, "Ann Example");
}

#[test]
fn a_new_device_is_not_paired() {
    let place = Place::new();
    let credentials = place.credentials();
    assert_eq!(credentials.paired().unwrap(), None);
    smol::block_on(credentials.create()).unwrap();
    assert_eq!(credentials.paired().unwrap(), None);
}

/// Waits until readers see what nobody waited for.
fn settle(store: &tautline::store::Store) {
    smol::block_on(store.commit(Batch::new())).unwrap();
}

/// Bytes that compress into nothing and repeat nowhere.
fn long(length: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..length).map(|_| random.u8(..)).collect()
}

#[test]
fn records_larger_than_a_row_are_kept_replaced_and_deleted() {
    let place = Place::new();
    let (big, bigger) = (long(200_000, 1), long(1_500_000, 2));
    let rows = |credentials: &tautline::store::Store| {
        let trees = [Tree::Session, Tree::PendingInbound, Tree::SentMessage];
        trees.map(|tree| credentials.view().scan(tree, b"").count())
    };
    {
        let store = place.open();
        let credentials = of(&store, "default");
        smol::block_on(async {
            credentials.put_session("a", &bigger).await.unwrap();
            credentials.put_session("a", &big).await.unwrap();
            credentials.store_sent_message("c", "m", &bigger).await.unwrap();
            credentials.store_pending_inbound("c", "s", "1", &bigger).await.unwrap();
        });
        assert_eq!(rows(&store), [3, 14, 14], "pieces of the replaced record stayed behind");
    }
    let store = place.open();
    let credentials = of(&store, "default");
    smol::block_on(async {
        assert_eq!(credentials.get_session("a").await.unwrap().unwrap(), big);
        assert_eq!(
            credentials.get_pending_inbound("c", "s", "1").await.unwrap().unwrap(),
            bigger
        );
        assert!(credentials.has_session("a").await.unwrap());
        credentials.put_session("a", b"small").await.unwrap();
        assert_eq!(credentials.get_session("a").await.unwrap().unwrap(), &b"small"[..]);
        assert_eq!(credentials.take_sent_message("c", "m").await.unwrap().unwrap(), bigger);
        credentials.store_sent_message("c", "m", b"small").await.unwrap();
        credentials.delete_pending_inbound("c", "s", "1").await.unwrap();
    });
    settle(&store);
    assert_eq!(rows(&store), [1, 0, 1]);
}

#[test]
fn a_large_record_is_never_read_half_old_half_new() {
    let place = Place::new();
    let credentials = place.credentials();
    let versions = [long(300_000, 1), long(900_000, 2)];
    let writer = {
        let (credentials, versions) = (credentials.clone(), versions.clone());
        smol::block_on(credentials.put_session("a", &versions[0])).unwrap();
        std::thread::spawn(move || {
            for round in 0..40 {
                smol::block_on(credentials.put_session("a", &versions[round % 2])).unwrap();
            }
        })
    };
    while !writer.is_finished() {
        let read = smol::block_on(credentials.get_session("a")).unwrap().unwrap();
        assert!(versions.iter().any(|version| *version == read), "{} bytes", read.len());
    }
    writer.join().unwrap();
}

#[test]
fn an_uploaded_prekey_is_marked_and_otherwise_as_it_was() {
    let place = Place::new();
    let store = place.open();
    let credentials = of(&store, "default");
    smol::block_on(async {
        let batch = [(1, Bytes::from_static(b"one")), (2, Bytes::from_static(b"two"))];
        credentials.store_prekeys_batch(&batch, false).await.unwrap();
        credentials.mark_prekeys_uploaded(&[2, 3]).await.unwrap();
    });
    let rows: Vec<_> = store
        .view()
        .scan(Tree::PreKey, b"")
        .map(|row| row.unwrap().1.to_vec())
        .collect();
    assert_eq!(rows, [b"\x01\x00\x03one".to_vec(), b"\x01\x01\x03two".to_vec()]);
}

#[test]
fn a_batch_that_cannot_be_kept_whole_is_not_kept_at_all() {
    let place = Place::new();
    let credentials = place.credentials();
    smol::block_on(async {
        let endless = Bytes::from(vec![0; 17 * 1024 * 1024]);
        let batch = [(Arc::from("a"), Bytes::from_static(b"good")), (Arc::from("b"), endless)];
        let error = credentials.put_sessions_batch(&batch).await.unwrap_err();
        assert!(matches!(error, StoreError::Validation(_)), "{error}");
        assert!(!error.is_database_busy_or_locked());
        assert!(
            !credentials.has_session("a").await.unwrap(),
            "half of the batch is there"
        );
        // The store goes on.
        credentials.put_session("a", b"good").await.unwrap();
    });
}

#[test]
fn group_metadata_larger_than_a_row_is_forgotten_not_left_stale() {
    let place = Place::new();
    let credentials = place.credentials();
    smol::block_on(async {
        let largest = vec![1; 120 * 1024 - 8];
        credentials.put_group_metadata("g", &largest).await.unwrap();
        assert_eq!(credentials.get_group_metadata("g").await.unwrap().unwrap(), largest);
        credentials.put_group_metadata("g", &[2; 120 * 1024]).await.unwrap();
        assert_eq!(credentials.get_group_metadata("g").await.unwrap(), None);
    });
}

#[test]
fn the_two_writers_of_a_token_lose_nothing_to_each_other() {
    let place = Place::new();
    let credentials = place.credentials();
    smol::block_on(async {
        let executor = smol::Executor::new();
        let writers: Vec<_> = (0..32)
            .map(|i| {
                let credentials = credentials.clone();
                executor.spawn(async move {
                    match i % 2 {
                        0 => credentials.touch_tc_token_sender_timestamp("a", 100 + i).await.unwrap(),
                        _ => credentials.store_received_tc_token("a", &[i as u8], i).await.unwrap(),
                    }
                })
            })
            .collect();
        executor
            .run(async {
                for writer in writers {
                    writer.await;
                }
            })
            .await;
        let entry = credentials.get_tc_token("a").await.unwrap().unwrap();
        assert_eq!(
            (entry.token, entry.token_timestamp, entry.sender_timestamp),
            (vec![31], 31, Some(130))
        );
    });
}

#[test]
fn sessions_do_not_see_each_other() {
    let place = Place::new();
    let store = place.open();
    let (a, ab) = (of(&store, "a"), of(&store, "ab"));
    smol::block_on(async {
        a.import(&device()).await.unwrap();
        // "a" with an address that begins like the other session's name.
        a.put_session("b@s", b"of a").await.unwrap();
        a.set_sender_key_status("g", &[("d", true)]).await.unwrap();
        a.store_prekey(9, b"k", false).await.unwrap();
        a.store_sent_message("c", "m", b"of a").await.unwrap();
        assert!(!ab.exists().await.unwrap());
        assert_eq!(ab.paired().unwrap(), None);
        assert_eq!(ab.get_max_prekey_id().await.unwrap(), 0);
        assert!(!ab.has_signal_state_for_user("b").await.unwrap());
        assert!(ab.get_sender_key_devices("g").await.unwrap().is_empty());
        assert_eq!(ab.delete_expired_sent_messages(i64::MAX).await.unwrap(), 0);
        ab.create().await.unwrap();
        ab.put_session("b@s", b"of ab").await.unwrap();
        ab.clear_all_sender_key_devices().await.unwrap();
        assert_eq!(a.get_sender_key_devices("g").await.unwrap().len(), 1);
        a.quarantine("logged out", 1).await.unwrap();
        assert!(!a.exists().await.unwrap());
        assert!(ab.exists().await.unwrap());
        assert_eq!(ab.get_session("b@s").await.unwrap().unwrap(), &b"of ab"[..]);
        assert!(ab.reset_unpaired().await.unwrap());
        assert_eq!(ab.get_session("b@s").await.unwrap(), None);
        assert_eq!(a.quarantines().unwrap().len(), 1);
        assert_eq!(ab.quarantines().unwrap().len(), 0);
    });
}

#[test]
fn an_old_id_that_moves_on_leaves_the_numbers_new_id_alone() {
    let place = Place::new();
    let credentials = place.credentials();
    smol::block_on(async {
        credentials
            .put_lid_mapping(&mapping("old", "15550100", 1))
            .await
            .unwrap();
        credentials
            .put_lid_mapping(&mapping("new", "15550100", 2))
            .await
            .unwrap();
        credentials
            .put_lid_mapping(&mapping("old", "15550101", 3))
            .await
            .unwrap();
        assert_eq!(
            credentials.get_pn_mapping("15550100").await.unwrap().unwrap().lid,
            "new"
        );
        assert_eq!(
            credentials.get_pn_mapping("15550101").await.unwrap().unwrap().lid,
            "old"
        );
    });
}

#[test]
fn a_sweep_deletes_more_than_one_transaction_may() {
    let place = Place::new();
    let credentials = place.credentials();
    smol::block_on(async {
        let entry = |i: u32| super::secret("c", &i.to_string(), 1, if i < 2500 { 10 } else { 0 }, 0);
        credentials
            .put_msg_secrets((0..2600).map(entry).collect())
            .await
            .unwrap();
        assert_eq!(credentials.delete_expired_msg_secrets(10).await.unwrap(), 2500);
        assert_eq!(credentials.delete_expired_msg_secrets(10).await.unwrap(), 0);
    });
}

#[test]
fn a_damaged_record_is_an_error_not_an_absence() {
    let place = Place::new();
    let store = place.open();
    let credentials = of(&store, "default");
    smol::block_on(async {
        credentials.create().await.unwrap();
        for (value, what) in [
            (vec![1, 2, 3], "cut off"),
            (vec![2], "of a later version"),
            (vec![], "empty"),
        ] {
            let mut batch = Batch::new();
            batch.put(Tree::Device, &join(&[b"default"]), value.clone()).unwrap();
            batch.put(Tree::Session, &join(&[b"default", b"a"]), value).unwrap();
            store.commit(batch).await.unwrap();
            assert!(credentials.load().await.is_err(), "{what}");
            assert!(credentials.paired().is_err(), "{what}");
            assert!(
                credentials.exists().await.unwrap(),
                "{what}: a new device would be paired over it"
            );
            assert!(credentials.create().await.is_err(), "{what}");
            assert!(credentials.reset_unpaired().await.is_err(), "{what}");
            assert!(credentials.get_session("a").await.is_err(), "{what}");
            // What can be made anew can be replaced.
            credentials.put_session("a", b"new").await.unwrap();
            assert_eq!(credentials.get_session("a").await.unwrap().unwrap(), &b"new"[..]);
        }
        // And what is not readable can be set aside.
        credentials.quarantine("not readable", 1).await.unwrap();
        credentials.create().await.unwrap();
    });
}

#[test]
fn nothing_of_an_account_is_printed() {
    let place = Place::new();
    let credentials = place.credentials();
    smol::block_on(credentials.import(&device())).unwrap();
    let text = format!("{credentials:?} {:?}", credentials.paired().unwrap());
    assert_eq!(text, "Credentials(default) Some(Account(…))");
}
