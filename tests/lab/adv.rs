//! ADV: how a phone vouches for its companions. Three signatures, each over its own prefix.

use wacore_libsignal::crypto::hmac_sha256;
use wacore_libsignal::protocol::{KeyPair, PublicKey};
use waproto::buffa::Message as _;
use waproto::codec;
use waproto::whatsapp as wa;

use super::node::{now_s, public32};

const PREFIX_ACCOUNT: [u8; 2] = [6, 0];
const PREFIX_DEVICE: [u8; 2] = [6, 1];
const PREFIX_KEY_INDEX_LIST: [u8; 2] = [6, 2];

/// Every companion of the lab has its device number as its key index.
pub fn key_index(device: u16) -> u32 {
    u32::from(device)
}

/// The phone signs a companion's identity. Returns the ADVSignedDeviceIdentity without the device's own signature.
pub fn sign_identity(phone: &KeyPair, raw_id: u32, device: u16, companion: &[u8; 32]) -> wa::ADVSignedDeviceIdentity {
    let details = wa::ADVDeviceIdentity {
        raw_id: Some(raw_id),
        timestamp: Some(now_s()),
        key_index: Some(key_index(device)),
        account_type: Some(wa::ADVEncryptionType::E2EE),
        device_type: Some(wa::ADVEncryptionType::E2EE),
    }
    .encode_to_vec();
    let signature = sign(phone, &[&PREFIX_ACCOUNT, &details, companion]);
    wa::ADVSignedDeviceIdentity {
        details: Some(details),
        account_signature_key: Some(public32(&phone.public_key).to_vec()),
        account_signature: Some(signature),
        device_signature: None,
    }
}

/// Seals it for `pair-success`: the companion checks that it comes from whoever saw its QR code or typed its pair code.
pub fn seal(identity: &wa::ADVSignedDeviceIdentity, adv_secret: &[u8]) -> Vec<u8> {
    let details = codec::adv_signed_device_identity_to_vec(identity);
    let hmac = hmac_sha256(adv_secret, &details).to_vec();
    wa::ADVSignedDeviceIdentityHMAC {
        details: Some(details),
        hmac: Some(hmac),
        account_type: None,
    }
    .encode_to_vec()
}

/// Checks what the companion returned in `pair-device-sign`. Returns the complete identity, account key included.
///
/// # Errors
/// The bytes are no ADVSignedDeviceIdentity, or the companion's signature is wrong.
pub fn countersigned(
    ours: &wa::ADVSignedDeviceIdentity,
    theirs: &[u8],
    companion: &[u8; 32],
) -> Result<Vec<u8>, String> {
    let theirs = codec::adv_signed_device_identity_decode(theirs).map_err(|e| format!("pair-device-sign: {e}"))?;
    let signature = theirs.device_signature.ok_or("pair-device-sign: no device signature")?;
    let details = ours.details.as_deref().unwrap_or_default();
    let account = ours.account_signature_key.as_deref().unwrap_or_default();
    let key = PublicKey::from_djb_public_key_bytes(companion).map_err(|e| e.to_string())?;
    let signed = [&PREFIX_DEVICE[..], details, companion, account].concat();
    if !key.verify_signature(&signed, &signature) {
        return Err("pair-device-sign: the device signature is wrong".into());
    }
    let complete = wa::ADVSignedDeviceIdentity {
        device_signature: Some(signature),
        ..ours.clone()
    };
    Ok(codec::adv_signed_device_identity_to_vec(&complete))
}

/// The signed list of an account's valid key indexes. Without it whatsapp-rust skips the account's companions.
pub fn key_index_list(phone: &KeyPair, raw_id: u32, devices: &[u16]) -> Vec<u8> {
    let indexes: Vec<u32> = devices.iter().map(|device| key_index(*device)).collect();
    let details = codec::adv_key_index_list_to_vec(&wa::ADVKeyIndexList {
        raw_id: Some(raw_id),
        timestamp: Some(now_s()),
        current_index: Some(indexes.iter().copied().max().unwrap_or(0)),
        valid_indexes: indexes,
        account_type: Some(wa::ADVEncryptionType::E2EE),
    });
    let signature = sign(phone, &[&PREFIX_KEY_INDEX_LIST, &details]);
    codec::adv_signed_key_index_list_to_vec(&wa::ADVSignedKeyIndexList {
        details: Some(details),
        account_signature: Some(signature),
        account_signature_key: None,
    })
}

fn sign(key: &KeyPair, parts: &[&[u8]]) -> Vec<u8> {
    key.calculate_signature(&parts.concat(), &mut rand::rng())
        .expect("a fresh key signs")
        .to_vec()
}
