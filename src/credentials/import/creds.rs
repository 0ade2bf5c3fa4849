//! `creds.json`: who the linked device is.

use std::sync::Arc;

use serde::Deserialize;
use wacore::libsignal::protocol::{KeyPair, PrivateKey, PublicKey};
use wacore::store::Device;
use wacore_binary::{Jid, Server};
use waproto::whatsapp as wa;

use super::super::pre_key_offset::PRE_KEY_ID_MAX;
use super::ImportError;
use super::json::{self, Bytes, Fault};
use super::number::is_number;
use super::place::under;

/// The server's hint where to connect to. The real one has a few bytes; a damaged one must not grow every handshake.
const ROUTING_INFO_BYTES_MAX: usize = 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Creds {
    noise_key: Pair,
    signed_identity_key: Pair,
    signed_pre_key: SignedPair,
    registration_id: u32,
    adv_secret_key: Bytes,
    account: Option<Account>,
    me: Option<Me>,
    next_pre_key_id: u32,
    first_unuploaded_pre_key_id: u32,
    routing_info: Option<Bytes>,
    my_app_state_key_id: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Pair {
    public: Bytes,
    private: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignedPair {
    key_pair: Pair,
    signature: Bytes,
    key_id: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    details: Bytes,
    account_signature_key: Bytes,
    account_signature: Bytes,
    device_signature: Bytes,
}

#[derive(Deserialize)]
struct Me {
    id: String,
    lid: Option<String>,
    name: Option<String>,
}

/// What `creds.json` says, all of it checked.
pub(super) struct Identity {
    pub(super) device: Device,
    /// The app-state key that is in use.
    pub(super) sync_key_id: Option<Vec<u8>>,
}

/// Reads and checks `creds.json`.
pub(super) fn parse(bytes: &[u8]) -> Result<Identity, ImportError> {
    let creds: Creds = json::read(bytes).map_err(ImportError::Creds)?;
    let (Some(me), Some(account)) = (creds.me, creds.account) else {
        return Err(ImportError::NotRegistered);
    };
    let mut device = Device::new();
    let (pn, lid) = addresses(&me)?;
    (device.pn, device.lid) = (Some(pn), lid);
    device.push_name = me.name.unwrap_or_default();
    device.registration_id = creds.registration_id;
    device.noise_key = pair("noiseKey", &creds.noise_key).map_err(ImportError::Key)?;
    device.identity_key = pair("signedIdentityKey", &creds.signed_identity_key).map_err(ImportError::Key)?;
    let (signed, signature) = signed_pre_key(&creds.signed_pre_key, &device.identity_key)?;
    device.signed_pre_key = signed;
    device.signed_pre_key_signature = signature;
    device.signed_pre_key_id = creds.signed_pre_key.key_id;
    device.adv_secret_key = creds
        .adv_secret_key
        .array()
        .ok_or_else(|| ImportError::Key(json::wrong_length("advSecretKey", creds.adv_secret_key.as_slice(), 32)))?;
    device.account = Some(Arc::new(vouched(&account)?));
    device.edge_routing_info = creds
        .routing_info
        .filter(|info| (1..=ROUTING_INFO_BYTES_MAX).contains(&info.as_slice().len()))
        .map(|info| info.to_vec());
    let next = creds.next_pre_key_id.clamp(1, PRE_KEY_ID_MAX);
    device.next_pre_key_id = next;
    device.first_unupload_pre_key_id = creds.first_unuploaded_pre_key_id.clamp(1, next);
    device.server_has_prekeys = device.first_unupload_pre_key_id > 1;
    // Neither is in the folder: the first login does the long handshake and asks for everything.
    (device.server_cert_chain, device.props_hash) = (None, None);
    Ok(Identity {
        device,
        sync_key_id: creds.my_app_state_key_id.as_deref().and_then(json::from_base64),
    })
}

/// Our own number and hidden id, each with the number of this device.
fn addresses(me: &Me) -> Result<(Jid, Option<Jid>), ImportError> {
    let pn = parse_jid(&me.id, Server::Pn).filter(|jid| jid.device > 0);
    let pn = pn.ok_or_else(|| bad("me.id", "it is not the address of a linked device"))?;
    let Some(lid) = &me.lid else { return Ok((pn, None)) };
    let mut lid = parse_jid(lid, Server::Lid).ok_or_else(|| bad("me.lid", "it is not a hidden id"))?;
    // Some versions wrote it without the device.
    if lid.device == 0 {
        lid.device = pn.device;
    }
    Ok((pn, Some(lid)))
}

fn parse_jid(text: &str, server: Server) -> Option<Jid> {
    let jid: Jid = text.parse().ok()?;
    let is_number = is_number(&jid.user);
    (jid.server == server && is_number && jid.agent == 0 && jid.integrator == 0).then_some(jid)
}

/// The key pair at `path`, whose halves belong together.
pub(super) fn pair(path: &str, pair: &Pair) -> Result<KeyPair, Fault> {
    let private = private_key(&under(path, "private"), &pair.private)?;
    let public = public_key(&under(path, "public"), &pair.public)?;
    match private.public_key() {
        Ok(derived) if derived == public => Ok(KeyPair::new(public, private)),
        Ok(_) | Err(_) => Err(json::at(path, "its public half does not belong to its private half")),
    }
}

/// The private key at `path`.
pub(super) fn private_key(path: &str, bytes: &Bytes) -> Result<PrivateKey, Fault> {
    PrivateKey::deserialize(bytes.as_slice()).map_err(|_| json::wrong_length(path, bytes.as_slice(), 32))
}

/// The public key at `path`, with its type byte or without.
pub(super) fn public_key(path: &str, bytes: &Bytes) -> Result<PublicKey, Fault> {
    let key = match bytes.as_slice() {
        key @ [_, ..] if key.len() == PublicKey::RAW_KEY_LEN => PublicKey::from_djb_public_key_bytes(key),
        key if key.len() == PublicKey::SERIALIZED_KEY_LEN => PublicKey::deserialize(key),
        key => return Err(json::wrong_length(path, key, "32 or 33")),
    };
    key.map_err(|_| json::at(path, "it is not a key"))
}

fn signed_pre_key(signed: &SignedPair, identity: &KeyPair) -> Result<(KeyPair, [u8; 64]), ImportError> {
    let key = pair("signedPreKey.keyPair", &signed.key_pair).map_err(ImportError::Key)?;
    let path = "signedPreKey.signature";
    let signature = signed
        .signature
        .array()
        .ok_or_else(|| ImportError::Key(json::wrong_length(path, signed.signature.as_slice(), 64)))?;
    if !identity
        .public_key
        .verify_signature(&key.public_key.serialize(), &signature)
    {
        return Err(bad(path, "the key is not signed by signedIdentityKey"));
    }
    if signed.key_id == 0 || signed.key_id > PRE_KEY_ID_MAX {
        return Err(bad("signedPreKey.keyId", "it is out of range"));
    }
    Ok((key, signature))
}

/// What the phone signed when it linked the device. The server sees it with every new chat.
fn vouched(account: &Account) -> Result<wa::ADVSignedDeviceIdentity, ImportError> {
    let fields = [
        ("account.accountSignatureKey", &account.account_signature_key, 32),
        ("account.accountSignature", &account.account_signature, 64),
        ("account.deviceSignature", &account.device_signature, 64),
    ];
    for (name, bytes, length) in fields {
        if bytes.as_slice().len() != length {
            return Err(ImportError::Key(json::wrong_length(name, bytes.as_slice(), length)));
        }
    }
    if account.details.as_slice().is_empty() {
        return Err(bad("account.details", "it is empty"));
    }
    Ok(wa::ADVSignedDeviceIdentity {
        details: Some(account.details.to_vec()),
        account_signature_key: Some(account.account_signature_key.to_vec()),
        account_signature: Some(account.account_signature.to_vec()),
        device_signature: Some(account.device_signature.to_vec()),
    })
}

fn bad(path: &str, why: &str) -> ImportError {
    ImportError::Key(json::at(path, why))
}
