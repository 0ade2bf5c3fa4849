//! The device as the library saves and loads it.

use async_trait::async_trait;
use wacore::store::traits::DeviceStore;
use wacore::store::{Device, error};

use super::Credentials;
use super::backend::Backing;
use super::device::StoredDevice;
use crate::store::Tree;

/// The number that the library knows this device by. There is one in a session.
const DEVICE_ID: i32 = 1;

#[async_trait]
impl DeviceStore for Credentials {
    /// Replaces the device that [`create`](DeviceStore::create) or [`Credentials::import`] made. Without one it fails:
    /// after a logout a client that is still ending must not bring the quarantined device back.
    async fn save(&self, device: &Device) -> Backing<()> {
        let (key, device) = (self.key(&[]), StoredDevice::of(device));
        device.fits_a_row()?;
        let saved = self
            .transact(move |transaction| {
                let present = transaction.get::<StoredDevice>(Tree::Device, &key)?;
                if present.is_none_or(|present| present.identity() != device.identity()) {
                    return Ok(false);
                }
                transaction.put(Tree::Device, key, &device)?;
                Ok(true)
            })
            .await?;
        if saved {
            Ok(())
        } else {
            Err(error::StoreError::DeviceNotFound(DEVICE_ID))
        }
    }

    async fn load(&self) -> Backing<Option<Device>> {
        let device = self.get::<StoredDevice>(Tree::Device, self.key(&[])).await?;
        Ok(device.map(StoredDevice::into_device).transpose()?)
    }

    async fn exists(&self) -> Backing<bool> {
        Ok(self.store.view().get(Tree::Device, &self.key(&[]))?.is_some())
    }

    /// Makes a device with new keys if there is none, and deletes what an earlier one may have left behind.
    async fn create(&self) -> Backing<i32> {
        let (this, device) = (self.clone(), StoredDevice::of(&Device::new()));
        self.transact(move |transaction| {
            let key = this.key(&[]);
            if transaction.get::<StoredDevice>(Tree::Device, &key)?.is_none() {
                this.delete_rows(transaction)?;
                transaction.put(Tree::Device, key, &device)?;
            }
            Ok(())
        })
        .await?;
        Ok(DEVICE_ID)
    }
}
