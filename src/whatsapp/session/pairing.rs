//! Who is shown what while a session is being linked.

use crate::line::PairEvent;

/// Those who wait for a session to be linked.
#[derive(Default)]
pub(super) struct Pairing {
    pub(super) listeners: Vec<async_channel::Sender<PairEvent>>,
    pub(super) shown: Option<PairEvent>,
    /// Digits of the phone that is to type a code, until the line can ask for one.
    pub(super) phone: Option<String>,
}

impl Pairing {
    /// Adds a listener, which first gets what is shown now.
    pub(super) fn listen(&mut self, events: async_channel::Sender<PairEvent>) {
        if let Some(shown) = &self.shown {
            let _ = events.try_send(shown.clone());
        }
        self.listeners.retain(|listener| !listener.is_closed());
        self.listeners.push(events);
    }

    /// Tells all listeners. What they need for their next step stays shown until something else happens.
    pub(super) fn show(&mut self, event: PairEvent) {
        self.listeners
            .retain(|listener| listener.try_send(event.clone()).is_ok());
        self.shown = matches!(event, PairEvent::Qr { .. } | PairEvent::Code { .. }).then_some(event);
    }
}
