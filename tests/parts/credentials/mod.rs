//! The credential store beside the library's own store in memory, which is the reference for what its traits mean.

mod contract;
mod durable;
mod formats;
mod keeping;
mod kept;
mod quarantine;
mod random;

use std::sync::Arc;

use tautline::alert::SessionName;
use tautline::credentials::Credentials;
use tautline::store::Store;
use wacore::libsignal::protocol::{KeyPair, PrivateKey};
use wacore::store::device::{CachedNoiseCert, CachedServerCertChain};
use wacore::store::traits::{LidPnMappingEntry, MsgSecretEntry};
use wacore::store::{Device, InMemoryBackend};
use wacore_binary::Jid;

const CACHE_BYTES: u64 = 1 << 20;

/// A store that is deleted with the value.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn open(&self) -> Store {
        Store::open(self.dir.path(), CACHE_BYTES).unwrap()
    }

    fn credentials(&self) -> Credentials {
        of(&self.open(), "default")
    }
}

fn of(store: &Store, session: &str) -> Credentials {
    Credentials::new(store.clone(), session.parse::<SessionName>().unwrap())
}

fn key_pair(byte: u8) -> KeyPair {
    let private = PrivateKey::deserialize(&[byte; 32]).unwrap();
    KeyPair::new(private.public_key().unwrap(), private)
}

/// A device in which every field that is kept has a value of its own.
fn device() -> Device {
    let mut device = Device::new();
    device.pn = Some(Jid::pn("15550100").with_device(7));
    device.lid = Some(Jid::lid("100000012345678").with_device(7));
    device.registration_id = 4711;
    device.noise_key = key_pair(1);
    device.identity_key = key_pair(2);
    device.signed_pre_key = key_pair(3);
    device.signed_pre_key_id = 5;
    device.signed_pre_key_signature = std::array::from_fn(|i| i as u8);
    device.adv_secret_key = [6; 32];
    device.account = Some(Arc::new(waproto::whatsapp::ADVSignedDeviceIdentity {
        details: Some(vec![1, 2, 3]),
        account_signature_key: Some(vec![4; 32]),
        account_signature: Some(vec![5; 64]),
        device_signature: Some(vec![6; 64]),
    }));
    device.push_name = "Ann Example".into();
    device.app_version_primary = 2;
    device.app_version_secondary = 3000;
    device.app_version_tertiary = 1234;
    device.app_version_last_fetched_ms = 1_700_000_000_000;
    device.edge_routing_info = Some(vec![7, 8]);
    device.props_hash = Some("hash".into());
    device.next_pre_key_id = 813;
    device.first_unupload_pre_key_id = 800;
    device.server_has_prekeys = true;
    device.nct_salt = Some(vec![9; 16]);
    device.server_cert_chain = Some(CachedServerCertChain {
        intermediate: CachedNoiseCert {
            key: [10; 32],
            not_before: 1,
            not_after: 2,
        },
        leaf: CachedNoiseCert {
            key: [11; 32],
            not_before: 3,
            not_after: 4,
        },
    });
    device.login_counter = 12;
    device.lid_migrated = true;
    device.last_signed_pre_key_rotation_ms = 1_700_000_000_001;
    device.read_receipts_disabled = true;
    device
}

/// Everything of a device that the library itself would keep.
fn kept(device: &Device) -> serde_json::Value {
    serde_json::to_value(device).unwrap()
}

fn mapping(lid: &str, phone_number: &str, time: i64) -> LidPnMappingEntry {
    LidPnMappingEntry {
        lid: lid.into(),
        phone_number: phone_number.into(),
        created_at: time,
        updated_at: time + 1,
        learning_source: "usync".into(),
    }
}

fn secret(chat: &str, message: &str, byte: u8, expires_at: i64, message_ts: i64) -> MsgSecretEntry {
    MsgSecretEntry {
        chat: chat.into(),
        sender: "15550101@s.whatsapp.net".into(),
        msg_id: message.into(),
        secret: [byte; 32],
        expires_at,
        message_ts,
    }
}

/// Runs one test against the library's store and ours.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => { $(
        mod $name {
            #[test]
            fn in_memory() {
                smol::block_on(super::$name(&crate::credentials::InMemoryBackend::new()));
            }

            #[test]
            fn on_disk() {
                let place = crate::credentials::Place::new();
                smol::block_on(super::$name(&place.credentials()));
            }
        }
    )+ };
}
use on_both;
