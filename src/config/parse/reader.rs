//! What reads values of a file and notes every fault where it stands.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::{Env, Fault, Place};

/// Faults that are told of one file, and unknown keys likewise. Whoever has more has named the wrong file; and finding
/// a place takes time.
pub(super) const FAULTS_MAX: usize = 100;

/// Entries of one list, `[[session]]` and `[[route]]` included: far more than anybody means.
pub(super) const LIST_MAX: usize = 256;

/// A value and the line it stands on.
#[derive(Debug)]
pub(in crate::config) struct At<T> {
    pub value: T,
    pub line: usize,
}

pub(super) struct Reader<'a> {
    pub env: &'a Env,
    pub path: &'a Path,
    pub text: &'a str,
    /// The byte offset each line starts at.
    pub lines: Vec<usize>,
    pub faults: Vec<Fault>,
    pub unknown: Vec<Fault>,
    pub unreadable: Vec<Fault>,
}

pub(super) type Value<'t, 'i> = &'t Spanned<DeValue<'i>>;

impl<'a> Reader<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str, env: &'a Env) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            env,
            path,
            text,
            lines: std::iter::once(0).chain(starts).collect(),
            faults: Vec::new(),
            unknown: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    /// Line and column, both from 1.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len());
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = self.lines[line - 1];
        let before = String::from_utf8_lossy(&self.text.as_bytes()[start..offset]);
        (line, before.chars().count() + 1)
    }

    pub(super) fn at<T>(&self, value: T, span: &Range<usize>) -> At<T> {
        let line = self.position(span.start).0;
        At { value, line }
    }

    pub(super) fn made(&self, key: &str, span: Range<usize>, text: String) -> Fault {
        Fault {
            place: Place::File {
                path: self.path.to_owned(),
                at: Some(self.position(span.start)),
            },
            key: key.to_owned(),
            // A fault is one line, whatever the file quotes.
            text: text.replace(char::is_control, " "),
        }
    }

    pub(super) fn fault(&mut self, key: &str, span: Range<usize>, text: impl Into<String>) {
        if self.faults.len() < FAULTS_MAX {
            let fault = self.made(key, span, text.into());
            self.faults.push(fault);
        }
    }

    pub(super) fn wrong_type(&mut self, key: &str, value: Value, expected: &str) {
        let article = match value.get_ref().type_str() {
            kind @ ("integer" | "array") => format!("an {kind}"),
            kind => format!("a {kind}"),
        };
        self.fault(key, value.span(), format!("is {article}; expected {expected}"));
    }

    /// Whether a list is of a size that somebody may have meant.
    pub(super) fn bounded(&mut self, key: &str, value: Value) -> bool {
        let length = value.get_ref().as_array().map_or(0, |array| array.len());
        if length > LIST_MAX {
            self.fault(
                key,
                value.span(),
                format!("has {length} entries; expected at most {LIST_MAX}"),
            );
        }
        length <= LIST_MAX
    }

    pub(super) fn look_for_unknown(&mut self, prefix: &str, table: &DeTable, known: &[&str]) {
        for (key, _) in table.iter() {
            let name: &str = key.get_ref();
            if known.contains(&name) || self.unknown.len() >= FAULTS_MAX {
                continue;
            }
            let shown = name.escape_debug().to_string();
            let path = if prefix.is_empty() {
                shown
            } else {
                format!("{prefix}.{shown}")
            };
            let hint = match nearest(name, known) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("known here: {}", known.join(", ")),
            };
            let fault = self.made(&path, key.span(), format!("unknown key; {hint}"));
            self.unknown.push(fault);
        }
    }

    /// The `name` of a section: there, valid, and not taken.
    pub(super) fn name<T>(
        &mut self,
        key: &str,
        span: Range<usize>,
        table: &DeTable,
        taken: &mut HashSet<String>,
    ) -> Option<At<T>>
    where
        T: FromStr,
        T::Err: ToString,
    {
        let key = format!("{key}.name");
        let Some(value) = table.get("name") else {
            self.fault(&key, span, "is missing; expected a name of letters, digits, '-' or '_'");
            return None;
        };
        let name = self.parsed(&key, value, "a name of letters, digits, '-' or '_'")?;
        let text = value.get_ref().as_str().unwrap_or_default();
        if !taken.insert(text.to_owned()) {
            self.fault(
                &key,
                value.span(),
                format!("{text:?} is named twice; expected a name of its own"),
            );
            return None;
        }
        Some(name)
    }

    /// A string that parses into `T`; `T`'s own error says what was expected.
    pub(super) fn parsed<T>(&mut self, key: &str, value: Value, expected: &str) -> Option<At<T>>
    where
        T: FromStr,
        T::Err: ToString,
    {
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(key, value, expected);
            return None;
        };
        match text.parse() {
            Ok(parsed) => Some(self.at(parsed, &value.span())),
            Err(error) => {
                self.fault(key, value.span(), T::Err::to_string(&error));
                None
            }
        }
    }
}

/// The known key that `name` was most likely meant to be.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    // No known key is as long as that; the distance is quadratic in the length.
    if name.len() > 32 {
        return None;
    }
    let name = name.to_lowercase();
    known
        .iter()
        .map(|key| (distance(&name, key), *key))
        .min()
        .filter(|(distance, key)| *distance <= 1 + key.len() / 4)
        .map(|(_, key)| key)
}

/// Levenshtein's distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Names for people.
pub(super) fn sorted(names: &HashSet<String>) -> String {
    let mut names: Vec<_> = names.iter().map(|name| name.escape_debug().to_string()).collect();
    names.sort();
    names.join(", ")
}
