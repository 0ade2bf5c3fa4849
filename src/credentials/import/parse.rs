//! From the files of a folder to one login.

use std::collections::{BTreeMap, BTreeSet};

use wacore::libsignal::protocol::{IdentityKey, LegacySessionLocalContext};
use wacore::store::Device;
use wacore::store::traits::{LidPnMappingEntry, TcTokenEntry};
use wacore::types::jid::{JidExt as _, make_sender_key_name};
use wacore_binary::Jid;
use zeroize::Zeroizing;

use super::names::{Kind, Named};
use super::number::is_number;
use super::{ImportError, Imported, LeftOut, creds, json, names, signal, state};

/// A file of the folder: its name, and its bytes or why they could not be read.
pub type File = (String, Result<Zeroizing<Vec<u8>>, String>);

/// Makes a login of `creds.json` and the folder's other files. Looks at nothing else.
///
/// # Errors
/// `creds` is not a finished login, or is damaged.
pub fn parse(creds: &[u8], files: impl IntoIterator<Item = File>) -> Result<Imported, ImportError> {
    let identity = creds::parse(creds)?;
    let mut reader = Reader::new(identity.device, identity.sync_key_id);
    for (file, bytes) in files {
        match names::sort(&file) {
            Named::Leave => {}
            Named::Strange => reader.leave_out(file, "its name does not say what it is".into()),
            Named::Take(kind) => {
                reader.note_number(&kind);
                let taken = bytes.and_then(|bytes| reader.take(&file, kind, &bytes));
                if let Err(reason) = taken {
                    reader.leave_out(file, reason);
                }
            }
        }
    }
    Ok(reader.finish())
}

/// What has been read so far, and what only makes sense once all has been.
struct Reader {
    imported: Imported,
    context: LegacySessionLocalContext,
    /// Identities that open sessions have shown; a file of its own counts for more.
    shown: BTreeMap<String, [u8; 32]>,
    /// Hidden ids by number.
    lids: BTreeMap<String, String>,
    /// Groups that we have a sender key of our own for.
    own_groups: BTreeSet<String>,
    memories: Vec<Memory>,
    /// User, whether that is a hidden id, token.
    tokens: Vec<(String, bool, TcTokenEntry)>,
}

/// Who has our sender key of a group, by a file that only counts where that key is.
struct Memory {
    file: String,
    group: String,
    devices: Vec<(String, bool)>,
}

impl Reader {
    fn new(device: Device, sync_key_in_use: Option<Vec<u8>>) -> Self {
        let identity = IdentityKey::new(device.identity_key.public_key);
        Self {
            context: signal::context(identity, device.registration_id),
            imported: Imported {
                device,
                pre_keys: BTreeMap::new(),
                sessions: BTreeMap::new(),
                identities: BTreeMap::new(),
                sender_keys: BTreeMap::new(),
                sender_key_devices: BTreeMap::new(),
                sync_keys: BTreeMap::new(),
                sync_key_in_use,
                sync_versions: BTreeMap::new(),
                mappings: Vec::new(),
                tokens: BTreeMap::new(),
                left_out: Vec::new(),
            },
            shown: BTreeMap::new(),
            lids: BTreeMap::new(),
            own_groups: BTreeSet::new(),
            memories: Vec::new(),
            tokens: Vec::new(),
        }
    }

    fn leave_out(&mut self, file: String, reason: String) {
        self.imported.left_out.push(LeftOut { file, reason });
    }

    /// A number that was given counts whether or not its key can be read.
    fn note_number(&mut self, kind: &Kind) {
        if let Kind::PreKey(id) = kind {
            let device = &mut self.imported.device;
            device.next_pre_key_id = device.next_pre_key_id.max(id.saturating_add(1));
        }
    }

    fn take(&mut self, file: &str, kind: Kind, bytes: &[u8]) -> Result<(), json::Fault> {
        let imported = &mut self.imported;
        match kind {
            Kind::PreKey(id) => {
                let uploaded = id < imported.device.first_unupload_pre_key_id;
                imported.pre_keys.insert(id, (signal::pre_key(id, bytes)?, uploaded));
            }
            Kind::Session(peer) => {
                if let Some(session) = signal::session(bytes, self.context)? {
                    let address = peer.to_protocol_address_string();
                    self.shown.extend(session.identity.map(|key| (address.clone(), key)));
                    imported.sessions.insert(address, session.record);
                }
            }
            Kind::Identity(peer) => {
                let address = peer.to_protocol_address_string();
                imported.identities.insert(address, signal::identity_key(bytes)?);
            }
            Kind::SenderKey { group, sender } => {
                let own = is_own(&imported.device, &sender);
                if let Some(record) = signal::sender_key(bytes, own)? {
                    let name = make_sender_key_name(&group, &sender.to_protocol_address());
                    imported.sender_keys.insert(name.cache_key().to_owned(), record);
                    if own {
                        self.own_groups.insert(group.to_string());
                    }
                }
            }
            Kind::SenderKeyMemory(group) => {
                self.memories.push(Memory {
                    file: file.to_owned(),
                    group: group.to_string(),
                    devices: known_devices(state::memory(bytes)?)?,
                });
            }
            Kind::SyncKey(id) => {
                imported.sync_keys.insert(id, state::sync_key(bytes)?);
            }
            Kind::SyncVersion(collection) => {
                imported.sync_versions.insert(collection, state::sync_version(bytes)?);
            }
            Kind::LidMapping(number) => {
                self.lids.insert(number, state::mapped(bytes)?);
            }
            Kind::Token { user, lid } => {
                let token = state::token(bytes)?;
                self.tokens.extend(token.map(|token| (user, lid, token)));
            }
        }
        Ok(())
    }

    /// Puts in order what depends on more than one file.
    fn finish(mut self) -> Imported {
        let imported = &mut self.imported;
        for (address, key) in self.shown {
            imported.identities.entry(address).or_insert(key);
        }
        for Memory { file, group, devices } in self.memories {
            if self.own_groups.contains(&group) {
                imported.sender_key_devices.insert(group, devices);
            } else {
                // A new sender key is made at the first message, and everybody needs that one.
                let reason = "our own sender key of that group is not there".into();
                imported.left_out.push(LeftOut { file, reason });
            }
        }
        for (user, lid, token) in self.tokens {
            let user = match self.lids.get(&user) {
                Some(hidden) if !lid => hidden.clone(),
                Some(_) | None => user,
            };
            imported.tokens.insert(user, token);
        }
        // Two numbers cannot have one hidden id; which of them it is now, the server tells.
        let mut seen = BTreeSet::new();
        imported.mappings = self
            .lids
            .into_iter()
            .filter(|(_, lid)| seen.insert(lid.clone()))
            .map(|(phone_number, lid)| LidPnMappingEntry {
                lid,
                phone_number,
                created_at: 0,
                updated_at: 0,
                learning_source: "import".into(),
            })
            .collect();
        // A key that is named as in use and is not there would be asked for under that name for ever.
        imported.sync_key_in_use = imported
            .sync_key_in_use
            .take()
            .filter(|id| imported.sync_keys.contains_key(id));
        imported.left_out.sort_by(|a, b| a.file.cmp(&b.file));
        self.imported
    }
}

fn is_own(device: &Device, sender: &Jid) -> bool {
    [&device.pn, &device.lid]
        .into_iter()
        .flatten()
        .any(|own| own.user == sender.user && own.server == sender.server && own.device == sender.device)
}

/// Addresses in the library's spelling.
fn known_devices(devices: Vec<(String, bool)>) -> Result<Vec<(String, bool)>, json::Fault> {
    devices
        .into_iter()
        .map(|(device, has)| match device.parse::<Jid>() {
            Ok(jid) if is_number(&jid.user) => Ok((jid.to_string(), has)),
            Ok(_) | Err(_) => Err("it names something that is not a device".into()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_counts_even_when_its_file_cannot_be_read() {
        let creds = std::fs::read(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/baileys/auth/creds.json"
        ));
        let creds = creds.unwrap();
        let torn: File = ("pre-key-90000.json".into(), Ok(b"{".to_vec().into()));
        let unreadable: File = ("pre-key-90001.json".into(), Err("it is a folder".into()));
        for (file, next) in [(torn, 90_001), (unreadable, 90_002)] {
            let imported = parse(&creds, [file]).unwrap();
            assert_eq!(imported.left_out().len(), 1);
            assert_eq!(imported.device.next_pre_key_id, next);
        }
    }
}
