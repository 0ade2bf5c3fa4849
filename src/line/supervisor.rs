//! One session's supervisor: when to dial, when to wait, when to stop, and whether the line that is up still lives.
//!
//! > Call [`handle`](Supervisor::handle) for everything that happens, then take outputs until
//! > [`poll_output`](Supervisor::poll_output) has none, then arm one timer for
//! > [`poll_timeout`](Supervisor::poll_timeout) and call [`handle_timeout`](Supervisor::handle_timeout) when it fires.
//! > Calling it early or twice does nothing. Instants are monotonic; one that lies before an earlier call's is read as
//! > that call's, except in [`Input::Proof`] and [`Input::Upgraded`], which may tell of the past.

mod ends;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::acks::Acks;
use super::backoff::Backoff;
use super::budget::Budget;
use super::cadence::Cadence;
use super::liveness::{Action, Known, LAST_LOOK, Liveness};
use super::phase::{Closing, Connecting, Line, Online, Pause, Phase, Stage, Waiting};
use super::record::Around;
use super::undecoded::{GIVEN_UP_EVERY, Undecoded};
use super::{Cause, Flapping, HostEvent, Input, Output, Reason, Schedule, State, Stop};
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

/// How long the library may take to give up a line that we broke, before its client is given up too.
const LETTING_GO: Duration = Duration::from_secs(5);

/// How often a hold of an earlier run is compared with the wall clock: a board without a battery learns the time
/// minutes after the start.
const HOLD_CHECK: Duration = Duration::from_secs(600);

/// An attempt that has not come up after this hangs on the path that it began with; a younger one may be about to.
const ATTEMPT_STALE: Duration = Duration::from_secs(3);

/// Lines in a row that ended as only our own state explains. Then a fresh client is worth its price.
const MISFIRES_MAX: u32 = 3;

/// The state machine. A pairing line that nobody used is opened again only by a person.
#[derive(Debug)]
pub struct Supervisor {
    schedule: Schedule,
    random: Random,
    phase: Phase,
    paired: bool,
    /// Set by `Paired`: the 515 that follows is part of pairing.
    just_paired: bool,
    known: Known,
    backoff: Backoff,
    budget: Budget,
    cadence: Cadence,
    flapping: Option<Flapping>,
    /// When a line was last given up for frames that could not be read; `None`: never yet.
    unreadable_at: Option<Instant>,
    /// The latest instant of any call; `None`: there was none.
    now: Option<Instant>,
    /// The deadline that stood when it returned; `None`: none did.
    armed: Option<Instant>,
    /// Attempts so far, each a line's number.
    lines: u64,
    /// The cause of the last end; `None`: no line has ended.
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
            phase: Phase::Idle,
            paired: false,
            just_paired: false,
            known: Known::default(),
            cadence: Cadence::default(),
            flapping: None,
            unreadable_at: None,
            now: None,
            armed: None,
            lines: 0,
            last_cause: None,
            misfires: 0,
            called_off: false,
            clock_unset: false,
            outputs: VecDeque::new(),
            shutdown: false,
        }
    }

    /// Where the session stands.
    pub fn state(&self) -> State {
        self.phase.view()
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
        match &self.phase {
            Phase::Line(line) => line.acks.reported_since(),
            Phase::Idle | Phase::Waiting(_) | Phase::Stopped(_) => None,
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next instant at which [`handle_timeout`](Self::handle_timeout) has something to do, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        self.phase.timeout()
    }

    /// What a person waits for next, and why: the deadline of [`poll_timeout`](Self::poll_timeout), but in a pause its
    /// end.
    pub fn shown_timeout(&self) -> Option<(Instant, Reason)> {
        self.phase.shown_timeout()
    }

    pub fn handle(&mut self, at: Instant, input: Input) {
        // What was heard may lie in the past, and being told of it says nothing about now.
        let late = matches!(input, Input::Proof(_) | Input::Upgraded);
        let now = if late { at } else { self.turn(at) };
        match input {
            Input::Start { paired } => self.start(now, paired),
            Input::StartHeld { paired, after, left } => self.start_held(now, paired, after, left),
            Input::HoldLeft(left) => self.shorten_hold(now, left),
            Input::PairRequested => self.pair_requested(now),
            Input::Paired => {
                self.paired = true;
                self.just_paired = true;
            }
            Input::Upgraded => self.upgraded(at),
            Input::LoggedIn => self.logged_in(now),
            Input::Drained => self.living(|liveness| liveness.drained(at)),
            Input::Proof(layer) => self.living(|liveness| liveness.on_proof(at, layer)),
            Input::Sent => self.living(|liveness| liveness.sent(now)),
            Input::StanzaIn { id } => self.on_line(|line| line.acks.came(at, id)),
            Input::StanzaAcked { id } => self.on_line(|line| line.acks.acked(id)),
            Input::Undecoded { frames } => self.on_line(|line| line.undecoded.count(now, frames)),
            Input::ServerSaid(cause) => {
                if cause.leaves_line_standing() {
                    self.close(now, cause);
                }
            }
            Input::Ended { cause } => self.ended(now, cause),
            Input::Suspect(cause) => self.suspected(now, cause),
            Input::Host(event) => self.host_event(now, event),
            Input::Shutdown => self.shut_down(now),
        }
        if !late {
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
        while let Some((_, reason)) = self.poll_timeout().filter(|(due, _)| *due <= now) {
            self.on_timer(now, reason);
        }
        self.armed = self.poll_timeout().map(|(at, _)| at);
    }

    /// Every call is a turn; one that comes late for a deadline shows that we did not run.
    fn turn(&mut self, at: Instant) -> Instant {
        let before = self.now.unwrap_or(at);
        let now = at.max(before);
        // What was heard since may have postponed the deadline, or uncovered one that has passed: neither is our delay.
        if let (Some(armed), Some((due, _))) = (self.armed, self.poll_timeout()) {
            let late = now.saturating_duration_since(due.max(armed).max(before));
            self.on_line(|line| line.around.lag_max_ms = line.around.lag_max_ms.max(millis(late)));
            if late > FREEZE_MIN {
                self.now = Some(now);
                self.resumed(now, Duration::ZERO);
            } else if late > STALL_MIN {
                self.on_line(|line| {
                    line.around.stalls = line.around.stalls.saturating_add(1);
                    line.undecoded.stood_still(now);
                });
                self.living(|liveness| liveness.stood_still(now));
            }
        }
        self.now = Some(now);
        now
    }

    /// Whatever its stage, and also while it is being closed.
    fn on_line(&mut self, act: impl FnOnce(&mut Line)) {
        if let Some(line) = self.phase.line() {
            act(line);
        }
    }

    /// Nothing more is asked of a line that is being closed.
    fn living(&mut self, act: impl FnOnce(&mut Liveness)) {
        if let Some(online) = self.phase.line().and_then(Line::alive) {
            act(&mut online.liveness);
        }
    }

    /// The timer that stood for `reason` has fired.
    fn on_timer(&mut self, now: Instant, reason: Reason) {
        match reason {
            Reason::Redial | Reason::Hold | Reason::StormBrake => self.dial(now, !self.paired),
            Reason::Clock => {
                self.outputs.push_back(Output::LookAtClock);
                self.dial(now, !self.paired);
            }
            Reason::HoldCheck => self.check_hold(now),
            Reason::Login => self.close(now, Cause::LoginTimeout),
            Reason::Close => {
                self.outputs.push_back(Output::FreshClient);
                self.on_line(|line| {
                    if let Some(closing) = &mut line.closing {
                        closing.gone_by = now + LETTING_GO;
                    }
                });
            }
            Reason::Useful => self.check_useful(now),
            Reason::OfflineDrain
            | Reason::ApplicationPing
            | Reason::ApplicationPong
            | Reason::WebSocketPing
            | Reason::WebSocketPong
            | Reason::Presence
            | Reason::Probe
            | Reason::ProbeAnswer => self.check_liveness(now),
            Reason::OwedAck => self.report_owed_acks(now),
            Reason::Decode => self.check_undecoded(now),
        }
    }

    /// Useful is what held and carried something. A login alone is not, nor is a zombie that answers pings.
    fn check_useful(&mut self, now: Instant) {
        let again = now + self.schedule.redial.useful;
        let Some(online) = self.phase.line().and_then(Line::alive) else {
            return;
        };
        if online.liveness.has_content() {
            online.useful_at = None;
            self.misfires = 0;
            self.backoff.proved_useful();
        } else {
            online.useful_at = Some(again);
        }
    }

    fn check_liveness(&mut self, now: Instant) {
        while let Some(online) = self.phase.line().and_then(Line::alive)
            && let Some(action) = online.liveness.due(now, &mut self.budget)
        {
            match action {
                Action::Ask(question) => self.outputs.push_back(Output::Ask(question)),
                Action::GoOnUndrained => self.outputs.push_back(Output::Undrained),
                Action::Dead(cause) => self.close(now, cause),
            }
        }
    }

    fn report_owed_acks(&mut self, now: Instant) {
        while let Some((id, waited)) = self.phase.line().and_then(|line| line.acks.overdue(now)) {
            self.outputs.push_back(Output::AckOverdue { id, waited });
        }
    }

    /// What is missing still has not been read, and will not be.
    fn check_undecoded(&mut self, now: Instant) {
        self.on_line(|line| line.undecoded.give_up());
        let lately = |at: Instant| now.saturating_duration_since(at) < GIVEN_UP_EVERY;
        if !self.unreadable_at.is_some_and(lately) {
            self.unreadable_at = Some(now);
            self.close(now, Cause::OutOfStep);
        }
    }

    fn check_hold(&mut self, now: Instant) {
        if let Phase::Waiting(waiting) = &mut self.phase
            && let Pause::EarlierHold { check_at } = &mut waiting.why
        {
            *check_at = now + HOLD_CHECK;
            self.outputs.push_back(Output::CheckHold);
        }
    }

    fn start(&mut self, now: Instant, paired: bool) {
        if matches!(self.phase, Phase::Idle) {
            self.paired = paired;
            self.dial(now, !paired);
        }
    }

    fn start_held(&mut self, now: Instant, paired: bool, after: Cause, left: Duration) {
        if matches!(self.phase, Phase::Idle) {
            self.paired = paired;
            self.last_cause = Some(after.clone());
            let check_at = now + HOLD_CHECK;
            self.wait(now, left, after, Pause::EarlierHold { check_at });
        }
    }

    fn shorten_hold(&mut self, now: Instant, left: Duration) {
        if let Phase::Waiting(waiting) = &mut self.phase
            && let Pause::EarlierHold { .. } = waiting.why
        {
            waiting.until = waiting.until.min(now + left);
        }
    }

    fn dial(&mut self, now: Instant, pairing: bool) {
        if self.shutdown {
            return self.stop(Stop::Requested);
        }
        if self.clock_unset {
            return self.pause(now + CLOCK_LOOK, Cause::ClockUnset, Pause::Clock);
        }
        let allowed = self.backoff.braked(now);
        if allowed > now {
            let after = self.last_cause.clone().unwrap_or(Cause::RateLimited);
            return self.pause(allowed, after, Pause::StormBrake);
        }
        if self.misfires >= MISFIRES_MAX {
            self.misfires = 0;
            self.outputs.push_back(Output::FreshClient);
        }
        self.backoff.attempt(now);
        self.lines += 1;
        let steps = &self.schedule.steps;
        let bring_up = steps.resolve + steps.dial + steps.proxy + steps.tls + steps.upgrade + steps.login;
        let deadline = if pairing { bring_up + PAIRING_DEADLINE } else { bring_up };
        self.phase = Phase::Line(Line {
            began: now,
            stage: Stage::Connecting(Connecting {
                pairing,
                login_by: now + deadline,
            }),
            closing: None,
            acks: Acks::default(),
            undecoded: Undecoded::default(),
            around: Around::default(),
        });
        self.outputs.push_back(Output::Dial { pairing });
    }

    fn pair_requested(&mut self, now: Instant) {
        match &self.phase {
            Phase::Stopped(Stop::Requested) if self.shutdown => {}
            Phase::Idle | Phase::Stopped(_) => {
                self.paired = false;
                self.dial(now, true);
            }
            Phase::Waiting(_) if !self.paired => self.dial(now, true),
            Phase::Line(_) | Phase::Waiting(_) => {}
        }
    }

    /// The server gets the login's step of what is left of the attempt's time. Pairing waits for a person instead.
    fn upgraded(&mut self, at: Instant) {
        let login = self.schedule.steps.login;
        if let Some(line) = self.phase.line()
            && line.began <= at
            && let Stage::Connecting(Connecting {
                pairing: false,
                login_by,
            }) = &mut line.stage
        {
            *login_by = (*login_by).min(at + login);
        }
    }

    fn logged_in(&mut self, now: Instant) {
        let Some(line) = self.phase.line().filter(|line| line.closing.is_none()) else {
            return;
        };
        if let Stage::Connecting(_) = line.stage {
            line.stage = Stage::Online(Box::new(Online {
                since: now,
                useful_at: Some(now + self.schedule.redial.useful),
                liveness: Liveness::new(now, &self.schedule, self.random.fork(), self.known),
            }));
            self.paired = true;
            self.just_paired = false;
            self.called_off = false;
        }
    }

    /// Breaks the line; an end follows, and until then nothing else happens.
    fn close(&mut self, now: Instant, cause: Cause) {
        let Some(line) = self.phase.line().filter(|line| line.closing.is_none()) else {
            return;
        };
        line.closing = Some(Closing {
            cause,
            gone_by: now + LETTING_GO,
        });
        self.outputs.push_back(Output::Close);
    }

    /// A pause, or a longer one if the brake says so.
    fn wait(&mut self, now: Instant, pause: Duration, after: Cause, why: Pause) {
        let at = now + pause;
        let braked = self.backoff.braked(at);
        if braked > at {
            self.pause(braked, after, Pause::StormBrake);
        } else {
            self.pause(at, after, why);
        }
    }

    fn pause(&mut self, until: Instant, after: Cause, why: Pause) {
        self.phase = Phase::Waiting(Waiting { after, until, why });
    }

    fn suspected(&mut self, now: Instant, cause: Cause) {
        if let Some(online) = self.phase.line().and_then(Line::alive)
            && !online.liveness.suspect(now, cause.clone())
        {
            self.close(now, cause);
        }
    }

    fn path_changed(&mut self, now: Instant) {
        self.backoff.path_changed();
        match &self.phase {
            Phase::Waiting(_) => self.cut_pause_short(now),
            Phase::Line(line) => match &line.stage {
                // It may still be good (another interface came up), so it is asked and not dropped.
                Stage::Online(_) => self.living(|liveness| liveness.check(now)),
                Stage::Connecting(Connecting { pairing: false, .. }) => {
                    if now >= line.began + ATTEMPT_STALE && !self.called_off {
                        self.close(now, Cause::PathChanged);
                    }
                }
                Stage::Connecting(Connecting { pairing: true, .. }) => {}
            },
            Phase::Idle | Phase::Stopped(_) => {}
        }
    }

    /// A pause that the path made necessary. What the server asked for, or the hourly cap, stands.
    fn cut_pause_short(&mut self, now: Instant) {
        let Phase::Waiting(waiting) = &mut self.phase else {
            return;
        };
        if waiting.why != Pause::Redial {
            return;
        }
        let cut = self.backoff.cut_short(now);
        let at = self.backoff.braked(cut);
        if at <= now && waiting.until > now {
            self.dial(now, !self.paired);
        } else if at < waiting.until {
            waiting.until = at;
            waiting.why = if at > cut { Pause::StormBrake } else { Pause::Redial };
        }
    }

    /// Flows die in a sleep without a sign; what was open is dropped without asking.
    fn resumed(&mut self, now: Instant, slept: Duration) {
        match &mut self.phase {
            Phase::Line(line) => {
                line.around.slept_ms = line.around.slept_ms.saturating_add(millis(slept));
                self.close(now, Cause::Suspended);
            }
            Phase::Waiting(_) => {
                self.backoff.path_changed();
                self.cut_pause_short(now);
            }
            Phase::Idle | Phase::Stopped(_) => {}
        }
    }

    fn clock_stepped(&mut self, now: Instant, by_ms: i64) {
        self.on_line(|line| {
            line.around.clock_steps = line.around.clock_steps.saturating_add(1);
            line.around.clock_stepped_ms = line.around.clock_stepped_ms.saturating_add(by_ms);
        });
        self.time_came(now);
    }

    fn clock_set(&mut self, now: Instant) {
        if std::mem::take(&mut self.clock_unset) {
            self.time_came(now);
        }
    }

    fn time_came(&mut self, now: Instant) {
        match &self.phase {
            Phase::Waiting(waiting) if waiting.why == Pause::Clock && !self.clock_unset => {
                self.dial(now, !self.paired);
            }
            Phase::Waiting(_) => self.cut_pause_short(now),
            Phase::Idle | Phase::Line(_) | Phase::Stopped(_) => {}
        }
    }

    fn shut_down(&mut self, now: Instant) {
        self.shutdown = true;
        match &self.phase {
            Phase::Line(_) => self.close(now, Cause::Requested),
            Phase::Idle | Phase::Waiting(_) | Phase::Stopped(_) => self.stop(Stop::Requested),
        }
    }

    fn stop(&mut self, stop: Stop) {
        self.phase = Phase::Stopped(stop);
    }
}
