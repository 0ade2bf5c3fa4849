//! What left for the server and waits for its ack: whom it was encrypted for, and what the ack says about that.
//!
//! An ack says that the server took a stanza, not that the recipient is in it. And it carries a hash of the devices
//! that the server knows for the chat: another one than ours means that somebody has a device that we did not know of.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use wacore::messages::MessageUtils;
use wacore_binary::{Jid, JidExt as _, Node};
use waproto::whatsapp::Message;
use whatsapp_rust::{Client, NodeFilter};

use super::recipients::Own;
use crate::outbox::MessageId;
use crate::util::lock;

/// Messages that wait for an ack at once, of a session whose outbox leases far fewer; the oldest goes first.
const WAITING_MAX: usize = 128;

/// Chats whose devices are to be asked for again.
const STALE_MAX: usize = 1024;

/// One message on its way.
pub(super) struct Flight {
    pub(super) chat: Jid,
    pub(super) own: Own,
    pub(super) message: Arc<Message>,
    /// Ready once the library has handed the stanza to the socket, and before it is written.
    stanza: Pin<Box<dyn Future<Output = Option<Arc<Node>>> + Send>>,
    seen: Option<Arc<Node>>,
}

impl Flight {
    /// To be called before the send, which makes the stanza.
    pub(super) fn new(client: &Client, chat: &Jid, own: Own, message: Arc<Message>, id: &MessageId) -> Self {
        let filter = NodeFilter::tag("message").attr("id", id.0.as_str());
        let sent = client.wait_for_sent_node(filter);
        Self {
            chat: chat.clone(),
            own,
            message,
            stanza: Box::pin(async move { sent.await.ok() }),
            seen: None,
        }
    }

    /// The stanza, if it has been made.
    fn look(&mut self) -> Option<&Arc<Node>> {
        if self.seen.is_none()
            && let Poll::Ready(stanza) = self.stanza.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            // Ready once, and never asked again.
            self.stanza = Box::pin(std::future::pending());
            self.seen = stanza;
        }
        self.seen.as_ref()
    }

    /// The devices that have a part of their own in the stanza.
    pub(super) fn devices(&mut self) -> Vec<Jid> {
        self.look().map(|stanza| devices_in(stanza)).unwrap_or_default()
    }

    /// No device of the recipient can read the stanza. In a group everybody who has our sender key can.
    fn is_unreadable(&mut self) -> bool {
        let (chat, own) = (self.chat.clone(), self.own.clone());
        let Some(stanza) = self.look().filter(|_| !chat.is_group()) else {
            return false;
        };
        let whole = stanza.get_optional_child("enc").is_some();
        let counts = |device: &Jid| own.is_account(&chat) || !own.is_account(device);
        !whole && !devices_in(stanza).iter().any(counts)
    }

    /// The hash of the devices as we know them.
    fn hash(&mut self) -> Option<String> {
        let group = self.chat.is_group();
        let stanza = self.look()?;
        if group {
            return stanza.attrs.get("phash").map(|hash| hash.as_str().into_owned());
        }
        MessageUtils::participant_list_hash(&devices_in(stanza)).ok()
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flight(…)")
    }
}

fn devices_in(stanza: &Node) -> Vec<Jid> {
    let parts = stanza.get_optional_child("participants").and_then(Node::children);
    let devices = parts.unwrap_or_default().iter();
    devices.filter_map(|part| part.attrs.get("jid")?.to_jid()).collect()
}

/// What an ack is worth.
pub(super) enum Worth {
    /// As it looks.
    Taken,
    /// The server took what nobody can read.
    Nothing,
    /// It was taken, and the server knows of other devices than the stanza was made for.
    DevicesDiffer(Flight),
}

/// The messages that wait for acks.
#[derive(Default)]
pub(super) struct Written(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    flights: VecDeque<(MessageId, Flight)>,
    stale: BTreeSet<String>,
}

impl Written {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.0)
    }

    /// A message is about to be sent, perhaps once more.
    pub(super) fn begin(&self, id: &MessageId, flight: Flight) {
        let mut waiting = self.lock();
        waiting.flights.retain(|(known, _)| known != id);
        if waiting.flights.len() == WAITING_MAX {
            waiting.flights.pop_front();
        }
        waiting.flights.push_back((id.clone(), flight));
    }

    /// It was not sent after all.
    pub(super) fn end(&self, id: &MessageId) {
        self.lock().flights.retain(|(known, _)| known != id);
    }

    /// Whether what was written for `id` is of no use to the recipient.
    pub(super) fn is_unreadable(&self, id: &MessageId) -> bool {
        let mut waiting = self.lock();
        let flight = waiting.flights.iter_mut().find(|(known, _)| known == id);
        flight.is_some_and(|(_, flight)| flight.is_unreadable())
    }

    /// The server's ack for `id`, with the hash of devices in it if there is one.
    pub(super) fn acked(&self, id: &MessageId, hash: Option<&str>) -> Worth {
        let mut waiting = self.lock();
        let Some(at) = waiting.flights.iter().position(|(known, _)| known == id) else {
            return Worth::Taken;
        };
        if waiting.flights[at].1.is_unreadable() {
            return Worth::Nothing;
        }
        let Some((_, mut flight)) = waiting.flights.remove(at) else {
            return Worth::Taken;
        };
        let differs = hash.is_some() && flight.hash().is_some_and(|ours| hash != Some(&ours));
        if !differs {
            return Worth::Taken;
        }
        if waiting.stale.len() < STALE_MAX {
            waiting.stale.insert(flight.chat.to_string());
        }
        Worth::DevicesDiffer(flight)
    }

    /// Whether the devices of this chat are to be asked for again, once.
    pub(super) fn take_stale(&self, chat: &Jid) -> bool {
        self.lock().stale.remove(&chat.to_string())
    }

    /// They were not told.
    pub(super) fn still_stale(&self, chat: &Jid) {
        self.lock().stale.insert(chat.to_string());
    }
}
