//! The list of chats that a route can name, for whoever writes one.

use std::collections::BTreeMap;

use wacore_binary::{Jid, JidExt as _};
use whatsapp_rust::{Client, GroupMetadata};

use super::directory::{lid_of, number_of};
use crate::alert::{Chat, SessionName};
use crate::store::{Store, inbound};

/// Messages looked through for chats that are no groups.
const CHATS_FROM_INBOUND: usize = 1000;

/// Groups by asking the server; contacts are those who have written to this device.
pub(super) async fn chats(client: &Client, store: &Store, session: &SessionName) -> Result<Vec<Chat>, String> {
    let groups = client
        .groups()
        .get_participating()
        .await
        .map_err(|error| error.to_string())?;
    let mut chats: BTreeMap<String, Chat> = BTreeMap::new();
    for (jid, group) in groups {
        let to = jid.to_non_ad_string();
        let obstacle = obstacle(&group, client.pn().as_ref(), client.lid().as_ref());
        let chat = Chat {
            to: to.clone(),
            name: group.subject,
            kind: if group.is_parent_group { "community" } else { "group" }.into(),
            session: session.to_string(),
            lid: None,
            writable: obstacle.is_none(),
            note: obstacle.unwrap_or_default().to_owned(),
        };
        chats.insert(to, chat);
    }
    let seen = inbound::newest(store.view(), session, CHATS_FROM_INBOUND).map_err(|error| error.to_string())?;
    for message in seen {
        let Some(chat) = contact(client, session, &message.chat).await else {
            continue;
        };
        chats.entry(chat.to.clone()).or_insert(chat);
    }
    Ok(chats.into_values().collect())
}

/// The chat with one person, by the address that it was received under: a number, or a hidden id whose number may not
/// be known.
async fn contact(client: &Client, session: &SessionName, address: &str) -> Option<Chat> {
    let (number, lid) = if let Some(number) = address.strip_suffix("@s.whatsapp.net") {
        (Some(number.to_owned()), lid_of(client, number).await)
    } else {
        let lid = address.strip_suffix("@lid")?;
        (number_of(client, lid).await, Some(lid.to_owned()))
    };
    let lid = lid.map(|lid| format!("{lid}@lid"));
    let hidden = number.is_none();
    Some(Chat {
        to: number.map(|number| format!("+{number}")).or_else(|| lid.clone())?,
        name: String::new(),
        kind: "contact".into(),
        session: session.to_string(),
        lid,
        writable: true,
        note: if hidden { "the number is not known" } else { "" }.to_owned(),
    })
}

/// Why a message of the account `pn`/`lid` would be refused in this group, in words.
fn obstacle(group: &GroupMetadata, pn: Option<&Jid>, lid: Option<&Jid>) -> Option<&'static str> {
    if group.is_parent_group {
        return Some("a community: write to one of its groups");
    }
    if group.is_suspended {
        return Some("suspended by WhatsApp");
    }
    let same = |ours: Option<&Jid>, theirs: &Jid| ours.is_some_and(|ours| ours.is_same_user_as(theirs));
    let ours = |jid: &Jid| same(pn, jid) || same(lid, jid);
    let is_admin = group.participants.iter().any(|member| {
        let names = [Some(&member.jid), member.phone_number.as_ref(), member.lid.as_ref()];
        member.is_admin() && names.into_iter().flatten().any(ours)
    });
    (group.is_announcement && !is_admin).then_some("only admins may write")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_would_be_refused_is_marked() {
        let (pn, lid) = (Jid::pn_device("15550100001", 3), Jid::lid_device("100000000000001", 3));
        let member = |jid: Jid, phone_number: Option<Jid>, admin: bool| whatsapp_rust::GroupParticipant {
            jid,
            phone_number,
            lid: None,
            username: None,
            participant_type: if admin {
                whatsapp_rust::ParticipantType::Admin
            } else {
                whatsapp_rust::ParticipantType::Member
            },
            details: None,
        };
        let group = |is_announcement, participants| GroupMetadata {
            is_announcement,
            participants,
            ..GroupMetadata::default()
        };
        let why = |group: &GroupMetadata| obstacle(group, Some(&pn), Some(&lid));
        let other = member(Jid::lid("100000000000002"), Some(Jid::pn("15550100002")), true);
        let plain = [member(Jid::pn("15550100001"), None, false), other.clone()];
        assert_eq!(why(&group(false, plain.to_vec())), None);
        assert_eq!(why(&group(true, plain.to_vec())), Some("only admins may write"));
        assert_eq!(why(&group(true, vec![other.clone()])), Some("only admins may write"));
        for ours in [
            member(Jid::pn("15550100001"), None, true),
            member(Jid::lid("100000000000001"), None, true),
            member(Jid::lid("100000000000009"), Some(Jid::pn("15550100001")), true),
        ] {
            assert_eq!(why(&group(true, vec![other.clone(), ours])), None);
        }
        let parent = GroupMetadata {
            is_parent_group: true,
            ..group(false, vec![member(Jid::pn("15550100001"), None, true)])
        };
        assert!(why(&parent).unwrap().contains("community"));
    }
}
