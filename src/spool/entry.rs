//! What stands in a spooled file: a line of JSON, and behind it the body as its sender wrote it.

use serde::{Deserialize, Serialize};

/// The longest first line, in bytes.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What this program writes, and the newest that it reads.
const VERSION: u32 = 1;

/// An alert as it came, before its dialect has read it: which routes there are, and what they are called, only the
/// relay knows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Entry {
    /// The version of the form; [`new`](Self::new) sets it.
    #[serde(rename = "tautline")]
    pub version: u32,
    /// The dialect that reads it, as `ntfy`.
    pub dialect: String,
    /// Routes by their names, or addresses that lead to them. Empty where the sender named none.
    #[serde(default)]
    pub to: Vec<String>,
    /// Fields beside the body, as a dialect finds them in an address: names and values.
    #[serde(default)]
    pub fields: Vec<(String, String)>,
    /// When it was written, in Unix milliseconds; 0 where the clock was not set.
    #[serde(default)]
    pub at: u64,
    /// The text, or the whole mail.
    #[serde(skip)]
    pub body: Vec<u8>,
}

/// Why a file is no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The first line is not what this program writes.
    #[error("its first line is no head of a spooled alert: {0}")]
    Head(String),
    /// A later version of this program wrote it.
    #[error("a later version of this program wrote it (form {0})")]
    Newer(u32),
}

impl Entry {
    /// An entry that is written now: `at` in Unix milliseconds.
    pub fn new(dialect: &str, at: u64) -> Self {
        Self {
            version: VERSION,
            dialect: dialect.to_owned(),
            at,
            ..Self::default()
        }
    }

    /// The value of the first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut named = self.fields.iter().filter(|(given, _)| given == name);
        named.next().map(|(_, value)| value.as_str())
    }

    /// The bytes of its file.
    pub fn encode(&self) -> Vec<u8> {
        // Strings and numbers always are JSON, and a line feed in one is escaped.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Reads the start of a file: the head, and as much of the body as there is.
    ///
    /// # Errors
    /// It is none, or a later version's.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let start = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
        let Some(end) = start.iter().position(|byte| *byte == b'\n') else {
            return Err(EntryError::Head("it has no end".into()));
        };
        let head = &bytes[..end];
        let version = serde_json::from_slice::<Versioned>(head).map_err(|error| EntryError::Head(error.to_string()))?;
        if version.tautline > VERSION {
            return Err(EntryError::Newer(version.tautline));
        }
        let mut entry: Self = serde_json::from_slice(head).map_err(|error| EntryError::Head(error.to_string()))?;
        entry.body = bytes[end + 1..].to_vec();
        Ok(entry)
    }
}

/// What every version has in its head.
#[derive(Deserialize)]
struct Versioned {
    tautline: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let entry = Entry {
            to: vec!["family".into()],
            fields: vec![("title".into(), "two\nlines \u{fc}".into())],
            body: b"the \xff text\nand more\n".to_vec(),
            ..Entry::new("ntfy", 1_764_000_000_000)
        };
        assert_eq!(Entry::decode(&entry.encode()).unwrap(), entry);
        assert_eq!(entry.field("title"), Some("two\nlines \u{fc}"));
        let bare = b"{\"tautline\":1,\"dialect\":\"mail\",\"later\":{\"x\":1}}\n";
        assert_eq!(Entry::decode(bare).unwrap(), Entry::new("mail", 0));
    }

    #[test]
    fn what_is_no_entry_is_told_from_what_is_newer() {
        for bytes in [
            &b""[..],
            b"disk full",
            b"disk full\n",
            b"[]\n",
            b"{\"tautline\":1}\n",
            b"{\"dialect\":\"ntfy\"}\nx",
            &[b' '; HEAD_BYTES_MAX + 1],
        ] {
            assert!(matches!(Entry::decode(bytes), Err(EntryError::Head(_))), "{bytes:.20?}");
        }
        let newer = b"{\"tautline\":2,\"form\":[]}\nx";
        assert_eq!(Entry::decode(newer), Err(EntryError::Newer(2)));
    }
}
