//! All tokens of a relay.

use std::sync::Arc;

use super::token::{Digest, Grant, Token};

/// More tokens than anybody has senders; each check looks at all of them.
pub const TOKENS_MAX: usize = 256;

/// How finely the last use of a token is known: one write an hour, and not one a request.
pub const USE_GRAIN_MS: u64 = 60 * 60 * 1000;

/// What a secret that somebody presents is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presented {
    /// A token's.
    Valid(Arc<Grant>),
    /// That of a token whose end has come.
    Expired(Arc<Grant>),
    /// Nobody's: never made, or revoked.
    Unknown,
}

/// The tokens, by name.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    tokens: Vec<Token>,
}

impl Keyring {
    /// A ring of these tokens.
    pub fn new(mut tokens: Vec<Token>) -> Self {
        tokens.sort_by(|a, b| a.grant.name.cmp(&b.grant.name));
        Self { tokens }
    }

    /// All of them, by name.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<&Token> {
        self.tokens.iter().find(|token| token.grant.name.as_str() == name)
    }

    /// Adds one, in the place of one of the same name.
    pub fn put(&mut self, token: Token) {
        self.remove(token.grant.name.as_str());
        let at = self.tokens.partition_point(|other| other.grant.name < token.grant.name);
        self.tokens.insert(at, token);
    }

    /// Takes the one of this name away.
    pub fn remove(&mut self, name: &str) -> Option<Token> {
        let at = self.tokens.iter().position(|token| token.grant.name.as_str() == name)?;
        Some(self.tokens.remove(at))
    }

    /// Whose `secret` is. Every digest is looked at, whichever is the right one: the time tells nothing.
    pub fn presented(&self, secret: &str, now_ms: u64) -> Presented {
        match self.find(secret) {
            Some(at) if self.tokens[at].is_expired(now_ms) => Presented::Expired(Arc::clone(&self.tokens[at].grant)),
            Some(at) => Presented::Valid(Arc::clone(&self.tokens[at].grant)),
            None => Presented::Unknown,
        }
    }

    /// [`presented`](Self::presented), and notes the use. Also returns the token when that is to be written down, once
    /// in [`USE_GRAIN_MS`].
    pub fn use_now(&mut self, secret: &str, now_ms: u64) -> (Presented, Option<&Token>) {
        let presented = self.presented(secret, now_ms);
        let Presented::Valid(grant) = &presented else {
            return (presented, None);
        };
        let known = self.tokens.iter_mut().find(|token| token.grant.name == grant.name);
        // A clock that was set back is followed.
        let due = |token: &&mut Token| token.used_ms.is_none_or(|used| now_ms.abs_diff(used) >= USE_GRAIN_MS);
        let due = known.filter(due).map(|token| {
            token.used_ms = Some(now_ms);
            &*token
        });
        (presented, due)
    }

    fn find(&self, secret: &str) -> Option<usize> {
        let digest = Digest::of(secret);
        let mut found = None;
        for (at, token) in self.tokens.iter().enumerate() {
            if token.digest == digest {
                found = Some(at);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Right, Routes};
    use super::*;

    fn token(name: &str, secret: &str, expires_ms: Option<u64>) -> Token {
        Token {
            grant: Arc::new(Grant {
                name: name.parse().unwrap(),
                rights: [Right::Publish].into_iter().collect(),
                routes: Routes::All,
            }),
            digest: Digest::of(secret),
            created_ms: 0,
            expires_ms,
            used_ms: None,
        }
    }

    #[test]
    fn a_secret_is_its_tokens_until_the_end_or_the_revocation() {
        let mut keyring = Keyring::new(vec![token("b", "two", Some(100)), token("a", "one", None)]);
        let names: Vec<_> = keyring.tokens().iter().map(|token| token.grant.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let name = |presented: Presented| match presented {
            Presented::Valid(grant) => grant.name.to_string(),
            Presented::Expired(grant) => format!("{} expired", grant.name),
            Presented::Unknown => "unknown".into(),
        };
        assert_eq!(name(keyring.presented("one", u64::MAX)), "a");
        assert_eq!(name(keyring.presented("two", 99)), "b");
        assert_eq!(name(keyring.presented("two", 100)), "b expired");
        for wrong in ["", "on", "ones", "One"] {
            assert_eq!(name(keyring.presented(wrong, 0)), "unknown");
        }
        keyring.put(token("a", "three", None));
        assert_eq!(name(keyring.presented("one", 0)), "unknown");
        assert_eq!(name(keyring.presented("three", 0)), "a");
        assert!(keyring.remove("a").is_some() && keyring.remove("a").is_none());
        assert_eq!(name(keyring.presented("three", 0)), "unknown");
    }

    #[test]
    fn a_use_is_written_once_an_hour() {
        let mut keyring = Keyring::new(vec![token("a", "one", Some(10 * USE_GRAIN_MS))]);
        let mut written = |at, secret| keyring.use_now(secret, at).1.map(|token| token.used_ms.unwrap());
        assert_eq!(written(5, "other"), None);
        assert_eq!(written(5, "one"), Some(5));
        assert_eq!(written(4 + USE_GRAIN_MS, "one"), None);
        assert_eq!(written(5 + USE_GRAIN_MS, "one"), Some(5 + USE_GRAIN_MS));
        assert_eq!(written(1, "one"), Some(1), "the clock was set back");
        assert_eq!(written(10 * USE_GRAIN_MS, "one"), None, "no use after its end");
    }
}
