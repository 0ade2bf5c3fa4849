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
pub type RoundTrip = fn(&[u8]) -> Result<Vec<u8>, StoreError>;

/// One or more for every tree of credentials; a tree may hold records of two kinds.
pub const ROUND_TRIPS: [(Tree, RoundTrip); 21] = [
    (Tree::Device, |bytes| {
        let device = record::decode::<StoredDevice>(Tree::Device, VERSION, bytes)?.into_device()?;
        record::encode(Tree::Device, VERSION, &StoredDevice::of(&device))
    }),
    (Tree::Identity, |bytes| round_trip::<[u8; 32]>(Tree::Identity, bytes)),
    (Tree::Session, |bytes| round_trip::<Blob>(Tree::Session, bytes)),
    (Tree::PreKey, |bytes| round_trip::<StoredPreKey>(Tree::PreKey, bytes)),
    (Tree::SignedPreKey, |bytes| {
        round_trip::<Blob>(Tree::SignedPreKey, bytes)
    }),
    (Tree::SenderKey, |bytes| round_trip::<Blob>(Tree::SenderKey, bytes)),
    (Tree::SyncKey, |bytes| round_trip::<StoredSyncKey>(Tree::SyncKey, bytes)),
    (Tree::SyncKey, |bytes| round_trip::<Blob>(Tree::SyncKey, bytes)),
    (Tree::SyncVersion, |bytes| {
        let row = record::decode::<StoredHashState>(Tree::SyncVersion, VERSION, bytes)?;
        let state = wacore::appstate::hash::HashState::from(row);
        record::encode(Tree::SyncVersion, VERSION, &StoredHashState::from(state))
    }),
    (Tree::MutationMac, |bytes| {
        round_trip::<StoredMutationMac>(Tree::MutationMac, bytes)
    }),
    (Tree::SenderKeyDevice, |bytes| {
        round_trip::<bool>(Tree::SenderKeyDevice, bytes)
    }),
    (Tree::LidMapping, |bytes| {
        round_trip::<StoredLidMapping>(Tree::LidMapping, bytes)
    }),
    (Tree::PnMapping, |bytes| round_trip::<String>(Tree::PnMapping, bytes)),
    (Tree::BaseKey, |bytes| round_trip::<Blob>(Tree::BaseKey, bytes)),
    (Tree::DeviceList, |bytes| {
        round_trip::<StoredDeviceList>(Tree::DeviceList, bytes)
    }),
    (Tree::GroupMetadata, |bytes| {
        round_trip::<Blob>(Tree::GroupMetadata, bytes)
    }),
    (Tree::TcToken, |bytes| round_trip::<StoredTcToken>(Tree::TcToken, bytes)),
    (Tree::SentMessage, |bytes| {
        round_trip::<StoredMessage>(Tree::SentMessage, bytes)
    }),
    (Tree::PendingInbound, |bytes| {
        round_trip::<StoredMessage>(Tree::PendingInbound, bytes)
    }),
    (Tree::MessageSecret, |bytes| {
        round_trip::<StoredMessageSecret>(Tree::MessageSecret, bytes)
    }),
    (Tree::Quarantine, |bytes| {
        round_trip::<StoredQuarantine>(Tree::Quarantine, bytes)
    }),
];

fn round_trip<T: Serialize + DeserializeOwned>(tree: Tree, bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    record::encode(tree, VERSION, &record::decode::<T>(tree, VERSION, bytes)?)
}
