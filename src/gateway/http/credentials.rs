//! The tokens that a request brings, in every place where some sender puts one.
//!
//! | place | who puts it there |
//! |---|---|
//! | `Authorization: Bearer T` | ntfy, most programs |
//! | `Authorization: Basic …`, as user or as password | browsers, `user:password@` in an address |
//! | `X-Gotify-Key: T` | Gotify |
//! | `X-Api-Key: T` | WAHA |
//! | `?token=T` | Gotify, whatever has nothing but an address |
//! | `?auth=…`, base64url of an `Authorization` header | ntfy |
//!
//! Pushover's stands in the body; its dialect finds it.

use base64::Engine;
use base64::alphabet::{self, Alphabet};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::head::Head;
use crate::gateway::query;

/// Tokens of one request that are looked at; nobody has more than two by intent.
const PRESENTED_MAX: usize = 8;

/// Something that may be a token's secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Credential {
    pub secret: String,
    /// A browser sends it by itself, whichever page has caused the request.
    pub ambient: bool,
}

/// What the head of a request brings, in the order of the table.
pub(super) fn presented(head: &Head) -> Vec<Credential> {
    let mut found = Vec::new();
    let values = |wanted: &'static str| {
        let named = head.headers().filter(move |(name, _)| *name == wanted);
        named.filter_map(|(_, value)| std::str::from_utf8(value).ok())
    };
    for value in values("authorization") {
        authorization(value, &mut found);
    }
    for value in values("x-gotify-key").chain(values("x-api-key")) {
        found.push(Credential::explicit(value));
    }
    if !head.query.is_empty() {
        for (name, value) in query::decode(&head.query).pairs {
            match name.as_str() {
                "token" => found.push(Credential::explicit(&value)),
                "auth" => {
                    let mut inside = Vec::new();
                    if let Some(text) = decoded(&value, &alphabet::URL_SAFE) {
                        authorization(&text, &mut inside);
                    }
                    // It stands in the address, so no browser adds it.
                    found.extend(inside.into_iter().map(|credential| Credential {
                        ambient: false,
                        ..credential
                    }));
                }
                _ => {}
            }
        }
    }
    found.retain(|credential| !credential.secret.is_empty());
    found.truncate(PRESENTED_MAX);
    found
}

impl Credential {
    pub fn explicit(secret: &str) -> Self {
        Self {
            secret: secret.trim().to_owned(),
            ambient: false,
        }
    }
}

/// The value of an `Authorization` header.
fn authorization(value: &str, found: &mut Vec<Credential>) {
    let Some((scheme, rest)) = value.trim().split_once([' ', '\t']) else {
        return;
    };
    if scheme.eq_ignore_ascii_case("bearer") {
        found.push(Credential::explicit(rest));
    } else if scheme.eq_ignore_ascii_case("basic")
        && let Some(text) = decoded(rest.trim(), &alphabet::STANDARD)
    {
        let (user, password) = text.split_once(':').unwrap_or((&text, ""));
        found.extend([password, user].map(|secret| Credential {
            secret: secret.to_owned(),
            ambient: true,
        }));
    }
}

fn decoded(text: &str, alphabet: &Alphabet) -> Option<String> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(alphabet, config).decode(text).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::super::head::parse;
    use super::*;

    fn secrets(target: &str, lines: &str) -> Vec<String> {
        let head = parse(format!("POST {target} HTTP/1.1\r\nHost: x\r\n{lines}\r\n").as_bytes()).unwrap();
        let found = presented(&head).into_iter();
        found
            .map(|credential| format!("{}{}", if credential.ambient { "~" } else { "" }, credential.secret))
            .collect()
    }

    #[test]
    fn a_token_is_found_wherever_a_sender_puts_it() {
        for (target, lines, expected) in [
            ("/a", "", &[][..]),
            ("/a", "Authorization: Bearer tk_1\r\n", &["tk_1"]),
            ("/a", "authorization: bearer  tk_1 \r\n", &["tk_1"]),
            // tk_1: and :tk_1 and phil:tk_1
            ("/a", "Authorization: Basic dGtfMTo=\r\n", &["~tk_1"]),
            ("/a", "Authorization: Basic OnRrXzE=\r\n", &["~tk_1"]),
            ("/a", "Authorization: Basic cGhpbDp0a18x\r\n", &["~tk_1", "~phil"]),
            ("/a", "X-Gotify-Key: tk_1\r\nX-Api-Key: tk_2\r\n", &["tk_1", "tk_2"]),
            ("/a?title=x&token=tk_1", "", &["tk_1"]),
            // Bearer tk_1, with and without padding; Basic phil:tk_1
            ("/a?auth=QmVhcmVyIHRrXzE", "", &["tk_1"]),
            ("/a?auth=QmVhcmVyIHRrXzE%3D", "", &["tk_1"]),
            ("/a?auth=QmFzaWMgY0docGJEcDBhMTh4", "", &["tk_1", "phil"]),
            ("/a?token=", "Authorization: tk_1\r\nX-Api-Key:\r\n", &[]),
            (
                "/a?auth=!",
                "Authorization: Basic !\r\nAuthorization: Digest x\r\n",
                &[],
            ),
        ] {
            assert_eq!(secrets(target, lines), expected, "{target} {lines}");
        }
        assert_eq!(secrets("/a", &"X-Api-Key: a\r\n".repeat(50)).len(), PRESENTED_MAX);
    }
}
