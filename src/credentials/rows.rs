//! Rows as they lie on disk, for those who look at all of them: `store check`, a backup and its restoration.

use serde::de::DeserializeOwned;

use super::device::StoredDevice;
use super::pre_key_offset::PreKeyOffset;
use super::quarantine::StoredQuarantine;
use super::records::{
    StoredDeviceList, StoredHashState, StoredLidMapping, StoredMessage, StoredMessageSecret, StoredMutationMac,
    StoredPreKey, StoredSyncKey, StoredTcToken,
};
use super::secret::Blob;
use super::transaction::{VERSION, assemble, in_pieces};
use crate::store::{StoreError, Tree, record, split};

/// (session, number, tree, key): a row that was moved aside as it was.
const QUARANTINED_PARTS: usize = 4;

/// How many parts the keys of a tree's records have, the session included.
fn parts_of(tree: Tree) -> usize {
    match tree {
        Tree::Device => 1,
        Tree::MutationMac | Tree::SenderKeyDevice | Tree::BaseKey | Tree::SentMessage => 3,
        Tree::PendingInbound | Tree::MessageSecret => 4,
        _ => 2,
    }
}

/// Reads one row of a session's credentials as its type. `row` finds the others of its tree: a large record lies in
/// pieces.
///
/// # Errors
/// It is damaged, or of a later version.
pub(crate) fn check_row(
    tree: Tree,
    key: &[u8],
    value: &[u8],
    row: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Result<(), StoreError> {
    let parts = split(key).len();
    let latest = tree == Tree::SyncKey && parts == 1;
    if parts == parts_of(tree) + 1 && tree != Tree::Quarantine {
        // A piece, read with its head. One that no head names is read by nobody.
        return Ok(());
    }
    if tree == Tree::Quarantine && parts == QUARANTINED_PARTS {
        return quarantined(key, value);
    }
    if parts != parts_of(tree) && !latest {
        return Err(super::records::damaged(tree, "its key has another form"));
    }
    let whole = match in_pieces(value) {
        true => assemble(tree, key, value, |key| Ok(row(key)))?,
        false => value.to_vec(),
    };
    decode(tree, latest, &whole)
}

/// A row in quarantine is for a person to look at, and nothing reads it: its tree must be known, and no more.
fn quarantined(key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let number = split(key).get(2).and_then(|tree| tree.first().copied());
    match number.and_then(Tree::from_number) {
        Some(_) => record::version(Tree::Quarantine, value).map(drop),
        None => Err(super::records::damaged(Tree::Quarantine, "it is of an unknown tree")),
    }
}

fn decode(tree: Tree, latest: bool, value: &[u8]) -> Result<(), StoreError> {
    match tree {
        Tree::Device => {
            let device = record::decode::<StoredDevice>(tree, VERSION, value)?;
            device.into_device().map(drop)
        }
        Tree::Identity => as_type::<[u8; 32]>(tree, value),
        Tree::PreKey => as_type::<StoredPreKey>(tree, value),
        Tree::SyncKey if !latest => as_type::<StoredSyncKey>(tree, value),
        Tree::SyncVersion => as_type::<StoredHashState>(tree, value),
        Tree::MutationMac => as_type::<StoredMutationMac>(tree, value),
        Tree::SenderKeyDevice => as_type::<bool>(tree, value),
        Tree::LidMapping => as_type::<StoredLidMapping>(tree, value),
        Tree::PnMapping => as_type::<String>(tree, value),
        Tree::DeviceList => as_type::<StoredDeviceList>(tree, value),
        Tree::TcToken => as_type::<StoredTcToken>(tree, value),
        Tree::SentMessage | Tree::PendingInbound => as_type::<StoredMessage>(tree, value),
        Tree::MessageSecret => as_type::<StoredMessageSecret>(tree, value),
        Tree::Quarantine => as_type::<StoredQuarantine>(tree, value),
        // Ratchets, keys and caches in the library's own form.
        _ => as_type::<Blob>(tree, value),
    }
}

fn as_type<T: DeserializeOwned>(tree: Tree, value: &[u8]) -> Result<(), StoreError> {
    record::decode::<T>(tree, VERSION, value).map(drop)
}

/// Whose row it is, by its key.
pub(crate) fn session_of(key: &[u8]) -> String {
    let session = split(key).into_iter().next().unwrap_or_default();
    String::from_utf8_lossy(&session).into_owned()
}

/// Whether the device in this row is linked to an account.
///
/// # Errors
/// The row is not readable.
pub(crate) fn is_paired(value: &[u8]) -> Result<bool, StoreError> {
    Ok(record::decode::<StoredDevice>(Tree::Device, VERSION, value)?.is_paired())
}

/// The row of a device as it goes on after a restoration, its prekeys numbered `offset` further on.
///
/// # Errors
/// The row is not readable.
pub(crate) fn after_a_restore(value: &[u8], offset: PreKeyOffset) -> Result<Vec<u8>, StoreError> {
    let device = record::decode::<StoredDevice>(Tree::Device, VERSION, value)?;
    record::encode(Tree::Device, VERSION, &device.restored(offset))
}

#[cfg(test)]
mod tests {
    use wacore::store::Device;

    use super::*;

    #[test]
    fn prekeys_of_a_restored_device_get_new_numbers_and_are_uploaded() {
        let offset = PreKeyOffset::of(5);
        for next in [1, 16_777_000, u32::MAX] {
            let expected = offset.past(next);
            let mut device = Device::new();
            device.next_pre_key_id = next;
            device.first_unupload_pre_key_id = 1;
            device.server_has_prekeys = true;
            let row = record::encode(Tree::Device, VERSION, &StoredDevice::of(&device)).unwrap();
            let row = after_a_restore(&row, offset).unwrap();
            let restored = record::decode::<StoredDevice>(Tree::Device, VERSION, &row).unwrap();
            let restored = restored.into_device().unwrap();
            assert_eq!(restored.next_pre_key_id, expected, "{next}");
            assert_eq!(restored.first_unupload_pre_key_id, expected);
            assert!(!restored.server_has_prekeys);
            assert_eq!(restored.registration_id, device.registration_id);
        }
    }
}
