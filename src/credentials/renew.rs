//! New ratchets for a session whose old ones somebody else has used: a copy of this state was logged in with them.
//!
//! The server says so when it replaces a line by that of the copy. From then on the ratchets here are those of the
//! past: using them again would use message keys twice, and no phone could read what they encrypt. So it is noted at
//! once, and before the next login they are thrown away, as a restored backup has none. Their phones get messages that
//! open a session anew.

use serde::{Deserialize, Serialize};

use super::Credentials;
use super::device::StoredDevice;
use super::pre_key_offset::PreKeyOffset;
use crate::store::{StoreError, Tree, join};

/// The row under [`Tree::Meta`]; the session's name is its second part.
const KEY: &[u8] = b"copied";

/// What is of no use once a copy went on with it: ratchets, keys for one use, what is only true together with them, and
/// copies of what the server knows, whose news went to the other one. What was received and sent stays.
const USED: [Tree; 7] = [
    Tree::Session,
    Tree::SenderKey,
    Tree::SenderKeyDevice,
    Tree::BaseKey,
    Tree::PreKey,
    Tree::DeviceList,
    Tree::GroupMetadata,
];

/// A copy is in use.
#[derive(Serialize, Deserialize)]
struct Copied {
    /// Whose they are: a login that came after this one has ratchets of its own.
    identity: [u8; 32],
}

impl Credentials {
    fn copied_key(&self) -> Vec<u8> {
        join(&[KEY, self.session.as_str().as_bytes()])
    }

    /// Notes that a copy of these credentials is logged in. Returns once that is on the device. Without credentials
    /// there is nothing to note.
    ///
    /// # Errors
    /// The store failed, or the device's row is not readable.
    pub async fn note_copy(&self) -> Result<(), StoreError> {
        let this = self.clone();
        self.transact(move |transaction| {
            let Some(device) = transaction.get::<StoredDevice>(Tree::Device, &this.key(&[]))? else {
                return Ok(());
            };
            let identity = device.identity();
            transaction.put(Tree::Meta, this.copied_key(), &Copied { identity })
        })
        .await
    }

    /// Throws away what a copy has used, if one was noted, and the note with it, in one transaction. To be called
    /// before each login. True if it did.
    ///
    /// # Errors
    /// The store failed, the device's row is not readable, or the system gives no random numbers. Do not log in then.
    pub async fn renew_after_a_copy(&self) -> Result<bool, StoreError> {
        // As a rule there is none, and a look costs no transaction.
        if self.store.view().get(Tree::Meta, &self.copied_key())?.is_none() {
            return Ok(false);
        }
        let offset = PreKeyOffset::draw()?;
        let this = self.clone();
        self.transact(move |transaction| {
            let key = this.key(&[]);
            let copied = match transaction.get::<Copied>(Tree::Meta, &this.copied_key()) {
                Ok(copied) => copied,
                // Whose it was is not known: ratchets made anew for nothing harm nobody.
                Err(StoreError::Record { .. }) => None,
                Err(error) => return Err(error),
            };
            transaction.delete_row(Tree::Meta, this.copied_key());
            let Some(device) = transaction.get::<StoredDevice>(Tree::Device, &key)? else {
                return Ok(false);
            };
            if copied.is_some_and(|copied| copied.identity != device.identity()) {
                return Ok(false);
            }
            for tree in USED {
                for row in transaction.rows(tree, &key) {
                    transaction.delete_row(tree, row?.0);
                }
            }
            transaction.put(Tree::Device, key, &device.restored(offset))?;
            Ok(true)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use wacore::store::Device;
    use wacore::store::traits::{DeviceStore, ProtocolStore, SignalStore};

    use super::*;
    use crate::store::Store;

    async fn used(credentials: &Credentials) -> Vec<bool> {
        vec![
            credentials.get_session("a@c.us.0").await.unwrap().is_some(),
            credentials.get_sender_key("g:a").await.unwrap().is_some(),
            credentials.load_prekey(3).await.unwrap().is_some(),
            !credentials.get_sender_key_devices("g").await.unwrap().is_empty(),
            credentials.has_same_base_key("a", "m", b"k").await.unwrap(),
        ]
    }

    #[test]
    fn a_copy_that_was_noted_costs_the_ratchets_once_and_only_of_its_own_login() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let credentials = Credentials::new(store.clone(), "default".parse().unwrap());
        let other = Credentials::new(store.clone(), "other".parse().unwrap());
        smol::block_on(async {
            credentials.note_copy().await.unwrap();
            assert!(!credentials.renew_after_a_copy().await.unwrap(), "nobody is linked");
            let mut device = Device::new();
            device.server_has_prekeys = true;
            device.next_pre_key_id = 5;
            for of in [&credentials, &other] {
                of.import(&device).await.unwrap();
                of.put_session("a@c.us.0", b"ratchet").await.unwrap();
                of.put_sender_key("g:a", b"chain").await.unwrap();
                of.store_prekey(3, b"key", true).await.unwrap();
                of.set_sender_key_status("g", &[("a", true)]).await.unwrap();
                of.save_base_key("a", "m", b"k").await.unwrap();
                of.store_sent_message("c", "m", b"text").await.unwrap();
                of.put_identity("a@c.us.0", [1; 32]).await.unwrap();
            }
            assert!(!credentials.renew_after_a_copy().await.unwrap(), "no copy was noted");
            assert_eq!(used(&credentials).await, [true; 5]);

            credentials.note_copy().await.unwrap();
            assert!(credentials.renew_after_a_copy().await.unwrap());
            assert_eq!(used(&credentials).await, [false; 5]);
            assert_eq!(used(&other).await, [true; 5]);
            let after = credentials.load().await.unwrap().unwrap();
            assert!(!after.server_has_prekeys && after.next_pre_key_id > 100_000);
            assert_eq!(credentials.load_identity("a@c.us.0").await.unwrap(), Some([1; 32]));
            assert!(credentials.keeps_sent("m").await.unwrap());
            assert!(!credentials.renew_after_a_copy().await.unwrap(), "once is enough");

            // Another account in its place has ratchets of its own.
            other.note_copy().await.unwrap();
            other.import(&Device::new()).await.unwrap();
            other.put_session("b@c.us.0", b"its own").await.unwrap();
            assert!(!other.renew_after_a_copy().await.unwrap());
            assert!(other.get_session("b@c.us.0").await.unwrap().is_some());
        });
    }
}
