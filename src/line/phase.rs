//! Where a session stands, each state with what it needs and nothing else.

use std::time::Instant;

use super::acks::Acks;
use super::liveness::Liveness;
use super::record::Around;
use super::timer::{Deadline, Reason, earliest};
use super::undecoded::Undecoded;
use super::{Cause, State, Stop};

#[derive(Debug)]
pub(super) enum Phase {
    /// Before the start.
    Idle,
    /// A line is open, or being opened or closed.
    Line(Line),
    Waiting(Waiting),
    Stopped(Stop),
}

/// A pause.
#[derive(Debug)]
pub(super) struct Waiting {
    /// What made it necessary.
    pub(super) after: Cause,
    pub(super) until: Instant,
    pub(super) why: Pause,
}

/// What ends a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    Redial,
    Hold,
    /// A hold of an earlier run, which at `check_at` is compared with the wall clock.
    EarlierHold {
        check_at: Instant,
    },
    StormBrake,
    Clock,
}

impl From<Pause> for Reason {
    fn from(pause: Pause) -> Self {
        match pause {
            Pause::Redial => Self::Redial,
            Pause::Hold | Pause::EarlierHold { .. } => Self::Hold,
            Pause::StormBrake => Self::StormBrake,
            Pause::Clock => Self::Clock,
        }
    }
}

/// One attempt and the line that it becomes.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) began: Instant,
    pub(super) stage: Stage,
    /// Since we broke it; `None` while it may live.
    pub(super) closing: Option<Closing>,
    pub(super) acks: Acks,
    pub(super) undecoded: Undecoded,
    pub(super) around: Around,
}

#[derive(Debug)]
pub(super) enum Stage {
    Connecting(Connecting),
    Online(Box<Online>),
}

#[derive(Debug)]
pub(super) struct Connecting {
    pub(super) pairing: bool,
    pub(super) login_by: Instant,
}

#[derive(Debug)]
pub(super) struct Online {
    /// The login.
    pub(super) since: Instant,
    /// When to see whether it has proved useful; `None` once it has.
    pub(super) useful_at: Option<Instant>,
    pub(super) liveness: Liveness,
}

/// We broke the line, and it is not gone yet.
#[derive(Debug)]
pub(super) struct Closing {
    /// Our reason, which wins over what the wire shows afterwards.
    pub(super) cause: Cause,
    /// When the library's client is given up with it.
    pub(super) gone_by: Instant,
}

impl Waiting {
    fn end(&self) -> Deadline {
        (self.until, self.why.into())
    }

    fn check(&self) -> Option<Deadline> {
        match self.why {
            Pause::EarlierHold { check_at } => Some((check_at, Reason::HoldCheck)),
            Pause::Redial | Pause::Hold | Pause::StormBrake | Pause::Clock => None,
        }
    }
}

impl Line {
    pub(super) fn pairing(&self) -> bool {
        matches!(self.stage, Stage::Connecting(Connecting { pairing: true, .. }))
    }

    /// What it is once logged in, also while it is being closed.
    pub(super) fn online(&self) -> Option<&Online> {
        match &self.stage {
            Stage::Connecting(_) => None,
            Stage::Online(online) => Some(online),
        }
    }

    /// The line that is up. Nothing more is asked of one that is being closed.
    pub(super) fn alive(&mut self) -> Option<&mut Online> {
        match &mut self.stage {
            Stage::Online(online) if self.closing.is_none() => Some(online),
            Stage::Online(_) | Stage::Connecting(_) => None,
        }
    }

    fn timeout(&self) -> Option<Deadline> {
        if let Some(closing) = &self.closing {
            return Some((closing.gone_by, Reason::Close));
        }
        let undecoded = self.undecoded.timeout().map(|at| (at, Reason::Decode));
        match &self.stage {
            Stage::Connecting(connecting) => earliest([Some((connecting.login_by, Reason::Login)), undecoded]),
            Stage::Online(online) => earliest([
                online.useful_at.map(|at| (at, Reason::Useful)),
                Some(online.liveness.timeout()),
                self.acks.timeout().map(|at| (at, Reason::OwedAck)),
                undecoded,
            ]),
        }
    }
}

impl Phase {
    /// The earliest deadline that stands.
    pub(super) fn timeout(&self) -> Option<Deadline> {
        match self {
            Self::Idle | Self::Stopped(_) => None,
            Self::Line(line) => line.timeout(),
            Self::Waiting(waiting) => earliest([Some(waiting.end()), waiting.check()]),
        }
    }

    /// The deadline that a person waits for: as [`timeout`](Self::timeout), but in a pause its end, whatever is looked
    /// at before.
    pub(super) fn shown_timeout(&self) -> Option<Deadline> {
        match self {
            Self::Waiting(waiting) => Some(waiting.end()),
            Self::Idle | Self::Line(_) | Self::Stopped(_) => self.timeout(),
        }
    }

    /// As others see it.
    pub(super) fn view(&self) -> State {
        match self {
            Self::Idle => State::Idle,
            Self::Line(line) => match &line.stage {
                Stage::Connecting(Connecting { pairing, .. }) => State::Connecting { pairing: *pairing },
                Stage::Online(_) => State::Online,
            },
            Self::Waiting(waiting) => State::Waiting {
                after: waiting.after.clone(),
            },
            Self::Stopped(stop) => State::Stopped(*stop),
        }
    }

    pub(super) fn line(&mut self) -> Option<&mut Line> {
        match self {
            Self::Line(line) => Some(line),
            Self::Idle | Self::Waiting(_) | Self::Stopped(_) => None,
        }
    }
}
