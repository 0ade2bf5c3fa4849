//! Values on disk: a version byte, then postcard. postcard does not describe itself, so the version stands outside it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{StoreError, Tree};

/// `value` as format `version` of its tree.
///
/// # Errors
/// The value has no postcard form (a bug, met in tests).
pub fn encode<T: Serialize>(tree: Tree, version: u8, value: &T) -> Result<Vec<u8>, StoreError> {
    postcard::to_extend(value, vec![version]).map_err(|error| StoreError::Record {
        tree: tree.name(),
        cause: error.to_string(),
    })
}

/// The version of a stored value and its body.
///
/// # Errors
/// The value is empty.
pub fn version(tree: Tree, bytes: &[u8]) -> Result<(u8, &[u8]), StoreError> {
    match bytes.split_first() {
        Some((&version, body)) => Ok((version, body)),
        None => Err(StoreError::Record {
            tree: tree.name(),
            cause: "it is empty".into(),
        }),
    }
}

/// Reads a value that must be of format `expected`.
///
/// # Errors
/// It is of another version (written by a later Tautline), or damaged.
pub fn decode<T: DeserializeOwned>(tree: Tree, expected: u8, bytes: &[u8]) -> Result<T, StoreError> {
    let fault = |cause: String| StoreError::Record {
        tree: tree.name(),
        cause,
    };
    let (found, body) = version(tree, bytes)?;
    if found != expected {
        return Err(fault(format!(
            "format {found} is not known to this version (it knows {expected})"
        )));
    }
    match postcard::take_from_bytes::<T>(body) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(fault(format!("{} bytes too many", rest.len()))),
        Err(error) => Err(fault(error.to_string())),
    }
}

/// Rows in fixtures.
#[cfg(test)]
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(super) fn from_hex(hex: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}
