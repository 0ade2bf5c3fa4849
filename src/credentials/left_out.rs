//! Devices that a send under way leaves out, because nobody could get keys for them a moment ago.
//!
//! The library asks the server for missing keys in the middle of a send, while it holds the locks of every device that
//! the message goes to, and does not take "none" for an answer: it asks two or three times a message, gives up the
//! whole message when the server refuses one batch, and notes devices of a group as supplied that were not. So whoever
//! sends asks before, without a lock, and what was not to be had is hidden from the library for this one send. Nothing
//! of it is written: the next send asks again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};

use wacore::store::traits::DeviceListRecord;
use wacore_binary::Jid;

use crate::util::lock;

/// The sends under way that leave something out.
#[derive(Clone, Default)]
pub(super) struct LeftOut(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    next: u64,
    sends: Vec<Leaving>,
}

struct Leaving {
    token: u64,
    /// The group that is sent to; none for a chat with one person.
    group: Option<String>,
    devices: Vec<Jid>,
    /// The same devices as they are written.
    names: HashSet<String>,
}

/// Leaves devices out for as long as it lives.
pub struct LeavingOut {
    table: LeftOut,
    token: u64,
}

impl Drop for LeavingOut {
    fn drop(&mut self) {
        self.table.lock().sends.retain(|leaving| leaving.token != self.token);
    }
}

impl LeftOut {
    /// As [`leave_out`](super::Credentials::leave_out) says.
    pub(super) fn leave(&self, group: Option<&Jid>, devices: Vec<Jid>) -> LeavingOut {
        let mut table = self.lock();
        let token = table.next;
        table.next += 1;
        table.sends.push(Leaving {
            token,
            group: group.map(ToString::to_string),
            names: devices.iter().map(ToString::to_string).collect(),
            devices,
        });
        drop(table);
        LeavingOut {
            table: self.clone(),
            token,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.0)
    }

    /// Who has our sender key for `group`, as the send under way shall see it.
    pub(super) fn show_sender_keys(&self, group: &str, rows: &mut Vec<(String, bool)>) {
        let table = self.lock();
        for leaving in table
            .sends
            .iter()
            .filter(|leaving| leaving.group.as_deref() == Some(group))
        {
            rows.retain(|(device, _)| !leaving.names.contains(device));
            rows.extend(leaving.names.iter().map(|name| (name.clone(), true)));
        }
    }

    /// Whether `device` is left out of what goes to `group` now: then it has not been given our sender key, whatever
    /// the library says.
    pub(super) fn lacks_sender_key(&self, group: &str, device: &str) -> bool {
        let table = self.lock();
        let mut of_group = table
            .sends
            .iter()
            .filter(|leaving| leaving.group.as_deref() == Some(group));
        of_group.any(|leaving| leaving.names.contains(device))
    }

    /// The devices of a user, as the send under way shall see them.
    pub(super) fn show_devices(&self, record: &mut DeviceListRecord) {
        let table = self.lock();
        let hidden = |id: u32| {
            let is = |jid: &Jid| u32::from(jid.device) == id && jid.user.as_str() == record.user;
            let direct = table.sends.iter().filter(|leaving| leaving.group.is_none());
            direct.flat_map(|leaving| &leaving.devices).any(is)
        };
        let kept: Vec<bool> = record.devices.iter().map(|device| !hidden(device.device_id)).collect();
        let mut kept = kept.into_iter();
        record.devices.retain(|_| kept.next().unwrap_or(true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Credentials;
    use crate::store::Store;
    use wacore::store::traits::{DeviceInfo, ProtocolStore};

    const GROUP: &str = "120363000000000001@g.us";

    fn credentials(dir: &tempfile::TempDir) -> Credentials {
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        Credentials::new(store, "default".parse().unwrap())
    }

    fn devices(credentials: &Credentials) -> Vec<u32> {
        let record = smol::block_on(credentials.get_devices("15550100002")).unwrap().unwrap();
        record.devices.iter().map(|device| device.device_id).collect()
    }

    #[test]
    fn a_device_is_hidden_from_a_chat_while_a_send_leaves_it_out_and_stays_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let credentials = credentials(&dir);
        let device = |device_id| DeviceInfo {
            device_id,
            key_index: None,
            is_hosted: false,
        };
        let record = DeviceListRecord {
            user: "15550100002".into(),
            devices: vec![device(0), device(1), device(2)],
            timestamp: 1,
            phash: None,
            raw_id: None,
        };
        smol::block_on(credentials.update_device_list(record)).unwrap();
        let jid = |device| Jid::pn_device("15550100002", device);
        let first = credentials.leave_out(None, vec![jid(1)]);
        let second = credentials
            .clone()
            .leave_out(None, vec![jid(2), Jid::pn_device("15550100003", 0)]);
        let group = credentials.leave_out(Some(&Jid::group("120363000000000001")), vec![jid(0)]);
        assert_eq!(devices(&credentials), [0]);
        drop(second);
        assert_eq!(devices(&credentials), [0, 2]);
        drop((first, group));
        assert_eq!(devices(&credentials), [0, 1, 2]);
    }

    #[test]
    fn in_a_group_it_counts_as_supplied_for_the_send_and_is_not_written_down_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let credentials = credentials(&dir);
        let (with, without) = ("100000000000002:0@lid", Jid::lid_device("100000000000003", 0));
        let name = without.to_string();
        let rows = |group| {
            let mut rows = smol::block_on(credentials.get_sender_key_devices(group)).unwrap();
            rows.sort();
            rows
        };
        let lacks = smol::block_on(credentials.set_sender_key_status(GROUP, &[(&name, false)]));
        lacks.unwrap();
        let leaving = credentials.leave_out(Some(&Jid::group("120363000000000001")), vec![without]);
        assert_eq!(rows(GROUP), [(name.clone(), true)]);
        assert_eq!(rows("120363000000000002@g.us"), [], "it is another group's affair");
        let given = smol::block_on(credentials.set_sender_key_status(GROUP, &[(with, true), (&name, true)]));
        given.unwrap();
        drop(leaving);
        assert_eq!(rows(GROUP), [(with.to_owned(), true), (name, false)]);
    }
}
