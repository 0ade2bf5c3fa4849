//! Who is who: the names that a route may have for somebody, and the addresses that WhatsApp has for the same person.
//!
//! A route names a number, a hidden id (`…@lid`), a group or `me`. The server names the same person by a number or by a
//! hidden id, whichever it likes: in a receipt, in a message, in a group. Everything that compares the two asks here.

use std::sync::{Arc, Mutex, PoisonError};

use wacore_binary::{Jid, JidExt as _};
use whatsapp_rust::Client;

use crate::alert::Recipient;
use crate::store::credentials::{Account, Credentials};

/// What one session knows of people. Shared by its task, the sends and the courier.
pub struct Directory {
    credentials: Credentials,
    own: Mutex<Own>,
}

/// The linked account, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Own {
    /// Digits.
    number: Option<String>,
    /// The part before `@lid`.
    lid: Option<String>,
}

impl Directory {
    pub(super) fn new(credentials: Credentials) -> Arc<Self> {
        Arc::new(Self {
            credentials,
            own: Mutex::default(),
        })
    }

    /// Whose session this is. `None` once it is linked to nobody.
    pub(super) fn set_account(&self, account: Option<&Account>) {
        let own = account.map(|account| Own {
            number: Some(account.pn.user.to_string()),
            lid: account.lid.as_ref().map(|lid| lid.user.to_string()),
        });
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = own.unwrap_or_default();
    }

    /// The one name of whoever `recipient` names: `me` for the account itself, a number before a hidden id. Two names in a
    /// route that give the same one here are one recipient. Reads what is known already and never waits.
    pub fn one_name(&self, recipient: &Recipient) -> Recipient {
        let own = self.own();
        match recipient {
            Recipient::Me | Recipient::Group(_) => recipient.clone(),
            Recipient::Number(number) if own.number.as_ref() == Some(number) => Recipient::Me,
            Recipient::Number(_) => recipient.clone(),
            Recipient::Lid(lid) if own.lid.as_ref() == Some(lid) => Recipient::Me,
            Recipient::Lid(lid) => match self.credentials.number_of(lid) {
                Some(number) => self.one_name(&Recipient::Number(number)),
                None => recipient.clone(),
            },
        }
    }

    /// `to` without those whom a name before them means already.
    pub fn each_once(&self, to: &[Recipient]) -> Vec<Recipient> {
        let mut seen = Vec::with_capacity(to.len());
        let mut once = Vec::with_capacity(to.len());
        for recipient in to {
            let name = self.one_name(recipient);
            if !seen.contains(&name) {
                seen.push(name);
                once.push(recipient.clone());
            }
        }
        once
    }

    /// Every name that a route may have for whoever is at `jid`, a device of theirs or a group. A name that nobody can
    /// write into a route (a channel, a broadcast list) gives none.
    pub(super) async fn names_of(&self, client: &Client, jid: &Jid) -> Vec<Recipient> {
        if jid.is_group() {
            return vec![Recipient::Group(jid.user.to_string())];
        }
        let (number, lid) = if jid.server.is_pn_family() {
            let number = jid.user.to_string();
            let lid = lid_of(client, &number).await;
            (Some(number), lid)
        } else if jid.server.is_lid_family() {
            let lid = jid.user.to_string();
            (number_of(client, &lid).await, Some(lid))
        } else {
            return Vec::new();
        };
        let own = self.own();
        let is_own = (number.is_some() && number == own.number) || (lid.is_some() && lid == own.lid);
        let (number, lid) = if is_own {
            (own.number.or(number), own.lid.or(lid))
        } else {
            (number, lid)
        };
        let mut names: Vec<Recipient> = number.map(Recipient::Number).into_iter().collect();
        names.extend(lid.map(Recipient::Lid));
        names.extend(is_own.then_some(Recipient::Me));
        names
    }

    /// Where a message for `recipient` goes. `None` while the account's own number is not known.
    pub(super) async fn jid_of(&self, client: &Client, recipient: &Recipient) -> Option<Jid> {
        match self.one_name(recipient) {
            Recipient::Number(number) => Some(Jid::pn(number.as_str())),
            Recipient::Group(group) => Some(Jid::group(group.as_str())),
            // What was learned in this run may not be on disk yet.
            Recipient::Lid(lid) => match number_of(client, &lid).await {
                Some(number) => Some(Jid::pn(number.as_str())),
                None => Some(Jid::lid(lid.as_str())),
            },
            Recipient::Me => client.pn().as_ref().map(Jid::to_non_ad),
        }
    }

    fn own(&self) -> Own {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The hidden id of a number, where it is known here. An unreadable row is as good as none: the server is asked again.
pub(super) async fn lid_of(client: &Client, number: &str) -> Option<String> {
    let entry = client.get_lid_pn_entry(&Jid::pn(number)).await.ok()??;
    Some(entry.lid.to_string())
}

/// The number behind a hidden id, where it is known here.
pub(super) async fn number_of(client: &Client, lid: &str) -> Option<String> {
    let entry = client.get_lid_pn_entry(&Jid::lid(lid)).await.ok()??;
    Some(entry.phone_number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use wacore::store::traits::{LidPnMappingEntry, ProtocolStore};

    #[test]
    fn the_names_of_one_person_are_one_recipient() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1 << 20).unwrap();
        let credentials = Credentials::new(store, "default".parse().unwrap());
        let mapping = LidPnMappingEntry {
            lid: "100000000000002".into(),
            phone_number: "15550100002".into(),
            created_at: 1,
            updated_at: 1,
            learning_source: "usync".into(),
        };
        smol::block_on(credentials.put_lid_mapping(&mapping)).unwrap();
        let directory = Directory::new(credentials);
        let to = |names: &[&str]| -> Vec<Recipient> { names.iter().map(|name| name.parse().unwrap()).collect() };
        let route = to(&[
            "me",
            "+15550100001",
            "100000000000001@lid",
            "100000000000002@lid",
            "+15550100002",
            "100000000000003@lid",
            "120363000000000000@g.us",
        ]);
        // Before the account is known, its number is a number like any other.
        let pairs = [0, 1, 2, 3, 5, 6].map(|index| route[index].clone());
        assert_eq!(directory.each_once(&route), pairs);
        directory.set_account(Some(&Account {
            pn: Jid::pn_device("15550100001", 3),
            lid: Some(Jid::lid_device("100000000000001", 3)),
            push_name: String::new(),
        }));
        let once = [0, 3, 5, 6].map(|index| route[index].clone());
        assert_eq!(directory.each_once(&route), once);
        assert_eq!(
            directory.each_once(&route[1..3]),
            route[1..2],
            "the name that was written stays"
        );
        directory.set_account(None);
        assert_eq!(directory.each_once(&route), pairs);
    }
}
