//! The part of a session's task that links it: what a person asks for, and what is kept.

use std::sync::Arc;
use std::time::Instant;

use wacore::store::traits::DeviceStore;
use whatsapp_rust::Client;
use whatsapp_rust::pair_code::PairCodeOptions;

use super::super::handle::Notice;
use super::Session;
use crate::line::{Cause, Input, PairEvent};

impl Session {
    pub(super) fn on_pair(&mut self, phone: Option<String>, events: async_channel::Sender<PairEvent>) {
        self.pairing.listen(events);
        if let Some(phone) = phone {
            self.pairing.phone = Some(phone);
            if self.pairing.shown.is_some() {
                self.ask_for_code();
            }
        }
        self.supervisor.handle(Instant::now(), Input::PairRequested);
        if self.supervisor.clock_unset() {
            // No line ends meanwhile that would tell whoever waits for a code.
            let reason = Cause::ClockUnset.to_string();
            self.show(PairEvent::Waiting { reason });
        }
    }

    /// The credentials reach the disk before anything else happens: the 515 that follows restarts the line.
    pub(super) async fn on_pair_success(&mut self) {
        let Some(client) = &self.client else { return };
        // Not the manager's `flush`: that returns at once while its background saver is still writing.
        let device = client.client.persistence_manager().get_device_snapshot();
        match self.parts.credentials.save(&device).await {
            Ok(()) => {
                log::info!("session {}: linked by the phone, credentials are on disk", self.name);
                self.supervisor.handle(Instant::now(), Input::Paired);
                self.look_at_credentials();
                self.notify(Notice::Paired).await;
            }
            Err(error) => {
                log::error!("session {}: the new credentials could not be saved: {error}", self.name);
                self.show(PairEvent::Failed {
                    reason: format!("the credentials could not be saved: {error}"),
                });
            }
        }
    }

    pub(super) fn ask_for_code(&mut self) {
        let (Some(client), Some(phone)) = (&self.client, self.pairing.phone.take()) else {
            return;
        };
        let client: Arc<Client> = Arc::clone(&client.client);
        let options = PairCodeOptions {
            phone_number: phone,
            ..PairCodeOptions::default()
        };
        // Both outcomes come back as events.
        self.parts
            .executor
            .spawn(async move {
                let _ = client.pair_with_code(options).await;
            })
            .detach();
    }

    pub(super) fn show(&mut self, event: PairEvent) {
        self.pairing.show(event);
        let shown = self.pairing.shown.clone();
        self.change(|view| view.pairing = shown);
    }
}
