//! What a route does between an alert and its messages, and with the answers to them: `group`, `quiet`, `pace`,
//! `flapping`, `repeat`, `escalate`, `ack_from`, `ack_words`.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::civil::Time;
use toml::de::DeTable;

use super::reader::{At, Reader, Value};
use super::route::SPAN_MAX;
use super::sorted;
use crate::alert::{Priority, Recipient};
use crate::outbox::{Escalate, Flapping, Group, Pace, Quiet, Repeat, Then, fold_word};

const KEYS_GROUP: &[&str] = &["by", "wait", "interval", "max"];
const KEYS_QUIET: &[&str] = &["from", "to", "below", "then"];
const KEYS_PACE: &[&str] = &["per_minute", "burst"];
const KEYS_FLAPPING: &[&str] = &["turns", "within"];
const KEYS_REPEAT: &[&str] = &["every", "times", "from"];
const KEYS_ESCALATE: &[&str] = &["after", "to", "from"];

/// Labels to group by, and characters of the name of one.
const BY_MAX: usize = 16;
const BY_CHARS_MAX: usize = 64;

const INTERVAL_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// More lines than anybody reads in a chat.
const LINES_DEFAULT: u16 = 20;
const LINES_MAX: u64 = 100;

/// Far more than WhatsApp lets an account send for long.
const PER_MINUTE_MAX: u64 = 600;
const BURST_DEFAULT: u32 = 10;
const BURST_MAX: u64 = 1000;

/// Words that acknowledge, and characters of one: what a person types with a thumb.
const WORDS_MAX: usize = 16;
const WORD_CHARS_MAX: usize = 32;

/// What turns once is news, and what turns twice has come back.
const TURNS: RangeInclusive<u64> = 2..=100;

/// Nobody answers the hundredth who has not answered one before.
const TIMES_MAX: u64 = 100;

impl Reader<'_> {
    pub(super) fn group(&mut self, key: &str, value: Value) -> Option<At<Group>> {
        let table = self.table(
            key,
            value,
            KEYS_GROUP,
            "{ by = [\"alertname\"], wait = \"0s\", interval = \"5m\", max = 20 }",
        )?;
        let before = self.faults.len();
        let by = table.get("by").and_then(|by| self.labels(&format!("{key}.by"), by));
        let wait = table
            .get("wait")
            .and_then(|wait| self.span_in(&format!("{key}.wait"), wait, Duration::ZERO..=SPAN_MAX));
        let interval_key = format!("{key}.interval");
        let interval = match table.get("interval") {
            Some(given) if given.get_ref().as_str().map(humantime::parse_duration) == Some(Ok(Duration::ZERO)) => {
                let text = "is zero, and then nothing is ever grouped; expected a time like \"5m\", or no group";
                self.fault(&interval_key, given.span(), text);
                None
            }
            Some(given) => self.span(&interval_key, given).map(|interval| interval.value),
            None => None,
        };
        let max = self.count(key, table, "max", 1..=LINES_MAX);
        let group = Group {
            by: by.unwrap_or_default(),
            wait: wait.unwrap_or_default(),
            interval: interval.unwrap_or(INTERVAL_DEFAULT),
            max: max.and_then(|max| u16::try_from(max).ok()).unwrap_or(LINES_DEFAULT),
        };
        (self.faults.len() == before).then(|| self.at(group, &value.span()))
    }

    pub(super) fn quiet(&mut self, key: &str, value: Value) -> Option<At<Quiet>> {
        let expected = "{ from = \"22:30\", to = \"06:30\", below = \"high\", then = \"digest\" }";
        let table = self.table(key, value, KEYS_QUIET, expected)?;
        let before = self.faults.len();
        let from = self.time(key, value, table, "from");
        let to = self.time(key, value, table, "to");
        if let (Some(from), Some(to), Some(given)) = (from, to, table.get("to"))
            && from == to
        {
            let text = "is the same as from: nobody knows whether that is all day or never; expected another time";
            self.fault(&format!("{key}.to"), given.span(), text);
        }
        let below = table.get("below").and_then(|given| {
            let below = self.parsed::<Priority>(&format!("{key}.below"), given, "a priority like \"high\"")?;
            if below.value == Priority::Min {
                let text = "is min, and nothing is less urgent than that; expected low, default, high or max";
                self.fault(&format!("{key}.below"), given.span(), text);
            }
            Some(below.value)
        });
        let then = match table.get("then").map(|given| (given, given.get_ref().as_str())) {
            None | Some((_, Some("digest"))) => Then::Digest,
            Some((_, Some("drop"))) => Then::Drop,
            Some((given, Some(other))) => {
                let text = format!("{other:?} is neither; expected \"digest\" or \"drop\"");
                self.fault(&format!("{key}.then"), given.span(), text);
                Then::Digest
            }
            Some((given, None)) => {
                self.wrong_type(&format!("{key}.then"), given, "\"digest\" or \"drop\"");
                Then::Digest
            }
        };
        let quiet = Quiet {
            from: from?,
            to: to?,
            below: below.unwrap_or(Priority::High),
            then,
        };
        (self.faults.len() == before).then(|| self.at(quiet, &value.span()))
    }

    pub(super) fn pace(&mut self, key: &str, value: Value) -> Option<At<Pace>> {
        let table = self.table(key, value, KEYS_PACE, "{ per_minute = 20, burst = 10 }")?;
        let before = self.faults.len();
        if !table.contains_key("per_minute") {
            let text = "is missing; expected how many messages may go out in a minute";
            self.fault(&format!("{key}.per_minute"), value.span(), text);
        }
        let per_minute = self.count(key, table, "per_minute", 1..=PER_MINUTE_MAX);
        let burst = self.count(key, table, "burst", 1..=BURST_MAX);
        let number = |count: Option<u64>| count.and_then(|count| u32::try_from(count).ok());
        let pace = Pace {
            per_minute: number(per_minute).unwrap_or(1),
            burst: number(burst).unwrap_or(BURST_DEFAULT),
        };
        (self.faults.len() == before).then(|| self.at(pace, &value.span()))
    }

    /// `off`, or when something turns too often.
    pub(super) fn flapping(&mut self, key: &str, value: Value) -> Option<At<Option<Flapping>>> {
        if value.get_ref().as_str() == Some("off") {
            return Some(self.at(None, &value.span()));
        }
        let expected = "{ turns = 3, within = \"10m\" }, or \"off\"";
        let table = self.table(key, value, KEYS_FLAPPING, expected)?;
        let before = self.faults.len();
        let turns = self.count(key, table, "turns", TURNS);
        let within = table
            .get("within")
            .and_then(|within| self.span(&format!("{key}.within"), within));
        let flapping = Flapping {
            turns: turns
                .and_then(|turns| u16::try_from(turns).ok())
                .unwrap_or(Flapping::DEFAULT.turns),
            within: within.map_or(Flapping::DEFAULT.within, |within| within.value),
        };
        (self.faults.len() == before).then(|| self.at(Some(flapping), &value.span()))
    }

    pub(super) fn repeat(&mut self, key: &str, value: Value) -> Option<At<Repeat>> {
        let expected = "{ every = \"10m\", times = 3, from = \"max\" }";
        let table = self.table(key, value, KEYS_REPEAT, expected)?;
        let before = self.faults.len();
        let every = self.span_there(key, value, table, "every");
        if !table.contains_key("times") {
            let text = "is missing: it would never end; expected how often it is repeated";
            self.fault(&format!("{key}.times"), value.span(), text);
        }
        let times = self.count(key, table, "times", 1..=TIMES_MAX);
        let from = self.priority(key, table, "from");
        let repeat = Repeat {
            every: every?,
            times: u16::try_from(times?).ok()?,
            from: from.unwrap_or(Priority::Max),
        };
        (self.faults.len() == before).then(|| self.at(repeat, &value.span()))
    }

    /// `repeated_from` is what the route says of repetitions: the same alerts are meant where nothing else is said.
    pub(super) fn escalate(
        &mut self,
        key: &str,
        value: Value,
        repeated_from: Option<Priority>,
    ) -> Option<At<Escalate>> {
        let table = self.table(key, value, KEYS_ESCALATE, "{ after = \"30m\", to = \"oncall\" }")?;
        let before = self.faults.len();
        let after = self.span_there(key, value, table, "after");
        let to = match table.get("to") {
            Some(to) => self.parsed(&format!("{key}.to"), to, "the name of another route"),
            None => {
                let text = "is missing; expected the name of another route";
                self.fault(&format!("{key}.to"), value.span(), text);
                None
            }
        };
        let from = self.priority(key, table, "from");
        let escalate = Escalate {
            after: after?,
            to: to?.value,
            from: from.or(repeated_from).unwrap_or(Priority::High),
        };
        (self.faults.len() == before).then(|| self.at(escalate, &value.span()))
    }

    /// Whose answers acknowledge alerts. `to` is who gets them: a group that does not cannot answer.
    pub(super) fn ack_from(
        &mut self,
        key: &str,
        value: Value,
        to: Option<&At<Vec<Recipient>>>,
    ) -> Option<At<Vec<Recipient>>> {
        let before = self.faults.len();
        let from = self.recipients(key, value)?;
        let items = value.get_ref().as_array().into_iter().flatten();
        for ((index, recipient), item) in from.value.iter().enumerate().zip(items) {
            let is_strange = to.is_some_and(|to| !to.value.contains(recipient));
            if matches!(recipient, Recipient::Group(_)) && is_strange {
                let text = "is a group that the route does not send to; expected one of its to, or a person";
                self.fault(&format!("{key}[{index}]"), item.span(), text);
            }
        }
        (self.faults.len() == before).then_some(from)
    }

    /// Words that acknowledge an alert; there may be none.
    pub(super) fn ack_words(&mut self, key: &str, value: Value) -> Option<At<Vec<String>>> {
        let expected = "a list like [\"ok\", \"seen\"] of short words";
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, expected);
            return None;
        };
        let before = self.faults.len();
        if array.len() > WORDS_MAX {
            let text = format!("has more than {WORDS_MAX} words; expected {expected}");
            self.fault(key, value.span(), text);
        }
        let mut words = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let key = format!("{key}[{index}]");
            let Some(written) = item.get_ref().as_str() else {
                self.wrong_type(&key, item, "a short word");
                continue;
            };
            let word = fold_word(written);
            if word.is_empty() || written.chars().nth(WORD_CHARS_MAX).is_some() {
                let text = format!(
                    "{written:?} says nothing, or has more than {WORD_CHARS_MAX} characters; expected a short word"
                );
                self.fault(&key, item.span(), text);
            } else if words.contains(&word) {
                let text = "is the same word again, without its case and the signs at its end; expected each once";
                self.fault(&key, item.span(), text);
            } else {
                words.push(word);
            }
        }
        (self.faults.len() == before).then(|| self.at(words, &value.span()))
    }

    /// Where routes escalate to: to others that there are, and never back. `tables` are the sections with their keys.
    pub(super) fn escalations(&mut self, tables: &[(String, &DeTable)], names: &HashSet<String>) {
        let text = |table: &DeTable, path: &[&str]| {
            let mut value = table.get(path[0])?;
            for name in &path[1..] {
                value = value.get_ref().as_table()?.get(*name)?;
            }
            Some((value.get_ref().as_str()?.to_owned(), value.span()))
        };
        let leads = tables.iter().filter_map(|(key, table)| {
            let (name, _) = text(table, &["name"])?;
            let (to, span) = text(table, &["escalate", "to"])?;
            Some((format!("{key}.escalate.to"), name, to, span))
        });
        let leads: Vec<_> = leads.collect();
        let next: HashMap<&str, &str> = leads
            .iter()
            .map(|(_, name, to, _)| (name.as_str(), to.as_str()))
            .collect();
        for (key, name, to, span) in &leads {
            if !names.contains(to) {
                let text = format!("no route is named {to:?}; expected one of {}", sorted(names));
                self.fault(key, span.clone(), text);
                continue;
            }
            let mut way = vec![name.as_str(), to.as_str()];
            while let Some(onward) = way.last().and_then(|last| next.get(last))
                && way.last() != Some(&name.as_str())
                && way.len() <= leads.len() + 1
            {
                way.push(onward);
            }
            if way.last() == Some(&name.as_str()) {
                let text = match way.len() {
                    2 => "is the route itself; expected another one".to_owned(),
                    _ => format!("leads back: {}; expected a way that ends", way.join(" → ")),
                };
                self.fault(key, span.clone(), text);
            }
        }
    }

    fn span_there(&mut self, key: &str, whole: Value, table: &DeTable, name: &str) -> Option<Duration> {
        let key = format!("{key}.{name}");
        match table.get(name) {
            Some(value) => self.span(&key, value).map(|span| span.value),
            None => {
                self.fault(&key, whole.span(), "is missing; expected a time like \"10m\"");
                None
            }
        }
    }

    fn priority(&mut self, key: &str, table: &DeTable, name: &str) -> Option<Priority> {
        let value = table.get(name)?;
        let priority = self.parsed(&format!("{key}.{name}"), value, "a priority like \"high\"")?;
        Some(priority.value)
    }

    /// A table with some of these keys.
    fn table<'t, 'i>(
        &mut self,
        key: &str,
        value: Value<'t, 'i>,
        keys: &[&str],
        expected: &str,
    ) -> Option<&'t DeTable<'i>> {
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(key, value, expected);
            return None;
        };
        self.look_for_unknown(key, table, keys);
        Some(table)
    }

    fn labels(&mut self, key: &str, value: Value) -> Option<Vec<String>> {
        let expected = "a list like [\"alertname\"] of labels, or title, tags, sender, priority";
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, expected);
            return None;
        };
        if array.len() > BY_MAX {
            self.fault(
                key,
                value.span(),
                format!("has more than {BY_MAX} names; expected {expected}"),
            );
            return None;
        }
        let mut names = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let key = format!("{key}[{index}]");
            match item.get_ref().as_str() {
                Some(name) if (1..=BY_CHARS_MAX).contains(&name.chars().count()) => names.push(name.to_owned()),
                Some(_) => {
                    let text =
                        format!("is empty or longer than {BY_CHARS_MAX} characters; expected the name of a label");
                    self.fault(&key, item.span(), text);
                }
                None => self.wrong_type(&key, item, "the name of a label"),
            }
        }
        Some(names)
    }

    /// A time of day; it must be there.
    fn time(&mut self, key: &str, whole: Value, table: &DeTable, name: &str) -> Option<Time> {
        let expected = "a time of day like \"22:30\"";
        let key = format!("{key}.{name}");
        let Some(value) = table.get(name) else {
            self.fault(&key, whole.span(), format!("is missing; expected {expected}"));
            return None;
        };
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(&key, value, expected);
            return None;
        };
        // Nothing else that a library may take for a time.
        let of_minutes = || {
            let (hours, minutes) = text.split_once(':')?;
            let number = |text: &str| text.parse().ok().filter(|_| text.len() == 2);
            Time::new(number(hours)?, number(minutes)?, 0, 0).ok()
        };
        let time = of_minutes();
        if time.is_none() {
            self.fault(
                &key,
                value.span(),
                format!("{text:?} is no time of day; expected {expected}"),
            );
        }
        time
    }

    /// A whole number under `name`.
    fn count(&mut self, key: &str, table: &DeTable, name: &str, within: RangeInclusive<u64>) -> Option<u64> {
        let value = table.get(name)?;
        let key = format!("{key}.{name}");
        let (least, most) = (within.start(), within.end());
        let expected = format!("a number from {least} to {most}");
        let Some(given) = value.get_ref().as_integer() else {
            self.wrong_type(&key, value, &expected);
            return None;
        };
        let number = u64::from_str_radix(given.as_str(), given.radix()).ok();
        let number = number.filter(|number| within.contains(number));
        if number.is_none() {
            self.fault(&key, value.span(), format!("is out of bounds; expected {expected}"));
        }
        number
    }
}
