//! The second path: which alerts go to a fallback, when, and what becomes of them then.
//!
//! An alert goes there when it is older than its route's `after` and not sent, when its session has been down for that
//! long, or when WhatsApp has refused it for good or it has expired. That it shall is on the disk before the request
//! goes out. From then on WhatsApp does not get it while it may be there: a request that nobody can have seen frees it
//! again, one without an answer after a while. Whichever path has it first is the one; with `both` neither waits for
//! the other.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::entry;
use super::fallback_queues::{Phase, Request};
use super::history::{Transition, TransitionKind};
use super::io::{HandoverFailure, Output};
use super::parcel::{Handed, Parcel};
use super::policy::{self, Why};
use super::record::{AlertRecord, Handover, HandoverState, MessageId, NOTE_CHARS_MAX, Step, Timestamp};
use super::rules::FallbackRules;
use super::session_queue::{DeliveryId, Place};
use super::{Now, Outbox};
use crate::alert::{FallbackName, SessionName};

/// After a start a session has at least this long to come up before an alert of the run before is handed over for its
/// age.
const START_GRACE: Duration = Duration::from_secs(60);

/// An alert that a policy holds back is not late. After this it is looked at again.
const HELD_AGAIN: Duration = Duration::from_secs(60);

/// After a request without an answer WhatsApp waits for so long for a clear one. A fallback that takes requests and
/// never answers must not keep an alert from everybody.
const UNCLEAR_MAX: Duration = Duration::from_secs(10 * 60);

/// The first pause after a request that came to nothing; it doubles.
const PAUSE_FIRST: Duration = Duration::from_secs(5);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(10 * 60);
/// The longest that a fallback can ask for by name.
const PAUSE_ASKED_MAX: Duration = Duration::from_secs(60 * 60);

/// A request that the fallback refuses as it is would be refused for ever, and holds up the others.
const REFUSALS_MAX: u32 = 3;

/// What WhatsApp has refused, or what has expired, is offered to a fallback for so long.
const OFFERED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// Alerts of one route that wait for a fallback go together, so many at the most.
const TOGETHER_MAX: usize = 50;

/// How a fallback does whose requests fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FallbackTrouble {
    pub name: FallbackName,
    pub since: Timestamp,
    /// The last words.
    pub why: String,
    /// Alerts that wait for it.
    pub waiting: usize,
}

impl Outbox {
    /// The fallbacks whose last request came to nothing.
    pub fn fallback_troubles(&self) -> Vec<FallbackTrouble> {
        let queues = self.handovers.queues();
        let trouble = queues.filter_map(|(name, queue)| {
            let (since, why) = queue.failing.clone()?;
            let requests = queue.active.iter().chain(&queue.resumed);
            let waiting = queue.waiting.len() + requests.map(|request| request.seqs.len()).sum::<usize>();
            let name = name.clone();
            Some(FallbackTrouble {
                name,
                since,
                why,
                waiting,
            })
        });
        trouble.collect()
    }

    /// An alert has come, new or from the disk: notes when it goes to a fallback, and goes on with what was begun.
    pub(super) fn watch_fallback(&mut self, now: Now, seq: u64) {
        let Some(entry) = self.entries.get(&seq) else { return };
        let record = &entry.record;
        let Some(rules) = self.rules.fallback_of(&record.route) else {
            return;
        };
        self.handovers.start(now.mono, now.wall);
        let texts = || record.deliveries.iter().filter(|delivery| delivery.part == 0);
        let accepted = texts().any(|delivery| delivery.step == Step::Accepted);
        let mut open = false;
        for to in &rules.to {
            match record.handovers.iter().find(|handover| handover.to == *to) {
                Some(Handover {
                    state: HandoverState::Done | HandoverState::GivenUp,
                    ..
                }) => {}
                Some(Handover {
                    state: HandoverState::Begun,
                    key,
                    ..
                }) if is_wanted(record, to) => {
                    let queue = self.handovers.queue(to);
                    if let Some(active) = queue.active.as_mut().filter(|active| active.key == *key) {
                        active.seqs.insert(seq);
                        continue;
                    }
                    queue.not_before.get_or_insert(now.mono);
                    let known = queue.resumed.iter_mut().find(|request| request.key == *key);
                    match known {
                        Some(request) => {
                            request.seqs.insert(seq);
                        }
                        None => queue.resumed.push_back(Request {
                            key: key.clone(),
                            seqs: BTreeSet::from([seq]),
                            phase: Phase::Waits,
                            exclusive: !rules.both,
                            // It may have gone out just before the end of the last run.
                            unclear_until: Some(now.mono + UNCLEAR_MAX),
                            refusals: 0,
                        }),
                    }
                }
                Some(Handover {
                    state: HandoverState::Wanted,
                    ..
                }) => {
                    let queue = self.handovers.queue(to);
                    queue.not_before.get_or_insert(now.mono);
                    queue.waiting.insert(seq);
                }
                Some(Handover {
                    state: HandoverState::Begun,
                    ..
                })
                | None => open = true,
            }
        }
        if open && accepted {
            let own = self
                .ages
                .expires(now, seq, record.accepted_at, record.after_due(rules.after));
            let at = self.due_at(&record.session, &rules, own);
            // A line that is down makes nothing late that is to go later.
            let at = entry.delayed_until.map_or(at, |until| at.max(until));
            self.handovers.schedule(seq, own, at);
        }
    }

    /// When an alert goes to a fallback that is due at `own` by its age, as things stand.
    fn due_at(&self, session: &SessionName, rules: &FallbackRules, own: Instant) -> Instant {
        let down = self.handovers.down_since(session).map(|(since, _)| since + rules.after);
        let at = down.map_or(own, |down| down.min(own));
        let grace = self.handovers.started().map(|at| at + START_GRACE.min(rules.after));
        grace.map_or(at, |grace| grace.max(at))
    }

    /// The delivery has failed or expired: a fallback may still have it.
    pub(super) fn want_fallback(&mut self, now: Now, seq: u64) {
        let Some(entry) = self.entries.get_mut(&seq) else {
            return;
        };
        let Some(rules) = self.rules.fallback_of(&entry.record.route) else {
            return;
        };
        for to in rules.to {
            if !entry.record.handovers.iter().any(|handover| handover.to == to) {
                entry.record.handovers.push(Handover {
                    to: to.clone(),
                    state: HandoverState::Wanted,
                    since: now.wall,
                    key: String::new(),
                    note: String::new(),
                });
                self.handovers.queue(&to).waiting.insert(seq);
            }
        }
    }

    /// Whether something of the alert still has to go to a fallback.
    pub(super) fn waits_for_fallback(&self, record: &AlertRecord) -> bool {
        let queues = || self.handovers.queues();
        self.handovers.wants(record.seq) && queues().any(|(to, _)| is_wanted(record, to))
    }

    /// Begins every request whose time has come.
    pub(super) fn hand_over(&mut self, now: Now) {
        for seq in self.handovers.pop_unclear(now.mono) {
            self.free(now, seq);
        }
        while let Some((seq, own)) = self.handovers.pop_due(now.mono) {
            self.look_at_due(now, seq, own);
        }
        for to in self.handovers.ready(now.mono) {
            // One that turned out to be empty makes room for the next.
            while self.begin_request(now, &to) {}
        }
    }

    fn look_at_due(&mut self, now: Now, seq: u64, own: Instant) {
        let Some(entry) = self.entries.get(&seq) else { return };
        let record = &entry.record;
        let Some(rules) = self.rules.fallback_of(&record.route) else {
            return;
        };
        let at = self.due_at(&record.session, &rules, own);
        let mut delivery_ids = self.deliveries_at(seq, Step::Accepted);
        delivery_ids.retain(|delivery_id| {
            record
                .deliveries
                .get(delivery_id.index)
                .is_some_and(|delivery| delivery.part == 0)
        });
        // What only waits until its session is up is as late as what has its message.
        let is_late = |delivery_id: &DeliveryId| match self.message_of(*delivery_id) {
            Some(id) => !self.unwritten.contains_key(id),
            None => self
                .policy
                .held_back(*delivery_id)
                .is_some_and(|held| held.why == Why::Turn),
        };
        // What has ended is late enough: it was not chosen while another of its deliveries was under way.
        let ended = delivery_ids.is_empty();
        let again = if at > now.mono && !ended {
            at
        } else if !entry.durable || delivery_ids.iter().any(|delivery_id| self.is_under_way(*delivery_id)) {
            now.mono + self.limits.ack
        } else if !ended && !delivery_ids.iter().any(is_late) {
            now.mono + HELD_AGAIN
        } else {
            let wanted: Vec<FallbackName> = rules.to.into_iter().filter(|to| is_wanted(record, to)).collect();
            for to in wanted {
                self.handovers.queue(&to).waiting.insert(seq);
            }
            return;
        };
        self.handovers.schedule(seq, own, again);
    }

    /// Brings the fallback's next request on its way. True when there was nothing in it, and there may be another.
    fn begin_request(&mut self, now: Now, to: &FallbackName) -> bool {
        let queue = self.handovers.queue(to);
        if queue.active.is_none() {
            queue.active = queue.resumed.pop_front();
        }
        let Some(active) = &queue.active else {
            let chosen = self.choose(now, to);
            return !chosen.is_empty() && self.begin_new(now, to, chosen);
        };
        if active.phase != Phase::Waits {
            return false;
        }
        let (key, seqs) = (active.key.clone(), active.seqs.clone());
        let is_wanted = |seq: &u64| self.entries.get(seq).is_some_and(|entry| is_wanted(&entry.record, to));
        let wanted: BTreeSet<u64> = seqs.iter().copied().filter(is_wanted).collect();
        if wanted.is_empty() {
            self.handovers.queue(to).active = None;
            self.settle_all(now, seqs);
            return true;
        }
        if wanted.iter().any(|seq| self.is_any_under_way(*seq)) {
            self.handovers.queue(to).not_before = Some(now.mono + self.limits.ack);
            return false;
        }
        let queue = self.handovers.queue(to);
        queue.not_before = None;
        if let Some(active) = &mut queue.active {
            active.seqs.clone_from(&wanted);
            active.phase = Phase::UnderWay;
        }
        self.take_from_whatsapp(now, &wanted);
        self.request(now, to, key, &wanted);
        false
    }

    /// The alerts of the next request: the most urgent one with others of its route.
    fn choose(&mut self, now: Now, to: &FallbackName) -> BTreeSet<u64> {
        let waiting: Vec<u64> = self.handovers.queue(to).waiting.iter().copied().collect();
        let (mut fit, mut later) = (Vec::new(), Vec::new());
        for seq in waiting {
            match self.entries.get(&seq) {
                Some(entry) if is_wanted(&entry.record, to) => match self.is_any_under_way(seq) || !entry.durable {
                    true => later.push(seq),
                    false => fit.push((Reverse(entry.record.alert.priority), seq)),
                },
                Some(_) | None => {
                    self.handovers.queue(to).waiting.remove(&seq);
                    self.settle_all(now, [seq]);
                }
            }
        }
        for seq in later {
            self.handovers.queue(to).waiting.remove(&seq);
            self.handovers.schedule(seq, now.mono, now.mono + self.limits.ack);
        }
        fit.sort_unstable();
        let route = |seq: u64| self.entries.get(&seq).map(|entry| &entry.record.route);
        let Some(&(_, first)) = fit.first() else {
            return BTreeSet::new();
        };
        let seqs = fit.iter().map(|(_, seq)| *seq);
        let of_route = seqs.filter(|seq| route(*seq) == route(first));
        of_route.take(TOGETHER_MAX).collect()
    }

    /// Notes the intent. False: the request goes out when the disk has it.
    fn begin_new(&mut self, now: Now, to: &FallbackName, chosen: BTreeSet<u64>) -> bool {
        let first = chosen.first().and_then(|seq| self.entries.get(seq));
        let Some((key, rules)) = first.and_then(|entry| {
            let rules = self.rules.fallback_of(&entry.record.route)?;
            Some((entry.record.id.clone(), rules))
        }) else {
            return false;
        };
        for seq in &chosen {
            self.handovers.unschedule(*seq);
            self.set_handover(now, *seq, to, HandoverState::Begun, |handover| {
                handover.key.clone_from(&key)
            });
            let Some(entry) = self.entries.get(seq) else { continue };
            let begun = Transition::to_all(&entry.record, now.wall, TransitionKind::Handover);
            self.dirty.entry(*seq).or_default().happened.push(begun);
        }
        let queue = self.handovers.queue(to);
        queue.waiting.retain(|seq| !chosen.contains(seq));
        queue.active = Some(Request {
            key,
            seqs: chosen.clone(),
            phase: Phase::Disk(chosen.clone()),
            exclusive: !rules.both,
            unclear_until: None,
            refusals: 0,
        });
        self.take_from_whatsapp(now, &chosen);
        false
    }

    /// That the alert goes to a fallback is on the disk.
    pub(super) fn on_intent_durable(&mut self, seq: u64, to: &FallbackName) {
        if let Some(active) = &mut self.handovers.queue(to).active {
            active.is_on_disk(seq);
        }
    }

    fn request(&mut self, now: Now, to: &FallbackName, key: String, seqs: &BTreeSet<u64>) {
        let entries = seqs.iter().filter_map(|seq| self.entries.get(seq).map(Box::as_ref));
        let entries: Vec<&entry::Entry> = entries.collect();
        let Some(first) = entries.first().map(|entry| &entry.record) else {
            return;
        };
        let handed = |entry: &&entry::Entry| Handed {
            id: entry.record.id.clone(),
            accepted_at: entry.record.accepted_at,
            alert: entry.record.alert.clone(),
            remark: self.remark(now, entry),
        };
        let parcel = Parcel {
            to: to.clone(),
            key,
            route: first.route.clone(),
            session: first.session.clone(),
            why: self.why_not_whatsapp(now, first),
            alerts: entries.iter().map(handed).collect(),
        };
        self.outputs.push_back(Output::HandOver(parcel));
    }

    fn remark(&self, now: Now, entry: &entry::Entry) -> Option<String> {
        let late = entry.late_at.filter(|at| *at <= now.mono);
        let raised = late.map(|_| self.rules.raised(entry.record.due_at()));
        let flapping = entry.record.flap.as_ref().map(|flap| flap.words());
        let said: Vec<String> = raised.into_iter().chain(flapping).collect();
        Some(said.join(", ")).filter(|said| !said.is_empty())
    }

    fn why_not_whatsapp(&self, now: Now, record: &AlertRecord) -> String {
        let at = |step: Step| record.deliveries.iter().find(|delivery| delivery.step == step);
        if let Some(failed) = at(Step::Failed) {
            return format!("WhatsApp refused it: {}", failed.note);
        }
        if let Some(expired) = at(Step::Expired) {
            return format!("it was {}", expired.note);
        }
        if let Some((_, since)) = self.handovers.down_since(&record.session) {
            return format!("WhatsApp has been down since {}", self.rules.moment(since, now.wall));
        }
        let noted = record.deliveries.iter().find(|delivery| !delivery.note.is_empty());
        let note = noted.map_or(String::new(), |delivery| format!(" ({})", delivery.note));
        format!(
            "WhatsApp has not taken it since {}{note}",
            self.rules.moment(record.due_at(), now.wall)
        )
    }

    /// The fallback has the alerts of the request `key`.
    pub(super) fn on_handed_over(&mut self, now: Now, to: &FallbackName, key: &str) {
        let Some(request) = self.take_request(to, key) else {
            return;
        };
        let queue = self.handovers.queue(to);
        queue.failures = 0;
        queue.failing = None;
        queue.not_before = None;
        let note = format!("handed to {to} at {}", self.rules.moment(now.wall, now.wall));
        for seq in &request.seqs {
            self.set_handover(now, *seq, to, HandoverState::Done, |handover| handover.note.clear());
            let mut ended = self.deliveries_at(*seq, Step::Failed);
            ended.extend(self.deliveries_at(*seq, Step::Expired));
            if request.exclusive {
                ended.extend(self.deliveries_at(*seq, Step::Accepted));
            }
            for delivery_id in &ended {
                if self.message_of(*delivery_id).is_none() && self.step_of(*delivery_id) == Some(Step::Accepted) {
                    self.policy.handle(now, policy::Input::Gone { delivery: *delivery_id });
                }
                self.set_step(now, *delivery_id, TransitionKind::Fallback, &note);
            }
            if ended.is_empty()
                && let Some(entry) = self.entries.get(seq)
            {
                let handed = Transition::to_all(&entry.record, now.wall, TransitionKind::Fallback);
                self.dirty.entry(*seq).or_default().happened.push(handed);
            }
        }
        // What shared a message with one of them goes on without it.
        for id in self.messages_of(&request.seqs) {
            self.enqueue(&id, Place::InTurn);
        }
        self.settle_all(now, request.seqs);
    }

    /// The request `key` came to nothing.
    pub(super) fn on_handover_failed(&mut self, now: Now, to: &FallbackName, key: &str, failure: HandoverFailure) {
        let Some(mut request) = self.take_request(to, key) else {
            return;
        };
        let HandoverFailure {
            words,
            unclear,
            refused,
            pause,
        } = failure;
        let words: String = words.chars().take(NOTE_CHARS_MAX).collect();
        let queue = self.handovers.queue(to);
        queue.failures = queue.failures.saturating_add(1);
        let since = queue.failing.take().map_or(now.wall, |(since, _)| since);
        queue.failing = Some((since, words.clone()));
        let failures = queue.failures;
        let asked = pause.unwrap_or_default().min(PAUSE_ASKED_MAX);
        let doubled = PAUSE_FIRST
            .saturating_mul(1 << failures.saturating_sub(1).min(20))
            .min(PAUSE_MAX);
        let pause = self.jitter(doubled).max(asked);
        self.handovers.queue(to).not_before = Some(now.mono + pause);
        for seq in &request.seqs {
            self.note_handover(*seq, to, &words);
        }
        request.phase = Phase::Waits;
        request.refusals += u32::from(refused);
        if unclear {
            request.unclear_until.get_or_insert(now.mono + UNCLEAR_MAX);
        }
        let (seqs, exclusive): (Vec<u64>, bool) = (request.seqs.iter().copied().collect(), request.exclusive);
        match request.refusals >= REFUSALS_MAX && request.unclear_until.is_none() {
            true => {
                for seq in &seqs {
                    self.set_handover(now, *seq, to, HandoverState::GivenUp, |_| {});
                }
            }
            false => self.handovers.queue(to).active = Some(request),
        }
        for seq in seqs.into_iter().filter(|_| exclusive) {
            self.free(now, seq);
        }
        self.give_up_old(now, to);
    }

    /// What only a fallback could still have is not offered to it for ever.
    fn give_up_old(&mut self, now: Now, to: &FallbackName) {
        let queue = self.handovers.queue(to);
        let held = queue.active.iter().flat_map(|request| &request.seqs);
        let seqs: Vec<u64> = queue.waiting.iter().chain(held).copied().collect();
        for seq in seqs {
            let Some(entry) = self.entries.get(&seq) else { continue };
            let deliveries = &entry.record.deliveries;
            if deliveries.iter().any(|delivery| delivery.step == Step::Accepted) {
                continue;
            }
            let last = deliveries
                .iter()
                .map(|delivery| delivery.since)
                .max()
                .unwrap_or_default();
            if entry::ends(now, last, OFFERED_FOR) <= now.mono {
                self.set_handover(now, seq, to, HandoverState::GivenUp, |_| {});
                self.handovers.queue(to).waiting.remove(&seq);
                self.settle_all(now, [seq]);
            }
        }
    }

    /// Takes the request off the queue if it is the one that is under way.
    fn take_request(&mut self, to: &FallbackName, key: &str) -> Option<Request> {
        let queue = self.handovers.queue(to);
        let is_it = |request: &mut Request| request.key == key && request.phase == Phase::UnderWay;
        queue.active.take_if(is_it)
    }

    fn set_handover(
        &mut self,
        now: Now,
        seq: u64,
        to: &FallbackName,
        state: HandoverState,
        change: impl FnOnce(&mut Handover),
    ) {
        let Some(entry) = self.entries.get_mut(&seq) else {
            return;
        };
        let handovers = &mut entry.record.handovers;
        let index = match handovers.iter().position(|handover| handover.to == *to) {
            Some(index) => index,
            None => {
                handovers.push(Handover {
                    to: to.clone(),
                    state,
                    since: now.wall,
                    key: String::new(),
                    note: String::new(),
                });
                handovers.len() - 1
            }
        };
        if let Some(handover) = handovers.get_mut(index) {
            handover.state = state;
            handover.since = now.wall;
            change(handover);
        }
        self.dirty.entry(seq).or_default();
        self.changed.insert(seq);
    }

    /// The same words again are not worth a write.
    fn note_handover(&mut self, seq: u64, to: &FallbackName, words: &str) {
        let Some(entry) = self.entries.get_mut(&seq) else {
            return;
        };
        let handover = entry.record.handovers.iter_mut().find(|handover| handover.to == *to);
        if let Some(handover) = handover.filter(|handover| handover.note != words) {
            words.clone_into(&mut handover.note);
            self.dirty.entry(seq).or_default();
        }
    }

    /// Takes the messages that carry these alerts out of the line, where WhatsApp must not have them meanwhile.
    fn take_from_whatsapp(&mut self, now: Now, seqs: &BTreeSet<u64>) {
        let held: Vec<u64> = seqs.iter().copied().filter(|seq| self.handovers.holds(*seq)).collect();
        for seq in held {
            for delivery_id in self.deliveries_at(seq, Step::Accepted) {
                match self.message_of(delivery_id).and_then(|id| self.first_of(id)) {
                    Some(first) => {
                        self.on_queue(first, |queue, recipient| queue.give_up(recipient, first));
                    }
                    None => self.policy.handle(now, policy::Input::Gone { delivery: delivery_id }),
                }
            }
        }
    }

    /// WhatsApp may have the alert again, unless another request holds it.
    fn free(&mut self, now: Now, seq: u64) {
        if self.handovers.holds(seq) {
            return;
        }
        for delivery_id in self.deliveries_at(seq, Step::Accepted) {
            match self.message_of(delivery_id).cloned() {
                Some(id) => self.enqueue(&id, Place::InTurn),
                None if self.policy.held_back(delivery_id).is_none() => self.wait(now, delivery_id, false),
                None => {}
            }
        }
    }

    fn is_any_under_way(&self, seq: u64) -> bool {
        self.deliveries_at(seq, Step::Accepted)
            .into_iter()
            .any(|delivery_id| self.is_under_way(delivery_id))
    }

    /// The messages that carry one of these alerts.
    fn messages_of(&self, seqs: &BTreeSet<u64>) -> BTreeSet<MessageId> {
        let entries = seqs.iter().filter_map(|seq| self.entries.get(seq));
        let deliveries = entries.flat_map(|entry| &entry.record.deliveries);
        deliveries.filter_map(|delivery| delivery.message_id.clone()).collect()
    }

    /// With all that shares a message with one of them, and stayed for its sake.
    fn settle_all(&mut self, now: Now, seqs: impl IntoIterator<Item = u64>) {
        let mut all: BTreeSet<u64> = seqs.into_iter().collect();
        // Before the first is settled, which can make room by forgetting another of them.
        for id in self.messages_of(&all) {
            all.extend(self.deliveries_of(&id).into_iter().map(|delivery_id| delivery_id.seq));
        }
        for seq in all {
            self.settle(now, seq);
        }
    }
}

/// Whether a fallback still has to have the alert: it has not got it, and WhatsApp has not got its text through to
/// everybody. A picture that is missing is no reason.
fn is_wanted(record: &AlertRecord, to: &FallbackName) -> bool {
    let ended = record
        .handovers
        .iter()
        .any(|handover| handover.to == *to && matches!(handover.state, HandoverState::Done | HandoverState::GivenUp));
    let open = record
        .deliveries
        .iter()
        .filter(|delivery| delivery.part == 0)
        .any(|delivery| match delivery.step {
            Step::Accepted | Step::Failed | Step::Expired | Step::Fallback => true,
            Step::Sent | Step::Delivered | Step::Read | Step::Superseded | Step::Dropped => false,
        });
    open && !ended
}
