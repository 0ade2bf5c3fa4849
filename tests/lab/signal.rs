//! The Signal state of a simulated phone: real libsignal over maps in memory.
//!
//! None of the stores ever waits, so every call runs to its end at once and the API is blocking.

mod saved;

use std::collections::HashMap;

use async_trait::async_trait;
use futures_lite::future::block_on;
use wacore_libsignal::protocol::{
    CiphertextMessage, DeviceId, Direction, GenericSignedPreKey as _, IdentityChange, IdentityKey, IdentityKeyPair,
    IdentityKeyStore, KeyPair, PreKeyBundle, PreKeyId, PreKeyRecord, PreKeySignalMessage, PreKeyStore, ProtocolAddress,
    PublicKey, SenderKeyDistributionMessage, SenderKeyName, SenderKeyRecord, SenderKeyStore, SessionRecord,
    SessionStore, SignalMessage, SignalProtocolError, SignedPreKeyId, SignedPreKeyRecord, SignedPreKeyStore, Timestamp,
    UsePQRatchet, create_sender_key_distribution_message, group_decrypt, group_encrypt, message_decrypt,
    message_encrypt, process_prekey_bundle, process_sender_key_distribution_message,
};

use super::node::{now_s, public32};
pub use saved::{to_bytes, to_text};

type Result<T> = std::result::Result<T, SignalProtocolError>;

/// The public half of a device's keys, as the server hands it to whoever wants to write to that device.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub registration: u32,
    pub identity: [u8; 32],
    pub signed_id: u32,
    pub signed_public: [u8; 32],
    pub signature: Vec<u8>,
    pub one_time: Option<(u32, [u8; 32])>,
    /// ADVSignedDeviceIdentity; companions have one, phones do not.
    pub device_identity: Option<Vec<u8>>,
}

/// How a message is wrapped: the `type` of `<enc>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncKind {
    PkMsg,
    Msg,
    SkMsg,
}

impl EncKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::PkMsg => "pkmsg",
            Self::Msg => "msg",
            Self::SkMsg => "skmsg",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::PkMsg, Self::Msg, Self::SkMsg]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

pub struct SignalState {
    identity: IdentityKeyPair,
    registration: u32,
    signed_id: u32,
    signed: SignedPreKeys,
    identities: Identities,
    sessions: Sessions,
    prekeys: PreKeys,
    sender_keys: SenderKeys,
    next_prekey: u32,
}

impl SignalState {
    pub fn generate() -> Self {
        let mut rng = rand::rng();
        let identity = IdentityKeyPair::generate(&mut rng);
        let registration = u32::from_be_bytes(super::node::random::<4>()) & 0x3fff | 1;
        let signed_pair = KeyPair::generate(&mut rng);
        let signature =
            KeyPair::from(identity.clone()).calculate_signature(&signed_pair.public_key.serialize(), &mut rng);
        let signature = signature.expect("a fresh key signs");
        let record = SignedPreKeyRecord::new(
            SignedPreKeyId::from(1),
            Timestamp::from_epoch_millis(now_s() * 1000),
            &signed_pair,
            &signature,
        );
        Self {
            identities: Identities {
                own: identity.clone(),
                registration,
                known: HashMap::new(),
            },
            identity,
            registration,
            signed_id: 1,
            signed: SignedPreKeys(HashMap::from([(1, record)])),
            sessions: Sessions::default(),
            prekeys: PreKeys::default(),
            sender_keys: SenderKeys::default(),
            next_prekey: 1,
        }
    }

    pub fn identity_pair(&self) -> KeyPair {
        KeyPair::from(self.identity.clone())
    }

    pub fn identity_public(&self) -> [u8; 32] {
        public32(self.identity.public_key())
    }

    pub fn registration(&self) -> u32 {
        self.registration
    }

    /// Our own bundle, with a one-time prekey made for this very request.
    pub fn bundle(&mut self) -> Bundle {
        let id = self.next_prekey;
        self.next_prekey += 1;
        let pair = KeyPair::generate(&mut rand::rng());
        self.prekeys.0.insert(id, PreKeyRecord::new(PreKeyId::from(id), &pair));
        let signed = &self.signed.0[&self.signed_id];
        Bundle {
            registration: self.registration,
            identity: self.identity_public(),
            signed_id: self.signed_id,
            signed_public: public32(&signed.public_key().expect("we made this record")),
            signature: signed.signature().expect("we made this record"),
            one_time: Some((id, public32(&pair.public_key))),
            device_identity: None,
        }
    }

    pub fn has_session(&self, peer: &str) -> bool {
        self.sessions.0.contains_key(peer)
    }

    pub fn forget_session(&mut self, peer: &str) {
        self.sessions.0.remove(peer);
    }

    pub fn forget_sessions(&mut self) {
        self.sessions.0.clear();
    }

    pub fn forget_sender_keys(&mut self) {
        self.sender_keys.0.clear();
    }

    /// Opens a session to `peer` from its bundle; an older session is archived.
    pub fn open_session(&mut self, peer: &str, bundle: &Bundle) -> Result<()> {
        let key = |bytes: &[u8]| PublicKey::from_djb_public_key_bytes(bytes).map_err(SignalProtocolError::from);
        let one_time = match &bundle.one_time {
            Some((id, public)) => Some((PreKeyId::from(*id), key(public)?)),
            None => None,
        };
        let bundle = PreKeyBundle::new(
            bundle.registration,
            DeviceId::from(0),
            one_time,
            SignedPreKeyId::from(bundle.signed_id),
            key(&bundle.signed_public)?,
            bundle.signature.clone(),
            IdentityKey::new(key(&bundle.identity)?),
        )?;
        let (sessions, identities) = (&mut self.sessions, &mut self.identities);
        block_on(process_prekey_bundle(
            &address(peer),
            sessions,
            identities,
            &bundle,
            &mut rand::rng(),
            UsePQRatchet::No,
        ))?;
        Ok(())
    }

    /// Encrypts for a device we have a session with.
    pub fn encrypt(&mut self, peer: &str, padded: &[u8]) -> Result<(EncKind, Vec<u8>)> {
        let sealed = block_on(message_encrypt(
            padded,
            &address(peer),
            &mut self.sessions,
            &mut self.identities,
        ))?;
        let kind = if matches!(sealed, CiphertextMessage::PreKeySignalMessage(_)) {
            EncKind::PkMsg
        } else {
            EncKind::Msg
        };
        Ok((kind, sealed.serialize().to_vec()))
    }

    /// Decrypts a pkmsg or msg from `peer`. A consumed one-time prekey is deleted, as on a real phone.
    pub fn decrypt(&mut self, peer: &str, kind: EncKind, sealed: &[u8]) -> Result<Vec<u8>> {
        let sealed = match kind {
            EncKind::PkMsg => CiphertextMessage::PreKeySignalMessage(PreKeySignalMessage::try_from(sealed)?),
            EncKind::Msg | EncKind::SkMsg => CiphertextMessage::SignalMessage(SignalMessage::try_from(sealed)?),
        };
        let opened = block_on(message_decrypt(
            &sealed,
            &address(peer),
            &mut self.sessions,
            &mut self.identities,
            &mut self.prekeys,
            &self.signed,
            &mut rand::rng(),
            UsePQRatchet::No,
        ))?;
        if let Some(id) = opened.consumed_prekey_id {
            self.prekeys.0.remove(&u32::from(id));
        }
        Ok(opened.plaintext)
    }

    /// Our sender key for `group`, to be handed to every member's device.
    pub fn distribution(&mut self, group: &str, me: &str) -> Result<Vec<u8>> {
        let name = SenderKeyName::from_parts(group, me);
        let mut rng = rand::rng();
        let message = block_on(create_sender_key_distribution_message(
            &name,
            &mut self.sender_keys,
            &mut rng,
        ))?;
        Ok(message.serialized().to_vec())
    }

    pub fn accept_distribution(&mut self, group: &str, sender: &str, bytes: &[u8]) -> Result<()> {
        let message = SenderKeyDistributionMessage::try_from(bytes)?;
        let name = SenderKeyName::from_parts(group, sender);
        block_on(process_sender_key_distribution_message(
            &name,
            &message,
            &mut self.sender_keys,
        ))
    }

    pub fn group_encrypt(&mut self, group: &str, me: &str, padded: &[u8]) -> Result<Vec<u8>> {
        let name = SenderKeyName::from_parts(group, me);
        Ok(
            block_on(group_encrypt(&mut self.sender_keys, &name, padded, &mut rand::rng()))?
                .serialized()
                .to_vec(),
        )
    }

    pub fn group_decrypt(&mut self, group: &str, sender: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        block_on(group_decrypt(
            sealed,
            &mut self.sender_keys,
            &SenderKeyName::from_parts(group, sender),
        ))
    }
}

fn address(peer: &str) -> ProtocolAddress {
    ProtocolAddress::new(peer, DeviceId::from(0))
}

struct Identities {
    own: IdentityKeyPair,
    registration: u32,
    known: HashMap<String, IdentityKey>,
}

#[async_trait]
impl IdentityKeyStore for Identities {
    async fn get_identity_key_pair(&self) -> Result<IdentityKeyPair> {
        Ok(self.own.clone())
    }

    async fn get_local_registration_id(&self) -> Result<u32> {
        Ok(self.registration)
    }

    async fn save_identity(&mut self, address: &ProtocolAddress, identity: &IdentityKey) -> Result<IdentityChange> {
        let old = self.known.insert(address.name().to_owned(), *identity);
        Ok(IdentityChange::from_changed(old.is_some_and(|old| old != *identity)))
    }

    /// Trusts everybody: a phone shows a notice when a key changes, it does not refuse the message.
    async fn is_trusted_identity(&self, _: &ProtocolAddress, _: &IdentityKey, _: Direction) -> Result<bool> {
        Ok(true)
    }

    async fn get_identity(&self, address: &ProtocolAddress) -> Result<Option<IdentityKey>> {
        Ok(self.known.get(address.name()).copied())
    }
}

#[derive(Default)]
struct Sessions(HashMap<String, SessionRecord>);

#[async_trait]
impl SessionStore for Sessions {
    async fn load_session(&self, address: &ProtocolAddress) -> Result<Option<SessionRecord>> {
        Ok(self.0.get(address.name()).cloned())
    }

    async fn has_session(&self, address: &ProtocolAddress) -> Result<bool> {
        Ok(self.0.contains_key(address.name()))
    }

    async fn store_session(&mut self, address: &ProtocolAddress, record: SessionRecord) -> Result<()> {
        self.0.insert(address.name().to_owned(), record);
        Ok(())
    }
}

#[derive(Default)]
struct PreKeys(HashMap<u32, PreKeyRecord>);

#[async_trait]
impl PreKeyStore for PreKeys {
    async fn get_pre_key(&self, id: PreKeyId) -> Result<PreKeyRecord> {
        self.0
            .get(&u32::from(id))
            .cloned()
            .ok_or(SignalProtocolError::InvalidPreKeyId)
    }

    async fn save_pre_key(&mut self, id: PreKeyId, record: &PreKeyRecord) -> Result<()> {
        self.0.insert(u32::from(id), record.clone());
        Ok(())
    }

    async fn remove_pre_key(&mut self, id: PreKeyId) -> Result<()> {
        self.0.remove(&u32::from(id));
        Ok(())
    }
}

struct SignedPreKeys(HashMap<u32, SignedPreKeyRecord>);

#[async_trait]
impl SignedPreKeyStore for SignedPreKeys {
    async fn get_signed_pre_key(&self, id: SignedPreKeyId) -> Result<SignedPreKeyRecord> {
        self.0
            .get(&u32::from(id))
            .cloned()
            .ok_or(SignalProtocolError::InvalidSignedPreKeyId)
    }

    async fn save_signed_pre_key(&mut self, id: SignedPreKeyId, record: &SignedPreKeyRecord) -> Result<()> {
        self.0.insert(u32::from(id), record.clone());
        Ok(())
    }
}

#[derive(Default)]
struct SenderKeys(HashMap<String, SenderKeyRecord>);

#[async_trait]
impl SenderKeyStore for SenderKeys {
    async fn store_sender_key(&mut self, name: &SenderKeyName, record: SenderKeyRecord) -> Result<()> {
        self.0.insert(name.cache_key().to_owned(), record);
        Ok(())
    }

    async fn load_sender_key(&self, name: &SenderKeyName) -> Result<Option<SenderKeyRecord>> {
        Ok(self.0.get(name.cache_key()).cloned())
    }
}
