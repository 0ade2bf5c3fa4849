//! One session's supervisor: when to dial, when to wait, when to stop, and whether the line that is up still lives.
//!
//! > Call [`handle`](Supervisor::handle) for everything that happens, then take outputs until
//! > [`poll_output`](Supervisor::poll_output) has none, then arm one timer for
//! > [`poll_timeout`](Supervisor::poll_timeout) and call [`handle_timeout`](Supervisor::handle_timeout) when it fires.
//! > Calling it early or twice does nothing. Instants are monotonic; one that lies before an earlier call's is read as
//! > that call's, except in [`Input::Heard`], which may tell of the past.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::acks::Acks;
use super::backoff::Backoff;
use super::budget::Budget;
use super::cadence::Cadence;
use super::liveness::{Due, Known, LAST_LOOK, Liveness};
use super::record::{Around, EndRecord};
use super::{Cause, Flapping, HostEvent, Input, Output, Reason, Schedule, State, Stop, Verdict};
use crate::util::{Random, millis};

/// QR codes last 60 s and then 5 × 20 s, a pair code 180 s. The library ends a pairing line by itself; this is for one
/// that it does not end.
const PAIRING_DEADLINE: Duration = Duration::from_secs(300);

/// Later for our own deadline than this, and the world may have moved without us.
const STALL_MIN: Duration = LAST_LOOK;

/// Later than this, and we were frozen: the same as sleep, on hosts whose two clocks stop together.
const FREEZE_MIN: Duration = Duration::from_secs(30);

/// How often a clock that is not set is looked at, in case that nobody tells.
const CLOCK_LOOK: Duration = Duration::from_secs(30);

/// An attempt that has not come up after this hangs on the path that it began with; a younger one may be about to.
const ATTEMPT_STALE: Duration = Duration::from_secs(3);

/// Lines in a row that ended as only our own state explains. Then a fresh client is worth its price.
const MISFIRES_MAX: u32 = 3;

/// The state machine. A pairing line that nobody used is opened again only by a person.
#[derive(Debug)]
pub struct Supervisor {
    schedule: Schedule,
    random: Random,
    state: State,
    paired: bool,
    /// Set by `Paired`: the 515 that follows is part of pairing.
    just_paired: bool,
    /// Our own reason for breaking the line, which wins over what the wire shows afterwards.
    closing: Option<Cause>,
    /// When the state's own deadline is due and why; liveness has its own.
    deadline: Option<(Instant, Reason)>,
    /// Until the line has held long enough to start the pauses over.
    useful_at: Option<Instant>,
    liveness: Option<Liveness>,
    known: Known,
    acks: Acks,
    backoff: Backoff,
    budget: Budget,
    cadence: Cadence,
    flapping: Option<Flapping>,
    around: Around,
    /// The latest instant of any call, and what stood when it returned.
    now: Option<Instant>,
    armed: Option<Instant>,
    /// When this attempt began and, once it is up, when it was logged in.
    began: Option<Instant>,
    logged_in: Option<Instant>,
    lines: u64,
    last_cause: Option<Cause>,
    misfires: u32,
    /// An attempt was called off for a new path: the next one is left to succeed or fail by itself.
    called_off: bool,
    clock_unset: bool,
    outputs: VecDeque<Output>,
    shutdown: bool,
}

impl Supervisor {
    /// `seed` feeds the jitter alone.
    pub fn new(schedule: Schedule, seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            backoff: Backoff::new(schedule.redial, random.fork()),
            budget: Budget::new(&schedule),
            schedule,
            random,
            state: State::Idle,
            paired: false,
            just_paired: false,
            closing: None,
            deadline: None,
            useful_at: None,
            liveness: None,
            known: Known::default(),
            acks: Acks::default(),
            cadence: Cadence::default(),
            flapping: None,
            around: Around::default(),
            now: None,
            armed: None,
            began: None,
            logged_in: None,
            lines: 0,
            last_cause: None,
            misfires: 0,
            called_off: false,
            clock_unset: false,
            outputs: VecDeque::new(),
            shutdown: false,
        }
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// Lines that keep ending after the same time, as the last end showed it.
    pub fn flapping(&self) -> Option<&Flapping> {
        self.flapping.as_ref()
    }

    /// Nothing is dialled, because the clock is not set.
    pub fn clock_unset(&self) -> bool {
        self.clock_unset
    }

    /// Since when the oldest overdue ack is owed; told by [`Output::AckOverdue`] before.
    pub fn ack_owed_since(&self) -> Option<Instant> {
        self.acks.told_since()
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next instant at which [`handle_timeout`](Self::handle_timeout) has something to do, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let useful = self.useful_at.map(|at| (at, Reason::Useful));
        let living = self.liveness.as_ref().filter(|_| self.closing.is_none());
        let alive = living.map(Liveness::timeout);
        let owed = living.and_then(|_| Some((self.acks.timeout()?, Reason::OwedAck)));
        [self.deadline, useful, alive, owed]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }

    pub fn handle(&mut self, at: Instant, input: Input) {
        // What was heard may lie in the past, and being told of it says nothing about now.
        let heard = matches!(input, Input::Heard(_));
        let now = if heard { at } else { self.turn(at) };
        match input {
            Input::Start { paired } => self.start(now, paired),
            Input::StartHeld { paired, after, left } => self.start_held(now, paired, after, left),
            Input::HoldLeft(left) => self.shorten_hold(now, left),
            Input::PairRequested => self.pair_requested(now),
            Input::Paired => {
                self.paired = true;
                self.just_paired = true;
            }
            Input::LoggedIn => self.logged_in(now),
            Input::Drained => self.living(|liveness| liveness.drained(at)),
            Input::Heard(layer) => self.living(|liveness| liveness.heard(at, layer)),
            Input::Sent => self.living(|liveness| liveness.sent(now)),
            Input::StanzaIn { id } => self.acks.came(at, id),
            Input::StanzaAcked { id } => self.acks.acked(id),
            Input::Ended { cause } => self.ended(now, cause),
            Input::Suspect(cause) => self.suspected(now, cause),
            Input::Host(event) => self.host_event(now, event),
            Input::Shutdown => self.shut_down(now),
        }
        if !heard {
            self.armed = self.poll_timeout().map(|(at, _)| at);
        }
    }

    fn host_event(&mut self, now: Instant, event: HostEvent) {
        match event {
            HostEvent::PathChanged => self.path_changed(now),
            HostEvent::Resumed { slept } => self.resumed(now, slept),
            HostEvent::ClockStepped { by_ms } => self.clock_stepped(now, by_ms),
            HostEvent::ClockUnset => self.clock_unset = true,
            HostEvent::ClockSet => self.clock_set(now),
        }
    }

    pub fn handle_timeout(&mut self, at: Instant) {
        let now = self.turn(at);
        self.check_useful(now);
        if let Some((at, reason)) = self.deadline
            && at <= now
        {
            self.deadline = None;
            self.on_deadline(now, reason);
        }
        self.check_liveness(now);
        self.armed = self.poll_timeout().map(|(at, _)| at);
    }

    /// Every call is a turn; one that comes late for a deadline shows that we did not run.
    fn turn(&mut self, at: Instant) -> Instant {
        let before = self.now.unwrap_or(at);
        let now = at.max(before);
        // What was heard since may have postponed the deadline, or uncovered one that has passed: neither is our delay.
        if let (Some(armed), Some((due, _))) = (self.armed, self.poll_timeout()) {
            let late = now.saturating_duration_since(due.max(armed).max(before));
            self.around.lag_max_ms = self.around.lag_max_ms.max(millis(late));
            if late > FREEZE_MIN {
                self.now = Some(now);
                self.resumed(now, Duration::ZERO);
            } else if late > STALL_MIN {
                self.around.stalls = self.around.stalls.saturating_add(1);
                self.living(|liveness| liveness.stood_still(now));
            }
        }
        self.now = Some(now);
        now
    }

    /// Nothing more is asked of a line that is being closed.
    fn living(&mut self, act: impl FnOnce(&mut Liveness)) {
        if self.closing.is_none()
            && let Some(liveness) = &mut self.liveness
        {
            act(liveness);
        }
    }

    fn on_deadline(&mut self, now: Instant, reason: Reason) {
        match reason {
            Reason::Redial | Reason::Hold | Reason::StormBrake => self.dial(now, !self.paired),
            Reason::Clock => {
                self.outputs.push_back(Output::LookAtClock);
                self.dial(now, !self.paired);
            }
            Reason::Login => self.close(now, Cause::LoginTimeout),
            Reason::Close => {
                self.outputs.push_back(Output::FreshClient);
                self.deadline = Some((now + self.schedule.steps.write, Reason::Close));
            }
            // These are liveness's own and never stand in `deadline`.
            Reason::Useful
            | Reason::OfflineDrain
            | Reason::ApplicationPing
            | Reason::ApplicationPong
            | Reason::WebSocketPing
            | Reason::WebSocketPong
            | Reason::Presence
            | Reason::Probe
            | Reason::ProbeAnswer
            | Reason::OwedAck => {}
        }
    }

    /// Useful is what held and carried something. A login alone is not, nor is a zombie that answers pings.
    fn check_useful(&mut self, now: Instant) {
        if self.useful_at.is_none_or(|at| at > now) {
            return;
        }
        if self.liveness.as_ref().is_some_and(Liveness::has_content) {
            self.useful_at = None;
            self.misfires = 0;
            self.backoff.proved_useful();
        } else {
            self.useful_at = Some(now + self.schedule.redial.useful);
        }
    }

    fn check_liveness(&mut self, now: Instant) {
        while self.closing.is_none()
            && let Some(liveness) = &mut self.liveness
            && let Some(due) = liveness.due(now, &mut self.budget)
        {
            match due {
                Due::Ask(question) => self.outputs.push_back(Output::Ask(question)),
                Due::GoOnUndrained => self.outputs.push_back(Output::Undrained),
                Due::Dead(cause) => self.close(now, cause),
            }
        }
        while let Some((id, waited)) = self.acks.overdue(now) {
            self.outputs.push_back(Output::AckOverdue { id, waited });
        }
    }

    fn start(&mut self, now: Instant, paired: bool) {
        if self.state == State::Idle {
            self.paired = paired;
            self.dial(now, !paired);
        }
    }

    fn start_held(&mut self, now: Instant, paired: bool, after: Cause, left: Duration) {
        if self.state == State::Idle {
            self.paired = paired;
            self.last_cause = Some(after.clone());
            self.wait(now, left, after, Reason::Hold);
        }
    }

    fn shorten_hold(&mut self, now: Instant, left: Duration) {
        if let (State::Waiting { .. }, Some((due, Reason::Hold))) = (&self.state, self.deadline) {
            self.deadline = Some((due.min(now + left), Reason::Hold));
        }
    }

    fn dial(&mut self, now: Instant, pairing: bool) {
        if self.shutdown {
            return self.stop(Stop::Requested);
        }
        if self.clock_unset {
            self.state = State::Waiting {
                after: Cause::ClockUnset,
            };
            self.deadline = Some((now + CLOCK_LOOK, Reason::Clock));
            return;
        }
        let allowed = self.backoff.braked(now);
        if allowed > now {
            let after = self.last_cause.clone().unwrap_or(Cause::RateLimited);
            self.state = State::Waiting { after };
            self.deadline = Some((allowed, Reason::StormBrake));
            return;
        }
        if self.misfires >= MISFIRES_MAX {
            self.misfires = 0;
            self.outputs.push_back(Output::FreshClient);
        }
        self.backoff.attempt(now);
        self.began = Some(now);
        self.lines += 1;
        self.around = Around::default();
        self.state = State::Connecting { pairing };
        let steps = &self.schedule.steps;
        let bring_up = steps.resolve + steps.dial + steps.proxy + steps.tls + steps.upgrade + steps.login;
        let deadline = if pairing { bring_up + PAIRING_DEADLINE } else { bring_up };
        self.deadline = Some((now + deadline, Reason::Login));
        self.outputs.push_back(Output::Dial { pairing });
    }

    fn pair_requested(&mut self, now: Instant) {
        match self.state {
            State::Stopped(Stop::Requested) if self.shutdown => {}
            State::Idle | State::Stopped(_) => {
                self.paired = false;
                self.dial(now, true);
            }
            State::Waiting { .. } if !self.paired => self.dial(now, true),
            State::Connecting { .. } | State::Online | State::Waiting { .. } => {}
        }
    }

    fn logged_in(&mut self, now: Instant) {
        if !matches!(self.state, State::Connecting { .. }) || self.closing.is_some() {
            return;
        }
        self.paired = true;
        self.just_paired = false;
        self.called_off = false;
        self.state = State::Online;
        self.deadline = None;
        self.logged_in = Some(now);
        self.useful_at = Some(now + self.schedule.redial.useful);
        self.liveness = Some(Liveness::new(now, &self.schedule, self.random.fork(), self.known));
    }

    /// Breaks the line; an end follows, and until then nothing else happens.
    fn close(&mut self, now: Instant, cause: Cause) {
        if self.closing.is_some() {
            return;
        }
        self.closing = Some(cause);
        self.useful_at = None;
        self.deadline = Some((now + self.schedule.steps.write, Reason::Close));
        self.outputs.push_back(Output::Close);
    }

    fn ended(&mut self, now: Instant, seen: Cause) {
        if !matches!(self.state, State::Connecting { .. } | State::Online) {
            return;
        }
        let pairing = matches!(self.state, State::Connecting { pairing: true });
        let proven = self.logged_in.is_some_and(|at| now >= at + self.schedule.redial.useful);
        let useful = proven && self.liveness.as_ref().is_some_and(Liveness::has_content);
        let cause = self.cause_of(seen, pairing);
        let verdict = self.tempered(&cause, useful);
        let record = self.record(now, &cause, &verdict);
        self.let_line_go(&cause);
        self.outputs.push_back(Output::LineEnded {
            cause: cause.clone(),
            verdict: verdict.clone(),
            record: Box::new(record),
        });
        if self.shutdown {
            return self.stop(Stop::Requested);
        }
        self.follow(now, cause, verdict);
    }

    /// Forgets the line, but not what it taught.
    fn let_line_go(&mut self, cause: &Cause) {
        if let Some(liveness) = self.liveness.take() {
            self.known = liveness.known();
        }
        self.known.distrust |= matches!(cause, Cause::ServerTrouble(500) | Cause::NeverDrained);
        self.known.undrained |= *cause == Cause::NeverDrained;
        self.misfires = if cause.may_be_ours() { self.misfires + 1 } else { 0 };
        self.called_off = *cause == Cause::PathChanged;
        self.last_cause = Some(cause.clone());
        self.acks = Acks::default();
        self.logged_in = None;
        self.deadline = None;
        self.useful_at = None;
    }

    fn follow(&mut self, now: Instant, cause: Cause, verdict: Verdict) {
        match verdict {
            Verdict::RedialNow => {
                self.just_paired = false;
                self.dial(now, !self.paired);
            }
            Verdict::BackOff => {
                let pause = self.backoff.next_pause();
                self.wait(now, pause, cause, Reason::Redial);
            }
            Verdict::BackOffLong => {
                let pause = self.backoff.long_pause();
                self.wait(now, pause, cause, Reason::Hold);
            }
            Verdict::HoldUntil(time) => self.wait(now, time, cause, Reason::Hold),
            Verdict::AwaitClock => {
                let pause = self.backoff.free_pause();
                self.wait(now, pause, cause, Reason::Clock);
            }
            Verdict::Stop(stop) => {
                if stop.credentials_dead() && self.paired {
                    self.paired = false;
                    self.outputs.push_back(Output::Quarantine(stop));
                }
                self.stop(stop);
            }
        }
    }

    /// What we decided wins over what the wire shows of it, unless the wire shows that a person is needed; an unused
    /// pairing line is no fault of the path.
    fn cause_of(&mut self, seen: Cause, pairing: bool) -> Cause {
        let final_word = matches!(seen.verdict(), Verdict::Stop(_) | Verdict::HoldUntil(_));
        match self.closing.take() {
            Some(_) if final_word && seen != Cause::Requested => seen,
            Some(Cause::LoginTimeout) if pairing => Cause::PairingEnded,
            Some(ours) => ours,
            None if pairing && self.just_paired => Cause::RestartRequired,
            None => seen,
        }
    }

    /// "At once" is for a line that was useful, or for one whose end says nothing against the next; otherwise a server
    /// that recycles every line at login would be stormed.
    fn tempered(&self, cause: &Cause, useful: bool) -> Verdict {
        match (cause, cause.verdict()) {
            (Cause::Suspended | Cause::PathChanged, verdict) => verdict,
            (Cause::RestartRequired, verdict) if self.last_cause != Some(Cause::RestartRequired) => verdict,
            (_, Verdict::RedialNow) if !useful && !self.just_paired => Verdict::BackOff,
            (_, verdict) => verdict,
        }
    }

    fn record(&mut self, now: Instant, cause: &Cause, verdict: &Verdict) -> EndRecord {
        let held = now.saturating_duration_since(self.logged_in.or(self.began).unwrap_or(now));
        self.flapping = match cause.origin() {
            // What a person or the host's sleep does has no cadence of its own.
            _ if matches!(cause, Cause::Requested | Cause::Suspended | Cause::PathChanged) => None,
            _ if self.logged_in.is_none() => self.flapping,
            super::Origin::Server | super::Origin::Path | super::Origin::Us => self.cadence.note(held),
        };
        let around = &self.around;
        let (owed, oldest) = self.acks.debts();
        let mut record = EndRecord {
            at_ms: 0,
            line: self.lines,
            cause: cause.code().to_owned(),
            words: cause.to_string(),
            origin: cause.origin(),
            verdict: verdict.to_string(),
            detail: String::new(),
            logged_in: self.logged_in.is_some(),
            held_ms: millis(held),
            proofs: self
                .liveness
                .as_ref()
                .map(|liveness| liveness.proofs(now))
                .unwrap_or_default(),
            unanswered: self
                .liveness
                .as_ref()
                .map(|liveness| liveness.unanswered(now))
                .unwrap_or_default(),
            lag_max_ms: around.lag_max_ms,
            stalls: around.stalls,
            slept_ms: around.slept_ms,
            clock_steps: around.clock_steps,
            clock_stepped_ms: around.clock_stepped_ms,
            acks_owed: u32::try_from(owed).unwrap_or(u32::MAX),
            ack_owed_oldest_ms: oldest.map(|at| millis(now.saturating_duration_since(at))),
            bytes_in: 0,
            bytes_out: 0,
            failures: self.backoff.failures(),
            flapping: self.flapping,
            guess: String::new(),
        };
        record.guess = record.guess();
        record
    }

    fn wait(&mut self, now: Instant, pause: Duration, after: Cause, reason: Reason) {
        self.state = State::Waiting { after };
        let at = now + pause;
        let braked = self.backoff.braked(at);
        self.deadline = Some(if braked > at {
            (braked, Reason::StormBrake)
        } else {
            (at, reason)
        });
    }

    fn suspected(&mut self, now: Instant, cause: Cause) {
        if self.state == State::Online
            && self.closing.is_none()
            && let Some(liveness) = &mut self.liveness
            && !liveness.suspect(now, cause.clone())
        {
            self.close(now, cause);
        }
    }

    fn path_changed(&mut self, now: Instant) {
        self.backoff.path_changed();
        match self.state {
            State::Waiting { .. } => self.cut_pause_short(now),
            // It may still be good (another interface came up), so it is asked and not dropped.
            State::Online => self.living(|liveness| liveness.check(now)),
            State::Connecting { pairing: false } => {
                let stale = self.began.is_some_and(|at| now >= at + ATTEMPT_STALE);
                if stale && !self.called_off {
                    self.close(now, Cause::PathChanged);
                }
            }
            State::Idle | State::Connecting { pairing: true } | State::Stopped(_) => {}
        }
    }

    /// A pause that the path made necessary. What the server asked for, or the hourly cap, stands.
    fn cut_pause_short(&mut self, now: Instant) {
        let cut = self.backoff.cut_short(now);
        let at = self.backoff.braked(cut);
        let reason = if at > cut { Reason::StormBrake } else { Reason::Redial };
        match self.deadline {
            Some((due, Reason::Redial)) if at <= now && due > now => self.dial(now, !self.paired),
            Some((due, Reason::Redial)) if at < due => self.deadline = Some((at, reason)),
            _ => {}
        }
    }

    /// Flows die in a sleep without a sign; what was open is dropped without asking.
    fn resumed(&mut self, now: Instant, slept: Duration) {
        self.around.slept_ms = self.around.slept_ms.saturating_add(millis(slept));
        match self.state {
            State::Connecting { .. } | State::Online => self.close(now, Cause::Suspended),
            State::Waiting { .. } => {
                self.backoff.path_changed();
                self.cut_pause_short(now);
            }
            State::Idle | State::Stopped(_) => {}
        }
    }

    fn clock_stepped(&mut self, now: Instant, by_ms: i64) {
        self.around.clock_steps = self.around.clock_steps.saturating_add(1);
        self.around.clock_stepped_ms = self.around.clock_stepped_ms.saturating_add(by_ms);
        self.time_came(now);
    }

    fn clock_set(&mut self, now: Instant) {
        if std::mem::take(&mut self.clock_unset) {
            self.time_came(now);
        }
    }

    fn time_came(&mut self, now: Instant) {
        match (&self.state, self.deadline) {
            (State::Waiting { .. }, Some((_, Reason::Clock))) if !self.clock_unset => self.dial(now, !self.paired),
            (State::Waiting { .. }, _) => self.cut_pause_short(now),
            _ => {}
        }
    }

    fn shut_down(&mut self, now: Instant) {
        self.shutdown = true;
        match self.state {
            State::Connecting { .. } | State::Online => self.close(now, Cause::Requested),
            State::Idle | State::Waiting { .. } | State::Stopped(_) => self.stop(Stop::Requested),
        }
    }

    fn stop(&mut self, stop: Stop) {
        self.state = State::Stopped(stop);
        self.deadline = None;
        self.useful_at = None;
        self.liveness = None;
    }
}
