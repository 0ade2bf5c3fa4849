//! What the owner wants done with the alerts of each route.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp as Moment, Zoned};

use super::age::CLOCK_UNSET_BEFORE;
use super::flapping::Flapping;
use super::group::Group;
use super::pace::Pace;
use super::quiet::Quiet;
use super::record::Timestamp;
use crate::alert::{FallbackName, LATE_AFTER, Priority, Recipient, RouteName};

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

/// Which answers in a chat acknowledge the alerts of a route, beside every reaction on one and every reply that quotes
/// one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckRules {
    /// Whose answers count, and those of all in which groups. `None`: those of everybody who gets the alerts.
    pub from: Option<Vec<Recipient>>,
    /// Words that mean it without a quote, [folded](fold_word). Empty: none does.
    pub words: Vec<String>,
}

impl Default for AckRules {
    fn default() -> Self {
        Self {
            from: None,
            words: ACK_WORDS.map(str::to_owned).into(),
        }
    }
}

/// The words that acknowledge where nothing else is said.
const ACK_WORDS: [&str; 3] = ["ok", "okay", "👍"];

/// A word as it is compared: in lower case, without what stands around it, the signs at its end, or the tone of an
/// emoji. Empty where nothing is left.
pub fn fold_word(word: &str) -> String {
    let is_end = |letter: char| letter.is_whitespace() || matches!(letter, '.' | ',' | '!' | '?' | '…' | ';' | ':');
    let tone = |letter: &char| matches!(letter, '\u{fe0e}' | '\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}');
    let word = word.trim().trim_end_matches(is_end);
    word.chars()
        .filter(|letter| !tone(letter))
        .flat_map(char::to_lowercase)
        .collect()
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
    /// `None`: whatever turns is told of each time.
    pub flapping: Option<Flapping>,
    pub repeat: Option<Repeat>,
    pub escalate: Option<Escalate>,
    pub acks: AckRules,
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
            flapping: Some(Flapping::DEFAULT),
            fallback: None,
            repeat: None,
            escalate: None,
            acks: AckRules::default(),
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
    /// Whether this word, [folded](fold_word), acknowledges alerts on `route`.
    pub(super) fn is_ack_word(&self, route: &RouteName, word: &str) -> bool {
        match self.routes.get(route) {
            Some(rules) => rules.acks.words.iter().any(|known| known == word),
            None => ACK_WORDS.contains(&word),
        }
    }

    /// Whose answers acknowledge alerts on `route`. `None`: those of everybody who gets them.
    pub(super) fn ack_from(&self, route: &RouteName) -> Option<&[Recipient]> {
        self.routes.get(route)?.acks.from.as_deref()
    }

    pub(super) fn fallback_of(&self, route: &RouteName) -> Option<FallbackRules> {
        self.routes.get(route)?.fallback.clone()
    }

    /// After how long an alert on `route` is late.
    pub(super) fn mark_late(&self, route: &RouteName) -> Option<Duration> {
        self.routes.get(route).map_or(Some(LATE_AFTER), |rules| rules.mark_late)
    }

    /// When something flaps that alerts on `route` are about.
    pub(super) fn flapping(&self, route: &RouteName) -> Option<Flapping> {
        self.routes
            .get(route)
            .map_or(Some(Flapping::DEFAULT), |rules| rules.flapping)
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
