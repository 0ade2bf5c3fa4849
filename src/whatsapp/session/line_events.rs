//! What the line tells of itself and of the server, and what a session makes of it.

use std::sync::Arc;
use std::time::Instant;

use super::pairing::Pairing;
use super::{LibraryRun, Session, masked};
use crate::line::{Cause, Input, PairEvent};
use crate::outbox::MessageId;
use crate::util::{millis, wall_ms};
use crate::whatsapp::events::LineEvent;
use crate::whatsapp::handle::Notice;
use crate::whatsapp::keepalive;

impl Session {
    pub(super) async fn on_line_event(&mut self, event: LineEvent) {
        match event {
            LineEvent::Qr { payload, valid } => {
                self.show(PairEvent::Qr {
                    payload,
                    valid_ms: millis(valid),
                });
                self.ask_for_code();
            }
            LineEvent::PairCode { code, valid } => self.show(PairEvent::Code {
                code,
                valid_ms: millis(valid),
            }),
            LineEvent::PairCodeFailed { reason } | LineEvent::PairFailed { reason } => {
                log::warn!("session {}: pairing failed: {reason}", self.name);
                self.show(PairEvent::Failed { reason });
            }
            LineEvent::PairSuccess => self.on_pair_success().await,
            LineEvent::QrCodesExhausted => self.note_server_reason(Cause::PairingEnded, String::new()),
            LineEvent::Upgraded { at } => self.supervisor.handle(at, Input::Upgraded),
            LineEvent::LoggedIn => self.on_logged_in(),
            LineEvent::Ready => self.on_ready().await,
            LineEvent::Drained => {
                self.supervisor.handle(Instant::now(), Input::Drained);
                self.change(|view| view.undrained = false);
            }
            LineEvent::Ack { message_id, error } => {
                let message_id = MessageId(message_id);
                if let Some(code) = &error {
                    self.parts.directory.on_refused(&message_id, code);
                }
                let taken = error.is_none();
                let id = message_id.clone();
                self.notify(Notice::Ack { message_id, error }).await;
                if taken {
                    self.note_without_attachment(id).await;
                }
            }
            LineEvent::Receipt {
                message_ids,
                kind,
                from,
                participant,
            } => self.on_receipt(message_ids, kind, &from, participant.as_ref()).await,
            LineEvent::AskedAgain(asked) => self.on_asked_again(asked),
            LineEvent::GroupTimer { group, seconds, at_s } => {
                let timers = Arc::clone(&self.parts.timers);
                let learning = async move { timers.on_group_changed(&group, seconds, at_s).await };
                self.parts.executor.spawn(learning).detach();
            }
            LineEvent::Heard { from, number } => self.on_heard(&from, number.as_ref()).await,
            LineEvent::LidStale { chat } => self.ask_for_lid(chat),
            LineEvent::Unacked(stanza) => {
                if let Some(client) = &self.client {
                    keepalive::acknowledge(client, &self.parts, stanza);
                }
            }
            LineEvent::AckHeld { ids } => {
                let now = Instant::now();
                ids.iter()
                    .for_each(|id| self.supervisor.handle(now, Input::StanzaIn { id: *id }));
            }
            LineEvent::AckFree { ids } => {
                let now = Instant::now();
                ids.iter()
                    .for_each(|id| self.supervisor.handle(now, Input::StanzaAcked { id: *id }));
            }
            LineEvent::ServerSaid { cause, detail } => self.on_server_said(cause, detail).await,
            LineEvent::SendStuck => self.on_send_stuck(),
            LineEvent::DevicesDiffer { message_id, flight } => self.on_devices_differ(message_id, flight),
            LineEvent::NameChanged { name } => self.parts.keep_name(name),
        }
    }

    /// From here on the line's life is watched; alerts go out when what had waited at the server is through.
    pub(super) fn on_logged_in(&mut self) {
        if let Some(line) = self.library_run.as_mut().filter(|line| !line.broken) {
            line.logged_in = true;
            self.supervisor.handle(Instant::now(), Input::LoggedIn);
            self.send_what_waits_again();
        }
    }

    pub(super) async fn on_ready(&mut self) {
        // Told twice for one line, and perhaps late for the line before.
        let ready = |line: &&mut LibraryRun| line.logged_in && !line.up && !line.broken;
        let Some(line) = self.library_run.as_mut().filter(ready) else {
            return;
        };
        line.up = true;
        // The server may have told the hidden id only now.
        self.look_at_account();
        let now = wall_ms();
        self.change(|view| {
            view.online_since = Some(now);
            view.offline_since = None;
        });
        log::info!("session {}: online", self.name);
        if let Some(account) = self
            .with_view(|view| view.account.clone())
            .filter(|_| !self.pairing.listeners.is_empty())
        {
            self.show(PairEvent::Paired {
                account: masked(&account),
            });
        }
        self.pairing = Pairing::default();
        if let Some(client) = &self.client {
            self.uploads.line_up(&client.client);
        }
        self.ask_about_routes();
        self.notify(Notice::Up).await;
        self.refresh_version();
    }

    fn ask_about_routes(&self) {
        let Some(client) = &self.client else { return };
        let (client, directory) = (Arc::clone(&client.client), Arc::clone(&self.parts.directory));
        self.parts
            .executor
            .spawn(async move { directory.ask_about_routes(&client).await })
            .detach();
    }

    pub(super) async fn on_server_said(&mut self, cause: Cause, detail: String) {
        if cause == Cause::Replaced {
            self.note_copy().await;
        }
        self.note_server_reason(cause.clone(), detail);
        self.supervisor.handle(Instant::now(), Input::ServerSaid(cause));
    }

    pub(super) fn note_server_reason(&mut self, cause: Cause, detail: String) {
        self.server_reason.get_or_insert((cause, detail));
    }
}
