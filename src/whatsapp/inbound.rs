//! Messages from others: on disk before the server is told that we have them.

use std::sync::Arc;

use wacore::types::events::InboundMessage;
use wacore::types::message::MessageCategory;
use waproto::whatsapp::Message;
use whatsapp_rust::{Client, InboundDurabilityHook};

use crate::alert::SessionName;
use crate::store::Store;
use crate::store::inbound::{InboundRecord, record_new};

/// The library acks a message only after this has returned `Ok`. After a crash in between the server sends it again, and
/// the record is found to exist.
pub(super) struct InboundRecorder {
    pub(super) store: Store,
    pub(super) session: SessionName,
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
        let new = record_new(&self.store, &self.session, records).await?;
        log::debug!("session {}: {new} new message(s) recorded", self.session);
        Ok(())
    }
}

fn to_record(message: &InboundMessage) -> InboundRecord {
    let info = &message.info;
    InboundRecord {
        chat: info.source.chat.to_non_ad_string(),
        sender: info.source.sender.to_non_ad_string(),
        id: info.id.to_string(),
        sent_at: u64::try_from(info.timestamp.timestamp_millis()).unwrap_or(0),
        received_at: u64::try_from(wacore::time::now_millis()).unwrap_or(0),
        text: text_of(&message.message),
    }
}

/// What a person wrote; empty for a message without text, which is recorded all the same.
fn text_of(message: &Message) -> String {
    use wacore::proto_helpers::MessageExt;
    message.text_content().unwrap_or_default().to_owned()
}
