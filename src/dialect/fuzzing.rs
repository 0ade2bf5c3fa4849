//! What the fuzz targets for mails, forms and templates run: bytes that may be anything go in, and a panic is a
//! failure. Not for other use.

use super::mail::{self, FILES_MAX, REDUCED_BYTES_MAX, Reducer};
use super::template::render;
use super::{Parsed, Request, Source};
use crate::alert::hygiene::TEXT_BYTES_MAX;

/// A mail, as it comes and once reduced. Returns how many alerts it makes.
///
/// # Panics
/// It is refused, an alert is empty or too long, or what is reduced is not small.
pub fn mail(data: &[u8]) -> usize {
    let mut reducer = Reducer::with_files();
    reducer.push(data);
    let (reduced, pieces) = reducer.finish_with_files();
    assert!(reduced.len() <= REDUCED_BYTES_MAX);
    let bytes: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
    assert!(bytes <= data.len() && pieces.iter().all(|piece| piece.file < FILES_MAX));
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

/// A template in the first line, and behind it the JSON that it is filled from. Returns how long what it makes is; 0
/// where it is refused.
///
/// # Panics
/// What it makes is longer than what may be made, or why it is refused is more than a line.
pub fn template(data: &[u8]) -> usize {
    let text = String::from_utf8_lossy(data);
    let (template, json) = text.split_once('\n').unwrap_or((&text, ""));
    let filled = render(template, &serde_json::from_str(json).unwrap_or_default());
    match filled {
        Ok(filled) => {
            assert!(filled.len() <= (2 << 20) + data.len());
            filled.len()
        }
        Err(why) => {
            assert!(!why.contains('\n'), "{why}");
            0
        }
    }
}

/// A body with its content type in the first line, in each dialect. Returns how many files come with it.
///
/// # Panics
/// It makes no alert, an alert is empty or too long once its files are left out, or a file lies outside of the body.
pub fn form(data: &[u8]) -> usize {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (content_type, body) = (
        String::from_utf8_lossy(&data[..end]),
        &data[(end + 1).min(data.len())..],
    );
    let request = Request {
        content_type: Some(&content_type),
        body,
        body_bytes: body.len() as u64,
        text_bytes_max: u64::MAX,
        ..Request::default()
    };
    let mut files = 0;
    for dialect in super::DIALECTS.iter().filter(|dialect| dialect.name != "mail") {
        let Ok(parsed) = (dialect.parse)(&request) else {
            continue;
        };
        for file in &parsed.files {
            if let Source::Part(range) = &file.source {
                assert!(body.get(range.clone()).is_some());
            }
        }
        files = files.max(parsed.files.len());
        let parsed = parsed.without_files("none are kept");
        for alert in &parsed.alerts {
            assert!(
                !alert.text.is_empty() && alert.text.len() <= TEXT_BYTES_MAX,
                "{}",
                dialect.name
            );
        }
    }
    files
}
