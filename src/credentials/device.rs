//! The record of the device: our keys and the account they are linked to.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wacore::client_profile::ClientProfile;
use wacore::libsignal::protocol::{KeyPair, PrivateKey, PublicKey};
use wacore::store::Device;
use wacore::store::device::{CachedNoiseCert, CachedServerCertChain, DEVICE_PROPS, account_serde};
use wacore_binary::{Jid, Server};

use super::pre_key_offset::PreKeyOffset;
use super::records::damaged;
use super::secret::{Blob, Key};
use super::transaction::too_large;
use crate::store::{StoreError, Tree, VALUE_BYTES_MAX};

/// The library's textual form of an address drops parts of it (agent, integrator), so the fields are kept.
#[derive(Serialize, Deserialize)]
struct StoredJid {
    user: String,
    server: String,
    agent: u8,
    device: u16,
    integrator: u16,
}

#[derive(Serialize, Deserialize)]
struct StoredKeyPair {
    private: Key,
    public: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct StoredCertificate {
    key: [u8; 32],
    /// Unix seconds, both.
    not_before: i64,
    not_after: i64,
}

/// Version 1. Field order is the format.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredDevice {
    pn: Option<StoredJid>,
    lid: Option<StoredJid>,
    registration_id: u32,
    noise_key: StoredKeyPair,
    identity_key: StoredKeyPair,
    signed_pre_key: StoredKeyPair,
    signed_pre_key_id: u32,
    /// 64 bytes; serde stops at arrays of 32.
    signed_pre_key_signature: [[u8; 32]; 2],
    adv_secret_key: Key,
    /// Protobuf.
    account: Option<Blob>,
    push_name: String,
    app_version: [u32; 3],
    app_version_last_fetched_ms: i64,
    edge_routing_info: Option<Blob>,
    props_hash: Option<String>,
    next_pre_key_id: u32,
    first_unupload_pre_key_id: u32,
    server_has_prekeys: bool,
    nct_salt: Option<Blob>,
    /// Intermediate, leaf.
    server_cert_chain: Option<[StoredCertificate; 2]>,
    login_counter: i32,
    lid_migrated: bool,
    last_signed_pre_key_rotation_ms: i64,
    read_receipts_disabled: bool,
}

impl StoredDevice {
    pub(super) fn of(device: &Device) -> Self {
        let Device {
            pn,
            lid,
            registration_id,
            noise_key,
            identity_key,
            signed_pre_key,
            signed_pre_key_id,
            signed_pre_key_signature,
            adv_secret_key,
            account,
            push_name,
            app_version_primary,
            app_version_secondary,
            app_version_tertiary,
            app_version_last_fetched_ms,
            // Set by whoever starts the client, at every start.
            device_props: _,
            client_profile: _,
            edge_routing_info,
            props_hash,
            next_pre_key_id,
            first_unupload_pre_key_id,
            server_has_prekeys,
            nct_salt,
            // Of one run only, as the library documents it.
            nct_salt_sync_seen: _,
            server_cert_chain,
            login_counter,
            lid_migrated,
            last_signed_pre_key_rotation_ms,
            read_receipts_disabled,
        } = device;
        let mut signature = [[0; 32]; 2];
        signature.as_flattened_mut().copy_from_slice(signed_pre_key_signature);
        Self {
            pn: pn.as_ref().map(StoredJid::of),
            lid: lid.as_ref().map(StoredJid::of),
            registration_id: *registration_id,
            noise_key: StoredKeyPair::of(noise_key),
            identity_key: StoredKeyPair::of(identity_key),
            signed_pre_key: StoredKeyPair::of(signed_pre_key),
            signed_pre_key_id: *signed_pre_key_id,
            signed_pre_key_signature: signature,
            adv_secret_key: Key(*adv_secret_key),
            account: account.as_ref().map(|account| account_serde::to_bytes(account).into()),
            push_name: push_name.clone(),
            app_version: [*app_version_primary, *app_version_secondary, *app_version_tertiary],
            app_version_last_fetched_ms: *app_version_last_fetched_ms,
            edge_routing_info: edge_routing_info.as_deref().map(Blob::new),
            props_hash: props_hash.clone(),
            next_pre_key_id: *next_pre_key_id,
            first_unupload_pre_key_id: *first_unupload_pre_key_id,
            server_has_prekeys: *server_has_prekeys,
            nct_salt: nct_salt.as_deref().map(Blob::new),
            server_cert_chain: server_cert_chain.as_ref().map(|chain| {
                let CachedServerCertChain { intermediate, leaf } = chain;
                [StoredCertificate::of(intermediate), StoredCertificate::of(leaf)]
            }),
            login_counter: *login_counter,
            lid_migrated: *lid_migrated,
            last_signed_pre_key_rotation_ms: *last_signed_pre_key_rotation_ms,
            read_receipts_disabled: *read_receipts_disabled,
        }
    }

    pub(super) fn into_device(self) -> Result<Device, StoreError> {
        let account = match self.account {
            Some(bytes) => Some(Arc::new(
                account_serde::from_bytes(bytes.as_slice()).map_err(|error| damaged(Tree::Device, error))?,
            )),
            None => None,
        };
        let mut signature = [0; 64];
        signature.copy_from_slice(self.signed_pre_key_signature.as_flattened());
        let [primary, secondary, tertiary] = self.app_version;
        Ok(Device {
            pn: self.pn.map(StoredJid::into_jid).transpose()?,
            lid: self.lid.map(StoredJid::into_jid).transpose()?,
            registration_id: self.registration_id,
            noise_key: self.noise_key.into_pair()?,
            identity_key: self.identity_key.into_pair()?,
            signed_pre_key: self.signed_pre_key.into_pair()?,
            signed_pre_key_id: self.signed_pre_key_id,
            signed_pre_key_signature: signature,
            adv_secret_key: self.adv_secret_key.0,
            account,
            push_name: self.push_name,
            app_version_primary: primary,
            app_version_secondary: secondary,
            app_version_tertiary: tertiary,
            app_version_last_fetched_ms: self.app_version_last_fetched_ms,
            device_props: Arc::new(DEVICE_PROPS.clone()),
            client_profile: ClientProfile::default(),
            edge_routing_info: self.edge_routing_info.map(Blob::into_vec),
            props_hash: self.props_hash,
            next_pre_key_id: self.next_pre_key_id,
            first_unupload_pre_key_id: self.first_unupload_pre_key_id,
            server_has_prekeys: self.server_has_prekeys,
            nct_salt: self.nct_salt.map(Blob::into_vec),
            nct_salt_sync_seen: false,
            server_cert_chain: self
                .server_cert_chain
                .map(|[intermediate, leaf]| CachedServerCertChain {
                    intermediate: intermediate.into_certificate(),
                    leaf: leaf.into_certificate(),
                }),
            login_counter: self.login_counter,
            lid_migrated: self.lid_migrated,
            last_signed_pre_key_rotation_ms: self.last_signed_pre_key_rotation_ms,
            read_receipts_disabled: self.read_receipts_disabled,
        })
    }

    /// The public half of the key that makes this device who it is.
    pub(super) fn identity(&self) -> [u8; 32] {
        self.identity_key.public
    }

    pub(super) fn is_paired(&self) -> bool {
        self.pn.is_some()
    }

    /// As it comes out of a backup. What was made since is not in it: one-time prekeys of which the server still hands
    /// out the public halves, under numbers from `next_pre_key_id` on. `offset` is past all of these, so that no number
    /// stands for two keys; and the flag makes the next login upload new ones, the signed prekey with them.
    pub(super) fn restored(mut self, offset: PreKeyOffset) -> Self {
        self.server_has_prekeys = false;
        self.with_pre_key_offset(offset)
    }

    /// New prekeys get numbers that no other key has, even where more were given out than it knows of.
    pub(super) fn with_pre_key_offset(mut self, offset: PreKeyOffset) -> Self {
        self.next_pre_key_id = offset.past(self.next_pre_key_id);
        self.first_unupload_pre_key_id = self.next_pre_key_id;
        self
    }

    /// [`paired`](super::Credentials::paired) reads one row without the writer, so this record never lies in pieces. It
    /// has a few hundred bytes.
    pub(super) fn fits_a_row(&self) -> Result<(), StoreError> {
        let blobs = [&self.account, &self.edge_routing_info, &self.nct_salt];
        let blobs: usize = blobs
            .iter()
            .map(|blob| blob.as_ref().map_or(0, |b| b.as_slice().len()))
            .sum();
        let texts = self.push_name.len() + self.props_hash.as_ref().map_or(0, String::len);
        let max = VALUE_BYTES_MAX - 4096;
        if blobs + texts > max {
            return Err(too_large(Tree::Device, blobs + texts, max));
        }
        Ok(())
    }
}

impl StoredJid {
    fn of(jid: &Jid) -> Self {
        let Jid {
            user,
            server,
            agent,
            device,
            integrator,
        } = jid;
        Self {
            user: user.to_string(),
            server: server.as_str().to_owned(),
            agent: *agent,
            device: *device,
            integrator: *integrator,
        }
    }

    fn into_jid(self) -> Result<Jid, StoreError> {
        Ok(Jid {
            user: self.user.into(),
            server: Server::try_from(self.server.as_str()).map_err(|error| damaged(Tree::Device, error))?,
            agent: self.agent,
            device: self.device,
            integrator: self.integrator,
        })
    }
}

impl StoredKeyPair {
    fn of(pair: &KeyPair) -> Self {
        let KeyPair {
            public_key,
            private_key,
        } = pair;
        let mut public = [0; 32];
        // The serialized form is the key type (one byte) and the key.
        public.copy_from_slice(&public_key.serialize()[1..]);
        Self {
            private: Key(*private_key.serialize()),
            public,
        }
    }

    fn into_pair(self) -> Result<KeyPair, StoreError> {
        let private = PrivateKey::deserialize(&self.private.0).map_err(|error| damaged(Tree::Device, error))?;
        let public =
            PublicKey::from_djb_public_key_bytes(&self.public).map_err(|error| damaged(Tree::Device, error))?;
        Ok(KeyPair::new(public, private))
    }
}

impl StoredCertificate {
    fn of(certificate: &CachedNoiseCert) -> Self {
        let CachedNoiseCert {
            key,
            not_before,
            not_after,
        } = certificate;
        Self {
            key: *key,
            not_before: *not_before,
            not_after: *not_after,
        }
    }

    fn into_certificate(self) -> CachedNoiseCert {
        CachedNoiseCert {
            key: self.key,
            not_before: self.not_before,
            not_after: self.not_after,
        }
    }
}
