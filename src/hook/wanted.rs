//! Which entries of the journal somebody wants, by the words of its events.

use std::fmt;
use std::str::FromStr;

use crate::alert::{RouteName, SessionName};
use crate::outbox::TransitionKind;

/// Events that are no alert's.
const OTHERS: [&str; 5] = ["recorded", "online", "offline", "needs-person", "paired"];

/// What an entry of the journal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Alert,
    /// A received message.
    Message,
    Session,
}

impl Of {
    /// The word for all events of this kind.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Message => "message",
            Self::Session => "session",
        }
    }
}

/// A word for events: for all of a kind, or for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    All(Of),
    /// By its name, as `failed`.
    Named(String),
}

/// The word is no kind and no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no event; expected alert, message, session, or the name of an event, as acknowledged or failed")]
pub struct EventKindError(String);

impl EventKind {
    /// Whether it stands for the event of this name.
    pub fn takes(&self, name: &str, of: Of) -> bool {
        match self {
            Self::All(kind) => *kind == of,
            Self::Named(named) => named == name,
        }
    }

    /// Whether it may stand for events about sessions.
    pub fn takes_sessions(&self) -> bool {
        match self {
            Self::All(kind) => *kind == Of::Session,
            Self::Named(name) => OTHERS[1..].contains(&name.as_str()),
        }
    }
}

impl FromStr for EventKind {
    type Err = EventKindError;

    fn from_str(text: &str) -> Result<Self, EventKindError> {
        let kinds = [Of::Alert, Of::Message, Of::Session];
        if let Some(kind) = kinds.into_iter().find(|kind| kind.name() == text) {
            return Ok(Self::All(kind));
        }
        let is_event = OTHERS.contains(&text) || TransitionKind::ALL.iter().any(|what| what.name() == text);
        match is_event {
            true => Ok(Self::Named(text.to_owned())),
            false => Err(EventKindError(text[..text.floor_char_boundary(64)].to_owned())),
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All(kind) => kind.name(),
            Self::Named(name) => name,
        })
    }
}

/// What is looked at of an entry.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The event's name.
    pub name: &'a str,
    pub of: Of,
    pub session: &'a str,
    /// An alert's route.
    pub route: Option<&'a str>,
}

/// What a hook is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// At least one.
    pub kinds: Vec<EventKind>,
    /// Events of these sessions alone; empty: of all.
    pub sessions: Vec<SessionName>,
    /// Alerts of these routes alone; empty: of all. What is no alert's is not asked for its route.
    pub routes: Vec<RouteName>,
}

impl Wanted {
    /// Whether the hook is told of it.
    pub fn takes(&self, facts: &Facts<'_>) -> bool {
        let is_named = |route: &str| self.routes.iter().any(|name| name.as_str() == route);
        self.kinds.iter().any(|kind| kind.takes(facts.name, facts.of))
            && (self.sessions.is_empty() || self.sessions.iter().any(|name| name.as_str() == facts.session))
            && (self.routes.is_empty() || facts.route.is_none_or(is_named))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: Facts<'_> = Facts {
        name: "sent",
        of: Of::Alert,
        session: "default",
        route: Some("family"),
    };
    const RECORDED: Facts<'_> = Facts {
        name: "recorded",
        of: Of::Message,
        session: "default",
        route: None,
    };
    const ONLINE: Facts<'_> = Facts {
        name: "online",
        of: Of::Session,
        session: "second",
        route: None,
    };

    fn wanted(kinds: &[&str], sessions: &[&str], routes: &[&str]) -> Wanted {
        Wanted {
            kinds: kinds.iter().map(|word| word.parse().unwrap()).collect(),
            sessions: sessions.iter().map(|name| name.parse().unwrap()).collect(),
            routes: routes.iter().map(|name| name.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn a_hook_takes_what_it_names() {
        for (wanted, expected) in [
            (wanted(&["alert"], &[], &[]), [true, false, false]),
            (wanted(&["message"], &[], &[]), [false, true, false]),
            (wanted(&["session"], &[], &[]), [false, false, true]),
            (wanted(&["recorded", "sent"], &[], &[]), [true, true, false]),
            (wanted(&["failed"], &[], &[]), [false, false, false]),
            (wanted(&["alert", "message"], &[], &["ops"]), [false, true, false]),
            (wanted(&["alert", "session"], &["second"], &[]), [false, false, true]),
            (wanted(&[], &[], &[]), [false, false, false]),
        ] {
            let takes = [SENT, RECORDED, ONLINE].map(|facts| wanted.takes(&facts));
            assert_eq!(takes, expected, "{wanted:?}");
        }
    }

    #[test]
    fn words_are_written_back_as_they_were_read() {
        for word in [
            "alert",
            "message",
            "session",
            "acknowledged",
            "needs-person",
            "recorded",
        ] {
            assert_eq!(word.parse::<EventKind>().unwrap().to_string(), word);
        }
        for word in ["", "alerts", "Alert", "acked", &"x".repeat(1000)] {
            let error = word.parse::<EventKind>().unwrap_err().to_string();
            assert!(error.contains("expected") && error.len() < 250, "{error}");
        }
        let sessions = ["session", "paired", "recorded", "alert"].map(|word| word.parse::<EventKind>().unwrap());
        let takes: Vec<bool> = sessions.iter().map(EventKind::takes_sessions).collect();
        assert_eq!(takes, [true, true, false, false]);
    }
}
