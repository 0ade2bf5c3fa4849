//! What stands between accepted alerts and messages: which alerts go into one message, and when it is made.
//!
//! Pure, and driven by the outbox alone. An alert [arrives](Policy::arrive) before it is on disk: its message can be made at
//! once, and is then written with it. Else the alert is written without one and waits here; a later [decision](Decision) makes the
//! message. A restart tells the policy of all that waits once more, so it keeps nothing on disk of its own.
//!
//! Policies may speak of the wall clock, which steps: a deadline that stands for a time of day is computed anew from `now` at
//! [`Input::ClockStepped`].

use std::fmt;
use std::time::Instant;

use super::line::Leg;
use super::message::Content;
use super::record::AlertRecord;
use super::{Now, Reason};
use crate::alert::{Attachment, render};

/// What the policy is told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Input<'a> {
    /// This delivery is on disk and has no message yet.
    Waits {
        delivery: Leg,
        #[cfg_attr(not(test), expect(dead_code, reason = "for policies that wait"))]
        of: &'a AlertRecord,
    },
    /// It waits no more: a person gave it up, or its alert is gone.
    Gone { delivery: Leg },
    /// The wall clock was set; `now` has the new time already.
    ClockStepped,
}

/// What the outbox is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Make one message of these deliveries: all to one recipient of one session, each of another alert, in the order of
    /// acceptance.
    Message(Vec<Leg>),
}

/// When an alert that arrives gets its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Now: a message that carries this alert alone.
    AtOnce,
    /// By a decision.
    #[cfg_attr(not(test), expect(dead_code, reason = "for policies that wait"))]
    Later,
}

/// An alert, or one part of it, in a message.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub record: &'a AlertRecord,
    /// As in [`Delivery::part`](super::Delivery::part).
    pub number: u16,
    /// When it was accepted, in words, where it goes out late.
    pub raised: Option<String>,
}

impl Part<'_> {
    /// What it says; only part 0 does.
    pub fn text(&self) -> Option<String> {
        (self.number == 0).then(|| render::text(&self.record.alert, self.raised.as_deref()))
    }

    /// What it attaches.
    pub fn attachment(&self) -> Option<&Attachment> {
        self.record.attachment(self.number)
    }
}

pub(super) trait Policy: fmt::Debug + Send {
    /// An alert is about to be accepted. It may still be refused, and nothing may be remembered of it: one that has to wait
    /// comes again as [`Input::Waits`]. It is asked for each part of an alert with attachments: only part 0 can share a message
    /// with other alerts, and no attachment can.
    fn arrive(&self, now: Now, alert: &AlertRecord, delivery: usize) -> Arrival;

    /// Takes one input in. What it leads to is fetched with [`poll_decision`](Self::poll_decision).
    fn handle(&mut self, now: Now, input: Input<'_>);

    /// Carries out every deadline that has passed. Early and repeated calls do nothing.
    fn handle_timeout(&mut self, now: Now);

    fn poll_decision(&mut self) -> Option<Decision>;

    /// The next deadline and why it stands.
    fn poll_timeout(&self) -> Option<(Instant, Reason)>;

    /// What a message says that carries these alerts, in the order of acceptance; there is at least one. It is asked each time
    /// that the message goes out, so it must follow from the parts alone and not from the time: under one id there is one content.
    fn content(&self, parts: &[Part<'_>]) -> Content;
}

/// One alert is one message to each recipient, at once.
#[derive(Debug, Default)]
pub(super) struct AtOnce {
    /// Deliveries that have come without a message: a person has them sent again.
    waiting: std::collections::VecDeque<Leg>,
}

impl Policy for AtOnce {
    fn arrive(&self, _now: Now, _alert: &AlertRecord, _delivery: usize) -> Arrival {
        Arrival::AtOnce
    }

    fn handle(&mut self, _now: Now, input: Input<'_>) {
        match input {
            Input::Waits { delivery, of: _ } => self.waiting.push_back(delivery),
            Input::Gone { delivery } => self.waiting.retain(|waiting| *waiting != delivery),
            Input::ClockStepped => {}
        }
    }

    fn handle_timeout(&mut self, _now: Now) {}

    fn poll_decision(&mut self) -> Option<Decision> {
        let delivery = self.waiting.pop_front()?;
        Some(Decision::Message(vec![delivery]))
    }

    fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        None
    }

    fn content(&self, parts: &[Part<'_>]) -> Content {
        // It makes no message of several. One that another policy has made, before the configuration was changed, is not lost.
        let texts: Vec<String> = parts.iter().filter_map(Part::text).collect();
        let text = texts.join("\n\n");
        match parts.iter().find_map(Part::attachment) {
            Some(attachment) => Content::Media {
                attachment: attachment.clone(),
                caption: text,
            },
            None => Content::Text(text),
        }
    }
}
