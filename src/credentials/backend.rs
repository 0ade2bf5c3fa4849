//! The credentials of one session, and how their rows are read and written.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wacore::store::Device;
use wacore_binary::Jid;

use super::age::{self, Age, Ticks};
use super::device::StoredDevice;
use super::left_out::{LeavingOut, LeftOut};
use super::sent_bound::SinceCount;
use super::transaction::{Transaction, VERSION, in_pieces};
use crate::alert::SessionName;
use crate::store::{Store, StoreError, Tree, join, record, split};

pub(super) type Backing<T> = Result<T, wacore::store::error::StoreError>;

/// The credentials of one session. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Credentials {
    pub(super) store: Store,
    pub(super) session: SessionName,
    /// Stores of sent messages, to look at how many there are now and then.
    pub(super) sent: Arc<SinceCount>,
    pub(super) age: Arc<Age>,
    pub(super) left_out: LeftOut,
}

/// The WhatsApp account that a session is linked to.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Our own number, with this device's number.
    pub pn: Jid,
    /// Our own hidden id, once the server has told.
    pub lid: Option<Jid>,
    /// The name that others see; empty until the phone has told.
    pub push_name: String,
}

impl Credentials {
    /// Looks at nothing yet.
    pub fn new(store: Store, session: SessionName) -> Self {
        Self::with_ticks(store, session, age::boottime())
    }

    /// The same, with the age of kept messages counted by another clock.
    #[doc(hidden)]
    pub fn with_ticks(store: Store, session: SessionName, ticks: Ticks) -> Self {
        let age = Arc::new(Age::new(session.clone(), ticks));
        Self {
            store,
            session,
            sent: Arc::default(),
            age,
            left_out: LeftOut::default(),
        }
    }

    /// Whose credentials these are.
    pub fn session(&self) -> &SessionName {
        &self.session
    }

    /// The linked account, if the session is paired. Reads one row, without waiting.
    ///
    /// # Errors
    /// The store or the device's row is not readable. Then nobody knows whether it is paired: do not pair over it.
    pub fn paired(&self) -> Result<Option<Account>, StoreError> {
        let Some(row) = self.store.view().get(Tree::Device, &self.key(&[]))? else {
            return Ok(None);
        };
        let device = record::decode::<StoredDevice>(Tree::Device, VERSION, &row)?.into_device()?;
        Ok(device.pn.map(|pn| Account {
            pn,
            lid: device.lid,
            push_name: device.push_name,
        }))
    }

    /// Hides `devices`, named by number and by hidden id, from the library: in a send to `group` as if they had our
    /// sender key already, in any other send as if they were not there.
    pub fn leave_out(&self, group: Option<&Jid>, devices: Vec<Jid>) -> LeavingOut {
        self.left_out.leave(group, devices)
    }

    /// Makes `device` this session's, as if it had been created and paired here. Rows of another identity, or left over
    /// from one, are deleted in the same transaction; rows of the same identity stay. So import the device first, and
    /// its keys and sessions after it.
    ///
    /// # Errors
    /// The store failed.
    pub async fn import(&self, device: &Device) -> Result<(), StoreError> {
        let (this, device) = (self.clone(), StoredDevice::of(device));
        device.fits_a_row()?;
        self.transact(move |transaction| {
            let key = this.key(&[]);
            let same = match transaction.get::<StoredDevice>(Tree::Device, &key)? {
                Some(present) => present.identity() == device.identity(),
                None => false,
            };
            if !same {
                this.delete_rows(transaction)?;
            }
            transaction.put(Tree::Device, key, &device)
        })
        .await
    }

    /// Deletes everything of a session that was never linked, such as the keys of a pairing that was given up. True if
    /// it did; a linked session stays as it is.
    ///
    /// # Errors
    /// The store failed, or the device's row is not readable.
    pub async fn reset_unpaired(&self) -> Result<bool, StoreError> {
        let this = self.clone();
        self.transact(move |transaction| {
            let device = transaction.get::<StoredDevice>(Tree::Device, &this.key(&[]))?;
            if device.is_some_and(|device| device.is_paired()) {
                return Ok(false);
            }
            this.delete_rows(transaction)?;
            Ok(true)
        })
        .await
    }

    /// The key of `parts` in this session.
    pub(super) fn key(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut key = join(&[self.session.as_str().as_bytes()]);
        key.extend_from_slice(&join(parts));
        key
    }

    pub(super) async fn transact<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.store
            .update(move |view| {
                let mut transaction = Transaction::new(view);
                let value = work(&mut transaction)?;
                Ok((transaction.into_batch()?, value))
            })
            .await
    }

    pub(super) async fn get<T>(&self, tree: Tree, key: Vec<u8>) -> Result<Option<T>, StoreError>
    where
        T: DeserializeOwned + Send + 'static,
    {
        match self.store.view().get(tree, &key)? {
            None => Ok(None),
            Some(row) if in_pieces(&row) => self.transact(move |transaction| transaction.get(tree, &key)).await,
            Some(row) => record::decode(tree, VERSION, &row).map(Some),
        }
    }

    /// All records whose key starts with `prefix` and has `parts` parts, in key order. Each is read by itself, without
    /// waiting for the writer: a batch that is being applied may show in part. For records that never lie in pieces.
    pub(super) fn list<T>(&self, tree: Tree, prefix: &[u8], parts: usize) -> Result<Vec<(Vec<u8>, T)>, StoreError>
    where
        T: DeserializeOwned,
    {
        let mut found = Vec::new();
        for row in self.store.view().scan(tree, prefix) {
            let (key, row) = row?;
            if split(&key).len() == parts {
                found.push((key, record::decode(tree, VERSION, &row)?));
            }
        }
        Ok(found)
    }

    pub(super) async fn put<T>(&self, tree: Tree, key: Vec<u8>, value: T) -> Result<(), StoreError>
    where
        T: Serialize + Send + 'static,
    {
        self.transact(move |transaction| transaction.put(tree, key, &value))
            .await
    }

    pub(super) async fn put_all<T>(&self, tree: Tree, rows: Vec<(Vec<u8>, T)>) -> Result<(), StoreError>
    where
        T: Serialize + Send + 'static,
    {
        self.transact(move |transaction| {
            rows.into_iter()
                .try_for_each(|(key, value)| transaction.put(tree, key, &value))
        })
        .await
    }

    pub(super) async fn delete(&self, tree: Tree, key: Vec<u8>) -> Result<(), StoreError> {
        self.delete_all(tree, vec![key]).await
    }

    pub(super) async fn delete_all(&self, tree: Tree, keys: Vec<Vec<u8>>) -> Result<(), StoreError> {
        self.transact(move |transaction| keys.into_iter().try_for_each(|key| transaction.delete(tree, key)))
            .await
    }

    /// Deletes every row under `prefix`, whatever its shape.
    pub(super) async fn clear(&self, tree: Tree, prefix: Vec<u8>) -> Result<(), StoreError> {
        self.transact(move |transaction| {
            for row in transaction.rows(tree, &prefix) {
                transaction.delete_row(tree, row?.0);
            }
            Ok(())
        })
        .await
    }

    /// Deletes every credential row of this session.
    pub(super) fn delete_rows(&self, transaction: &mut Transaction<'_>) -> Result<(), StoreError> {
        for tree in Tree::credentials() {
            for row in transaction.rows(tree, &self.key(&[])) {
                transaction.delete_row(tree, row?.0);
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.session)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Account(…)")
    }
}

/// As the library sorts errors. Its retries look for "busy" and "locked" in the text; ours are final and say neither.
impl From<StoreError> for wacore::store::error::StoreError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Locked(_)
            | StoreError::Open { .. }
            | StoreError::Unfit { .. }
            | StoreError::Damaged { .. }
            | StoreError::Newer { .. } => Self::Connection(Box::new(error)),
            StoreError::Read(_) | StoreError::Poisoned(_) | StoreError::Full(_) | StoreError::ReadOnly(_) => {
                Self::Database(Box::new(error))
            }
            StoreError::Record { .. } => Self::Serialization(Box::new(error)),
            StoreError::TooLarge { .. } => Self::Validation(error.to_string()),
        }
    }
}
