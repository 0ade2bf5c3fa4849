//! What may be the answer to an alert, read out of a message.

use waproto::whatsapp::{ContextInfo, Message};

use crate::outbox::{MessageId, Said};

/// Wrappers around a message that are taken off: of another device of the account, of a disappearing one, of one to be
/// seen once. The apps use three at the most.
const WRAPPERS_MAX: usize = 8;

/// A text with more characters is no word that acknowledges anything.
const WORD_CHARS_MAX: usize = 64;

/// What of `message` may acknowledge an alert. `None`: nothing, as in most messages, in a reaction that is taken back,
/// and in what changes or removes an earlier message.
pub(super) fn said_in(message: &Message) -> Option<Said> {
    let message = unwrapped(message)?;
    if let Some(reaction) = message.reaction_message.as_option() {
        let is_there = reaction.text.as_deref().is_some_and(|text| !text.is_empty());
        let to = reaction.key.as_option()?.id.clone();
        return to.filter(|_| is_there).map(|to| Said::Reaction(MessageId(to)));
    }
    if let Some(quoted) = context_of(message).and_then(|context| context.stanza_id.clone()) {
        return Some(Said::Reply(MessageId(quoted)));
    }
    let extended = message.extended_text_message.as_option();
    let text = message.conversation.as_deref().filter(|text| !text.is_empty());
    let text = text.or_else(|| extended?.text.as_deref())?;
    let is_word = text.trim().chars().nth(WORD_CHARS_MAX).is_none() && !text.trim().is_empty();
    is_word.then(|| Said::Text(text.to_owned()))
}

/// The message itself; `None` where it only changes another one.
fn unwrapped(message: &Message) -> Option<&Message> {
    let mut message = message;
    for _ in 0..WRAPPERS_MAX {
        if message.edited_message.is_set() || message.protocol_message.is_set() {
            return None;
        }
        let sent = message.device_sent_message.as_option();
        let wrappers = [
            &message.ephemeral_message,
            &message.view_once_message,
            &message.view_once_message_v2,
            &message.view_once_message_v2_extension,
            &message.document_with_caption_message,
        ];
        let wrapped = wrappers
            .into_iter()
            .find_map(|wrapper| wrapper.as_option()?.message.as_option());
        match sent.and_then(|sent| sent.message.as_option()).or(wrapped) {
            Some(inner) => message = inner,
            None => return Some(message),
        }
    }
    None
}

/// Where a message says what it quotes, whatever it is.
fn context_of(message: &Message) -> Option<&ContextInfo> {
    macro_rules! first_of {
        ($($kind:ident),+) => {
            None$(.or_else(|| message.$kind.as_option()?.context_info.as_option()))+
        };
    }
    first_of!(
        extended_text_message,
        image_message,
        video_message,
        ptv_message,
        audio_message,
        document_message,
        sticker_message,
        location_message,
        live_location_message,
        contact_message,
        contacts_array_message,
        poll_creation_message,
        poll_creation_message_v3
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use waproto::buffa::MessageField;
    use waproto::whatsapp::MessageKey;
    use waproto::whatsapp::message::{
        DeviceSentMessage, ExtendedTextMessage, FutureProofMessage, ImageMessage, ProtocolMessage, ReactionMessage,
    };

    fn text(text: &str) -> Message {
        Message {
            conversation: Some(text.into()),
            ..Message::default()
        }
    }

    fn reaction(emoji: Option<&str>) -> Message {
        Message {
            reaction_message: MessageField::some(ReactionMessage {
                key: MessageField::some(MessageKey {
                    id: Some("3EB0AA".into()),
                    from_me: Some(false),
                    ..MessageKey::default()
                }),
                text: emoji.map(Into::into),
                ..ReactionMessage::default()
            }),
            ..Message::default()
        }
    }

    fn quoting() -> MessageField<ContextInfo> {
        MessageField::some(ContextInfo {
            stanza_id: Some("3EB0AA".into()),
            ..ContextInfo::default()
        })
    }

    fn wrapped(message: Message) -> MessageField<FutureProofMessage> {
        MessageField::some(FutureProofMessage {
            message: MessageField::some(message),
        })
    }

    #[test]
    fn an_answer_is_read_in_every_form_and_wrapper_of_the_apps() {
        let to = || MessageId("3EB0AA".into());
        let reply = Message {
            extended_text_message: MessageField::some(ExtendedTextMessage {
                text: Some("on it".into()),
                context_info: quoting(),
                ..ExtendedTextMessage::default()
            }),
            ..Message::default()
        };
        let picture = Message {
            image_message: MessageField::some(ImageMessage {
                caption: Some("seen".into()),
                context_info: quoting(),
                ..ImageMessage::default()
            }),
            ..Message::default()
        };
        let extended = Message {
            extended_text_message: MessageField::some(ExtendedTextMessage {
                text: Some("ok".into()),
                ..ExtendedTextMessage::default()
            }),
            ..Message::default()
        };
        let expected = [
            (text("Ok!"), Said::Text("Ok!".into())),
            (extended, Said::Text("ok".into())),
            (reaction(Some("👍")), Said::Reaction(to())),
            (reply, Said::Reply(to())),
            (picture, Said::Reply(to())),
        ];
        for (message, said) in expected {
            assert_eq!(said_in(&message), Some(said.clone()));
            let disappearing = Message {
                ephemeral_message: wrapped(message.clone()),
                ..Message::default()
            };
            let once = Message {
                view_once_message_v2: wrapped(message),
                ..Message::default()
            };
            let own = Message {
                device_sent_message: MessageField::some(DeviceSentMessage {
                    message: MessageField::some(disappearing.clone()),
                    ..DeviceSentMessage::default()
                }),
                ..Message::default()
            };
            for message in [disappearing, once, own] {
                assert_eq!(said_in(&message), Some(said.clone()));
            }
        }
    }

    #[test]
    fn what_takes_back_or_changes_a_message_is_no_answer() {
        let edit = Message {
            protocol_message: MessageField::some(ProtocolMessage {
                edited_message: MessageField::some(text("ok")),
                ..ProtocolMessage::default()
            }),
            ..Message::default()
        };
        let wrapped_edit = Message {
            edited_message: wrapped(edit.clone()),
            ..Message::default()
        };
        let edited_text = Message {
            edited_message: wrapped(text("ok")),
            ..Message::default()
        };
        let deep = (0..40).fold(text("ok"), |inner, _| Message {
            ephemeral_message: wrapped(inner),
            ..Message::default()
        });
        let nothing = [
            reaction(Some("")),
            reaction(None),
            edit,
            wrapped_edit,
            edited_text,
            deep,
            text(" \n"),
            text(&"ok ".repeat(40)),
            Message::default(),
        ];
        for message in nothing {
            assert_eq!(said_in(&message), None, "{message:?}");
        }
    }
}
