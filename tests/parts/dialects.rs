//! Every dialect has its file, its line in the table and its captured requests, and makes of these what it must.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tautline::dialect::{DIALECTS, Fields, Parsed, Request};
use tautline::gateway::query;

use crate::captured::{self, Captured};

/// The files of the room that are no dialect.
const COMMON: [&str; 9] = [
    "mod", "draft", "file", "form", "fuzzing", "markdown", "query", "request", "template",
];

/// The names of what lies in a folder, without extensions.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    let stem = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    entries.map(|entry| stem(&entry.unwrap().path())).collect()
}

#[test]
fn every_dialect_has_its_file_its_line_and_its_captured_requests() {
    let table: BTreeSet<String> = DIALECTS.iter().map(|dialect| dialect.name.to_owned()).collect();
    assert_eq!(table.len(), DIALECTS.len(), "a name is there twice");
    let mut files = names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dialect"));
    for common in COMMON {
        assert!(files.remove(common), "there is no {common}.rs");
    }
    let modules: BTreeSet<String> = table.iter().map(|name| name.replace('-', "_")).collect();
    assert_eq!(modules, files, "the table of dialects and the files of src/dialect");
    assert_eq!(
        table,
        names(&captured::folder()),
        "the table of dialects and the folders of fixtures"
    );
    for dialect in DIALECTS {
        assert!(!dialect.summary.is_empty());
        assert!(
            captured::requests(dialect.name).len() >= 3,
            "{} has too few requests",
            dialect.name
        );
    }
}

/// A sender may be of a version that nobody knows, or set up by hand.
#[test]
fn what_stands_under_no_known_name_is_shown() {
    let of = |dialect: &tautline::dialect::Dialect, query: &str, body: &str| {
        let request = Request {
            query: query::decode(query.as_bytes()).pairs.into_iter().collect(),
            content_type: Some("application/json"),
            body: body.as_bytes(),
            body_bytes: body.len() as u64,
            text_bytes_max: 1024 * 1024,
            ..Request::default()
        };
        let parsed = (dialect.parse)(&request).unwrap();
        let alert = &parsed.alerts[0];
        format!("{}\n{}", alert.title, alert.text)
    };
    for dialect in DIALECTS {
        let told = of(
            dialect,
            "",
            r#"{"topic": "family", "foo": "disk full", "token": "tk_0123456789abcdefghijklmnopqrs"}"#,
        );
        // The body of a mail, and of ntfy, is the text as it stands.
        let is_plain = ["mail", "ntfy"].contains(&dialect.name);
        assert!(told.contains("disk full"), "{}: {told}", dialect.name);
        assert!(is_plain || !told.contains("tk_"), "{}: {told}", dialect.name);
        if !is_plain && dialect.name != "ntfy-json" {
            let told = of(dialect, "foo=disk+full&priority=5&token=x", "");
            assert!(told.contains("foo: disk full"), "{}: {told}", dialect.name);
            assert!(!told.contains("token"), "{}: {told}", dialect.name);
        }
    }
}

fn request(captured: &Captured, read: impl FnOnce(&Request<'_>)) {
    let parts = captured.parts();
    let headers = Fields::from_headers(parts.headers);
    let content_type = headers.get("content-type").map(str::to_owned);
    read(&Request {
        route: Some("family"),
        headers,
        query: query::decode(parts.query).pairs.into_iter().collect(),
        content_type: content_type.as_deref(),
        body: parts.body,
        body_bytes: parts.body.len() as u64,
        text_bytes_max: 1024 * 1024,
        now_ms: 0,
    });
}

#[test]
fn captured_requests_give_the_alerts_that_they_must() {
    for dialect in DIALECTS {
        for captured in captured::requests(dialect.name) {
            let name = format!("{}/{}", dialect.name, captured.name);
            request(&captured, |request| {
                let parsed = (dialect.parse)(request).unwrap_or_else(|error| panic!("{name}: {error}"));
                // As a way in does it that keeps no files.
                let Parsed { alerts, warnings, .. } = parsed.without_files("no files are kept here");
                assert_eq!(alerts, captured.alerts, "{name}");
                assert_eq!(warnings, captured.warnings, "{name}");
            });
        }
    }
}

/// What a permitted sender says in any of these forms reaches the phone, also in a form that its dialect does not have
/// yet.
#[test]
fn no_dialect_loses_a_text_for_its_form() {
    let parts = |boundary: &str| {
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\ndisk full\r\n--{boundary}--\r\n")
    };
    for (content_type, body) in [
        ("text/plain", "disk full".to_owned()),
        ("application/json", "disk full".into()),
        ("application/json", r#"{"body": "disk full", "topic": "family"}"#.into()),
        ("application/x-www-form-urlencoded", "msg=disk+full&topic=family".into()),
        ("multipart/form-data; boundary=b", parts("b")),
        // Mislabelled.
        ("multipart/form-data", "disk full".into()),
        ("multipart/form-data; boundary=b", "disk full".into()),
        ("multipart/form-data; boundary=b", parts("other")),
        ("image/jpeg", "disk full".into()),
    ] {
        for dialect in DIALECTS {
            let request = Request {
                content_type: Some(content_type),
                body: body.as_bytes(),
                body_bytes: body.len() as u64,
                text_bytes_max: 1024 * 1024,
                ..Request::default()
            };
            let parsed = (dialect.parse)(&request).unwrap();
            let text = &parsed.alerts[0].text;
            assert!(
                text.contains("disk full") || text.contains("disk+full"),
                "{} {content_type} {body}: {text}",
                dialect.name
            );
        }
    }
}

#[test]
fn a_long_form_is_marked_where_its_text_is_cut() {
    let head = "--b\r\nContent-Disposition: form-data; name=\"message\"\r\n\r\n";
    let file = "\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jpg\"\r\n\r\nJFIF";
    for (body, cut) in [
        (format!("{head}disk full"), true),
        (format!("{head}disk full{file}"), false),
    ] {
        for dialect in DIALECTS {
            let request = Request {
                content_type: Some("multipart/form-data; boundary=b"),
                body: body.as_bytes(),
                body_bytes: 2_000_000,
                text_bytes_max: 1024 * 1024,
                ..Request::default()
            };
            let parsed = (dialect.parse)(&request)
                .unwrap()
                .without_files("no files are kept here");
            let text = &parsed.alerts[0].text;
            assert!(text.starts_with("disk full"), "{}: {text}", dialect.name);
            assert_eq!(
                text.contains("[cut, it was 2.0 MB long]"),
                cut,
                "{}: {text}",
                dialect.name
            );
            assert_eq!(
                text.contains("[left out: a.jpg, 1.9 MB]"),
                !cut,
                "{}: {text}",
                dialect.name
            );
        }
    }
}
