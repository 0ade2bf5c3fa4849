//! The JSON that Baileys writes: bytes in their several spellings, and faults that say where and never what.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use zeroize::Zeroizing;

use super::place;

/// As Node reads it: with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a file could not be taken, in one line: the path of the field and what is wrong with it, without anything of its
/// content, which is keys.
pub(super) type Fault = String;

const NOT_BASE64: &str = "it is not base64";
const NOT_BYTES: &str = "it is not bytes as Baileys writes them";
const NOT_WHOLE: &str = "it is not a whole number";
const OUT_OF_RANGE: &str = "it is out of range";

/// Reads one JSON document.
pub(super) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Fault> {
    if bytes.is_empty() {
        return Err("it is empty (0 bytes)".into());
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        match error.classify() {
            Category::Eof => format!("it ends in the middle ({place})"),
            Category::Syntax | Category::Io => format!("it is not JSON ({place})"),
            Category::Data => {
                let path = place::path(before(bytes, error.line(), error.column()));
                format!("{} ({place})", wrong_type(&path, &error))
            }
        }
    })
}

/// What stands before a place, whose line counts from 1 and whose column is in bytes.
fn before(bytes: &[u8], line: usize, column: usize) -> &[u8] {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let start: usize = lines.take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    &bytes[..bytes.len().min(start + column)]
}

/// What is wrong with the value at `path`. The error's own words quote values: only what is known of them is passed on.
fn wrong_type(path: &str, error: &serde_json::Error) -> Fault {
    let words = Zeroizing::new(error.to_string());
    let after = |start: &str| words.strip_prefix(start);
    if let Some((name, _)) = after("missing field `").and_then(|rest| rest.split_once('`')) {
        return at(&place::under(path, name), "it is missing");
    }
    if let Some(got) = after("invalid type: ") {
        return match (got_word(got), wanted_word(&words)) {
            (Some(got), Some(wanted)) => at(path, format!("{got} where {wanted} should be")),
            _ => at(path, "it is not as Baileys writes it"),
        };
    }
    let known = [NOT_BASE64, NOT_BYTES, NOT_WHOLE, OUT_OF_RANGE];
    let why = match known.into_iter().find(|known| words.starts_with(known)) {
        Some(known) => known,
        None if words.starts_with("invalid value: integer") => OUT_OF_RANGE,
        None if words.starts_with("invalid length") => "a list where an object should be",
        None if words.starts_with("duplicate field") => "it is there twice",
        None => "it is not as Baileys writes it",
    };
    at(path, why)
}

fn got_word(words: &str) -> Option<&'static str> {
    let words = [
        ("null", "null"),
        ("boolean", "true or false"),
        ("integer", "a number"),
        ("floating point", "a fraction"),
        ("string", "text"),
        ("map", "an object"),
        ("sequence", "a list"),
    ]
    .into_iter()
    .find(|(word, _)| words.starts_with(word));
    words.map(|(_, word)| word)
}

fn wanted_word(words: &str) -> Option<&'static str> {
    let (_, wanted) = words.rsplit_once(", expected ")?;
    let (wanted, _) = wanted.rsplit_once(" at line ")?;
    match wanted {
        "u8" | "u32" | "i64" | "a whole number" => Some("a whole number"),
        "a string" => Some("text"),
        "a boolean" => Some("true or false"),
        "a sequence" => Some("a list"),
        "bytes" => Some("bytes"),
        "an object" => Some("an object"),
        wanted => wanted.starts_with("struct ").then_some("an object"),
    }
}

/// What is wrong with the value at `path`; of the document itself without one.
pub(super) fn at(path: &str, why: impl fmt::Display) -> Fault {
    match path {
        "" => why.to_string(),
        path => format!("{path}: {why}"),
    }
}

/// The fault of bytes at `path` that are not `wanted` in number.
pub(super) fn wrong_length(path: &str, bytes: &[u8], wanted: impl fmt::Display) -> Fault {
    let bytes = match bytes.len() {
        1 => "1 byte".to_owned(),
        count => format!("{count} bytes"),
    };
    at(path, format!("{bytes} where {wanted} should be"))
}

/// Bytes without padding or with.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// Bytes as they occur: `{"type":"Buffer","data":"<base64>"}`, the same with a list of numbers, base64 alone, a list of
/// numbers, or an object that counts them (`{"0":7,"1":9}`). Wiped when dropped.
#[derive(Default)]
pub(super) struct Bytes(Zeroizing<Vec<u8>>);

impl Bytes {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        self.0.to_vec()
    }

    pub(super) fn array<const N: usize>(&self) -> Option<[u8; N]> {
        self.0.as_slice().try_into().ok()
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesVisitor)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
        let bytes = from_base64(text).ok_or_else(|| E::custom(NOT_BASE64))?;
        Ok(Bytes(bytes.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Bytes, A::Error> {
        let mut bytes = Zeroizing::new(Vec::new());
        while let Some(byte) = list.next_element::<u8>()? {
            bytes.push(byte);
        }
        Ok(Bytes(bytes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bytes, A::Error> {
        let mut bytes = Bytes::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "type" => {
                    if map.next_value::<String>()? != "Buffer" {
                        return Err(A::Error::custom(NOT_BYTES));
                    }
                }
                "data" => bytes = map.next_value()?,
                // Written in order; anything else would not be an array to whoever wrote it.
                number if number.parse() == Ok(bytes.0.len()) => bytes.0.push(map.next_value()?),
                _ => return Err(A::Error::custom(NOT_BYTES)),
            }
        }
        Ok(bytes)
    }
}

/// An object as pairs in the order of the file: the order of ratchet chains means something.
pub(super) struct Pairs<T>(pub(super) Vec<(String, T)>);

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for PairsVisitor<T> {
            type Value = Pairs<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<T>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

/// A whole number, also as text: protobuf's 64-bit numbers are text in JSON.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Int(pub(super) i64);

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntVisitor;
        impl Visitor<'_> for IntVisitor {
            type Value = Int;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Int, E> {
                Ok(Int(number))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Int, E> {
                i64::try_from(number).map(Int).map_err(|_| E::custom(OUT_OF_RANGE))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Int, E> {
                text.parse().map(Int).map_err(|_| E::custom(NOT_WHOLE))
            }
        }
        deserializer.deserialize_any(IntVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_bytes_reads_the_same() {
        for text in [
            r#"{"type":"Buffer","data":"Bwk="}"#,
            r#"{"type":"Buffer","data":[7,9]}"#,
            r#"{"data":"Bwk","type":"Buffer"}"#,
            r#""Bwk=""#,
            r#"[7,9]"#,
            r#"{"0":7,"1":9}"#,
        ] {
            assert_eq!(read::<Bytes>(text.as_bytes()).unwrap().as_slice(), [7, 9], "{text}");
        }
        for text in [
            r#"{"type":"Blob","data":"Bwk="}"#,
            r#"{"1":7,"0":9}"#,
            r#"[256]"#,
            r#""%""#,
            "7",
            "null",
        ] {
            assert!(read::<Bytes>(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_fault_says_where_and_never_what() {
        #[derive(Debug, Deserialize)]
        struct Number {
            #[serde(rename = "n")]
            _n: u8,
        }
        let fault = |text: &str| read::<Number>(text.as_bytes()).unwrap_err();
        assert_eq!(fault(""), "it is empty (0 bytes)");
        assert_eq!(fault(r#"{"n":"#), "it ends in the middle (line 1, column 5)");
        assert_eq!(fault("\0\0"), "it is not JSON (line 1, column 1)");
        assert_eq!(fault("[]"), "a list where an object should be (line 1, column 2)");
        assert_eq!(
            fault(r#"{"n":"secret"}"#),
            "n: text where a whole number should be (line 1, column 13)"
        );
        assert_eq!(fault("{\n \"m\": 7}"), "n: it is missing (line 2, column 8)");
    }

    #[test]
    fn a_fault_names_the_field_and_quotes_nothing() {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Outer {
            #[serde(rename = "theKey")]
            _key: Option<Inner>,
            #[serde(rename = "_map", default)]
            _map: Pairs<Inner>,
        }
        #[derive(Deserialize)]
        struct Inner {
            #[serde(rename = "private")]
            _private: Bytes,
            #[serde(rename = "count", default)]
            _count: Int,
            #[serde(rename = "list", default)]
            _list: Vec<u32>,
        }
        let secret = "c2VjcmV0, expected u32 at line 7";
        for (inner, wanted) in [
            (r#"5"#, "theKey: a number where an object should be"),
            (r#""SECRET""#, "theKey: text where an object should be"),
            ("[]", "theKey: a list where an object should be"),
            (r#"{"public":"x"}"#, "theKey.private: it is missing"),
            (r#"{"private":"SECRET"}"#, "theKey.private: it is not base64"),
            (r#"{"private":null}"#, "theKey.private: null where bytes should be"),
            (r#"{"private":7.5}"#, "theKey.private: a fraction where bytes should be"),
            (r#"{"private":[1,256]}"#, "theKey.private[1]: it is out of range"),
            (
                r#"{"private":[1,"SECRET"]}"#,
                "theKey.private[1]: text where a whole number should be",
            ),
            (
                r#"{"private":{"type":"SECRET","data":""}}"#,
                "theKey.private.type: it is not bytes as Baileys writes them",
            ),
            (
                r#"{"private":{"type":"Buffer","data":"SECRET"}}"#,
                "theKey.private.data: it is not base64",
            ),
            (
                r#"{"private":{"SECRET":1}}"#,
                "theKey.private.#1: it is not bytes as Baileys writes them",
            ),
            (r#"{"private":"","private":""}"#, "theKey.private: it is there twice"),
            (
                r#"{"private":"","count":"SECRET"}"#,
                "theKey.count: it is not a whole number",
            ),
            (
                r#"{"private":"","count":1e99}"#,
                "theKey.count: a fraction where a whole number should be",
            ),
            (
                r#"{"private":"","count":18446744073709551615}"#,
                "theKey.count: it is out of range",
            ),
            (
                r#"{"private":"","count":true}"#,
                "theKey.count: true or false where a whole number should be",
            ),
            (
                r#"{"private":"","list":{}}"#,
                "theKey.list: an object where a list should be",
            ),
            (r#"{"private":"","list":[1, -1]}"#, "theKey.list[1]: it is out of range"),
        ] {
            let text = format!(r#"{{"other": [{{"private": 1}}], "theKey": {inner}}}"#).replace("SECRET", secret);
            let fault = read::<Outer>(text.as_bytes()).err().unwrap();
            let (words, place) = fault.rsplit_once(" (line 1, column ").unwrap();
            assert!(words == wanted && place.ends_with(')'), "{inner}: {fault}");
        }
        let text = r#"{"_map": {"BQ+/": {"private":""}, "15550100002@lid": {"private": {}, "count": []}}}"#;
        let fault = read::<Outer>(text.as_bytes()).err().unwrap();
        assert!(
            fault.starts_with("_map.#2.count: a list where a whole number"),
            "{fault}"
        );
    }
}
