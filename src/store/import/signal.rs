//! Ratchets and keys of chats: `pre-key-*`, `session-*`, `sender-key-*`, `identity-key-*`.

use serde::Deserialize;
use wacore::libsignal::protocol::{
    IdentityKey, LegacyIndexedSessionV1, LegacySessionBaseKeyRoleV1, LegacySessionChainCounterV1,
    LegacySessionChainKeyV1, LegacySessionChainRoleV1, LegacySessionChainV1, LegacySessionDispositionV1,
    LegacySessionIndexV1, LegacySessionKeyPairV1, LegacySessionLocalContext, LegacySessionMessageKeyV1,
    LegacySessionPendingPreKeyV1, LegacySessionRatchetV1, LegacySessionRecordV1, LegacySessionV1, PrivateKey,
    SenderChainKeyComponents, SenderKeyRecord, SenderKeyRecordComponents, SenderKeyStateComponents,
    SenderMessageKeyComponents, SenderSigningKeyComponents,
};
use wacore::libsignal::store::record_helpers::encode_pre_key_record_to;
use zeroize::Zeroizing;

use super::creds::{self, Pair};
use super::json::{self, Bytes, Fault, Int, Pairs};

/// The version that every session file of Baileys names.
const SESSION_VERSION: &str = "v1";

/// States that a sender key keeps, newest first; the library's own limit.
const SENDER_KEY_STATES_MAX: usize = 5;

/// A one-time pre-key, as the library stores it.
pub(super) fn pre_key(id: u32, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let pair = creds::pair(&json::read::<Pair>(bytes)?)?;
    let mut record = Vec::new();
    encode_pre_key_record_to(id, &pair, &mut record);
    Ok(record.into())
}

/// The identity key of a peer's device.
pub(super) fn identity_key(bytes: &[u8]) -> Result<[u8; 32], Fault> {
    let key = creds::public_key(&json::read::<Bytes>(bytes)?)?;
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
        return Err(format!("its sessions are not of version {SESSION_VERSION}"));
    }
    if file.sessions.0.is_empty() {
        return Ok(None);
    }
    let mut identity = None;
    let mut sessions = Vec::with_capacity(file.sessions.0.len());
    for (base_key, session) in file.sessions.0 {
        if session.index_info.closed == -1 {
            let key = creds::public_key(&session.index_info.remote_identity_key)?;
            identity = key.public_key_bytes().try_into().ok();
        }
        sessions.push(LegacyIndexedSessionV1 {
            index_key: json::from_base64(&base_key)
                .ok_or("a session's name is not a key")?
                .into(),
            session: one_session(session)?,
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

fn one_session(session: SessionJson) -> Result<LegacySessionV1, Fault> {
    let (ratchet, index) = (session.current_ratchet, session.index_info);
    let timestamp = |time: Int| u64::try_from(time.0).unwrap_or(0);
    let chains: Result<_, Fault> = session.chains.0.into_iter().map(one_chain).collect();
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
            base_key_role: LegacySessionBaseKeyRoleV1::try_from(index.base_key_type).map_err(|e| e.to_string())?,
            disposition: LegacySessionDispositionV1::from_closed_timestamp(index.closed).map_err(|e| e.to_string())?,
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

fn one_chain((ratchet_key, chain): (String, ChainJson)) -> Result<LegacySessionChainV1, Fault> {
    let message_keys: Result<_, Fault> = chain
        .message_keys
        .0
        .into_iter()
        .map(|(index, seed)| {
            let index = index.parse().map_err(|_| "a skipped message has no number")?;
            let seed = seed.to_vec().into();
            Ok(LegacySessionMessageKeyV1 { index, seed })
        })
        .collect();
    Ok(LegacySessionChainV1 {
        ratchet_key: json::from_base64(&ratchet_key)
            .ok_or("a chain's name is not a key")?
            .into(),
        role: LegacySessionChainRoleV1::try_from(chain.chain_type).map_err(|e| e.to_string())?,
        chain_key: LegacySessionChainKeyV1 {
            counter: LegacySessionChainCounterV1::new(chain.chain_key.counter).map_err(|e| e.to_string())?,
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

/// A sender key of a group. `own` is the one that we write with: it needs its private half. `None` for a file without any
/// state.
pub(super) fn sender_key(bytes: &[u8], own: bool) -> Result<Option<Zeroizing<Vec<u8>>>, Fault> {
    // JSON as bytes inside JSON.
    let inner: Bytes = json::read(bytes)?;
    let states: Vec<SenderStateJson> = json::read(inner.as_slice())?;
    // Newest last there, newest first here.
    let states: Result<Vec<_>, Fault> = states
        .into_iter()
        .rev()
        .take(SENDER_KEY_STATES_MAX)
        .map(|state| one_state(state, own))
        .collect();
    let states = states?;
    if states.is_empty() {
        return Ok(None);
    }
    let record = SenderKeyRecord::from_components(SenderKeyRecordComponents { states })
        .map_err(|_| "a seed or a key in it has a wrong length")?;
    let record = record.serialize().map_err(|_| "its sender key has no stored form")?;
    Ok(Some(record.to_vec().into()))
}

fn one_state(state: SenderStateJson, own: bool) -> Result<SenderKeyStateComponents, Fault> {
    let public = creds::public_key(&state.sender_signing_key.public)?;
    let private = state
        .sender_signing_key
        .private
        .filter(|private| !private.as_slice().is_empty());
    if let Some(private) = &private {
        let derived = PrivateKey::deserialize(private.as_slice()).and_then(|key| key.public_key());
        if derived.ok() != Some(public) {
            return Err("its signing key's halves do not belong together".into());
        }
    } else if own {
        return Err("it is our own, and its private half is missing".into());
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
