//! What `[attachments]` says.

use std::fmt;
use std::str::FromStr;

use super::Url;

/// The largest file, and all of them, where nothing else is said. WhatsApp's apps take 16 MB of pictures, video and
/// audio.
const MAX_DEFAULT: Size = Size(16_000_000);
const TOTAL_DEFAULT: Size = Size(512_000_000);

/// The largest size that can be asked for: what a request may carry.
const MAX_MOST: u64 = 32_000_000;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 4] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000), ("KB", 1000)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no size; expected one like \"16MB\" or \"2GB\"");
        let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
        let (unit, bytes) = unit.ok_or_else(wrong)?;
        let number: u64 = text.trim_end_matches(unit).trim().parse().map_err(|_| wrong())?;
        number
            .checked_mul(*bytes)
            .map(Self)
            .filter(|size| size.0 > 0)
            .ok_or_else(wrong)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, bytes)| self.0.is_multiple_of(*bytes));
        match unit {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// The largest file of one attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Largest(pub Size);

impl FromStr for Largest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size: Size = text.parse()?;
        match size.0 <= MAX_MOST {
            true => Ok(Self(size)),
            false => Err(format!("{size} is too much; expected at most {}", Size(MAX_MOST))),
        }
    }
}

/// Addresses from which files are fetched: all that begin so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(Url);

impl Prefix {
    /// Whether `url` is one of them. What climbs up a path could leave it.
    pub fn holds(&self, url: &Url) -> bool {
        let path = &url.endpoint().path;
        let climbs = path.contains("..") || path.to_ascii_lowercase().contains("%2e") || path.contains('\\');
        url.origin() == self.0.origin() && path.starts_with(&self.0.endpoint().path) && !climbs
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url: Url = text.parse()?;
        match url.endpoint().path.ends_with('/') {
            true => Ok(Self(url)),
            // `/cam` would hold `/camera` and `/cam.example` too.
            false => Err(format!("does not end with a slash; expected {text}/")),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is kept of files, and where they are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentsPlan {
    /// The largest file.
    pub max: Size,
    /// All files.
    pub total: Size,
    /// Addresses from which a file is fetched; no others are.
    pub fetch: Vec<Prefix>,
}

impl Default for AttachmentsPlan {
    fn default() -> Self {
        Self {
            max: MAX_DEFAULT,
            total: TOTAL_DEFAULT,
            fetch: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [("16MB", 16_000_000), ("2GB", 2_000_000_000), ("500kB", 500_000)] {
            assert_eq!(text.parse(), Ok(Size(bytes)));
            assert_eq!(Size(bytes).to_string(), text);
        }
        assert_eq!("16 MB".parse(), Ok(Size(16_000_000)));
        for wrong in ["", "16", "MB", "0MB", "-1MB", "1.5MB", "99999999999999GB", "16MiB"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
        assert!("33MB".parse::<Largest>().is_err() && "32MB".parse::<Largest>().is_ok());
    }

    #[test]
    fn only_what_begins_like_the_prefix_is_held() {
        let prefix: Prefix = "http://camera.lan/snap/".parse().unwrap();
        let holds = |url: &str| prefix.holds(&url.parse().unwrap());
        assert!(holds("http://camera.lan/snap/1.jpg?q=1") && holds("http://camera.lan/snap/"));
        for other in [
            "http://camera.lan/snapshots/1.jpg",
            "http://camera.lan:8080/snap/1.jpg",
            "https://camera.lan/snap/1.jpg",
            "http://camera.lan.example/snap/1.jpg",
            "http://camera.lan/snap/../admin",
            "http://camera.lan/snap/%2E%2e/admin",
        ] {
            assert!(!holds(other), "{other}");
        }
        assert!("http://camera.lan/snap".parse::<Prefix>().is_err());
        assert!(
            "http://8.8.8.8/".parse::<Prefix>().is_err(),
            "unencrypted over the internet"
        );
    }
}
