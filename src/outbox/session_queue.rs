//! What one session has to send: a queue a recipient, one message under way in each.
//!
//! Knows nothing of alerts: a [`DeliveryId`] goes in when it is accepted and out when it needs no more sending. Every
//! change of a queue's phase passes through [`SessionQueue::set_phase`], which keeps the indexes true.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::time::{Duration, Instant};

use super::refusal::Hold;
use crate::alert::{Priority, Recipient};

/// One delivery of one alert: its place in the order, and which of the alert's deliveries it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DeliveryId {
    pub seq: u64,
    pub index: usize,
}

/// Where a delivery stands in its queue, and its queue among the others that may send: the more urgent first, those of
/// one priority in the order of acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    /// 0 is the most urgent.
    pub rank: u8,
    pub id: DeliveryId,
}

impl Turn {
    pub fn new(priority: Priority, id: DeliveryId) -> Self {
        let rank = Priority::Max as u8 - priority as u8;
        Self { rank, id }
    }

    /// Whether it is less urgent than `priority`.
    pub fn is_below(self, priority: Priority) -> bool {
        self.rank > Priority::Max as u8 - priority as u8
    }
}

/// Why a queue pauses; it decides what ends the pause early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// The path failed. A new line is a new chance.
    Path,
    /// What goes with the delivery is being uploaded. What is more urgent does not wait for that.
    Upload,
    /// The server asked us, in its way, to go slower. A new line changes nothing about that.
    Server,
    /// It lets nothing through for long. A new line or a dropped alert does not end that; time does, and for some kinds
    /// that the recipient writes.
    Hold(Hold),
}

/// How a delivery gets in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Where its [`Turn`] is. While its queue pauses, it waits too.
    InTurn,
    /// A person wants it sent now: what paused its queue is over.
    ByHand,
}

/// Whether a delivery has to go out with all that is known of its recipient asked anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fresh {
    /// At its next attempt; when it is in flight, at this one.
    Wanted,
    /// It has, and was refused in a way that nobody knows.
    Tried,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Empty, or the first delivery is not durable yet.
    Idle,
    Ready(Turn),
    InFlight {
        id: DeliveryId,
        leased_at: Instant,
        ack_by: Instant,
        /// It still asks the server whom to encrypt for, and holds no slot.
        asks: bool,
    },
    Paused {
        id: DeliveryId,
        until: Instant,
        pause: Pause,
    },
}

#[derive(Debug)]
struct RecipientQueue {
    /// What is still to be sent, in order; true when durable.
    turns: BTreeMap<Turn, bool>,
    phase: Phase,
    /// Failures in a row, since something was let through or refused for good.
    failures: u32,
    /// What the server last held this queue for, until it answers otherwise, and how often in a row it has.
    hold: Option<Hold>,
    holds: u32,
    fresh: Option<(DeliveryId, Fresh)>,
    /// When the recipient last wrote.
    heard_at: Option<Instant>,
}

impl RecipientQueue {
    /// The place of a delivery, while it is to be sent. It is found by trying: no more than five places are possible.
    fn turn(&self, id: DeliveryId) -> Option<Turn> {
        let ranks = 0..=Priority::Max as u8 - Priority::Min as u8;
        let mut turns = ranks.map(|rank| Turn { rank, id });
        turns.find(|turn| self.turns.contains_key(turn))
    }

    /// Whose turn it is, if that is durable.
    fn next(&self) -> Option<DeliveryId> {
        let (turn, durable) = self.turns.first_key_value()?;
        durable.then_some(turn.id)
    }

    /// False where it was not there.
    fn take_out(&mut self, id: DeliveryId) -> bool {
        self.turn(id).is_some_and(|turn| self.turns.remove(&turn).is_some())
    }

    /// The server has let something through, or has refused it for good.
    fn answered(&mut self) {
        self.failures = 0;
        self.hold = None;
        self.holds = 0;
    }
}

/// A deadline that has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    Ack {
        recipient: Recipient,
        id: DeliveryId,
        leased_at: Instant,
    },
    /// The pause is over; the queue is ready again.
    Retry,
}

#[derive(Debug, Default)]
pub(super) struct SessionQueue {
    up: bool,
    in_flight: usize,
    /// Leases that ask, which are not counted above.
    asking: usize,
    queues: BTreeMap<Recipient, RecipientQueue>,
    ready: BTreeSet<(Turn, Recipient)>,
    deadlines: BTreeSet<(Instant, Recipient)>,
    missed_acks: u32,
    missed_at: Option<Instant>,
}

impl SessionQueue {
    /// Puts a delivery in line, or makes one that is there durable.
    pub fn enqueue(&mut self, recipient: &Recipient, turn: Turn, durable: bool, place: Place) {
        let queue = self.queues.entry(recipient.clone()).or_insert_with(|| RecipientQueue {
            turns: BTreeMap::new(),
            phase: Phase::Idle,
            failures: 0,
            hold: None,
            holds: 0,
            fresh: None,
            heard_at: None,
        });
        if place == Place::ByHand && matches!(queue.phase, Phase::Paused { .. }) {
            self.set_phase(recipient, Phase::Idle);
        }
        let Some(queue) = self.queues.get_mut(recipient) else {
            return;
        };
        // What a message carries decides how urgent it is, and that may be known piece by piece.
        queue.take_out(turn.id);
        queue.turns.insert(turn, durable);
        if let Phase::Paused { until, pause, .. } = queue.phase
            && place == Place::InTurn
            && pause != Pause::Upload
            && let Some(id) = queue.next().filter(|next| *next == turn.id)
        {
            self.set_phase(recipient, Phase::Paused { id, until, pause });
        }
        self.refresh(recipient);
    }

    /// Takes a delivery out: it is sent, or refused for good. The next one may go.
    pub fn remove(&mut self, recipient: &Recipient, id: DeliveryId) {
        let Some(queue) = self.queues.get_mut(recipient) else {
            return;
        };
        if queue.take_out(id) {
            queue.answered();
            self.refresh(recipient);
        }
    }

    /// Takes a delivery out that a person gave up. That says nothing about the recipient: what holds the queue holds
    /// the next one.
    pub fn give_up(&mut self, recipient: &Recipient, id: DeliveryId) {
        let Some(queue) = self.queues.get_mut(recipient) else {
            return;
        };
        if !queue.take_out(id) {
            return;
        }
        queue.failures = 0;
        if let Phase::Paused {
            id: paused,
            until,
            pause: pause @ Pause::Hold(_),
        } = queue.phase
            && paused == id
            && let Some(id) = queue.next()
        {
            self.set_phase(recipient, Phase::Paused { id, until, pause });
        }
        self.refresh(recipient);
    }

    /// The recipient has written: what was held until then may go.
    pub fn heard(&mut self, recipient: &Recipient, now: Instant) {
        let Some(queue) = self.queues.get_mut(recipient) else {
            return;
        };
        queue.heard_at = Some(now);
        if queue.hold.is_some_and(Hold::ends_when_they_write) {
            queue.answered();
        }
        if matches!(queue.phase, Phase::Paused { pause: Pause::Hold(hold), .. } if hold.ends_when_they_write()) {
            self.set_phase(recipient, Phase::Idle);
            self.refresh(recipient);
        }
    }

    /// Whether the recipient has written within `span`.
    pub fn has_heard(&self, recipient: &Recipient, now: Instant, span: Duration) -> bool {
        let heard_at = self.queues.get(recipient).and_then(|queue| queue.heard_at);
        heard_at.is_some_and(|at| now.saturating_duration_since(at) < span)
    }

    /// Whether the server holds the recipient's queue.
    pub fn is_held(&self, recipient: &Recipient) -> bool {
        self.queues.get(recipient).is_some_and(|queue| queue.hold.is_some())
    }

    /// The queues that the server holds.
    pub fn held_recipients(&self) -> impl Iterator<Item = (&Recipient, Hold)> {
        self.queues
            .iter()
            .filter_map(|(recipient, queue)| Some((recipient, queue.hold?)))
    }

    /// How often in a row this queue has been held for this, this time included.
    pub fn count_hold(&mut self, recipient: &Recipient, hold: Hold) -> u32 {
        let Some(queue) = self.queues.get_mut(recipient) else {
            return 0;
        };
        if queue.hold.replace(hold) != Some(hold) {
            queue.holds = 0;
        }
        queue.holds = queue.holds.saturating_add(1);
        queue.holds
    }

    /// The server has refused it in a way that tells of no hold.
    pub fn end_hold(&mut self, recipient: &Recipient) {
        if let Some(queue) = self.queues.get_mut(recipient) {
            queue.hold = None;
            queue.holds = 0;
        }
    }

    /// A refusal that looks final. True when it answers an attempt for which everything was asked anew; if not, the
    /// next attempt is one.
    pub fn note_final(&mut self, recipient: &Recipient, id: DeliveryId) -> bool {
        let in_flight = self.is_in_flight(recipient, id);
        let Some(queue) = self.queues.get_mut(recipient) else {
            return true;
        };
        if queue.fresh == Some((id, Fresh::Wanted)) {
            return in_flight;
        }
        queue.fresh = Some((id, Fresh::Wanted));
        false
    }

    /// A refusal that nobody knows: one of the attempts after it asks everything anew.
    pub fn try_fresh_once(&mut self, recipient: &Recipient, id: DeliveryId) {
        let in_flight = self.is_in_flight(recipient, id);
        let Some(queue) = self.queues.get_mut(recipient) else {
            return;
        };
        match queue.fresh {
            Some((of, Fresh::Wanted)) if of == id => {
                if in_flight {
                    queue.fresh = Some((id, Fresh::Tried));
                }
            }
            Some((of, Fresh::Tried)) if of == id => {}
            Some(_) | None => queue.fresh = Some((id, Fresh::Wanted)),
        }
    }

    /// Whether a message with this turn would be the next to go to the recipient.
    pub fn takes(&self, recipient: &Recipient, turn: Turn) -> bool {
        let queue = self.queues.get(recipient);
        let first = queue.and_then(|queue| queue.turns.first_key_value());
        self.up && first.is_none_or(|(first, _)| turn < *first)
    }

    /// A fresh line: pauses that the old one caused are over.
    pub fn up(&mut self) {
        self.up = true;
        self.forgive_missed_acks();
        self.release(|phase| {
            matches!(
                phase,
                Phase::Paused {
                    pause: Pause::Path | Pause::Upload,
                    ..
                }
            )
        });
    }

    /// The line is gone: what was under way waits.
    pub fn down(&mut self) {
        self.up = false;
        self.forgive_missed_acks();
        self.release(|phase| matches!(phase, Phase::InFlight { .. }));
    }

    /// Leases the delivery whose [`Turn`] it is, if there is room, and tells whether everything is to be asked anew for
    /// it.
    pub fn lease(
        &mut self,
        in_flight_max: usize,
        now: Instant,
        ack_by: Instant,
    ) -> Option<(Recipient, DeliveryId, bool)> {
        if !self.up || self.in_flight >= in_flight_max {
            return None;
        }
        let (Turn { id, .. }, recipient) = self.ready.first().cloned()?;
        self.set_phase(
            &recipient,
            Phase::InFlight {
                id,
                leased_at: now,
                ack_by,
                asks: false,
            },
        );
        let fresh = self.queues.get(&recipient).and_then(|queue| queue.fresh);
        let fresh = fresh == Some((id, Fresh::Wanted));
        Some((recipient, id, fresh))
    }

    /// The send of this delivery asks the server first, and gets answers: it has until `ack_by`, and its slot goes to
    /// another recipient meanwhile, if not too many ask already.
    pub fn asking(&mut self, recipient: &Recipient, id: DeliveryId, ack_by: Instant, asking_max: usize) {
        if let Some((leased_at, asks)) = self.lease_of(recipient, id) {
            let asks = asks || self.asking < asking_max;
            let phase = Phase::InFlight {
                id,
                leased_at,
                ack_by,
                asks,
            };
            self.set_phase(recipient, phase);
        }
    }

    /// Its stanza was written: now an ack is due. It counts as under way from here, over the bound if need be.
    pub fn written(&mut self, recipient: &Recipient, id: DeliveryId, now: Instant, ack_by: Instant) {
        if self.lease_of(recipient, id).is_some() {
            let phase = Phase::InFlight {
                id,
                leased_at: now,
                ack_by,
                asks: false,
            };
            self.set_phase(recipient, phase);
        }
    }

    fn lease_of(&self, recipient: &Recipient, id: DeliveryId) -> Option<(Instant, bool)> {
        match self.queues.get(recipient)?.phase {
            Phase::InFlight {
                id: in_flight,
                leased_at,
                ack_by: _,
                asks,
            } if in_flight == id => Some((leased_at, asks)),
            Phase::InFlight { .. } | Phase::Idle | Phase::Ready(_) | Phase::Paused { .. } => None,
        }
    }

    /// How often sends of this queue have failed in a row, this time included.
    pub fn count_failure(&mut self, recipient: &Recipient) -> u32 {
        let Some(queue) = self.queues.get_mut(recipient) else {
            return 0;
        };
        queue.failures = queue.failures.saturating_add(1);
        queue.failures
    }

    /// True while this delivery is leased.
    pub fn is_in_flight(&self, recipient: &Recipient, id: DeliveryId) -> bool {
        let phase = self.queues.get(recipient).map(|queue| queue.phase);
        matches!(phase, Some(Phase::InFlight { id: in_flight, .. }) if in_flight == id)
    }

    /// Ends a lease with a pause. Its slot goes to another recipient meanwhile, so that a few recipients that never
    /// answer cannot hold up all the others.
    pub fn pause(&mut self, recipient: &Recipient, id: DeliveryId, until: Instant, pause: Pause) {
        if self.is_in_flight(recipient, id) {
            // What has come before it meanwhile finds the recipient as it is.
            let next = self.queues.get(recipient).and_then(RecipientQueue::next);
            let id = next.filter(|_| pause != Pause::Upload).unwrap_or(id);
            self.set_phase(recipient, Phase::Paused { id, until, pause });
            self.refresh(recipient);
        }
    }

    /// Ends a pause early, by hand.
    pub fn end_pause(&mut self, recipient: &Recipient, id: DeliveryId) {
        let phase = self.queues.get(recipient).map(|queue| queue.phase);
        if matches!(phase, Some(Phase::Paused { id: paused, .. }) if paused == id) {
            self.set_phase(recipient, Phase::Idle);
            self.refresh(recipient);
        }
    }

    /// An ack came: the line is no suspect.
    pub fn forgive_missed_acks(&mut self) {
        self.missed_acks = 0;
        self.missed_at = None;
    }

    /// Counts a missed ack. Sends that were under way together count once: in a row means one after the other.
    /// True when `missed_acks_max` is reached; the count then starts anew.
    pub fn miss_ack(&mut self, leased_at: Instant, now: Instant, missed_acks_max: u32) -> bool {
        if self.missed_at.is_some_and(|missed_at| leased_at < missed_at) {
            return false;
        }
        self.missed_at = Some(now);
        self.missed_acks += 1;
        let suspect = self.missed_acks >= missed_acks_max;
        if suspect {
            self.missed_acks = 0;
        }
        suspect
    }

    /// The next deadline, the delivery it is about, and whether it waits for an ack.
    pub fn next_deadline(&self) -> Option<(Instant, DeliveryId, bool)> {
        let (at, recipient) = self.deadlines.first()?;
        match self.queues.get(recipient)?.phase {
            Phase::InFlight { id, .. } => Some((*at, id, true)),
            Phase::Paused { id, .. } => Some((*at, id, false)),
            Phase::Idle | Phase::Ready(_) => None,
        }
    }

    /// Takes one deadline that has passed. An overdue lease stays until the caller pauses it.
    pub fn pop_due(&mut self, now: Instant) -> Option<Due> {
        let (at, recipient) = self.deadlines.first()?.clone();
        if at > now {
            return None;
        }
        match self.queues.get(&recipient)?.phase {
            Phase::InFlight { id, leased_at, .. } => Some(Due::Ack {
                recipient,
                id,
                leased_at,
            }),
            Phase::Paused { .. } | Phase::Idle | Phase::Ready(_) => {
                self.set_phase(&recipient, Phase::Idle);
                self.refresh(&recipient);
                Some(Due::Retry)
            }
        }
    }

    /// Every queue in such a phase starts over with its first delivery.
    fn release(&mut self, which: impl Fn(&Phase) -> bool) {
        let queues = self.queues.iter().filter(|(_, queue)| which(&queue.phase));
        let recipients: Vec<Recipient> = queues.map(|(recipient, _)| recipient.clone()).collect();
        for recipient in recipients {
            self.set_phase(&recipient, Phase::Idle);
            self.refresh(&recipient);
        }
    }

    /// Brings the phase in line with the turns, and drops an empty queue.
    fn refresh(&mut self, recipient: &Recipient) {
        let Some(queue) = self.queues.get(recipient) else {
            return;
        };
        let first = queue.turns.first_key_value().map(|(turn, durable)| (*turn, *durable));
        let holds = match queue.phase {
            Phase::Idle => false,
            // One can come before it, by its priority or by hand: the one under way is finished first.
            Phase::InFlight { id, .. } => queue.turn(id).is_some(),
            Phase::Ready(turn) => first == Some((turn, true)),
            // The pause is the queue's; one that comes before it waits it out too, and may yet be refused by the disk.
            // But an upload is the delivery's alone.
            Phase::Paused { id, .. } => match first {
                Some((turn, true)) => turn.id == id,
                Some((_, false)) => queue.turn(id).is_some(),
                None => false,
            },
        };
        if !holds {
            let phase = match first {
                Some((turn, true)) => Phase::Ready(turn),
                Some((_, false)) | None => Phase::Idle,
            };
            self.set_phase(recipient, phase);
        }
        if first.is_none() {
            self.queues.remove(recipient);
        }
    }

    fn slots(&mut self, asks: bool) -> &mut usize {
        if asks { &mut self.asking } else { &mut self.in_flight }
    }

    fn set_phase(&mut self, recipient: &Recipient, phase: Phase) {
        let Some(queue) = self.queues.get_mut(recipient) else {
            return;
        };
        match mem::replace(&mut queue.phase, phase) {
            Phase::Idle => {}
            Phase::Ready(turn) => {
                self.ready.remove(&(turn, recipient.clone()));
            }
            Phase::InFlight { ack_by: at, asks, .. } => {
                *self.slots(asks) -= 1;
                self.deadlines.remove(&(at, recipient.clone()));
            }
            Phase::Paused { until: at, .. } => {
                self.deadlines.remove(&(at, recipient.clone()));
            }
        }
        match phase {
            Phase::Idle => {}
            Phase::Ready(turn) => {
                self.ready.insert((turn, recipient.clone()));
            }
            Phase::InFlight { ack_by: at, asks, .. } => {
                *self.slots(asks) += 1;
                self.deadlines.insert((at, recipient.clone()));
            }
            Phase::Paused { until: at, .. } => {
                self.deadlines.insert((at, recipient.clone()));
            }
        }
    }
}
