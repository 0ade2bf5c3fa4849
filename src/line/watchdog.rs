//! Whether systemd's watchdog is fed: from progress, never by a timer of its own.
//!
//! The timer here only asks. Whoever makes progress answers, and when all have answered since the last feed the
//! watchdog is fed again. Asked are the store (an empty transaction, which goes through its thread and behind all
//! writes that wait there, and itself writes nothing), the task that owns the outbox and each session's task (a turn of
//! their loop). The loop that runs them all is not asked: without it nobody calls this. Deliberately absent: anything
//! about the network. An internet that is down cannot withhold the feed, because nobody here could be told of it.
//!
//! The rungs below are the supervisor's: an unanswered ping costs the line, lines that fail as only our own state
//! explains cost the client ([`Output::FreshClient`](super::Output::FreshClient)).

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Who has to make progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// The thread that writes has taken a turn: it does not hang in a write or a sync.
    Store,
    /// The task that owns the outbox took a turn: alerts are accepted, and what is asked is answered.
    Dispatcher,
    /// A session's task took a turn; counted in the order of the configuration.
    Session(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchdogInput {
    /// It answered.
    Made(Progress),
    /// It has ended as it should: nothing is expected of it any more.
    Gone(Progress),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchdogOutput {
    /// Ask it to take a turn.
    Ask(Progress),
    /// `WATCHDOG=1`.
    Feed,
    /// Not fed, and why: for the log and health. Told once for each that is lost.
    Withheld(Lost),
}

/// Who made no progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    pub who: Progress,
    /// Since it was asked.
    pub waited: Duration,
}

/// The last resort of a relay that hangs. Drive it like the supervisor.
#[derive(Debug)]
pub struct Watchdog {
    /// A question every so often, so that an answer that takes as long again is still in time.
    every: Duration,
    /// Each with when it was asked and has not answered since, and whether it was told as lost.
    asked: BTreeMap<Progress, Option<(Instant, bool)>>,
    next_ask: Instant,
    /// There was a question since the last feed.
    open: bool,
    outputs: VecDeque<WatchdogOutput>,
}

impl Watchdog {
    /// `limit` is systemd's `WatchdogSec`; `sessions` are expected to take turns.
    pub fn new(now: Instant, limit: Duration, sessions: u32) -> Self {
        let everyone = (0..sessions)
            .map(Progress::Session)
            .chain([Progress::Store, Progress::Dispatcher]);
        Self {
            every: limit / 3,
            asked: everyone.map(|who| (who, None)).collect(),
            next_ask: now,
            open: false,
            outputs: VecDeque::new(),
        }
    }

    pub fn poll_output(&mut self) -> Option<WatchdogOutput> {
        self.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Instant {
        self.next_ask
    }

    pub fn handle(&mut self, _now: Instant, input: WatchdogInput) {
        match input {
            WatchdogInput::Made(who) => {
                if let Some(asked) = self.asked.get_mut(&who) {
                    *asked = None;
                }
            }
            WatchdogInput::Gone(who) => {
                self.asked.remove(&who);
            }
        }
        self.feed_if_all_answered();
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next_ask > now {
            return;
        }
        self.next_ask = now + self.every;
        for (who, asked) in &mut self.asked {
            match asked {
                // One question at a time: what hangs does not need a queue of them.
                Some((since, reported)) => {
                    let waited = now.saturating_duration_since(*since);
                    if waited >= self.every && !std::mem::replace(reported, true) {
                        self.outputs
                            .push_back(WatchdogOutput::Withheld(Lost { who: *who, waited }));
                    }
                }
                None => {
                    *asked = Some((now, false));
                    self.outputs.push_back(WatchdogOutput::Ask(*who));
                }
            }
        }
        self.open = true;
        // Nobody is expected to answer: the turn itself is the progress.
        self.feed_if_all_answered();
    }

    fn feed_if_all_answered(&mut self) {
        if self.open && self.asked.values().all(Option::is_none) {
            self.open = false;
            self.outputs.push_back(WatchdogOutput::Feed);
        }
    }
}
