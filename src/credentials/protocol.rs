//! What the protocol remembers beside the ratchets: who has which sender key, which number is which hidden id, devices,
//! groups, tokens, sent and pending messages.

use async_trait::async_trait;
use wacore::store::traits::{
    DeviceListRecord, LidPnMappingEntry, PendingInboundKey, PendingInboundRow, ProtocolStore, TcTokenEntry,
};

use super::backend::Backing;
use super::records::{
    PENDING_KEY_PARTS, SENT_KEY_PARTS, StoredDeviceList, StoredLidMapping, StoredMessage, StoredTcToken,
};
use super::secret::Blob;
use super::transaction::VERSION;
use super::{Credentials, sent, tc_tokens};
use crate::store::{StoreError, Tree, VALUE_BYTES_MAX, record, split};

/// Session, group and device.
const SENDER_KEY_DEVICE_PARTS: usize = 3;

/// The version byte and the length in front of a blob.
const BLOB_OVERHEAD_BYTES: usize = 8;

/// A received message that its owner never took in, as long as the library keeps it. In seconds.
const PENDING_KEPT_S: i64 = 7 * 24 * 3600;

impl Credentials {
    fn pending_key(&self, chat: &str, sender: &str, id: &str) -> Vec<u8> {
        self.key(&[chat.as_bytes(), sender.as_bytes(), id.as_bytes()])
    }

    /// The number behind a hidden id, where it is known. Reads one row, without waiting; an unreadable one is not
    /// known.
    pub fn number_of(&self, lid: &str) -> Option<String> {
        let row = self.store.view().get(Tree::LidMapping, &self.key(&[lid.as_bytes()]));
        let row = record::decode::<StoredLidMapping>(Tree::LidMapping, VERSION, &row.ok()??);
        row.ok().map(|row| row.phone_number)
    }

    /// Both directions at once. A number keeps the id that came last, also when an older id of it moves on to another
    /// number (the library's store in memory forgets the number then).
    async fn map_lids(&self, entries: &[LidPnMappingEntry]) -> Result<(), StoreError> {
        let rows: Vec<_> = entries
            .iter()
            .map(|entry| {
                let (lid, pn) = (entry.lid.as_bytes(), entry.phone_number.as_bytes());
                (self.key(&[lid]), self.key(&[pn]), StoredLidMapping::from(entry))
            })
            .collect();
        let this = self.clone();
        self.transact(move |transaction| {
            for (by_lid, by_pn, row) in rows {
                if let Some(old) = transaction.get::<StoredLidMapping>(Tree::LidMapping, &by_lid)?
                    && old.phone_number != row.phone_number
                {
                    let old_pn = this.key(&[old.phone_number.as_bytes()]);
                    if transaction.get::<String>(Tree::PnMapping, &old_pn)?.as_ref() == Some(&row.lid) {
                        transaction.delete(Tree::PnMapping, old_pn)?;
                    }
                }
                transaction.put(Tree::PnMapping, by_pn, &row.lid)?;
                transaction.put(Tree::LidMapping, by_lid, &row)?;
            }
            Ok(())
        })
        .await
    }
}

/// The last part of a key, where it is an address. A damaged one reads as an address that nobody has.
fn last_part(key: &[u8]) -> String {
    let part = split(key).pop().unwrap_or_default();
    String::from_utf8_lossy(&part).into_owned()
}

#[async_trait]
impl ProtocolStore for Credentials {
    async fn get_sender_key_devices(&self, group_jid: &str) -> Backing<Vec<(String, bool)>> {
        let prefix = self.key(&[group_jid.as_bytes()]);
        let rows = self.list::<bool>(Tree::SenderKeyDevice, &prefix, SENDER_KEY_DEVICE_PARTS)?;
        let mut rows = rows.into_iter().map(|(key, has)| (last_part(&key), has)).collect();
        self.left_out.show_sender_keys(group_jid, &mut rows);
        Ok(rows)
    }

    async fn set_sender_key_status(&self, group_jid: &str, entries: &[(&str, bool)]) -> Backing<()> {
        let rows = entries
            .iter()
            .filter(|(device, has)| !has || !self.left_out.lacks_sender_key(group_jid, device))
            .map(|(device, has)| (self.key(&[group_jid.as_bytes(), device.as_bytes()]), *has))
            .collect();
        Ok(self.put_all(Tree::SenderKeyDevice, rows).await?)
    }

    async fn clear_sender_key_devices(&self, group_jid: &str) -> Backing<()> {
        let prefix = self.key(&[group_jid.as_bytes()]);
        Ok(self.clear(Tree::SenderKeyDevice, prefix).await?)
    }

    async fn delete_sender_key_device_rows(&self, device_jids: &[&str]) -> Backing<()> {
        if device_jids.is_empty() {
            return Ok(());
        }
        let devices: Vec<String> = device_jids.iter().map(|&device| device.to_owned()).collect();
        let prefix = self.key(&[]);
        self.transact(move |transaction| {
            for key in transaction.keys(Tree::SenderKeyDevice, &prefix, SENDER_KEY_DEVICE_PARTS) {
                let key = key?;
                if devices.contains(&last_part(&key)) {
                    transaction.delete(Tree::SenderKeyDevice, key)?;
                }
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    async fn clear_all_sender_key_devices(&self) -> Backing<()> {
        Ok(self.clear(Tree::SenderKeyDevice, self.key(&[])).await?)
    }

    async fn get_lid_mapping(&self, lid: &str) -> Backing<Option<LidPnMappingEntry>> {
        let key = self.key(&[lid.as_bytes()]);
        let row = self.get::<StoredLidMapping>(Tree::LidMapping, key).await?;
        Ok(row.map(LidPnMappingEntry::from))
    }

    async fn get_pn_mapping(&self, phone: &str) -> Backing<Option<LidPnMappingEntry>> {
        let key = self.key(&[phone.as_bytes()]);
        let Some(lid) = self.get::<String>(Tree::PnMapping, key.clone()).await? else {
            return Ok(None);
        };
        if let Some(entry) = self.get_lid_mapping(&lid).await?
            && entry.phone_number == phone
        {
            return Ok(Some(entry));
        }
        // The id moved between the two reads. On the writer's thread nothing moves.
        let this = self.clone();
        let row = self
            .transact(
                move |transaction| match transaction.get::<String>(Tree::PnMapping, &key)? {
                    Some(lid) => transaction.get::<StoredLidMapping>(Tree::LidMapping, &this.key(&[lid.as_bytes()])),
                    None => Ok(None),
                },
            )
            .await?;
        Ok(row.map(LidPnMappingEntry::from))
    }

    async fn put_lid_mapping(&self, entry: &LidPnMappingEntry) -> Backing<()> {
        Ok(self.map_lids(std::slice::from_ref(entry)).await?)
    }

    async fn put_lid_mappings(&self, entries: &[LidPnMappingEntry]) -> Backing<()> {
        Ok(self.map_lids(entries).await?)
    }

    async fn get_all_lid_mappings(&self) -> Backing<Vec<LidPnMappingEntry>> {
        let rows = self.list::<StoredLidMapping>(Tree::LidMapping, &self.key(&[]), 2)?;
        Ok(rows.into_iter().map(|(_, row)| row.into()).collect())
    }

    async fn save_base_key(&self, address: &str, message_id: &str, base_key: &[u8]) -> Backing<()> {
        let key = self.key(&[address.as_bytes(), message_id.as_bytes()]);
        Ok(self.put(Tree::BaseKey, key, Blob::new(base_key)).await?)
    }

    async fn has_same_base_key(&self, address: &str, message_id: &str, current_base_key: &[u8]) -> Backing<bool> {
        let key = self.key(&[address.as_bytes(), message_id.as_bytes()]);
        let saved = self.get::<Blob>(Tree::BaseKey, key).await?;
        Ok(saved.is_some_and(|saved| saved.as_slice() == current_base_key))
    }

    async fn delete_base_key(&self, address: &str, message_id: &str) -> Backing<()> {
        let key = self.key(&[address.as_bytes(), message_id.as_bytes()]);
        Ok(self.delete(Tree::BaseKey, key).await?)
    }

    async fn update_device_list(&self, record: DeviceListRecord) -> Backing<()> {
        self.update_device_lists(vec![record]).await
    }

    async fn update_device_lists(&self, records: Vec<DeviceListRecord>) -> Backing<()> {
        let rows = records
            .into_iter()
            .map(|record| (self.key(&[record.user.as_bytes()]), StoredDeviceList::from(record)))
            .collect();
        Ok(self.put_all(Tree::DeviceList, rows).await?)
    }

    async fn get_devices(&self, user: &str) -> Backing<Option<DeviceListRecord>> {
        let key = self.key(&[user.as_bytes()]);
        let row = self.get::<StoredDeviceList>(Tree::DeviceList, key).await?;
        Ok(row.map(|row| {
            let mut record = DeviceListRecord::from(row);
            self.left_out.show_devices(&mut record);
            record
        }))
    }

    async fn delete_devices(&self, user: &str) -> Backing<()> {
        Ok(self.delete(Tree::DeviceList, self.key(&[user.as_bytes()])).await?)
    }

    async fn get_group_metadata(&self, group_jid: &str) -> Backing<Option<Vec<u8>>> {
        let key = self.key(&[group_jid.as_bytes()]);
        Ok(self.get::<Blob>(Tree::GroupMetadata, key).await?.map(Blob::into_vec))
    }

    /// What is larger than a row is not kept, and what was kept before it goes: it is a cache, and asking the server
    /// again is cheaper than carrying it.
    async fn put_group_metadata(&self, group_jid: &str, blob: &[u8]) -> Backing<()> {
        let key = self.key(&[group_jid.as_bytes()]);
        if blob.len() > VALUE_BYTES_MAX - BLOB_OVERHEAD_BYTES {
            return Ok(self.delete(Tree::GroupMetadata, key).await?);
        }
        Ok(self.put(Tree::GroupMetadata, key, Blob::new(blob)).await?)
    }

    async fn delete_group_metadata(&self, group_jid: &str) -> Backing<()> {
        let key = self.key(&[group_jid.as_bytes()]);
        Ok(self.delete(Tree::GroupMetadata, key).await?)
    }

    async fn get_tc_token(&self, jid: &str) -> Backing<Option<TcTokenEntry>> {
        let row = self
            .get::<StoredTcToken>(Tree::TcToken, self.key(&[jid.as_bytes()]))
            .await?;
        Ok(row.map(TcTokenEntry::from))
    }

    async fn put_tc_token(&self, jid: &str, entry: &TcTokenEntry) -> Backing<()> {
        let key = self.key(&[jid.as_bytes()]);
        Ok(self.put(Tree::TcToken, key, StoredTcToken::from(entry)).await?)
    }

    async fn delete_tc_token(&self, jid: &str) -> Backing<()> {
        Ok(self.delete(Tree::TcToken, self.key(&[jid.as_bytes()])).await?)
    }

    async fn get_all_tc_token_jids(&self) -> Backing<Vec<String>> {
        let rows = self.list::<StoredTcToken>(Tree::TcToken, &self.key(&[]), 2)?;
        Ok(rows.into_iter().map(|(key, _)| last_part(&key)).collect())
    }

    async fn delete_expired_tc_tokens(&self, token_cutoff: i64, sender_cutoff: i64) -> Backing<u32> {
        let cutoffs = [token_cutoff, sender_cutoff];
        self.sweep(Tree::TcToken, 2, tc_tokens::expired, cutoffs).await
    }

    async fn touch_tc_token_sender_timestamp(&self, jid: &str, sender_timestamp: i64) -> Backing<()> {
        Ok(self.touch_tc_token(jid, sender_timestamp).await?)
    }

    async fn store_received_tc_token(&self, jid: &str, token: &[u8], token_timestamp: i64) -> Backing<()> {
        Ok(self.receive_tc_token(jid, token, token_timestamp).await?)
    }

    async fn store_sent_message(&self, chat_jid: &str, message_id: &str, payload: &[u8]) -> Backing<()> {
        Ok(self.keep_sent(chat_jid, message_id, payload).await?)
    }

    async fn take_sent_message(&self, chat_jid: &str, message_id: &str) -> Backing<Option<Vec<u8>>> {
        Ok(self.sent_message(chat_jid, message_id).await?)
    }

    async fn delete_expired_sent_messages(&self, _by_the_library: i64) -> Backing<u32> {
        let (tree, parts) = (Tree::SentMessage, SENT_KEY_PARTS);
        self.sweep_kept(tree, parts, sent::SENT_KEPT_S).await
    }

    async fn store_pending_inbound(&self, chat: &str, sender: &str, id: &str, message: &[u8]) -> Backing<()> {
        let row = PendingInboundRow {
            chat,
            sender,
            id,
            message,
        };
        self.store_pending_inbound_batch(&[row]).await
    }

    async fn get_pending_inbound(&self, chat: &str, sender: &str, id: &str) -> Backing<Option<Vec<u8>>> {
        let key = self.pending_key(chat, sender, id);
        let row = self.get::<StoredMessage>(Tree::PendingInbound, key).await?;
        Ok(row.map(|row| row.message.into_vec()))
    }

    async fn delete_pending_inbound(&self, chat: &str, sender: &str, id: &str) -> Backing<()> {
        let key = self.pending_key(chat, sender, id);
        Ok(self.delete(Tree::PendingInbound, key).await?)
    }

    async fn delete_expired_pending_inbound(&self, _by_the_library: i64) -> Backing<u32> {
        let (tree, parts) = (Tree::PendingInbound, PENDING_KEY_PARTS);
        self.sweep_kept(tree, parts, PENDING_KEPT_S).await
    }

    async fn store_pending_inbound_batch(&self, rows: &[PendingInboundRow<'_>]) -> Backing<()> {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| (self.pending_key(row.chat, row.sender, row.id), Blob::new(row.message)))
            .collect();
        let age = std::sync::Arc::clone(&self.age);
        self.transact(move |transaction| {
            let stored_at = age.now(transaction)?;
            rows.into_iter().try_for_each(|(key, message)| {
                transaction.put(Tree::PendingInbound, key, &StoredMessage { stored_at, message })
            })
        })
        .await?;
        Ok(())
    }

    async fn delete_pending_inbound_batch(&self, keys: &[PendingInboundKey<'_>]) -> Backing<()> {
        let keys = keys
            .iter()
            .map(|key| self.pending_key(key.chat, key.sender, key.id))
            .collect();
        Ok(self.delete_all(Tree::PendingInbound, keys).await?)
    }
}
