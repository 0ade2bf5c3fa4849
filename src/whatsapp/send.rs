//! From an alert's text to a message on the wire.

use std::sync::Arc;

use futures_lite::future;
use wacore_binary::Jid;
use waproto::whatsapp::Message;
use whatsapp_rust::{IqError, SendError, SendOptions};

use super::directory::Directory;
use super::events::{LineEvent, Sorter};
use super::handle::Notice;
use super::patience;
use super::recipients::{Asking, Own};
use super::timers::Timers;
use super::written::Flight;
use crate::alert::Recipient;
use crate::outbox::MessageId;

/// Sends, and says what came of it. The server's ack comes separately, perhaps before this returns.
/// When it did not come to an end in time, `sorter` is told: pings may be answered on a line that carries nothing else,
/// and what was never written gets no ack to miss.
pub(super) async fn deliver(
    asking: Asking,
    sorter: Arc<Sorter>,
    directory: Arc<Directory>,
    timers: Arc<Timers>,
    recipient: Recipient,
    message_id: MessageId,
    text: String,
) -> Notice {
    let sending = async {
        let to = match directory.way_to(&asking.client, &recipient, &message_id).await {
            Ok(to) => to,
            Err(no_way) => return Ok(Err(no_way)),
        };
        send(&asking, &sorter, &timers, &to, &message_id, text).await.map(Ok)
    };
    let late = async {
        let words = patience::runs_out(&asking.client, &sorter, || (asking.progress)()).await;
        sorter.forward(LineEvent::SendStuck);
        Err(SendError::Internal(anyhow::Error::msg(words)))
    };
    match future::or(sending, late).await {
        Ok(Ok(())) => Notice::Written { message_id },
        Ok(Err(no_way)) => Notice::SendFailed {
            message_id,
            error: no_way.to_string(),
            permanent: no_way.is_permanent(),
        },
        Err(error) => {
            sorter.written.end(&message_id);
            let permanent = refused_for_good(&error);
            Notice::SendFailed {
                message_id,
                error: error.to_string(),
                permanent,
            }
        }
    }
}

async fn send(
    asking: &Asking,
    sorter: &Sorter,
    timers: &Timers,
    to: &Jid,
    message_id: &MessageId,
    text: String,
) -> Result<(), SendError> {
    let message = Arc::new(timers.message(&asking.client, to, text).await);
    let afresh = sorter.written.take_stale(to);
    let prepared = asking.prepare(to, afresh).await;
    if prepared.is_err() && afresh {
        sorter.written.still_stale(to);
    }
    // Held until the library has done its part.
    let _prepared = prepared?;
    let own = Own::of(&asking.client)?;
    let flight = Flight::new(&asking.client, to, own, Arc::clone(&message), message_id);
    sorter.written.begin(message_id, flight);
    let options = SendOptions::default().with_message_id(message_id.0.clone());
    let message = Message::clone(&message);
    asking
        .client
        .send_message_with_options(to.clone(), message, options)
        .await?;
    if sorter.written.is_hollow(message_id) {
        // There were keys, and nothing could be encrypted with them.
        asking.forget_sessions(to).await;
        let words = "not sent: no device of the recipient could be encrypted for";
        return Err(SendError::Internal(anyhow::Error::msg(words)));
    }
    Ok(())
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
