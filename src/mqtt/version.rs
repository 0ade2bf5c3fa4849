//! The versions of MQTT that are spoken.

use std::fmt;
use std::str::FromStr;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1.
    V3,
    /// 5.
    V5,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3 => "3.1.1",
            Self::V5 => "5",
        })
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "3.1.1" => Ok(Self::V3),
            "5" | "5.0" => Ok(Self::V5),
            other => Err(format!("{other:?} is no version; expected \"5\" or \"3.1.1\"")),
        }
    }
}
