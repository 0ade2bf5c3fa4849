//! The durable alerts and what has become of each. Pure: time, acks and receipts come in, sends and records come out.
//!
//! > **Drive it so.** Hand every event to [`Outbox::accept`], [`Outbox::handle`] or a command ([`Outbox::retry`],
//! > [`Outbox::drop_alert`], [`Outbox::cancel`], [`Outbox::ack`], [`Outbox::answer`]); then drain
//! > [`Outbox::poll_output`] until it is `None`; then arm one timer for [`Outbox::poll_timeout`] and call
//! > [`Outbox::handle_timeout`] when it fires. Early, late and repeated calls do nothing they should not.
//!
//! What holds, whatever the order of the calls:
//!
//! - Nothing is sent before the shell has said [`Input::Durable`]. An alert that could not be made durable
//!   ([`Input::NotDurable`]) was never there.
//! - Which alerts a message carries, under which id and so with which content, never changes, however often it is sent;
//!   but for the mark that it is late, which one that was not sent gets when it has become so, and for what a fallback
//!   has had meanwhile, which is left out.
//! - An alert is durable before it has a message, or with it; a message is sent when the disk knows its id.
//! - To one recipient of one session the more urgent alerts go out first, those of one priority in the order of
//!   acceptance; the next one only after the server has acknowledged (or for good refused) the one before. Recipients
//!   do not wait for each other.
//! - *Sent* comes from the server's ack (or a receipt, which implies it), never from a write that returned.
//! - What goes to a fallback is on the disk as going there before it does; WhatsApp does not get it while it may be
//!   there, and never once it is, unless its route wants both.
//! - A step is never taken back. Two things lift one that [gave up](Step::is_given_up): a person's retry, and proof
//!   that it arrived after all.
//! - What can be retried is retried until its time to live is over, and for ever where it has none; else only a refusal
//!   that repeats itself by its nature ends a delivery, and that only after one more try with all that is known of the
//!   recipient asked anew.
//!
//! Deliberately absent: the content of a message (made by the policy each time that it goes out, so that what waits is
//! in memory once), the disk, and any wall-clock deadline but a policy's.

mod accept;
mod age;
mod answers;
mod attention;
mod delay;
mod entry;
mod expiry;
mod failures;
mod fallback;
mod fallback_queues;
mod flapping;
mod forgotten;
mod group;
mod history;
mod io;
mod keep;
mod keys;
mod limits;
mod lookup;
mod making;
mod marking;
mod marks;
mod message;
mod now;
mod pace;
mod parcel;
mod pending;
mod policy;
mod quiet;
mod record;
mod refusal;
mod routed;
mod rules;
mod sequence;
mod session_queue;
mod steps;
#[cfg(test)]
mod tests;
mod timers;

pub use accept::{AcceptRequest, Accepted, NewAlert, OutboxFull};
pub use age::{CLOCK_UNSET_BEFORE, Start};
pub use answers::{Answer, Answered, Said};
pub use failures::Failures;
pub use fallback::FallbackTrouble;
pub use flapping::Flapping;
pub use group::Group;
pub use history::{Transition, TransitionKind};
pub use io::{CommandError, HandoverFailure, Input, Output, Reason, ReceiptKind, SendFailure};
pub use keys::{Fingerprint, KeyRecord};
pub use limits::Limits;
pub use message::{Content, Message, Quote};
pub use now::Now;
pub use pace::Pace;
pub use parcel::{Handed, Parcel};
pub use policy::{HeldBack, Why};
pub use quiet::{Quiet, Then};
pub use record::{
    Ack, AckAnswer, AlertRecord, AnswerKind, Attention, Delivery, Flap, FollowUp, Follows, Form, Handover,
    HandoverState, Mark, MessageId, Step, Timestamp,
};
pub use refusal::Hold;
pub use rules::{AckRules, Escalate, FallbackRules, Repeat, RouteRules, Rules, fold_word};

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Instant;

use crate::alert::{Recipient, RouteName, SessionName};
use age::Ages;
use entry::{Entry, Kept};
use fallback_queues::FallbackQueues;
use keys::Keys;
use lookup::Lookup;
use marks::Marks;
use policy::Policy;
use routed::Routed;
use session_queue::{DeliveryId, SessionQueue};

/// What has come about with an alert since its record was last handed out to be written.
#[derive(Debug, Default)]
struct Dirty {
    happened: Vec<Transition>,
    /// Messages that were made.
    made: Vec<MessageId>,
}

/// Where the ids of messages come from. They are random, and randomness is the shell's.
struct DrawId(Box<dyn Draw>);

/// The id for the message of the alert with this number to this recipient.
trait Draw: FnMut(u64, &Recipient) -> MessageId + Send {}

impl<F: FnMut(u64, &Recipient) -> MessageId + Send> Draw for F {}

impl fmt::Debug for DrawId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DrawId")
    }
}

/// The whole state: every alert kept, who waits for what, and what the shell has still to fetch.
#[derive(Debug)]
pub struct Outbox {
    limits: Limits,
    /// State of the jitter's generator.
    seed: u64,
    draw_id: DrawId,
    seq_next: u64,
    /// In boxes: a map that grows at its end leaves half of each of its nodes free.
    entries: BTreeMap<u64, Box<Entry>>,
    by_id: Lookup<u64>,
    /// The deliveries that each message makes.
    messages: Lookup<DeliveryId>,
    /// Messages that were made later than their alerts were accepted, with the alerts whose records do not say so on
    /// disk yet.
    unwritten: BTreeMap<MessageId, BTreeSet<u64>>,
    policy: Box<dyn Policy>,
    rules: Rules,
    handovers: FallbackQueues,
    by_key: BTreeMap<(RouteName, String), u64>,
    /// The alerts about the same thing, by the name that their sender gives it.
    by_sequence: BTreeMap<(RouteName, String), BTreeSet<u64>>,
    /// Alerts with a delivery still to be sent, those not yet durable included.
    pending: BTreeSet<u64>,
    pending_bytes: usize,
    /// The ends of their times to live, of those that are pending.
    expiries: BTreeSet<(Instant, u64)>,
    /// When those may go whose senders want them later.
    delayed: BTreeSet<(Instant, u64)>,
    marks: Marks,
    /// The last answer about each alert of which the journal was told that it changes nothing.
    unheeded: BTreeMap<u64, String>,
    /// When something is due of those that wait for somebody to acknowledge them.
    attention: BTreeSet<(Instant, u64)>,
    kept: Kept,
    keys: Keys,
    ages: Ages,
    /// Deliveries by [`Step`].
    counts: [u64; Step::ALL.len()],
    queues: BTreeMap<SessionName, SessionQueue>,
    outputs: VecDeque<Output>,
    /// Records to write. A slow shell gets the latest once.
    dirty: BTreeMap<u64, Dirty>,
    /// Steps to tell. A set, for the same reason.
    changed: BTreeSet<u64>,
}

impl Outbox {
    /// An empty outbox. `seed` feeds the jitter of retries and nothing else. `draw_id` is asked for the id of each new
    /// message, of the alert with that number to that recipient; no id may come twice, also not after a restart.
    pub fn new(limits: Limits, seed: u64, draw_id: impl FnMut(u64, &Recipient) -> MessageId + Send + 'static) -> Self {
        Self {
            limits,
            // xorshift stays at zero for ever.
            seed: seed | 1,
            draw_id: DrawId(Box::new(draw_id)),
            seq_next: 1,
            entries: BTreeMap::new(),
            by_id: Lookup::default(),
            messages: Lookup::default(),
            unwritten: BTreeMap::new(),
            policy: Box::new(Routed::new(Rules::default())),
            rules: Rules::default(),
            handovers: FallbackQueues::default(),
            by_key: BTreeMap::new(),
            by_sequence: BTreeMap::new(),
            pending: BTreeSet::new(),
            pending_bytes: 0,
            expiries: BTreeSet::new(),
            delayed: BTreeSet::new(),
            attention: BTreeSet::new(),
            marks: Marks::default(),
            unheeded: BTreeMap::new(),
            kept: Kept::default(),
            keys: Keys::default(),
            ages: Ages::default(),
            counts: [0; Step::ALL.len()],
            queues: BTreeMap::new(),
            outputs: VecDeque::new(),
            dirty: BTreeMap::new(),
            changed: BTreeSet::new(),
        }
    }

    /// Sets what the owner wants done with the alerts of each route, and how people are told the time. Once, before
    /// anything else.
    pub fn set_rules(&mut self, rules: Rules) {
        self.policy = Box::new(Routed::new(rules.clone()));
        self.rules = rules;
    }

    /// Tells of the starts before this one, as far as they are known, and of this one, before anything else. What is
    /// returned is to be known at the next: without it a key whose alert was accepted while the clock was not set
    /// counts anew at every start.
    pub fn begin(&mut self, now: Now, earlier: Vec<Start>, this: Start) -> Vec<Start> {
        self.ages = Ages::new(now, earlier, this);
        self.handovers.start(now.mono, now.wall);
        self.ages.starts().to_vec()
    }

    /// The next thing for the shell to do. Sends come first, because they are what somebody waits for.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        if let Some(seq) = self.changed.pop_first() {
            let record = &self.entries.get(&seq)?.record;
            return Some(Output::Changed {
                id: record.id.clone(),
                step: record.step(),
            });
        }
        // What is still being written for the first time may yet be refused by the disk, and then it was never there.
        let is_written = |seq: &&u64| self.entries.get(seq).is_none_or(|entry| entry.durable);
        let seq = *self.dirty.keys().find(is_written)?;
        let Dirty { happened, made } = self.dirty.remove(&seq)?;
        let record = Box::new(self.entries.get(&seq)?.record.clone());
        Some(Output::Persist { record, happened, made })
    }

    /// The alert that senders know as `id`. One that is not durable yet is not shown to anybody.
    pub fn get(&self, id: &str) -> Option<&AlertRecord> {
        let entries = self.by_id.find(id, 0).filter_map(|seq| self.entries.get(&seq));
        let entry = entries.filter(|entry| entry.record.id == id).last()?;
        entry.durable.then_some(&entry.record)
    }

    /// The newest first, at most `limit`; with `pending_only` those that still have something to send.
    pub fn list(&self, pending_only: bool, limit: usize) -> Vec<&AlertRecord> {
        let shown = |entry: &&Entry| entry.durable;
        if pending_only {
            let entries = self
                .pending
                .iter()
                .rev()
                .filter_map(|seq| self.entries.get(seq).map(Box::as_ref));
            return entries.filter(shown).take(limit).map(|entry| &entry.record).collect();
        }
        let entries = self.entries.values().rev().map(Box::as_ref);
        entries.filter(shown).take(limit).map(|entry| &entry.record).collect()
    }

    /// How many deliveries stand at `step`; one alert to three recipients counts three times.
    pub fn count(&self, step: Step) -> u64 {
        self.counts[step as usize]
    }
}
