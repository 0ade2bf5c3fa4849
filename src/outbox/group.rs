//! What goes into one message together: the alerts of a group, as Alertmanager means it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::session_queue::Turn;
use crate::alert::{Alert, Priority};

/// How a route groups its alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Labels, or `title`, `tags`, `sender`, `priority`: alerts that agree in all of them are one group. Without any
    /// all alerts of the route are.
    pub by: Vec<String>,
    /// How long the first alert of a group waits for others.
    pub wait: Duration,
    /// After a message of a group its next one goes out no earlier than this.
    pub interval: Duration,
    /// Lines of a message; what is more is counted.
    pub max: u16,
}

/// In what the alerts of a group agree.
pub(super) type Values = Arc<[String]>;

impl Group {
    pub(super) fn values(&self, alert: &Alert) -> Values {
        self.by.iter().map(|name| value(alert, name)).collect()
    }
}

fn value(alert: &Alert, name: &str) -> String {
    match (alert.labels.get(name), name) {
        (Some(value), _) => value.clone(),
        (None, "title") => alert.title.clone(),
        (None, "tags" | "tag") => alert.tags.join(","),
        (None, "sender") => alert.sender.clone().unwrap_or_default(),
        (None, "priority") => u8::from(alert.priority).to_string(),
        (None, _) => String::new(),
    }
}

/// One group.
#[derive(Debug, Default)]
struct Gathering {
    waiting: BTreeSet<Turn>,
    /// Its deadline: when it is due, or, with nothing waiting, when it is over.
    at: Option<Instant>,
    /// When its last message was made.
    last: Option<Instant>,
}

/// The groups of one route to one recipient.
#[derive(Debug, Default)]
pub(super) struct Groups {
    all: BTreeMap<Values, Gathering>,
    timers: BTreeSet<(Instant, Values)>,
    /// Those that may become a message.
    due: BTreeSet<Values>,
}

impl Groups {
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// An alert joins its group. `first` is when it is due if nothing of the group has gone out lately.
    pub fn add(&mut self, values: &Values, turn: Turn, now: Instant, first: Instant, interval: Duration) {
        let group = self.all.entry(Arc::clone(values)).or_default();
        let was_empty = group.waiting.is_empty();
        group.waiting.insert(turn);
        if self.due.contains(values) {
            return;
        }
        let next = group.last.map(|last| last + interval).filter(|next| *next > now);
        let at = match (next, group.at.filter(|_| !was_empty)) {
            (Some(next), _) => next,
            (None, Some(at)) => at.min(first),
            (None, None) => first,
        };
        self.arm(values, Some(at));
    }

    /// A message of the group was made at `at`, before this start.
    pub fn went(&mut self, values: &Values, at: Instant, now: Instant, interval: Duration) {
        let next = at + interval;
        if next <= now {
            return;
        }
        let group = self.all.entry(Arc::clone(values)).or_default();
        group.last = group.last.max(Some(at));
        let at = group.at.max(Some(next));
        self.arm(values, at);
    }

    pub fn remove(&mut self, values: &Values, turn: Turn) {
        let Some(group) = self.all.get_mut(values) else { return };
        group.waiting.remove(&turn);
        self.left(values, None);
    }

    /// Nothing may be waiting in it any more: then it is there only until its interval is over.
    fn left(&mut self, values: &Values, over: Option<Instant>) {
        let Some(group) = self.all.get(values) else { return };
        if !group.waiting.is_empty() {
            return;
        }
        self.due.remove(values);
        match (group.last, over) {
            (None, _) => {
                self.arm(values, None);
                self.all.remove(values);
            }
            (Some(_), Some(over)) => self.arm(values, Some(over)),
            (Some(_), None) => {}
        }
    }

    fn arm(&mut self, values: &Values, at: Option<Instant>) {
        let Some(group) = self.all.get_mut(values) else { return };
        if let Some(before) = std::mem::replace(&mut group.at, at) {
            self.timers.remove(&(before, Arc::clone(values)));
        }
        if let Some(at) = at {
            self.timers.insert((at, Arc::clone(values)));
        }
    }

    /// What has been waited for long enough is due; what has been silent for long enough is no group any more.
    pub fn pass(&mut self, now: Instant) {
        while let Some((_, values)) = self.timers.first().filter(|(at, _)| *at <= now).cloned() {
            self.arm(&values, None);
            if self.all.get(&values).is_some_and(|group| group.waiting.is_empty()) {
                self.all.remove(&values);
            } else {
                self.due.insert(values);
            }
        }
    }

    /// The next deadline for which something waits, and the first that does.
    pub fn next(&self) -> Option<(Instant, Turn)> {
        let waits = |(at, values): &(Instant, Values)| Some((*at, *self.all.get(values)?.waiting.first()?));
        self.timers.iter().find_map(waits)
    }

    /// When the group is due, where it is not yet.
    pub fn due_at(&self, values: &Values) -> Option<Instant> {
        self.all.get(values)?.at.filter(|_| !self.due.contains(values))
    }

    /// The deliveries of a group that wait to go out.
    pub fn members(&self, values: &Values) -> impl Iterator<Item = Turn> + '_ {
        self.all
            .get(values)
            .into_iter()
            .flat_map(|group| group.waiting.iter().copied())
    }

    /// The groups that are due, with the most urgent of each.
    pub fn due(&self) -> impl Iterator<Item = (Turn, &Values)> {
        let first = |values| Some((*self.all.get(values)?.waiting.first()?, values));
        self.due.iter().filter_map(first)
    }

    /// Takes up to `most` out of a group for a message that is made now.
    pub fn take(&mut self, values: &Values, most: usize, now: Instant, interval: Duration) -> Vec<Turn> {
        let Some(group) = self.all.get_mut(values) else {
            return Vec::new();
        };
        group.last = Some(now);
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(turn) = group.waiting.pop_first()
        {
            taken.push(turn);
        }
        self.left(values, Some(now + interval));
        taken
    }

    /// Takes what is less urgent than `below` out of the groups that are due.
    pub fn take_below(&mut self, below: Priority) -> Vec<Turn> {
        let mut taken = Vec::new();
        for values in self.due.clone() {
            let Some(group) = self.all.get_mut(&values) else {
                continue;
            };
            let (out, rest) = std::mem::take(&mut group.waiting)
                .into_iter()
                .partition(|turn| turn.is_below(below));
            group.waiting = rest;
            taken.extend::<BTreeSet<Turn>>(out);
            let last = group.last;
            self.left(&values, last);
        }
        taken
    }
}
