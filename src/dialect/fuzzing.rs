//! What the fuzz target for mails runs: bytes that may be anything go in, and a panic is a failure. Not for other use.

use super::mail::{self, REDUCED_BYTES_MAX, Reducer};
use super::{Parsed, Request};
use crate::alert::hygiene::TEXT_BYTES_MAX;

/// A mail, as it comes and once reduced. Returns how many alerts it makes.
///
/// # Panics
/// It is refused, an alert is empty or too long, or what is reduced is not small.
pub fn mail(data: &[u8]) -> usize {
    let mut reducer = Reducer::default();
    reducer.push(data);
    let reduced = reducer.finish();
    assert!(reduced.len() <= REDUCED_BYTES_MAX);
    mail::recipients(data);
    let made = [data, &reduced].map(|body| {
        let request = Request {
            body,
            body_bytes: body.len() as u64,
            text_bytes_max: u64::MAX,
            ..Request::default()
        };
        let parsed = mail::parse(&request).expect("a mail is never refused");
        let Parsed { alerts, .. } = parsed.without_files("none are kept");
        for alert in &alerts {
            assert!(!alert.text.is_empty() && alert.text.len() <= TEXT_BYTES_MAX);
        }
        alerts.len()
    });
    made[0]
}
