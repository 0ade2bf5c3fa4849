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

/// As Node reads it: with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a file could not be taken, in one line without anything of its content: it is full of keys.
pub(super) type Fault = String;

/// Reads one JSON document.
pub(super) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Fault> {
    if bytes.is_empty() {
        return Err("it is empty (0 bytes)".into());
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        // The error's own words quote values.
        match error.classify() {
            Category::Eof => format!("it ends in the middle ({place})"),
            Category::Syntax | Category::Io => format!("it is not JSON ({place})"),
            Category::Data => format!("a field is missing or is not as Baileys writes it ({place})"),
        }
    })
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
        let bytes = from_base64(text).ok_or_else(|| E::custom("not base64"))?;
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
                        return Err(A::Error::custom("not a buffer"));
                    }
                }
                "data" => bytes = map.next_value()?,
                // Written in order; anything else would not be an array to whoever wrote it.
                number if number.parse() == Ok(bytes.0.len()) => bytes.0.push(map.next_value()?),
                _ => return Err(A::Error::custom("not a buffer")),
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
                i64::try_from(number).map(Int).map_err(E::custom)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Int, E> {
                text.parse().map(Int).map_err(E::custom)
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
        let quoted = fault(r#"{"n":"secret"}"#);
        assert!(
            quoted.contains("not as Baileys writes it") && !quoted.contains("secret"),
            "{quoted}"
        );
    }
}
