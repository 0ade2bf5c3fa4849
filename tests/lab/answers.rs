//! Answers in the chats: reactions and messages that quote another, as a phone writes and reads them.

use wacore_binary::Jid;
use waproto::buffa::MessageField;
use waproto::whatsapp as wa;

/// A reaction that the phone has decrypted. Each (chat, sender, id) is here once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReactionSeen {
    pub id: String,
    /// As in what it receives.
    pub from: String,
    pub chat: String,
    /// The id of the message that it is on.
    pub to: String,
    /// Whether it says that its sender wrote that message.
    pub on_own: bool,
    /// Empty where it was taken back.
    pub emoji: String,
}

/// What a reaction is on: the message's id, and whether it is the sender's own. Then the emoji.
pub fn reaction_in(message: &wa::Message) -> Option<(String, bool, String)> {
    let reaction = message.reaction_message.as_option()?;
    let key = reaction.key.as_option()?;
    let emoji = reaction.text.clone().unwrap_or_default();
    Some((key.id.clone()?, key.from_me == Some(true), emoji))
}

/// The text of a message that is nothing else.
pub fn text_of(message: &wa::Message) -> Option<String> {
    let extended = || message.extended_text_message.as_option()?.text.clone();
    message
        .conversation
        .clone()
        .filter(|text| !text.is_empty())
        .or_else(extended)
}

/// What a text or a picture quotes.
pub fn quoted_in(message: &wa::Message) -> Option<(String, String)> {
    let text = message.extended_text_message.as_option();
    let text = text.and_then(|text| text.context_info.as_option());
    let picture = message.image_message.as_option();
    let context = text.or_else(|| picture?.context_info.as_option())?;
    let quoted = context.quoted_message.as_option();
    let says = quoted.and_then(text_of).unwrap_or_default();
    Some((context.stanza_id.clone()?, says))
}

/// A plain text, or an answer that quotes `quoted`: the id of a received message and its sender's address.
pub fn text_message(text: &str, quoted: Option<(String, Jid)>) -> wa::Message {
    let Some((id, sender)) = quoted else {
        return wa::Message {
            conversation: Some(text.into()),
            ..Default::default()
        };
    };
    let context = wa::ContextInfo {
        stanza_id: Some(id),
        participant: Some(sender.to_string()),
        ..Default::default()
    };
    wa::Message {
        extended_text_message: MessageField::some(wa::message::ExtendedTextMessage {
            text: Some(text.into()),
            context_info: MessageField::some(context),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A reaction on the message of this id.
pub fn reaction_message(id: &str, emoji: &str) -> wa::Message {
    let key = wa::MessageKey {
        id: Some(id.into()),
        from_me: Some(false),
        ..Default::default()
    };
    wa::Message {
        reaction_message: MessageField::some(wa::message::ReactionMessage {
            key: MessageField::some(key),
            text: Some(emoji.into()),
            ..Default::default()
        }),
        ..Default::default()
    }
}
