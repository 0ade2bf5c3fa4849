//! What is said again until somebody acknowledges it: repetitions, and the escalation to another route.
//!
//! Each is an alert of its own, which [follows](Follows) the first and has a key of its own: so it is accepted once,
//! whatever is killed in between. The record of the first counts them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::entry::ends;
use super::history::{Transition, TransitionKind};
use super::io::{CommandError, Output};
use super::record::{Ack, AlertRecord, FollowUp, Follows, Step, Timestamp};
use super::rules::Rules;
use super::session_queue::DeliveryId;
use super::{Now, Outbox};
use crate::alert::{Alert, Recipient, RouteName, Status};

/// The shell has not taken a follow-up: it is asked again after this.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// Alerts that follow each other: an escalation of an escalation. Routes make no circle, so this is never reached.
const CHAIN_MAX: usize = 64;

impl Rules {
    /// Whether an alert on `route` is to be watched until somebody acknowledges it.
    pub(super) fn watches(&self, route: &RouteName, alert: &Alert, follows: Option<&Follows>) -> bool {
        let rules = self.routes.get(route);
        let repeat = rules.and_then(|rules| rules.repeat.as_ref()).map(|repeat| repeat.from);
        let escalate = rules
            .and_then(|rules| rules.escalate.as_ref())
            .map(|escalate| escalate.from);
        let is_repeat = follows.is_some_and(|follows| matches!(follows.what, FollowUp::Repeat { .. }));
        let from = repeat.into_iter().chain(escalate).min();
        alert.status == Status::Firing && !is_repeat && from.is_some_and(|from| alert.priority >= from)
    }
}

impl Outbox {
    /// Notes when the next is due that has to be done for an alert that nobody has acknowledged.
    pub(super) fn schedule_follow_up(&mut self, now: Now, seq: u64) {
        let next = self.next_follow_up(now, seq).map(|(at, _)| at);
        self.schedule_follow_up_at(seq, next);
    }

    fn schedule_follow_up_at(&mut self, seq: u64, next: Option<Instant>) {
        let Some(entry) = self.entries.get_mut(&seq) else {
            return;
        };
        if let Some(before) = std::mem::replace(&mut entry.attention_at, next) {
            self.attention.remove(&(before, seq));
        }
        let Some(at) = next else { return };
        self.attention.insert((at, seq));
        // As in `place`.
        let keep = at + self.limits.keep;
        if let Some(until) = entry.keep_until.filter(|until| *until < keep) {
            entry.keep_until = Some(keep);
            self.kept.ends.remove(&(until, seq));
            self.kept.ends.insert((keep, seq));
        }
    }

    fn next_follow_up(&self, now: Now, seq: u64) -> Option<(Instant, FollowUp)> {
        let entry = self.entries.get(&seq).filter(|entry| entry.durable)?;
        let (record, attention) = (&entry.record, &entry.record.attention);
        if !attention.watched || attention.acked.is_some() || self.is_over(record) {
            return None;
        }
        // A person, or a later alert, has decided about it.
        let unwanted = |step: Step| matches!(step, Step::Dropped | Step::Superseded);
        if record.deliveries.iter().all(|delivery| unwanted(delivery.step)) {
            return None;
        }
        let rules = self.rules.routes.get(&record.route)?;
        let repeat = rules
            .repeat
            .as_ref()
            .filter(|repeat| record.alert.priority >= repeat.from && attention.repeats < repeat.times);
        let repeat = repeat.and_then(|repeat| {
            let arrived = |step: Step| matches!(step, Step::Sent | Step::Delivered | Step::Read | Step::Fallback);
            let arrived = record.deliveries.iter().filter(|delivery| arrived(delivery.step));
            let sent_at = arrived.map(|delivery| delivery.since).min();
            let what = FollowUp::Repeat {
                number: attention.repeats + 1,
                of: repeat.times,
            };
            Some((ends(now, attention.repeated_at.or(sent_at)?, repeat.every), what))
        });
        let escalate = rules
            .escalate
            .as_ref()
            .filter(|escalate| record.alert.priority >= escalate.from && attention.escalated_at.is_none());
        // Nobody has it while it is held back.
        let held = record.flap.as_ref().map_or(Duration::ZERO, |flap| flap.hold);
        let escalate = escalate.map(|escalate| {
            let what = FollowUp::Escalation {
                from: record.route.clone(),
            };
            (ends(now, record.due_at(), escalate.after.saturating_add(held)), what)
        });
        repeat.into_iter().chain(escalate).min_by_key(|(at, _)| *at)
    }

    /// Whether a later alert has said that it is over: of it, or of what it follows.
    fn is_over(&self, record: &AlertRecord) -> bool {
        self.chain(record).any(|record| {
            let sequence = record.alert.sequence.clone();
            let same = sequence.and_then(|sequence| self.by_sequence.get(&(record.route.clone(), sequence)));
            let later = same.into_iter().flatten().filter(|seq| **seq > record.seq);
            let mut later = later.filter_map(|seq| self.entries.get(seq));
            later.any(|entry| entry.durable && entry.record.alert.status == Status::Resolved)
        })
    }

    /// An alert, what it follows, what that follows.
    fn chain<'a>(&'a self, record: &'a AlertRecord) -> impl Iterator<Item = &'a AlertRecord> {
        let before = move |record: &&AlertRecord| {
            let follows = record.attention.follows.as_ref()?;
            self.get(&follows.id)
        };
        std::iter::successors(Some(record), before).take(CHAIN_MAX)
    }

    /// Asks the shell for what is due.
    pub(super) fn follow_up(&mut self, now: Now) {
        while let Some(&(at, seq)) = self.attention.first() {
            if at > now.mono {
                return;
            }
            let due = self.next_follow_up(now, seq).filter(|(at, _)| *at <= now.mono);
            let Some((_, what)) = due else {
                self.schedule_follow_up(now, seq);
                continue;
            };
            self.schedule_follow_up_at(seq, Some(now.mono + ASK_AGAIN));
            let asked = self.entries.get(&seq).and_then(|entry| {
                let record = &entry.record;
                let route = match &what {
                    FollowUp::Repeat { .. } => record.route.clone(),
                    FollowUp::Escalation { .. } => {
                        let rules = self.rules.routes.get(&record.route)?;
                        rules.escalate.as_ref()?.to.clone()
                    }
                };
                Some(Output::FollowUp {
                    route,
                    alert: Box::new(again(record, &what)),
                    follows: Follows {
                        id: record.id.clone(),
                        what,
                    },
                })
            });
            self.outputs.extend(asked);
        }
    }

    /// The alert `seq` is on disk, and says another one again.
    pub(super) fn on_follow_up_durable(&mut self, now: Now, seq: u64) {
        let record = self.entries.get(&seq).map(|entry| &entry.record);
        let Some((follows, at)) =
            record.and_then(|record| Some((record.attention.follows.clone()?, record.accepted_at)))
        else {
            return;
        };
        self.on_followed(now, &follows, at);
        // Somebody may have seen to that one meanwhile.
        let acked = self.get(&follows.id).and_then(|first| first.attention.acked.clone());
        if let Some(ack) = acked {
            self.acknowledge(now, seq, &ack, true);
        }
    }

    /// The alert that `follows` another is on disk.
    pub(super) fn on_followed(&mut self, now: Now, follows: &Follows, at: Timestamp) {
        let Some(seq) = self.get(&follows.id).map(|record| record.seq) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(&seq) else {
            return;
        };
        let attention = &mut entry.record.attention;
        let what = match &follows.what {
            FollowUp::Repeat { number, .. } if *number > attention.repeats => {
                attention.repeats = *number;
                attention.repeated_at = Some(at);
                TransitionKind::Repeated
            }
            FollowUp::Escalation { .. } if attention.escalated_at.is_none() => {
                attention.escalated_at = Some(at);
                TransitionKind::Escalated
            }
            // A restart tells it again.
            FollowUp::Repeat { .. } | FollowUp::Escalation { .. } => return self.schedule_follow_up(now, seq),
        };
        let happened = Transition::to_all(&entry.record, at, what);
        self.dirty.entry(seq).or_default().happened.push(happened);
        self.schedule_follow_up(now, seq);
    }

    /// Notes that somebody has seen to an alert, and to all that follow each other with it. What of those was not sent
    /// yet is not.
    ///
    /// # Errors
    /// The id is not known.
    pub fn ack(&mut self, now: Now, id: &str, by: &str) -> Result<&AlertRecord, CommandError> {
        let record = self.get(id).ok_or_else(|| CommandError::Unknown(id.to_owned()))?;
        let first = self.first_of_chain(record).seq;
        let ack = Ack {
            at: now.wall,
            by: by.to_owned(),
            answer: None,
        };
        self.acknowledge_all(now, first, &ack, &[]);
        self.fill(now);
        self.get(id).ok_or_else(|| CommandError::Unknown(id.to_owned()))
    }

    /// Notes it for the alert numbered `first`, and for all that follow it, and tells those who have them; but in
    /// `chat`, where somebody has answered, they see that.
    pub(super) fn acknowledge_all(&mut self, now: Now, first: u64, ack: &Ack, chat: &[Recipient]) {
        let is_of_it = |record: &AlertRecord| self.chain(record).any(|before| before.seq == first);
        // One that is still being written hears of it when it is on disk.
        let durable = self.entries.values().filter(|entry| entry.durable);
        let all: BTreeSet<u64> = durable
            .map(|entry| &entry.record)
            .filter(|record| is_of_it(record))
            .map(|record| record.seq)
            .collect();
        for seq in &all {
            self.acknowledge(now, *seq, ack, *seq != first);
        }
        self.mark_copies(&all, chat);
    }

    /// The first alert of the chain that this one follows, or itself, where nobody has acknowledged it yet.
    pub(super) fn open(&self, record: &AlertRecord) -> Option<u64> {
        let watched = self.chain(record).any(|of_it| of_it.attention.watched);
        let acked = self.chain(record).any(|of_it| of_it.attention.acked.is_some());
        let is_open = watched && !acked && !self.is_over(record);
        is_open.then(|| self.first_of_chain(record).seq)
    }

    fn first_of_chain<'a>(&'a self, record: &'a AlertRecord) -> &'a AlertRecord {
        self.chain(record).last().unwrap_or(record)
    }

    /// Where it only says another one again, what of it was not sent yet is not sent.
    fn acknowledge(&mut self, now: Now, seq: u64, ack: &Ack, follows: bool) {
        let Some(entry) = self.entries.get_mut(&seq) else {
            return;
        };
        let attention = &mut entry.record.attention;
        if attention.acked.is_none() {
            attention.acked = Some(ack.clone());
            let happened = Transition::to_all(&entry.record, now.wall, TransitionKind::Acknowledged);
            self.dirty.entry(seq).or_default().happened.push(happened);
        }
        self.schedule_follow_up(now, seq);
        let delivery_ids = self.entries.get(&seq).map_or(0, |entry| entry.record.deliveries.len());
        for index in (0..delivery_ids).filter(|_| follows) {
            self.supersede_delivery(now, DeliveryId { seq, index }, "acknowledged before it was sent");
        }
    }
}

/// The alert that says this one again.
fn again(record: &AlertRecord, what: &FollowUp) -> Alert {
    let key = match what {
        FollowUp::Repeat { number, .. } => format!("repetition {number} of {}", record.id),
        FollowUp::Escalation { .. } => format!("escalation of {}", record.id),
    };
    Alert {
        key: Some(key),
        ttl: None,
        sequence: None,
        attachments: Vec::new(),
        ..record.alert.clone()
    }
}
