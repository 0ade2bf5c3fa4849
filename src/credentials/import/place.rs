//! Where in a JSON document a reader stopped: the path of the field, for faults that name it and never quote it.

use std::fmt::Write as _;

/// A path is cut to this, in bytes: bytes may stand in bytes, as deep as JSON may go.
const PATH_BYTES_MAX: usize = 100;

/// Longer words are no names of fields.
const NAME_BYTES_MAX: usize = 32;

/// A container that is not closed yet, and how far it has come.
enum Level<'a> {
    /// How many keys it has shown, and the one whose value is being read or has just been.
    Object {
        count: usize,
        key: Option<&'a [u8]>,
    },
    List {
        index: usize,
    },
}

/// The path of the value that `read`, the beginning of a JSON document, ends in or after. Empty for the document
/// itself.
///
/// A key that is not a name of letters stands as its place among the keys (`#2`): keys of maps are addresses and
/// numbers.
pub(super) fn path(read: &[u8]) -> String {
    let mut levels = Vec::new();
    let mut at = 0;
    while let Some(&byte) = read.get(at) {
        at += 1;
        match (byte, levels.last_mut()) {
            (b'{', _) => levels.push(Level::Object { count: 0, key: None }),
            (b'[', _) => levels.push(Level::List { index: 0 }),
            (b'}' | b']', _) => drop(levels.pop()),
            (b',', Some(Level::Object { key, .. })) => *key = None,
            (b',', Some(Level::List { index })) => *index += 1,
            (b'"', level) => {
                let text = &read[at..string_end(read, at)];
                at += text.len() + 1;
                if let Some(Level::Object { count, key: key @ None }) = level {
                    (*count, *key) = (*count + 1, Some(text));
                }
            }
            _ => {}
        }
    }
    let mut path = String::new();
    for level in &levels {
        match level {
            Level::Object { key: None, .. } => {}
            Level::Object { count, key: Some(key) } => match name(key) {
                Some(name) => path = under(&path, name),
                None => path = under(&path, &format!("#{count}")),
            },
            Level::List { index } => drop(write!(path, "[{index}]")),
        }
    }
    if path.len() > PATH_BYTES_MAX {
        path.truncate(PATH_BYTES_MAX);
        path.push('…');
    }
    path
}

/// The path of the field `name` of what stands at `path`.
pub(super) fn under(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}

/// The place of the quote that ends the string beginning at `at`, or the end of what there is.
fn string_end(read: &[u8], mut at: usize) -> usize {
    while let Some(byte) = read.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    read.len()
}

fn name(key: &[u8]) -> Option<&str> {
    let letters = key.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    let is_name = letters && (1..=NAME_BYTES_MAX).contains(&key.len());
    is_name.then(|| std::str::from_utf8(key).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_that_of_the_value_that_was_read_last() {
        for (read, wanted) in [
            ("", ""),
            ("{", ""),
            (r#"{"a""#, "a"),
            (r#"{"a": "#, "a"),
            (r#"{"a":"b""#, "a"),
            (r#"{"a":"b","#, ""),
            (r#"{"a":{"x":1},"b":{"c":"}\"{\\","d":5"#, "b.d"),
            (r#"{"a":{"x":1}"#, "a"),
            (r#"{"a":{"x":1}}"#, ""),
            (r#"{"a":[1, {"b":2}, 3"#, "a[2]"),
            (r#"[[1],{"b":[7"#, "[1].b[0]"),
            (
                r#"{"_sessions":{"BQ+/=":{},"15550100002@lid":{"rootKey":7"#,
                "_sessions.#2.rootKey",
            ),
            (r#"{"a\"b":{"":{"c"#, "#1.#1.c"),
            ("]}],,", ""),
        ] {
            assert_eq!(path(read.as_bytes()), wanted, "{read}");
        }
        let deep = r#"{"data":"#.repeat(200);
        assert!(path(deep.as_bytes()).len() < 110);
        assert_eq!(path(br#"{"\"#), "#1");
    }
}
