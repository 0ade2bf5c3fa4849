//! The names an alert travels under. Each is parsed once, at the edge; inside, a name is known to be valid.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What was wrong with a name. One lower-case line, without the field it stood in: the caller adds where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(pub String);

/// First path segments the HTTP API keeps for itself; no route may take one.
///
/// The list holds more than is served today so that a later version does not break a configured route.
pub const ROUTE_NAMES_RESERVED: &[&str] = &[
    "api", "docs", "favicon", "file", "health", "message", "metrics", "notify", "static", "v1", "version", "web",
];

/// A name that senders publish to. An ntfy topic is a route, so the alphabet is ntfy's: `[-_A-Za-z0-9]`, 1 to 64.
/// Clones share it: thousands of alerts can wait under one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RouteName(Arc<str>);

/// The name of one linked WhatsApp account in the config. Same alphabet as [`RouteName`], 1 to 32.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionName(Arc<str>);

/// The name of a second path in the config. Same alphabet as [`RouteName`], 1 to 32.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FallbackName(Arc<str>);

/// The name of a hook in the config. Same alphabet as [`RouteName`], 1 to 32.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HookName(Arc<str>);

/// Who receives: a phone number, a group, the linked account itself, or somebody whose number is hidden. The name is
/// shared by all that waits for one recipient.
///
/// On disk it is the string that a route names: a new variant leaves old records readable, and an older program says of
/// a newer one that it cannot read it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Recipient {
    /// `+` and 7 to 15 digits (E.164); held without the `+`.
    Number(Arc<str>),
    /// The part before `@g.us`.
    Group(Arc<str>),
    /// `me`: the linked account's own chat. A message there makes no sound on the owner's phone.
    Me,
    /// The part before `@lid`: the hidden id by which WhatsApp names an account without its number.
    Lid(Arc<str>),
}

/// As much of what stands in a name's place as a name may have: behind a quotation mark that is not closed the rest of
/// a file follows, and what is secret in it.
fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(64)]
}

fn is_name(text: &str, length_max: usize) -> bool {
    (1..=length_max).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

impl FromStr for RouteName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if !is_name(text, 64) {
            return Err(NameError(format!(
                "a route name has 1 to 64 letters, digits, '-' or '_', not {:?}",
                beginning(text)
            )));
        }
        if ROUTE_NAMES_RESERVED.contains(&text.to_ascii_lowercase().as_str()) {
            return Err(NameError(format!(
                "the route name {text:?} is reserved for the HTTP API"
            )));
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for SessionName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if !is_name(text, 32) {
            return Err(NameError(format!(
                "a session name has 1 to 32 letters, digits, '-' or '_', not {:?}",
                beginning(text)
            )));
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for FallbackName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if !is_name(text, 32) {
            return Err(NameError(format!(
                "a fallback's name has 1 to 32 letters, digits, '-' or '_', not {text:?}"
            )));
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for HookName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if !is_name(text, 32) {
            return Err(NameError(format!(
                "a hook's name has 1 to 32 letters, digits, '-' or '_', not {:?}",
                beginning(text)
            )));
        }
        Ok(Self(text.into()))
    }
}

impl HookName {
    /// The name of a hook at `authority`, a host with or without a port, where nobody has given it one.
    pub fn of_authority(authority: &str) -> Self {
        let dashed: String = authority
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .take(32)
            .collect();
        let name = dashed.trim_matches('-');
        Self(if name.is_empty() { "hook" } else { name }.into())
    }
}

impl FromStr for Recipient {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let digits =
            |s: &str, min: usize, max: usize| (min..=max).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit());
        if text == "me" {
            return Ok(Self::Me);
        }
        if let Some(number) = text.strip_prefix('+') {
            // Spaces, dots and dashes are how people write numbers; they carry nothing.
            let number: String = number
                .chars()
                .filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')'))
                .collect();
            if digits(&number, 7, 15) && !number.starts_with('0') {
                return Ok(Self::Number(number.into()));
            }
        } else if let Some(group) = text.strip_suffix("@g.us") {
            // Old groups are `creator-timestamp`, new ones one long number.
            let mut parts = group.split('-');
            let valid = parts.clone().count() <= 2 && parts.all(|part| digits(part, 1, 25));
            if valid {
                return Ok(Self::Group(group.into()));
            }
        } else if let Some(lid) = text.strip_suffix("@lid")
            && digits(lid, 1, 20)
        {
            return Ok(Self::Lid(lid.into()));
        }
        Err(NameError(format!(
            "a recipient is a number like +15550100, a group like 120363000000000000@g.us, a hidden id like \
             100000000000001@lid, or me, not {:?}",
            beginning(text)
        )))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "+{number}"),
            Self::Group(group) => write!(f, "{group}@g.us"),
            Self::Me => f.write_str("me"),
            Self::Lid(lid) => write!(f, "{lid}@lid"),
        }
    }
}

macro_rules! string_name {
    ($name:ident) => {
        impl $name {
            /// The name as it was configured.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.to_string()
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
    };
}

string_name!(RouteName);
string_name!(SessionName);
string_name!(FallbackName);
string_name!(HookName);

impl From<Recipient> for String {
    fn from(recipient: Recipient) -> String {
        recipient.to_string()
    }
}

impl TryFrom<String> for Recipient {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl Recipient {
    /// For logs: a number keeps its last two digits, so that lines about one recipient can be told apart and no
    /// number stands in a log.
    pub fn redacted(&self) -> String {
        match self {
            Self::Number(number) => format!("+…{}", &number[number.len() - 2..]),
            Self::Group(group) => format!("…{}@g.us", &group[group.len().saturating_sub(4)..]),
            Self::Me => "me".to_owned(),
            Self::Lid(lid) => format!("…{}@lid", &lid[lid.len().saturating_sub(4)..]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_once_and_written_back_the_same() {
        for text in ["family", "ops-1", "A_b"] {
            assert_eq!(text.parse::<RouteName>().unwrap().as_str(), text);
        }
        for text in ["", "a b", "a/b", "ü", "v1", "METRICS", &"x".repeat(65)] {
            assert!(text.parse::<RouteName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_hook_without_a_name_has_one_of_its_address() {
        for (authority, name) in [
            ("127.0.0.1:1880", "127-0-0-1-1880"),
            ("[fd00::1]:443", "fd00--1--443"),
            ("nodered.example", "nodered-example"),
            ("[::]", "hook"),
        ] {
            let named = HookName::of_authority(authority);
            assert_eq!(named.as_str(), name);
            assert_eq!(name.parse::<HookName>().unwrap(), named);
        }
        let long = HookName::of_authority(&"long.".repeat(99));
        assert_eq!(long.as_str().parse::<HookName>().unwrap(), long);
    }

    #[test]
    fn recipients() {
        for text in [
            "+15550100",
            "120363000000000000@g.us",
            "15550100-1400000000@g.us",
            "me",
            "100000000000001@lid",
        ] {
            assert_eq!(text.parse::<Recipient>().unwrap().to_string(), text);
        }
        assert_eq!("+1 (555) 010-0".parse::<Recipient>().unwrap().to_string(), "+15550100");
        for text in [
            "15550100",
            "+",
            "+0155501000",
            "+1555010a",
            "@g.us",
            "1-2-3@g.us",
            "x@g.us",
            "a@s.whatsapp.net",
            "@lid",
            "1x@lid",
            "+15550100@lid",
            "100000000000001:3@lid",
            "123456789012345678901@lid",
        ] {
            assert!(text.parse::<Recipient>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_number_is_not_shown_whole_in_logs() {
        assert_eq!("+15550123".parse::<Recipient>().unwrap().redacted(), "+…23");
        let hidden: Recipient = "100000000000001@lid".parse().unwrap();
        assert_eq!(hidden.redacted(), "…0001@lid");
    }
}
