//! `application/x-www-form-urlencoded`, both ways: the server reads queries, the command line writes them.

use crate::alert::charset;

/// Pairs of one query; more is nobody's honest request, and every pair costs memory.
const PAIRS_MAX: usize = 64;

/// What a query says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decoded {
    /// Names and values, in order.
    pub pairs: Vec<(String, String)>,
    /// What is wrong with it, each in one line for the sender. What could be read is in the pairs all the same.
    pub faults: Vec<String>,
}

/// Decodes `a=b&c` into pairs, in order; a name without `=` has an empty value. A broken percent escape stays as it is,
/// bytes that are not UTF-8 are windows-1252, and more than 64 pairs are left out.
pub fn decode(query: &[u8]) -> Decoded {
    let mut decoded = Decoded::default();
    let mut broken = false;
    let mut pairs = query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    for pair in pairs.by_ref().take(PAIRS_MAX) {
        let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &b""[..]),
        };
        let mut unescaped = |text| {
            let (bytes, whole) = unescape(text);
            broken |= !whole;
            charset::value(&bytes).into_owned()
        };
        decoded.pairs.push((unescaped(name), unescaped(value)));
    }
    if broken {
        let fault = "the query has a '%' without two hexadecimal digits after it";
        decoded.faults.push(fault.into());
    }
    if pairs.next().is_some() {
        decoded
            .faults
            .push(format!("the query has more than {PAIRS_MAX} parameters"));
    }
    decoded
}

/// The bytes, and whether every escape was one.
fn unescape(text: &[u8]) -> (Vec<u8>, bool) {
    let mut bytes = Vec::with_capacity(text.len());
    let mut whole = true;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |at: usize| text.get(at).and_then(|digit| char::from(*digit).to_digit(16));
                match (digit(at), digit(at + 1)) {
                    (Some(high), Some(low)) => {
                        at += 2;
                        (high * 16 + low) as u8
                    }
                    _ => {
                        whole = false;
                        b'%'
                    }
                }
            }
            other => *other,
        });
    }
    (bytes, whole)
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
        let decoded = decode(query.as_bytes());
        assert_eq!((decoded.pairs, decoded.faults), (wanted, Vec::<String>::new()));
    }

    #[test]
    fn what_can_be_read_is_read_and_the_rest_is_said() {
        let pairs = |query: &str| {
            let Decoded { pairs, faults } = decode(query.as_bytes());
            let joined: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            (joined.join("|"), faults.len())
        };
        for (query, expected, faults) in [
            ("pending&a=b=c&&", "pending=|a=b=c", 0),
            ("a=%", "a=%", 1),
            ("a=%4", "a=%4", 1),
            ("a=100%zz&b=%zz", "a=100%zz|b=%zz", 1),
            ("a=50%+full", "a=50% full", 1),
            ("t=Gr%fc%dfe", "t=Grüße", 0),
            ("t=Grüße%20%C3%BC", "t=Grüße ü", 0),
        ] {
            assert_eq!(pairs(query), (expected.to_owned(), faults), "{query}");
        }
        let many = decode("a&".repeat(PAIRS_MAX + 1).as_bytes());
        assert_eq!((many.pairs.len(), many.faults.len()), (PAIRS_MAX, 1));
    }
}
