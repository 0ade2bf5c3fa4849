//! A gateway that keeps files.

use tautline::config::Access;
use tautline::gateway::{Limits, SmtpLimits};

use super::{Bench, FakeRelay};

impl Bench {
    /// One that keeps the files of alerts in its state.
    pub fn with_files() -> Self {
        Self::fetching(&[])
    }

    /// The same, and it fetches files from these addresses.
    pub fn fetching(allowed: &[&str]) -> Self {
        let relay = FakeRelay::new(&["family", "ops"]);
        let allowed = allowed.iter().map(|prefix| prefix.parse().unwrap()).collect();
        let (access, smtp) = (Access::default(), SmtpLimits::default());
        Self::open(relay, Limits::default(), access, None, smtp, Some(allowed))
    }
}
