//! `application/x-www-form-urlencoded`, both ways: the server reads queries, the command line writes them.

/// Pairs of one query; more is nobody's honest request, and every pair costs memory.
const PAIRS_MAX: usize = 64;

/// Decodes `a=b&c` into pairs, in order; a name without `=` has an empty value.
///
/// # Errors
/// A broken percent escape, bytes that are not UTF-8, or more than 64 pairs: one line for the sender.
pub fn decode(query: &[u8]) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    for pair in query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        if pairs.len() == PAIRS_MAX {
            return Err(format!("the query has more than {PAIRS_MAX} parameters"));
        }
        let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &b""[..]),
        };
        pairs.push((unescape(name)?, unescape(value)?));
    }
    Ok(pairs)
}

fn unescape(text: &[u8]) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err("the query has a '%' without two hexadecimal digits after it".into());
                };
                (high * 16 + low) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| "the query is not UTF-8".into())
}

/// Encodes pairs so that [`decode`] gives them back.
pub fn encode(pairs: &[(&str, &str)]) -> String {
    let mut query = String::new();
    for (name, value) in pairs {
        if !query.is_empty() {
            query.push('&');
        }
        escape(name, &mut query);
        query.push('=');
        escape(value, &mut query);
    }
    query
}

fn escape(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => into.push(byte.into()),
            b' ' => into.push('+'),
            other => into.push_str(&format!("%{other:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_comes_back() {
        let pairs = [("message", "50 % full & more=worse\n"), ("t", "Grüße 🔥 +1"), ("", "")];
        let query = encode(&pairs);
        assert!(query.bytes().all(|byte| byte.is_ascii_graphic()), "{query}");
        let wanted: Vec<_> = pairs.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        assert_eq!(decode(query.as_bytes()), Ok(wanted));
    }

    #[test]
    fn a_bare_name_is_a_pair_and_rubbish_is_refused() {
        assert_eq!(
            decode(b"pending&a=b=c&&"),
            Ok(vec![("pending".into(), String::new()), ("a".into(), "b=c".into())])
        );
        for query in ["a=%", "a=%4", "a=%zz", "a=%ff", &"a&".repeat(65)] {
            assert!(decode(query.as_bytes()).is_err(), "{query}");
        }
    }
}
