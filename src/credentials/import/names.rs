//! What a file of the folder is, by its name. Baileys writes `/` as `__` and `:` as `-` in names.

use wacore_binary::{Jid, Server};

use super::super::pre_key_offset::PRE_KEY_ID_MAX;
use super::json;
use super::number::is_number;

/// A file that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    PreKey(u32),
    Session(Jid),
    SenderKey {
        group: Jid,
        sender: Jid,
    },
    SenderKeyMemory(Jid),
    Identity(Jid),
    SyncKey(Vec<u8>),
    SyncVersion(String),
    /// The number that the file maps to a hidden id.
    LidMapping(String),
    Token {
        user: String,
        lid: bool,
    },
}

/// What to do with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Take(Kind),
    /// Not of Baileys, or what is asked for anew.
    Leave,
    /// The name begins like one of ours and goes on like none.
    Strange,
}

/// Sorts a file by its name.
pub(super) fn sort(file: &str) -> Named {
    let Some(name) = file.strip_suffix(".json") else {
        return Named::Leave;
    };
    let kind = if let Some(id) = name.strip_prefix("pre-key-") {
        id.parse()
            .ok()
            .filter(|id| (1..=PRE_KEY_ID_MAX).contains(id))
            .map(Kind::PreKey)
    } else if let Some(group) = name.strip_prefix("sender-key-memory-") {
        group_jid(group).map(Kind::SenderKeyMemory)
    } else if let Some(name) = name.strip_prefix("sender-key-") {
        sender_key(name)
    } else if let Some(address) = name.strip_prefix("session-") {
        address.rsplit_once('.').and_then(device_jid).map(Kind::Session)
    } else if let Some(address) = name.strip_prefix("identity-key-") {
        address.rsplit_once('.').and_then(device_jid).map(Kind::Identity)
    } else if let Some(collection) = name.strip_prefix("app-state-sync-version-") {
        let known = !collection.is_empty() && collection.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        known.then(|| Kind::SyncVersion(collection.to_owned()))
    } else if let Some(id) = name.strip_prefix("app-state-sync-key-") {
        let id = json::from_base64(&id.replace("__", "/"));
        id.filter(|id| !id.is_empty()).map(Kind::SyncKey)
    } else if let Some(user) = name.strip_prefix("lid-mapping-") {
        // The other direction says nothing new.
        if user.strip_suffix("_reverse").is_some_and(is_number) {
            return Named::Leave;
        }
        is_number(user).then(|| Kind::LidMapping(user.to_owned()))
    } else if let Some(jid) = name.strip_prefix("tctoken-") {
        token(jid)
    } else {
        return Named::Leave;
    };
    kind.map_or(Named::Strange, Named::Take)
}

/// `USER` or `USER_DOMAIN`, and a device's number.
fn device_jid((user, device): (&str, &str)) -> Option<Jid> {
    let device: u16 = device.parse().ok()?;
    let (user, server) = match user.split_once('_') {
        None => (user, Server::Pn),
        Some((user, "1")) => (user, Server::Lid),
        Some((user, "128")) => (user, Server::Hosted),
        Some((user, "129")) => (user, Server::HostedLid),
        Some(_) => return None,
    };
    is_number(user).then(|| Jid::new(user, server).with_device(device))
}

fn group_jid(text: &str) -> Option<Jid> {
    let jid: Jid = text.parse().ok()?;
    let plain = !jid.user.is_empty() && jid.device == 0 && jid.agent == 0 && jid.integrator == 0;
    let group = matches!(jid.server, Server::Group | Server::Broadcast);
    (plain && group && jid.user.len() <= 64).then_some(jid)
}

/// `GROUP::USER::DEVICE`, as it looks in a name.
fn sender_key(name: &str) -> Option<Kind> {
    let (rest, device) = name.rsplit_once("--")?;
    let (group, user) = rest.rsplit_once("--")?;
    Some(Kind::SenderKey {
        group: group_jid(group)?,
        sender: device_jid((user, device))?,
    })
}

fn token(text: &str) -> Option<Kind> {
    let jid: Jid = text.parse().ok()?;
    let lid = match jid.server {
        Server::Lid => true,
        Server::Pn => false,
        _ => return None,
    };
    is_number(&jid.user).then(|| Kind::Token {
        user: jid.user.to_string(),
        lid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(file: &str) -> Kind {
        match sort(file) {
            Named::Take(kind) => kind,
            other => panic!("{file}: {other:?}"),
        }
    }

    #[test]
    fn names_say_what_a_file_is() {
        let friend = Jid::pn("15550100002");
        assert_eq!(taken("pre-key-31.json"), Kind::PreKey(31));
        assert_eq!(taken("session-15550100002.0.json"), Kind::Session(friend.clone()));
        let lid = Jid::lid("100000000000002").with_device(3);
        assert_eq!(taken("session-100000000000002_1.3.json"), Kind::Session(lid.clone()));
        assert_eq!(taken("identity-key-15550100002.0.json"), Kind::Identity(friend));
        let group: Jid = "120363000000000001@g.us".parse().unwrap();
        assert_eq!(
            taken("sender-key-120363000000000001@g.us--100000000000002_1--3.json"),
            Kind::SenderKey {
                group: group.clone(),
                sender: lid
            }
        );
        assert_eq!(
            taken("sender-key-memory-120363000000000001@g.us.json"),
            Kind::SenderKeyMemory(group)
        );
        let old: Jid = "15550100001-1400000000@g.us".parse().unwrap();
        assert_eq!(
            taken("sender-key-15550100001-1400000000@g.us--15550100002--0.json"),
            Kind::SenderKey {
                group: old,
                sender: Jid::pn("15550100002")
            }
        );
        // 3 bytes whose base64 has a slash.
        assert_eq!(
            taken("app-state-sync-key-__wAB.json"),
            Kind::SyncKey(vec![0xff, 0x00, 0x01])
        );
        assert_eq!(
            taken("app-state-sync-version-critical_unblock_low.json"),
            Kind::SyncVersion("critical_unblock_low".into())
        );
        assert_eq!(
            taken("lid-mapping-15550100002.json"),
            Kind::LidMapping("15550100002".into())
        );
        assert_eq!(
            taken("tctoken-100000000000002@lid.json"),
            Kind::Token {
                user: "100000000000002".into(),
                lid: true
            }
        );
    }

    #[test]
    fn other_files_are_left_and_strange_names_are_told() {
        for file in [
            "creds.json",
            "creds.json.bak",
            "README",
            "device-list-15550100002.json",
            "lid-mapping-100000000000002_reverse.json",
        ] {
            assert_eq!(sort(file), Named::Leave, "{file}");
        }
        for file in [
            "pre-key-x.json",
            "pre-key-0.json",
            "session-.json",
            "session-15550100002_7.0.json",
            "session-15550100002.70000.json",
            "sender-key-15550100002.json",
            "app-state-sync-key-%.json",
            "lid-mapping-me.json",
        ] {
            assert_eq!(sort(file), Named::Strange, "{file}");
        }
    }
}
