//! The sections `[[route]]`.

use std::collections::HashSet;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::de::DeTable;

use super::reader::{At, Reader, Value};
use super::{DraftRoute, sorted};
use crate::alert::{Recipient, SessionName};

const KEYS_ROUTE: &[&str] = &[
    "name",
    "session",
    "to",
    "ttl",
    "mark_late",
    "group",
    "quiet",
    "pace",
    "flapping",
    "fallback",
    "repeat",
    "escalate",
    "ack_from",
    "ack_words",
];

/// More than anybody waits, and no time that a clock cannot count to.
pub(super) const SPAN_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

impl Reader<'_> {
    pub(super) fn route(
        &mut self,
        key: &str,
        span: Range<usize>,
        table: &DeTable,
        (sessions, fallbacks): (&HashSet<String>, &HashSet<String>),
        taken: &mut HashSet<String>,
    ) -> Option<DraftRoute> {
        self.look_for_unknown(key, table, KEYS_ROUTE);
        let name = self.name(key, span.clone(), table, taken);
        let session = match table.get("session") {
            Some(value) => self.route_session(&format!("{key}.session"), value, sessions),
            None if sessions.len() > 1 => {
                let text = format!("is missing; expected one of {}", sorted(sessions));
                self.fault(&format!("{key}.session"), span.clone(), text);
                None
            }
            None => None,
        };
        let to = match table.get("to") {
            Some(value) => self.recipients(&format!("{key}.to"), value),
            None => {
                let text = "is missing; expected a list like [\"+15550100\"] of numbers, groups, or me";
                self.fault(&format!("{key}.to"), span, text);
                None
            }
        };
        let ttl = table
            .get("ttl")
            .and_then(|value| self.span(&format!("{key}.ttl"), value));
        let mark_late = table
            .get("mark_late")
            .and_then(|value| self.mark_late(&format!("{key}.mark_late"), value));
        let group = table
            .get("group")
            .and_then(|value| self.group(&format!("{key}.group"), value));
        let quiet = table
            .get("quiet")
            .and_then(|value| self.quiet(&format!("{key}.quiet"), value));
        let pace = table
            .get("pace")
            .and_then(|value| self.pace(&format!("{key}.pace"), value));
        let flapping = table
            .get("flapping")
            .and_then(|value| self.flapping(&format!("{key}.flapping"), value));
        let fallback = table
            .get("fallback")
            .and_then(|value| self.route_fallback(&format!("{key}.fallback"), value, fallbacks));
        let repeat = table
            .get("repeat")
            .and_then(|value| self.repeat(&format!("{key}.repeat"), value));
        let repeated_from = repeat.as_ref().map(|repeat| repeat.value.from);
        let escalate = table
            .get("escalate")
            .and_then(|value| self.escalate(&format!("{key}.escalate"), value, repeated_from));
        let ack_from = table
            .get("ack_from")
            .and_then(|value| self.ack_from(&format!("{key}.ack_from"), value, to.as_ref()));
        let ack_words = table
            .get("ack_words")
            .and_then(|value| self.ack_words(&format!("{key}.ack_words"), value));
        Some(DraftRoute {
            name: name?,
            session,
            to: to?,
            ttl,
            mark_late,
            group,
            quiet,
            pace,
            flapping,
            fallback,
            repeat,
            escalate,
            ack_from,
            ack_words,
        })
    }

    fn route_session(&mut self, key: &str, value: Value, sessions: &HashSet<String>) -> Option<At<SessionName>> {
        let expected = format!("the name of a session: {}", sorted(sessions));
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(key, value, &expected);
            return None;
        };
        if !sessions.contains(text) {
            self.fault(
                key,
                value.span(),
                format!("no session is named {text:?}; expected {expected}"),
            );
            return None;
        }
        let name = text.parse().ok()?;
        Some(self.at(name, &value.span()))
    }

    pub(super) fn recipients(&mut self, key: &str, value: Value) -> Option<At<Vec<Recipient>>> {
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "a list like [\"+15550100\"]");
            return None;
        };
        if array.is_empty() {
            let text = "is empty; expected at least one number, group, or me";
            self.fault(key, value.span(), text);
            return None;
        }
        if !self.bounded(key, value) {
            return None;
        }
        let faults_before = self.faults.len();
        let mut to: Vec<Recipient> = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let key = format!("{key}[{index}]");
            let Some(recipient) = self.parsed::<Recipient>(&key, item, "a string like \"+15550100\"") else {
                continue;
            };
            if to.contains(&recipient.value) {
                let text = "is the same recipient again; expected each once";
                self.fault(&key, item.span(), text);
                continue;
            }
            to.push(recipient.value);
        }
        (self.faults.len() == faults_before).then(|| self.at(to, &value.span()))
    }

    fn mark_late(&mut self, key: &str, value: Value) -> Option<At<Option<Duration>>> {
        if value.get_ref().as_str() == Some("off") {
            return Some(self.at(None, &value.span()));
        }
        let span = self.span(key, value)?;
        Some(At {
            value: Some(span.value),
            line: span.line,
        })
    }

    /// A time from a second to a year.
    pub(super) fn span(&mut self, key: &str, value: Value) -> Option<At<Duration>> {
        let span = self.span_in(key, value, Duration::from_secs(1)..=SPAN_MAX)?;
        Some(self.at(span, &value.span()))
    }

    /// A time within bounds, of which the upper one is a year.
    pub(super) fn span_in(&mut self, key: &str, value: Value, within: RangeInclusive<Duration>) -> Option<Duration> {
        let expected = "a time like \"90s\", \"10m\", \"24h\" or \"7d\"";
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(key, value, expected);
            return None;
        };
        match humantime::parse_duration(text) {
            Ok(span) if within.contains(&span) => Some(span),
            Ok(_) => {
                let least = if within.start().is_zero() { "none" } else { "a second" };
                let text = format!("{text:?} is too short or too long; expected {least} to a year, as {expected}");
                self.fault(key, value.span(), text);
                None
            }
            Err(error) => {
                self.fault(
                    key,
                    value.span(),
                    format!("{text:?} is no time: {error}; expected {expected}"),
                );
                None
            }
        }
    }
}
