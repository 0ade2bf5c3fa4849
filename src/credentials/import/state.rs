//! What is neither identity nor ratchet: app state, hidden ids, who has our sender keys, tokens.

use serde::Deserialize;
use wacore::appstate::hash::HashState;
use wacore::appstate::processor::AppStateMutationMAC;
use wacore::store::traits::{AppStateSyncKey, TcTokenEntry};
use waproto::whatsapp::message::AppStateSyncKeyFingerprint;

use super::json::{self, Bytes, Fault, Int, Pairs};
use super::number::is_number;
use super::place::under;

/// The length of the app state's MACs, of both kinds.
const MAC_BYTES: usize = 32;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SyncKeyJson {
    key_data: Bytes,
    fingerprint: Option<FingerprintJson>,
    timestamp: Option<Int>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FingerprintJson {
    raw_id: Option<u32>,
    current_index: Option<u32>,
    #[serde(default)]
    device_indexes: Vec<u32>,
}

/// A key of the account's app state.
pub(super) fn sync_key(bytes: &[u8]) -> Result<AppStateSyncKey, Fault> {
    let key: SyncKeyJson = json::read(bytes)?;
    if key.key_data.as_slice().len() != 32 {
        return Err(json::wrong_length("keyData", key.key_data.as_slice(), 32));
    }
    let fingerprint = key.fingerprint.map(|fingerprint| AppStateSyncKeyFingerprint {
        raw_id: fingerprint.raw_id,
        current_index: fingerprint.current_index,
        device_indexes: fingerprint.device_indexes,
    });
    Ok(AppStateSyncKey {
        key_data: key.key_data.to_vec(),
        fingerprint: waproto::codec::app_state_sync_key_fingerprint_to_vec(&fingerprint.unwrap_or_default()),
        timestamp: key.timestamp.unwrap_or_default().0,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionJson {
    version: Int,
    hash: Bytes,
    #[serde(default)]
    index_value_map: Pairs<ValueJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ValueJson {
    value_mac: Bytes,
}

/// How far a collection of the app state has been read, with the MACs that the next patch is checked against.
pub(super) fn sync_version(bytes: &[u8]) -> Result<(HashState, Vec<AppStateMutationMAC>), Fault> {
    let json: VersionJson = json::read(bytes)?;
    let state = HashState {
        version: u64::try_from(json.version.0).map_err(|_| json::at("version", "it is below zero"))?,
        hash: json
            .hash
            .array()
            .ok_or_else(|| json::wrong_length("hash", json.hash.as_slice(), 128))?,
        ..HashState::default()
    };
    let mut macs = Vec::with_capacity(json.index_value_map.0.len());
    for (number, (index, value)) in (1..).zip(json.index_value_map.0) {
        let path = format!("indexValueMap.#{number}");
        let index_mac = json::from_base64(&index)
            .filter(|mac| mac.len() == MAC_BYTES)
            .ok_or_else(|| json::at(&path, format!("its name is not {MAC_BYTES} bytes")))?;
        let value_mac = value.value_mac.to_vec();
        if value_mac.len() != MAC_BYTES {
            return Err(json::wrong_length(&under(&path, "valueMac"), &value_mac, MAC_BYTES));
        }
        macs.push(AppStateMutationMAC { index_mac, value_mac });
    }
    Ok((state, macs))
}

/// The other side of a mapping between numbers and hidden ids: digits.
pub(super) fn mapped(bytes: &[u8]) -> Result<String, Fault> {
    let user: String = json::read(bytes)?;
    if is_number(&user) {
        Ok(user)
    } else {
        Err("it is not a number or a hidden id".into())
    }
}

/// Which devices have our sender key of a group.
pub(super) fn memory(bytes: &[u8]) -> Result<Vec<(String, bool)>, Fault> {
    let devices: Pairs<bool> = json::read(bytes)?;
    Ok(devices.0)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenJson {
    #[serde(default)]
    token: Bytes,
    timestamp: Option<Int>,
    sender_timestamp: Option<Int>,
}

/// A contact's token. `None` for a file that has none.
pub(super) fn token(bytes: &[u8]) -> Result<Option<TcTokenEntry>, Fault> {
    let token: TokenJson = json::read(bytes)?;
    let empty = token.token.as_slice().is_empty();
    if empty && token.sender_timestamp.is_none() {
        return Ok(None);
    }
    Ok(Some(TcTokenEntry {
        token: token.token.to_vec(),
        token_timestamp: token.timestamp.unwrap_or_default().0,
        sender_timestamp: token.sender_timestamp.map(|time| time.0),
    }))
}
