//! One session's supervisor: when to dial, when to wait, when to stop, and whether the line that is up still lives.
//!
//! > Call [`handle`](Supervisor::handle) for everything that happens, then take outputs until
//! > [`poll_output`](Supervisor::poll_output) has none, then arm one timer for
//! > [`poll_timeout`](Supervisor::poll_timeout) and call [`handle_timeout`](Supervisor::handle_timeout) when it fires.
//! > Calling it early or twice does nothing.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::liveness::{Due, Liveness};
use super::{Cause, Schedule, Stop, Verdict};

/// The keepalive layers, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    Tcp,
    WebSocket,
    Application,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Once, first.
    Start {
        paired: bool,
    },
    /// A person asks for pairing; starts over what had ended.
    PairRequested,
    /// The credentials of a fresh pairing are on disk.
    Paired,
    LoggedIn,
    /// Something came in that proves this layer.
    Heard(Layer),
    /// The line is over. `cause` is what the wire showed.
    Ended {
        cause: Cause,
    },
    /// Someone above has reason to think that the line is dead.
    Suspect(Cause),
    /// The network changed for the better: a pause makes no sense any more.
    PathChanged,
    Shutdown,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Open a line. Exactly one at a time: the next one comes only after [`Input::Ended`].
    Dial {
        pairing: bool,
    },
    /// Break the line now; `Ended` follows.
    Close,
    PingApplication,
    PingWebSocket,
    /// Presence `unavailable`. `available` is never announced: it would silence the owner's phone.
    AnnounceUnavailable,
    /// The line ended: for the record and the log.
    LineEnded {
        cause: Cause,
        verdict: Verdict,
    },
    /// Set the credentials aside; they are dead.
    Quarantine(Stop),
}

/// Where the session stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Before [`Input::Start`].
    Idle,
    Connecting {
        pairing: bool,
    },
    Online,
    /// A pause; `after` is what made it necessary.
    Waiting {
        after: Cause,
    },
    Stopped(Stop),
}

/// Why a deadline stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Redial,
    Hold,
    StormBrake,
    Login,
    Close,
    Useful,
    ApplicationPing,
    ApplicationPong,
    WebSocketPing,
    WebSocketPong,
    Presence,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redial => "redial after the pause",
            Self::Hold => "one try after the time the server named",
            Self::StormBrake => "redial when the hourly cap allows",
            Self::Login => "the login must be complete",
            Self::Close => "the closed line must be gone",
            Self::Useful => "the line counts as useful, pauses start over",
            Self::ApplicationPing => "application ping",
            Self::ApplicationPong => "the application ping must be answered",
            Self::WebSocketPing => "WebSocket ping",
            Self::WebSocketPong => "the WebSocket ping must be answered",
            Self::Presence => "presence unavailable",
        })
    }
}

/// QR codes last 60 s and then 5 × 20 s, a pair code 180 s. The library ends a pairing line by itself; this is for one
/// that it does not end.
const PAIRING_DEADLINE: Duration = Duration::from_secs(300);

/// The state machine. A pairing line that nobody used is opened again only by a person.
#[derive(Debug)]
pub struct Supervisor {
    schedule: Schedule,
    seed: u64,
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
    backoff: Backoff,
    outputs: VecDeque<Output>,
    shutdown: bool,
}

impl Supervisor {
    /// `seed` feeds the jitter alone.
    pub fn new(schedule: Schedule, seed: u64) -> Self {
        Self {
            backoff: Backoff::new(schedule.redial, seed),
            schedule,
            seed,
            state: State::Idle,
            paired: false,
            just_paired: false,
            closing: None,
            deadline: None,
            useful_at: None,
            liveness: None,
            outputs: VecDeque::new(),
            shutdown: false,
        }
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next instant at which [`handle_timeout`](Self::handle_timeout) has something to do, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let useful = self.useful_at.map(|at| (at, Reason::Useful));
        let alive = self
            .liveness
            .as_ref()
            .filter(|_| self.closing.is_none())
            .map(Liveness::timeout);
        [self.deadline, useful, alive]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }

    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Start { paired } => {
                self.paired = paired;
                self.dial(now, !paired);
            }
            Input::PairRequested => self.pair_requested(now),
            Input::Paired => {
                self.paired = true;
                self.just_paired = true;
            }
            Input::LoggedIn => self.logged_in(now),
            Input::Heard(layer) => {
                if let Some(liveness) = &mut self.liveness {
                    liveness.heard(now, layer);
                }
            }
            Input::Ended { cause } => self.ended(now, cause),
            Input::Suspect(cause) => {
                if self.state == State::Online {
                    self.close(now, cause);
                }
            }
            Input::PathChanged => self.path_changed(now),
            Input::Shutdown => {
                self.shutdown = true;
                match self.state {
                    State::Connecting { .. } | State::Online => self.close(now, Cause::Requested),
                    State::Idle | State::Waiting { .. } | State::Stopped(_) => self.stop(Stop::Requested),
                }
            }
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.useful_at.is_some_and(|at| at <= now) {
            self.useful_at = None;
            self.backoff.proved_useful();
        }
        if let Some((at, reason)) = self.deadline
            && at <= now
        {
            self.deadline = None;
            match reason {
                Reason::Redial | Reason::Hold | Reason::StormBrake => self.dial(now, !self.paired),
                Reason::Login => self.close(now, Cause::LoginTimeout),
                // The shell has its own bound for this; nothing is left to decide here.
                Reason::Close => {}
                Reason::Useful
                | Reason::ApplicationPing
                | Reason::ApplicationPong
                | Reason::WebSocketPing
                | Reason::WebSocketPong
                | Reason::Presence => {}
            }
        }
        self.check_liveness(now);
    }

    fn check_liveness(&mut self, now: Instant) {
        while self.closing.is_none()
            && let Some(due) = self.liveness.as_mut().and_then(|liveness| liveness.due(now))
        {
            match due {
                Due::PingApplication => self.outputs.push_back(Output::PingApplication),
                Due::PingWebSocket => self.outputs.push_back(Output::PingWebSocket),
                Due::AnnounceUnavailable => self.outputs.push_back(Output::AnnounceUnavailable),
                Due::Dead(cause, _) => self.close(now, cause),
            }
        }
    }

    fn dial(&mut self, now: Instant, pairing: bool) {
        if self.shutdown {
            return self.stop(Stop::Requested);
        }
        let allowed = self.backoff.braked(now);
        if allowed > now {
            let after = Cause::RateLimited;
            self.state = State::Waiting { after };
            self.deadline = Some((allowed, Reason::StormBrake));
            return;
        }
        self.backoff.attempt(now);
        self.closing = None;
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
        self.paired = true;
        self.just_paired = false;
        self.state = State::Online;
        self.deadline = None;
        self.useful_at = Some(now + self.schedule.redial.useful);
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.liveness = Some(Liveness::new(now, self.schedule.clone(), self.seed));
    }

    fn close(&mut self, now: Instant, cause: Cause) {
        if self.closing.is_some() {
            return;
        }
        self.closing = Some(cause);
        self.deadline = Some((now + self.schedule.steps.write, Reason::Close));
        self.outputs.push_back(Output::Close);
    }

    fn ended(&mut self, now: Instant, seen: Cause) {
        if !matches!(self.state, State::Connecting { .. } | State::Online) {
            return;
        }
        let pairing = matches!(self.state, State::Connecting { pairing: true });
        let useful = self.state == State::Online && self.useful_at.is_none();
        let cause = self.cause_of(seen, pairing);
        self.closing = None;
        self.deadline = None;
        self.useful_at = None;
        self.liveness = None;
        let verdict = self.tempered(cause.verdict(), useful);
        self.outputs.push_back(Output::LineEnded {
            cause: cause.clone(),
            verdict: verdict.clone(),
        });
        if self.shutdown {
            return self.stop(Stop::Requested);
        }
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
            Verdict::Stop(stop) => {
                if stop.credentials_dead() && self.paired {
                    self.paired = false;
                    self.outputs.push_back(Output::Quarantine(stop));
                }
                self.stop(stop);
            }
        }
    }

    /// What we decided wins over what the wire shows of it; an unused pairing line is no fault of the path.
    fn cause_of(&mut self, seen: Cause, pairing: bool) -> Cause {
        match self.closing.take() {
            Some(Cause::LoginTimeout) if pairing => Cause::PairingEnded,
            Some(ours) => ours,
            None if pairing && self.just_paired => Cause::RestartRequired,
            None => seen,
        }
    }

    /// "At once" is for a line that was useful, or for the restart after pairing; otherwise a server that recycles every
    /// line at login would be stormed.
    fn tempered(&self, verdict: Verdict, useful: bool) -> Verdict {
        match verdict {
            Verdict::RedialNow if !useful && !self.just_paired => Verdict::BackOff,
            other => other,
        }
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

    fn path_changed(&mut self, now: Instant) {
        if let (State::Waiting { .. }, Some((_, Reason::Redial))) = (&self.state, self.deadline) {
            self.backoff.proved_useful();
            self.dial(now, !self.paired);
        }
    }

    fn stop(&mut self, stop: Stop) {
        self.state = State::Stopped(stop);
        self.deadline = None;
        self.useful_at = None;
        self.liveness = None;
    }
}
