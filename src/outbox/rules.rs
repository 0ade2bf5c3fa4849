//! What the owner wants done with the alerts of each route.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp as Moment, Zoned};

use super::age::CLOCK_UNSET_BEFORE;
use super::group::Group;
use super::pace::Pace;
use super::quiet::Quiet;
use super::record::Timestamp;
use crate::alert::{FallbackName, LATE_AFTER, Priority, RouteName};

/// A route says alerts again until somebody acknowledges them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeat {
    /// After the one before.
    pub every: Duration,
    /// How often at the most.
    pub times: u16,
    /// Those that are at least as urgent as this.
    pub from: Priority,
}

/// A route tells another one of what nobody acknowledges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalate {
    /// After it was accepted.
    pub after: Duration,
    pub to: RouteName,
    /// What is at least as urgent as this.
    pub from: Priority,
}

/// What the owner wants of one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRules {
    /// What is not sent within this time expires. `None`: it waits for ever.
    pub ttl: Option<Duration>,
    /// What is older than this when it goes out says when it was accepted. `None`: it never does.
    pub mark_late: Option<Duration>,
    pub group: Option<Group>,
    pub quiet: Option<Quiet>,
    pub pace: Option<Pace>,
    pub repeat: Option<Repeat>,
    pub escalate: Option<Escalate>,
    /// `None`: it has no second path.
    pub fallback: Option<FallbackRules>,
}

/// The second path of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FallbackRules {
    /// What is older than this and not sent goes there, and so does what comes while its session has been down for so
    /// long.
    pub after: Duration,
    /// All of them get it.
    pub to: Vec<FallbackName>,
    /// WhatsApp gets it all the same.
    pub both: bool,
}

impl Default for RouteRules {
    fn default() -> Self {
        Self {
            ttl: None,
            mark_late: Some(LATE_AFTER),
            group: None,
            quiet: None,
            pace: None,
            fallback: None,
            repeat: None,
            escalate: None,
        }
    }
}

/// What the owner wants of all routes.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Routes that are not in it have the default ones; so alerts of a route that is configured no more do.
    pub routes: BTreeMap<RouteName, RouteRules>,
    /// In which texts say the time.
    pub time_zone: TimeZone,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            routes: BTreeMap::new(),
            time_zone: TimeZone::UTC,
        }
    }
}

impl Rules {
    pub(super) fn fallback_of(&self, route: &RouteName) -> Option<FallbackRules> {
        self.routes.get(route)?.fallback.clone()
    }

    /// After how long an alert on `route` is late.
    pub(super) fn mark_late(&self, route: &RouteName) -> Option<Duration> {
        self.routes.get(route).map_or(Some(LATE_AFTER), |rules| rules.mark_late)
    }

    /// How long an alert on `route` may wait whose sender gave it `own`.
    pub(super) fn ttl(&self, route: &RouteName, own: Option<Duration>) -> Option<Duration> {
        let route = self.routes.get(route).and_then(|rules| rules.ttl);
        route.into_iter().chain(own).min()
    }

    /// The line for an alert that is late.
    pub(super) fn raised(&self, accepted_at: Timestamp) -> String {
        match self.local(accepted_at) {
            Some(local) => format!("raised {}", local.strftime("%-d %b %H:%M")),
            None => "raised earlier, before the clock was set".to_owned(),
        }
    }

    /// A moment within a sentence; with its day where that is not today's.
    pub(super) fn moment(&self, at: Timestamp, now: Timestamp) -> String {
        match (self.local(at), self.local(now)) {
            (Some(at), Some(now)) if at.date() == now.date() => at.strftime("%H:%M").to_string(),
            (Some(at), _) => at.strftime("%-d %b %H:%M").to_string(),
            (None, _) => "a time before the clock was set".to_owned(),
        }
    }

    /// `None`: the clock was not set then.
    fn local(&self, at: Timestamp) -> Option<Zoned> {
        let moment = i64::try_from(at.0)
            .ok()
            .and_then(|ms| Moment::from_millisecond(ms).ok());
        let moment = moment.filter(|_| at >= CLOCK_UNSET_BEFORE)?;
        Some(moment.to_zoned(self.time_zone.clone()))
    }
}
