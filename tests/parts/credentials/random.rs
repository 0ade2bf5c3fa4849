//! Random sequences of calls give the same answers from the library's store in memory and from ours, reopened midway.

use std::sync::Arc;

use bytes::Bytes;
use wacore::appstate::hash::HashState;
use wacore::appstate::processor::AppStateMutationMAC;
use wacore::store::InMemoryBackend;
use wacore::store::traits::*;

use super::{Place, mapping, secret};

const SEEDS: std::ops::Range<u64> = 0..12;
const CALLS: usize = 250;
const KINDS: usize = 40;

/// One row at least in every tree.
pub async fn fill<B: Backend>(store: &B) {
    let mut random = fastrand::Rng::with_seed(1);
    for kind in 0..KINDS {
        if !DELETES.contains(&kind) {
            call(store, kind, &mut random).await;
        }
    }
}

/// The kinds of [`call`] that only delete.
const DELETES: [usize; 16] = [2, 5, 8, 11, 13, 16, 18, 19, 21, 23, 26, 28, 31, 33, 36, 38];

/// One call of `kind` with arguments from `random`: a small world, so that calls meet. Returns what it answered.
async fn call<B: Backend>(store: &B, kind: usize, random: &mut fastrand::Rng) -> String {
    let name = format!("n{}", random.u8(..4));
    let other = format!("o{}", random.u8(..3));
    let (id, value) = (random.u32(..5), vec![random.u8(..); random.usize(..40)]);
    let time = random.i64(..20);
    let some = random.bool();
    // Numbers of one id only: see `an_old_id_that_moves_on_leaves_the_numbers_new_id_alone`.
    let lid = mapping(&name, &format!("1555010{}{}", &name[1..], &other[1..]), time);
    match kind {
        0 => said(store.put_identity(&name, [id as u8; 32]).await),
        1 => said(
            store
                .put_identities_batch(&[(name.into(), [1; 32]), (other.into(), [2; 32])])
                .await,
        ),
        2 => said(store.delete_identity(&name).await),
        3 => said(store.put_session(&name, &value).await),
        4 => said(
            store
                .put_sessions_batch(&[(Arc::from(other), Bytes::from(value))])
                .await,
        ),
        5 => said(store.delete_session(&name).await),
        6 => said(store.store_prekey(id, &value, some).await),
        7 => said(
            store
                .store_prekeys_batch(&[(id, value.into()), (id + 1, Bytes::new())], some)
                .await,
        ),
        8 => said(store.remove_prekey(id).await),
        9 => said(store.mark_prekeys_uploaded(&[id, id + 1]).await),
        10 => said(store.store_signed_prekey(id, &value).await),
        11 => said(store.remove_signed_prekey(id).await),
        12 => said(
            store
                .put_sender_keys_batch(&[(Arc::from(name), Bytes::from(value))])
                .await,
        ),
        13 => said(store.delete_sender_key(&name).await),
        14 => {
            let key = AppStateSyncKey {
                key_data: value,
                fingerprint: vec![1],
                timestamp: time,
            };
            said(store.set_sync_key(name.as_bytes(), key).await)
        }
        15 => said(store.put_mutation_macs(&other, 1, &[mac(id), mac(id + 1)]).await),
        16 => said(store.delete_mutation_macs(&other, &[vec![id as u8; 32]]).await),
        17 => {
            let state = HashState {
                version: u64::from(id),
                mac_mismatch_fatal: some,
                ..HashState::default()
            };
            said(store.set_version(&name, state).await)
        }
        18 => said(store.clear_mutation_macs(&other).await),
        19 => said(store.clear_sender_key_devices(&other).await),
        20 => said(store.set_sender_key_status(&other, &[(&name, some), ("x", true)]).await),
        21 => said(store.delete_sender_key_device_rows(&[&name]).await),
        22 => said(store.put_lid_mappings(&[lid.clone(), lid]).await),
        23 => said(store.delete_base_key(&name, &other).await),
        24 => said(store.save_base_key(&name, &other, &value).await),
        25 => said(store.update_device_lists(vec![list(&name, id), list(&other, id)]).await),
        26 => said(store.delete_devices(&name).await),
        27 => said(store.put_group_metadata(&name, &value).await),
        28 => said(store.delete_group_metadata(&name).await),
        29 => said(store.touch_tc_token_sender_timestamp(&name, time).await),
        30 => said(store.store_received_tc_token(&name, &value, time).await),
        31 => said(store.delete_expired_tc_tokens(time, time + 3).await),
        32 => said(store.store_sent_message(&name, &other, &value).await),
        33 => {
            let taken = store.take_sent_message(&name, &other).await;
            if let Ok(Some(message)) = &taken {
                // As the library does at once. Ours has it still.
                store.store_sent_message(&name, &other, message).await.unwrap();
            }
            said(taken)
        }
        34 => said(store.store_pending_inbound(&name, &other, "m", &value).await),
        35 => said(
            store
                .put_msg_secrets(vec![
                    secret(&name, &other, id as u8, time, time),
                    secret(&name, &other, 1, time + 1, 0),
                ])
                .await,
        ),
        36 => said(store.delete_expired_msg_secrets(time).await),
        37 => said(store.put_lid_mapping(&lid).await),
        38 => said(store.delete_pending_inbound(&name, &other, "m").await),
        39 => said(store.put_sender_key(&name, &value).await),
        _ => unreachable!("no such kind of call"),
    }
}

fn said<T: std::fmt::Debug>(answer: wacore::store::error::Result<T>) -> String {
    format!("{answer:?}")
}

fn mac(index: u32) -> AppStateMutationMAC {
    AppStateMutationMAC {
        index_mac: vec![index as u8; 32],
        value_mac: vec![index as u8 + 1; 32],
    }
}

fn list(user: &str, id: u32) -> DeviceListRecord {
    DeviceListRecord {
        user: user.into(),
        devices: (0..id).map(|id| DeviceInfo::new(id, None)).collect(),
        timestamp: 1,
        phash: None,
        raw_id: (id > 2).then_some(id),
    }
}

/// Everything that can be asked about the small world, in one text.
async fn picture<B: Backend>(store: &B) -> Vec<String> {
    let mut seen = vec![
        said(store.get_max_prekey_id().await),
        said(store.get_latest_sync_key_id().await),
        sorted(store.load_all_signed_prekeys().await.unwrap()),
        sorted(store.get_all_tc_token_jids().await.unwrap()),
        sorted(
            store
                .get_all_lid_mappings()
                .await
                .unwrap()
                .into_iter()
                .map(|m| format!("{m:?}"))
                .collect(),
        ),
        said(store.load_prekeys_batch(&[0, 1, 2, 3, 4, 5]).await),
    ];
    let names = (0..4).map(|i| format!("n{i}")).chain((0..3).map(|i| format!("o{i}")));
    for name in names {
        seen.push(said(store.load_identity(&name).await));
        seen.push(said(store.get_session(&name).await));
        seen.push(said(store.has_session(&name).await));
        seen.push(said(store.get_sender_key(&name).await));
        seen.push(said(store.get_sync_key(name.as_bytes()).await));
        seen.push(said(store.get_version(&name).await));
        seen.push(sorted(store.get_sender_key_devices(&name).await.unwrap()));
        seen.push(said(store.get_lid_mapping(&name).await));
        seen.push(said(store.get_devices(&name).await));
        seen.push(said(store.get_group_metadata(&name).await));
        seen.push(said(store.get_tc_token(&name).await));
        for index in 0..6u8 {
            seen.push(said(store.get_mutation_mac(&name, &[index; 32]).await));
        }
        for other in 0..3 {
            let digit = name.as_bytes()[1] as char;
            seen.push(said(store.get_pn_mapping(&format!("1555010{digit}{other}")).await));
            let other = format!("o{other}");
            seen.push(said(store.has_same_base_key(&name, &other, &[]).await));
            seen.push(said(store.get_pending_inbound(&name, &other, "m").await));
            seen.push(said(
                store
                    .get_msg_secret_with_ts(&name, "15550101@s.whatsapp.net", &other)
                    .await,
            ));
        }
    }
    seen
}

fn sorted<T: std::fmt::Debug + Ord>(mut rows: Vec<T>) -> String {
    rows.sort();
    format!("{rows:?}")
}

#[test]
fn both_stores_answer_alike() {
    for seed in SEEDS {
        let place = Place::new();
        let mut ours = place.credentials();
        let reference = InMemoryBackend::new();
        let mut random = fastrand::Rng::with_seed(seed);
        smol::block_on(async {
            for step in 0..CALLS {
                let kind = random.usize(..KINDS);
                let mut same_again = random.clone();
                let expected = call(&reference, kind, &mut random).await;
                let answer = call(&ours, kind, &mut same_again).await;
                assert_eq!(answer, expected, "seed {seed}, step {step}, call {kind}");
                if step % 25 == 0 {
                    assert_eq!(
                        picture(&ours).await,
                        picture(&reference).await,
                        "seed {seed}, step {step}"
                    );
                }
                if step == CALLS / 2 {
                    drop(ours);
                    ours = place.credentials();
                }
            }
            assert_eq!(
                picture(&ours).await,
                picture(&reference).await,
                "seed {seed}, at the end"
            );
        });
    }
}

#[test]
fn every_kind_is_there_after_reopening() {
    let place = Place::new();
    let before = smol::block_on(async {
        let credentials = place.credentials();
        fill(&credentials).await;
        picture(&credentials).await
    });
    let reference = InMemoryBackend::new();
    smol::block_on(fill(&reference));
    assert_eq!(smol::block_on(picture(&place.credentials())), before);
    assert_eq!(before, smol::block_on(picture(&reference)));
}
