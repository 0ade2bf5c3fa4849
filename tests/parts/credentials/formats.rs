//! The rows of format 1, byte by byte, as they stand on people's disks. Later versions must still open them: never edit
//! the file, add one beside it.

use std::fmt::Write as _;

use tautline::store::{Batch, Store, Tree};
use wacore::appstate::hash::HashState;
use wacore::appstate::processor::AppStateMutationMAC;
use wacore::store::traits::*;

use super::{Place, device, kept, mapping, of, secret};

/// One row a line: tree, key, value; the last two in hex.
const VERSION_1: &str = include_str!("../../fixtures/store-v1/credentials.txt");

const CHAT: &str = "15550101@s.whatsapp.net";

/// Writes one record of each kind, all with values that show every field.
async fn write<B: Backend>(store: &B) {
    store.put_identity("15550101@c.us.0", [1; 32]).await.unwrap();
    store.put_session("15550101@c.us.0", b"session").await.unwrap();
    store.store_prekey(300, b"prekey", true).await.unwrap();
    store.store_signed_prekey(5, b"signed").await.unwrap();
    store.put_sender_key("g:15550101", b"sender key").await.unwrap();
    let key = AppStateSyncKey {
        key_data: vec![2; 32],
        fingerprint: vec![3, 4],
        timestamp: 1_700_000_000_000,
    };
    store.set_sync_key(&[0, 1, 2], key).await.unwrap();
    let mut state = HashState {
        version: 77,
        hash: std::array::from_fn(|i| i as u8),
        mac_mismatch_fatal: true,
        ..HashState::default()
    };
    state.index_value_map.insert("b".into(), vec![2]);
    state.index_value_map.insert("a".into(), vec![1]);
    store.set_version("regular_low", state).await.unwrap();
    let mac = AppStateMutationMAC {
        index_mac: vec![5; 32],
        value_mac: vec![6; 32],
    };
    store.put_mutation_macs("regular_low", 77, &[mac]).await.unwrap();
    store
        .set_sender_key_status("120363000000000000@g.us", &[(CHAT, true)])
        .await
        .unwrap();
    store
        .put_lid_mapping(&mapping("100000012345678", "15550101", 1_700_000_000))
        .await
        .unwrap();
    store.save_base_key("15550101@c.us.0", "3EB0", &[7; 33]).await.unwrap();
    let list = DeviceListRecord {
        user: "15550101".into(),
        devices: vec![DeviceInfo::new(0, None), DeviceInfo::new(7, Some(3)).with_hosting(true)],
        timestamp: 1_700_000_000,
        phash: Some("2:abc".into()),
        raw_id: None,
    };
    store.update_device_list(list).await.unwrap();
    store
        .put_group_metadata("120363000000000000@g.us", b"metadata")
        .await
        .unwrap();
    let token = TcTokenEntry {
        token: vec![8; 9],
        token_timestamp: 1_700_000_000,
        sender_timestamp: Some(-1),
    };
    store.put_tc_token("100000012345678@lid", &token).await.unwrap();
    store.store_sent_message(CHAT, "3EB0", b"sent").await.unwrap();
    store
        .store_pending_inbound(CHAT, CHAT, "3EB1", b"pending")
        .await
        .unwrap();
    store
        .put_msg_secrets(vec![secret(CHAT, "3EB2", 9, 1_700_000_100, 1_700_000_000)])
        .await
        .unwrap();
}

fn rows(store: &Store) -> String {
    let mut text = String::new();
    for tree in Tree::credentials().chain([Tree::Quarantine]) {
        for row in store.view().scan(tree, b"") {
            let (key, value) = row.unwrap();
            writeln!(text, "{} {} {}", tree.name(), hex(&key), hex(&value)).unwrap();
        }
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}

/// The two kinds that hold the time of writing are left out.
fn timeless(text: &str) -> Vec<&str> {
    let timed = |line: &&str| !line.starts_with("sent-message ") && !line.starts_with("pending-inbound ");
    text.lines().filter(timed).collect()
}

#[test]
fn what_is_written_today_is_format_1() {
    let place = Place::new();
    let store = place.open();
    smol::block_on(async {
        let (default, gone) = (of(&store, "default"), of(&store, "gone"));
        default.import(&device()).await.unwrap();
        write(&default).await;
        gone.put_identity("x", [0; 32]).await.unwrap();
        gone.quarantine("logged out by the phone", 1_700_000_000_000)
            .await
            .unwrap();
    });
    let written = rows(&store);
    assert_eq!(
        timeless(&written),
        timeless(VERSION_1),
        "all rows as they are now:\n{written}"
    );
}

#[test]
fn format_1_is_read() {
    let place = Place::new();
    {
        let store = place.open();
        let mut batch = Batch::new();
        for line in VERSION_1.lines() {
            let mut fields = line.split(' ');
            let name = fields.next().unwrap();
            let all = Tree::credentials().chain([Tree::Quarantine]);
            let tree = all.into_iter().find(|tree| tree.name() == name).unwrap();
            let key = bytes(fields.next().unwrap());
            batch.put(tree, &key, bytes(fields.next().unwrap())).unwrap();
        }
        smol::block_on(store.commit(batch)).unwrap();
    }
    let store = place.open();
    let credentials = of(&store, "default");
    smol::block_on(async {
        assert_eq!(kept(&credentials.load().await.unwrap().unwrap()), kept(&device()));
        let reference = wacore::store::InMemoryBackend::new();
        write(&reference).await;
        assert_eq!(picture(&credentials).await, picture(&reference).await);
        // Rows of 2023, by the wall clock of an earlier version: how old they are counts from the first look on.
        assert_eq!(credentials.delete_expired_sent_messages(i64::MAX).await.unwrap(), 0);
        assert_eq!(credentials.delete_expired_pending_inbound(i64::MAX).await.unwrap(), 0);
        assert_eq!(
            credentials.take_sent_message(CHAT, "3EB0").await.unwrap().unwrap(),
            b"sent"
        );
    });
    let gone = of(&store, "gone").quarantines().unwrap();
    assert_eq!(gone[0].reason, "logged out by the phone");
    assert_eq!((gone[0].at_ms, gone[0].rows), (1_700_000_000_000, 1));
}

/// What reading finds of each kind that [`write`] writes.
async fn picture<B: Backend>(store: &B) -> Vec<String> {
    vec![
        format!("{:?}", store.load_identity("15550101@c.us.0").await),
        format!("{:?}", store.get_session("15550101@c.us.0").await),
        format!("{:?}", store.load_prekey(300).await),
        format!("{:?}", store.load_all_signed_prekeys().await),
        format!("{:?}", store.get_sender_key("g:15550101").await),
        format!("{:?}", store.get_latest_sync_key_id().await),
        format!("{:?}", store.get_sync_key(&[0, 1, 2]).await),
        {
            let state = store.get_version("regular_low").await.unwrap();
            let map: std::collections::BTreeMap<_, _> = state.index_value_map.into_iter().collect();
            format!(
                "{} {:?} {map:?} {}",
                state.version, state.hash, state.mac_mismatch_fatal
            )
        },
        format!("{:?}", store.get_mutation_mac("regular_low", &[5; 32]).await),
        format!("{:?}", store.get_sender_key_devices("120363000000000000@g.us").await),
        format!("{:?}", store.get_lid_mapping("100000012345678").await),
        format!("{:?}", store.get_pn_mapping("15550101").await),
        format!(
            "{:?}",
            store.has_same_base_key("15550101@c.us.0", "3EB0", &[7; 33]).await
        ),
        format!("{:?}", store.get_devices("15550101").await),
        format!("{:?}", store.get_group_metadata("120363000000000000@g.us").await),
        format!("{:?}", store.get_tc_token("100000012345678@lid").await),
        format!("{:?}", store.get_pending_inbound(CHAT, CHAT, "3EB1").await),
        format!("{:?}", store.get_msg_secret_with_ts(CHAT, CHAT, "3EB2").await),
    ]
}
