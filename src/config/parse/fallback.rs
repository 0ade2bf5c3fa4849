//! The sections `[[fallback]]`, and what a route says of them.

use std::collections::HashSet;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use toml::de::DeTable;

use super::reader::{At, Reader, Value, sorted};
use crate::alert::FallbackName;
use crate::config::{RouteFallback, Secret, Url};

const KEYS_FALLBACK: &[&str] = &["name", "kind", "url", "token", "token_file", "secret", "secret_file"];
const KEYS_ROUTE_FALLBACK: &[&str] = &["after", "to", "both"];

/// What an alert may wait for WhatsApp where the route does not say.
const AFTER_DEFAULT: Duration = Duration::from_secs(5 * 60);

/// Fallbacks of one route: as many as a record has room for beside the longest text.
const FALLBACKS_MAX: usize = 4;

/// Where systemd puts what `LoadCredential=` names.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

#[derive(Debug)]
pub(in crate::config) struct DraftFallback {
    pub name: At<FallbackName>,
    pub kind: At<Kind>,
    pub url: At<Url>,
    pub token: Option<At<Secret>>,
    pub secret: Option<At<Secret>>,
}

/// What a fallback speaks, by its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Kind {
    Ntfy,
    Webhook,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ntfy" => Ok(Self::Ntfy),
            "webhook" => Ok(Self::Webhook),
            other => Err(format!("{other:?} is no kind; expected \"ntfy\" or \"webhook\"")),
        }
    }
}

impl Kind {
    /// Keys that mean nothing for it.
    fn foreign(self) -> &'static [&'static str] {
        match self {
            Self::Ntfy => &["secret", "secret_file"],
            Self::Webhook => &[],
        }
    }
}

impl Reader<'_> {
    pub(super) fn fallback(
        &mut self,
        key: &str,
        span: Range<usize>,
        table: &DeTable,
        taken: &mut HashSet<String>,
    ) -> Option<DraftFallback> {
        self.look_for_unknown(key, table, KEYS_FALLBACK);
        let name = self.name(key, span.clone(), table, taken);
        let kind = match table.get("kind") {
            Some(value) => self.parsed::<Kind>(&format!("{key}.kind"), value, "\"ntfy\" or \"webhook\""),
            None => {
                let text = "is missing; expected \"ntfy\" or \"webhook\"";
                self.fault(&format!("{key}.kind"), span.clone(), text);
                None
            }
        };
        let url = match table.get("url") {
            Some(value) => self.parsed(
                &format!("{key}.url"),
                value,
                "a URL like \"https://ntfy.example/alerts\"",
            ),
            None => {
                let text = "is missing; expected a URL like \"https://ntfy.example/alerts\"";
                self.fault(&format!("{key}.url"), span, text);
                None
            }
        };
        for name in kind.as_ref().map_or(&[][..], |kind| kind.value.foreign()) {
            if let Some(value) = table.get(*name) {
                let text = "means nothing for this kind; expected it with `kind = \"webhook\"` alone";
                self.fault(&format!("{key}.{name}"), value.span(), text);
            }
        }
        let token = self.secret(key, table, "token");
        let secret = self.secret(key, table, "secret");
        Some(DraftFallback {
            name: name?,
            kind: kind?,
            url: url?,
            token,
            secret,
        })
    }

    /// What stands under `name`, or in the file that `{name}_file` names. A file that cannot be read is told of beside the faults.
    fn secret(&mut self, key: &str, table: &DeTable, name: &str) -> Option<At<Secret>> {
        let file = format!("{name}_file");
        match (table.get(name), table.get(file.as_str())) {
            (Some(_), Some(value)) => {
                let text = format!("stands beside {name}; expected one of them");
                self.fault(&format!("{key}.{file}"), value.span(), text);
                None
            }
            (Some(value), None) => {
                let key = format!("{key}.{name}");
                let Some(text) = value.get_ref().as_str() else {
                    self.wrong_type(&key, value, "a string, or the file that holds it as `…_file`");
                    return None;
                };
                if text.is_empty() || text.chars().any(char::is_control) {
                    self.fault(
                        &key,
                        value.span(),
                        "is empty or has control characters; expected one line",
                    );
                    return None;
                }
                Some(self.at(Secret::Given(text.to_owned()), &value.span()))
            }
            (None, Some(value)) => {
                let key = format!("{key}.{file}");
                let path = self.parsed::<PathBuf>(&key, value, "the path of a file")?;
                let (path, looked) = self.secret_file(&path.value);
                if let Err(why) = read_secret(&path) {
                    let text = format!("{}: {why}; expected a file with one line in it{looked}", path.display());
                    let fault = self.made(&key, value.span(), text);
                    self.unreadable.push(fault);
                }
                Some(self.at(Secret::File(path), &value.span()))
            }
            (None, None) => None,
        }
    }

    /// A bare name is looked for among systemd's credentials first. Other paths that are not absolute begin at the configuration's
    /// own directory. Also returns where else was looked, in words.
    fn secret_file(&self, path: &Path) -> (PathBuf, &'static str) {
        let directory = self.path.parent().unwrap_or(Path::new(""));
        let beside = directory.join(path);
        if path.components().count() != 1 || path.is_absolute() {
            return (beside, "");
        }
        match self.env.get(CREDENTIALS) {
            Some(credentials) => {
                let credential = Path::new(credentials).join(path);
                match credential.exists() {
                    true => (credential, ""),
                    false => (beside, ", or a credential of this name"),
                }
            }
            None => (beside, ", or within a unit of systemd's a credential of this name"),
        }
    }

    /// `fallbacks` are the names of all, as they were written.
    pub(super) fn route_fallback(
        &mut self,
        key: &str,
        value: Value,
        fallbacks: &HashSet<String>,
    ) -> Option<At<RouteFallback>> {
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(key, value, "a table like { after = \"5m\", to = [\"ntfy\"] }");
            return None;
        };
        self.look_for_unknown(key, table, KEYS_ROUTE_FALLBACK);
        let after = match table.get("after") {
            Some(value) => Some(self.span(&format!("{key}.after"), value)?.value),
            None => None,
        };
        let both = match table.get("both") {
            Some(value) => match value.get_ref().as_bool() {
                Some(both) => both,
                None => {
                    self.wrong_type(&format!("{key}.both"), value, "true or false");
                    return None;
                }
            },
            None => false,
        };
        let Some(to) = table.get("to") else {
            let text = "is missing; expected a list like [\"ntfy\"] of names of [[fallback]]";
            self.fault(&format!("{key}.to"), value.span(), text);
            return None;
        };
        let to = self.fallback_names(&format!("{key}.to"), to, fallbacks)?;
        let after = after.unwrap_or(AFTER_DEFAULT);
        Some(self.at(RouteFallback { after, to, both }, &value.span()))
    }

    fn fallback_names(&mut self, key: &str, value: Value, fallbacks: &HashSet<String>) -> Option<Vec<FallbackName>> {
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "a list like [\"ntfy\"] of names of [[fallback]]");
            return None;
        };
        if array.is_empty() {
            self.fault(
                key,
                value.span(),
                "is empty; expected at least one name of a [[fallback]]",
            );
            return None;
        }
        if array.len() > FALLBACKS_MAX {
            let text = format!("has {} entries; expected at most {FALLBACKS_MAX}", array.len());
            self.fault(key, value.span(), text);
            return None;
        }
        let faults_before = self.faults.len();
        let mut names: Vec<FallbackName> = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let key = format!("{key}[{index}]");
            let Some(text) = item.get_ref().as_str() else {
                self.wrong_type(&key, item, "the name of a [[fallback]]");
                continue;
            };
            if !fallbacks.contains(text) {
                let known = match fallbacks.is_empty() {
                    true => "a section [[fallback]] of that name".to_owned(),
                    false => sorted(fallbacks),
                };
                self.fault(
                    &key,
                    item.span(),
                    format!("no fallback is named {text:?}; expected {known}"),
                );
                continue;
            }
            // One that is no name is a fault where it stands as the fallback's.
            let Ok(name) = FallbackName::from_str(text) else {
                continue;
            };
            if names.contains(&name) {
                self.fault(&key, item.span(), "is the same fallback again; expected each once");
                continue;
            }
            names.push(name);
        }
        (self.faults.len() == faults_before && !names.is_empty()).then_some(names)
    }
}

/// Whether a file holds a secret.
fn read_secret(path: &Path) -> Result<(), String> {
    let file = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !file.is_file() {
        return Err("is no file".to_owned());
    }
    let mut text = String::new();
    let opened = std::fs::File::open(path).map_err(|error| error.to_string())?;
    opened
        .take(crate::config::SECRET_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    match text.trim().is_empty() {
        true => Err("is empty".to_owned()),
        false => Ok(()),
    }
}
