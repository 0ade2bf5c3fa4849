//! RFC 2047 encoded words, as mail programs and scripts write them into header values: `=?UTF-8?B?w7w=?=`.
//!
//! Decodes every charset that browsers know. Anything that is not a whole, valid word stays as it was: a
//! title that looks odd is better than an alert that is refused.

use std::borrow::Cow;

use encoding_rs::Encoding;

/// `value` with its encoded words decoded. White space between two of them is dropped, as the RFC wants.
pub fn decode(value: &str) -> Cow<'_, str> {
    if !value.contains("=?") {
        return Cow::Borrowed(value);
    }
    let mut decoded = String::with_capacity(value.len());
    let mut rest = value;
    let mut after_word = false;
    while let Some(start) = rest.find("=?") {
        let (before, from) = rest.split_at(start);
        let Some((text, length)) = word(from) else {
            decoded.push_str(before);
            decoded.push_str("=?");
            rest = &from[2..];
            after_word = false;
            continue;
        };
        if !(after_word && before.chars().all(char::is_whitespace)) {
            decoded.push_str(before);
        }
        decoded.push_str(&text);
        rest = &from[length..];
        after_word = true;
    }
    decoded.push_str(rest);
    decoded.into()
}

/// The encoded word that `text` starts with, and its length in bytes.
fn word(text: &str) -> Option<(String, usize)> {
    let (charset, rest) = text.strip_prefix("=?")?.split_once('?')?;
    let (encoding, rest) = rest.split_once('?')?;
    let (payload, _) = rest.split_once("?=")?;
    let length = 2 + charset.len() + 1 + encoding.len() + 1 + payload.len() + 2;
    let bytes = match encoding {
        "B" | "b" => base64(payload)?,
        "Q" | "q" => quoted(payload)?,
        _ => return None,
    };
    // RFC 2231 lets a language follow: UTF-8*en.
    let charset = charset.split('*').next().unwrap_or_default();
    let encoding = Encoding::for_label_no_replacement(charset.as_bytes())?;
    let decoded = encoding.decode_without_bom_handling_and_without_replacement(&bytes)?;
    Some((decoded.into_owned(), length))
}

fn quoted(payload: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(payload.len());
    let mut input = payload.bytes();
    while let Some(byte) = input.next() {
        match byte {
            b'_' => bytes.push(b' '),
            b'=' => {
                let mut digit = || char::from(input.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                bytes.push((high * 16 + low) as u8);
            }
            other => bytes.push(other),
        }
    }
    Some(bytes)
}

/// The six bits that a letter of base64 stands for. `None`: it is none.
pub fn base64_digit(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

fn base64(payload: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(payload.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in payload.trim_end_matches('=').bytes() {
        bits = (bits << 6 | base64_digit(byte)?) & 0xFFFF;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn words_are_decoded_and_what_is_none_stays() {
        for (value, expected) in [
            ("plain", "plain"),
            ("=?UTF-8?B?8J+RiyBIZWxsbw==?=", "👋 Hello"),
            ("=?utf-8?b?w7w?=", "ü"),
            ("=?UTF-8?Q?caf=C3=A9_au_lait?=", "café au lait"),
            ("=?ISO-8859-1?Q?gr=FC=DFe?=", "grüße"),
            ("a =?UTF-8?Q?b?= c", "a b c"),
            ("=?UTF-8?Q?a?= =?UTF-8?Q?b?=", "ab"),
            ("=?UTF-8*en?Q?a?=", "a"),
            ("=?UTF-8?Q?broken", "=?UTF-8?Q?broken"),
            ("=?UTF-8?Q?=F?=", "=?UTF-8?Q?=F?="),
            ("=?UTF-8?Q?=FF?=", "=?UTF-8?Q?=FF?="),
            ("=?UTF-8?X?a?=", "=?UTF-8?X?a?="),
            ("=?KOI8-R?B?0NLJ18XU?=", "привет"),
            ("=?x-nothing?Q?a?=", "=?x-nothing?Q?a?="),
            ("=?UTF-8?B?!!!?=", "=?UTF-8?B?!!!?="),
            ("what =? =?", "what =? =?"),
            ("=?", "=?"),
        ] {
            assert_eq!(decode(value), expected, "{value:?}");
        }
    }
}
