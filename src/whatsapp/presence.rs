//! Never announcing presence `available`.
//!
//! The library announces it by itself: after a login whose account has a push name, and whenever the push name changes
//! (whatsapp-rust 0.7, `client/node_io.rs`, `client/app_state.rs`, `client/accessors.rs`). An available linked device
//! silences the notifications on the owner's phone. There is no switch, but each of these places first looks whether
//! the push name is empty, and then sends nothing.
//!
//! An empty name at login, however, makes the library start a full resynchronisation. So the name is there until the
//! login has looked at it, and gone before the announcement does: from the first answer to something that the login
//! asked, until the next line is dialled. The tests look at what the server saw.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use futures_lite::future;
use whatsapp_rust::store::persistence_manager::PersistenceManager;

use crate::util::lock;

/// Stands in while the account's own name is not known. Others see it only if the server has no name either.
const NAME_UNKNOWN: &str = "Tautline";

/// Hides the push name while a line is up.
#[derive(Default)]
pub(super) struct PresenceSuppression {
    manager: Mutex<Weak<PersistenceManager>>,
    name: Mutex<String>,
    logging_in: AtomicBool,
}

impl PresenceSuppression {
    pub(super) fn watch(&self, manager: &Arc<PersistenceManager>) {
        *lock(&self.manager) = Arc::downgrade(manager);
        let name = manager.get_device_snapshot().push_name.clone();
        if !name.is_empty() {
            self.remember(&name);
        }
    }

    /// The name to show in presence `unavailable`.
    pub(super) fn name(&self) -> String {
        let name = lock(&self.name).clone();
        if name.is_empty() { NAME_UNKNOWN.to_owned() } else { name }
    }

    pub(super) fn remember(&self, name: &str) {
        *lock(&self.name) = name.to_owned();
    }

    /// Before a line is dialled. A device that is not paired has no name to restore, and none is invented for it.
    pub(super) async fn restore(&self) {
        self.logging_in.store(false, Ordering::SeqCst);
        let Some(manager) = lock(&self.manager).upgrade() else {
            return;
        };
        let device = manager.get_device_snapshot();
        if device.pn.is_some() && device.push_name.is_empty() {
            let name = self.name();
            manager.modify_device(|device| device.push_name = name).await;
        }
    }

    pub(super) fn on_success(&self) {
        self.logging_in.store(true, Ordering::SeqCst);
    }

    /// The login asks only after it has looked at the name, so its first answer is the time to take the name away.
    pub(super) fn on_answer(&self) {
        if self.logging_in.swap(false, Ordering::SeqCst) {
            self.hide();
        }
    }

    /// A new name was stored, and an announcement follows at once.
    pub(super) fn on_name(&self, name: &str) {
        if !name.is_empty() {
            self.remember(name);
        }
        self.hide();
    }

    /// Called inside the library's event dispatch, which must not be left before the name is gone. The device's lock is
    /// never held across an await, so on our single executor thread one poll suffices.
    fn hide(&self) {
        let Some(manager) = lock(&self.manager).upgrade() else {
            return;
        };
        let clear = manager.modify_device(|device| device.push_name.clear());
        if future::block_on(future::poll_once(clear)).is_none() {
            log::debug!("the push name could not be hidden at once");
        }
    }
}
