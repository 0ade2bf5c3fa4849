//! The policy that the owner's rules make: quiet hours first, then groups, then the pace.
//!
//! What may go out becomes a message only when its recipient can take one: the session is up, and nothing as urgent is
//! before it. So what comes together while a line is down or the pace holds it goes out in few messages, the most
//! urgent first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::entry::ends;
use super::group::{Groups, Values};
use super::message::Content;
use super::pace::Gone;
use super::policy::{Arrival, Decision, HeldBack, Input, Part, Policy, Takes, Why};
use super::quiet::{Quiet, Then};
use super::record::{AlertRecord, Form, Timestamp};
use super::rules::{RouteRules, Rules};
use super::session_queue::{DeliveryId, Turn};
use super::{Now, Reason};
use crate::alert::{Priority, Recipient, RouteName, SessionName, summary};

/// Alerts in one message at the most. More than anybody reads; what is more goes out in the next.
const TOGETHER_MAX: usize = 500;

/// How many messages that would wait for one recipient at once become one.
const SUMMARY_FROM: usize = 5;

/// Lines of a summary on a route that does not say.
const LINES_DEFAULT: u16 = 20;

#[derive(Debug)]
pub(super) struct Routed {
    rules: Rules,
    unruled: RouteRules,
    queues: Vec<Queue>,
    by_name: BTreeMap<(RouteName, SessionName, Recipient), usize>,
    /// Those with anything in them.
    active: BTreeSet<usize>,
    places: BTreeMap<DeliveryId, Place>,
    gone: BTreeMap<RouteName, Gone>,
    dropped: VecDeque<Decision>,
}

/// Where a delivery waits.
#[derive(Debug, Clone)]
struct Place {
    queue: usize,
    turn: Turn,
    stage: Stage,
    /// A part of an alert with attachments, which shares no message.
    solo: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Quiet hours hold it.
    Quiet,
    /// They have held it, and are over.
    Digest,
    /// It waits until what it is about is steady.
    Flapping(Instant),
    Group(Values),
    /// It may go by itself.
    Alone,
    /// It goes by itself, and shares no message.
    Solo,
    /// A person wants it sent, whatever the hour.
    ByHand,
}

/// What waits of one route for one recipient.
#[derive(Debug)]
struct Queue {
    route: RouteName,
    session: SessionName,
    recipient: Recipient,
    quiet: BTreeSet<Turn>,
    quiet_until: Option<Instant>,
    digest: BTreeSet<Turn>,
    /// By when they may go.
    flapping: BTreeSet<(Instant, Turn)>,
    groups: Groups,
    alone: BTreeSet<Turn>,
    solo: BTreeSet<Turn>,
    by_hand: BTreeSet<Turn>,
    /// The pace lets nothing go until then, which could go otherwise.
    paced_until: Option<Instant>,
}

impl Queue {
    fn is_empty(&self) -> bool {
        let sets = [&self.quiet, &self.digest, &self.alone, &self.solo, &self.by_hand];
        self.groups.is_empty() && self.flapping.is_empty() && sets.into_iter().all(BTreeSet::is_empty)
    }

    /// The most urgent that may go.
    fn first(&self) -> Option<Turn> {
        let sets = [&self.digest, &self.alone, &self.solo, &self.by_hand].map(|set| set.first().copied());
        let groups = self.groups.due().map(|(turn, _)| turn);
        sets.into_iter().flatten().chain(groups).min()
    }

    fn set_of(&mut self, stage: &Stage) -> Option<&mut BTreeSet<Turn>> {
        match stage {
            Stage::Quiet => Some(&mut self.quiet),
            Stage::Digest => Some(&mut self.digest),
            Stage::Alone => Some(&mut self.alone),
            Stage::Solo => Some(&mut self.solo),
            Stage::ByHand => Some(&mut self.by_hand),
            Stage::Group(_) | Stage::Flapping(_) => None,
        }
    }
}

/// Where a wall-clock moment lies on the monotonic clock; one that has passed is now.
fn at_wall(now: Now, wall: Timestamp) -> Instant {
    now.mono + Duration::from_millis(wall.0.saturating_sub(now.wall.0))
}

impl Routed {
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            unruled: RouteRules::default(),
            queues: Vec::new(),
            by_name: BTreeMap::new(),
            active: BTreeSet::new(),
            places: BTreeMap::new(),
            gone: BTreeMap::new(),
            dropped: VecDeque::new(),
        }
    }

    fn of(&self, route: &RouteName) -> &RouteRules {
        self.rules.routes.get(route).unwrap_or(&self.unruled)
    }

    fn queue_of(&mut self, record: &AlertRecord, recipient: &Recipient) -> usize {
        let name = (record.route.clone(), record.session.clone(), recipient.clone());
        let new = self.queues.len();
        let queues = &mut self.queues;
        *self
            .by_name
            .entry(name)
            .or_insert_with_key(|(route, session, recipient)| {
                queues.push(Queue {
                    route: route.clone(),
                    session: session.clone(),
                    recipient: recipient.clone(),
                    quiet: BTreeSet::new(),
                    quiet_until: None,
                    digest: BTreeSet::new(),
                    flapping: BTreeSet::new(),
                    groups: Groups::default(),
                    alone: BTreeSet::new(),
                    solo: BTreeSet::new(),
                    by_hand: BTreeSet::new(),
                    paced_until: None,
                });
                new
            })
    }

    fn wait(&mut self, now: Now, delivery_id: DeliveryId, record: &AlertRecord, by_hand: bool) {
        let Some(delivery) = record
            .deliveries
            .get(delivery_id.index)
            .filter(|_| !self.places.contains_key(&delivery_id))
        else {
            return;
        };
        let index = self.queue_of(record, &delivery.recipient);
        let turn = Turn::new(record.alert.priority, delivery_id);
        let rules = self.of(&record.route).clone();
        let solo = !record.alert.attachments.is_empty();
        let stage = match self.quiet_stage(now, record, &rules).filter(|_| !by_hand) {
            Some(Ok(Stage::Digest)) if solo => Stage::Solo,
            Some(Ok(stage)) => stage,
            Some(Err(note)) => {
                return self.dropped.push_back(Decision::Drop {
                    delivery: delivery_id,
                    note,
                });
            }
            None if by_hand => Stage::ByHand,
            None => match (&record.flap, &rules.group) {
                (Some(flap), _) if !flap.hold.is_zero() => Stage::Flapping(ends(now, record.due_at(), flap.hold)),
                // In a group the next turn would replace it before it is told.
                (None, Some(group)) if !solo && record.alert.priority < Priority::Max => {
                    Stage::Group(group.values(&record.alert))
                }
                _ if solo => Stage::Solo,
                _ => Stage::Alone,
            },
        };
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        match (&stage, &rules.group) {
            (Stage::Group(values), Some(group)) => {
                let first = ends(now, record.due_at(), group.wait);
                queue.groups.add(values, turn, now.mono, first, group.interval);
            }
            (Stage::Flapping(until), _) => {
                queue.flapping.insert((*until, turn));
            }
            (stage, _) => {
                if let Some(set) = queue.set_of(stage) {
                    set.insert(turn);
                }
            }
        }
        self.active.insert(index);
        let queue = index;
        self.places.insert(
            delivery_id,
            Place {
                queue,
                turn,
                stage,
                solo,
            },
        );
    }

    /// Where quiet hours put an alert, or why they drop it.
    fn quiet_stage(&self, now: Now, record: &AlertRecord, rules: &RouteRules) -> Option<Result<Stage, String>> {
        let quiet = rules
            .quiet
            .as_ref()
            .filter(|quiet| record.alert.priority < quiet.below)?;
        let raised = quiet.night(record.due_at(), &self.rules.time_zone);
        let tonight = quiet.night(now.wall, &self.rules.time_zone);
        match (raised, tonight, quiet.then) {
            // What was raised before them and could not be sent is not theirs to drop.
            (Some(raised), Some(tonight), Then::Drop) if raised == tonight => Some(Err(dropped(quiet))),
            (_, Some(_), _) => Some(Ok(Stage::Quiet)),
            // They are over since before this start.
            (Some(_), None, Then::Digest) => Some(Ok(Stage::Digest)),
            (_, None, _) => None,
        }
    }

    fn remove(&mut self, delivery_id: DeliveryId) {
        let Some(Place {
            queue: index,
            turn,
            stage,
            ..
        }) = self.places.remove(&delivery_id)
        else {
            return self
                .dropped
                .retain(|decision| !matches!(decision, Decision::Drop { delivery, .. } if *delivery == delivery_id));
        };
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        match &stage {
            Stage::Group(values) => queue.groups.remove(values, turn),
            Stage::Flapping(until) => {
                queue.flapping.remove(&(*until, turn));
            }
            stage => {
                if let Some(set) = queue.set_of(stage) {
                    set.remove(&turn);
                }
            }
        }
        if queue.is_empty() {
            self.active.remove(&index);
        }
    }

    /// A message that was made before this start counts for the interval of its group and for the pace.
    fn went(&mut self, now: Now, delivery_id: DeliveryId, record: &AlertRecord, is_first: bool) {
        let Some(delivery) = record.deliveries.get(delivery_id.index) else {
            return;
        };
        let age = delivery.made_at.and_then(|at| now.wall.0.checked_sub(at.0));
        let Some(made) = age.and_then(|age| now.mono.checked_sub(Duration::from_millis(age))) else {
            return;
        };
        let index = self.queue_of(record, &delivery.recipient);
        let rules = self.of(&record.route).clone();
        if let (Some(group), Some(queue)) = (&rules.group, self.queues.get_mut(index)) {
            queue
                .groups
                .went(&group.values(&record.alert), made, now.mono, group.interval);
            if !queue.is_empty() {
                self.active.insert(index);
            }
        }
        // One message, whatever it carries, has gone once.
        if let Some(pace) = rules.pace.filter(|_| is_first) {
            self.gone.entry(record.route.clone()).or_default().take(pace, made);
        }
    }

    /// Brings a queue to this moment: what is due is due, and what the hour holds is held.
    fn pass(&mut self, now: Now, index: usize) {
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        queue.groups.pass(now.mono);
        while let Some(&(_, turn)) = queue.flapping.first().filter(|(until, _)| *until <= now.mono) {
            queue.flapping.pop_first();
            let Some(place) = self.places.get_mut(&turn.id) else {
                continue;
            };
            place.stage = if place.solo { Stage::Solo } else { Stage::Alone };
            let set = if place.solo { &mut queue.solo } else { &mut queue.alone };
            set.insert(turn);
        }
        queue.paced_until = None;
        let rules = self.rules.routes.get(&queue.route).unwrap_or(&self.unruled);
        let quiet = rules.quiet.as_ref();
        let night = quiet.and_then(|quiet| quiet.night(now.wall, &self.rules.time_zone));
        match (quiet, night) {
            (Some(quiet), Some(night)) => {
                let mut held = queue.groups.take_below(quiet.below);
                for set in [&mut queue.digest, &mut queue.alone, &mut queue.solo] {
                    held.extend(set.extract_if(.., |turn| turn.is_below(quiet.below)));
                }
                queue.quiet_until =
                    Some(at_wall(now, night.to)).filter(|_| !queue.quiet.is_empty() || !held.is_empty());
                for turn in held {
                    queue.quiet.insert(turn);
                    if let Some(place) = self.places.get_mut(&turn.id) {
                        place.stage = Stage::Quiet;
                    }
                }
            }
            (_, None) | (None, _) => {
                queue.quiet_until = None;
                for turn in std::mem::take(&mut queue.quiet) {
                    let Some(place) = self.places.get_mut(&turn.id) else {
                        continue;
                    };
                    place.stage = if place.solo { Stage::Solo } else { Stage::Digest };
                    let set = if place.solo { &mut queue.solo } else { &mut queue.digest };
                    set.insert(turn);
                }
            }
        }
        if queue.is_empty() {
            self.active.remove(&index);
        }
    }

    /// The queue whose turn it is.
    fn next(&mut self, now: Now, takes: &Takes<'_>) -> Option<usize> {
        let mut next: Option<(Turn, usize)> = None;
        for index in self.active.clone() {
            self.pass(now, index);
            let Some(queue) = self.queues.get_mut(index) else {
                continue;
            };
            let Some(turn) = queue.first() else { continue };
            if !takes(&queue.session, &queue.recipient, turn) {
                continue;
            }
            let pace = self.rules.routes.get(&queue.route).and_then(|rules| rules.pace);
            let gone = self.gone.get(&queue.route);
            queue.paced_until = pace.zip(gone).and_then(|(pace, gone)| gone.free_at(pace, now.mono));
            if queue.paced_until.is_none() && next.is_none_or(|(first, _)| turn < first) {
                next = Some((turn, index));
            }
        }
        next.map(|(_, index)| index)
    }

    /// The next message of a queue.
    fn make(&mut self, now: Now, index: usize) -> Option<Decision> {
        let queue = self.queues.get_mut(index)?;
        let rules = self.rules.routes.get(&queue.route).unwrap_or(&self.unruled);
        let first = queue.first()?;
        let lines = rules.group.as_ref().map_or(LINES_DEFAULT, |group| group.max);
        let interval = rules.group.as_ref().map_or(Duration::ZERO, |group| group.interval);
        let mut form = Form::Summary { lines };
        let mut taken = Vec::new();
        if queue.digest.first() == Some(&first) {
            form = Form::Digest { lines };
            while taken.len() < TOGETHER_MAX
                && let Some(turn) = queue.digest.pop_first()
            {
                taken.push(turn);
            }
        } else if queue.by_hand.remove(&first) || queue.solo.remove(&first) {
            taken.push(first);
        } else {
            let alone = queue.alone.iter().filter(|turn| turn.rank == first.rank).copied();
            let alone: Vec<Turn> = alone.take(TOGETHER_MAX).collect();
            let due = queue.groups.due().filter(|(turn, _)| turn.rank == first.rank);
            let due: Vec<(Turn, Values)> = due.map(|(turn, values)| (turn, values.clone())).collect();
            let would = alone.len() + due.len();
            let gone = self.gone.get(&queue.route);
            let free = rules
                .pace
                .map(|pace| gone.map_or(pace.burst, |gone| gone.free(pace, now.mono)));
            let enough = free.is_some_and(|free| free as usize >= would);
            let many = would >= SUMMARY_FROM && !enough && (rules.pace.is_some() || rules.group.is_some());
            for turn in alone.into_iter().filter(|turn| many || *turn == first) {
                queue.alone.remove(&turn);
                taken.push(turn);
            }
            for (turn, values) in due {
                let room = TOGETHER_MAX - taken.len();
                if room > 0 && (many || turn == first) {
                    taken.extend(queue.groups.take(&values, room, now.mono, interval));
                }
            }
        }
        if let Some(pace) = rules.pace {
            self.gone.entry(queue.route.clone()).or_default().take(pace, now.mono);
        }
        if queue.is_empty() {
            self.active.remove(&index);
        }
        let mut deliveries: Vec<DeliveryId> = taken.into_iter().map(|turn| turn.id).collect();
        deliveries.sort_unstable();
        for delivery_id in &deliveries {
            self.places.remove(delivery_id);
        }
        if deliveries.len() == 1 {
            form = Form::Whole;
        }
        Some(Decision::Message { deliveries, form })
    }
}

fn dropped(quiet: &Quiet) -> String {
    let time = |time: jiff::civil::Time| time.strftime("%H:%M").to_string();
    format!(
        "dropped: the route is quiet from {} to {}",
        time(quiet.from),
        time(quiet.to)
    )
}

impl Policy for Routed {
    fn arrive(&self, _now: Now, alert: &AlertRecord, _delivery: usize) -> Arrival {
        let rules = self.of(&alert.route);
        let rules_wait = rules.group.is_some() || rules.quiet.is_some() || rules.pace.is_some();
        let rules_wait = rules_wait || alert.flap.as_ref().is_some_and(|flap| !flap.hold.is_zero());
        match rules_wait && alert.alert.priority < Priority::Max {
            true => Arrival::Later,
            false => Arrival::AtOnce,
        }
    }

    fn handle(&mut self, now: Now, input: Input<'_>) {
        match input {
            Input::Waits { delivery, of, by_hand } => self.wait(now, delivery, of, by_hand),
            Input::Went { delivery, of, is_first } => self.went(now, delivery, of, is_first),
            Input::Gone { delivery } => self.remove(delivery),
            // Each look at a queue asks the clock anew.
            Input::ClockStepped => {}
        }
    }

    fn poll_decision(&mut self, now: Now, takes: &Takes<'_>) -> Option<Decision> {
        if let Some(dropped) = self.dropped.pop_front() {
            return Some(dropped);
        }
        let index = self.next(now, takes)?;
        self.make(now, index)
    }

    fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let deadlines = self
            .active
            .iter()
            .filter_map(|index| self.queues.get(*index))
            .flat_map(|queue| {
                let quiet = queue.quiet_until.zip(queue.quiet.first().copied());
                let paced = queue.paced_until.zip(queue.first());
                let flapping = queue.flapping.first().copied();
                quiet
                    .into_iter()
                    .chain(queue.groups.next())
                    .chain(paced)
                    .chain(flapping)
            });
        let deadlines = deadlines.map(|(at, turn)| (at, Reason::HeldEnds { seq: turn.id.seq }));
        deadlines.min()
    }

    fn held_back(&self, delivery: DeliveryId) -> Option<HeldBack> {
        let place = self.places.get(&delivery)?;
        let queue = self.queues.get(place.queue)?;
        let (why, until) = match &place.stage {
            Stage::Quiet => (Why::Quiet, queue.quiet_until),
            Stage::Flapping(until) => (Why::Flapping, Some(*until)),
            Stage::Group(values) if queue.groups.due_at(values).is_some() => (Why::Group, queue.groups.due_at(values)),
            Stage::Group(_) | Stage::Digest | Stage::Alone | Stage::Solo | Stage::ByHand => match queue.paced_until {
                Some(until) => (Why::Pace, Some(until)),
                None => (Why::Turn, None),
            },
        };
        Some(HeldBack { why, until })
    }

    fn beside(&self, delivery: DeliveryId) -> Vec<DeliveryId> {
        let found = self.places.get(&delivery);
        let Some((place, queue)) = found.and_then(|place| Some((place, self.queues.get(place.queue)?))) else {
            return Vec::new();
        };
        let turns: Vec<Turn> = match &place.stage {
            Stage::Quiet => queue.quiet.iter().copied().collect(),
            Stage::Digest => queue.digest.iter().copied().collect(),
            Stage::Group(values) => queue.groups.members(values).collect(),
            Stage::Alone | Stage::Solo | Stage::ByHand | Stage::Flapping(_) => vec![place.turn],
        };
        turns.into_iter().map(|turn| turn.id).collect()
    }

    fn content(&self, parts: &[Part<'_>]) -> Content {
        let alerts = || parts.iter().map(|part| &part.record.alert);
        let raised = parts.iter().find_map(|part| part.raised.clone());
        let flapping = parts.iter().filter(|part| part.record.flap.is_some()).count();
        let flapping = (flapping > 0).then(|| format!("{flapping} of them flapping"));
        let beside: Vec<String> = raised.into_iter().chain(flapping).collect();
        let beside = Some(beside.join(", ")).filter(|beside| !beside.is_empty());
        let beside = beside.as_deref();
        let form = parts.first().map(|part| part.form).unwrap_or_default();
        Content::Text(match form {
            Form::Whole => {
                let text = parts.iter().filter_map(Part::text).collect::<Vec<_>>().join("\n\n");
                if let Some(attachment) = parts.iter().find_map(Part::attachment) {
                    return Content::Media {
                        attachment: attachment.clone(),
                        caption: text,
                    };
                }
                text
            }
            Form::Summary { lines } => summary::text(alerts(), summary::Kind::Group, lines.into(), beside),
            Form::Digest { lines } => summary::text(alerts(), summary::Kind::Digest, lines.into(), beside),
        })
    }
}
