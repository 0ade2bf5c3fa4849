//! All layers together never send more than the board's budget, whatever becomes of the lines in between.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Schedule;

const HOUR: Duration = Duration::from_secs(3600);

/// What is sent on a schedule of its own, and is never refused as long as it keeps that, also from one line to the
/// next: detection stands on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planned {
    spacing: Duration,
    /// `None`: none was sent yet.
    last: Option<Instant>,
}

impl Planned {
    fn new(spacing: Duration) -> Self {
        Self {
            spacing: spacing.max(Duration::from_secs(1)),
            last: None,
        }
    }

    /// When the next one may go, not before `at`.
    fn at(&self, at: Instant) -> Instant {
        self.last.map_or(at, |last| at.max(last + self.spacing))
    }

    /// How many an hour can hold; one that begins and ends with one included.
    fn per_hour(&self) -> u128 {
        HOUR.as_millis().div_ceil(self.spacing.as_millis()) + 1
    }
}

/// What of the budget is used up.
#[derive(Debug)]
pub(super) struct Budget {
    ping: Planned,
    presence: Planned,
    probe: Planned,
    others_max: usize,
    /// When something else went out in the last hour, oldest first; at most `others_max`.
    others: VecDeque<Instant>,
}

impl Budget {
    pub(super) fn new(schedule: &Schedule) -> Self {
        let application = &schedule.application;
        let ping = Planned::new(application.ping_min);
        let presence = Planned::new(application.presence);
        let probe = Planned::new(application.probe);
        let planned = ping.per_hour() + presence.per_hour() + probe.per_hour();
        let others_max = u128::from(schedule.budget_per_hour).saturating_sub(planned);
        Self {
            ping,
            presence,
            probe,
            others_max: usize::try_from(others_max).unwrap_or(usize::MAX),
            others: VecDeque::new(),
        }
    }

    /// An application ping. It waits rather than take from what is left for the others.
    ///
    /// # Errors
    /// Too early; the instant at which it is not.
    pub(super) fn ping(&mut self, now: Instant) -> Result<(), Instant> {
        match self.ping.at(now) {
            at if at > now => Err(at),
            _ => {
                self.ping.last = Some(now);
                Ok(())
            }
        }
    }

    /// An application ping that a doubt asks for: it does not wait for its turn as long as something is left for
    /// others.
    ///
    /// # Errors
    /// As for [`presence`](Self::presence).
    pub(super) fn ping_out_of_turn(&mut self, now: Instant) -> Result<(), Instant> {
        let mut planned = self.ping;
        let taken = self.planned_or_other(now, &mut planned);
        self.ping = planned;
        taken
    }

    /// Presence `unavailable`.
    ///
    /// # Errors
    /// Neither planned by now nor anything left; the instant at which either holds.
    pub(super) fn presence(&mut self, now: Instant) -> Result<(), Instant> {
        let mut planned = self.presence;
        let taken = self.planned_or_other(now, &mut planned);
        self.presence = planned;
        taken
    }

    /// A content probe.
    ///
    /// # Errors
    /// As for [`presence`](Self::presence).
    pub(super) fn probe(&mut self, now: Instant) -> Result<(), Instant> {
        let mut planned = self.probe;
        let taken = self.planned_or_other(now, &mut planned);
        self.probe = planned;
        taken
    }

    fn planned_or_other(&mut self, now: Instant, planned: &mut Planned) -> Result<(), Instant> {
        match planned.at(now) {
            at if at > now => self.other(now).map_err(|free| free.min(at)),
            _ => {
                planned.last = Some(now);
                Ok(())
            }
        }
    }

    /// Anything that is on no schedule.
    ///
    /// # Errors
    /// Nothing is left; the instant at which something will be.
    pub(super) fn other(&mut self, now: Instant) -> Result<(), Instant> {
        while self
            .others
            .front()
            .is_some_and(|oldest| now.saturating_duration_since(*oldest) > HOUR)
        {
            self.others.pop_front();
        }
        if self.others.len() < self.others_max {
            self.others.push_back(now);
            return Ok(());
        }
        Err(self.others.front().map_or(now, |oldest| *oldest) + HOUR + Duration::from_millis(1))
    }
}
