//! What one session has to send: a lane a recipient, one message under way in each.
//!
//! Knows nothing of alerts: a [`Leg`] goes in when it is accepted and out when it needs no more sending. Every change
//! of a lane's phase passes through [`Line::set_phase`], which keeps the indexes true.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::time::{Duration, Instant};

use super::refusal::Hold;
use crate::alert::{Priority, Recipient};

/// One delivery of one alert: its place in the order, and which of the alert's deliveries it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Leg {
    pub seq: u64,
    pub index: usize,
}

/// Where a leg stands in its lane, and its lane among the others that may send: the more urgent first, those of one
/// priority in the order of acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    /// 0 is the most urgent.
    pub rank: u8,
    pub leg: Leg,
}

impl Turn {
    pub fn new(priority: Priority, leg: Leg) -> Self {
        let rank = Priority::Max as u8 - priority as u8;
        Self { rank, leg }
    }

    /// Whether it is less urgent than `priority`.
    pub fn is_below(self, priority: Priority) -> bool {
        self.rank > Priority::Max as u8 - priority as u8
    }
}

/// Why a lane pauses; it decides what ends the pause early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// The path failed. A new line is a new chance.
    Path,
    /// What goes with the leg is being uploaded. What is more urgent does not wait for that.
    Upload,
    /// The server asked us, in its way, to go slower. A new line changes nothing about that.
    Server,
    /// It lets nothing through for long. A new line or a dropped alert does not end that; time does, and for some kinds
    /// that the recipient writes.
    Hold(Hold),
}

/// How a leg gets in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Where its [`Turn`] is. While its lane pauses, it waits too.
    InTurn,
    /// A person wants it sent now: what paused its lane is over.
    ByHand,
}

/// Whether a leg has to go out with all that is known of its recipient asked anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fresh {
    /// At its next attempt; when it flies, at this one.
    Wanted,
    /// It has, and was refused in a way that nobody knows.
    Tried,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Empty, or the first leg is not durable yet.
    Idle,
    Ready(Turn),
    Flying {
        leg: Leg,
        leased_at: Instant,
        ack_by: Instant,
        /// It still asks the server whom to encrypt for, and holds no slot.
        asks: bool,
    },
    Paused {
        leg: Leg,
        until: Instant,
        pause: Pause,
    },
}

#[derive(Debug)]
struct Lane {
    /// What is still to be sent, in order; true when durable.
    queue: BTreeMap<Turn, bool>,
    phase: Phase,
    /// Failures in a row, since something was let through or refused for good.
    failures: u32,
    /// What the server last held this lane for, until it answers otherwise, and how often in a row it has.
    hold: Option<Hold>,
    holds: u32,
    fresh: Option<(Leg, Fresh)>,
    /// When the recipient last wrote.
    heard_at: Option<Instant>,
}

impl Lane {
    /// The place of a leg, while it is to be sent. It is found by trying: no more than five places are possible.
    fn turn(&self, leg: Leg) -> Option<Turn> {
        let ranks = 0..=Priority::Max as u8 - Priority::Min as u8;
        let mut turns = ranks.map(|rank| Turn { rank, leg });
        turns.find(|turn| self.queue.contains_key(turn))
    }

    /// Whose turn it is, if that is durable.
    fn next(&self) -> Option<Leg> {
        let (turn, durable) = self.queue.first_key_value()?;
        durable.then_some(turn.leg)
    }

    /// False where it was not there.
    fn take_out(&mut self, leg: Leg) -> bool {
        self.turn(leg).is_some_and(|turn| self.queue.remove(&turn).is_some())
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
        leg: Leg,
        leased_at: Instant,
    },
    /// The pause is over; the lane is ready again.
    Retry,
}

#[derive(Debug, Default)]
pub(super) struct Line {
    up: bool,
    in_flight: usize,
    /// Leases that ask, which are not counted above.
    asking: usize,
    lanes: BTreeMap<Recipient, Lane>,
    ready: BTreeSet<(Turn, Recipient)>,
    deadlines: BTreeSet<(Instant, Recipient)>,
    strikes: u32,
    struck_at: Option<Instant>,
}

impl Line {
    /// Puts a leg in line, or makes one that is there durable.
    pub fn enqueue(&mut self, recipient: &Recipient, turn: Turn, durable: bool, place: Place) {
        let lane = self.lanes.entry(recipient.clone()).or_insert_with(|| Lane {
            queue: BTreeMap::new(),
            phase: Phase::Idle,
            failures: 0,
            hold: None,
            holds: 0,
            fresh: None,
            heard_at: None,
        });
        if place == Place::ByHand && matches!(lane.phase, Phase::Paused { .. }) {
            self.set_phase(recipient, Phase::Idle);
        }
        let Some(lane) = self.lanes.get_mut(recipient) else {
            return;
        };
        // What a message carries decides how urgent it is, and that may be known piece by piece.
        lane.take_out(turn.leg);
        lane.queue.insert(turn, durable);
        if let Phase::Paused { until, pause, .. } = lane.phase
            && place == Place::InTurn
            && pause != Pause::Upload
            && let Some(leg) = lane.next().filter(|next| *next == turn.leg)
        {
            self.set_phase(recipient, Phase::Paused { leg, until, pause });
        }
        self.refresh(recipient);
    }

    /// Takes a leg out: it is sent, or refused for good. The next one may go.
    pub fn remove(&mut self, recipient: &Recipient, leg: Leg) {
        let Some(lane) = self.lanes.get_mut(recipient) else {
            return;
        };
        if lane.take_out(leg) {
            lane.answered();
            self.refresh(recipient);
        }
    }

    /// Takes a leg out that a person gave up. That says nothing about the recipient: what holds the lane holds the next
    /// one.
    pub fn give_up(&mut self, recipient: &Recipient, leg: Leg) {
        let Some(lane) = self.lanes.get_mut(recipient) else {
            return;
        };
        if !lane.take_out(leg) {
            return;
        }
        lane.failures = 0;
        if let Phase::Paused {
            leg: paused,
            until,
            pause: pause @ Pause::Hold(_),
        } = lane.phase
            && paused == leg
            && let Some(leg) = lane.next()
        {
            self.set_phase(recipient, Phase::Paused { leg, until, pause });
        }
        self.refresh(recipient);
    }

    /// The recipient has written: what was held until then may go.
    pub fn heard(&mut self, recipient: &Recipient, now: Instant) {
        let Some(lane) = self.lanes.get_mut(recipient) else {
            return;
        };
        lane.heard_at = Some(now);
        if lane.hold.is_some_and(Hold::ends_when_they_write) {
            lane.answered();
        }
        if matches!(lane.phase, Phase::Paused { pause: Pause::Hold(hold), .. } if hold.ends_when_they_write()) {
            self.set_phase(recipient, Phase::Idle);
            self.refresh(recipient);
        }
    }

    /// Whether the recipient has written within `span`.
    pub fn has_heard(&self, recipient: &Recipient, now: Instant, span: Duration) -> bool {
        let heard_at = self.lanes.get(recipient).and_then(|lane| lane.heard_at);
        heard_at.is_some_and(|at| now.saturating_duration_since(at) < span)
    }

    /// The lanes that the server holds.
    pub fn held(&self) -> impl Iterator<Item = (&Recipient, Hold)> {
        self.lanes
            .iter()
            .filter_map(|(recipient, lane)| Some((recipient, lane.hold?)))
    }

    /// How often in a row this lane has been held for this, this time included.
    pub fn count_hold(&mut self, recipient: &Recipient, hold: Hold) -> u32 {
        let Some(lane) = self.lanes.get_mut(recipient) else {
            return 0;
        };
        if lane.hold.replace(hold) != Some(hold) {
            lane.holds = 0;
        }
        lane.holds = lane.holds.saturating_add(1);
        lane.holds
    }

    /// The server has refused it in a way that tells of no hold.
    pub fn end_hold(&mut self, recipient: &Recipient) {
        if let Some(lane) = self.lanes.get_mut(recipient) {
            lane.hold = None;
            lane.holds = 0;
        }
    }

    /// A refusal that looks final. True when it answers an attempt for which everything was asked anew; if not, the
    /// next attempt is one.
    pub fn is_final(&mut self, recipient: &Recipient, leg: Leg) -> bool {
        let flying = self.is_flying(recipient, leg);
        let Some(lane) = self.lanes.get_mut(recipient) else {
            return true;
        };
        if lane.fresh == Some((leg, Fresh::Wanted)) {
            return flying;
        }
        lane.fresh = Some((leg, Fresh::Wanted));
        false
    }

    /// A refusal that nobody knows: one of the attempts after it asks everything anew.
    pub fn try_fresh_once(&mut self, recipient: &Recipient, leg: Leg) {
        let flying = self.is_flying(recipient, leg);
        let Some(lane) = self.lanes.get_mut(recipient) else {
            return;
        };
        match lane.fresh {
            Some((of, Fresh::Wanted)) if of == leg => {
                if flying {
                    lane.fresh = Some((leg, Fresh::Tried));
                }
            }
            Some((of, Fresh::Tried)) if of == leg => {}
            Some(_) | None => lane.fresh = Some((leg, Fresh::Wanted)),
        }
    }

    /// Whether a message with this turn would be the next to go to the recipient.
    pub fn takes(&self, recipient: &Recipient, turn: Turn) -> bool {
        let lane = self.lanes.get(recipient);
        let first = lane.and_then(|lane| lane.queue.first_key_value());
        self.up && first.is_none_or(|(first, _)| turn < *first)
    }

    /// A fresh line: pauses that the old one caused are over.
    pub fn up(&mut self) {
        self.up = true;
        self.forgive();
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
        self.forgive();
        self.release(|phase| matches!(phase, Phase::Flying { .. }));
    }

    /// Leases the leg whose [`Turn`] it is, if there is room, and tells whether everything is to be asked anew for it.
    pub fn lease(&mut self, in_flight_max: usize, now: Instant, ack_by: Instant) -> Option<(Recipient, Leg, bool)> {
        if !self.up || self.in_flight >= in_flight_max {
            return None;
        }
        let (Turn { leg, .. }, recipient) = self.ready.first().cloned()?;
        self.set_phase(
            &recipient,
            Phase::Flying {
                leg,
                leased_at: now,
                ack_by,
                asks: false,
            },
        );
        let fresh = self.lanes.get(&recipient).and_then(|lane| lane.fresh);
        let fresh = fresh == Some((leg, Fresh::Wanted));
        Some((recipient, leg, fresh))
    }

    /// The send of this leg asks the server first, and gets answers: it has until `ack_by`, and its slot goes to
    /// another recipient meanwhile, if not too many ask already.
    pub fn asking(&mut self, recipient: &Recipient, leg: Leg, ack_by: Instant, asking_max: usize) {
        if let Some((leased_at, asks)) = self.lease_of(recipient, leg) {
            let asks = asks || self.asking < asking_max;
            let phase = Phase::Flying {
                leg,
                leased_at,
                ack_by,
                asks,
            };
            self.set_phase(recipient, phase);
        }
    }

    /// Its stanza was written: now an ack is due. It counts as under way from here, over the bound if need be.
    pub fn written(&mut self, recipient: &Recipient, leg: Leg, now: Instant, ack_by: Instant) {
        if self.lease_of(recipient, leg).is_some() {
            let phase = Phase::Flying {
                leg,
                leased_at: now,
                ack_by,
                asks: false,
            };
            self.set_phase(recipient, phase);
        }
    }

    fn lease_of(&self, recipient: &Recipient, leg: Leg) -> Option<(Instant, bool)> {
        match self.lanes.get(recipient)?.phase {
            Phase::Flying {
                leg: flying,
                leased_at,
                ack_by: _,
                asks,
            } if flying == leg => Some((leased_at, asks)),
            Phase::Flying { .. } | Phase::Idle | Phase::Ready(_) | Phase::Paused { .. } => None,
        }
    }

    /// How often sends of this lane have failed in a row, this time included.
    pub fn count_failure(&mut self, recipient: &Recipient) -> u32 {
        let Some(lane) = self.lanes.get_mut(recipient) else {
            return 0;
        };
        lane.failures = lane.failures.saturating_add(1);
        lane.failures
    }

    /// True while this leg is leased.
    pub fn is_flying(&self, recipient: &Recipient, leg: Leg) -> bool {
        let phase = self.lanes.get(recipient).map(|lane| lane.phase);
        matches!(phase, Some(Phase::Flying { leg: flying, .. }) if flying == leg)
    }

    /// Ends a lease with a pause. Its slot goes to another recipient meanwhile, so that a few recipients that never
    /// answer cannot hold up all the others.
    pub fn pause(&mut self, recipient: &Recipient, leg: Leg, until: Instant, pause: Pause) {
        if self.is_flying(recipient, leg) {
            // What has come before it meanwhile finds the recipient as it is.
            let next = self.lanes.get(recipient).and_then(Lane::next);
            let leg = next.filter(|_| pause != Pause::Upload).unwrap_or(leg);
            self.set_phase(recipient, Phase::Paused { leg, until, pause });
            self.refresh(recipient);
        }
    }

    /// Ends a pause early, by hand.
    pub fn hurry(&mut self, recipient: &Recipient, leg: Leg) {
        let phase = self.lanes.get(recipient).map(|lane| lane.phase);
        if matches!(phase, Some(Phase::Paused { leg: paused, .. }) if paused == leg) {
            self.set_phase(recipient, Phase::Idle);
            self.refresh(recipient);
        }
    }

    /// An ack came: the line is no suspect.
    pub fn forgive(&mut self) {
        self.strikes = 0;
        self.struck_at = None;
    }

    /// Counts a missed ack. Sends that were under way together count once: in a row means one after the other.
    /// True when `strikes_max` is reached; the count then starts anew.
    pub fn strike(&mut self, leased_at: Instant, now: Instant, strikes_max: u32) -> bool {
        if self.struck_at.is_some_and(|struck_at| leased_at < struck_at) {
            return false;
        }
        self.struck_at = Some(now);
        self.strikes += 1;
        let suspect = self.strikes >= strikes_max;
        if suspect {
            self.strikes = 0;
        }
        suspect
    }

    /// The next deadline, the leg it is about, and whether it waits for an ack.
    pub fn next_deadline(&self) -> Option<(Instant, Leg, bool)> {
        let (at, recipient) = self.deadlines.first()?;
        match self.lanes.get(recipient)?.phase {
            Phase::Flying { leg, .. } => Some((*at, leg, true)),
            Phase::Paused { leg, .. } => Some((*at, leg, false)),
            Phase::Idle | Phase::Ready(_) => None,
        }
    }

    /// Takes one deadline that has passed. An overdue lease stays until the caller pauses it.
    pub fn pop_due(&mut self, now: Instant) -> Option<Due> {
        let (at, recipient) = self.deadlines.first()?.clone();
        if at > now {
            return None;
        }
        match self.lanes.get(&recipient)?.phase {
            Phase::Flying { leg, leased_at, .. } => Some(Due::Ack {
                recipient,
                leg,
                leased_at,
            }),
            Phase::Paused { .. } | Phase::Idle | Phase::Ready(_) => {
                self.set_phase(&recipient, Phase::Idle);
                self.refresh(&recipient);
                Some(Due::Retry)
            }
        }
    }

    /// Every lane in such a phase starts over with its first leg.
    fn release(&mut self, which: impl Fn(&Phase) -> bool) {
        let lanes = self.lanes.iter().filter(|(_, lane)| which(&lane.phase));
        let recipients: Vec<Recipient> = lanes.map(|(recipient, _)| recipient.clone()).collect();
        for recipient in recipients {
            self.set_phase(&recipient, Phase::Idle);
            self.refresh(&recipient);
        }
    }

    /// Brings the phase in line with the queue, and drops an empty lane.
    fn refresh(&mut self, recipient: &Recipient) {
        let Some(lane) = self.lanes.get(recipient) else { return };
        let first = lane.queue.first_key_value().map(|(turn, durable)| (*turn, *durable));
        let holds = match lane.phase {
            Phase::Idle => false,
            // One can come before it, by its priority or by hand: the one under way is finished first.
            Phase::Flying { leg, .. } => lane.turn(leg).is_some(),
            Phase::Ready(turn) => first == Some((turn, true)),
            // The pause is the lane's; one that comes before it waits it out too, and may yet be refused by the disk.
            // But an upload is the leg's alone.
            Phase::Paused { leg, .. } => match first {
                Some((turn, true)) => turn.leg == leg,
                Some((_, false)) => lane.turn(leg).is_some(),
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
            self.lanes.remove(recipient);
        }
    }

    fn slots(&mut self, asks: bool) -> &mut usize {
        if asks { &mut self.asking } else { &mut self.in_flight }
    }

    fn set_phase(&mut self, recipient: &Recipient, phase: Phase) {
        let Some(lane) = self.lanes.get_mut(recipient) else {
            return;
        };
        match mem::replace(&mut lane.phase, phase) {
            Phase::Idle => {}
            Phase::Ready(turn) => {
                self.ready.remove(&(turn, recipient.clone()));
            }
            Phase::Flying { ack_by: at, asks, .. } => {
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
            Phase::Flying { ack_by: at, asks, .. } => {
                *self.slots(asks) += 1;
                self.deadlines.insert((at, recipient.clone()));
            }
            Phase::Paused { until: at, .. } => {
                self.deadlines.insert((at, recipient.clone()));
            }
        }
    }
}
