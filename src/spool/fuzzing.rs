//! What the fuzz target for spooled files runs: bytes that may be anything go in, and a panic is a failure. Not for
//! other use.

use super::Entry;

/// A spooled file. Returns whether it is one.
///
/// # Panics
/// What was read and written is read as something else.
pub fn entry(data: &[u8]) -> bool {
    let Ok(entry) = Entry::decode(data) else {
        return false;
    };
    let again = Entry::decode(&entry.encode()).expect("what was written is readable");
    assert_eq!(entry, again);
    true
}
