//! A login that another program made becomes this session's, all of it in one transaction.

use super::Credentials;
use super::device::StoredDevice;
use super::import::Imported;
use super::pre_key_offset::PreKeyOffset;
use super::records::{
    StoredHashState, StoredLidMapping, StoredMutationMac, StoredPreKey, StoredSyncKey, StoredTcToken,
};
use super::secret::Blob;
use super::transaction::Transaction;
use crate::store::{StoreError, Tree};

impl Credentials {
    /// Writes `imported` as this session's credentials. False, and nothing is written, if the session is linked
    /// already; what an unfinished pairing left behind is deleted.
    ///
    /// # Errors
    /// The store failed, there are no random numbers, the present device's row is not readable, or a record or all of
    /// them are too large.
    pub async fn adopt(&self, imported: Imported) -> Result<bool, StoreError> {
        // creds.json is written apart from the keys and may be older than they are, and the file of a key that was used
        // is gone: no count in the folder tells all numbers that were given.
        let device = StoredDevice::of(&imported.device).with_pre_key_offset(PreKeyOffset::draw()?);
        let this = self.clone();
        device.fits_a_row()?;
        self.transact(move |transaction| {
            let key = this.key(&[]);
            let present = transaction.get::<StoredDevice>(Tree::Device, &key)?;
            if present.is_some_and(|present| present.is_paired()) {
                return Ok(false);
            }
            this.delete_rows(transaction)?;
            transaction.put(Tree::Device, key, &device)?;
            this.put_signal(transaction, &imported)?;
            this.put_app_state(transaction, imported)?;
            Ok(true)
        })
        .await
    }

    fn put_signal(&self, transaction: &mut Transaction<'_>, imported: &Imported) -> Result<(), StoreError> {
        for (id, (record, uploaded)) in &imported.pre_keys {
            let row = StoredPreKey {
                uploaded: *uploaded,
                record: Blob::new(record),
            };
            transaction.put(Tree::PreKey, self.id_key(*id), &row)?;
        }
        for (tree, records) in [
            (Tree::Session, &imported.sessions),
            (Tree::SenderKey, &imported.sender_keys),
        ] {
            for (address, record) in records {
                transaction.put(tree, self.key(&[address.as_bytes()]), &Blob::new(record))?;
            }
        }
        for (address, identity) in &imported.identities {
            transaction.put(Tree::Identity, self.key(&[address.as_bytes()]), identity)?;
        }
        for (group, devices) in &imported.sender_key_devices {
            for (device, has) in devices {
                let key = self.key(&[group.as_bytes(), device.as_bytes()]);
                transaction.put(Tree::SenderKeyDevice, key, has)?;
            }
        }
        Ok(())
    }

    fn put_app_state(&self, transaction: &mut Transaction<'_>, imported: Imported) -> Result<(), StoreError> {
        for (id, key) in imported.sync_keys {
            transaction.put(Tree::SyncKey, self.key(&[&id]), &StoredSyncKey::from(key))?;
        }
        if let Some(id) = imported.sync_key_in_use {
            transaction.put(Tree::SyncKey, self.key(&[]), &Blob::new(&id))?;
        }
        for (name, (state, macs)) in imported.sync_versions {
            let version = state.version;
            for mac in macs {
                let row = StoredMutationMac {
                    version,
                    value: Blob::new(&mac.value_mac),
                };
                transaction.put(Tree::MutationMac, self.key(&[name.as_bytes(), &mac.index_mac]), &row)?;
            }
            let key = self.key(&[name.as_bytes()]);
            transaction.put(Tree::SyncVersion, key, &StoredHashState::from(state))?;
        }
        for entry in &imported.mappings {
            let (lid, pn) = (entry.lid.as_bytes(), entry.phone_number.as_bytes());
            transaction.put(Tree::PnMapping, self.key(&[pn]), &entry.lid)?;
            transaction.put(Tree::LidMapping, self.key(&[lid]), &StoredLidMapping::from(entry))?;
        }
        for (user, token) in &imported.tokens {
            transaction.put(Tree::TcToken, self.key(&[user.as_bytes()]), &StoredTcToken::from(token))?;
        }
        Ok(())
    }
}
