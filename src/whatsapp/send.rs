//! From a message of the outbox to one on the wire.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future;
use wacore_binary::Jid;
use waproto::whatsapp::Message;
use whatsapp_rust::{ErrorChainExt as _, SendError, SendOptions};

use super::afresh;
use super::directory::Directory;
use super::events::{EventMapper, LineEvent, TOO_MUCH};
use super::handle::Notice;
use super::media::{Said, Uploads, addressed};
use super::patience;
use super::quote;
use super::recipients::{Asking, Own};
use super::timers::Timers;
use super::written::Flight;
use crate::alert::Recipient;
use crate::outbox::{MessageId, Quote, SendFailure};

/// A message, as the outbox wants it sent.
pub(super) struct Outgoing {
    pub id: MessageId,
    pub recipient: Recipient,
    pub said: Said,
    pub quotes: Option<Quote>,
    /// Ask the server anew for all that is known of the recipient before.
    pub fresh: bool,
}

/// Sends, and says what came of it. The server's ack comes separately, perhaps before this returns.
/// When it did not come to an end in time, `mapper` is told: pings may be answered on a line that carries nothing else,
/// and what was never written gets no ack to miss.
pub(super) async fn deliver(
    asking: Asking,
    mapper: Arc<EventMapper>,
    directory: Arc<Directory>,
    (timers, uploads): (Arc<Timers>, Arc<Uploads>),
    outgoing: Outgoing,
) -> Notice {
    let Outgoing {
        id: message_id,
        recipient,
        said,
        quotes,
        fresh,
    } = outgoing;
    let began = Instant::now();
    let sending = async {
        let to = match directory.way_to(&asking.client, &recipient, &message_id).await {
            Ok(to) => to,
            Err(no_way) => return Ok(Err(no_way)),
        };
        let message = addressed(uploads.message(said).await, &to);
        let quoted = quotes.and_then(|quote| quote::context(&asking.client, &to, &quote));
        let message = timers.timed(&asking.client, &to, message, quoted).await;
        send(&asking, &mapper, &to, (&message_id, message, fresh)).await.map(Ok)
    };
    let late = async {
        let words = patience::runs_out(&asking.client, &mapper, || (asking.progress)()).await;
        mapper.emit(LineEvent::SendStuck);
        Err(SendError::Internal(anyhow::Error::msg(words)))
    };
    match future::or(sending, late).await {
        Ok(Ok(())) => Notice::Written { message_id },
        Ok(Err(no_way)) => {
            let words = no_way.to_string();
            let failure = match no_way.is_permanent() {
                true => SendFailure::Permanent(words),
                false => SendFailure::Path(words),
            };
            Notice::SendFailed { message_id, failure }
        }
        Err(error) => {
            mapper.written.end(&message_id);
            let failure = failure_of(&error, &mapper, began);
            Notice::SendFailed { message_id, failure }
        }
    }
}

async fn send(
    asking: &Asking,
    mapper: &EventMapper,
    to: &Jid,
    (message_id, message, fresh): (&MessageId, Message, bool),
) -> Result<(), SendError> {
    let message = Arc::new(message);
    if fresh && to.is_pn() {
        let sid = asking.client.generate_message_id();
        afresh::ask_for_lid(&asking.client, to, sid).await?;
    }
    let afresh = mapper.written.take_stale(to) || fresh;
    let prepared = asking.prepare(to, afresh).await;
    if prepared.is_err() && afresh {
        mapper.written.still_stale(to);
    }
    // Held until the library has done its part.
    let _prepared = prepared?;
    let own = Own::of(&asking.client)?;
    let flight = Flight::new(&asking.client, to, own, Arc::clone(&message), message_id);
    mapper.written.begin(message_id, flight);
    let options = SendOptions::default().with_message_id(message_id.0.clone());
    let message = Message::clone(&message);
    asking
        .client
        .send_message_with_options(to.clone(), message, options)
        .await?;
    if mapper.written.is_unreadable(message_id) {
        // There were keys, and nothing could be encrypted with them.
        asking.forget_sessions(to).await;
        let words = "not sent: no device of the recipient could be encrypted for";
        return Err(SendError::Internal(anyhow::Error::msg(words)));
    }
    Ok(())
}

/// What a send that `began` then came to nothing for. The questions that it begins with are who is in the group, which
/// devices there are, and which keys; the library does not always hand on how one was answered.
fn failure_of(error: &SendError, mapper: &EventMapper, began: Instant) -> SendFailure {
    let refused = |code, backoff| SendFailure::Refused { code, backoff };
    let seconds = |backoff: Option<u32>| backoff.map(|seconds| Duration::from_secs(seconds.into()));
    match (error, error.server_rejection()) {
        (SendError::InvalidRequest(_), _) => SendFailure::Permanent(error.to_string()),
        (SendError::Iq(_), Some(said)) => refused(said.code, seconds(said.backoff)),
        (_, Some(said)) if said.code == TOO_MUCH => refused(said.code, seconds(said.backoff)),
        _ if error.is_transport_unavailable() => SendFailure::Path(error.to_string()),
        // It was while this send asked, and most likely because of it. Another's pause would do no harm.
        _ => match mapper.limited_since(began) {
            Some(backoff) => refused(TOO_MUCH, backoff),
            None => SendFailure::Path(error.to_string()),
        },
    }
}
