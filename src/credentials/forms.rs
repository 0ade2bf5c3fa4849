//! The records of all trees of credentials by name of their tree, for whoever reads bytes that may be anything.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::device::StoredDevice;
use super::quarantine::StoredQuarantine;
use super::records::{
    StoredDeviceList, StoredHashState, StoredLidMapping, StoredMessage, StoredMessageSecret, StoredMutationMac,
    StoredPreKey, StoredSyncKey, StoredTcToken,
};
use super::secret::Blob;
use super::transaction::VERSION;
use crate::store::{StoreError, Tree, record};

/// Reads a stored value and writes it again.
pub type Rewrite = fn(&[u8]) -> Result<Vec<u8>, StoreError>;

/// One or more for every tree of credentials; a tree may hold records of two kinds.
pub const FORMS: [(Tree, Rewrite); 21] = [
    (Tree::Device, |bytes| {
        let device = record::decode::<StoredDevice>(Tree::Device, VERSION, bytes)?.into_device()?;
        record::encode(Tree::Device, VERSION, &StoredDevice::of(&device))
    }),
    (Tree::Identity, |bytes| again::<[u8; 32]>(Tree::Identity, bytes)),
    (Tree::Session, |bytes| again::<Blob>(Tree::Session, bytes)),
    (Tree::PreKey, |bytes| again::<StoredPreKey>(Tree::PreKey, bytes)),
    (Tree::SignedPreKey, |bytes| again::<Blob>(Tree::SignedPreKey, bytes)),
    (Tree::SenderKey, |bytes| again::<Blob>(Tree::SenderKey, bytes)),
    (Tree::SyncKey, |bytes| again::<StoredSyncKey>(Tree::SyncKey, bytes)),
    (Tree::SyncKey, |bytes| again::<Blob>(Tree::SyncKey, bytes)),
    (Tree::SyncVersion, |bytes| {
        let row = record::decode::<StoredHashState>(Tree::SyncVersion, VERSION, bytes)?;
        let state = wacore::appstate::hash::HashState::from(row);
        record::encode(Tree::SyncVersion, VERSION, &StoredHashState::from(state))
    }),
    (Tree::MutationMac, |bytes| {
        again::<StoredMutationMac>(Tree::MutationMac, bytes)
    }),
    (Tree::SenderKeyDevice, |bytes| {
        again::<bool>(Tree::SenderKeyDevice, bytes)
    }),
    (Tree::LidMapping, |bytes| {
        again::<StoredLidMapping>(Tree::LidMapping, bytes)
    }),
    (Tree::PnMapping, |bytes| again::<String>(Tree::PnMapping, bytes)),
    (Tree::BaseKey, |bytes| again::<Blob>(Tree::BaseKey, bytes)),
    (Tree::DeviceList, |bytes| {
        again::<StoredDeviceList>(Tree::DeviceList, bytes)
    }),
    (Tree::GroupMetadata, |bytes| again::<Blob>(Tree::GroupMetadata, bytes)),
    (Tree::TcToken, |bytes| again::<StoredTcToken>(Tree::TcToken, bytes)),
    (Tree::SentMessage, |bytes| {
        again::<StoredMessage>(Tree::SentMessage, bytes)
    }),
    (Tree::PendingInbound, |bytes| {
        again::<StoredMessage>(Tree::PendingInbound, bytes)
    }),
    (Tree::MessageSecret, |bytes| {
        again::<StoredMessageSecret>(Tree::MessageSecret, bytes)
    }),
    (Tree::Quarantine, |bytes| {
        again::<StoredQuarantine>(Tree::Quarantine, bytes)
    }),
];

fn again<T: Serialize + DeserializeOwned>(tree: Tree, bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    record::encode(tree, VERSION, &record::decode::<T>(tree, VERSION, bytes)?)
}
