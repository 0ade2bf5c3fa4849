//! Tokens that were refused: for the log, and for health.

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::util::lock;

/// How long health tells of one: long enough for somebody to look.
const TOLD: Duration = Duration::from_secs(3600);
/// Between two lines of the log.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// Requests that came with a token that is not good, as far as somebody should look at them.
#[derive(Default)]
pub struct Refused(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    /// Since health last had nothing to tell.
    count: u64,
    last: Option<Last>,
    logged: Option<Instant>,
}

struct Last {
    at: Instant,
    words: String,
}

impl Refused {
    /// What health tells: how many there were, and the last of them. `None` when the last is an hour past.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let inside = lock(&self.0);
        let last = inside.last.as_ref().filter(|last| last.at.elapsed() < TOLD)?;
        Some(format!(
            "{} request(s) came with a token that is not good, the last {} s ago: {}",
            inside.count,
            last.at.elapsed().as_secs(),
            last.words
        ))
    }

    /// Notes one: who, for what, and why; never the token itself.
    pub(super) fn note(&self, from: Option<IpAddr>, what: &str, why: &str) {
        let from = from.map_or_else(|| "the control socket".into(), |address| address.to_string());
        let words = format!("{what} from {from}: {why}");
        let now = Instant::now();
        let mut inside = lock(&self.0);
        if inside.last.as_ref().is_none_or(|last| now - last.at >= TOLD) {
            inside.count = 0;
        }
        inside.count += 1;
        if inside.logged.is_none_or(|at| now - at >= LOG_PAUSE) {
            inside.logged = Some(now);
            log::warn!("refused: {words}");
        } else {
            log::debug!("refused: {words}");
        }
        inside.last = Some(Last { at: now, words });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_tells_how_many_and_the_last() {
        let refused = Refused::default();
        assert_eq!(refused.trouble(), None);
        refused.note("192.0.2.7".parse().ok(), "POST /family", "nobody has it");
        refused.note("192.0.2.8".parse().ok(), "POST /ops", "it ended");
        let words = refused.trouble().unwrap();
        assert!(
            words.starts_with("2 request(s)") && words.contains("POST /ops from 192.0.2.8: it ended"),
            "{words}"
        );
    }
}
