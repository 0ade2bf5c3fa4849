//! Tokens, as commands see them.

use serde::{Deserialize, Serialize};

use crate::access::{Grant, Right, Routes, Token};

/// One token of `GET /v1/tokens`. Its secret is in no answer but that to its making.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TokenView {
    /// Its name.
    pub name: String,
    /// `publish`, `read`, `admin`.
    pub rights: Vec<String>,
    /// The routes that it is good for; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<String>>,
    /// When it was made, in Unix milliseconds.
    pub created_at: u64,
    /// From when on it is refused, in Unix milliseconds; absent: it has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// That time has come.
    pub expired: bool,
    /// When it was last used, in Unix milliseconds, to within an hour; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<u64>,
}

impl TokenView {
    /// What is shown of this token at this time (Unix milliseconds).
    pub fn new(token: &Token, now_ms: u64) -> Self {
        Self {
            name: token.grant.name.to_string(),
            rights: rights(&token.grant),
            routes: routes(&token.grant),
            created_at: token.created_ms,
            expires_at: token.expires_ms,
            expired: token.is_expired(now_ms),
            used_at: token.used_ms,
        }
    }

    /// Whether it is a token that gives just this, and still does.
    pub fn gives(&self, grant: &Grant) -> bool {
        let is_named = self.name == grant.name.as_str();
        is_named && !self.expired && self.rights == rights(grant) && self.routes == routes(grant)
    }
}

fn rights(grant: &Grant) -> Vec<String> {
    grant.rights.iter().map(Right::name).map(str::to_owned).collect()
}

fn routes(grant: &Grant) -> Option<Vec<String>> {
    match &grant.routes {
        Routes::All => None,
        Routes::Only(routes) => Some(routes.iter().map(ToString::to_string).collect()),
    }
}

/// `POST /v1/tokens`: what is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Its name: letters, digits, `-` or `_`.
    pub name: String,
    /// `publish`, `read`, `admin`; at least one.
    pub rights: Vec<String>,
    /// The routes that it is good for; absent: all, also those to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<String>>,
    /// After how many milliseconds it ends; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
}

/// The answer: the one time that the secret is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct IssuedToken {
    /// The secret, which senders use.
    pub token: String,
    /// What is kept of it.
    #[serde(flatten)]
    pub kept: TokenView,
}
