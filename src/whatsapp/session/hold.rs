//! The start of a session, which may still owe the server a time of an earlier run.

use std::time::Instant;

use super::Session;
use super::line_log::Held;
use crate::line::Input;

impl Session {
    /// One try at once, whatever stopped the last run; but what the server wants waited for is waited for.
    pub(super) fn start(&mut self, paired: bool) {
        let left = self.held.as_ref().and_then(Held::left);
        let input = match (&self.held, left) {
            (Some(held), Some(left)) if paired => {
                let seconds = left.as_secs();
                log::warn!("session {}: {}; one try in {seconds} s", self.name, held.words());
                let after = held.cause();
                Input::StartHeld { paired, after, left }
            }
            _ => {
                self.held = None;
                Input::Start { paired }
            }
        };
        self.supervisor.handle(Instant::now(), input);
    }

    /// A clock that has been set since the start may show that less is left.
    pub(super) fn report_hold_left(&mut self) {
        if let Some(held) = &self.held {
            let left = held.left().unwrap_or_default();
            self.supervisor.handle(Instant::now(), Input::HoldLeft(left));
        }
    }
}
