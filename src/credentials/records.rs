//! The records of version 1, other than the device's own. Field order is the format.

use serde::{Deserialize, Serialize};
use wacore::appstate::hash::HashState;
use wacore::store::traits::{
    AppStateSyncKey, DeviceInfo, DeviceListRecord, LidPnMappingEntry, MsgSecretEntry, TcTokenEntry,
};

use super::secret::{Blob, Key};
use crate::store::StoreError;
use crate::store::Tree;

#[derive(Serialize, Deserialize)]
pub(super) struct StoredPreKey {
    pub(super) uploaded: bool,
    pub(super) record: Blob,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredSyncKey {
    data: Blob,
    fingerprint: Vec<u8>,
    timestamp: i64,
}

impl From<AppStateSyncKey> for StoredSyncKey {
    fn from(key: AppStateSyncKey) -> Self {
        let AppStateSyncKey {
            key_data,
            fingerprint,
            timestamp,
        } = key;
        Self {
            data: key_data.into(),
            fingerprint,
            timestamp,
        }
    }
}

impl From<StoredSyncKey> for AppStateSyncKey {
    fn from(key: StoredSyncKey) -> Self {
        Self {
            key_data: key.data.into_vec(),
            fingerprint: key.fingerprint,
            timestamp: key.timestamp,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredHashState {
    version: u64,
    /// 128 bytes; serde stops at arrays of 32.
    hash: [[u8; 32]; 4],
    /// Sorted, so that equal states are equal bytes.
    index_values: Vec<(String, Blob)>,
    mac_mismatch_fatal: bool,
}

impl From<HashState> for StoredHashState {
    fn from(state: HashState) -> Self {
        let HashState {
            version,
            hash,
            index_value_map,
            mac_mismatch_fatal,
        } = state;
        let mut rows = [[0; 32]; 4];
        rows.as_flattened_mut().copy_from_slice(&hash);
        let mut index_values: Vec<(String, Blob)> = index_value_map
            .into_iter()
            .map(|(index, value)| (index, value.into()))
            .collect();
        index_values.sort_by(|a, b| a.0.cmp(&b.0));
        Self {
            version,
            hash: rows,
            index_values,
            mac_mismatch_fatal,
        }
    }
}

impl From<StoredHashState> for HashState {
    fn from(state: StoredHashState) -> Self {
        let mut hash = [0; 128];
        hash.copy_from_slice(state.hash.as_flattened());
        Self {
            version: state.version,
            hash,
            index_value_map: state
                .index_values
                .into_iter()
                .map(|(index, value)| (index, value.into_vec()))
                .collect(),
            mac_mismatch_fatal: state.mac_mismatch_fatal,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredMutationMac {
    /// The collection's version that brought it.
    pub(super) version: u64,
    pub(super) value: Blob,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredLidMapping {
    pub(super) lid: String,
    pub(super) phone_number: String,
    created_at: i64,
    updated_at: i64,
    learning_source: String,
}

impl From<&LidPnMappingEntry> for StoredLidMapping {
    fn from(entry: &LidPnMappingEntry) -> Self {
        let LidPnMappingEntry {
            lid,
            phone_number,
            created_at,
            updated_at,
            learning_source,
        } = entry.clone();
        Self {
            lid,
            phone_number,
            created_at,
            updated_at,
            learning_source,
        }
    }
}

impl From<StoredLidMapping> for LidPnMappingEntry {
    fn from(entry: StoredLidMapping) -> Self {
        Self {
            lid: entry.lid,
            phone_number: entry.phone_number,
            created_at: entry.created_at,
            updated_at: entry.updated_at,
            learning_source: entry.learning_source,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredDeviceInfo {
    device_id: u32,
    key_index: Option<u32>,
    is_hosted: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredDeviceList {
    user: String,
    devices: Vec<StoredDeviceInfo>,
    timestamp: i64,
    phash: Option<String>,
    raw_id: Option<u32>,
}

impl From<DeviceListRecord> for StoredDeviceList {
    fn from(list: DeviceListRecord) -> Self {
        let DeviceListRecord {
            user,
            devices,
            timestamp,
            phash,
            raw_id,
        } = list;
        let devices = devices
            .into_iter()
            .map(|device| {
                let DeviceInfo {
                    device_id,
                    key_index,
                    is_hosted,
                } = device;
                StoredDeviceInfo {
                    device_id,
                    key_index,
                    is_hosted,
                }
            })
            .collect();
        Self {
            user,
            devices,
            timestamp,
            phash,
            raw_id,
        }
    }
}

impl From<StoredDeviceList> for DeviceListRecord {
    fn from(list: StoredDeviceList) -> Self {
        let devices = list
            .devices
            .into_iter()
            .map(|device| DeviceInfo {
                device_id: device.device_id,
                key_index: device.key_index,
                is_hosted: device.is_hosted,
            })
            .collect();
        Self {
            user: list.user,
            devices,
            timestamp: list.timestamp,
            phash: list.phash,
            raw_id: list.raw_id,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredTcToken {
    /// Empty: only the sender's time is known.
    pub(super) token: Blob,
    /// Unix seconds, both.
    pub(super) token_timestamp: i64,
    pub(super) sender_timestamp: Option<i64>,
}

impl From<&TcTokenEntry> for StoredTcToken {
    fn from(entry: &TcTokenEntry) -> Self {
        let TcTokenEntry {
            token,
            token_timestamp,
            sender_timestamp,
        } = entry;
        Self {
            token: Blob::new(token),
            token_timestamp: *token_timestamp,
            sender_timestamp: *sender_timestamp,
        }
    }
}

impl From<StoredTcToken> for TcTokenEntry {
    fn from(entry: StoredTcToken) -> Self {
        Self {
            token: entry.token.into_vec(),
            token_timestamp: entry.token_timestamp,
            sender_timestamp: entry.sender_timestamp,
        }
    }
}

/// Parts of the key of a sent message: session, chat, message.
pub(super) const SENT_KEY_PARTS: usize = 3;

/// Parts of the key of an inbound one: session, chat, sender, message.
pub(super) const PENDING_KEY_PARTS: usize = 4;

/// A sent message kept for retries, or an inbound one that its owner has not taken yet.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredMessage {
    /// Seconds of the count in `age.rs`. An earlier version wrote Unix seconds by the wall clock, from which the count
    /// goes on then.
    pub(super) stored_at: i64,
    pub(super) message: Blob,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredMessageSecret {
    pub(super) secret: Key,
    /// Unix seconds; 0 is never.
    pub(super) expires_at: i64,
    /// Unix seconds; 0 is unknown.
    pub(super) message_ts: i64,
}

impl StoredMessageSecret {
    /// The identifiers (chat, sender, message) that make the key, and the record.
    pub(super) fn of(entry: MsgSecretEntry) -> ([std::sync::Arc<str>; 3], Self) {
        let MsgSecretEntry {
            chat,
            sender,
            msg_id,
            secret,
            expires_at,
            message_ts,
        } = entry;
        let record = Self {
            secret: Key(secret),
            expires_at,
            message_ts,
        };
        ([chat, sender, msg_id], record)
    }
}

pub(super) fn damaged(tree: Tree, cause: impl std::fmt::Display) -> StoreError {
    StoreError::Record {
        tree: tree.name(),
        cause: cause.to_string(),
    }
}
