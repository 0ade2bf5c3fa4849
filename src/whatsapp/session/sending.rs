//! What goes out of a session, and what is told of it afterwards.

use std::sync::Arc;
use std::time::Instant;

use super::Session;
use crate::line::{Cause, Input};
use crate::outbox::{Message, MessageId, SendFailure};
use crate::whatsapp::catch_up::catch_up;
use crate::whatsapp::client::LiveClient;
use crate::whatsapp::handle::Notice;
use crate::whatsapp::media::Prepared;
use crate::whatsapp::recipients::Asking;
use crate::whatsapp::written::Flight;
use crate::whatsapp::{patience, send};

impl Session {
    pub(super) async fn on_send(&mut self, message: Message, fresh: bool) {
        let Some(client) = self.client.as_ref().filter(|_| self.is_up()) else {
            let (message_id, failure) = (message.id, SendFailure::Path("the line is down".to_owned()));
            return self.notify(Notice::SendFailed { message_id, failure }).await;
        };
        let said = match self.uploads.prepare(&message) {
            Prepared::Ready(said) => said,
            Prepared::Uploading => {
                let (message_id, failure) = (message.id.clone(), SendFailure::Uploading);
                self.notify(Notice::SendFailed { message_id, failure }).await;
                // Only now: that it is over has to be told after that it is under way.
                return self.uploads.wait_for(&message);
            }
        };
        let (asking, mapper) = (self.asking(client, &message.id), Arc::clone(&client.mapper));
        let kept = (Arc::clone(&self.parts.timers), Arc::clone(&self.uploads));
        let Message {
            id,
            recipient,
            content: _,
            quotes,
        } = message;
        let outgoing = send::Outgoing {
            id,
            recipient,
            said,
            quotes,
            fresh,
        };
        let outcome = send::deliver(asking, mapper, Arc::clone(&self.parts.directory), kept, outgoing);
        self.supervisor.handle(Instant::now(), Input::Sent);
        let (notices, name) = (self.notices.clone(), self.name.clone());
        let sending = async move {
            let _ = notices.send((name, outcome.await)).await;
        };
        self.parts.executor.spawn(sending).detach();
    }

    /// It was sent; people are told where something of it was left out.
    pub(super) async fn note_without_attachment(&self, message_id: MessageId) {
        if let Some(why) = self.uploads.given_up(&message_id) {
            let words = format!("sent without its attachment: {why}");
            self.notify(Notice::Incomplete { message_id, words }).await;
        }
    }

    /// Unless the line is a newer one than the send waited on.
    pub(super) fn on_send_stuck(&mut self) {
        let now = Instant::now();
        let upgraded_at = self.client.as_ref().and_then(LiveClient::upgraded_at);
        if upgraded_at.is_some_and(|at| at + patience::SILENCE_MAX <= now) {
            self.supervisor.handle(now, Input::Suspect(Cause::AckTimeout));
        }
    }

    /// What a send asks with, and where it says that it does.
    pub(super) fn asking(&self, client: &LiveClient, message_id: &MessageId) -> Asking {
        let (notices, name, message_id) = (self.notices.clone(), self.name.clone(), message_id.clone());
        let progress = move || {
            let message_id = message_id.clone();
            // One that does not fit is followed by others.
            drop(notices.try_send((name.clone(), Notice::Asking { message_id })));
        };
        Asking {
            client: Arc::clone(&client.client),
            credentials: self.parts.credentials.clone(),
            executor: Arc::clone(&self.parts.executor),
            progress: Arc::new(progress),
        }
    }

    pub(super) fn on_devices_differ(&self, message_id: MessageId, flight: Flight) {
        let Some(client) = &self.client else { return };
        let asking = self.asking(client, &message_id);
        let (notices, name) = (self.notices.clone(), self.name.clone());
        let catching_up = async move {
            if let Some(words) = catch_up(&asking, &message_id, flight).await {
                let _ = notices.send((name, Notice::Incomplete { message_id, words })).await;
            }
        };
        self.parts.executor.spawn(catching_up).detach();
    }
}
