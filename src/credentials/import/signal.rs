//! Ratchets and keys of chats: `pre-key-*`, `session-*`, `sender-key-*`, `identity-key-*`.

use serde::Deserialize;
use wacore::libsignal::protocol::{
    IdentityKey, LegacyIndexedSessionV1, LegacySessionBaseKeyRoleV1, LegacySessionChainCounterV1,
    LegacySessionChainKeyV1, LegacySessionChainRoleV1, LegacySessionChainV1, LegacySessionDispositionV1,
    LegacySessionIndexV1, LegacySessionKeyPairV1, LegacySessionLocalContext, LegacySessionMessageKeyV1,
    LegacySessionPendingPreKeyV1, LegacySessionRatchetV1, LegacySessionRecordV1, LegacySessionV1, PublicKey,
    SenderChainKeyComponents, SenderKeyRecord, SenderKeyRecordComponents, SenderKeyStateComponents,
    SenderMessageKeyComponents, SenderSigningKeyComponents,
};
use wacore::libsignal::store::record_helpers::encode_pre_key_record_to;
use zeroize::Zeroizing;

use super::creds::{self, Pair};
use super::json::{self, Bytes, Fault, Int, Pairs};
use super::place::under;

/// The version that every session file of Baileys names.
const SESSION_VERSION: &str = "v1";

/// Private keys, root keys, chain keys, and the seeds of messages.
const SYMMETRIC_BYTES: usize = 32;

/// States that a sender key keeps, newest first; the library's own limit.
const SENDER_KEY_STATES_MAX: usize = 5;

/// A one-time pre-key, as the library stores it.
pub(super) fn pre_key(id: u32, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let pair = creds::pair("", &json::read::<Pair>(bytes)?)?;
    let mut record = Vec::new();
    encode_pre_key_record_to(id, &pair, &mut record);
    Ok(record.into())
}

/// The identity key of a peer's device.
pub(super) fn identity_key(bytes: &[u8]) -> Result<[u8; 32], Fault> {
    let key = creds::public_key("", &json::read::<Bytes>(bytes)?)?;
    key.public_key_bytes().try_into().map_err(|_| "it is not a key".into())
}

#[derive(Deserialize)]
struct SessionFile {
    version: String,
    #[serde(rename = "_sessions")]
    sessions: Pairs<SessionJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SessionJson {
    registration_id: u32,
    current_ratchet: RatchetJson,
    index_info: IndexJson,
    #[serde(rename = "_chains")]
    chains: Pairs<ChainJson>,
    pending_pre_key: Option<PendingJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RatchetJson {
    ephemeral_key_pair: RatchetKeysJson,
    last_remote_ephemeral_key: Bytes,
    previous_counter: i64,
    root_key: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RatchetKeysJson {
    pub_key: Bytes,
    priv_key: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexJson {
    base_key: Bytes,
    base_key_type: u32,
    closed: i64,
    #[serde(default)]
    used: Int,
    #[serde(default)]
    created: Int,
    remote_identity_key: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChainJson {
    chain_key: ChainKeyJson,
    chain_type: u32,
    #[serde(default)]
    message_keys: Pairs<Bytes>,
}

#[derive(Deserialize)]
struct ChainKeyJson {
    counter: i64,
    key: Option<Bytes>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PendingJson {
    pre_key_id: Option<u32>,
    signed_key_id: u32,
    base_key: Bytes,
}

/// A peer's session, ready to be stored.
pub(super) struct Session {
    pub(super) record: Zeroizing<Vec<u8>>,
    /// Who the peer proved to be in the session that is open; none if all are closed.
    pub(super) identity: Option<[u8; 32]>,
}

/// All sessions with one device: the open one and the closed ones that late messages may still need. `None` for a file
/// without any.
pub(super) fn session(bytes: &[u8], context: LegacySessionLocalContext) -> Result<Option<Session>, Fault> {
    let file: SessionFile = json::read(bytes)?;
    if file.version != SESSION_VERSION {
        return Err(json::at("version", format!("it is not {SESSION_VERSION}")));
    }
    if file.sessions.0.is_empty() {
        return Ok(None);
    }
    let mut identity = None;
    let mut sessions = Vec::with_capacity(file.sessions.0.len());
    for (number, (base_key, session)) in (1..).zip(file.sessions.0) {
        let path = format!("_sessions.#{number}");
        if session.index_info.closed == -1 {
            let key = under(&path, "indexInfo.remoteIdentityKey");
            let key = creds::public_key(&key, &session.index_info.remote_identity_key)?;
            identity = key.public_key_bytes().try_into().ok();
        }
        sessions.push(LegacyIndexedSessionV1 {
            index_key: json::from_base64(&base_key)
                .ok_or_else(|| json::at(&path, "its name is not base64"))?
                .into(),
            session: one_session(&path, session)?,
        });
    }
    // The library's faults name fields, never values.
    let record = LegacySessionRecordV1::from_indexed_sessions(sessions)
        .and_then(|record| record.into_session_record(context))
        .map_err(|error| error.to_string())?;
    let record = record.serialize().map_err(|_| "its session has no stored form")?;
    Ok(Some(Session {
        record: record.to_vec().into(),
        identity,
    }))
}

fn one_session(path: &str, session: SessionJson) -> Result<LegacySessionV1, Fault> {
    let not_known = |name: &str| json::at(&under(path, name), "it is not a value that is known");
    let (ratchet, index) = (session.current_ratchet, session.index_info);
    // The library asks for the same, and names a session by its place in an order of its own.
    let keys = &ratchet.ephemeral_key_pair;
    serialized(&under(path, "currentRatchet.ephemeralKeyPair.pubKey"), &keys.pub_key)?;
    symmetric(&under(path, "currentRatchet.ephemeralKeyPair.privKey"), &keys.priv_key)?;
    let last_remote = under(path, "currentRatchet.lastRemoteEphemeralKey");
    serialized(&last_remote, &ratchet.last_remote_ephemeral_key)?;
    symmetric(&under(path, "currentRatchet.rootKey"), &ratchet.root_key)?;
    serialized(&under(path, "indexInfo.baseKey"), &index.base_key)?;
    serialized(&under(path, "indexInfo.remoteIdentityKey"), &index.remote_identity_key)?;
    let timestamp = |time: Int| u64::try_from(time.0).unwrap_or(0);
    let chains = (1..).zip(session.chains.0);
    let chains: Result<_, Fault> = chains
        .map(|(number, chain)| one_chain(&format!("{path}._chains.#{number}"), chain))
        .collect();
    Ok(LegacySessionV1 {
        registration_id: session.registration_id,
        ratchet: LegacySessionRatchetV1 {
            key_pair: LegacySessionKeyPairV1 {
                public: ratchet.ephemeral_key_pair.pub_key.to_vec().into(),
                private: ratchet.ephemeral_key_pair.priv_key.to_vec().into(),
            },
            last_remote_ephemeral_key: ratchet.last_remote_ephemeral_key.to_vec().into(),
            previous_counter: ratchet.previous_counter,
            root_key: ratchet.root_key.to_vec().into(),
        },
        index: LegacySessionIndexV1 {
            base_key: index.base_key.to_vec().into(),
            base_key_role: LegacySessionBaseKeyRoleV1::try_from(index.base_key_type)
                .map_err(|_| not_known("indexInfo.baseKeyType"))?,
            disposition: LegacySessionDispositionV1::from_closed_timestamp(index.closed)
                .map_err(|_| not_known("indexInfo.closed"))?,
            used_at_ms: timestamp(index.used),
            created_at_ms: timestamp(index.created),
            remote_identity_key: index.remote_identity_key.to_vec().into(),
        },
        chains: chains?,
        pending_pre_key: session.pending_pre_key.map(|pending| LegacySessionPendingPreKeyV1 {
            pre_key_id: pending.pre_key_id,
            signed_pre_key_id: pending.signed_key_id,
            base_key: pending.base_key.to_vec().into(),
        }),
    })
}

fn one_chain(path: &str, (ratchet_key, chain): (String, ChainJson)) -> Result<LegacySessionChainV1, Fault> {
    let not_known = |name: &str| json::at(&under(path, name), "it is not a value that is known");
    if let Some(key) = &chain.chain_key.key {
        symmetric(&under(path, "chainKey.key"), key)?;
    }
    let message_keys = (1..).zip(chain.message_keys.0);
    let message_keys: Result<_, Fault> = message_keys
        .map(|(number, (index, seed))| {
            let path = format!("{path}.messageKeys.#{number}");
            symmetric(&path, &seed)?;
            let index = index.parse().map_err(|_| json::at(&path, "its name is not a number"))?;
            let seed = seed.to_vec().into();
            Ok(LegacySessionMessageKeyV1 { index, seed })
        })
        .collect();
    Ok(LegacySessionChainV1 {
        ratchet_key: json::from_base64(&ratchet_key)
            .ok_or_else(|| json::at(path, "its name is not base64"))?
            .into(),
        role: LegacySessionChainRoleV1::try_from(chain.chain_type).map_err(|_| not_known("chainType"))?,
        chain_key: LegacySessionChainKeyV1 {
            counter: LegacySessionChainCounterV1::new(chain.chain_key.counter)
                .map_err(|_| not_known("chainKey.counter"))?,
            key: chain.chain_key.key.map(|key| key.to_vec().into()),
        },
        message_keys: message_keys?,
    })
}

/// What sessions know of us beside their own content.
pub(super) fn context(identity: IdentityKey, registration_id: u32) -> LegacySessionLocalContext {
    LegacySessionLocalContext {
        identity_key: identity,
        registration_id,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SenderStateJson {
    sender_key_id: u32,
    sender_chain_key: SenderChainJson,
    sender_signing_key: SigningJson,
    #[serde(default)]
    sender_message_keys: Vec<SenderChainJson>,
}

/// A chain or one of its skipped messages: they have the same fields.
#[derive(Deserialize)]
struct SenderChainJson {
    iteration: u32,
    seed: Bytes,
}

#[derive(Deserialize)]
struct SigningJson {
    public: Bytes,
    private: Option<Bytes>,
}

/// A sender key of a group. `own` is the one that we write with: it needs its private half. `None` for a file without
/// any state.
pub(super) fn sender_key(bytes: &[u8], own: bool) -> Result<Option<Zeroizing<Vec<u8>>>, Fault> {
    // JSON as bytes inside JSON.
    let inner: Bytes = json::read(bytes)?;
    let states: Vec<SenderStateJson> = json::read(inner.as_slice())?;
    // Newest last there, newest first here.
    let states: Result<Vec<_>, Fault> = states
        .into_iter()
        .enumerate()
        .rev()
        .take(SENDER_KEY_STATES_MAX)
        .map(|(index, state)| one_state(&format!("[{index}]"), state, own))
        .collect();
    let states = states?;
    if states.is_empty() {
        return Ok(None);
    }
    let record = SenderKeyRecord::from_components(SenderKeyRecordComponents { states })
        .map_err(|_| "its sender key is not whole")?;
    let record = record.serialize().map_err(|_| "its sender key has no stored form")?;
    Ok(Some(record.to_vec().into()))
}

fn one_state(path: &str, state: SenderStateJson, own: bool) -> Result<SenderKeyStateComponents, Fault> {
    let signing = under(path, "senderSigningKey");
    let public = creds::public_key(&under(&signing, "public"), &state.sender_signing_key.public)?;
    let private = state
        .sender_signing_key
        .private
        .filter(|private| !private.as_slice().is_empty());
    if let Some(private) = &private {
        let derived = creds::private_key(&under(&signing, "private"), private)?.public_key();
        if derived.ok() != Some(public) {
            return Err(json::at(
                &signing,
                "its public half does not belong to its private half",
            ));
        }
    } else if own {
        let why = "it is missing, and the sender key is our own";
        return Err(json::at(&under(&signing, "private"), why));
    }
    symmetric(&under(path, "senderChainKey.seed"), &state.sender_chain_key.seed)?;
    for (index, key) in state.sender_message_keys.iter().enumerate() {
        symmetric(&under(path, &format!("senderMessageKeys[{index}].seed")), &key.seed)?;
    }
    Ok(SenderKeyStateComponents {
        key_id: state.sender_key_id,
        chain_key: SenderChainKeyComponents {
            iteration: state.sender_chain_key.iteration,
            seed: state.sender_chain_key.seed.to_vec(),
        },
        signing_key: SenderSigningKeyComponents {
            public: public.serialize().to_vec(),
            private: private.map(|private| private.to_vec()),
        },
        message_keys: state
            .sender_message_keys
            .iter()
            .map(|key| SenderMessageKeyComponents {
                iteration: key.iteration,
                seed: key.seed.to_vec(),
            })
            .collect(),
    })
}

/// The public key at `path` has its type byte.
fn serialized(path: &str, key: &Bytes) -> Result<(), Fault> {
    match key.as_slice().len() {
        PublicKey::SERIALIZED_KEY_LEN => creds::public_key(path, key).map(drop),
        _ => Err(json::wrong_length(path, key.as_slice(), PublicKey::SERIALIZED_KEY_LEN)),
    }
}

/// The symmetric key at `path` has the length of one.
fn symmetric(path: &str, key: &Bytes) -> Result<(), Fault> {
    match key.as_slice().len() {
        SYMMETRIC_BYTES => Ok(()),
        _ => Err(json::wrong_length(path, key.as_slice(), SYMMETRIC_BYTES)),
    }
}
