//! What a session reads of its line and its account, for the supervisor and for those who look.

use std::time::Instant;

use super::Session;
use crate::credentials::Account;
use crate::line::{Input, Layer};

impl Session {
    /// Instants of what was heard, and what is not read yet, for deadlines that are judged by them.
    pub(super) fn feed_proofs(&mut self) {
        let Some(client) = &self.client else { return };
        let (tcp, websocket, application) = client.proofs();
        for (at, layer) in [
            (tcp, Layer::Tcp),
            (websocket, Layer::WebSocket),
            (application, Layer::Application),
            (client.last_content(), Layer::Content),
        ] {
            if let Some(at) = at {
                self.supervisor.handle(at, Input::Proof(layer));
            }
        }
        if self.library_run.is_some() {
            let frames = client.undecoded();
            self.supervisor.handle(Instant::now(), Input::Undecoded { frames });
        }
        let (tuning, refused) = client.tuning();
        self.change(|view| {
            view.tcp_tuning = tuning;
            view.tcp_refused = refused;
            view.tcp_proof = tcp;
            view.websocket_proof = websocket;
            view.application_proof = application;
        });
    }

    pub(super) fn look_at_credentials(&self) {
        let account = match self.parts.credentials.paired() {
            Ok(account) => account,
            Err(error) => {
                log::error!("session {}: its credentials cannot be read: {error}", self.name);
                return self.change(|view| view.trouble = Some(error.to_string()));
            }
        };
        self.parts.directory.set_account(account.as_ref());
        self.change(|view| {
            view.paired = account.is_some();
            view.account = account.as_ref().map(|account| account.pn.user.to_string());
        });
    }

    /// The account as the library has it, which may be ahead of the disk.
    pub(super) fn look_at_account(&self) {
        let Some(client) = &self.client else { return };
        let account = client.client.pn().map(|pn| Account {
            pn,
            lid: client.client.lid(),
            push_name: String::new(),
        });
        if account.is_some() {
            self.parts.directory.set_account(account.as_ref());
        }
    }
}
