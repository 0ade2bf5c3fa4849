//! Signal state: identities, sessions, prekeys, sender keys.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use wacore::store::traits::SignalStore;

use super::Credentials;
use super::backend::Backing;
use super::records::StoredPreKey;
use super::secret::Blob;
use crate::store::{StoreError, Tree, split};

impl Credentials {
    pub(super) fn id_key(&self, id: u32) -> Vec<u8> {
        // Big endian, so that keys sort by id.
        self.key(&[&id.to_be_bytes()])
    }

    fn blob_rows(&self, records: &[(Arc<str>, Bytes)]) -> Vec<(Vec<u8>, Blob)> {
        records
            .iter()
            .map(|(address, record)| (self.key(&[address.as_bytes()]), Blob::new(record)))
            .collect()
    }

    async fn blob(&self, tree: Tree, key: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.get::<Blob>(tree, key).await?.map(Blob::into_vec))
    }
}

/// What ends a part of a key (see `store::keys`).
const PART_END_BYTES: usize = 2;

/// The id that ends the key of a prekey.
fn id_of(key: &[u8]) -> Option<u32> {
    let id = split(key).pop()?;
    Some(u32::from_be_bytes(id.try_into().ok()?))
}

#[async_trait]
impl SignalStore for Credentials {
    async fn put_identity(&self, address: &str, key: [u8; 32]) -> Backing<()> {
        Ok(self.put(Tree::Identity, self.key(&[address.as_bytes()]), key).await?)
    }

    async fn put_identities_batch(&self, identities: &[(Arc<str>, [u8; 32])]) -> Backing<()> {
        let rows = identities
            .iter()
            .map(|(address, key)| (self.key(&[address.as_bytes()]), *key))
            .collect();
        Ok(self.put_all(Tree::Identity, rows).await?)
    }

    async fn load_identity(&self, address: &str) -> Backing<Option<[u8; 32]>> {
        Ok(self.get(Tree::Identity, self.key(&[address.as_bytes()])).await?)
    }

    async fn delete_identity(&self, address: &str) -> Backing<()> {
        Ok(self.delete(Tree::Identity, self.key(&[address.as_bytes()])).await?)
    }

    async fn get_session(&self, address: &str) -> Backing<Option<Bytes>> {
        let session = self.blob(Tree::Session, self.key(&[address.as_bytes()])).await?;
        Ok(session.map(Bytes::from))
    }

    async fn put_session(&self, address: &str, session: &[u8]) -> Backing<()> {
        let key = self.key(&[address.as_bytes()]);
        Ok(self.put(Tree::Session, key, Blob::new(session)).await?)
    }

    async fn put_sessions_batch(&self, sessions: &[(Arc<str>, Bytes)]) -> Backing<()> {
        Ok(self.put_all(Tree::Session, self.blob_rows(sessions)).await?)
    }

    async fn delete_session(&self, address: &str) -> Backing<()> {
        Ok(self.delete(Tree::Session, self.key(&[address.as_bytes()])).await?)
    }

    async fn has_session(&self, address: &str) -> Backing<bool> {
        let key = self.key(&[address.as_bytes()]);
        Ok(self.store.view().get(Tree::Session, &key)?.is_some())
    }

    async fn has_signal_state_for_user(&self, user: &str) -> Backing<bool> {
        for tree in [Tree::Session, Tree::Identity] {
            // Addresses are `user@server` or `user:device@server`; a NUL in them is escaped in the key, these are not.
            for mark in ["@", ":"] {
                let mut prefix = self.key(&[format!("{user}{mark}").as_bytes()]);
                // Without the end of the part: any address that goes on from here.
                prefix.truncate(prefix.len() - PART_END_BYTES);
                if let Some(row) = self.store.view().scan(tree, &prefix).next() {
                    row?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    async fn store_prekey(&self, id: u32, record: &[u8], uploaded: bool) -> Backing<()> {
        let row = StoredPreKey {
            uploaded,
            record: Blob::new(record),
        };
        Ok(self.put(Tree::PreKey, self.id_key(id), row).await?)
    }

    async fn store_prekeys_batch(&self, keys: &[(u32, Bytes)], uploaded: bool) -> Backing<()> {
        let row = |record: &Bytes| StoredPreKey {
            uploaded,
            record: Blob::new(record),
        };
        let rows = keys
            .iter()
            .map(|(id, record)| (self.id_key(*id), row(record)))
            .collect();
        Ok(self.put_all(Tree::PreKey, rows).await?)
    }

    async fn load_prekey(&self, id: u32) -> Backing<Option<Bytes>> {
        let row = self.get::<StoredPreKey>(Tree::PreKey, self.id_key(id)).await?;
        Ok(row.map(|row| Bytes::from(row.record.into_vec())))
    }

    async fn load_prekeys_batch(&self, ids: &[u32]) -> Backing<Vec<(u32, Bytes)>> {
        let mut found = Vec::with_capacity(ids.len());
        for &id in ids {
            if let Some(record) = self.load_prekey(id).await? {
                found.push((id, record));
            }
        }
        Ok(found)
    }

    /// A key that was used up in the meantime stays deleted.
    async fn mark_prekeys_uploaded(&self, ids: &[u32]) -> Backing<()> {
        let keys: Vec<_> = ids.iter().map(|id| self.id_key(*id)).collect();
        self.transact(move |transaction| {
            for key in keys {
                if let Some(mut row) = transaction.get::<StoredPreKey>(Tree::PreKey, &key)?
                    && !row.uploaded
                {
                    row.uploaded = true;
                    transaction.put(Tree::PreKey, key, &row)?;
                }
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    async fn remove_prekey(&self, id: u32) -> Backing<()> {
        Ok(self.delete(Tree::PreKey, self.id_key(id)).await?)
    }

    async fn get_max_prekey_id(&self) -> Backing<u32> {
        match self.store.view().scan(Tree::PreKey, &self.key(&[])).next_back() {
            Some(row) => Ok(id_of(&row?.0).unwrap_or(0)),
            None => Ok(0),
        }
    }

    async fn store_signed_prekey(&self, id: u32, record: &[u8]) -> Backing<()> {
        Ok(self.put(Tree::SignedPreKey, self.id_key(id), Blob::new(record)).await?)
    }

    async fn load_signed_prekey(&self, id: u32) -> Backing<Option<Vec<u8>>> {
        Ok(self.blob(Tree::SignedPreKey, self.id_key(id)).await?)
    }

    async fn load_all_signed_prekeys(&self) -> Backing<Vec<(u32, Vec<u8>)>> {
        let rows = self.list::<Blob>(Tree::SignedPreKey, &self.key(&[]), 2)?;
        Ok(rows
            .into_iter()
            .filter_map(|(key, record)| Some((id_of(&key)?, record.into_vec())))
            .collect())
    }

    async fn remove_signed_prekey(&self, id: u32) -> Backing<()> {
        Ok(self.delete(Tree::SignedPreKey, self.id_key(id)).await?)
    }

    async fn put_sender_key(&self, address: &str, record: &[u8]) -> Backing<()> {
        let key = self.key(&[address.as_bytes()]);
        Ok(self.put(Tree::SenderKey, key, Blob::new(record)).await?)
    }

    async fn put_sender_keys_batch(&self, sender_keys: &[(Arc<str>, Bytes)]) -> Backing<()> {
        Ok(self.put_all(Tree::SenderKey, self.blob_rows(sender_keys)).await?)
    }

    async fn get_sender_key(&self, address: &str) -> Backing<Option<Vec<u8>>> {
        Ok(self.blob(Tree::SenderKey, self.key(&[address.as_bytes()])).await?)
    }

    async fn delete_sender_key(&self, address: &str) -> Backing<()> {
        Ok(self.delete(Tree::SenderKey, self.key(&[address.as_bytes()])).await?)
    }
}
