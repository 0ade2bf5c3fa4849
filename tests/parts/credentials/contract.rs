//! What the library's traits promise, held by both stores.

use std::sync::Arc;

use bytes::Bytes;
use wacore::appstate::hash::HashState;
use wacore::appstate::processor::AppStateMutationMAC;
use wacore::store::traits::{
    AppStateSyncKey, Backend, DeviceInfo, DeviceListRecord, PendingInboundKey, PendingInboundRow, TcTokenEntry,
};

use super::{device, kept, mapping, on_both, secret};

const CHAT: &str = "15550100@s.whatsapp.net";
const SENDER: &str = "15550101@s.whatsapp.net";
const GROUP: &str = "120363000000000000@g.us";

on_both!(
    identities,
    sessions,
    signal_state_of_a_user,
    prekeys,
    signed_prekeys,
    sender_keys,
    sync_keys,
    versions,
    mutation_macs,
    sender_key_devices,
    lid_mappings,
    base_keys,
    device_lists,
    group_metadata,
    tc_tokens,
    expired_tc_tokens,
    sent_messages,
    pending_inbound,
    message_secrets,
    devices,
);

async fn identities<B: Backend>(store: &B) {
    assert_eq!(store.load_identity("a@s.0").await.unwrap(), None);
    store.put_identity("a@s.0", [1; 32]).await.unwrap();
    let batch = [(Arc::from("a@s.0"), [2; 32]), (Arc::from("b@s.0"), [3; 32])];
    store.put_identities_batch(&batch).await.unwrap();
    assert_eq!(store.load_identity("a@s.0").await.unwrap(), Some([2; 32]));
    store.delete_identity("a@s.0").await.unwrap();
    store.delete_identity("nobody").await.unwrap();
    assert_eq!(store.load_identity("a@s.0").await.unwrap(), None);
    assert_eq!(store.load_identity("b@s.0").await.unwrap(), Some([3; 32]));
}

async fn sessions<B: Backend>(store: &B) {
    store.put_session("a@s.0", b"one").await.unwrap();
    let batch = [
        (Arc::from("a@s.0"), Bytes::from_static(b"two")),
        (Arc::from("a@s.1"), Bytes::new()),
        (Arc::from("a@s.0"), Bytes::from_static(b"three")),
    ];
    store.put_sessions_batch(&batch).await.unwrap();
    assert_eq!(store.get_session("a@s.0").await.unwrap().unwrap(), &b"three"[..]);
    assert_eq!(store.get_session("a@s.1").await.unwrap().unwrap(), &b""[..]);
    assert!(store.has_session("a@s.1").await.unwrap());
    assert!(!store.has_session("a@s").await.unwrap());
    store.delete_session("a@s.1").await.unwrap();
    assert!(!store.has_session("a@s.1").await.unwrap());
}

async fn signal_state_of_a_user<B: Backend>(store: &B) {
    store.put_session("15550100:3@c.us.0", b"s").await.unwrap();
    store.put_identity("15550101@c.us.0", [1; 32]).await.unwrap();
    for (user, known) in [
        ("15550100", true),
        ("15550101", true),
        ("1555010", false),
        ("155501000", false),
    ] {
        assert_eq!(store.has_signal_state_for_user(user).await.unwrap(), known, "{user}");
    }
}

async fn prekeys<B: Backend>(store: &B) {
    assert_eq!(store.get_max_prekey_id().await.unwrap(), 0);
    store.store_prekey(255, b"a", false).await.unwrap();
    let batch = [(256, Bytes::from_static(b"b")), (1, Bytes::from_static(b"c"))];
    store.store_prekeys_batch(&batch, false).await.unwrap();
    assert_eq!(store.get_max_prekey_id().await.unwrap(), 256);
    let found = store.load_prekeys_batch(&[1, 2, 255]).await.unwrap();
    assert_eq!(found, [(1, Bytes::from_static(b"c")), (255, Bytes::from_static(b"a"))]);
    store.remove_prekey(1).await.unwrap();
    store.mark_prekeys_uploaded(&[1, 255, 9]).await.unwrap();
    assert_eq!(store.load_prekey(1).await.unwrap(), None, "a used key came back");
    assert_eq!(store.load_prekey(9).await.unwrap(), None);
    assert_eq!(store.load_prekey(255).await.unwrap().unwrap(), &b"a"[..]);
}

async fn signed_prekeys<B: Backend>(store: &B) {
    store.store_signed_prekey(0, b"zero").await.unwrap();
    store.store_signed_prekey(70_000, b"big").await.unwrap();
    assert_eq!(store.load_signed_prekey(0).await.unwrap().unwrap(), b"zero");
    let mut all = store.load_all_signed_prekeys().await.unwrap();
    all.sort();
    assert_eq!(all, [(0, b"zero".to_vec()), (70_000, b"big".to_vec())]);
    store.remove_signed_prekey(0).await.unwrap();
    assert_eq!(store.load_signed_prekey(0).await.unwrap(), None);
}

async fn sender_keys<B: Backend>(store: &B) {
    store.put_sender_key("g:a", b"one").await.unwrap();
    let batch = [
        (Arc::from("g:a"), Bytes::from_static(b"two")),
        (Arc::from("g:b"), Bytes::from_static(b"b")),
    ];
    store.put_sender_keys_batch(&batch).await.unwrap();
    assert_eq!(store.get_sender_key("g:a").await.unwrap().unwrap(), b"two");
    store.delete_sender_key("g:a").await.unwrap();
    assert_eq!(store.get_sender_key("g:a").await.unwrap(), None);
    assert_eq!(store.get_sender_key("g:b").await.unwrap().unwrap(), b"b");
}

async fn sync_keys<B: Backend>(store: &B) {
    assert_eq!(store.get_latest_sync_key_id().await.unwrap(), None);
    let key = |byte| AppStateSyncKey {
        key_data: vec![byte; 32],
        fingerprint: vec![byte, 0],
        timestamp: i64::from(byte),
    };
    store.set_sync_key(&[0, 2], key(2)).await.unwrap();
    store.set_sync_key(&[0], key(1)).await.unwrap();
    assert_eq!(store.get_latest_sync_key_id().await.unwrap().unwrap(), [0]);
    let found = store.get_sync_key(&[0, 2]).await.unwrap().unwrap();
    assert_eq!(
        (found.key_data, found.fingerprint, found.timestamp),
        (vec![2; 32], vec![2, 0], 2)
    );
    assert!(store.get_sync_key(&[2]).await.unwrap().is_none());
}

async fn versions<B: Backend>(store: &B) {
    assert_eq!(store.get_version("regular").await.unwrap().version, 0);
    let mut state = HashState {
        version: 300,
        hash: std::array::from_fn(|i| i as u8),
        mac_mismatch_fatal: true,
        ..HashState::default()
    };
    state.index_value_map.insert("index".into(), vec![1, 2]);
    store.set_version("regular", state.clone()).await.unwrap();
    let found = store.get_version("regular").await.unwrap();
    assert_eq!(
        (found.version, found.hash, found.mac_mismatch_fatal),
        (300, state.hash, true)
    );
    assert_eq!(found.index_value_map, state.index_value_map);
}

async fn mutation_macs<B: Backend>(store: &B) {
    let mac = |index: u8, value: u8| AppStateMutationMAC {
        index_mac: vec![index; 32],
        value_mac: vec![value; 32],
    };
    store
        .put_mutation_macs("a", 1, &[mac(0, 1), mac(1, 2), mac(0, 3)])
        .await
        .unwrap();
    store.put_mutation_macs("ab", 1, &[mac(0, 4)]).await.unwrap();
    assert_eq!(store.get_mutation_mac("a", &[0; 32]).await.unwrap().unwrap(), [3; 32]);
    let many = store
        .get_mutation_macs("a", &[[0; 32], [1; 32], [9; 32]])
        .await
        .unwrap();
    assert_eq!(many.len(), 2);
    store
        .delete_mutation_macs("a", &[vec![0; 32], vec![9; 32]])
        .await
        .unwrap();
    assert_eq!(store.get_mutation_mac("a", &[0; 32]).await.unwrap(), None);
    store.clear_mutation_macs("a").await.unwrap();
    assert_eq!(store.get_mutation_mac("a", &[1; 32]).await.unwrap(), None);
    assert!(
        store.get_mutation_mac("ab", &[0; 32]).await.unwrap().is_some(),
        "another collection was cleared"
    );
}

async fn sender_key_devices<B: Backend>(store: &B) {
    let devices = |mut rows: Vec<(String, bool)>| {
        rows.sort();
        rows
    };
    let owned = |rows: &[(&str, bool)]| rows.iter().map(|(d, h)| ((*d).to_owned(), *h)).collect::<Vec<_>>();
    store
        .set_sender_key_status(GROUP, &[("a", true), ("b", true)])
        .await
        .unwrap();
    store
        .set_sender_key_status(GROUP, &[("b", false), ("c", true)])
        .await
        .unwrap();
    store
        .set_sender_key_status("other", &[("a", true), ("x", true)])
        .await
        .unwrap();
    let found = devices(store.get_sender_key_devices(GROUP).await.unwrap());
    assert_eq!(found, owned(&[("a", true), ("b", false), ("c", true)]));
    store.delete_sender_key_device_rows(&["a", "nobody"]).await.unwrap();
    store.delete_sender_key_device_rows(&[]).await.unwrap();
    assert_eq!(
        devices(store.get_sender_key_devices(GROUP).await.unwrap()),
        owned(&[("b", false), ("c", true)])
    );
    assert_eq!(
        store.get_sender_key_devices("other").await.unwrap(),
        owned(&[("x", true)])
    );
    store.clear_sender_key_devices(GROUP).await.unwrap();
    assert!(store.get_sender_key_devices(GROUP).await.unwrap().is_empty());
    assert_eq!(store.get_sender_key_devices("other").await.unwrap().len(), 1);
    store.clear_all_sender_key_devices().await.unwrap();
    assert!(store.get_sender_key_devices("other").await.unwrap().is_empty());
}

async fn lid_mappings<B: Backend>(store: &B) {
    store.put_lid_mapping(&mapping("l1", "15550100", 1)).await.unwrap();
    // The second of the batch moves the first one's id to another number.
    let batch = [mapping("l2", "15550101", 2), mapping("l2", "15550102", 3)];
    store.put_lid_mappings(&batch).await.unwrap();
    assert_eq!(store.get_pn_mapping("15550100").await.unwrap().unwrap().lid, "l1");
    assert!(
        store.get_pn_mapping("15550101").await.unwrap().is_none(),
        "the old number still leads to the id"
    );
    let found = store.get_pn_mapping("15550102").await.unwrap().unwrap();
    assert_eq!((found.lid.as_str(), found.created_at, found.updated_at), ("l2", 3, 4));
    assert_eq!(found.learning_source, "usync");
    assert_eq!(
        store.get_lid_mapping("l2").await.unwrap().unwrap().phone_number,
        "15550102"
    );
    assert_eq!(store.get_all_lid_mappings().await.unwrap().len(), 2);
    // A number gets a new id: the last one counts.
    store.put_lid_mapping(&mapping("l3", "15550100", 5)).await.unwrap();
    assert_eq!(store.get_pn_mapping("15550100").await.unwrap().unwrap().lid, "l3");
}

async fn base_keys<B: Backend>(store: &B) {
    store.save_base_key("a", "m", b"key").await.unwrap();
    assert!(store.has_same_base_key("a", "m", b"key").await.unwrap());
    assert!(!store.has_same_base_key("a", "m", b"other").await.unwrap());
    assert!(!store.has_same_base_key("a", "n", b"key").await.unwrap());
    store.delete_base_key("a", "m").await.unwrap();
    assert!(!store.has_same_base_key("a", "m", b"key").await.unwrap());
}

async fn device_lists<B: Backend>(store: &B) {
    let list = |user: &str, raw_id, phash: Option<&str>| DeviceListRecord {
        user: user.into(),
        devices: vec![
            DeviceInfo::new(0, None),
            DeviceInfo::new(300, Some(4)).with_hosting(true),
        ],
        timestamp: -5,
        phash: phash.map(str::to_owned),
        raw_id,
    };
    store.update_device_list(list("a", Some(1), None)).await.unwrap();
    let batch = vec![list("a", None, Some("2:x")), list("b", Some(7), None)];
    store.update_device_lists(batch).await.unwrap();
    let found = store.get_devices("a").await.unwrap().unwrap();
    assert_eq!((found.user.as_str(), found.timestamp, found.raw_id), ("a", -5, None));
    assert_eq!(found.phash.as_deref(), Some("2:x"));
    let devices: Vec<_> = found
        .devices
        .iter()
        .map(|d| (d.device_id, d.key_index, d.is_hosted))
        .collect();
    assert_eq!(devices, [(0, None, false), (300, Some(4), true)]);
    assert_eq!(store.get_devices("b").await.unwrap().unwrap().raw_id, Some(7));
    store.delete_devices("a").await.unwrap();
    assert!(store.get_devices("a").await.unwrap().is_none());
}

async fn group_metadata<B: Backend>(store: &B) {
    assert_eq!(store.get_group_metadata(GROUP).await.unwrap(), None);
    store.put_group_metadata(GROUP, b"one").await.unwrap();
    store.put_group_metadata(GROUP, b"two").await.unwrap();
    assert_eq!(store.get_group_metadata(GROUP).await.unwrap().unwrap(), b"two");
    store.delete_group_metadata(GROUP).await.unwrap();
    assert_eq!(store.get_group_metadata(GROUP).await.unwrap(), None);
}

async fn tc_tokens<B: Backend>(store: &B) {
    let token = async |jid: &str| {
        let entry = store.get_tc_token(jid).await.unwrap()?;
        Some((entry.token, entry.token_timestamp, entry.sender_timestamp))
    };
    store.touch_tc_token_sender_timestamp("a", 5000).await.unwrap();
    assert_eq!(token("a").await, Some((vec![], 5000, Some(5000))));
    store.store_received_tc_token("a", &[1], 4000).await.unwrap();
    assert_eq!(
        token("a").await,
        Some((vec![1], 4000, Some(5000))),
        "a placeholder stood in the way"
    );
    store.store_received_tc_token("a", &[2], 3999).await.unwrap();
    store.touch_tc_token_sender_timestamp("a", 100).await.unwrap();
    assert_eq!(token("a").await, Some((vec![1], 4000, Some(5000))), "an old writer won");
    store.store_received_tc_token("a", &[3], 4000).await.unwrap();
    store.touch_tc_token_sender_timestamp("a", 6000).await.unwrap();
    assert_eq!(token("a").await, Some((vec![3], 4000, Some(6000))));
    store.store_received_tc_token("b", &[4], 1).await.unwrap();
    assert_eq!(token("b").await, Some((vec![4], 1, None)));
    let mut jids = store.get_all_tc_token_jids().await.unwrap();
    jids.sort();
    assert_eq!(jids, ["a", "b"]);
    store.delete_tc_token("b").await.unwrap();
    assert_eq!(token("b").await, None);
}

async fn expired_tc_tokens<B: Backend>(store: &B) {
    let rows = [
        ("recent-placeholder", vec![], 2500, Some(2500), true),
        ("stale-placeholder", vec![], 100, Some(100), false),
        ("old-token-live-sender", vec![1], 1, Some(2000), true),
        ("old-token", vec![2], 999, None, false),
        ("fresh-token", vec![3], 1000, None, true),
    ];
    for (jid, token, token_timestamp, sender_timestamp, _) in &rows {
        let entry = TcTokenEntry {
            token: token.clone(),
            token_timestamp: *token_timestamp,
            sender_timestamp: *sender_timestamp,
        };
        store.put_tc_token(jid, &entry).await.unwrap();
    }
    assert_eq!(store.delete_expired_tc_tokens(1000, 2000).await.unwrap(), 2);
    for (jid, _, _, _, stays) in &rows {
        assert_eq!(store.get_tc_token(jid).await.unwrap().is_some(), *stays, "{jid}");
    }
}

async fn sent_messages<B: Backend>(store: &B) {
    store.store_sent_message(CHAT, "m", b"old").await.unwrap();
    store.store_sent_message(CHAT, "m", b"new").await.unwrap();
    store.store_sent_message(CHAT, "n", b"n").await.unwrap();
    assert_eq!(store.take_sent_message(GROUP, "m").await.unwrap(), None);
    assert_eq!(store.take_sent_message(CHAT, "m").await.unwrap().unwrap(), b"new");
    // Whether it stays is a store's own affair, and so is how long: ours keeps it. See `keeping`.
    assert_eq!(store.take_sent_message(CHAT, "n").await.unwrap().unwrap(), b"n");
}

async fn pending_inbound<B: Backend>(store: &B) {
    let row = |id, message| PendingInboundRow {
        chat: CHAT,
        sender: SENDER,
        id,
        message,
    };
    let key = |id| PendingInboundKey {
        chat: CHAT,
        sender: SENDER,
        id,
    };
    store.store_pending_inbound(CHAT, SENDER, "1", b"one").await.unwrap();
    let batch = [row("1", &b"uno"[..]), row("2", b""), row("3", b"three")];
    store.store_pending_inbound_batch(&batch).await.unwrap();
    assert_eq!(
        store.get_pending_inbound(CHAT, SENDER, "1").await.unwrap().unwrap(),
        b"uno"
    );
    assert_eq!(
        store.get_pending_inbound(CHAT, SENDER, "2").await.unwrap().unwrap(),
        b""
    );
    assert_eq!(store.get_pending_inbound(SENDER, CHAT, "1").await.unwrap(), None);
    store.delete_pending_inbound_batch(&[key("1"), key("9")]).await.unwrap();
    store.delete_pending_inbound(CHAT, SENDER, "2").await.unwrap();
    assert_eq!(store.get_pending_inbound(CHAT, SENDER, "1").await.unwrap(), None);
    assert_eq!(store.delete_expired_pending_inbound(0).await.unwrap(), 0);
}

async fn message_secrets<B: Backend>(store: &B) {
    let found = async |message: &str| store.get_msg_secret_with_ts(CHAT, SENDER, message).await.unwrap();
    store.put_msg_secret(CHAT, SENDER, "never", &[1; 32]).await.unwrap();
    // Later rows of a batch see the earlier ones.
    let batch = vec![
        secret(CHAT, "a", 1, 200, 50),
        secret(CHAT, "a", 2, 100, 0),
        secret(CHAT, "b", 3, 100, 0),
        secret(CHAT, "never", 4, 100, 60),
    ];
    assert_eq!(store.put_msg_secrets(batch).await.unwrap(), 4);
    assert_eq!(found("a").await, Some((vec![2; 32], 50)));
    assert_eq!(found("never").await, Some((vec![4; 32], 60)));
    assert_eq!(store.delete_expired_msg_secrets(100).await.unwrap(), 1);
    assert_eq!(found("b").await, None);
    assert_eq!(store.get_msg_secret(CHAT, SENDER, "a").await.unwrap().unwrap(), [2; 32]);
    assert_eq!(store.delete_expired_msg_secrets(i64::MAX).await.unwrap(), 1);
    assert!(found("never").await.is_some());
}

async fn devices<B: Backend>(store: &B) {
    assert!(!store.exists().await.unwrap());
    assert!(store.load().await.unwrap().is_none());
    assert_eq!(store.create().await.unwrap(), 1);
    assert!(store.exists().await.unwrap());
    let mut mine = store.load().await.unwrap().unwrap();
    let paired = device();
    mine.pn = paired.pn;
    mine.lid = paired.lid;
    mine.account = paired.account;
    mine.nct_salt = Some(vec![]);
    mine.server_cert_chain = paired.server_cert_chain;
    store.save(&mine).await.unwrap();
    store.create().await.unwrap();
    assert_eq!(
        kept(&store.load().await.unwrap().unwrap()),
        kept(&mine),
        "a second create changed the device"
    );
}
