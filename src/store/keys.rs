//! Composite keys: parts that can hold any bytes, joined so that a prefix of parts is a prefix of bytes.

/// Ends a part. A `0x00` inside a part is written `0x00 0xFF`, so no part can look like the end of another.
const END: [u8; 2] = [0x00, 0x01];

fn push(key: &mut Vec<u8>, part: &[u8]) {
    for &byte in part {
        key.push(byte);
        if byte == 0 {
            key.push(0xFF);
        }
    }
    key.extend_from_slice(&END);
}

/// A key of `parts`. Keys sort by their parts.
pub fn join(parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(parts.iter().map(|part| part.len() + END.len()).sum());
    for part in parts {
        push(&mut key, part);
    }
    key
}

/// What the keys of all entries under `parts` start with.
pub fn prefix(parts: &[&[u8]]) -> Vec<u8> {
    join(parts)
}

/// The parts of a key made by [`join`]; what follows a damaged end is left out.
pub fn split(key: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut bytes = key.iter();
    while let Some(&byte) = bytes.next() {
        if byte != 0 {
            part.push(byte);
            continue;
        }
        match bytes.next() {
            Some(0x01) => parts.push(std::mem::take(&mut part)),
            Some(0xFF) => part.push(0),
            _ => return parts,
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_whatever_they_hold() {
        for parts in [
            vec![&b""[..]],
            vec![b"a", b""],
            vec![b"a\0b", b"\0\0", b"\x01"],
            vec![b"\xff", b"\0\xff"],
        ] {
            assert_eq!(split(&join(&parts)), parts);
        }
    }

    #[test]
    fn one_session_is_no_prefix_of_another() {
        assert!(!join(&[b"alpha", b"x"]).starts_with(&prefix(&[b"alph"])));
        assert!(join(&[b"alpha", b"x"]).starts_with(&prefix(&[b"alpha"])));
    }
}
