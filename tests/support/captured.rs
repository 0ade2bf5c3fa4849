//! Requests as senders put them on the wire, and the alerts that they must give: `tests/fixtures/dialects/DIALECT/`.
//!
//! `NAME.http` is a request, byte for byte (a line of its head may end with a bare line feed). `NAME.json` beside it is
//! what it must give: the alerts, and the warnings for the sender.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tautline::alert::{Alert, Priority, Status};

/// Where the fixtures of all dialects are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dialects")
}

/// One request with what it must give.
pub struct Captured {
    pub name: String,
    /// The request as it came.
    pub wire: Vec<u8>,
    pub alerts: Vec<Alert>,
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    alerts: Vec<ExpectedAlert>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedAlert {
    #[serde(default)]
    title: String,
    text: String,
    #[serde(default)]
    priority: Priority,
    #[serde(default)]
    tags: Vec<String>,
    click: Option<String>,
    key: Option<String>,
    ttl_s: Option<u64>,
    delay_s: Option<u64>,
    #[serde(default)]
    status: Status,
    sequence: Option<String>,
    sender: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl From<ExpectedAlert> for Alert {
    fn from(expected: ExpectedAlert) -> Self {
        Self {
            title: expected.title,
            text: expected.text,
            priority: expected.priority,
            tags: expected.tags,
            click: expected.click,
            key: expected.key,
            ttl: expected.ttl_s.map(Duration::from_secs),
            delay: expected.delay_s.map(Duration::from_secs),
            status: expected.status,
            sequence: expected.sequence,
            sender: expected.sender,
            labels: expected.labels,
            attachments: Vec::new(),
        }
    }
}

/// All captured requests of one dialect, by name.
pub fn requests(dialect: &str) -> Vec<Captured> {
    let folder = folder().join(dialect);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let (requests, others): (Vec<_>, Vec<_>) = paths
        .into_iter()
        .partition(|path| path.extension().is_some_and(|extension| extension == "http"));
    for other in others {
        assert!(
            other.with_extension("http").is_file(),
            "{} is of no request",
            other.display()
        );
    }
    requests.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Captured {
    let expected = path.with_extension("json");
    let text = fs::read_to_string(&expected).unwrap_or_else(|error| panic!("{}: {error}", expected.display()));
    let Expected { alerts, warnings } =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", expected.display()));
    Captured {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        wire: fs::read(path).unwrap(),
        alerts: alerts.into_iter().map(Alert::from).collect(),
        warnings,
    }
}

/// The parts of a request, where it is taken apart without the gateway.
pub struct Parts<'a> {
    /// What follows `?` in the address.
    pub query: &'a [u8],
    pub headers: Vec<(&'a str, &'a [u8])>,
    pub body: &'a [u8],
}

impl Captured {
    pub fn parts(&self) -> Parts<'_> {
        let mut rest = self.wire.as_slice();
        let mut line = || {
            let end = rest.iter().position(|byte| *byte == b'\n').expect("a line of the head");
            let line = &rest[..end];
            rest = &rest[end + 1..];
            line.strip_suffix(b"\r").unwrap_or(line)
        };
        let target = line().split(|byte| *byte == b' ').nth(1).expect("an address");
        let query = target.splitn(2, |byte| *byte == b'?').nth(1).unwrap_or_default();
        let mut headers = Vec::new();
        loop {
            let line = line();
            if line.is_empty() {
                break;
            }
            let colon = line.iter().position(|byte| *byte == b':').expect("a header");
            let name = std::str::from_utf8(&line[..colon]).unwrap();
            headers.push((name, line[colon + 1..].trim_ascii()));
        }
        Parts {
            query,
            headers,
            body: rest,
        }
    }
}
