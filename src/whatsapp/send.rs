//! From an alert's text to a message on the wire.

use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use futures_lite::future;
use whatsapp_rust::{Client, IqError, SendError, SendOptions};

use super::directory::Directory;
use super::events::{LineEvent, Sorter};
use super::handle::Notice;
use super::timers::Timers;
use crate::alert::Recipient;
use crate::outbox::MessageId;

/// Encrypting for a recipient may first ask the server for devices and keys. Past this the attempt is given up, and the
/// next one uses the same message id. Below the outbox's deadline for the ack, so that no two attempts overlap.
pub(super) const SEND_DEADLINE: Duration = Duration::from_secs(25);

/// Sends, and says what came of it. The server's ack comes separately, perhaps before this returns.
/// When it did not come to an end in time, `sorter` is told: pings may be answered on a line that carries nothing else,
/// and what was never written gets no ack to miss.
pub(super) async fn deliver(
    client: Arc<Client>,
    sorter: Arc<Sorter>,
    directory: Arc<Directory>,
    timers: Arc<Timers>,
    recipient: Recipient,
    message_id: MessageId,
    text: String,
) -> Notice {
    let sending = async {
        let jid = match directory.way_to(&client, &recipient, &message_id).await {
            Ok(jid) => jid,
            Err(no_way) => return Ok(Err(no_way)),
        };
        let options = SendOptions::default().with_message_id(message_id.0.clone());
        let message = timers.message(&client, &jid, text).await;
        client.send_message_with_options(jid, message, options).await.map(Ok)
    };
    let late = async {
        Timer::after(SEND_DEADLINE).await;
        sorter.forward(LineEvent::SendStuck);
        Err(SendError::Internal(anyhow::anyhow!(
            "not written within {} s",
            SEND_DEADLINE.as_secs()
        )))
    };
    match future::or(sending, late).await {
        Ok(Ok(_)) => Notice::Written { message_id },
        Ok(Err(no_way)) => Notice::SendFailed {
            message_id,
            error: no_way.to_string(),
            permanent: no_way.is_permanent(),
        },
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
