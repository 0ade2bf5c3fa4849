//! What is wrong with the configuration, and where: one line each, for people and as JSON.

use std::fmt;
use std::path::PathBuf;

/// Where a fault or a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `at` is line and column, both from 1; the column counts characters. `None`: the file as a whole.
    File { path: PathBuf, at: Option<(usize, usize)> },
    /// An environment variable, by name.
    Env(String),
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub place: Place,
    /// The key path, as `route[0].to[1]`, counted from 0; empty when no key is concerned.
    pub key: String,
    /// What was wrong and what was expected: one line, lower case, never with a password in it.
    pub text: String,
}

/// Everything that is wrong with the configuration, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Fault>);

impl Fault {
    pub(super) fn file(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self {
            place: Place::File {
                path: path.into(),
                at: None,
            },
            key: String::new(),
            text: text.into(),
        }
    }

    pub(super) fn env(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            place: Place::Env(name.into()),
            key: String::new(),
            text: text.into(),
        }
    }

    /// For `--json`: `file`, `line`, `column`, `env`, `key`, `text`; what does not apply is null.
    pub fn to_json(&self) -> serde_json::Value {
        let (file, at, env) = match &self.place {
            Place::File { path, at } => (Some(path.display().to_string()), *at, None),
            Place::Env(name) => (None, None, Some(name)),
        };
        serde_json::json!({
            "file": file,
            "line": at.map(|(line, _)| line),
            "column": at.map(|(_, column)| column),
            "env": env,
            "key": (!self.key.is_empty()).then_some(&self.key),
            "text": self.text,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, at: None } => write!(f, "{}", path.display()),
            Self::File {
                path,
                at: Some((line, column)),
            } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Env(name) => write!(f, "${name}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.place, self.text)
        } else {
            write!(f, "{}: {}: {}", self.place, self.key, self.text)
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
