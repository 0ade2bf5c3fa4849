//! What waits for each fallback, and which request to it is under way. One at a time to each: where WhatsApp is down
//! for an hour, what has come meanwhile goes out in few requests, and a fallback that is down is asked once a pause.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use super::record::Timestamp;
use crate::alert::{FallbackName, SessionName};

/// A request to a fallback, from its intent to its answer.
#[derive(Debug)]
pub(super) struct Request {
    /// The same at every attempt and after every restart.
    pub key: String,
    /// The alerts that it carries.
    pub seqs: BTreeSet<u64>,
    pub phase: Phase,
    /// WhatsApp is not to have them meanwhile.
    pub exclusive: bool,
    /// An attempt went out and no answer came: nobody knows whether they are there. Until then WhatsApp waits for one.
    pub unclear_until: Option<Instant>,
    /// How often the fallback has refused it as it is.
    pub refusals: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// The intent of these is not on the disk yet.
    Disk(BTreeSet<u64>),
    UnderWay,
    /// For its turn, or the end of a pause.
    Waits,
}

impl Request {
    /// The intent of this alert is on disk, or needs not be. Once that of all is, what still has to go is looked at
    /// again: an ack may have come meanwhile.
    pub fn is_on_disk(&mut self, seq: u64) {
        if let Phase::Disk(missing) = &mut self.phase
            && missing.remove(&seq)
            && missing.is_empty()
        {
            self.phase = Phase::Waits;
        }
    }

    fn may_have(&self, seq: u64) -> bool {
        let may_be_there = self.phase != Phase::Waits || self.unclear_until.is_some();
        may_be_there && self.seqs.contains(&seq)
    }

    fn holds(&self, seq: u64) -> bool {
        self.exclusive && self.may_have(seq)
    }
}

/// One fallback.
#[derive(Debug, Default)]
pub(super) struct FallbackQueue {
    /// Alerts that are to be handed over and are in no request yet.
    pub waiting: BTreeSet<u64>,
    pub active: Option<Request>,
    /// Begun before a restart.
    pub resumed: VecDeque<Request>,
    pub not_before: Option<Instant>,
    /// In a row.
    pub failures: u32,
    /// Since when requests fail, and the last words.
    pub failing: Option<(Timestamp, String)>,
}

impl FallbackQueue {
    fn requests(&self) -> impl Iterator<Item = &Request> {
        self.active.iter().chain(&self.resumed)
    }

    fn has_work(&self) -> bool {
        let turn = self.active.as_ref().map(|active| active.phase == Phase::Waits);
        turn.unwrap_or(!self.waiting.is_empty() || !self.resumed.is_empty())
    }

    /// When there is something to do, if there is.
    fn next(&self, now: Instant) -> Option<Instant> {
        self.has_work().then(|| self.not_before.unwrap_or(now))
    }
}

/// When an alert goes to the fallback.
#[derive(Debug, Clone, Copy)]
struct Scheduled {
    /// By its own age.
    own: Instant,
    /// When that is looked at next.
    at: Instant,
}

/// All fallbacks.
#[derive(Debug, Default)]
pub(super) struct FallbackQueues {
    queues: BTreeMap<FallbackName, FallbackQueue>,
    scheduled: BTreeMap<u64, Scheduled>,
    due: BTreeSet<(Instant, u64)>,
    /// Sessions that were up in this run; with when they went down since, where they have.
    sessions: BTreeMap<SessionName, Option<(Instant, Timestamp)>>,
    /// When this run began.
    started: Option<(Instant, Timestamp)>,
}

impl FallbackQueues {
    pub fn start(&mut self, mono: Instant, wall: Timestamp) {
        self.started.get_or_insert((mono, wall));
    }

    pub fn started(&self) -> Option<Instant> {
        self.started.map(|(at, _)| at)
    }

    pub fn session_up(&mut self, session: SessionName) {
        self.sessions.insert(session, None);
    }

    pub fn session_down(&mut self, session: SessionName, mono: Instant, wall: Timestamp) {
        self.sessions.entry(session).or_default().get_or_insert((mono, wall));
    }

    /// Since when a session has no line. One that was not up yet has had none since the start, as far as anybody knows.
    pub fn down_since(&self, session: &SessionName) -> Option<(Instant, Timestamp)> {
        match self.sessions.get(session) {
            Some(down) => *down,
            None => self.started,
        }
    }

    pub fn queue(&mut self, to: &FallbackName) -> &mut FallbackQueue {
        self.queues.entry(to.clone()).or_default()
    }

    pub fn queues(&self) -> impl Iterator<Item = (&FallbackName, &FallbackQueue)> {
        self.queues.iter()
    }

    /// Fallbacks that can take a request now.
    pub fn ready(&self, now: Instant) -> Vec<FallbackName> {
        let ready = self
            .queues
            .iter()
            .filter(|(_, queue)| queue.next(now).is_some_and(|at| at <= now));
        ready.map(|(to, _)| to.clone()).collect()
    }

    /// Looks at the alert at `at`; by its own age it is due at `own`.
    pub fn schedule(&mut self, seq: u64, own: Instant, at: Instant) {
        self.unschedule(seq);
        self.scheduled.insert(seq, Scheduled { own, at });
        self.due.insert((at, seq));
    }

    pub fn unschedule(&mut self, seq: u64) {
        if let Some(scheduled) = self.scheduled.remove(&seq) {
            self.due.remove(&(scheduled.at, seq));
        }
    }

    /// The next alert whose time has come, with when it is due by its own age. It is scheduled no more.
    pub fn pop_due(&mut self, now: Instant) -> Option<(u64, Instant)> {
        let &(at, seq) = self.due.first()?;
        if at > now {
            return None;
        }
        self.due.pop_first();
        let scheduled = self.scheduled.remove(&seq)?;
        Some((seq, scheduled.own))
    }

    /// Whether the alert is to be handed to any fallback, or may have to be.
    pub fn wants(&self, seq: u64) -> bool {
        let has =
            |queue: &FallbackQueue| queue.waiting.contains(&seq) || queue.requests().any(|it| it.seqs.contains(&seq));
        self.scheduled.contains_key(&seq) || self.queues.values().any(has)
    }

    /// Whether this fallback may have the alert by a request that is under way, or whose answer is not known.
    pub fn may_have(&self, to: &FallbackName, seq: u64) -> bool {
        let queue = self.queues.get(to);
        queue.is_some_and(|queue| queue.requests().any(|request| request.may_have(seq)))
    }

    /// Whether WhatsApp must not have the alert now.
    pub fn holds(&self, seq: u64) -> bool {
        self.queues
            .values()
            .any(|queue| queue.requests().any(|it| it.holds(seq)))
    }

    /// The alert is gone, or needs no fallback any more. What is under way goes on, and nothing waits for the intent of
    /// one that is gone: nobody will tell that it is on disk.
    pub fn forget(&mut self, seq: u64) {
        self.unschedule(seq);
        for queue in self.queues.values_mut() {
            queue.waiting.remove(&seq);
            for request in queue.active.iter_mut().chain(&mut queue.resumed) {
                match &mut request.phase {
                    Phase::Waits => drop(request.seqs.remove(&seq)),
                    Phase::Disk(_) => request.is_on_disk(seq),
                    Phase::UnderWay => {}
                }
            }
        }
    }

    /// Takes the requests whose answer WhatsApp waits for no longer, and returns their alerts.
    pub fn pop_unclear(&mut self, now: Instant) -> Vec<u64> {
        let mut freed = Vec::new();
        for queue in self.queues.values_mut() {
            for request in queue.active.iter_mut().chain(&mut queue.resumed) {
                if request.unclear_until.is_some_and(|until| until <= now) {
                    request.unclear_until = None;
                    if request.exclusive {
                        freed.extend(request.seqs.iter().copied());
                    }
                }
            }
        }
        freed
    }

    /// The next deadline, and the alert that it is about: whether it has to be handed over, or a request is made.
    pub fn next_deadline(&self) -> Option<(Instant, u64, bool)> {
        let due = self.due.first().map(|&(at, seq)| (at, seq, true));
        let queues = self.queues.values().filter_map(|queue| {
            let waiting = queue
                .requests()
                .flat_map(|it| it.seqs.first())
                .chain(queue.waiting.first());
            let first = waiting.min().copied().unwrap_or_default();
            let unclear = queue.requests().filter_map(|it| it.unclear_until);
            // Without a pause it was begun when it came.
            let turn = queue.not_before.filter(|_| queue.has_work());
            unclear.chain(turn).min().map(|at| (at, first, false))
        });
        queues.chain(due).min()
    }
}
