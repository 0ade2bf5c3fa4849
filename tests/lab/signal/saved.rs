//! A phone's Signal state as JSON and back, so that a test can go on where an earlier lab stopped.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use wacore_libsignal::protocol::{
    GenericSignedPreKey as _, IdentityKey, IdentityKeyPair, PreKeyRecord, PrivateKey, SenderKeyRecord, SessionRecord,
    SignedPreKeyRecord,
};

use super::{Identities, PreKeys, SenderKeys, Sessions, SignalState, SignedPreKeys};

pub fn to_text(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}

/// # Panics
/// It is not what [`to_text`] made.
pub fn to_bytes(text: &Value) -> Vec<u8> {
    STANDARD.decode(text.as_str().expect("text")).expect("base64")
}

fn table<K: ToString, V>(rows: &HashMap<K, V>, bytes: impl Fn(&V) -> Vec<u8>) -> Value {
    let rows = rows
        .iter()
        .map(|(key, value)| (key.to_string(), to_text(&bytes(value))));
    Value::Object(rows.collect::<Map<_, _>>())
}

fn rows<K: std::str::FromStr<Err: std::fmt::Debug> + Eq + std::hash::Hash, V>(
    table: &Value,
    value: impl Fn(&[u8]) -> V,
) -> HashMap<K, V> {
    let table = table.as_object().expect("a table");
    table
        .iter()
        .map(|(key, bytes)| (key.parse().expect("a key"), value(&to_bytes(bytes))))
        .collect()
}

impl SignalState {
    pub fn save(&self) -> Value {
        json!({
            "private": to_text(self.identity.private_key().serialize()),
            "registration": self.registration,
            "signed_id": self.signed_id,
            "signed": table(&self.signed.0, |record| record.serialize().expect("serializes")),
            "known": table(&self.identities.known, |key| key.serialize().to_vec()),
            "sessions": table(&self.sessions.0, |record| record.serialize().expect("serializes").to_vec()),
            "prekeys": table(&self.prekeys.0, |record| record.serialize().expect("serializes")),
            "sender_keys": table(&self.sender_keys.0, |record| record.serialize().expect("serializes").to_vec()),
            "next_prekey": self.next_prekey,
        })
    }

    /// # Panics
    /// `saved` is not of [`save`](Self::save).
    pub fn restore(saved: &Value) -> Self {
        let number = |name: &str| u32::try_from(saved[name].as_u64().expect("a number")).expect("32 bits");
        let private = PrivateKey::deserialize(&to_bytes(&saved["private"])).expect("a key");
        let public = IdentityKey::new(private.public_key().expect("a key"));
        let identity = IdentityKeyPair::new(public, private);
        Self {
            registration: number("registration"),
            signed_id: number("signed_id"),
            signed: SignedPreKeys(rows(&saved["signed"], |b| {
                SignedPreKeyRecord::deserialize(b).expect("a record")
            })),
            identities: Identities {
                own: identity.clone(),
                registration: number("registration"),
                known: rows(&saved["known"], |b| IdentityKey::decode(b).expect("a key")),
            },
            sessions: Sessions(rows(&saved["sessions"], |b| {
                SessionRecord::deserialize(b).expect("a record")
            })),
            prekeys: PreKeys(rows(&saved["prekeys"], |b| {
                PreKeyRecord::deserialize(b).expect("a record")
            })),
            sender_keys: SenderKeys(rows(&saved["sender_keys"], |b| {
                SenderKeyRecord::deserialize(b).expect("a record")
            })),
            next_prekey: number("next_prekey"),
            identity,
        }
    }
}
