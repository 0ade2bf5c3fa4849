//! What stands between accepted alerts and messages: which alerts go into one message, and when it is made.
//!
//! Pure, and driven by the outbox alone. An alert [arrives](Policy::arrive) before it is on disk: its message can be
//! made at once, and is then written with it. Else the alert is written without one and waits here; a later
//! [decision](Decision) makes the message. A restart tells the policy of all that waits once more, so it keeps nothing
//! on disk of its own.
//!
//! Policies may speak of the wall clock, which steps. A deadline that stands for a time of day is computed anew from
//! `now` whenever the policy is asked, and it is asked after [`Input::ClockStepped`] too.

use std::fmt;
use std::time::Instant;

use super::message::Content;
use super::record::{AlertRecord, FollowUp, Form, span_words};
use super::session_queue::{DeliveryId, Turn};
use super::{Now, Reason};
use crate::alert::{Attachment, Recipient, SessionName, render};

/// What the policy is told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Input<'a> {
    /// This delivery is on disk and has no message yet. `by_hand`: a person wants it sent, whatever holds it back.
    Waits {
        delivery: DeliveryId,
        of: &'a AlertRecord,
        by_hand: bool,
    },
    /// A decision before this restart has made a message that carries this delivery. `is_first`: it is the first of
    /// those that the message carries.
    Went {
        delivery: DeliveryId,
        of: &'a AlertRecord,
        is_first: bool,
    },
    /// It waits no more: a person gave it up, or its alert is gone.
    Gone { delivery: DeliveryId },
    /// The wall clock was set; `now` has the new time already.
    ClockStepped,
}

/// What the outbox is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Make one message of these deliveries: all to one recipient of one session, each of another alert, in the order
    /// of acceptance.
    Message { deliveries: Vec<DeliveryId>, form: Form },
    /// This one is not sent, and why.
    Drop { delivery: DeliveryId, note: String },
}

/// When an alert that arrives gets its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Now: a message that carries this alert alone.
    AtOnce,
    /// By a decision.
    Later,
}

/// What a delivery waits for that has no message yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldBack {
    pub why: Why,
    /// Until then, where a time is known.
    pub until: Option<Instant>,
}

/// Why a delivery has no message yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Its sender wants it to go out later.
    Delay,
    /// The quiet hours of its route.
    Quiet,
    /// Others of its group may come.
    Group,
    /// The pace of its route.
    Pace,
    /// What it is about turns too often.
    Flapping,
    /// The session is not up, or something goes to its recipient before.
    Turn,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delay => "its sender wants it later",
            Self::Quiet => "quiet hours",
            Self::Group => "waits for others of its group",
            Self::Pace => "the pace of its route",
            Self::Flapping => "flapping: waits until it is steady",
            Self::Turn => "waits for its turn",
        })
    }
}

/// An alert, or one part of it, in a message.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub record: &'a AlertRecord,
    /// As in [`Delivery::part`](super::Delivery::part).
    pub number: u16,
    /// When it was accepted, in words, where it goes out late.
    pub raised: Option<String>,
    /// The same for all parts of a message.
    pub form: Form,
}

impl Part<'_> {
    /// What it says; only part 0 does.
    pub fn text(&self) -> Option<String> {
        let lasted = self.record.lasted.map(|lasted| format!("after {}", span_words(lasted)));
        let again = self
            .record
            .attention
            .follows
            .as_ref()
            .map(|follows| match &follows.what {
                FollowUp::Repeat { number, of } => format!("reminder {number} of {of}"),
                FollowUp::Escalation { from } => format!("escalated: nobody has acknowledged it on {from}"),
            });
        let flap = self.record.flap.as_ref().map(|flap| flap.words());
        let said = again.into_iter().chain(self.raised.clone()).chain(lasted).chain(flap);
        let said: Vec<String> = said.collect();
        let said = Some(said.join(", ")).filter(|said| !said.is_empty());
        (self.number == 0).then(|| render::text(&self.record.alert, said.as_deref()))
    }

    /// What it attaches.
    pub fn attachment(&self) -> Option<&Attachment> {
        self.record.attachment(self.number)
    }
}

/// Whether a message with this turn would be the next to go to a recipient.
pub(super) type Takes<'a> = dyn Fn(&SessionName, &Recipient, Turn) -> bool + 'a;

pub(super) trait Policy: fmt::Debug + Send {
    /// An alert is about to be accepted. It may still be refused, and nothing may be remembered of it: one that has to
    /// wait comes again as [`Input::Waits`]. It is asked for each part of an alert with attachments: only part 0 can
    /// share a message with other alerts, and no attachment can.
    fn arrive(&self, now: Now, alert: &AlertRecord, delivery: usize) -> Arrival;

    /// Takes one input in. What it leads to is fetched with [`poll_decision`](Self::poll_decision).
    fn handle(&mut self, now: Now, input: Input<'_>);

    /// What is to be done now, deadlines that have passed included. It is asked after everything that happens until
    /// there is nothing.
    fn poll_decision(&mut self, now: Now, takes: &Takes<'_>) -> Option<Decision>;

    /// The next deadline and why it stands.
    fn poll_timeout(&self) -> Option<(Instant, Reason)>;

    /// What a delivery without a message waits for.
    fn held_back(&self, delivery: DeliveryId) -> Option<HeldBack>;

    /// The deliveries that would go out with this one if it went now, itself among them.
    fn beside(&self, delivery: DeliveryId) -> Vec<DeliveryId>;

    /// What a message says that carries these alerts, in the order of acceptance; there is at least one. It is asked
    /// each time that the message goes out, so it must follow from the parts alone and not from the time: under one id
    /// there is one content.
    fn content(&self, parts: &[Part<'_>]) -> Content;
}
