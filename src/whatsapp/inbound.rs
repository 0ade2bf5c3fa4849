//! Messages from others: on disk before the server is told that we have them.

use std::collections::hash_map::DefaultHasher;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use wacore::proto_helpers::MessageExt as _;
use wacore::types::events::InboundMessage;
use wacore::types::message::MessageCategory;
use wacore_binary::JidExt as _;
use waproto::whatsapp::Message;
use whatsapp_rust::{Client, InboundDurabilityHook};

use super::answers::said_in;
use super::directory::Directory;
use super::events::{EventMapper, LineEvent};
use super::handle::Notice;
use super::timers::Timers;
use crate::alert::{Recipient, SessionName};
use crate::outbox::{Answer, Said};
use crate::store::inbound::{InboundRecord, is_recorded, record_new};
use crate::store::{Store, StoreError};
use crate::util::wall_ms;

/// How often a message that found no room on the disk is tried again. It costs nothing while there is none.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The library acks a message only after this has returned `Ok`. After a crash in between the server sends it again,
/// and the record is found to exist.
///
/// Until then the server is owed an ack, and this is the one place where we, and not the library, hold it back. So the
/// session is told of each message that waits here: the server ends a line that owes it an ack after 50 minutes.
pub(super) struct InboundRecorder {
    pub(super) store: Store,
    pub(super) session: SessionName,
    pub(super) timers: Arc<Timers>,
    pub(super) mapper: Arc<EventMapper>,
    pub(super) directory: Arc<Directory>,
    /// Where it is told what may be the answer to an alert.
    pub(super) notices: async_channel::Sender<(SessionName, Notice)>,
}

impl InboundRecorder {
    async fn record(&self, records: Vec<InboundRecord>) -> Result<usize, StoreError> {
        self.while_there_is_no_room(|| record_new(&self.store, &self.session, records.clone()))
            .await
    }

    /// What an answer means is on disk when this returns. Until the message is recorded it may come again, and comes to
    /// the same then; after that it is no answer any more.
    async fn answered(&self, client: &Client, message: &InboundMessage, said: Said) -> Result<(), StoreError> {
        let answer = self.answer(client, message, said).await;
        self.while_there_is_no_room(|| async {
            let (done, on_disk) = async_channel::bounded(1);
            let answer = Box::new(answer.clone());
            let told = (self.session.clone(), Notice::Answered { answer, done });
            // Nobody takes it while the relay ends.
            match self.notices.send(told).await {
                Ok(()) => on_disk.recv().await.unwrap_or_else(|_| Err(the_relay_ends())),
                Err(_) => Err(the_relay_ends()),
            }
        })
        .await
    }

    async fn answer(&self, client: &Client, message: &InboundMessage, said: Said) -> Answer {
        let source = &message.info.source;
        let mut from = self.directory.names_of(client, &source.sender).await;
        // The stanza may be the first to tell by which other name they go.
        if let Some(other) = &source.sender_alt {
            add_new(&mut from, self.directory.names_of(client, other).await);
        }
        let mut chat = self.directory.names_of(client, &source.chat).await;
        match (source.is_group || source.chat.is_group(), source.is_from_me) {
            (true, _) => {}
            (false, false) => add_new(&mut chat, from.clone()),
            (false, true) => {
                if let Some(other) = &source.recipient_alt {
                    add_new(&mut chat, self.directory.names_of(client, other).await);
                }
            }
        }
        Answer {
            session: self.session.clone(),
            chat,
            from,
            id: message.info.id.to_string(),
            said,
        }
    }

    /// A disk that takes nothing for now is waited for, as long as the line lasts: refused, the message would come
    /// again only at the next login.
    async fn while_there_is_no_room<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        write: impl Fn() -> F,
    ) -> Result<T, StoreError> {
        let line = self.mapper.line();
        loop {
            match write().await {
                Err(error @ (StoreError::Full(_) | StoreError::ReadOnly(_))) if self.mapper.line() == line => {
                    log::debug!("session {}: a message waits: {error}", self.session);
                    Timer::after(AGAIN_AFTER).await;
                }
                done => return done,
            }
        }
    }
}

fn the_relay_ends() -> StoreError {
    StoreError::Read("the relay ends".to_owned())
}

fn add_new(names: &mut Vec<Recipient>, others: Vec<Recipient>) {
    for other in others {
        if !names.contains(&other) {
            names.push(other);
        }
    }
}

#[async_trait::async_trait]
impl InboundDurabilityHook for InboundRecorder {
    async fn on_messages(&self, client: Arc<Client>, batch: &[InboundMessage]) -> anyhow::Result<()> {
        // Peer messages are the account's own devices talking to each other: keys, history, settings.
        let from_people = batch
            .iter()
            .filter(|message| message.info.category != MessageCategory::Peer);
        let from_people: Vec<&InboundMessage> = from_people.collect();
        let records: Vec<_> = from_people.iter().map(|message| to_record(message)).collect();
        if records.is_empty() {
            return Ok(());
        }
        let ids: Vec<u64> = records.iter().map(number_of).collect();
        self.mapper.emit(LineEvent::AckHeld { ids: ids.clone() });
        self.timers.learn_from(batch).await;
        for (message, record) in from_people.iter().zip(&records) {
            if let Some(said) = said_in(&message.message)
                && !is_recorded(self.store.view(), &self.session, record)?
            {
                self.answered(&client, message, said).await?;
            }
        }
        let new = self.record(records).await?;
        self.mapper.emit(LineEvent::AckFree { ids });
        log::debug!("session {}: {new} new message(s) recorded", self.session);
        Ok(())
    }
}

/// What tells a message from others, for as long as the process lives.
fn number_of(message: &InboundRecord) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&message.chat, &message.sender, &message.id).hash(&mut hasher);
    hasher.finish()
}

fn to_record(message: &InboundMessage) -> InboundRecord {
    let info = &message.info;
    InboundRecord {
        chat: info.source.chat.to_non_ad_string(),
        sender: info.source.sender.to_non_ad_string(),
        id: info.id.to_string(),
        sent_at: u64::try_from(info.timestamp.timestamp_millis()).unwrap_or(0),
        received_at: wall_ms(),
        text: text_of(&message.message),
    }
}

/// What a person wrote, or reacted with; empty for a message without text, which is recorded all the same.
fn text_of(message: &Message) -> String {
    let base = message.get_base_message();
    let reaction = base
        .reaction_message
        .as_option()
        .and_then(|reaction| reaction.text.as_deref());
    reaction.or(message.text_content()).unwrap_or_default().to_owned()
}
