//! How a message says which earlier one it quotes.

use wacore::proto_helpers::{MessageBuilderExt as _, build_quote_context};
use wacore_binary::Jid;
use waproto::whatsapp::{ContextInfo, Message};
use whatsapp_rust::Client;

use crate::outbox::Quote;

/// What goes into the context of a message to `chat` that quotes `quote`, a message of ours there. The apps show the
/// text that stands here, and jump to the message by its id. `None` while nobody knows who we are.
pub(super) fn context(client: &Client, chat: &Jid, quote: &Quote) -> Option<ContextInfo> {
    let own = if chat.is_lid() { client.lid() } else { client.pn() };
    let own = own.as_ref().map(Jid::to_non_ad)?;
    let quoted = Message::text(quote.text.as_str());
    Some(build_quote_context(quote.id.0.as_str(), own.to_string(), &quoted))
}
