//! What comes back about messages: receipts, and devices that ask for one again.

use std::sync::Arc;
use std::time::Instant;

use wacore_binary::Jid;

use super::super::afresh;
use super::super::again::{self, Again, Asked};
use super::super::handle::Notice;
use super::Session;
use crate::alert::Recipient;
use crate::line::Input;
use crate::outbox::{MessageId, ReceiptKind};

/// What waits to be sent again while there is no line. A device whose turn does not come asks once more, as a rule.
const AGAIN_WAITING_MAX: usize = 64;

impl Session {
    /// Somebody has written. What is held until they do may name them by any of their names.
    pub(super) async fn on_heard(&self, from: &Jid, number: Option<&Jid>) {
        let Some(client) = &self.client else { return };
        let mut names = self.parts.directory.names_of(&client.client, from).await;
        // The stanza may be the first to tell which number belongs to the one that wrote.
        if let Some(number) = number {
            names.extend(self.parts.directory.names_of(&client.client, number).await);
        }
        self.notify(Notice::Heard { from: names }).await;
    }

    /// The server let a message pass and says that what we know of the recipient's LID is out of date.
    pub(super) fn ask_for_lid(&self, chat: Jid) {
        let Some(client) = &self.client else { return };
        let (client, directory) = (Arc::clone(&client.client), Arc::clone(&self.parts.directory));
        let asking = async move {
            let names = directory.names_of(&client, &chat).await;
            if let Some(Recipient::Number(number)) = names.first() {
                let sid = format!("lid-{number}");
                if let Err(error) = afresh::ask_for_lid(&client, &Jid::pn(&**number), sid).await {
                    log::debug!("a LID that is out of date could not be asked for anew: {error}");
                }
            }
        };
        self.parts.executor.spawn(asking).detach();
    }

    pub(super) async fn on_receipt(
        &self,
        message_ids: Vec<String>,
        kind: ReceiptKind,
        from: &Jid,
        participant: Option<&Jid>,
    ) {
        let names = self.names_of(from, participant).await;
        for id in message_ids {
            let (message_id, from) = (MessageId(id), names.clone());
            self.notify(Notice::Receipt { message_id, kind, from }).await;
        }
    }

    /// The names that a route may have for the chat `from`, if what comes from there speaks for it: in a group that is
    /// the word of another member. Our own devices are members too, and say nothing about the others.
    async fn names_of(&self, from: &Jid, participant: Option<&Jid>) -> Vec<Recipient> {
        let Some(client) = &self.client else {
            return Vec::new();
        };
        let directory = &self.parts.directory;
        let names = directory.names_of(&client.client, from).await;
        if !matches!(names.first(), Some(Recipient::Group(_))) {
            return names;
        }
        let member = match participant {
            Some(member) => directory.names_of(&client.client, member).await,
            None => Vec::new(),
        };
        let is_another = |name: &Recipient| matches!(name, Recipient::Number(_) | Recipient::Lid(_));
        match member.iter().any(is_another) && !member.contains(&Recipient::Me) {
            true => names,
            false => Vec::new(),
        }
    }

    /// The library acts on it first, if it does. What is left is done beside the session.
    pub(super) fn on_asked_again(&self, asked: Asked) {
        let Some(client) = &self.client else { return };
        let client = Arc::clone(&client.client);
        let (parts, repairs) = (Arc::clone(&self.parts), Arc::clone(&self.repairs));
        let (notices, name) = (self.notices.clone(), self.name.clone());
        let work = async move {
            let Some(by) = again::repair(&client, &parts.credentials, &repairs, &asked).await else {
                return;
            };
            let directory = &parts.directory;
            let mut from = directory.names_of(&client, &asked.from).await;
            if let Some(member) = &asked.participant {
                from.extend(directory.names_of(&client, member).await);
            }
            let message_id = MessageId(asked.message_id);
            let _ = notices.send((name, Notice::AskedAgain { message_id, from, by })).await;
        };
        self.parts.executor.spawn(work).detach();
    }

    /// Without a line it waits for the next one. It may go while what had waited at the server still comes in, among
    /// which a device may have asked: the library holds it back until that is through.
    pub(super) fn send_again(&mut self, again: Again) {
        let logged_in = |line: &&super::LibraryRun| line.logged_in && !line.broken;
        match (&self.client, self.library_run.as_ref().filter(logged_in)) {
            (Some(client), Some(_)) => {
                let (parts, uploads) = (Arc::clone(&self.parts), Arc::clone(&self.uploads));
                let client = Arc::clone(&client.client);
                let sending = async move {
                    // Its upload may count no longer.
                    let said = uploads.settled(&again.message).await;
                    let message = uploads.message(said).await;
                    again::send(client, parts, message, again).await;
                };
                self.parts.executor.spawn(sending).detach();
                self.supervisor.handle(Instant::now(), Input::Sent);
            }
            _ => {
                if self.to_send_again.len() < AGAIN_WAITING_MAX {
                    self.to_send_again.push(again);
                }
            }
        }
    }

    /// There is a line again.
    pub(super) fn send_what_waits_again(&mut self) {
        for again in std::mem::take(&mut self.to_send_again) {
            self.send_again(again);
        }
    }
}
