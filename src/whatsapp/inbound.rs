//! Messages from others: on disk before the server is told that we have them.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use wacore::types::events::InboundMessage;
use wacore::types::message::MessageCategory;
use waproto::whatsapp::Message;
use whatsapp_rust::{Client, InboundDurabilityHook};

use super::events::{EventMapper, LineEvent};
use super::timers::Timers;
use crate::alert::SessionName;
use crate::store::inbound::{InboundRecord, record_new};
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
}

impl InboundRecorder {
    /// A disk that takes nothing for now is waited for, as long as the line lasts: refused, the message would come
    /// again only at the next login.
    async fn record(&self, records: Vec<InboundRecord>) -> Result<usize, StoreError> {
        let line = self.mapper.line();
        loop {
            match record_new(&self.store, &self.session, records.clone()).await {
                Err(error @ (StoreError::Full(_) | StoreError::ReadOnly(_))) if self.mapper.line() == line => {
                    log::debug!("session {}: a message waits: {error}", self.session);
                    Timer::after(AGAIN_AFTER).await;
                }
                done => return done,
            }
        }
    }
}

#[async_trait::async_trait]
impl InboundDurabilityHook for InboundRecorder {
    async fn on_messages(&self, _client: Arc<Client>, batch: &[InboundMessage]) -> anyhow::Result<()> {
        // Peer messages are the account's own devices talking to each other: keys, history, settings.
        let from_people = batch
            .iter()
            .filter(|message| message.info.category != MessageCategory::Peer);
        let records: Vec<_> = from_people.map(to_record).collect();
        if records.is_empty() {
            return Ok(());
        }
        let ids: Vec<u64> = records.iter().map(number_of).collect();
        self.mapper.emit(LineEvent::AckHeld { ids: ids.clone() });
        self.timers.learn_from(batch).await;
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

/// What a person wrote; empty for a message without text, which is recorded all the same.
fn text_of(message: &Message) -> String {
    use wacore::proto_helpers::MessageExt;
    message.text_content().unwrap_or_default().to_owned()
}
