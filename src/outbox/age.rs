//! How old an alert or a key is, on a board whose wall clock may not be set.
//!
//! The wall clock dates an alert, where it can be believed. A board without a battery starts in 1970, or at a time that
//! its system was built with, until the network tells it: then an alert seems to be of this moment, or of the future,
//! at every start. What bounds its age is the order of starts. Numbers of alerts only grow, so the number that was next
//! at a start tells what was accepted before it, and the time since boot tells how long ago that was.

use std::time::{Duration, Instant};

use super::Now;
use super::record::Timestamp;
use crate::util::millis;

/// Before this a clock was not set yet (a Pi has no battery for it): the age of what it stamped is not known.
pub const CLOCK_UNSET_BEFORE: Timestamp = Timestamp(1_704_067_200_000); // 2024-01-01

/// Starts of one boot that are closer together count as one, so that a relay that starts again and again keeps a short
/// list. A key may last longer by so much.
const APART: Duration = Duration::from_secs(30 * 60);

/// Starts of this boot are kept for so long: more than any key counts.
const KEPT: Duration = Duration::from_secs(25 * 60 * 60);

/// One start of the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Names the boot of the host.
    pub boot: String,
    /// How long ago that was, sleep included.
    pub uptime: Duration,
    /// What the wall clock showed.
    pub wall: Timestamp,
    /// The number that was the next one: alerts with lower ones were accepted before.
    pub seq: u64,
}

/// What is known of the starts up to this one.
#[derive(Debug, Default)]
pub(super) struct Ages {
    /// In their order, this one last.
    starts: Vec<Start>,
    /// The moment of this one.
    begun: Option<Instant>,
    /// The wall clock shows a time that cannot be: earlier than the start before this boot, and this boot is longer
    /// ago.
    clock_is_wrong: bool,
}

impl Ages {
    pub(super) fn new(now: Now, earlier: Vec<Start>, this: Start) -> Self {
        let is_before = |start: &Start| {
            let restarted = start.boot != this.boot || start.uptime <= this.uptime;
            start.seq <= this.seq && restarted
        };
        let earlier: Vec<Start> = earlier.into_iter().filter(is_before).collect();
        let clock_is_wrong = earlier.iter().filter(|start| start.boot != this.boot).any(|start| {
            let booted_ms = this.wall.0.saturating_sub(millis(this.uptime));
            booted_ms < start.wall.0
        });
        Self {
            starts: thinned(earlier, this),
            begun: Some(now.mono),
            clock_is_wrong,
        }
    }

    pub(super) fn starts(&self) -> &[Start] {
        &self.starts
    }

    /// When `span` is over for the alert numbered `seq`, on the monotonic clock, so that a wall clock that is set later
    /// does not move it.
    pub(super) fn ends(&self, now: Now, seq: u64, accepted_at: Timestamp, span: Duration) -> Instant {
        now.mono + span.saturating_sub(self.age(now, seq, accepted_at).unwrap_or(span))
    }

    /// The same for an alert that waits to be sent. One whose age nobody knows has all of its time before it: sent late
    /// is better than given up for nothing.
    pub(super) fn expires(&self, now: Now, seq: u64, accepted_at: Timestamp, span: Duration) -> Instant {
        let age = self.age(now, seq, accepted_at).unwrap_or_default();
        now.mono + span.saturating_sub(age)
    }

    /// `None`: nobody knows, and it was accepted before the last boot but one. A key of that age counts no more.
    fn age(&self, now: Now, seq: u64, accepted_at: Timestamp) -> Option<Duration> {
        let wall_age = now.wall.0.checked_sub(accepted_at.0).map(Duration::from_millis);
        let wall_age = wall_age.filter(|_| accepted_at >= CLOCK_UNSET_BEFORE && !self.clock_is_wrong);
        let Some(this) = self.starts.last() else {
            return Some(wall_age.unwrap_or_default());
        };
        let uptime = this.uptime
            + self
                .begun
                .map_or(Duration::ZERO, |begun| now.mono.saturating_duration_since(begun));
        let (others, here) = self
            .starts
            .split_at(self.starts.partition_point(|start| start.boot != this.boot));
        let since = |start: &Start| uptime.saturating_sub(start.uptime);
        let (least, most) = match here.iter().rposition(|start| start.seq <= seq) {
            Some(run) => (here.get(run + 1).map_or(Duration::ZERO, since), since(&here[run])),
            None => (here.first().map_or(Duration::ZERO, since), Duration::MAX),
        };
        match wall_age {
            Some(age) => Some(age.clamp(least, most)),
            None if others.first().is_some_and(|start| seq < start.seq) => None,
            None => Some(least),
        }
    }
}

/// Keeps the first and the last start of the boot before this one, and of this one the first and as many as are needed
/// to tell ages.
fn thinned(earlier: Vec<Start>, this: Start) -> Vec<Start> {
    let before = earlier.iter().rfind(|start| start.boot != this.boot);
    let before: Vec<&Start> = match before {
        Some(last) => earlier.iter().filter(|start| start.boot == last.boot).collect(),
        None => Vec::new(),
    };
    let mut starts: Vec<Start> = before.first().into_iter().map(|start| (*start).clone()).collect();
    if let [_, .., last] = before.as_slice() {
        starts.push((*last).clone());
    }
    let other_boots = starts.len();
    for start in earlier
        .into_iter()
        .filter(|start| start.boot == this.boot)
        .chain([this.clone()])
    {
        let is_first = starts.len() == other_boots;
        if !is_first && this.uptime.saturating_sub(start.uptime) > KEPT {
            continue;
        }
        if let [.., from, _] = &starts[other_boots..]
            && start.uptime.saturating_sub(from.uptime) < APART
        {
            starts.pop();
        }
        starts.push(start);
    }
    starts
}
