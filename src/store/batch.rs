//! A transaction before it is applied: puts and deletes over named trees.

use super::StoreError;

/// The collections of the store. The number is part of every key on disk: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Tree {
    /// One-off facts: format version, last good web version.
    Meta = 0,
    Device = 1,
    Identity = 2,
    Session = 3,
    PreKey = 4,
    SignedPreKey = 5,
    SenderKey = 6,
    SyncKey = 7,
    SyncVersion = 8,
    MutationMac = 9,
    SenderKeyDevice = 10,
    LidMapping = 11,
    PnMapping = 12,
    BaseKey = 13,
    DeviceList = 14,
    GroupMetadata = 15,
    TcToken = 16,
    SentMessage = 17,
    PendingInbound = 18,
    MessageSecret = 19,
    /// Credentials of a session that WhatsApp ended, kept for a person to look at, never loaded again.
    Quarantine = 20,
    Outbox = 32,
    /// Messages that came in, each once, by their place in the order of arrival.
    Inbound = 33,
    /// Which message stands at which place.
    InboundIdentity = 34,
    /// What happened, by number.
    Journal = 35,
    /// What ended each line, and how each run began.
    LineEnd = 36,
    /// Keys of alerts that are forgotten, by the place of the alert.
    AlertKey = 37,
    /// Digests of tokens and what they may, by their names.
    Token = 38,
}

impl Tree {
    /// The trees that make up one session's credentials and Signal state.
    pub const CREDENTIALS: [Self; 19] = [
        Self::Device,
        Self::Identity,
        Self::Session,
        Self::PreKey,
        Self::SignedPreKey,
        Self::SenderKey,
        Self::SyncKey,
        Self::SyncVersion,
        Self::MutationMac,
        Self::SenderKeyDevice,
        Self::LidMapping,
        Self::PnMapping,
        Self::BaseKey,
        Self::DeviceList,
        Self::GroupMetadata,
        Self::TcToken,
        Self::SentMessage,
        Self::PendingInbound,
        Self::MessageSecret,
    ];

    /// The tree with this number on disk.
    pub fn from_number(number: u8) -> Option<Self> {
        const OTHERS: [Tree; 9] = [
            Tree::Meta,
            Tree::Quarantine,
            Tree::Outbox,
            Tree::Inbound,
            Tree::InboundIdentity,
            Tree::Journal,
            Tree::LineEnd,
            Tree::AlertKey,
            Tree::Token,
        ];
        let mut all = Self::CREDENTIALS.into_iter().chain(OTHERS);
        all.find(|tree| *tree as u8 == number)
    }

    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Device => "device",
            Self::Identity => "identity",
            Self::Session => "session",
            Self::PreKey => "prekey",
            Self::SignedPreKey => "signed-prekey",
            Self::SenderKey => "sender-key",
            Self::SyncKey => "sync-key",
            Self::SyncVersion => "sync-version",
            Self::MutationMac => "mutation-mac",
            Self::SenderKeyDevice => "sender-key-device",
            Self::LidMapping => "lid-mapping",
            Self::PnMapping => "pn-mapping",
            Self::BaseKey => "base-key",
            Self::DeviceList => "device-list",
            Self::GroupMetadata => "group-metadata",
            Self::TcToken => "tc-token",
            Self::SentMessage => "sent-message",
            Self::PendingInbound => "pending-inbound",
            Self::MessageSecret => "message-secret",
            Self::Quarantine => "quarantine",
            Self::Outbox => "outbox",
            Self::Inbound => "inbound",
            Self::InboundIdentity => "inbound-identity",
            Self::Journal => "journal",
            Self::LineEnd => "line-end",
            Self::AlertKey => "alert-key",
            Self::Token => "token",
        }
    }
}

/// sled keeps values over about 128 KiB in files of their own, which it never syncs.
pub const VALUE_BYTES_MAX: usize = 120 * 1024;

pub(super) const TREE_PREFIX_BYTES: usize = 1;

/// All trees live in one sled tree, in the order of their numbers.
pub(super) fn raw_key(tree: Tree, key: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(TREE_PREFIX_BYTES + key.len());
    raw.push(tree as u8);
    raw.extend_from_slice(key);
    raw
}

/// Puts and deletes that become visible together or not at all. Later operations on a key win.
#[derive(Default)]
pub struct Batch {
    pub(super) operations: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    /// # Errors
    /// The value is larger than `VALUE_BYTES_MAX`.
    pub fn put(&mut self, tree: Tree, key: &[u8], value: Vec<u8>) -> Result<(), StoreError> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(StoreError::TooLarge {
                tree: tree.name(),
                size: value.len(),
                max: VALUE_BYTES_MAX,
            });
        }
        self.operations.push((raw_key(tree, key), Some(value)));
        Ok(())
    }

    pub fn delete(&mut self, tree: Tree, key: &[u8]) {
        self.operations.push((raw_key(tree, key), None));
    }

    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}
