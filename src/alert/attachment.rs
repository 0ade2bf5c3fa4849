//! What an alert carries beside its text.

use std::fmt;
use std::str::FromStr;

use super::NameError;

/// The SHA-256 of a file's bytes, which is also its name among the blobs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobHash(pub [u8; 32]);

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobHash({self})")
    }
}

/// 64 hexadecimal digits in small letters: one hash has one name.
impl FromStr for BlobHash {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = || NameError("the name of a blob is 64 of 0 to 9 and a to f".to_owned());
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let digits: Option<Vec<u8>> = text.bytes().map(digit).collect();
        let digits = digits.filter(|digits| digits.len() == 64).ok_or_else(wrong)?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        Ok(Self(hash))
    }
}

/// How the apps show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MediaKind {
    Image,
    Video,
    /// Without a caption: WhatsApp has none for it.
    Audio,
    /// Anything else, as a file with its name.
    Document,
}

impl MediaKind {
    /// Whether a text can go with it in one message.
    pub fn has_caption(self) -> bool {
        match self {
            Self::Image | Self::Video | Self::Document => true,
            Self::Audio => false,
        }
    }
}

/// In JSON and in words.
impl fmt::Display for MediaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Document => "document",
        })
    }
}

/// One file that goes with an alert. Its bytes lie among the blobs, synced before the alert's record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub hash: BlobHash,
    /// Length of the file.
    pub bytes: u64,
    /// The file's name for people; may be empty.
    pub name: String,
    /// As `image/jpeg`; told from the content where it tells.
    pub mime: String,
    pub kind: MediaKind,
    /// In pixels; 0 where it is not known or there is none.
    pub width: u32,
    pub height: u32,
    /// A small JPEG, also a blob.
    pub thumbnail: Option<BlobHash>,
}

impl Attachment {
    /// The blobs that it needs.
    pub fn blobs(&self) -> impl Iterator<Item = BlobHash> + '_ {
        std::iter::once(self.hash).chain(self.thumbnail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_has_one_name() {
        let hash = BlobHash(std::array::from_fn(|at| at as u8 * 8));
        assert_eq!(hash.to_string().parse(), Ok(hash));
        let name = hash.to_string();
        for wrong in [&name[1..], &name.to_uppercase(), &format!("{name}0"), "", "../x"] {
            assert!(wrong.parse::<BlobHash>().is_err(), "{wrong}");
        }
    }
}
