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
use crate::config::{MailServer, RouteFallback, Secret, Url};

const KEYS_FALLBACK: &[&str] = &[
    "name",
    "kind",
    "url",
    "ca_file",
    "token",
    "token_file",
    "secret",
    "secret_file",
    "user",
    "password",
    "password_file",
    "from",
    "to",
];
const KINDS: &str = "\"ntfy\", \"webhook\" or \"smtp\"";
const KEYS_HEALTH: &[&str] = &["fallback"];
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
    pub ca: Option<At<PathBuf>>,
    pub target: DraftTarget,
}

#[derive(Debug)]
pub(in crate::config) enum DraftTarget {
    Web {
        url: At<Url>,
        token: Option<At<Secret>>,
        secret: Option<At<Secret>>,
    },
    Mail {
        server: At<MailServer>,
        user: Option<At<String>>,
        password: Option<At<Secret>>,
        from: At<MailAddress>,
        to: At<Vec<MailAddress>>,
    },
}

/// What a fallback speaks, by its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Kind {
    Ntfy,
    Webhook,
    Smtp,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ntfy" => Ok(Self::Ntfy),
            "webhook" => Ok(Self::Webhook),
            "smtp" => Ok(Self::Smtp),
            other => Err(format!("{other:?} is no kind; expected {KINDS}")),
        }
    }
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ntfy => "ntfy",
            Self::Webhook => "webhook",
            Self::Smtp => "smtp",
        }
    }

    /// Keys that mean nothing for it.
    fn foreign(self) -> &'static [&'static str] {
        match self {
            Self::Ntfy => &[
                "secret",
                "secret_file",
                "user",
                "password",
                "password_file",
                "from",
                "to",
            ],
            Self::Webhook => &["user", "password", "password_file", "from", "to"],
            Self::Smtp => &["token", "token_file", "secret", "secret_file"],
        }
    }
}

/// An address of mail, `name@host`, in ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct MailAddress(pub String);

impl FromStr for MailAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_graphic() && !b"<>()[],;:\\\"@".contains(&b))
        };
        match text.split_once('@') {
            Some((name, host)) if fits(name) && fits(host) && text.len() <= 254 => Ok(Self(text.to_owned())),
            _ => Err(format!(
                "{text:?} is no address of mail; expected one like \"me@example.com\""
            )),
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
        let ca = self.ca(key, table);
        let kind = self.wanted::<Kind>(key, span.clone(), table, "kind", KINDS)?;
        for name in kind.value.foreign() {
            if let Some(value) = table.get(*name) {
                let text = format!(
                    "means nothing for kind {:?}; expected it to be left out",
                    kind.value.name()
                );
                self.fault(&format!("{key}.{name}"), value.span(), text);
            }
        }
        let target = match kind.value {
            Kind::Ntfy | Kind::Webhook => {
                let url = self.wanted(key, span, table, "url", "a URL like \"https://ntfy.example/alerts\"");
                let token = self.secret(key, table, "token");
                let secret = self.secret(key, table, "secret");
                DraftTarget::Web {
                    url: url?,
                    token,
                    secret,
                }
            }
            Kind::Smtp => self.mail_target(key, span, table)?,
        };
        Some(DraftFallback {
            name: name?,
            kind,
            ca,
            target,
        })
    }

    fn mail_target(&mut self, key: &str, span: Range<usize>, table: &DeTable) -> Option<DraftTarget> {
        let server = self.wanted(key, span.clone(), table, "url", "a URL like \"smtps://mail.example\"");
        let from = self.wanted(key, span.clone(), table, "from", "an address like \"box@example.com\"");
        let to = match table.get("to") {
            Some(value) => self.mail_addresses(&format!("{key}.to"), value),
            None => {
                let text = "is missing; expected a list like [\"me@example.com\"]";
                self.fault(&format!("{key}.to"), span.clone(), text);
                None
            }
        };
        let user = table
            .get("user")
            .and_then(|value| self.parsed::<String>(&format!("{key}.user"), value, "the name to log in by"));
        let password = self.secret(key, table, "password");
        let has_password = table.get("password").is_some() || table.get("password_file").is_some();
        if table.get("user").is_some() != has_password {
            let text = "has one of user and password_file; expected both or none";
            self.fault(key, span, text);
            return None;
        }
        Some(DraftTarget::Mail {
            server: server?,
            user,
            password,
            from: from?,
            to: to?,
        })
    }

    fn mail_addresses(&mut self, key: &str, value: Value) -> Option<At<Vec<MailAddress>>> {
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "a list like [\"me@example.com\"]");
            return None;
        };
        if array.is_empty() {
            self.fault(key, value.span(), "is empty; expected at least one address");
            return None;
        }
        if !self.bounded(key, value) {
            return None;
        }
        let mut addresses = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let key = format!("{key}[{index}]");
            let address = self.parsed::<MailAddress>(&key, item, "an address like \"me@example.com\"");
            addresses.extend(address.map(|address| address.value));
        }
        (addresses.len() == array.len()).then(|| self.at(addresses, &value.span()))
    }

    /// What has to be there.
    pub(super) fn wanted<T>(
        &mut self,
        key: &str,
        span: Range<usize>,
        table: &DeTable,
        name: &str,
        expected: &str,
    ) -> Option<At<T>>
    where
        T: FromStr,
        T::Err: ToString,
    {
        let key = format!("{key}.{name}");
        match table.get(name) {
            Some(value) => self.parsed(&key, value, expected),
            None => {
                self.fault(&key, span, format!("is missing; expected {expected}"));
                None
            }
        }
    }

    pub(super) fn ca(&mut self, key: &str, table: &DeTable) -> Option<At<PathBuf>> {
        let value = table.get("ca_file")?;
        self.pem_file(&format!("{key}.ca_file"), value)
    }

    /// A file of the configuration's directory, or elsewhere. One that cannot be read is told of beside the faults.
    pub(super) fn pem_file(&mut self, key: &str, value: Value) -> Option<At<PathBuf>> {
        let path = self.parsed::<PathBuf>(key, value, "the path of a PEM file")?;
        let path = self.path.parent().unwrap_or(Path::new("")).join(path.value);
        if let Err(error) = std::fs::File::open(&path) {
            let text = format!("{}: {error}; expected a PEM file with certificates", path.display());
            let fault = self.made(key, value.span(), text);
            self.unreadable.push(fault);
        }
        Some(self.at(path, &value.span()))
    }

    /// What stands under `name`, or in the file that `{name}_file` names. A file that cannot be read is told of beside
    /// the faults.
    pub(super) fn secret(&mut self, key: &str, table: &DeTable, name: &str) -> Option<At<Secret>> {
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

    /// A bare name is looked for among systemd's credentials first. Other paths that are not absolute begin at the
    /// configuration's own directory. Also returns where else was looked, in words.
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

    /// The section `[health]`.
    pub(super) fn health(&mut self, value: Value, fallbacks: &HashSet<String>) -> Option<At<Vec<FallbackName>>> {
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type("health", value, "a section [health]");
            return None;
        };
        self.look_for_unknown("health", table, KEYS_HEALTH);
        let value = table.get("fallback")?;
        let names = self.fallback_names("health.fallback", value, fallbacks)?;
        Some(self.at(names, &value.span()))
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
