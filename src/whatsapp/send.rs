//! From an alert's text to a message on the wire, and the list of chats one can send to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use futures_lite::future;
use wacore::proto_helpers::MessageBuilderExt;
use wacore_binary::Jid;
use waproto::whatsapp::Message;
use whatsapp_rust::{Client, IqError, SendError, SendOptions};

use super::events::{LineEvent, Sorter};
use super::handle::Notice;
use crate::alert::{Chat, Recipient, SessionName};
use crate::outbox::MessageId;
use crate::store::{Store, inbound};

/// Encrypting for a recipient may first ask the server for devices and keys. Past this the attempt is given up, and the
/// next one uses the same message id. Below the outbox's deadline for the ack, so that no two attempts overlap.
pub(super) const SEND_DEADLINE: Duration = Duration::from_secs(25);

/// Messages looked through for chats that are no groups.
const CHATS_FROM_INBOUND: usize = 1000;

/// Sends, and says what came of it. The server's ack comes separately, perhaps before this returns.
/// When it did not come to an end in time, `sorter` is told: pings may be answered on a line that carries nothing else,
/// and what was never written gets no ack to miss.
pub(super) async fn deliver(
    client: Arc<Client>,
    sorter: Arc<Sorter>,
    recipient: Recipient,
    message_id: MessageId,
    text: String,
) -> Notice {
    let Some(jid) = jid_of(&client, &recipient) else {
        let error = "the account's own number is not known".to_owned();
        return Notice::SendFailed {
            message_id,
            error,
            permanent: false,
        };
    };
    let options = SendOptions::default().with_message_id(message_id.0.clone());
    let sending = client.send_message_with_options(jid, Message::text(text), options);
    let late = async {
        Timer::after(SEND_DEADLINE).await;
        sorter.forward(LineEvent::SendStuck);
        Err(SendError::Internal(anyhow::anyhow!(
            "not written within {} s",
            SEND_DEADLINE.as_secs()
        )))
    };
    match future::or(sending, late).await {
        Ok(_) => Notice::Written { message_id },
        Err(error) => {
            let permanent = refused_for_good(&error);
            Notice::SendFailed {
                message_id,
                error: error.to_string(),
                permanent,
            }
        }
    }
}

/// An answer of the server to the questions that a send begins with (who is in the group, which devices, which keys) that
/// will be the same every time: no such group or number, not a member, not allowed.
fn refused_for_good(error: &SendError) -> bool {
    match error {
        SendError::InvalidRequest(_) => true,
        SendError::Iq(IqError::ServerError { code, .. }) => matches!(code, 401 | 403 | 404 | 406 | 410),
        _ => false,
    }
}

fn jid_of(client: &Client, recipient: &Recipient) -> Option<Jid> {
    match recipient {
        Recipient::Number(number) => Some(Jid::pn(number.as_str())),
        Recipient::Group(group) => Some(Jid::group(group.as_str())),
        Recipient::Me => {
            let device = client.persistence_manager().get_device_snapshot();
            device.pn.as_ref().map(Jid::to_non_ad)
        }
    }
}

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
        let name = group.subject.to_string();
        chats.insert(
            to.clone(),
            Chat {
                to,
                name,
                kind: "group".into(),
                session: session.to_string(),
            },
        );
    }
    let seen = inbound::newest(store.view(), session, CHATS_FROM_INBOUND).map_err(|error| error.to_string())?;
    for message in seen {
        if let Some(number) = message.chat.strip_suffix("@s.whatsapp.net") {
            let to = format!("+{number}");
            let chat = Chat {
                to: to.clone(),
                name: String::new(),
                kind: "contact".into(),
                session: session.to_string(),
            };
            chats.entry(to).or_insert(chat);
        }
    }
    Ok(chats.into_values().collect())
}
