//! One token: its name, its secret's form, and what it may.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::alert::hygiene::TOKEN_START;
use crate::alert::{NameError, RouteName};

/// A token's name: letters, digits, `-` or `_`, 1 to 64. It is no secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenName(Arc<str>);

impl TokenName {
    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        match (1..=64).contains(&text.len()) && text.bytes().all(fits) {
            true => Ok(Self(text.into())),
            false => Err(NameError(format!(
                "a token's name has 1 to 64 letters, digits, '-' or '_', not {text:?}"
            ))),
        }
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// To hand in alerts.
    Publish,
    /// To see what there is: status, alerts and their texts, what happened.
    Read,
    /// What reveals contacts, links accounts, or takes an alert out of the relay's hands.
    Admin,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 3] = [Self::Publish, Self::Read, Self::Admin];

    /// Its name, for people and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Publish => 1,
            Self::Read => 2,
            Self::Admin => 4,
        }
    }
}

impl FromStr for Right {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let found = Self::ALL.into_iter().find(|right| right.name() == text);
        found.ok_or_else(|| NameError(format!("a right is publish, read or admin, not {text:?}")))
    }
}

/// A set of rights. `admin` holds the two others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(u8);

impl Rights {
    /// None.
    pub const NONE: Self = Self(0);

    /// Whether `right` is among them.
    pub fn has(self, right: Right) -> bool {
        (self.0 | if self.0 & 4 == 0 { 0 } else { 7 }) & right.bit() != 0
    }

    /// Those that it was made of, each once.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL.into_iter().filter(move |right| self.0 & right.bit() != 0)
    }

    /// As a number: publish 1, read 2, admin 4. It stands on disk.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The rights of such a number; what this version does not know gives no right.
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & 7)
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        Self(rights.into_iter().fold(0, |bits, right| bits | right.bit()))
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Right::name).collect();
        f.write_str(&names.join(", "))
    }
}

/// The routes that a token is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Routes {
    /// All that there are, also those to come.
    All,
    /// These and no others; the list may be empty, and then there are none.
    Only(Vec<RouteName>),
}

impl Routes {
    /// Whether the route of this name is among them.
    pub fn has(&self, route: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(routes) => routes.iter().any(|known| known.as_str() == route),
        }
    }

    /// The one route, if it is one alone.
    pub fn sole(&self) -> Option<&RouteName> {
        match self {
            Self::Only(routes) if routes.len() == 1 => routes.first(),
            Self::All | Self::Only(_) => None,
        }
    }
}

impl fmt::Display for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Only(routes) => {
                let names: Vec<_> = routes.iter().map(RouteName::as_str).collect();
                f.write_str(&names.join(", "))
            }
        }
    }
}

/// Whose a token is and what it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The token's.
    pub name: TokenName,
    /// What it may.
    pub rights: Rights,
    /// On which routes.
    pub routes: Routes,
}

/// SHA-256 of a secret. `==` on it takes the same time wherever they differ; `Debug` hides it.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of this secret.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// As it stands on disk.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Digest {}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

/// What is kept of a token. Times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its name and what it may.
    pub grant: Arc<Grant>,
    /// The digest of its secret.
    pub digest: Digest,
    /// When it was made.
    pub created_ms: u64,
    /// From then on it is refused.
    pub expires_ms: Option<u64>,
    /// When it was last used, to within [`USE_GRAIN_MS`](super::USE_GRAIN_MS).
    pub used_ms: Option<u64>,
}

impl Token {
    /// Whether its end has come, by the wall clock.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|end| end <= now_ms)
    }
}

/// Random bytes that a secret is made of.
pub const SECRET_BYTES: usize = 64;

/// Characters of a secret behind its prefix.
const SECRET_CHARS: usize = 29;

/// The form of ntfy's tokens, `tk_` and 29 small letters or digits: senders for ntfy know it, and some take no other.
///
/// `None`: the bytes are not random enough to fill it, which happens to random ones once in 10¹⁶ times.
pub fn secret(random: &[u8; SECRET_BYTES]) -> Option<String> {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    // 252 is 7 times 36: what is above it would favour the first letters.
    let fair = random.iter().filter(|byte| **byte < 252);
    let chars: String = fair
        .take(SECRET_CHARS)
        .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]))
        .collect();
    (chars.len() == SECRET_CHARS).then(|| format!("{TOKEN_START}{chars}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_holds_the_other_rights_and_a_number_holds_them_all() {
        let rights = |of: &[Right]| Rights::from_iter(of.iter().copied());
        let admin = rights(&[Right::Admin]);
        assert!(Right::ALL.into_iter().all(|right| admin.has(right)));
        let read = rights(&[Right::Read]);
        assert!(read.has(Right::Read) && !read.has(Right::Publish) && !read.has(Right::Admin));
        assert!(!Right::ALL.into_iter().any(|right| Rights::NONE.has(right)));
        for bits in 0..=255 {
            assert_eq!(Rights::from_bits(bits).bits(), bits & 7);
        }
        assert_eq!(rights(&[Right::Read, Right::Publish]).to_string(), "publish, read");
    }

    #[test]
    fn no_route_is_not_every_route() {
        let (family, ops) = ("family".parse().unwrap(), "ops".parse().unwrap());
        assert!(!Routes::Only(Vec::new()).has("family"));
        assert!(Routes::All.has("family") && Routes::All.sole().is_none());
        let one = Routes::Only(vec![family]);
        assert!(one.has("family") && !one.has("ops") && !one.has("Family"));
        assert_eq!(one.sole().map(RouteName::as_str), Some("family"));
        assert!(Routes::Only(vec![ops, "a".parse().unwrap()]).sole().is_none());
    }

    #[test]
    fn a_secret_has_ntfys_form_and_no_letter_is_likelier() {
        let mut bytes = [255; SECRET_BYTES];
        assert_eq!(secret(&bytes), None);
        for (at, byte) in bytes.iter_mut().skip(20).enumerate() {
            *byte = at as u8;
        }
        assert_eq!(secret(&bytes).unwrap(), "tk_abcdefghijklmnopqrstuvwxyz012");
    }

    #[test]
    fn nothing_prints_a_digest() {
        let digest = Digest::of("tk_secret");
        assert_eq!(format!("{digest:?}"), "Digest(…)");
        assert!(digest == Digest::of("tk_secret") && digest != Digest::of("tk_secres"));
    }
}
