//! What a phone could not read and asks for again, where the library does nothing about it.
//!
//! The library answers a retry receipt by itself while it finds its copy of the message and has not been asked for it
//! four times. Otherwise it ignores the receipt, and with it the one thing that the phone has to say: that the
//! encryption session between the two is broken, so that the next message will not be readable either. This stands
//! around it: the session with that device is thrown away, the outbox is asked for the alert, and the alert goes to
//! that device once more under its old id, in a session that is made anew.
//!
//! With a library that answers from a store of the application's, at whatever count, and repairs the session also when
//! there is nothing to send, all of this would go.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wacore_binary::{Jid, JidExt as _, OwnedNodeRef};
use waproto::whatsapp::Message;
use whatsapp_rust::Client;
use whatsapp_rust::features::MessageRetransmission;

use super::parts::ClientParts;
use super::quote;
use crate::alert::Recipient;
use crate::credentials::Credentials;
use crate::outbox;
use crate::util::lock;

/// The library refuses a receipt with this count or a higher one (`MAX_RETRY_COUNT`).
const COUNT_REFUSED: u8 = 5;

/// One device gets one message in this way once in so long. Each time costs a question for keys, and a phone that can
/// never read must not make a storm.
const SAME_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Once in so long all members of one group are given the group's key anew.
const SAME_GROUP_AFTER: Duration = Duration::from_secs(3600);

/// How many repairs' times are remembered, and so how many there may be in one pause.
const REMEMBERED_MAX: usize = 512;

/// A retry receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub(super) message_id: String,
    /// How often that device has asked for it, this time included.
    pub(super) count: u8,
    /// The group, or the device itself.
    pub(super) from: Jid,
    /// The device, in a group.
    pub(super) participant: Option<Jid>,
}

impl Asked {
    /// `None` where the stanza is something else, or does not say for what and by whom it asks.
    pub(super) fn of(node: &OwnedNodeRef) -> Option<Self> {
        let node = node.get();
        let is = |name: &str, value: &str| node.get_attr(name).is_some_and(|found| found.as_str() == value);
        if node.tag.as_ref() != "receipt" || !is("type", "retry") {
            return None;
        }
        let retry = node.get_optional_child("retry")?;
        let count = retry.get_attr("count").and_then(|count| count.as_str().parse().ok());
        Some(Self {
            message_id: retry.get_attr("id")?.as_str().into_owned(),
            count: count.unwrap_or(1),
            from: node.attrs().optional_jid("from")?,
            participant: node.attrs().optional_jid("participant"),
        })
    }

    /// Who asks. `None` for a group without a participant.
    pub(super) fn device(&self) -> Option<&Jid> {
        let device = self.participant.as_ref().unwrap_or(&self.from);
        (device.server.is_pn_family() || device.server.is_lid_family()).then_some(device)
    }
}

/// When what was repaired, so that it is not repaired without end.
#[derive(Debug, Default)]
pub(super) struct Repairs(Mutex<VecDeque<(String, Instant)>>);

impl Repairs {
    /// Whether `what` was not done for `pause` until `now`; then it counts as done.
    fn may(&self, what: String, pause: Duration, now: Instant) -> bool {
        let mut done = lock(&self.0);
        let recent = |at: Instant| now.saturating_duration_since(at) < pause;
        if done.iter().any(|(known, at)| *known == what && recent(*at)) {
            return false;
        }
        done.retain(|(known, _)| *known != what);
        if done.len() == REMEMBERED_MAX {
            // More than that in one pause is a storm, whoever makes it.
            if done.front().is_some_and(|(_, at)| recent(*at)) {
                return false;
            }
            done.pop_front();
        }
        done.push_back((what, now));
        true
    }
}

/// Repairs the session with the device that asks, if the library does not. Says for whom the outbox should be asked:
/// the address of the device.
pub(super) async fn repair(
    client: &Client,
    credentials: &Credentials,
    repairs: &Repairs,
    asked: &Asked,
) -> Option<String> {
    let device = asked.device()?;
    let kept = credentials.keeps_sent(&asked.message_id).await.unwrap_or(false);
    if kept && asked.count < COUNT_REFUSED {
        return None;
    }
    let now = Instant::now();
    if !repairs.may(format!("{device} {}", asked.message_id), SAME_AGAIN_AFTER, now) {
        return None;
    }
    log::info!(
        "a device could not read a message and has asked {} times: its session is made anew",
        asked.count
    );
    if let Err(error) = client.signal().delete_sessions(std::slice::from_ref(device)).await {
        log::warn!("the session with a device that cannot read messages could not be made anew: {error}");
    }
    if asked.from.is_group() && repairs.may(asked.from.to_string(), SAME_GROUP_AFTER, now) {
        // Without a key of our own the next message to the group hands out a new one to all.
        for own in [client.lid(), client.pn()].into_iter().flatten() {
            if let Err(error) = client.signal().delete_sender_key(&asked.from, &own).await {
                log::warn!("the key of a group could not be made anew: {error}");
            }
        }
    }
    Some(device.to_string())
}

/// An alert for one device that could not read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Again {
    pub message: outbox::Message,
    /// The device's address, out of [`Notice::AskedAgain`](super::Notice::AskedAgain): one of the recipient's, or of
    /// our own account.
    pub by: String,
}

/// Sends it once more under its id, as `message`.
pub(super) async fn send(client: Arc<Client>, parts: Arc<ClientParts>, message: Message, again: Again) {
    let outbox::Message {
        id, recipient, quotes, ..
    } = again.message;
    let Ok(device) = again.by.parse::<Jid>() else { return };
    let directory = &parts.directory;
    let Ok(chat) = directory.way_to(&client, &recipient, &id).await else {
        return;
    };
    let to_group = chat.is_group();
    let own = directory.names_of(&client, &device).await.contains(&Recipient::Me);
    let quoted = quotes.and_then(|quote| quote::context(&client, &chat, &quote));
    let message = parts.timers.timed(&client, &chat, message, quoted).await;
    let again = MessageRetransmission::new(chat.clone(), device, message, id.0, COUNT_REFUSED - 1);
    let again = match own && !to_group {
        true => again.with_recipient(chat),
        false => again,
    };
    if let Err(error) = client.retransmit_message(again).await {
        log::warn!("an alert that a device asked for again could not be sent to it: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_repair_is_not_made_again_at_once_and_another_is() {
        let (repairs, start) = (Repairs::default(), Instant::now());
        let minute = Duration::from_secs(60);
        assert!(repairs.may("a".into(), minute, start));
        assert!(!repairs.may("a".into(), minute, start + minute / 2));
        assert!(repairs.may("b".into(), minute, start));
        assert!(repairs.may("a".into(), minute, start + minute));
        assert!(
            !repairs.may("a".into(), minute, start + minute),
            "the time counts from the last"
        );
        let made = (0..2 * REMEMBERED_MAX).filter(|other| repairs.may(other.to_string(), minute, start + minute));
        assert_eq!(made.count(), REMEMBERED_MAX - 1, "and `b`, which is over");
        assert_eq!(repairs.0.lock().unwrap().len(), REMEMBERED_MAX);
        assert!(repairs.may("later".into(), minute, start + 2 * minute));
    }
}
