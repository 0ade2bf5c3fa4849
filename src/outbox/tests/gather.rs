//! A policy that gathers: what the seam between alerts and messages must carry.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::super::entry::ends;
use super::super::policy::{Arrival, Decision, Input, Part, Policy, Takes};
use super::super::*;
use super::SECOND;
use crate::alert::{Priority, Recipient, SessionName};

/// How long an alert of low priority waits for others, and for how many.
pub(super) const WAIT: Duration = SECOND.saturating_mul(60);
pub(super) const TOGETHER: usize = 3;

/// Alerts of the lowest priority go out when the wall clock shows a whole multiple of this.
pub(super) const EVERY_MS: u64 = 600_000;

/// Low priority: a few go out together. The lowest: all that there are, at a time of day. All others: at once.
#[derive(Debug, Default)]
pub(super) struct Gather {
    held: BTreeMap<(SessionName, Recipient, Priority), Held>,
    decisions: VecDeque<Decision>,
}

#[derive(Debug)]
struct Held {
    deliveries: BTreeSet<DeliveryId>,
    until: Instant,
    /// In Unix milliseconds, where the time of day decides.
    until_wall: Option<u64>,
}

fn time_of_day(now: Now, wall: u64) -> Instant {
    now.mono + Duration::from_millis(wall.saturating_sub(now.wall.0))
}

fn next_time(now: Now) -> u64 {
    now.wall.0 / EVERY_MS * EVERY_MS + EVERY_MS
}

impl Gather {
    fn decide(&mut self, due: impl Fn(&Held) -> bool) {
        let decisions = &mut self.decisions;
        self.held.retain(|_, held| {
            let due = due(held);
            if due {
                decisions.push_back(Decision::Message {
                    deliveries: held.deliveries.iter().copied().collect(),
                    form: Form::Whole,
                });
            }
            !due
        });
    }
}

impl Policy for Gather {
    fn arrive(&self, _now: Now, alert: &AlertRecord, _delivery: usize) -> Arrival {
        match alert.alert.priority {
            Priority::Min | Priority::Low => Arrival::Later,
            Priority::Default | Priority::High | Priority::Max => Arrival::AtOnce,
        }
    }

    fn handle(&mut self, now: Now, input: Input<'_>) {
        match input {
            Input::Waits { delivery, of, .. } => {
                let by_day = of.alert.priority == Priority::Min;
                let recipient = of.deliveries[delivery.index].recipient.clone();
                let key = (of.session.clone(), recipient, of.alert.priority);
                let held = self.held.entry(key).or_insert_with(|| Held {
                    deliveries: BTreeSet::new(),
                    until: match by_day {
                        true => time_of_day(now, next_time(now)),
                        false => ends(now, of.accepted_at, WAIT),
                    },
                    until_wall: by_day.then(|| next_time(now)),
                });
                held.deliveries.insert(delivery);
                self.decide(|held| held.until_wall.is_none() && held.deliveries.len() >= TOGETHER);
            }
            Input::Gone { delivery } => self.held.retain(|_, held| {
                held.deliveries.remove(&delivery);
                !held.deliveries.is_empty()
            }),
            Input::Went { .. } => {}
            Input::ClockStepped => {
                for held in self.held.values_mut() {
                    if let Some(wall) = &mut held.until_wall {
                        // What the step has gone past is due; after a step back it is today's next time.
                        *wall = next_time(now).min(*wall);
                        held.until = time_of_day(now, *wall);
                    }
                }
            }
        }
    }

    fn poll_decision(&mut self, now: Now, _takes: &Takes<'_>) -> Option<Decision> {
        self.decide(|held| held.until <= now.mono);
        self.decisions.pop_front()
    }

    fn held_back(&self, _delivery: DeliveryId) -> Option<HeldBack> {
        None
    }

    fn beside(&self, _delivery: DeliveryId) -> Vec<DeliveryId> {
        Vec::new()
    }

    fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let deadline = |held: &Held| {
            Some((
                held.until,
                Reason::HeldEnds {
                    seq: held.deliveries.first()?.seq,
                },
            ))
        };
        self.held.values().filter_map(deadline).min()
    }

    fn content(&self, parts: &[Part<'_>]) -> Content {
        let texts: Vec<&str> = parts.iter().map(|part| part.record.alert.text.as_str()).collect();
        Content::Text(texts.join("\n"))
    }
}
