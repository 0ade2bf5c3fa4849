//! Who is who: the names that a route may have for somebody, and the addresses that WhatsApp has for the same person.
//!
//! A route names a number, a hidden id (`…@lid`), a group or `me`. The server names the same person by a number or by a
//! hidden id, whichever it likes: in a receipt, in a message, in a group. It may also know a number in another form
//! than people write. Everything that compares the two asks here.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use wacore_binary::{Jid, JidExt as _};
use whatsapp_rust::Client;

use super::numbers::{Look, Numbers};
use crate::alert::Recipient;
use crate::credentials::{Account, Credentials};
use crate::outbox::MessageId;
use crate::store::Store;
use crate::util::lock;

/// Messages remembered with the number that they went to, for the case that the server refuses one. It answers in
/// seconds.
const ON_THEIR_WAY_MAX: usize = 256;

/// What one session knows of people. Shared by its task, the sends and the dispatcher.
pub struct Directory {
    credentials: Credentials,
    /// Whom the routes of this session name.
    recipients: Vec<Recipient>,
    numbers: Numbers,
    own: Mutex<Own>,
    /// Messages to numbers as routes write them, the newest last.
    on_their_way: Mutex<VecDeque<(MessageId, String)>>,
}

/// Why a message does not go out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoWay {
    /// Nobody has told yet which account this is.
    AccountUnknown,
    /// The server says that the number is not on WhatsApp. It knew the number before, so it is asked once more.
    Doubtful,
    /// The number is not on WhatsApp. The server is asked again, at the next message, after so many minutes.
    NotOnWhatsApp { again_in_min: u64 },
}

impl NoWay {
    /// Whether a later attempt would end the same way.
    pub(super) fn is_permanent(&self) -> bool {
        match self {
            Self::AccountUnknown | Self::Doubtful => false,
            Self::NotOnWhatsApp { .. } => true,
        }
    }
}

impl fmt::Display for NoWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccountUnknown => f.write_str("the account's own number is not known"),
            Self::Doubtful => f.write_str("not on WhatsApp any more, says the server; it is asked once more"),
            Self::NotOnWhatsApp { again_in_min } => write!(
                f,
                "not on WhatsApp, says the server; is the number right? It is asked again in {again_in_min} min at the earliest"
            ),
        }
    }
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
    /// `recipients` are those whom the routes of the session name.
    pub(super) fn new(store: Store, credentials: Credentials, recipients: Vec<Recipient>) -> Arc<Self> {
        let numbers = Numbers::open(store, credentials.session().clone());
        Arc::new(Self {
            credentials,
            recipients,
            numbers,
            own: Mutex::default(),
            on_their_way: Mutex::default(),
        })
    }

    /// Whose session this is. `None` once it is linked to nobody.
    pub(super) fn set_account(&self, account: Option<&Account>) {
        let own = account.map(|account| Own {
            number: Some(account.pn.user.to_string()),
            lid: account.lid.as_ref().map(|lid| lid.user.to_string()),
        });
        *lock(&self.own) = own.unwrap_or_default();
    }

    /// The one name of whoever `recipient` names: `me` for the account itself, a number before a hidden id. Two names
    /// in a route that give the same one here are one recipient. Reads what is known already and never waits.
    pub fn one_name(&self, recipient: &Recipient) -> Recipient {
        let own = self.own();
        match recipient {
            Recipient::Me | Recipient::Group(_) => recipient.clone(),
            Recipient::Number(written) => {
                let named = self
                    .numbers
                    .named(written)
                    .map_or_else(|| Arc::clone(written), Arc::from);
                match own.number.is_some_and(|own| *own == *named || *own == **written) {
                    true => Recipient::Me,
                    false => Recipient::Number(named),
                }
            }
            Recipient::Lid(lid) if own.lid.as_deref() == Some(&**lid) => Recipient::Me,
            Recipient::Lid(lid) => match self.credentials.number_of(lid) {
                Some(number) => self.one_name(&Recipient::Number(number.into())),
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
            return vec![Recipient::Group(jid.user.as_str().into())];
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
        let written = number.iter().flat_map(|number| self.numbers.written_for(number));
        let number_of = |number: String| Recipient::Number(number.into());
        let mut names: Vec<Recipient> = written.map(number_of).collect();
        names.extend(number.map(number_of).filter(|named| !names.contains(named)));
        names.extend(lid.map(|lid| Recipient::Lid(lid.into())));
        names.extend(is_own.then_some(Recipient::Me));
        names
    }

    /// Where a message for `recipient` goes. A number that nothing is known of is asked about first, which may take
    /// some seconds; without an answer the message goes to the number as it is written.
    ///
    /// # Errors
    /// Nobody would get it.
    pub(super) async fn way_to(
        &self,
        client: &Client,
        recipient: &Recipient,
        message_id: &MessageId,
    ) -> Result<Jid, NoWay> {
        match (self.one_name(recipient), recipient) {
            (Recipient::Number(_), Recipient::Number(written)) => {
                self.note_on_its_way(message_id, written);
                match self.numbers.resolve(client, written).await {
                    Look::Send(number) | Look::Ask(number) => Ok(Jid::pn(number.as_str())),
                    Look::Doubtful => Err(NoWay::Doubtful),
                    Look::NotThere(left) => Err(NoWay::NotOnWhatsApp {
                        again_in_min: left.as_secs().div_ceil(60),
                    }),
                }
            }
            // WhatsApp itself has named this number with the hidden id.
            (Recipient::Number(number), _) => Ok(Jid::pn(&*number)),
            (Recipient::Group(group), _) => Ok(Jid::group(&*group)),
            // What was learned in this run may not be on disk yet.
            (Recipient::Lid(lid), _) => match number_of(client, &lid).await {
                Some(number) => Ok(Jid::pn(number.as_str())),
                None => Ok(Jid::lid(&*lid)),
            },
            (Recipient::Me, _) => client.pn().as_ref().map(Jid::to_non_ad).ok_or(NoWay::AccountUnknown),
        }
    }

    /// Asks about the numbers that the routes name, in one question, so that a wrong one is said before an alert needs
    /// it.
    pub(super) async fn ask_about_routes(&self, client: &Client) {
        let numbers = self.recipients.iter().filter_map(|recipient| match recipient {
            Recipient::Number(written) if self.one_name(recipient) != Recipient::Me => Some(written.to_string()),
            Recipient::Number(_) | Recipient::Group(_) | Recipient::Me | Recipient::Lid(_) => None,
        });
        self.numbers.ask_all(client, numbers).await;
    }

    /// The server has refused this message in a way that a wrong number may explain: the next one asks about it first.
    pub(super) fn on_refused(&self, message_id: &MessageId, code: &str) {
        if !matches!(code.trim(), "400" | "404" | "406" | "410") {
            return;
        }
        let mut on_their_way = lock(&self.on_their_way);
        let at = on_their_way.iter().position(|(id, _)| id == message_id);
        if let Some((_, written)) = at.and_then(|at| on_their_way.remove(at)) {
            self.numbers.doubt(&written);
        }
    }

    /// Numbers, as routes write them, of which the server says that they are not on WhatsApp.
    pub fn not_on_whatsapp(&self) -> Vec<Recipient> {
        self.numbers
            .not_there()
            .into_iter()
            .map(|number| Recipient::Number(number.into()))
            .collect()
    }

    fn note_on_its_way(&self, message_id: &MessageId, written: &str) {
        let mut on_their_way = lock(&self.on_their_way);
        if on_their_way.len() >= ON_THEIR_WAY_MAX {
            on_their_way.pop_front();
        }
        on_their_way.push_back((message_id.clone(), written.to_owned()));
    }

    fn own(&self) -> Own {
        lock(&self.own).clone()
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
        let credentials = Credentials::new(store.clone(), "default".parse().unwrap());
        let mapping = LidPnMappingEntry {
            lid: "100000000000002".into(),
            phone_number: "15550100002".into(),
            created_at: 1,
            updated_at: 1,
            learning_source: "usync".into(),
        };
        smol::block_on(credentials.put_lid_mapping(&mapping)).unwrap();
        let directory = Directory::new(store, credentials, Vec::new());
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
