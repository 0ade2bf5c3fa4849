//! A login that has been read, and how much of it there is.

use std::collections::BTreeMap;
use std::fmt;

use wacore::appstate::hash::HashState;
use wacore::appstate::processor::AppStateMutationMAC;
use wacore::store::Device;
use wacore::store::traits::{AppStateSyncKey, LidPnMappingEntry, TcTokenEntry};
use zeroize::Zeroizing;

/// A file that was not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name in the folder.
    pub file: String,
    /// One line, without anything of its content.
    pub reason: String,
}

/// A login with everything that belongs to it, checked and in the library's types.
pub struct Imported {
    pub(in crate::credentials) device: Device,
    /// Number, record, whether the server has it.
    pub(in crate::credentials) pre_keys: BTreeMap<u32, (Zeroizing<Vec<u8>>, bool)>,
    /// By the library's address of the peer's device, as are the identities.
    pub(in crate::credentials) sessions: BTreeMap<String, Zeroizing<Vec<u8>>>,
    pub(in crate::credentials) identities: BTreeMap<String, [u8; 32]>,
    /// By the library's name for group and sender.
    pub(in crate::credentials) sender_keys: BTreeMap<String, Zeroizing<Vec<u8>>>,
    /// By group: devices, and whether they have our sender key.
    pub(in crate::credentials) sender_key_devices: BTreeMap<String, Vec<(String, bool)>>,
    pub(in crate::credentials) sync_keys: BTreeMap<Vec<u8>, AppStateSyncKey>,
    pub(in crate::credentials) sync_key_in_use: Option<Vec<u8>>,
    pub(in crate::credentials) sync_versions: BTreeMap<String, (HashState, Vec<AppStateMutationMAC>)>,
    pub(in crate::credentials) mappings: Vec<LidPnMappingEntry>,
    /// By hidden id where it is known, else by number.
    pub(in crate::credentials) tokens: BTreeMap<String, TcTokenEntry>,
    pub(super) left_out: Vec<LeftOut>,
}

/// How much was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    pub pre_keys: usize,
    pub sessions: usize,
    pub identities: usize,
    pub sender_keys: usize,
    /// Groups in which it is known who has our sender key.
    pub groups: usize,
    pub app_state_keys: usize,
    pub app_state_collections: usize,
    pub hidden_ids: usize,
    pub tokens: usize,
}

impl Imported {
    pub fn counts(&self) -> Counts {
        Counts {
            pre_keys: self.pre_keys.len(),
            sessions: self.sessions.len(),
            identities: self.identities.len(),
            sender_keys: self.sender_keys.len(),
            groups: self.sender_key_devices.len(),
            app_state_keys: self.sync_keys.len(),
            app_state_collections: self.sync_versions.len(),
            hidden_ids: self.mappings.len(),
            tokens: self.tokens.len(),
        }
    }

    /// What was not taken, by file name.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// The number of the account, digits only.
    pub fn number(&self) -> &str {
        self.device.pn.as_ref().map_or("", |pn| pn.user.as_str())
    }
}

impl fmt::Debug for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Imported({:?}, {} left out)", self.counts(), self.left_out.len())
    }
}
