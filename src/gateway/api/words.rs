//! Times in words, for the page and the commands.

use std::time::{Duration, UNIX_EPOCH};

/// A time for people: its two largest units, and milliseconds only below a second.
pub fn span(ms: u64) -> String {
    let rounded = match ms {
        0..1000 => Duration::from_millis(ms),
        _ => Duration::from_secs(ms / 1000),
    };
    let words = humantime::format_duration(rounded).to_string();
    words.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// A moment for people. UTC, because a box's own zone is rarely set.
pub fn utc(at_ms: u64) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(at_ms));
    // Above the year 9999 there is no such form.
    match at.filter(|_| at_ms < 253_402_300_800_000) {
        Some(at) => humantime::format_rfc3339_seconds(at)
            .to_string()
            .replace('T', " ")
            .replace('Z', ""),
        None => "a time that is none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        assert_eq!(
            [0, 250, 1999, 90_000, 90_061_000].map(span),
            ["0s", "250ms", "1s", "1m 30s", "1day 1h"]
        );
    }
}
