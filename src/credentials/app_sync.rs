//! App state: sync keys, collection versions, mutation MACs.

use async_trait::async_trait;
use wacore::appstate::hash::HashState;
use wacore::appstate::processor::AppStateMutationMAC;
use wacore::store::traits::{AppStateSyncKey, AppSyncStore};

use super::Credentials;
use super::backend::Backing;
use super::records::{StoredHashState, StoredMutationMac, StoredSyncKey};
use super::secret::Blob;
use crate::store::Tree;

#[async_trait]
impl AppSyncStore for Credentials {
    async fn get_sync_key(&self, key_id: &[u8]) -> Backing<Option<AppStateSyncKey>> {
        let row = self.get::<StoredSyncKey>(Tree::SyncKey, self.key(&[key_id])).await?;
        Ok(row.map(AppStateSyncKey::from))
    }

    async fn set_sync_key(&self, key_id: &[u8], key: AppStateSyncKey) -> Backing<()> {
        let (place, latest, id) = (self.key(&[key_id]), self.key(&[]), Blob::new(key_id));
        self.transact(move |transaction| {
            transaction.put(Tree::SyncKey, place, &StoredSyncKey::from(key))?;
            transaction.put(Tree::SyncKey, latest, &id)
        })
        .await?;
        Ok(())
    }

    async fn get_version(&self, name: &str) -> Backing<HashState> {
        let key = self.key(&[name.as_bytes()]);
        let row = self.get::<StoredHashState>(Tree::SyncVersion, key).await?;
        Ok(row.map(HashState::from).unwrap_or_default())
    }

    async fn set_version(&self, name: &str, state: HashState) -> Backing<()> {
        let key = self.key(&[name.as_bytes()]);
        Ok(self.put(Tree::SyncVersion, key, StoredHashState::from(state)).await?)
    }

    async fn put_mutation_macs(&self, name: &str, version: u64, mutations: &[AppStateMutationMAC]) -> Backing<()> {
        let rows = mutations
            .iter()
            .map(|AppStateMutationMAC { index_mac, value_mac }| {
                let value = Blob::new(value_mac);
                (
                    self.key(&[name.as_bytes(), index_mac]),
                    StoredMutationMac { version, value },
                )
            })
            .collect();
        Ok(self.put_all(Tree::MutationMac, rows).await?)
    }

    async fn get_mutation_mac(&self, name: &str, index_mac: &[u8]) -> Backing<Option<Vec<u8>>> {
        let key = self.key(&[name.as_bytes(), index_mac]);
        let row = self.get::<StoredMutationMac>(Tree::MutationMac, key).await?;
        Ok(row.map(|row| row.value.into_vec()))
    }

    async fn delete_mutation_macs(&self, name: &str, index_macs: &[Vec<u8>]) -> Backing<()> {
        let keys = index_macs.iter().map(|mac| self.key(&[name.as_bytes(), mac])).collect();
        Ok(self.delete_all(Tree::MutationMac, keys).await?)
    }

    async fn clear_mutation_macs(&self, name: &str) -> Backing<()> {
        Ok(self.clear(Tree::MutationMac, self.key(&[name.as_bytes()])).await?)
    }

    /// The row that names it stands under the session alone, beside the keys, whose keys have one part more.
    async fn get_latest_sync_key_id(&self) -> Backing<Option<Vec<u8>>> {
        Ok(self
            .get::<Blob>(Tree::SyncKey, self.key(&[]))
            .await?
            .map(Blob::into_vec))
    }
}
