//! The properties. Each is checked where it can be broken, and the first violation ends the run.

use std::collections::VecDeque;
use std::time::Instant;

use tautline::line::{Cause, EndRecord, Output, Question, Schedule, State, Stop, Supervisor};

use super::Summary;
use super::shell::WATCHDOG_LIMIT;
use super::world::Flow;

const HOUR_MS: u64 = 3_600_000;

pub struct Checks {
    pub violation: Option<String>,
    attempts_max: usize,
    messages_max: usize,
    /// In the last hour of this process, oldest first.
    attempts: VecDeque<u64>,
    messages: VecDeque<u64>,
    /// A person is needed: nothing may be dialled until one has come.
    pub stopped: bool,
    /// The longest that nothing but lost progress may keep the watchdog waiting, and since when it waits.
    fed_at: u64,
    /// Until then a lack of progress excuses a late feed.
    progress_lost_until: u64,
    last_closing: Option<u64>,
    timeouts: u64,
    pub calm_ends: u64,
    seen: Summary,
}

impl Checks {
    pub fn new(schedule: &Schedule) -> Self {
        Self {
            violation: None,
            attempts_max: schedule.redial.per_hour_max as usize,
            messages_max: schedule.budget_per_hour as usize,
            attempts: VecDeque::new(),
            messages: VecDeque::new(),
            stopped: false,
            fed_at: 0,
            progress_lost_until: 0,
            last_closing: None,
            timeouts: 0,
            calm_ends: 0,
            seen: Summary::default(),
        }
    }

    pub fn fail(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// The caps hold for a process: systemd has its own for restarts.
    pub fn new_process(&mut self, now: u64) {
        self.attempts.clear();
        self.messages.clear();
        self.stopped = false;
        self.fed_at = now;
    }

    /// (3) `poll_timeout` always advances, and early and repeated calls do nothing.
    pub fn after_timeout(&mut self, core: &mut Supervisor, now: Instant) {
        let next = core.poll_timeout();
        if next.is_some_and(|(at, _)| at <= now) {
            self.fail(format!("poll_timeout does not advance: {next:?}"));
        }
        self.timeouts += 1;
        if !self.timeouts.is_multiple_of(8) {
            return;
        }
        core.handle_timeout(now);
        if let Some(output) = core.poll_output() {
            self.fail(format!("a repeated call said {output:?}"));
        }
        if core.poll_timeout() != next {
            self.fail("a repeated call moved a deadline".into());
        }
    }

    /// (9) All layers together keep the board's budget.
    pub fn output(&mut self, now: u64, output: &Output) {
        match output {
            Output::Ask(Question::ApplicationPing) => self.seen.application_pings += 1,
            Output::Ask(Question::WebSocketPing) => self.seen.websocket_pings += 1,
            Output::Ask(Question::ContentProbe) => self.seen.probes += 1,
            Output::Ask(Question::Presence) => self.seen.presences += 1,
            Output::Dial { .. }
            | Output::Close
            | Output::FreshClient
            | Output::AckOverdue { .. }
            | Output::Undrained
            | Output::LookAtClock
            | Output::CheckHold
            | Output::LineEnded { .. }
            | Output::Quarantine(_) => return,
        }
        let count = count_last_hour(&mut self.messages, now);
        self.seen.messages_per_hour_max = self.seen.messages_per_hour_max.max(count as u64);
        if count > self.messages_max {
            self.fail(format!("{count} messages in an hour"));
        }
    }

    /// (4) Attempts stay under the cap, never two lines at once; (5) none while a person is needed.
    pub fn dial(&mut self, now: u64, open: bool) {
        if open {
            self.fail("two lines of one session".into());
        }
        if self.stopped {
            self.fail("dialled although a person is needed".into());
        }
        let count = count_last_hour(&mut self.attempts, now);
        self.seen.attempts_per_hour_max = self.seen.attempts_per_hour_max.max(count as u64);
        self.seen.lines += 1;
        if count > self.attempts_max {
            self.fail(format!("{count} attempts in an hour"));
        }
    }

    pub fn closing(&mut self, now: u64) {
        self.last_closing = Some(now);
    }

    /// (2) No live line is ever killed by us. A line is live until the world has killed it or told us to doubt it.
    pub fn line_ended(&mut self, now: u64, flow: &Flow, cause: &Cause, record: &EndRecord, calm: bool) {
        let dead = flow.dead_since.is_some();
        let justified = match cause {
            Cause::PongTimeout | Cause::WebSocketPongTimeout | Cause::WriteTimeout => dead,
            Cause::Zombie => dead || flow.zombie_since.is_some(),
            Cause::NeverDrained => dead || flow.undrained,
            Cause::AckTimeout => dead || flow.zombie_since.is_some() || flow.suspected >= 2,
            Cause::Suspended => flow.froze,
            Cause::PathChanged => flow.logged_in.is_none() && flow.path_news,
            // What stood still through its own login was not up yet.
            Cause::LoginTimeout => flow.logged_in.is_none() || flow.excused_ms > 0,
            Cause::Requested | Cause::ClockUnset | Cause::Forbidden | Cause::PairingEnded => false,
            // The wire's own word.
            _ => true,
        };
        if !justified {
            self.fail(format!("a live line was killed: {cause}; {record:?}"));
        }
        if let (Some(since), Some(closed)) = (flow.dead_since, self.last_closing.take())
            && flow.logged_in.is_some()
            && closed >= since
            && flow.excused_ms == 0
        {
            self.seen.detection_max_ms = self.seen.detection_max_ms.max(closed - flow.last_stanza);
        }
        if calm {
            self.calm_ends += 1;
        }
        self.seen.online_ms += flow.logged_in.map_or(0, |at| now - at);
    }

    /// (6) The link is back and says so: up within 3 s, whatever the pause was.
    pub fn recovered(&mut self, took_ms: u64) {
        self.seen.recovery_max_ms = self.seen.recovery_max_ms.max(took_ms);
        if took_ms > 3_000 {
            self.fail(format!("the link was back for {took_ms} ms before the line was up"));
        }
    }

    /// (5) Stops are said, and last.
    pub fn state(&mut self, state: &State) {
        match state {
            State::Stopped(Stop::Requested) => self.fail("stopped, and nobody had asked".into()),
            State::Stopped(_) => self.stopped = true,
            State::Idle | State::Connecting { .. } | State::Online | State::Waiting { .. } => {}
        }
    }

    /// A feed may be late until `until`, because progress is lost.
    pub fn progress_lost(&mut self, until: u64) {
        let limit = u64::try_from(WATCHDOG_LIMIT.as_millis()).unwrap_or(u64::MAX);
        self.progress_lost_until = self.progress_lost_until.max(until + limit);
    }

    /// (8) The watchdog is withheld for lost progress, and only for it.
    pub fn fed(&mut self, now: u64, store_hangs: bool) {
        if store_hangs {
            self.fail("the watchdog was fed although the store hangs".into());
        }
        self.watchdog_in_time(now);
        self.fed_at = now;
        self.seen.feeds += 1;
    }

    pub fn withheld(&mut self, now: u64) {
        if now > self.progress_lost_until {
            self.fail("the watchdog was withheld although progress is made".into());
        }
        self.seen.withheld += 1;
    }

    pub fn watchdog_in_time(&mut self, now: u64) {
        let limit = u64::try_from(WATCHDOG_LIMIT.as_millis()).unwrap_or(u64::MAX);
        if now - self.fed_at > limit && self.fed_at > self.progress_lost_until {
            self.fail(format!("the watchdog was not fed for {} ms", now - self.fed_at));
        }
    }

    pub fn add_to(&self, summary: &mut Summary) {
        summary.add(&self.seen);
    }
}

fn count_last_hour(times: &mut VecDeque<u64>, now: u64) -> usize {
    while times.front().is_some_and(|at| now - at >= HOUR_MS) {
        times.pop_front();
    }
    times.push_back(now);
    times.len()
}
