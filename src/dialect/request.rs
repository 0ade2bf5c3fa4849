//! What a dialect is given: the fields and the body of a request, whatever brought it.

use std::borrow::Cow;

use crate::alert::hygiene::clean;
use crate::alert::{charset, encoded_word};

/// A sender's request without its transport.
#[derive(Debug, Clone, Default)]
pub struct Request<'a> {
    /// The route that the request's address names, if it names one.
    pub route: Option<&'a str>,
    /// Fields that came beside the body, as HTTP's headers. The way in makes them with [`Fields::from_headers`].
    pub headers: Fields<'a>,
    /// Fields that came in the address.
    pub query: Fields<'a>,
    /// The media type of the body with its parameters, as `text/plain; charset=utf-8`.
    pub content_type: Option<&'a str>,
    /// The start of the body: all of it, or more than
    /// [`TEXT_BYTES_MAX`](crate::alert::hygiene::TEXT_BYTES_MAX) of text.
    pub body: &'a [u8],
    /// The whole body's length in bytes.
    pub body_bytes: u64,
    /// A body that is a text and longer than this is rejected, in bytes.
    pub text_bytes_max: u64,
    /// What the wall clock shows, in Unix milliseconds; 0 where the way in does not say.
    pub now_ms: u64,
}

/// Named values in the order in which they came. Names are found in any case.
#[derive(Debug, Clone, Default)]
pub struct Fields<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// Why a request is no alert: what is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Rejection {
    /// What kind of fault it is, for a way in that answers in numbers.
    pub kind: RejectionKind,
    /// The part of the request that is at fault, as `body`.
    pub field: &'static str,
    /// One line for the sender.
    pub why: String,
}

/// The kinds of a [`Rejection`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectionKind {
    /// It is larger than any text: a mistake that its sender should hear of.
    TooLarge,
}

/// What a body is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Not one byte came.
    Empty,
    /// A text in its charset, clean and trimmed; empty if only white space came.
    Text(String),
    /// A picture, an archive, or other bytes that are no text.
    Binary,
}

impl Request<'_> {
    /// What the body is, and its text.
    pub fn read_body(&self) -> Body {
        if self.body.is_empty() {
            return Body::Empty;
        }
        let charset = self.content_type.and_then(charset_of);
        if !charset.is_some_and(charset::is_wide) && charset::is_binary(self.body) {
            return Body::Binary;
        }
        Body::Text(clean(&charset::text(self.body, charset)).trim().to_owned())
    }

    /// Whether the body calls itself so, whatever parameters follow.
    pub fn is_media(&self, name: &str) -> bool {
        let kind = self.content_type.and_then(|kind| kind.split(';').next());
        kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case(name))
    }

    /// Whether the body calls itself a form in parts.
    pub fn is_multipart(&self) -> bool {
        self.is_media("multipart/form-data")
    }

    /// Whether only the start of the body is there.
    pub fn is_in_part(&self) -> bool {
        self.body_bytes > self.body.len() as u64
    }

    /// Whether the body is longer than any text.
    pub fn is_beyond_text(&self) -> bool {
        self.body_bytes > self.text_bytes_max
    }
}

/// The `charset` parameter of a content type.
fn charset_of(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then_some(value.trim())
    })
}

impl<'a> Fields<'a> {
    /// Fields as they come in headers: in any encoding, and with the encoded words of RFC 2047.
    pub fn from_headers(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let decoded = headers.into_iter().map(|(name, value)| {
            let value = match charset::value(value) {
                Cow::Borrowed(value) => encoded_word::decode(value),
                Cow::Owned(value) => encoded_word::decode(&value).into_owned().into(),
            };
            (name, value)
        });
        decoded.collect()
    }

    /// The first value of this name that is not empty, without the white space around it.
    pub fn get(&self, name: &str) -> Option<&str> {
        let named = self.0.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.trim()).find(|value| !value.is_empty())
    }

    /// All of them, as they came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// These fields, and before them others, which win.
    pub fn behind(&self, first: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let first = first.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(first.chain(self.0.iter().cloned()).collect())
    }

    /// The value of the first of these names that has one.
    pub fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name))
    }
}

impl<'a, N: Into<Cow<'a, str>>, V: Into<Cow<'a, str>>> FromIterator<(N, V)> for Fields<'a> {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter();
        Self(pairs.map(|(name, value)| (name.into(), value.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_any_case_and_empty_ones_are_none() {
        let fields: Fields<'_> = [
            ("X-Title", " "),
            ("t", "short"),
            ("x-title", " a b "),
            ("X-TITLE", "late"),
        ]
        .into_iter()
        .collect();
        assert_eq!(fields.get("x-Title"), Some("a b"));
        assert_eq!(fields.first(&["title", "T", "x-title"]), Some("short"));
        assert_eq!(fields.get("title"), None);
    }

    #[test]
    fn headers_are_read_in_any_encoding() {
        let headers = Fields::from_headers([
            ("plain", &b"Gr\xc3\xbc\xc3\x9fe"[..]),
            ("latin", b"Gr\xfc\xdfe"),
            ("words", b"=?UTF-8?B?R3LDvMOfZQ==?="),
            ("both", b"\xfc =?UTF-8?Q?=C3=BC?="),
        ]);
        for name in ["plain", "latin", "words"] {
            assert_eq!(headers.get(name), Some("Grüße"), "{name}");
        }
        assert_eq!(headers.get("both"), Some("ü ü"));
    }
}
